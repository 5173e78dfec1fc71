//! Moves the queue of changes into the log of events, and deletes events that have expired.
//!
//! Every process that stores changes or serves the API does it, because each may be the only one; the database lets one
//! at a time do it, and the others look again each second. It has no part in storing messages: when it is slow, events
//! are late, and updates of one transaction become one event.

use central::Timestamp;
use central::ports::{EventLog, Sequenced, Unavailable};
use common::clock;
use metrics::{counter, gauge};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// The pause after a round that has left nothing in the queue.
const PAUSE: Duration = Duration::from_millis(100);
/// The pause while another process does it.
const STANDBY: Duration = Duration::from_secs(1);
/// The pause after a failure.
const AFTER_A_FAILURE: Duration = Duration::from_secs(2);
/// How often expired events are looked for, and the queue is counted.
const HOUSEKEEPING: Duration = Duration::from_secs(60);
/// Slices of expired events that are deleted in a row.
const SLICES_MAX: u32 = 20;
const DAY_MS: i64 = 86_400_000;

/// A running task. Dropping it stops it after the current round, which is one database transaction.
pub struct EventTask(JoinHandle<()>);

impl EventTask {
    /// Starts it; must be called within a Tokio runtime. Events are kept for `retain_days` days. The database may be
    /// unavailable: changes wait in the queue.
    #[must_use]
    pub fn start(log: Arc<dyn EventLog>, retain_days: u32) -> Self {
        Self(tokio::spawn(run(log, retain_days)))
    }
}

impl Drop for EventTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn run(log: Arc<dyn EventLog>, retain_days: u32) {
    let mut has_failed = false;
    let mut housekept: Option<Instant> = None;
    loop {
        let is_due = housekept.is_none_or(|at| at.elapsed() > HOUSEKEEPING);
        let log = Arc::clone(&log);
        let round = tokio::task::spawn_blocking(move || {
            if is_due {
                housekeep(&*log, retain_days)?;
            }
            log.sequence_events(Timestamp(clock::now_ms()))
        });
        let pause = match round.await {
            Ok(Ok(Sequenced::Done { events, has_more })) => {
                counter!("wattpost_events_recorded_total").increment(events as u64);
                if has_more { Duration::ZERO } else { PAUSE }
            }
            Ok(Ok(Sequenced::Elsewhere)) => STANDBY,
            Ok(Err(error)) => {
                counter!("wattpost_events_failures_total").increment(1);
                if !has_failed {
                    tracing::warn!(%error, "events cannot be moved to their log; they wait in its queue");
                }
                has_failed = true;
                tokio::time::sleep(AFTER_A_FAILURE).await;
                continue;
            }
            Err(_) => {
                counter!("wattpost_events_failures_total").increment(1);
                tracing::error!("moving events to their log panicked; it is tried again");
                AFTER_A_FAILURE
            }
        };
        if has_failed {
            tracing::info!("events are moved to their log again");
        }
        has_failed = false;
        if is_due {
            housekept = Some(Instant::now());
        }
        tokio::time::sleep(pause).await;
    }
}

fn housekeep(log: &dyn EventLog, retain_days: u32) -> Result<(), Unavailable> {
    gauge!("wattpost_events_queued").set(log.queued_events()? as f64);
    let before = Timestamp(clock::now_ms() - i64::from(retain_days) * DAY_MS);
    for _ in 0..SLICES_MAX {
        let expired = log.expire_events(before)?;
        counter!("wattpost_events_expired_total").increment(expired);
        if expired == 0 {
            break;
        }
    }
    Ok(())
}
