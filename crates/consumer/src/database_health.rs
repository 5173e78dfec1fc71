//! The health of the database, from the results of the last deliveries.

use central::Timestamp;
use central::ports::{Health, Unavailable};
use common::lock::lock;
use std::sync::{Mutex, MutexGuard};

/// The result of the last delivery. Healthy until the first refusal.
#[derive(Debug, Default)]
pub(crate) struct DatabaseHealth(Mutex<Option<Refusal>>);

#[derive(Debug, Clone)]
struct Refusal {
    error: Unavailable,
    since_millis: i64,
    /// The database has answered a ping since, and no batch was delivered after that.
    answers: bool,
}

impl DatabaseHealth {
    /// Records the result of a delivery.
    pub(crate) fn record(&self, error: Option<&Unavailable>, now_millis: i64) {
        let mut refusal = self.lock();
        match (error, refusal.as_mut()) {
            (None, None) => {}
            (None, Some(was)) => {
                let seconds = (now_millis - was.since_millis) / 1_000;
                tracing::info!(
                    unavailable_seconds = seconds,
                    "the database accepts records again"
                );
                *refusal = None;
            }
            (Some(error), Some(was)) => {
                was.error.clone_from(error);
                was.answers = false;
            }
            (Some(error), None) => {
                tracing::warn!(%error, "the database refuses records; they wait where they are");
                *refusal = Some(Refusal {
                    error: error.clone(),
                    since_millis: now_millis,
                    answers: false,
                });
            }
        }
    }

    /// Records that the database answered a ping. An earlier refusal no longer counts: there may be no batch to
    /// deliver (another consumer took over the queues), and an old refusal says nothing about the present.
    pub(crate) fn answers(&self) {
        if let Some(refusal) = self.lock().as_mut() {
            refusal.answers = true;
        }
    }

    /// For `/health/ready`.
    pub(crate) fn health(&self) -> Health {
        let refusal = self.lock().clone();
        let up = refusal.as_ref().is_none_or(|refusal| refusal.answers);
        let detail = refusal.map_or_else(
            || "accepts records".to_owned(),
            |refusal| {
                let since = Timestamp(refusal.since_millis);
                match refusal.answers {
                    true => {
                        format!("answers again; it refused records at {since}, and got none since")
                    }
                    false => format!("{}, since {since}", refusal.error),
                }
            },
        );
        Health::new("database", up, detail)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Refusal>> {
        // The value is replaced as a whole, so a panic cannot leave it half written.
        lock(&self.0)
    }
}
