//! The database's reading side: what people, programs and exports may ask, page by page.
//!
//! The API and the export know only this port, so that their answers are the same on every database.
//! Reading never blocks a writer, and a page never holds the database open: a scan is many short reads,
//! each of which begins where the last one ended ([`Cursor`](crate::query::Cursor)).
//!
//! Laws, for every adapter: a row that existed when a scan began and does not move is returned exactly
//! once, whatever is added meanwhile; a row that is added behind the scan's position is returned by the
//! next scan. Messages never move. Transactions are sorted by their start, which may become known late;
//! only such a transaction can move.

use super::Unavailable;
use crate::model::{ChargerView, DeadLetterRow, MessageRow, TransactionView};
use crate::query::{
    ChargerDetail, ChargerFilter, MessageFilter, Page, PageRequest, TransactionFilter,
};
use uuid::Uuid;

/// Reads what the ledger knows. Calls block; ask from a thread that may.
pub trait QueryStore: Send + Sync + 'static {
    /// Chargers by identity, ascending.
    ///
    /// # Errors
    /// When the database cannot be read now, or the cursor is none of this list's.
    fn chargers(
        &self,
        filter: &ChargerFilter,
        page: &PageRequest,
    ) -> Result<Page<ChargerView>, QueryError>;

    /// One charger with its connectors; `None` when it was never heard of. Case of `id` is ignored.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn charger(&self, id: &str) -> Result<Option<ChargerDetail>, QueryError>;

    /// Transactions, the latest begun first.
    ///
    /// # Errors
    /// As [`QueryStore::chargers`].
    fn transactions(
        &self,
        filter: &TransactionFilter,
        page: &PageRequest,
    ) -> Result<Page<TransactionView>, QueryError>;

    /// One transaction by its key.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn transaction(&self, key: Uuid) -> Result<Option<TransactionView>, QueryError>;

    /// Messages by gateway (in the order in which the ledger met them), then journal sequence.
    ///
    /// # Errors
    /// As [`QueryStore::chargers`].
    fn messages(
        &self,
        filter: &MessageFilter,
        page: &PageRequest,
    ) -> Result<Page<MessageRow>, QueryError>;

    /// Records that could not be applied, oldest first.
    ///
    /// # Errors
    /// As [`QueryStore::chargers`].
    fn dead_letters(&self, page: &PageRequest) -> Result<Page<DeadLetterRow>, QueryError>;

    /// About how many rows a walk with this filter will see, for progress; may be well above.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn count_messages(&self, filter: &MessageFilter) -> Result<u64, QueryError>;

    /// About how many rows a walk with this filter will see, for progress; may be well above.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn count_transactions(&self, filter: &TransactionFilter) -> Result<u64, QueryError>;
}

/// Why a question got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The database cannot be read now; ask again later.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The cursor was not made by this list; begin without one.
    #[error("the cursor is not one of this list's; begin again without a cursor")]
    BadCursor,
}
