//! The consumer: collects a batch, has it applied, acknowledges it, and repeats.
//!
//! ```text
//!             RabbitMQ answers                   the database refuses
//! subscribing ──────────────────▶ consuming ─────────────────────────────▶ waiting
//!      ▲                             │                                        │
//!      └─────────────────────────────┴────────────────────────────────────────┘
//!              RabbitMQ fails                    the database answers
//! ```
//! While the database is unavailable no records are held: the subscription is cancelled at the first refusal.
//! So RabbitMQ requeues all records, counts one delivery per outage (not per retry), no delivery waits for its
//! acknowledgement, and other consumers may try. Every error of the database is waited for, whatever its kind:
//! full, locked or damaged databases get repaired, but a dropped record would be lost.
//!
//! If a batch is full, more records are waiting, so the next one is collected while it is applied. A batch is
//! acknowledged as soon as it and all batches before it are applied.

use crate::consume_loop::ConsumeLoop;
use crate::state::{ConsumerState, SharedState};
use crate::{Applier, Config};
use central::ports::{HealthProbe, Source, Unavailable};
use common::lock::lock;
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Pings the database. Blocks.
pub type Ping = Arc<dyn Fn() -> Result<(), Unavailable> + Send + Sync>;

/// Delay before the loop restarts after a panic.
const AFTER_A_PANIC: Duration = Duration::from_secs(1);

/// The dependencies of the consumer.
pub struct ConsumerDeps {
    /// The source of the records.
    pub source: Arc<dyn Source>,
    /// Applies the records. The consumer never closes it.
    pub applier: Arc<Applier>,
    /// Checks whether the database answers, while it is unavailable. Blocks.
    pub database_ping: Ping,
}

/// A running consumer. Dropping it aborts it, which loses nothing: unacknowledged records are delivered again.
/// [`Consumer::shutdown`] stops it in order.
pub struct Consumer {
    stop: CancellationToken,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    state: Arc<SharedState>,
}

impl Consumer {
    /// Starts consuming; must be called within a Tokio runtime. RabbitMQ and the database may still be
    /// unavailable.
    #[must_use]
    pub fn start(deps: ConsumerDeps, config: Config) -> Self {
        let stop = CancellationToken::new();
        let state = Arc::new(SharedState::default());
        let consume_loop = ConsumeLoop::new(
            deps.source,
            deps.applier,
            deps.database_ping,
            config,
            stop.clone(),
            Arc::clone(&state),
        );
        let tasks = vec![tokio::spawn(run_until_stopped(consume_loop, stop.clone()))];
        Self {
            stop,
            tasks: Mutex::new(tasks),
            state,
        }
    }

    /// Collects no more records, applies and acknowledges the current batch, and returns the others to
    /// RabbitMQ. After `grace` it is aborted, which loses nothing either.
    pub async fn shutdown(&self, grace: Duration) {
        self.stop.cancel();
        let tasks = std::mem::take(&mut *lock(&self.tasks));
        let deadline = tokio::time::Instant::now() + grace;
        for mut task in tasks {
            if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
                tracing::warn!(
                    "the consumer was stopped before the current batch was acknowledged; it will be delivered again"
                );
                task.abort();
            }
        }
        self.state.set(ConsumerState::Stopped);
    }

    /// Health part `consumer`: up while it consumes.
    #[must_use]
    pub fn probe(&self) -> Arc<dyn HealthProbe> {
        Arc::clone(&self.state) as _
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        lock(&self.tasks).iter().for_each(JoinHandle::abort);
    }
}

/// Restarts the loop after a panic; the current batch is then delivered again.
async fn run_until_stopped(consume_loop: ConsumeLoop, stop: CancellationToken) {
    while AssertUnwindSafe(consume_loop.run())
        .catch_unwind()
        .await
        .is_err()
    {
        tracing::error!("consuming panicked and is restarted");
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(AFTER_A_PANIC) => {}
        }
    }
}
