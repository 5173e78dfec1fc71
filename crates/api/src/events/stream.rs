//! A stream of server-sent events (WHATWG HTML).
//!
//! Positions are dense, so a stream knows whether it has missed an event: it reads what precedes the hub's first event from
//! the log, and everything else from the hub.

use super::hub::{News, Written};
use super::{Begin, STEP, Wanted};
use crate::error::ApiError;
use crate::shares;
use crate::state::AppState;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use central::model::{EventId, EventType, Scope};
use central::ports::{EventBounds, EventsFound};
use futures_util::stream;
use serde_json::json;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc};
use tokio::time::{Instant, MissedTickBehavior};

/// The interval between comments, so that a proxy does not close the connection.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How often it is checked whether the key is still valid, and whether a held update is due.
const TICK: Duration = Duration::from_secs(1);
/// The time after which a client connects again.
const RETRY_MS: u64 = 2_000;
/// How long the last event of a stream waits for the client.
const LAST_EVENT_TIMEOUT: Duration = Duration::from_secs(5);
/// Pieces that wait for the client.
const PIECES_MAX: usize = 16;
/// Transactions whose updates are thinned at once; further ones are not thinned.
const THROTTLED_MAX: usize = 10_000;

/// Answers with a stream.
pub(super) async fn start(
    state: Arc<AppState>,
    wanted: Wanted,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let permit = state.stream_permit()?;
    // Subscribed before the position is read, so that no event is between the two.
    let events = state.event_hub()?.subscribe();
    let log = state.event_log()?;
    let begin = wanted.begin.unwrap_or(Begin::Latest);
    let after = state.run(move |_| begin.id(&*log)).await?;
    let (pieces, receiver) = mpsc::channel(PIECES_MAX);
    let stream = Stream {
        throttle: Throttle::new(wanted.throttle),
        state: Arc::clone(&state),
        wanted,
        headers,
        pieces,
        after,
        sent: after,
    };
    let stream = stream.run(events, permit);
    // What the stream reads later is read for the same caller.
    match shares::current() {
        Some(caller) => tokio::spawn(shares::answering(caller, stream)),
        None => tokio::spawn(stream),
    };
    let body = stream::unfold(receiver, |mut receiver| async {
        let piece: Bytes = receiver.recv().await?;
        Some((Ok::<_, Infallible>(piece), receiver))
    });
    let mut response = Response::new(Body::from_stream(body));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    // A proxy must not hold events back.
    response.headers_mut().insert(
        header::HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    Ok(response)
}

struct Stream {
    state: Arc<AppState>,
    wanted: Wanted,
    headers: HeaderMap,
    pieces: mpsc::Sender<Bytes>,
    /// All events up to this one were considered.
    after: EventId,
    /// The newest event whose id the client has.
    sent: EventId,
    throttle: Throttle,
}

/// Why a stream ends.
enum End {
    /// The client has gone.
    Gone,
    /// The client is told why, and continues later.
    CutOff(&'static str, String),
}

impl Stream {
    async fn run(mut self, mut events: broadcast::Receiver<News>, permit: OwnedSemaphorePermit) {
        let Err(end) = self.follow(&mut events).await;
        if let End::CutOff(code, detail) = end {
            let data = json!({"code": code, "detail": detail, "last_id": self.sent.to_string()});
            // Without an id: the client continues after the last event that it has.
            let piece = format!("event: cut_off\ndata: {data}\n\n");
            // A client that was too slow may read again in a moment.
            let sent = self.pieces.send(piece.into());
            let _ = tokio::time::timeout(LAST_EVENT_TIMEOUT, sent).await;
        }
        drop(permit);
    }

    async fn follow(&mut self, events: &mut broadcast::Receiver<News>) -> Result<Infallible, End> {
        self.send(format!("retry: {RETRY_MS}\n: {}\n\n", self.after))
            .await?;
        self.catch_up().await?;
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heartbeat = Instant::now();
        let stop = self.state.stop.clone();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    return Err(End::CutOff("stopping", "Wattpost stops; connect again".to_owned()));
                }
                _ = ticks.tick() => {
                    self.check_key()?;
                    for event in self.throttle.due(Instant::now()) {
                        self.deliver(&event).await?;
                    }
                    if heartbeat.elapsed() >= HEARTBEAT {
                        heartbeat = Instant::now();
                        self.send(":\n\n".to_owned()).await?;
                    }
                }
                event = events.recv() => match event {
                    Ok(News::Event(event)) if event.event.id.position <= self.after.position => {}
                    Ok(News::Event(event))
                        if event.event.id.position == self.after.position + 1 =>
                    {
                        self.after = event.event.id;
                        self.consider(event).await?;
                    }
                    // The hub began later.
                    Ok(News::Event(_)) => self.catch_up().await?,
                    // Sends `gap` if the stream's position is not of this log.
                    Ok(News::Restarted) => self.catch_up().await?,
                    Err(RecvError::Lagged(_)) => {
                        let detail = "the client reads events more slowly than they occur; connect again with \
                                      Last-Event-ID, or select fewer types";
                        return Err(End::CutOff("too_slow", detail.to_owned()));
                    }
                    Err(RecvError::Closed) => {
                        return Err(End::CutOff("stopping", "Wattpost stops; connect again".to_owned()));
                    }
                },
            }
        }
    }

    /// Sends what the log has after the last position.
    async fn catch_up(&mut self) -> Result<(), End> {
        let cut_off = |error: ApiError| {
            End::CutOff(
                error.code(),
                "the log cannot be read now; connect again".to_owned(),
            )
        };
        loop {
            let log = self.state.event_log().map_err(cut_off)?;
            let (after, filter) = (self.after, self.wanted.filter.clone());
            let found = self.state.run(move |_| {
                let found = log.events_after(after, &filter, STEP);
                found.map_err(|error| ApiError::unavailable(&error))
            });
            match found.await.map_err(cut_off)? {
                EventsFound::Page(page) => {
                    for event in page.events {
                        self.consider(Arc::new(Written::of(event))).await?;
                    }
                    self.after = page.reached;
                    if page.is_end {
                        return Ok(());
                    }
                }
                EventsFound::Expired(bounds) => self.gap(bounds).await?,
            }
        }
    }

    /// Tells the client that events after its last one are not kept, or that its last one is not of this log; goes on
    /// with the oldest event, or with the first that was recorded since then.
    async fn gap(&mut self, bounds: EventBounds) -> Result<(), End> {
        let after = self.after;
        let is_restored = after.position > bounds.last.position
            || bounds
                .first
                .is_some_and(|first| after.position >= first.position);
        let next = match is_restored {
            false => EventId::START,
            true => {
                let unreadable = |error: ApiError| {
                    End::CutOff(error.code(), "the log cannot be read now".to_owned())
                };
                let log = self.state.event_log().map_err(unreadable)?;
                let found = self.state.run(move |_| {
                    let found = log.event_before(after.recorded_at);
                    found.map_err(|error| ApiError::unavailable(&error))
                });
                found.await.map_err(unreadable)?
            }
        };
        let detail = match is_restored {
            false => "events after this one have expired",
            true => {
                "the database was restored from an older copy; events since this one's time follow, also some \
                     that were sent before"
            }
        };
        let data = json!({"code": "cursor_expired", "detail": detail, "after": after.to_string()});
        self.after = next;
        self.sent = self.sent.min(next);
        self.send(format!("event: gap\ndata: {data}\n\n")).await
    }

    async fn consider(&mut self, event: Arc<Written>) -> Result<(), End> {
        if !self.wanted.filter.has(&event.event) {
            return Ok(());
        }
        match self.throttle.pass(event, Instant::now()) {
            Some(event) => self.deliver(&event).await,
            None => Ok(()),
        }
    }

    async fn deliver(&mut self, written: &Written) -> Result<(), End> {
        let event = &written.event;
        // An update that was held back is older than what was sent since: its id must not set the client back. After a
        // restored database `gap` has set the client back.
        let id = match event.id > self.sent {
            true => {
                self.sent = event.id;
                format!("id: {}\n", event.id)
            }
            false => String::new(),
        };
        let piece = format!("{id}event: {}\ndata: {}\n\n", event.kind, written.json);
        self.send(piece).await
    }

    /// Waits for the client; meanwhile the hub goes on without this stream.
    async fn send(&self, piece: String) -> Result<(), End> {
        let sent = self.pieces.send(piece.into()).await;
        sent.map_err(|_| End::Gone)
    }

    fn check_key(&self) -> Result<(), End> {
        let Some(keys) = &self.state.keys else {
            return Ok(());
        };
        match keys.check(Scope::Read, &self.headers) {
            Ok(_) => Ok(()),
            Err(error) => {
                let detail = "the key of this stream is no longer valid";
                Err(End::CutOff(error.code(), detail.to_owned()))
            }
        }
    }
}

