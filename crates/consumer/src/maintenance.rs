//! What the database wants done now and then: partitions made ahead, old ones dropped.
//!
//! Every process that writes to the database does it, because any of them may be the only one: there is no
//! consumer where there is no RabbitMQ, and gateways write directly while it is away.

use central::ports::{Health, HealthProbe, Unavailable};
use metrics::{counter, gauge};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Between two rounds.
const EVERY: Duration = Duration::from_secs(3_600);
/// Pause after the first round that failed, doubled after each further one up to [`FAILED_MAX`].
const FAILED_MIN: Duration = Duration::from_secs(1);
/// Longest pause after a round that failed: the database is away, most likely.
const FAILED_MAX: Duration = Duration::from_secs(60);
/// Without a round for so long, days without partitions come near.
const OVERDUE: Duration = Duration::from_secs(24 * 3_600);

/// One round of maintenance. Blocks. `Ok` may carry a sentence on what is wrong with the database although the
/// round was done; it is shown on the health page.
pub type Round = Arc<dyn Fn() -> Result<Option<String>, Unavailable> + Send + Sync>;

/// Maintenance of the database, at once and then every hour. Dropping it stops it after the round in hand.
pub struct MaintenanceTask {
    stop: CancellationToken,
    task: JoinHandle<()>,
    state: Arc<State>,
}

struct State {
    began: Instant,
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    success: Option<Instant>,
    note: Option<String>,
    trouble: Option<Unavailable>,
}

impl MaintenanceTask {
    /// Starts it. Must be called within a Tokio runtime. The database need not be there yet: a round that fails
    /// is tried again, after a second first and after a minute at most.
    #[must_use]
    pub fn start(round: Round) -> Self {
        let stop = CancellationToken::new();
        let state = Arc::new(State {
            began: Instant::now(),
            last: Mutex::default(),
        });
        let task = tokio::spawn(run(round, stop.clone(), Arc::clone(&state)));
        Self { stop, task, state }
    }

    /// Begins no further round. A round in hand is not waited for: each of its steps is done or undone as a whole.
    pub fn stop(&self) {
        self.stop.cancel();
        self.task.abort();
    }

    /// How it is: part `maintenance`, down when no round was done for a day.
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

async fn run(round: Round, stop: CancellationToken, state: Arc<State>) {
    let mut failed = FAILED_MIN;
    loop {
        let round = Arc::clone(&round);
        let pause = match tokio::task::spawn_blocking(move || round()).await {
            Ok(Ok(note)) => {
                if let Some(note) = &note {
                    tracing::error!("{note}");
                }
                gauge!("wattpost_maintenance_last_success_seconds").set(unix_seconds());
                state.set(Last {
                    success: Some(Instant::now()),
                    note,
                    trouble: None,
                });
                failed = FAILED_MIN;
                EVERY
            }
            Ok(Err(away)) => {
                tracing::warn!(%away, "the database's maintenance is put off");
                state.fail(away);
                doubled(&mut failed)
            }
            Err(_) => {
                tracing::error!("the database's maintenance panicked; it is tried again");
                doubled(&mut failed)
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// This pause; the next one is twice as long.
fn doubled(pause: &mut Duration) -> Duration {
    counter!("wattpost_maintenance_failures_total").increment(1);
    let now = *pause;
    *pause = (now * 2).min(FAILED_MAX);
    now
}

fn unix_seconds() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}

impl State {
    fn set(&self, last: Last) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
    }

    fn fail(&self, away: Unavailable) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.trouble = Some(away);
    }
}

impl HealthProbe for State {
    fn health(&self) -> Vec<Health> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let since = last.success.unwrap_or(self.began).elapsed();
        let mut detail = match last.success {
            Some(_) => format!("done {} s ago", since.as_secs()),
            None => "not done yet".to_owned(),
        };
        for words in [
            last.trouble.as_ref().map(|away| format!("put off: {away}")),
            last.note.clone(),
        ]
        .into_iter()
        .flatten()
        {
            detail.push_str("; ");
            detail.push_str(&words);
        }
        vec![Health {
            part: "maintenance",
            up: since < OVERDUE,
            detail,
        }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use central::ports::UnavailableKind;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test(start_paused = true)]
    async fn what_failed_is_tried_again_soon_and_then_every_hour() {
        let rounds = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&rounds);
        let maintenance = MaintenanceTask::start(Arc::new(move || {
            match counted.fetch_add(1, Ordering::SeqCst) {
                0 | 1 => Err(Unavailable {
                    component: "database",
                    kind: UnavailableKind::Unreachable,
                    detail: "late".to_owned(),
                }),
                _ => Ok(Some("it does not sync".to_owned())),
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
        let told = health();
        assert!(
            told.up && told.detail.contains("it does not sync"),
            "{told:?}"
        );
        assert!(!told.detail.contains("put off"), "{told:?}");
        reached(4).await;
        assert!(begun.elapsed() > EVERY);
    }
}
