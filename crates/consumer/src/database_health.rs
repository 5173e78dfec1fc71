//! The health of the database, from the results of the last deliveries.

use central::Timestamp;
use central::ports::{Health, Unavailable};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The result of the last delivery. Healthy until the first refusal.
#[derive(Debug, Default)]
pub(crate) struct DatabaseHealth(Mutex<Option<Refusal>>);

#[derive(Debug, Clone)]
struct Refusal {
    away: Unavailable,
    since_millis: i64,
    /// The database has answered a ping since, and no batch was delivered after that.
    answers: bool,
}

impl DatabaseHealth {
    /// Records the result of a delivery.
    pub(crate) fn record(&self, away: Option<&Unavailable>, now_millis: i64) {
        let mut refusal = self.lock();
        match (away, refusal.as_mut()) {
            (None, None) => {}
            (None, Some(was)) => {
                let seconds = (now_millis - was.since_millis) / 1_000;
                tracing::info!(away_seconds = seconds, "the database takes records again");
                *refusal = None;
            }
            (Some(away), Some(was)) => {
                was.away.clone_from(away);
                was.answers = false;
            }
            (Some(away), None) => {
                tracing::warn!(%away, "the database refuses records; they wait where they are");
                *refusal = Some(Refusal {
                    away: away.clone(),
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
        Health {
            part: "database",
            up: refusal.as_ref().is_none_or(|refusal| refusal.answers),
            detail: refusal.map_or_else(
                || "takes records".to_owned(),
                |refusal| {
                    let since = Timestamp(refusal.since_millis);
                    match refusal.answers {
                        true => format!(
                            "answers again; it refused records at {since}, and got none since"
                        ),
                        false => format!("{}, since {since}", refusal.away),
                    }
                },
            ),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Refusal>> {
        // The value is replaced as a whole, so a panic cannot leave it half written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
