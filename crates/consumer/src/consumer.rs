//! The consumer's loop: collect a batch, have it applied, acknowledge it; for ever.
//!
//! ```text
//!             RabbitMQ answers                   the database refuses
//!   seeking ────────────────────▶ consuming ─────────────────────────────▶ waiting
//!      ▲                             │                                        │
//!      └─────────────────────────────┴────────────────────────────────────────┘
//!              RabbitMQ fails                    the database answers
//! ```
//! While the database is away nothing is held: the subscription is cancelled at the first refusal, so that
//! RabbitMQ has everything back, counts one delivery per outage (and not one per try), keeps no delivery
//! waiting for its acknowledgement, and other consumers may try. Whatever sort of trouble it is, it is
//! waited for: full, locked or damaged databases get repaired, and a dropped record does not come back.
//!
//! While one batch is applied the next is collected, if the one in hand was full: then more is waiting. A
//! batch is acknowledged only after all before it, and as soon as it is applied.

use crate::consume_loop::ConsumeLoop;
use crate::state::{ConsumerState, SharedState};
use crate::{Applier, Config};
use central::ports::{HealthProbe, Source, Unavailable};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Pings the database. Blocks.
pub type Ping = Arc<dyn Fn() -> Result<(), Unavailable> + Send + Sync>;

/// Pause before the loop restarts after a panic.
const AFTER_A_PANIC: Duration = Duration::from_secs(1);

/// The dependencies of the consumer.
pub struct ConsumerDeps {
    /// Where records come from.
    pub source: Arc<dyn Source>,
    /// Stores them. The consumer never closes it.
    pub applier: Arc<Applier>,
    /// Asks the database whether it answers, while it is away. Blocks.
    pub database_ping: Ping,
}

/// A running consumer. Dropping it stops it where it is, which loses nothing: what was not acknowledged is
/// delivered again. [`Consumer::shutdown`] is the orderly way.
pub struct Consumer {
    stop: CancellationToken,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    state: Arc<SharedState>,
}

impl Consumer {
    /// Starts collecting. Must be called within a Tokio runtime. Neither RabbitMQ nor the database need be
    /// there yet.
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

    /// Collects no more, stores and acknowledges what is in hand, and gives the rest back to RabbitMQ; after
    /// `grace` it stops where it is, which loses nothing either.
    pub async fn shutdown(&self, grace: Duration) {
        self.stop.cancel();
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let deadline = tokio::time::Instant::now() + grace;
        for mut task in tasks {
            if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
                tracing::warn!("the consumer stops with work in hand; it is done again");
                task.abort();
            }
        }
        self.state.set(ConsumerState::Stopped);
    }

    /// Its health: part `consumer`, up while it consumes.
    #[must_use]
    pub fn probe(&self) -> Arc<dyn HealthProbe> {
        Arc::clone(&self.state) as _
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let tasks = self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner);
        tasks.iter().for_each(JoinHandle::abort);
    }
}

/// A panic in an adapter must not end the loop: the batch in hand is delivered again.
async fn run_until_stopped(consume_loop: ConsumeLoop, stop: CancellationToken) {
    while AssertUnwindSafe(consume_loop.run())
        .catch_unwind()
        .await
        .is_err()
    {
        tracing::error!("consuming ended in a panic and begins anew");
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(AFTER_A_PANIC) => {}
        }
    }
}