/// Thins updates of transactions.
struct Throttle {
    pause: Option<Duration>,
    transactions: HashMap<String, Held>,
}

/// When an update of a transaction was sent, and the newest one since then.
struct Held {
    sent_at: Instant,
    newest: Option<Arc<Written>>,
}

impl Throttle {
    fn new(pause: Option<Duration>) -> Self {
        Self {
            pause,
            transactions: HashMap::new(),
        }
    }

    /// The event if it is sent now.
    fn pass(&mut self, event: Arc<Written>, now: Instant) -> Option<Arc<Written>> {
        let Some(pause) = self.pause else {
            return Some(event);
        };
        let subject = &event.event.subject;
        let has_room = self.transactions.len() < THROTTLED_MAX;
        match event.event.kind {
            EventType::TransactionUpdated => match self.transactions.get_mut(subject) {
                Some(held) if now - held.sent_at < pause => {
                    held.newest = Some(event);
                    return None;
                }
                Some(held) => {
                    *held = Held {
                        sent_at: now,
                        newest: None,
                    };
                }
                None if has_room => {
                    let held = Held {
                        sent_at: now,
                        newest: None,
                    };
                    self.transactions.insert(subject.clone(), held);
                }
                None => {}
            },
            // It shows what the held update shows, and more.
            EventType::TransactionEnded | EventType::TransactionClosed => {
                self.transactions.remove(subject);
            }
            _ => {}
        }
        Some(event)
    }

