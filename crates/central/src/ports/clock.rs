//! The clock that processes on different machines share.
//!
//! A time that one process stores and another one judges is of the database, because the clocks of their machines may be
//! minutes apart. What a gateway records of a charger has the gateway's own time.

use super::Unavailable;
use crate::time::Timestamp;

/// The database's clock. Calls block.
pub trait DatabaseClock: Send + Sync + 'static {
    /// The time now, by the clock of the database's machine. The caller gets it later by the time that the answer takes.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn time(&self) -> Result<Timestamp, Unavailable>;
}
