//! Sessions that a person closes, because their stop will not come.

use super::Unavailable;
use crate::Timestamp;
use crate::model::ClosedBy;
use uuid::Uuid;

/// That a person closed a session. It is kept beside what the charger reported: no message is invented. If the
/// stop arrives later, the end and the energy follow from it.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// What became of a request to close a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClosingOutcome {
    /// It is closed.
    Closed,
    /// There is no open session of this key; it may have ended a moment ago.
    NotOpen,
}

/// Closes sessions. Calls block.
pub trait Closings: Send + Sync + 'static {
    /// Closes the session of [`Closing::key`] if it is open. After `Ok` the closing is durable, and no list shows the
    /// session as open.
    ///
    /// # Errors
    /// When the database refuses; nothing has changed.
    fn close_session(&self, closing: &Closing) -> Result<ClosingOutcome, Unavailable>;
}
