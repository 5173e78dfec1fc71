//! Sends the events of the log to the receivers of webhooks.
//!
//! Every process that serves the API runs it, because each may be the only one. A lease in the database lets one process
//! send for a webhook at a time. Each webhook has a task of its own while something is sent for it, and there are as many
//! places for tasks as there can be webhooks, so receivers that hang delay no other one.
//!
//! ```text
//! claim due webhooks ─ each: read the log → (still as claimed? → send) … → record cursor, attempts and next time → give the lease back
//! ```
//! Before each attempt, the sender reads the lease and the version of the webhook. So a change by a person holds for each
//! attempt that begins after it; and where a clock has jumped and two processes were given the lease, one of them stops.
//! Leases, and when a webhook is due, are of the database's clock; what a receiver is sent has the time of this machine.
//!
//! An event is sent before the cursor is recorded: after a kill between the two it is sent again, with the same id.

use super::client::{Attempted, Client, Message};
use super::retry::{self, Answer, Earlier, Failures, Next};
use super::signature;
use crate::events::Shown;
use crate::shared_clock::SharedClock;
use bytes::Bytes;
use central::Timestamp;
use central::model::{
    Event, EventId, WEBHOOK_ANSWER_BYTES_MAX, WEBHOOK_IDLE_MS_MAX, WEBHOOKS_MAX, WebhookAttempt,
    WebhookId, WebhookRetry, WebhookSecrets,
};
use central::ports::{
    ClaimedWebhook, DatabaseClock, EventBounds, EventFilter, EventLog, EventPage, EventsFound,
    StepRecorded, Unavailable, UnavailableKind, WebhookStep, Webhooks,
};
use common::clock;
use metrics::{counter, gauge};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// The pause while nothing is due.
const PAUSE: Duration = Duration::from_millis(250);
/// The pause after a failure of the database.
const AFTER_A_FAILURE: Duration = Duration::from_secs(2);
/// Webhooks that are sent for at once at most: all. Each takes a file handle, and the memory of a page of events.
const TURNS_MAX: usize = WEBHOOKS_MAX;
/// The longest time for which one claim sends, and an attempt; then others that are due for longer come first.
const TURN: Duration = Duration::from_secs(10);
/// How often the progress of a turn is recorded. What was sent since is sent again after a kill.
const RECORDED_EVERY: Duration = Duration::from_secs(1);
/// The pause of a webhook that selects none of the newest events.
const UNSELECTED: Duration = Duration::from_secs(1);
/// The pause of a webhook that selects a type of event that only a newer version knows.
const UNKNOWN_TYPE: Duration = Duration::from_secs(30);
const _: () = assert!(UNKNOWN_TYPE.as_millis() < WEBHOOK_IDLE_MS_MAX as u128);
/// Events that are read at once for one webhook at most.
const PAGE: usize = 20;
/// Calls of the database at once at most, so that webhooks leave connections to requests.
const DATABASE_CALLS_MAX: usize = 2;
/// An attempt begins only if its lease counts for so much longer than the attempt: its readings of the database's clock may be late by so much.
const MARGIN: Duration = Duration::from_secs(2);
/// How often the webhook that is furthest behind is looked for.
const HOUSEKEEPING: Duration = Duration::from_secs(30);

/// What the sender needs.
#[derive(Clone)]
pub struct WebhookDeps {
    /// The webhooks.
    pub webhooks: Arc<dyn Webhooks>,
    /// The log of events.
    pub log: Arc<dyn EventLog>,
    /// The clock of the database, which all senders share.
    pub clock: Arc<dyn DatabaseClock>,
    /// Sends one message.
    pub client: Arc<Client>,
}

