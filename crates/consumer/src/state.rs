//! The state of the consumer, for the health page and the log.

use central::ports::{Health, HealthProbe, Unavailable};
use common::lock::lock;
use metrics::gauge;
use std::sync::Mutex;
use std::time::Instant;

/// The state of the consumer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum ConsumerState {
    /// Not subscribed yet.
    #[default]
    Starting,
    /// Collects and applies records.
    Consuming,
    /// RabbitMQ is unavailable.
    SourceUnavailable(Unavailable),
    /// The database is unavailable; no unacknowledged records are held.
    DatabaseUnavailable(Unavailable),
    /// Shut down.
    Stopped,
}

/// The current state and when it began.
#[derive(Debug, Default)]
pub(crate) struct SharedState(Mutex<(ConsumerState, Option<Instant>)>);

impl SharedState {
    /// Sets the state. Only changes are logged.
    pub(crate) fn set(&self, now: ConsumerState) {
        let mut current = lock(&self.0);
        let changes = std::mem::discriminant(&current.0) != std::mem::discriminant(&now);
        if !changes {
            current.0 = now;
            return;
        }
        gauge!("wattpost_consumer_consuming").set(if now == ConsumerState::Consuming {
            1.0
        } else {
            0.0
        });
        let before = current.1.map(|since| since.elapsed().as_secs());
        match &now {
            ConsumerState::Starting | ConsumerState::Stopped => {}
            ConsumerState::Consuming => {
                tracing::info!(after_seconds = before, "records are consumed")
            }
            ConsumerState::SourceUnavailable(error) => {
                tracing::warn!(%error, "no records can be consumed")
            }
            ConsumerState::DatabaseUnavailable(error) => {
                tracing::warn!(%error, "consuming stops until the database answers; records wait in RabbitMQ");
            }
        }
        *current = (now, Some(Instant::now()));
    }
}

impl HealthProbe for SharedState {
    fn health(&self) -> Vec<Health> {
        let (state, since) = lock(&self.0).clone();
        let seconds = since.map_or(0, |since| since.elapsed().as_secs());
        let is_ready = !matches!(state, ConsumerState::Starting | ConsumerState::Stopped);
        let (up, detail) = match state {
            ConsumerState::Starting => (false, "not consuming yet".to_owned()),
            ConsumerState::Consuming => (true, format!("consuming for {seconds} s")),
            ConsumerState::SourceUnavailable(error) => (false, format!("{error}, for {seconds} s")),
            ConsumerState::DatabaseUnavailable(error) => (
                false,
                format!("{error}, for {seconds} s; records wait in RabbitMQ"),
            ),
            ConsumerState::Stopped => (false, "stopped".to_owned()),
        };
        vec![Health::new("consumer", up, detail).ready_if(is_ready)]
    }
}
