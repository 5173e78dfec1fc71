//! The lease under which one process at a time evaluates alerts.
//!
//! The lease is short, so that a process that was killed is replaced within seconds. A round, and even one statement, can
//! take longer than the lease where the database is slow; so the lease is extended beside the rounds. Where extending is too
//! slow as well, two processes could take it from each other for ever: one that has lost it takes it back for a while only
//! if it has not been extended for [`Timing::yields`].
//!
//! Its times are of the database's clock: the processes may be on machines whose clocks are minutes apart.

use crate::shared_clock::SharedClock;
use central::Timestamp;
use central::ports::{Alerts, DatabaseClock, Unavailable};
use common::lock::lock;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The times of the lease.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    /// For how long it counts after it was taken or extended.
    pub(super) lease: Duration,
    /// How often it is extended.
    pub(super) extended_every: Duration,
    /// How often a process without it tries to take it.
    pub(super) tried_every: Duration,
    /// For how long it must have ended before a process that has lost it takes it back.
    pub(super) yields: Duration,
    /// For how long after the loss that counts.
    pub(super) yields_for: Duration,
    /// The longest round during which it is extended: a round that hangs loses it.
    pub(super) round_max: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(8),
            extended_every: Duration::from_secs(2),
            tried_every: Duration::from_secs(2),
            yields: Duration::from_secs(60),
            yields_for: Duration::from_secs(600),
            round_max: Duration::from_secs(300),
        }
    }
}

/// The lease, as this process has it.
pub(super) struct Lease {
    alerts: Arc<dyn Alerts>,
    clock: SharedClock,
    pub(super) holder: Uuid,
    pub(super) timing: Timing,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_held: bool,
    lost_at: Option<Instant>,
    round_began: Option<Instant>,
}

impl Lease {
    pub(super) fn new(
        alerts: Arc<dyn Alerts>,
        clock: Arc<dyn DatabaseClock>,
        timing: Timing,
    ) -> Self {
        Self {
            alerts,
            clock: SharedClock::new(clock),
            holder: Uuid::new_v4(),
            timing,
            state: Mutex::default(),
        }
    }

    /// Takes the lease or extends it, for a round that begins. Returns what the last holder remembered; `None` if another
    /// process has it. Blocks.
    pub(super) fn take(&self) -> Result<Option<String>, Unavailable> {
        // Also if the clock cannot be read: the lease is then not extended for a round that hangs.
        lock(&self.state).round_began = Some(Instant::now());
        let now = self.clock.now()?;
        let yields = {
            let state = lock(&self.state);
            let is_recent = |at: Instant| at.elapsed() < self.timing.yields_for;
            !state.is_held && state.lost_at.is_some_and(is_recent)
        };
        let ended_before = match yields {
            true => earlier(now, self.timing.yields),
            false => now,
        };
        let until = later(now, self.timing.lease);
        let leased = self.alerts.lease_alerts(self.holder, ended_before, until)?;
        let mut state = lock(&self.state);
        match leased {
            Some(_) => state.is_held = true,
            None => state.lose(),
        }
        Ok(leased)
    }

    /// Another process has it.
    pub(super) fn lost(&self) {
        lock(&self.state).lose();
    }

    /// The round has ended.
    pub(super) fn round_ended(&self) {
        lock(&self.state).round_began = None;
    }

    /// Extends it until `stop`, while this process has it.
    pub(super) async fn keep(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.timing.extended_every) => {}
                () = stop.cancelled() => return,
            }
            let is_due = {
                let state = lock(&self.state);
                let hangs = |at: Instant| at.elapsed() > self.timing.round_max;
                state.is_held && !state.round_began.is_some_and(hangs)
            };
            if is_due {
                let lease = Arc::clone(&self);
                // A failure shows in the next round, which logs it.
                let _ = tokio::task::spawn_blocking(move || lease.extend()).await;
            }
        }
    }

    fn extend(&self) {
        let Ok(now) = self.clock.now() else { return };
        let until = later(now, self.timing.lease);
        if let Ok(false) = self.alerts.extend_alerts(self.holder, until) {
            self.lost();
        }
    }

    /// Gives it back. Blocks.
    pub(super) fn release(&self) {
        if std::mem::take(&mut lock(&self.state).is_held)
            && let Err(error) = self.alerts.release_alerts(self.holder)
        {
            tracing::debug!(%error, "the lease of the evaluation of alerts was not given back; it ends by itself");
        }
    }
}

impl State {
    fn lose(&mut self) {
        if std::mem::take(&mut self.is_held) {
            self.lost_at = Some(Instant::now());
        }
    }
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.plus_millis(i64::try_from(by.as_millis()).unwrap_or(i64::MAX))
}

fn earlier(at: Timestamp, by: Duration) -> Timestamp {
    at.plus_millis(-i64::try_from(by.as_millis()).unwrap_or(i64::MAX))
}