/// Sends until `stop`, then gives its leases back.
pub(crate) async fn run(deps: WebhookDeps, stop: CancellationToken) {
    let sender = Arc::new(Sender {
        clock: SharedClock::new(Arc::clone(&deps.clock)),
        deps,
        calls: Arc::new(Semaphore::new(DATABASE_CALLS_MAX)),
        stop,
    });
    // Exported from the start, so that a rate has a value before the first attempt.
    for result in ["delivered", "refused", "failed"] {
        counter!("wattpost_webhooks_attempts_total", "result" => result).increment(0);
    }
    let turns = TaskTracker::new();
    let slots = Arc::new(Semaphore::new(TURNS_MAX));
    let mut has_failed = false;
    let mut housekept: Option<Instant> = None;
    while !sender.stop.is_cancelled() {
        let round = sender.claim(&slots, &turns).await;
        let pause = match &round {
            Ok(0) => PAUSE,
            Ok(_) => Duration::ZERO,
            Err(error) => {
                counter!("wattpost_webhooks_failures_total").increment(1);
                if !has_failed {
                    tracing::warn!(%error, "webhooks wait: the database cannot be used");
                }
                AFTER_A_FAILURE
            }
        };
        if has_failed && round.is_ok() {
            tracing::info!("webhooks are sent again");
        }
        has_failed = round.is_err();
        if !has_failed && housekept.is_none_or(|at| at.elapsed() > HOUSEKEEPING) {
            sender.count_waiting().await;
            housekept = Some(Instant::now());
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = sender.stop.cancelled() => {}
        }
    }
    turns.close();
    turns.wait().await;
}

struct Sender {
    deps: WebhookDeps,
    calls: Arc<Semaphore>,
    clock: SharedClock,
    stop: CancellationToken,
}

impl Sender {
    /// Claims the webhooks that are due, and starts a turn of each. Returns how many.
    async fn claim(
        self: &Arc<Self>,
        slots: &Arc<Semaphore>,
        turns: &TaskTracker,
    ) -> Result<usize, Unavailable> {
        let mut free: Vec<OwnedSemaphorePermit> = Vec::new();
        while let Ok(permit) = Arc::clone(slots).try_acquire_owned() {
            free.push(permit);
        }
        if free.is_empty() {
            return Ok(0);
        }
        let (lease, limit) = (Uuid::new_v4(), free.len());
        let sender = Arc::clone(self);
        let claimed = self.call(move |deps| {
            let now = sender.clock.now()?;
            let until = sender.lease_end(now);
            let claimed = deps.webhooks.claim_webhooks(lease, now, until, limit)?;
            Ok((until, claimed))
        });
        let (until, claimed) = claimed.await?;
        let count = claimed.len();
        for (webhook, permit) in claimed.into_iter().zip(free) {
            let turn = Turn::new(Arc::clone(self), lease, until, webhook);
            turns.spawn(async move {
                turn.run().await;
                drop(permit);
            });
        }
        Ok(count)
    }

    /// When a lease ends that is taken `now`: after an attempt, and the time to record it.
    fn lease_end(&self, now: Timestamp) -> Timestamp {
        later(now, self.deps.client.time_max() + 2 * MARGIN)
    }

    /// Runs a call of the database on a blocking thread.
    async fn call<T, F>(&self, call: F) -> Result<T, Unavailable>
    where
        T: Send + 'static,
        F: FnOnce(&WebhookDeps) -> Result<T, Unavailable> + Send + 'static,
    {
        let failed = |why: &dyn std::fmt::Display| Unavailable {
            component: "database",
            kind: UnavailableKind::Unreachable,
            detail: why.to_string(),
        };
        let permit = Arc::clone(&self.calls).acquire_owned().await;
        let permit = permit.map_err(|error| failed(&error))?;
        let deps = self.deps.clone();
        let ended = tokio::task::spawn_blocking(move || {
            let answer = call(&deps);
            drop(permit);
            answer
        });
        ended.await.map_err(|panic| failed(&panic))?
    }

    async fn count_waiting(&self) {
        let Ok(webhooks) = self.call(|deps| deps.webhooks.webhooks()).await else {
            return;
        };
        let enabled = webhooks.iter().filter(|webhook| webhook.settings.enabled);
        let waiting = enabled.map(|webhook| webhook.waiting).max().unwrap_or(0);
        gauge!("wattpost_webhooks_waiting").set(waiting as f64);
    }
}

