//! Sessions that a person closes, because their stop will not come.

use super::{ChangeRequest, Once, Unavailable};
use crate::Timestamp;
use crate::model::{ClosedBy, TransactionView};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A session with a message more recent than this, in milliseconds, is closed only if the request is forced.
pub const CLOSING_SILENT_MS_MIN: i64 = 15 * 60_000;

/// Characters of the reason of a closing at most.
pub const CLOSING_REASON_CHARS_MAX: usize = 1_000;

/// That a person closed a session. It is kept beside what the charger reported: no message is invented. If the
/// stop arrives later, the end and the energy follow from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// The session's key.
    pub key: Uuid,
    /// When it ended, by the person's knowledge.
    pub ended_at: Timestamp,
    /// Who closed it.
    pub who: String,
    /// Why.
    pub reason: String,
    /// When this was noted.
    pub noted_at: Timestamp,
}

impl Closing {
    /// The same as a part of the session's view.
    #[must_use]
    pub fn by(&self) -> ClosedBy {
        ClosedBy::Person {
            who: self.who.clone(),
            reason: self.reason.clone(),
            noted_at: self.noted_at,
        }
    }
}

/// A request to close a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseRequest {
    /// A key of the session, also one that it had before its start arrived.
    pub key: Uuid,
    /// When it ended. `None`: at its last message.
    pub ended_at: Option<Timestamp>,
    /// Who closes it, as its view will show.
    pub who: String,
    /// Why: 1 to [`CLOSING_REASON_CHARS_MAX`] characters without control characters.
    pub reason: String,
    /// Whether it is closed although the charger sent a message about it within [`CLOSING_SILENT_MS_MIN`].
    pub is_forced: bool,
    /// Who requests it, and when. A condition is not used.
    pub request: ChangeRequest,
}

impl CloseRequest {
    /// The closing of the session that has this view.
    ///
    /// # Errors
    /// When the session is not to be closed.
    pub fn closing(&self, view: &TransactionView) -> Result<Closing, NotClosed> {
        let now = self.request.origin.at;
        let key = view.key;
        if let Some(closed) = view.closed.as_ref().filter(|_| view.ended_at.is_none()) {
            return Err(match &closed.by {
                ClosedBy::Superseded { transaction } => NotClosed::Superseded {
                    key,
                    transaction: *transaction,
                    at: closed.at,
                },
                ClosedBy::Person { who, noted_at, .. } => NotClosed::ClosedBefore {
                    key,
                    who: who.clone(),
                    noted_at: *noted_at,
                },
            });
        }
        if !view.open {
            return Err(match view.ended_at {
                Some(at) => NotClosed::Stopped { key, at },
                None => NotClosed::Ended { key },
            });
        }
        if let Some(last_at) = view.last_at.filter(|_| !self.is_forced)
            && now.as_millis() - last_at.as_millis() < CLOSING_SILENT_MS_MIN
        {
            return Err(NotClosed::MayRun {
                charger_id: view.charger_id.clone(),
                key,
                last_at,
            });
        }
        let given = self.ended_at.or(view.last_at).or(view.started_at);
        let ended_at = given.unwrap_or(now);
        if ended_at > now {
            return Err(NotClosed::InFuture { at: ended_at });
        }
        if let Some(started_at) = view.started_at.filter(|started_at| ended_at < *started_at) {
            return Err(NotClosed::BeforeStart {
                at: ended_at,
                started_at,
            });
        }
        Ok(Closing {
            key,
            ended_at,
            who: self.who.clone(),
            reason: self.reason.clone(),
            noted_at: now,
        })
    }
}

/// Why a session was not closed. The text names the session and the cause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotClosed {
    /// It is not known.
    #[error("there is no transaction {key}")]
    Unknown {
        /// The key of the request.
        key: Uuid,
    },
    /// A later session on its connector closed it.
    #[error(
        "transaction {key} is closed already: transaction {transaction} started on its connector at {at}"
    )]
    Superseded {
        /// Its key.
        key: Uuid,
        /// The key of the later session.
        transaction: Uuid,
        /// When the later one started.
        at: Timestamp,
    },
    /// A person closed it before.
    #[error("transaction {key} is closed already: by {who} at {noted_at}")]
    ClosedBefore {
        /// Its key.
        key: Uuid,
        /// The person.
        who: String,
        /// When.
        noted_at: Timestamp,
    },
    /// Its stop has arrived.
    #[error("transaction {key} has ended: its stop says {at}")]
    Stopped {
        /// Its key.
        key: Uuid,
        /// The time of the stop.
        at: Timestamp,
    },
    /// It has ended; the time is not known.
    #[error("transaction {key} has ended")]
    Ended {
        /// Its key.
        key: Uuid,
    },
    /// The charger sent a message about it within [`CLOSING_SILENT_MS_MIN`].
    #[error(
        "charger {charger_id} sent a message about transaction {key} at {last_at}, less than 15 minutes ago: it may still run"
    )]
    MayRun {
        /// The charger.
        charger_id: String,
        /// Its key.
        key: Uuid,
        /// The time of the last message.
        last_at: Timestamp,
    },
    /// The end is later than the request.
    #[error("{at} is in the future: give the time at which the transaction ended")]
    InFuture {
        /// The end.
        at: Timestamp,
    },
    /// The end is before the start.
    #[error("{at} is before the start of the transaction at {started_at}")]
    BeforeStart {
        /// The end.
        at: Timestamp,
        /// The start.
        started_at: Timestamp,
    },
}

