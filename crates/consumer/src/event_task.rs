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
/// Slices of expired events that are deleted in a row. If more have expired, a round of moving events follows, and then the
/// next slices: expiring is faster than recording, and delays new events only for as long as these slices take.
const SLICES_MAX: u32 = 2;
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
            let is_left = is_due && housekeep(&*log, retain_days)?;
            let sequenced = log.sequence_events(Timestamp(clock::now_ms()))?;
            Ok((sequenced, is_left))
        });
        let mut has_expired_left = false;
        let round: Result<Result<_, Unavailable>, _> = round.await;
        let pause = match round {
            Ok(Ok((sequenced, is_left))) => {
                has_expired_left = is_left;
                match sequenced {
                    Sequenced::Done { events, has_more } => {
                        counter!("wattpost_events_recorded_total").increment(events as u64);
                        if has_more { Duration::ZERO } else { PAUSE }
                    }
                    Sequenced::Elsewhere => STANDBY,
                }
            }
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
        if is_due && !has_expired_left {
            housekept = Some(Instant::now());
        }
        tokio::time::sleep(pause).await;
    }
}

/// Deletes expired events; returns whether more may have expired.
fn housekeep(log: &dyn EventLog, retain_days: u32) -> Result<bool, Unavailable> {
    gauge!("wattpost_events_queued").set(log.queued_events()? as f64);
    let before = Timestamp(clock::now_ms() - i64::from(retain_days) * DAY_MS);
    for _ in 0..SLICES_MAX {
        let expired = log.expire_events(before)?;
        counter!("wattpost_events_expired_total").increment(expired);
        if expired == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use central::model::EventId;
    use central::ports::{EventBounds, EventFilter, EventsFound};
    use std::sync::atomic::{AtomicU64, Ordering};

    const SLICE: u64 = 5_000;

    /// A log whose events have all expired. It counts the rounds.
    struct Expired {
        left: AtomicU64,
        rounds: AtomicU64,
    }

    impl EventLog for Expired {
        fn sequence_events(&self, _: Timestamp) -> Result<Sequenced, Unavailable> {
            self.rounds.fetch_add(1, Ordering::SeqCst);
            Ok(Sequenced::Done {
                events: 0,
                has_more: false,
            })
        }

        fn queued_events(&self) -> Result<u64, Unavailable> {
            Ok(0)
        }

        fn event_bounds(&self) -> Result<EventBounds, Unavailable> {
            Ok(EventBounds {
                first: None,
                last: EventId::START,
            })
        }

        fn events_after(
            &self,
            _: EventId,
            _: &EventFilter,
            _: usize,
        ) -> Result<EventsFound, Unavailable> {
            Ok(EventsFound::Expired(self.event_bounds()?))
        }

        fn event_before(&self, _: Timestamp) -> Result<EventId, Unavailable> {
            Ok(EventId::START)
        }

        fn expire_events(&self, _: Timestamp) -> Result<u64, Unavailable> {
            let slice = SLICE.min(self.left.load(Ordering::SeqCst));
            self.left.fetch_sub(slice, Ordering::SeqCst);
            Ok(slice)
        }
    }

    #[tokio::test]
    async fn events_expire_as_fast_as_they_can_be_recorded_and_new_ones_do_not_wait_for_it() {
        let slices = 40;
        let log = Arc::new(Expired {
            left: AtomicU64::new(slices * SLICE),
            rounds: AtomicU64::new(0),
        });
        let task = EventTask::start(Arc::clone(&log) as _, 1);
        let has_ended = async {
            while log.left.load(Ordering::SeqCst) > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        // Much less than the time until events are looked for again.
        let ended = tokio::time::timeout(HOUSEKEEPING / 2, has_ended).await;
        assert!(ended.is_ok(), "expired events are left");
        assert!(log.rounds.load(Ordering::SeqCst) >= slices / u64::from(SLICES_MAX) - 1);
        drop(task);
    }
}