/// What follows in a turn.
enum Then {
    /// More can be sent.
    GoOn,
    /// The turn ends, and the lease is given back.
    End,
    /// The lease is given back or lost already.
    Lost,
}

/// The sending for one webhook under one claim.
struct Turn {
    sender: Arc<Sender>,
    lease: Uuid,
    held_until: Timestamp,
    id: WebhookId,
    url: String,
    secrets: WebhookSecrets,
    /// What is not recorded yet.
    step: WebhookStep,
    recorded: Instant,
    webhook: ClaimedWebhook,
}

impl Turn {
    fn new(
        sender: Arc<Sender>,
        lease: Uuid,
        held_until: Timestamp,
        webhook: ClaimedWebhook,
    ) -> Self {
        Self {
            sender,
            lease,
            held_until,
            id: webhook.id,
            url: webhook.settings.url.clone(),
            secrets: webhook.secrets.clone(),
            step: WebhookStep {
                version: webhook.version,
                progress: webhook.progress.clone(),
                attempts: Vec::new(),
                switch_off: None,
                hold_until: None,
            },
            recorded: Instant::now(),
            webhook,
        }
    }

    async fn run(mut self) {
        let began = Instant::now();
        loop {
            let then = match self.round().await {
                Ok(then) => then,
                Err(error) => {
                    counter!("wattpost_webhooks_failures_total").increment(1);
                    let id = self.id;
                    tracing::warn!(%id, %error, "a webhook waits: the database cannot be used");
                    // It would be claimed again at once if only a part of the database cannot be used.
                    self.step.progress.due_at = later(self.sender.clock.known(), AFTER_A_FAILURE);
                    Then::End
                }
            };
            match then {
                Then::GoOn if began.elapsed() < TURN && !self.sender.stop.is_cancelled() => {}
                Then::GoOn | Then::End => break,
                Then::Lost => return,
            }
        }
        if let Err(error) = self.record(None).await {
            counter!("wattpost_webhooks_failures_total").increment(1);
            let id = self.id;
            tracing::warn!(%id, %error, "what was sent for a webhook cannot be recorded; it is sent again");
        }
    }

    /// Sends the next events of the log.
    async fn round(&mut self) -> Result<Then, Unavailable> {
        let Some(filter) = self.webhook.settings.filter() else {
            self.leave_to_a_newer_version();
            return Ok(Then::End);
        };
        let Some(page) = self.read(filter).await? else {
            return Ok(Then::GoOn);
        };
        let has_events = !page.events.is_empty();
        for event in &page.events {
            if self.sender.stop.is_cancelled() {
                return Ok(Then::End);
            }
            if self.is_to_be_recorded() || !self.has_time() {
                let until = self.sender.lease_end(self.sender.clock.known());
                if self.record(Some(until)).await? != StepRecorded::Recorded {
                    return Ok(Then::Lost);
                }
                self.held_until = until;
            } else if !self.is_as_claimed().await? {
                // The attempts so far are recorded, and the next turn sends by what has changed.
                self.record(None).await?;
                return Ok(Then::Lost);
            }
            // Nothing is sent that another process may send at the same time.
            if !self.has_time() {
                return Ok(Then::End);
            }
            if !self.attempt(event).await {
                return Ok(Then::End);
            }
        }
        self.step.progress.cursor = page.reached;
        if !page.is_end {
            return Ok(Then::GoOn);
        }
        if !has_events && self.step.attempts.is_empty() {
            self.step.progress.due_at = later(self.sender.clock.known(), UNSELECTED);
        }
        Ok(Then::End)
    }

    /// The webhook selects a type of event that this version does not know: it stays where it is in the log.
    fn leave_to_a_newer_version(&mut self) {
        let now = self.sender.clock.known();
        let error = "it selects a type of event that this version of Wattpost does not know";
        let progress = &mut self.step.progress;
        progress.last_error = Some((now, error.to_owned()));
        // No attempt is made, so none fails.
        progress.retry = None;
        progress.due_at = later(now, UNKNOWN_TYPE);
    }

