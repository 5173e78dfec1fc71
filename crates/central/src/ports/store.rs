//! The database's writing side: records with their changes.

use super::{DeadLetter, Unavailable};
use crate::project::Changes;
use crate::record::{Record, RecordId};

/// The result of [`Store::apply`]. A record that is neither new nor known became a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applied {
    /// Records that were new.
    pub new: u64,
    /// Records that were stored already (redelivered).
    pub known: u64,
}

/// The database's writing side. Calls block; the consumer has a thread for them.
///
/// Laws: `apply` is one database transaction: after `Ok` all of it is durable, after `Err` none of it is visible. If the
/// database can never store one of the records, parts of the batch may be visible after `Err`, and the next call counts
/// them as known. Applying twice equals applying once (record ids are the inbox). A different record with a stored id
/// becomes a dead letter ([`ID_USED_TWICE`](super::ID_USED_TWICE)). Changes are merged into the stored state ([`crate::model::Merge`]), so the
/// order of calls does not matter.
pub trait Store: Send + Sync + 'static {
    /// Applies records, the changes that follow from them, and dead letters.
    ///
    /// # Errors
    /// When the database refuses; the caller backs off and calls again with the same arguments.
    fn apply(
        &self,
        records: &[(RecordId, Record<'_>)],
        changes: &Changes,
        dead: &[DeadLetter],
    ) -> Result<Applied, Unavailable>;
}
