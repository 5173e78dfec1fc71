//! Batches: one command to many chargers.
//!
//! The database has the plan, the frozen list of chargers and what became of each. One process at a time drives a batch,
//! by a lease; every step is a database transaction that checks the lease, so that a driver that was killed or has lost
//! its lease cannot start a command twice.

use super::{ChangeRequest, NewCommand, Once, QueryError, Unavailable};
use crate::model::{BatchChange, BatchId, BatchPlan, BatchState, BatchView, ItemState, ItemView};
use crate::query::{Page, PageRequest};
use crate::time::Timestamp;
use uuid::Uuid;

/// A batch to be created.
#[derive(Debug, Clone, PartialEq)]
pub struct NewBatch {
    /// Its id.
    pub id: BatchId,
    /// What is fixed.
    pub plan: BatchPlan,
    /// Its chargers, in the order of their turns, without repeats.
    pub chargers: Vec<String>,
    /// Who requests it, when, and under which idempotency key. The condition is not used.
    pub request: ChangeRequest,
}

/// Why a batch was not created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchNotCreated {
    /// As many batches as permitted are not finished ([`BATCHES_OPEN_MAX`](crate::model::BATCHES_OPEN_MAX)).
    TooMany,
    /// The same request created this batch before, and it is no longer kept
    /// ([`BATCHES_KEPT`](crate::model::BATCHES_KEPT)).
    Deleted(BatchId),
}

/// Why the state of a batch was not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchNotChanged {
    /// There is no such batch.
    Unknown,
    /// It has ended, in this state.
    Ended(BatchState),
}

/// What a driver has found out about a charger.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemEnd {
    /// Its place.
    pub place: u32,
    /// Its state.
    pub state: ItemState,
    /// Why.
    pub detail: String,
}

/// Creates, shows and drives batches. Calls block.
///
/// Laws: `create_batch` stores the batch, its chargers, the entry of the audit log and the idempotency key in one database
/// transaction, `change_batch` the new state with the latter two; a change that changes nothing has no entry. What a repeat
/// returns is the batch as it is now. Of all holders, one has the lease of a batch at a time. `start_items` and `end_items` change nothing without the lease, and a
/// command is created with the change of its item from pending to started, so once. The counts are those of the items.
/// The numbers of a batch that is not finished change only by these calls.
pub trait Batches: Send + Sync + 'static {
    /// Stores a batch, and deletes the oldest finished ones beyond
    /// [`BATCHES_KEPT`](crate::model::BATCHES_KEPT).
    ///
    /// # Errors
    /// When the database refuses.
    fn create_batch(&self, new: &NewBatch)
    -> Result<Once<BatchView, BatchNotCreated>, Unavailable>;

    /// What [`create_batch`](Self::create_batch) would return for a request whose idempotency key was used within
    /// [`IDEMPOTENCY_KEPT_MS`](super::IDEMPOTENCY_KEPT_MS); `None` for another request. A request is asked about before its
    /// chargers are selected, because what made the first one valid may have changed since.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn batch_created_before(
        &self,
        request: &ChangeRequest,
    ) -> Result<Option<Once<BatchView, BatchNotCreated>>, Unavailable>;

    /// Does what a person requests with a batch. A batch that has the wanted state already stays as it is.
    ///
    /// # Errors
    /// When the database refuses.
    fn change_batch(
        &self,
        id: BatchId,
        change: BatchChange,
        request: &ChangeRequest,
    ) -> Result<Once<BatchView, BatchNotChanged>, Unavailable>;

    /// One batch.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn batch(&self, id: BatchId) -> Result<Option<BatchView>, Unavailable>;

    /// Batches, the newest first.
    ///
    /// # Errors
    /// When the database cannot be read now, or the cursor is not one of this list.
    fn batches(&self, page: &PageRequest) -> Result<Page<BatchView>, QueryError>;

    /// The chargers of a batch in the order of their turns, or only those in one state. Empty for an unknown batch.
    ///
    /// # Errors
    /// As [`Batches::batches`].
    fn batch_items(
        &self,
        id: BatchId,
        state: Option<ItemState>,
        page: &PageRequest,
        now: Timestamp,
    ) -> Result<Page<ItemView>, QueryError>;

    /// Changes the state of a batch if it is one of `from`, for its driver. Returns whether it was, and the batch; `None` if there is
    /// none.
    ///
    /// # Errors
    /// When the database refuses.
    fn set_batch_state(
        &self,
        id: BatchId,
        from: &[BatchState],
        to: BatchState,
        detail: &str,
    ) -> Result<Option<(bool, BatchView)>, Unavailable>;

    /// Takes or extends the leases of batches with something to do that no other holder has, until `until`.
    ///
    /// # Errors
    /// When the database refuses.
    fn lease_batches(
        &self,
        holder: Uuid,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<BatchView>, Unavailable>;

    /// Creates the commands of pending items, in one database transaction, while the batch is running. Returns the places
    /// that were started; a charger whose queue is full has failed.
    ///
    /// # Errors
    /// When the database refuses; then nothing has changed, or all has and it was not reported.
    fn start_items(
        &self,
        id: BatchId,
        holder: Uuid,
        commands: &[(u32, NewCommand)],
        now: Timestamp,
    ) -> Result<Vec<u32>, Unavailable>;

    /// Ends items that have not ended, in one database transaction.
    ///
    /// # Errors
    /// When the database refuses.
    fn end_items(
        &self,
        id: BatchId,
        holder: Uuid,
        ends: &[ItemEnd],
        now: Timestamp,
    ) -> Result<(), Unavailable>;
}
