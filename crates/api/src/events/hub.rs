//! Reads the log of events once for all streams of this process.
//!
//! One task follows the end of the log while a stream is open, with one query every [`PAUSE`], and sends what is new to all
//! streams. A stream whose client does not read leaves events unread; when it has missed some, the stream ends, and its client
//! continues after the last event that it has.

use super::STEP;
use super::shown::Shown;
use central::model::{Event, EventId};
use central::ports::{EventFilter, EventLog, EventsFound};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;

/// The pause between two queries.
const PAUSE: Duration = Duration::from_millis(150);
/// The pause after a query that failed.
const AFTER_A_FAILURE: Duration = Duration::from_secs(1);
/// Events that a stream may leave unread.
const UNREAD_MAX: usize = 2_048;

/// An event, written once for all streams.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) event: Event,
    pub(crate) json: String,
}

/// What the hub sends to all streams.
#[derive(Debug, Clone)]
pub(crate) enum News {
    /// The next event of the log.
    Event(Arc<Written>),
    /// The hub's position is not in the log any more, because the database was restored from an older copy, or the events
    /// after it have expired. Positions may have gone back, so a stream must compare its own position with the log.
    Restarted,
}

impl Written {
    pub(crate) fn of(event: Event) -> Self {
        let json = serde_json::to_string(&Shown::of(&event)).unwrap_or_default();
        Self { event, json }
    }
}

/// Sends new events to all streams.
pub(crate) struct EventHub {
    log: Arc<dyn EventLog>,
    sender: broadcast::Sender<News>,
    subscribed: Notify,
}

impl EventHub {
    pub(crate) fn new(log: Arc<dyn EventLog>) -> Arc<Self> {
        let (sender, _) = broadcast::channel(UNREAD_MAX);
        Arc::new(Self {
            log,
            sender,
            subscribed: Notify::new(),
        })
    }

    /// New events from some moment on; a stream reads those before it from the log.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<News> {
        let receiver = self.sender.subscribe();
        self.subscribed.notify_one();
        receiver
    }

    /// Follows the log until stopped.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut position: Option<EventId> = None;
        loop {
            let pause = if self.sender.receiver_count() == 0 {
                position = None;
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.subscribed.notified() => continue,
                }
            } else {
                let (next, pause) = self.step(position).await;
                position = next;
                pause
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Sends what is after `position`; returns the next position, and how long to wait.
    async fn step(&self, position: Option<EventId>) -> (Option<EventId>, Duration) {
        let log = Arc::clone(&self.log);
        let read = tokio::task::spawn_blocking(move || match position {
            None => log
                .event_bounds()
                .map(|bounds| (Some(bounds.last), Vec::new())),
            Some(after) => match log.events_after(after, &EventFilter::default(), STEP)? {
                EventsFound::Page(page) => {
                    let written = page
                        .events
                        .into_iter()
                        .map(|event| News::Event(Arc::new(Written::of(event))));
                    Ok((Some(page.reached), written.collect()))
                }
                EventsFound::Expired(bounds) => Ok((Some(bounds.last), vec![News::Restarted])),
            },
        });
        match read.await {
            Ok(Ok((next, news))) => {
                let is_full = news.len() >= STEP;
                for news in news {
                    // An error says that nobody listens any more.
                    let _ = self.sender.send(news);
                }
                (next, if is_full { Duration::ZERO } else { PAUSE })
            }
            Ok(Err(_)) => (position, AFTER_A_FAILURE),
            Err(panic) => {
                tracing::error!(%panic, "reading the log of events panicked");
                (position, AFTER_A_FAILURE)
            }
        }
    }
}
