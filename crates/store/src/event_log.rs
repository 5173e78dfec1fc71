//! The log of events, the same for both databases: which changes are queued, which of them a round moves to the log, and
//! which events follow from them.
//!
//! The queue says only *what* has changed: a transaction, a connector. A round reads the objects as the API shows them and
//! adds the events. So the transaction that stores messages writes one small row per changed object, and the log has the
//! same object as the API. Which events a session has had is kept beside the log, because several changes of a session
//! are one entry: its start and its end are two events, whatever was read when.
//!
//! - `queue`: which changes are queued.
//! - `round`: which entries are moved together.
//! - `session`: which events of a session are in the log.
//! - `compose`: the events of a round.
//! - `page`: a page of the log.

mod compose;
mod page;
mod queue;
mod round;
mod session;

pub(crate) use compose::{Added, Letter, Objects, compose};
pub(crate) use page::{EXPIRED_ROWS, EventColumns, LOG_ROWS_READ, PAGE_BYTES, page_of, read_until};
pub(crate) use queue::{
    COUNTED_MAX, Change, NEWER_KEPT, Queued, known, log_removed, newer, of_progress, of_records,
};
pub(crate) use round::{QUEUE_ROWS_READ, Round};
pub(crate) use session::{SESSION_ROWS_CHECKED, Session};