/// Closes sessions. Calls block.
///
/// Laws: the closing, its entry in the audit log (`transaction.closed`) and its idempotency key are one database
/// transaction; the session is judged ([`CloseRequest::closing`]) by what is stored in that transaction.
pub trait Closings: Send + Sync + 'static {
    /// Closes the session of [`CloseRequest::key`] if it is open. After [`Once::Done`] the closing is durable, and no list
    /// shows the session as open.
    ///
    /// # Errors
    /// When the database refuses; nothing has changed.
    fn close_session(&self, wanted: &CloseRequest)
    -> Result<Once<Closing, NotClosed>, Unavailable>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::sample::transaction;
    use crate::model::{Actor, ActorKind, Origin};

    const NOW: Timestamp = Timestamp(1_770_000_000_000);

    fn open(last_ms_ago: i64) -> TransactionView {
        let mut view = transaction("CP-1", 1, true);
        view.open = true;
        view.ended_at = None;
        view.closed = None;
        view.started_at = Some(NOW.plus_millis(-3 * 3_600_000));
        view.last_at = Some(NOW.plus_millis(-last_ms_ago));
        view
    }

    fn wanted(ended_at: Option<Timestamp>, is_forced: bool) -> CloseRequest {
        CloseRequest {
            key: Uuid::from_u128(1),
            ended_at,
            who: "alice".to_owned(),
            reason: "replaced".to_owned(),
            is_forced,
            request: ChangeRequest::of(Origin {
                at: NOW,
                by: Actor {
                    kind: ActorKind::CommandLine,
                    name: None,
                },
                from: "test".to_owned(),
                request_id: None,
                traceparent: None,
            }),
        }
    }

    fn end(view: &TransactionView, at: Option<Timestamp>) -> Option<Timestamp> {
        let closing = wanted(at, false).closing(view);
        closing.ok().map(|closing| closing.ended_at)
    }

    fn refusal(view: &TransactionView, at: Option<Timestamp>) -> String {
        let refused = wanted(at, false).closing(view);
        refused.expect_err("refused").to_string()
    }

    #[test]
    fn an_open_transaction_ends_at_its_last_message_or_at_the_given_time() {
        let view = open(CLOSING_SILENT_MS_MIN);
        assert_eq!(end(&view, None), view.last_at);
        let at = Some(NOW.plus_millis(-3_600_000));
        assert_eq!(end(&view, at), at);
    }

    #[test]
    fn a_transaction_with_a_recent_message_is_closed_only_by_force() {
        let view = open(CLOSING_SILENT_MS_MIN - 1);
        let text = refusal(&view, None);
        assert!(
            text.contains("CP-1") && text.contains("may still run"),
            "{text}"
        );
        assert!(wanted(None, true).closing(&view).is_ok());
    }

    #[test]
    fn a_time_before_the_start_or_in_the_future_is_refused() {
        let view = open(CLOSING_SILENT_MS_MIN);
        assert!(refusal(&view, Some(NOW.plus_millis(1))).contains("future"));
        let before = NOW.plus_millis(-4 * 3_600_000);
        assert!(refusal(&view, Some(before)).contains("before the start"));
    }

    #[test]
    fn an_ended_or_closed_transaction_is_refused_with_its_end() {
        let mut ended = open(CLOSING_SILENT_MS_MIN);
        ended.open = false;
        ended.ended_at = Some(NOW.plus_millis(-60_000));
        assert!(refusal(&ended, None).contains("its stop says"));
        let mut superseded = open(CLOSING_SILENT_MS_MIN);
        superseded.supersede(Uuid::from_u128(5), NOW.plus_millis(-5), NOW);
        assert!(refusal(&superseded, None).contains("started on its connector"));
        let mut closed = open(CLOSING_SILENT_MS_MIN);
        let by = ClosedBy::Person {
            who: "alice".to_owned(),
            reason: "r".to_owned(),
            noted_at: NOW,
        };
        closed.close(by, NOW);
        assert!(refusal(&closed, None).contains("by alice"));
    }
}
