//! How the database is, as the last deliveries found it.

use central::Timestamp;
use central::ports::{Health, Unavailable};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the last delivery said. Up until the first refusal.
#[derive(Debug, Default)]
pub(crate) struct Condition(Mutex<Option<Trouble>>);

#[derive(Debug, Clone)]
struct Trouble {
    away: Unavailable,
    since_millis: i64,
    /// It has answered since, and was given no batch after that.
    answers: bool,
}

impl Condition {
    /// Notes how a delivery ended.
    pub(crate) fn note(&self, away: Option<&Unavailable>, now_millis: i64) {
        let mut trouble = self.lock();
        match (away, trouble.as_mut()) {
            (None, None) => {}
            (None, Some(was)) => {
                let seconds = (now_millis - was.since_millis) / 1_000;
                tracing::info!(away_seconds = seconds, "the database takes records again");
                *trouble = None;
            }
            (Some(away), Some(was)) => {
                was.away.clone_from(away);
                was.answers = false;
            }
            (Some(away), None) => {
                tracing::warn!(%away, "the database refuses records; they wait where they are");
                *trouble = Some(Trouble {
                    away: away.clone(),
                    since_millis: now_millis,
                    answers: false,
                });
            }
        }
    }

    /// Notes that the database answers a question. A refusal is not held against it any longer: there may be
    /// nothing to give it (another consumer took over the queues), and an old refusal says nothing of now.
    pub(crate) fn answers(&self) {
        if let Some(trouble) = self.lock().as_mut() {
            trouble.answers = true;
        }
    }

    /// For `/health/ready`.
    pub(crate) fn health(&self) -> Health {
        let trouble = self.lock().clone();
        Health {
            part: "database",
            up: trouble.as_ref().is_none_or(|trouble| trouble.answers),
            detail: trouble.map_or_else(
                || "takes records".to_owned(),
                |trouble| {
                    let since = Timestamp(trouble.since_millis);
                    match trouble.answers {
                        true => format!(
                            "answers again; it refused records at {since}, and got none since"
                        ),
                        false => format!("{}, since {since}", trouble.away),
                    }
                },
            ),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Trouble>> {
        // A value that is replaced whole; a panic cannot leave it half written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
