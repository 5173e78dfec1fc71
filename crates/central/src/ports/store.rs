//! The database's writing side: records with their changes, and dead letters.

use super::Unavailable;
use crate::project::Changes;
use crate::record::{Record, RecordId};

/// A record that can never be applied, kept with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Which record.
    pub id: RecordId,
    /// Its bytes, as the journal held them.
    pub bytes: Vec<u8>,
    /// Why.
    pub reason: String,
}

/// The reason of a dead letter whose id belongs to another record already.
pub const ID_USED_TWICE: &str = "another record has this id: two journals used the same gateway id, \
     as when one is restored from an old copy (docs/operations.md, Backup)";

/// What one call of [`Store::apply`] did. A record that is neither became a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applied {
    /// Records that were new.
    pub new: u64,
    /// Records that were known already (redelivered).
    pub known: u64,
}

/// The ledger's writing side. Calls block; the consumer keeps a thread for them.
///
/// Laws: `apply` is one database transaction: after `Ok` all of it is durable, after `Err` none of
/// it is visible; but where a record of it is refused for ever, parts of it may be, and the next call
/// finds them known. Applying twice equals applying once (record ids are the inbox). Another record under
/// an id that is known is not known: it becomes a dead letter ([`ID_USED_TWICE`]). Changes are merged
/// into what is stored ([`crate::model::Merge`]), so the order of calls does not matter.
pub trait Store: Send + Sync + 'static {
    /// Applies records, the changes that they imply, and dead letters.
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

/// Dead letters for people: look at one, throw one away. Calls block.
pub trait DeadLetters: Send + Sync + 'static {
    /// The dead letter of this record, whole; `None` when there is none.
    ///
    /// # Errors
    /// When the database cannot be asked now.
    fn dead_letter(&self, id: RecordId) -> Result<Option<DeadLetter>, Unavailable>;

    /// Removes the dead letter of this record for good; `false` when there was none.
    ///
    /// # Errors
    /// When the database refuses now.
    fn discard_dead_letter(&self, id: RecordId) -> Result<bool, Unavailable>;
}
