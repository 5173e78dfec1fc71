//! Periodic maintenance of the database: creates partitions in advance, and deletes what is past the retention.
//!
//! Every process that writes to the database does it, because each may be the only one: without RabbitMQ there
//! is no consumer, and gateways write directly while it is unavailable.

use central::Timestamp;
use central::ports::{Figure, Health, HealthProbe, Unavailable};
use common::clock;
use common::lock::lock;
use metrics::{counter, gauge};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Interval between two rounds.
const EVERY: Duration = Duration::from_secs(3_600);
/// Delay after the first failed round; it doubles with each further one up to [`FAILED_MAX`].
const FAILED_MIN: Duration = Duration::from_secs(1);
/// Maximum delay after a failed round.
const FAILED_MAX: Duration = Duration::from_secs(60);
/// Without a round for this long, the partitions created in advance are nearly used up.
const OVERDUE: Duration = Duration::from_secs(24 * 3_600);

/// One round of maintenance. Blocks.
pub type Round = Arc<dyn Fn() -> Result<RoundDone, Unavailable> + Send + Sync>;

/// A round that has succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RoundDone {
    /// A sentence about a problem of the database that did not prevent the round; it is shown on the health page.
    pub note: Option<String>,
    /// When the oldest message that is kept was received.
    pub oldest: Option<Timestamp>,
}

/// Runs maintenance at once and then every hour. Dropping it stops it after the current round.
pub struct MaintenanceTask {
    stop: CancellationToken,
    task: JoinHandle<()>,
    state: Arc<MaintenanceState>,
}

struct MaintenanceState {
    began: Instant,
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    success: Option<Instant>,
    done: RoundDone,
    error: Option<Unavailable>,
}

impl MaintenanceTask {
    /// Starts it; must be called within a Tokio runtime. The database may still be unavailable: a failed round
    /// is retried after one second, and later after up to one minute.
    #[must_use]
    pub fn start(round: Round) -> Self {
        let stop = CancellationToken::new();
        let state = Arc::new(MaintenanceState {
            began: Instant::now(),
            last: Mutex::default(),
        });
        let task = tokio::spawn(run(round, stop.clone(), Arc::clone(&state)));
        Self { stop, task, state }
    }

    /// Starts no further round. The current round is not waited for: each of its steps is atomic.
    pub fn stop(&self) {
        self.stop.cancel();
        self.task.abort();
    }

    /// Health part `maintenance`: down when no round has succeeded for a day.
    #[must_use]
    pub fn probe(&self) -> Arc<dyn HealthProbe> {
        Arc::clone(&self.state) as _
    }
}

impl Drop for MaintenanceTask {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn run(round: Round, stop: CancellationToken, state: Arc<MaintenanceState>) {
    let mut failed = FAILED_MIN;
    loop {
        let round = Arc::clone(&round);
        let began = Instant::now();
        let pause = match tokio::task::spawn_blocking(move || round()).await {
            Ok(Ok(done)) => {
                if let Some(note) = &done.note {
                    tracing::error!("{note}");
                }
                gauge!("wattpost_maintenance_duration_seconds").set(began.elapsed().as_secs_f64());
                gauge!("wattpost_maintenance_oldest_message_seconds").set(
                    done.oldest
                        .map_or(f64::NAN, |oldest| oldest.as_millis() as f64 / 1_000.0),
                );
                gauge!("wattpost_maintenance_last_success_seconds")
                    .set(clock::since_epoch().as_secs_f64());
                state.set(Last {
                    success: Some(Instant::now()),
                    done,
                    error: None,
                });
                failed = FAILED_MIN;
                EVERY
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "the database's maintenance failed; it is retried");
                state.fail(error);
                doubled(&mut failed)
            }
            Err(_) => {
                tracing::error!("the database's maintenance panicked; it is retried");
                doubled(&mut failed)
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Counts a failure, returns the current delay, and doubles it.
fn doubled(pause: &mut Duration) -> Duration {
    counter!("wattpost_maintenance_failures_total").increment(1);
    let now = *pause;
    *pause = (now * 2).min(FAILED_MAX);
    now
}

impl MaintenanceState {
    fn set(&self, last: Last) {
        *lock(&self.last) = last;
    }

    fn fail(&self, error: Unavailable) {
        let mut last = lock(&self.last);
        last.error = Some(error);
    }
}

impl HealthProbe for MaintenanceState {
    fn health(&self) -> Vec<Health> {
        let last = lock(&self.last);
        let since = last.success.unwrap_or(self.began).elapsed();
        let mut detail = match last.success {
            Some(_) => format!("done {} s ago", since.as_secs()),
            None => "not done yet".to_owned(),
        };
        for words in [
            last.error
                .as_ref()
                .map(|error| format!("last attempt failed: {error}")),
            last.done.note.clone(),
        ]
        .into_iter()
        .flatten()
        {
            detail.push_str("; ");
            detail.push_str(&words);
        }
        let kept = last.done.oldest.map(|oldest| {
            let age_ms = clock::now_ms().saturating_sub(oldest.as_millis());
            Duration::from_secs(age_ms.max(0).unsigned_abs() / 1_000)
        });
        let kept = kept.map(Figure::from);
        vec![
            Health::new("maintenance", since < OVERDUE, detail)
                .figure("oldest_message_seconds", kept),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use central::ports::UnavailableKind;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test(start_paused = true)]
    async fn a_failed_round_is_retried_soon_and_a_successful_one_repeated_every_hour() {
        let rounds = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&rounds);
        let maintenance = MaintenanceTask::start(Arc::new(move || {
            match counted.fetch_add(1, Ordering::SeqCst) {
                0 | 1 => Err(Unavailable {
                    component: "database",
                    kind: UnavailableKind::Unreachable,
                    detail: "late".to_owned(),
                }),
                _ => Ok(RoundDone {
                    note: Some("it does not sync".to_owned()),
                    oldest: Some(Timestamp(clock::now_ms() - 90_000)),
                }),
            }
        }));
        let health = || maintenance.probe().health().remove(0);
        assert!(health().up && health().detail.contains("not done yet"));
        let reached = async |count: u32| {
            while rounds.load(Ordering::SeqCst) < count {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let begun = tokio::time::Instant::now();
        reached(3).await;
        assert!(begun.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let shown = health();
        assert!(
            shown.up && shown.detail.contains("it does not sync"),
            "{shown:?}"
        );
        assert!(!shown.detail.contains("failed"), "{shown:?}");
        reached(4).await;
        assert!(begun.elapsed() > EVERY);
    }
}