    /// The next part of the log; `None` if events are missing, and the cursor was moved to where the log goes on.
    async fn read(&mut self, filter: EventFilter) -> Result<Option<EventPage>, Unavailable> {
        let after = self.step.progress.cursor;
        let found = self
            .sender
            .call(move |deps| events_after(&*deps.log, after, &filter));
        match found.await? {
            EventsFound::Page(page) => Ok(Some(page)),
            EventsFound::Expired(bounds) => {
                self.pass_gap(bounds).await?;
                Ok(None)
            }
        }
    }

    /// Goes on with the oldest event, or, after a restore of the database, with the first that was recorded since the cursor.
    async fn pass_gap(&mut self, bounds: EventBounds) -> Result<(), Unavailable> {
        let after = self.step.progress.cursor;
        let is_restored = after.position > bounds.last.position
            || bounds
                .first
                .is_some_and(|first| after.position >= first.position);
        let next = match bounds.first {
            None => bounds.last,
            Some(_) if is_restored => {
                let before = self
                    .sender
                    .call(move |deps| deps.log.event_before(after.recorded_at));
                before.await?
            }
            Some(first) => EventId {
                position: first.position.saturating_sub(1),
                recorded_at: first.recorded_at,
            },
        };
        let id = self.id;
        let error = match is_restored {
            true => format!("the event {after} is not of the log: the database was restored"),
            false => format!("events after {after} are no longer kept and were not sent"),
        };
        tracing::error!(%id, %error, "a webhook has missed events");
        counter!("wattpost_webhooks_gaps_total").increment(1);
        let progress = &mut self.step.progress;
        progress.last_error = Some((self.sender.clock.known(), error));
        progress.retry = None;
        progress.cursor = next;
        Ok(())
    }

    /// Whether the lease is still that of this turn, and nobody has changed the webhook.
    async fn is_as_claimed(&self) -> Result<bool, Unavailable> {
        let (id, lease, version) = (self.id, self.lease, self.step.version);
        let held = self
            .sender
            .call(move |deps| deps.webhooks.is_webhook_held(id, lease, version));
        held.await
    }

    fn is_to_be_recorded(&self) -> bool {
        let has_news = !self.step.attempts.is_empty();
        has_news && self.recorded.elapsed() >= RECORDED_EVERY
    }

    /// Whether the lease counts until an attempt that begins now is recorded.
    fn has_time(&self) -> bool {
        let needed = self.sender.deps.client.time_max() + MARGIN;
        later(self.sender.clock.known(), needed) <= self.held_until
    }

    /// Sends one event once. Returns whether it was delivered.
    async fn attempt(&mut self, event: &Event) -> bool {
        let at = Timestamp(clock::now_ms());
        let message = match message(self.id, event, &self.secrets, at) {
            Ok(message) => message,
            Err(error) => {
                // It cannot be better later, and must not stop the others.
                tracing::error!(event = %event.id, %error, "failed to write an event");
                self.step.progress.cursor = event.id;
                return true;
            }
        };
        let sending = self.sender.deps.client.send(&self.url, &message);
        let attempted = tokio::select! {
            attempted = sending => attempted,
            // It is sent again by the next process.
            () = self.sender.stop.cancelled() => return false,
        };
        self.note(event, at, &attempted);
        attempted.is_success()
    }

