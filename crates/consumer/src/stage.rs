//! What the consumer is doing, for the health page and the log.

use central::ports::{Health, HealthProbe, Unavailable};
use metrics::gauge;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// What it is doing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Stage {
    /// Begins.
    #[default]
    Starting,
    /// Collects and applies.
    Consuming,
    /// RabbitMQ is away.
    SourceAway(Unavailable),
    /// The database is away; nothing is held meanwhile.
    DatabaseAway(Unavailable),
    /// Has ended.
    Stopped,
}

/// The stage, and since when it has been that one.
#[derive(Debug, Default)]
pub(crate) struct Watched(Mutex<(Stage, Option<Instant>)>);

impl Watched {
    /// Notes the stage; the log is told of changes only.
    pub(crate) fn is(&self, now: Stage) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = std::mem::discriminant(&state.0) != std::mem::discriminant(&now);
        if !changes {
            state.0 = now;
            return;
        }
        gauge!("wattpost_consumer_consuming").set(if now == Stage::Consuming { 1.0 } else { 0.0 });
        let before = state.1.map(|since| since.elapsed().as_secs());
        match &now {
            Stage::Starting | Stage::Stopped => {}
            Stage::Consuming => tracing::info!(after_seconds = before, "records are consumed"),
            Stage::SourceAway(away) => tracing::warn!(%away, "no records can be consumed"),
            Stage::DatabaseAway(away) => {
                tracing::warn!(%away, "consuming stops until the database answers; records wait in RabbitMQ");
            }
        }
        *state = (now, Some(Instant::now()));
    }
}

impl HealthProbe for Watched {
    fn health(&self) -> Vec<Health> {
        let (stage, since) = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let seconds = since.map_or(0, |since| since.elapsed().as_secs());
        let (up, detail) = match stage {
            Stage::Starting => (false, "not consuming yet".to_owned()),
            Stage::Consuming => (true, format!("consuming for {seconds} s")),
            Stage::SourceAway(away) => (false, format!("{away}, for {seconds} s")),
            Stage::DatabaseAway(away) => (
                false,
                format!("{away}, for {seconds} s; records wait in RabbitMQ"),
            ),
            Stage::Stopped => (false, "stopped".to_owned()),
        };
        vec![Health {
            part: "consumer",
            up,
            detail,
        }]
    }
}