    /// Held updates that are due, the oldest first; forgets transactions without any.
    fn due(&mut self, now: Instant) -> Vec<Arc<Written>> {
        let Some(pause) = self.pause else {
            return Vec::new();
        };
        let mut due = Vec::new();
        self.transactions.retain(|_, held| {
            if now - held.sent_at < pause {
                return true;
            }
            held.sent_at = now;
            let newest = held.newest.take();
            let has_one = newest.is_some();
            due.extend(newest);
            has_one
        });
        due.sort_by_key(|written| written.event.id);
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use central::Timestamp;
    use central::model::Event;

    fn event(position: u64, kind: EventType) -> Arc<Written> {
        Arc::new(Written::of(Event {
            id: EventId {
                position,
                recorded_at: Timestamp(1),
            },
            kind,
            occurred_at: Timestamp(1),
            charger_id: None,
            subject: "a".to_owned(),
            data: "{}".to_owned(),
        }))
    }

    #[test]
    fn of_updates_the_newest_is_sent_and_an_end_is_never_held_back() {
        let now = Instant::now();
        let later = now + Duration::from_secs(10);
        let mut throttle = Throttle::new(Some(Duration::from_secs(10)));
        let updated = |position| event(position, EventType::TransactionUpdated);
        let positions = |events: Vec<Arc<Written>>| -> Vec<u64> {
            events
                .iter()
                .map(|written| written.event.id.position)
                .collect()
        };
        assert!(throttle.pass(updated(1), now).is_some());
        assert!(throttle.pass(updated(2), now).is_none());
        assert!(throttle.pass(updated(3), now).is_none());
        assert_eq!(positions(throttle.due(now)), [0; 0]);
        assert_eq!(positions(throttle.due(later)), [3]);
        assert!(throttle.pass(updated(4), later).is_none());
        assert!(
            throttle
                .pass(event(5, EventType::TransactionEnded), later)
                .is_some()
        );
        assert_eq!(
            positions(throttle.due(later + Duration::from_secs(20))),
            [0; 0]
        );
        assert!(throttle.transactions.is_empty());
    }
}