    /// Keeps what came of an attempt, for the next record.
    fn note(&mut self, event: &Event, at: Timestamp, attempted: &Attempted) {
        let now = self.sender.clock.known();
        let progress = &mut self.step.progress;
        let before = progress.retry.filter(|retry| retry.event == event.id);
        let earlier = before.map(|retry| Earlier {
            failures: Failures {
                count: retry.attempts,
                since: retry.since,
            },
            // The last error is that of the last attempt while attempts for one event fail.
            last_at: progress.last_error.as_ref().map_or(now, |(at, _)| *at),
            next_at: progress.due_at,
        });
        let failures = Failures::after(earlier, now, attempted.took);
        let answer = attempted.error.as_deref().unwrap_or(&attempted.answer);
        let answer = &answer[..answer.floor_char_boundary(WEBHOOK_ANSWER_BYTES_MAX)];
        self.step.attempts.push(WebhookAttempt {
            at,
            event: event.id,
            kind: event.kind,
            attempt: failures.count,
            delivered: attempted.is_success(),
            status: attempted.status,
            duration_ms: u64::try_from(attempted.took.as_millis()).unwrap_or(u64::MAX),
            answer: answer.to_owned(),
        });
        counter!("wattpost_webhooks_attempts_total", "result" => attempted.result()).increment(1);
        if attempted.is_success() {
            progress.cursor = event.id;
            progress.retry = None;
            progress.last_success_at = Some(now);
            progress.due_at = now;
            return;
        }
        progress.retry = Some(WebhookRetry {
            event: event.id,
            attempts: failures.count,
            since: failures.since,
        });
        let error = match attempted.status {
            Some(status) => format!("the receiver answered {status}"),
            None => answer.to_owned(),
        };
        progress.last_error = Some((now, error));
        let answer = Answer {
            status: attempted.status,
            retry_after: attempted.retry_after,
        };
        match retry::after_failure(failures, answer, now, fastrand::f64()) {
            Next::RetryAt(at) => progress.due_at = at,
            Next::SwitchOff(reason) => {
                let id = self.id;
                tracing::warn!(%id, %reason, "a webhook is switched off");
                counter!("wattpost_webhooks_switched_off_total").increment(1);
                self.step.switch_off = Some(reason);
            }
        }
    }

    /// Records what was done since the last record. The lease is kept until `hold_until`, or given back.
    async fn record(&mut self, hold_until: Option<Timestamp>) -> Result<StepRecorded, Unavailable> {
        self.step.hold_until = hold_until;
        let (id, lease, step) = (self.id, self.lease, self.step.clone());
        let sender = Arc::clone(&self.sender);
        let recorded = self.sender.call(move |deps| {
            let now = sender.clock.now()?;
            deps.webhooks.record_webhook(id, lease, &step, now)
        });
        let recorded = recorded.await?;
        self.step.attempts.clear();
        self.recorded = Instant::now();
        Ok(recorded)
    }
}

/// A part of the log. [`EventId::START`] is before the first event that ever was, and not before the oldest that is kept.
fn events_after(
    log: &dyn EventLog,
    after: EventId,
    filter: &EventFilter,
) -> Result<EventsFound, Unavailable> {
    if after == EventId::START {
        let bounds = log.event_bounds()?;
        if bounds.first.is_some_and(|first| first.position > 1) {
            return Ok(EventsFound::Expired(bounds));
        }
    }
    log.events_after(after, filter, PAGE)
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    let by_ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
    Timestamp(at.0.saturating_add(by_ms))
}

/// The message of an event. Its id is the same in each attempt, and another one for each webhook. It has no full stop,
/// because full stops separate the parts of what is signed.
fn message(
    webhook: WebhookId,
    event: &Event,
    secrets: &WebhookSecrets,
    at: Timestamp,
) -> Result<Message, serde_json::Error> {
    let body = serde_json::to_vec(&Shown::of(event))?;
    Ok(Message::new(
        format!("{webhook}_{}", event.id),
        Bytes::from(body),
        secrets,
        at,
    ))
}

impl Message {
    /// Signs a message with each secret that is valid at `at`, the time of the attempt.
    #[must_use]
    pub fn new(id: String, body: Bytes, secrets: &WebhookSecrets, at: Timestamp) -> Self {
        let timestamp_s = at.0.div_euclid(1_000);
        let signature = signature::header(&secrets.valid_at(at), &id, timestamp_s, &body);
        let former = secrets.former.as_ref().map(|(secret, _)| secret);
        Self {
            id,
            timestamp_s,
            signature,
            body,
            // Also a former one whose time is over: a receiver that answers 401 may still have it.
            secrets: std::iter::once(&secrets.newest)
                .chain(former)
                .cloned()
                .collect(),
        }
    }
}
