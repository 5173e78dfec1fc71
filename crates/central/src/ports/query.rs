//! The database's reading side: queries of the API and of exports, page by page.
//!
//! The API and the export use only this port, so that their results are the same on every database. Reading never blocks
//! a writer, and no database transaction stays open between pages: a scan is many short reads, each of which begins where
//! the previous one ended ([`Cursor`](crate::query::Cursor)).
//!
//! Laws, for every adapter: a row that existed when a scan began and does not move is returned exactly once, whatever is
//! added meanwhile; a row that is added before the scan's position is returned by the next scan. Messages never move.
//! Transactions are sorted by their start, which may become known late; only such a transaction can move.

use super::Unavailable;
use crate::model::{
    AuditView, CommandId, DeadLetterRow, MessageRow, QuirkSummary, QuirkView, TransactionView,
};
use crate::query::{
    AuditFilter, ChargerDetail, ChargerFilter, ConnectionRow, DeadLetterFilter, GatewayRun,
    MentionFilter, MessageFilter, Page, PageRequest, QuirkFilter, ReadingFilter, ReadingRows,
    RowPlace, TransactionFilter, WireId,
};
use crate::record::{GatewayId, RecordId};
use crate::time::Timestamp;
use uuid::Uuid;

/// Reads from the database. Calls block.
pub trait QueryStore: Send + Sync + 'static {
    /// Chargers with their connectors by identity, ascending: those that have connected, and those that the operator has
    /// added.
    ///
    /// # Errors
    /// When the database cannot be read now, or the cursor is not one of this list.
    fn chargers(
        &self,
        filter: &ChargerFilter,
        page: &PageRequest,
    ) -> Result<Page<ChargerDetail>, QueryError>;

    /// One charger with its connectors; `None` if it is not known. The letter case of `id` is ignored.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn charger(&self, id: &str) -> Result<Option<ChargerDetail>, QueryError>;

    /// Transactions, the latest start first.
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

    /// Meter values of one transaction by time and hash, at most `limit` (at most 1,000) after a position. A call covers
    /// seven days at most, so it may have few rows or none and still have a next position.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn meter_values(
        &self,
        filter: &ReadingFilter,
        after: Option<RowPlace>,
        limit: usize,
    ) -> Result<ReadingRows, QueryError>;

    /// Messages by gateway (in the order of their first message in the database), then by sequence number.
    ///
    /// # Errors
    /// As [`QueryStore::chargers`].
    fn messages(
        &self,
        filter: &MessageFilter,
        page: &PageRequest,
    ) -> Result<Page<MessageRow>, QueryError>;

    /// One message; `None` if the database does not have it. Of several messages with this id, the one that was received
    /// first.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn message(&self, id: RecordId) -> Result<Option<MessageRow>, QueryError>;

    /// The messages of these calls of the central system: of each the call, the first reply, and the end of waiting for a
    /// reply, as far as the database has them; in no order.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn messages_of_calls(&self, calls: &[CommandId]) -> Result<Vec<MessageRow>, QueryError>;

    /// Messages of one charger by the time of their reception, then by gateway and number. A page covers 31 days at most,
    /// so it may have few rows or none and still have a next one.
    ///
    /// # Errors
    /// As [`QueryStore::chargers`].
    fn messages_by_time(
        &self,
        filter: &MentionFilter,
        page: &PageRequest,
    ) -> Result<Page<MessageRow>, QueryError>;

    /// The connections of one charger, the newest first: those of which the database has the begin or the end. Empty if the
    /// charger is not known.
    ///
    /// # Errors
    /// As [`QueryStore::chargers`].
    fn connections(
        &self,
        charger: &str,
        page: &PageRequest,
    ) -> Result<Page<ConnectionRow>, QueryError>;

    /// The times in which these gateways ran, as far as they overlap the time between `from` and `to`; others may be among
    /// them. `None` if all gateways together started more than `starts_max` times in it.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn gateway_runs(
        &self,
        gateways: &[GatewayId],
        from: Timestamp,
        to: Timestamp,
        starts_max: usize,
    ) -> Result<Option<Vec<GatewayRun>>, QueryError>;

    /// The transactions with these ids on the wire, in no order. Several may have one id.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn transactions_on_wire(&self, ids: &[WireId]) -> Result<Vec<TransactionView>, QueryError>;

    /// Records that could not be applied, oldest first.
    ///
    /// # Errors
    /// As [`QueryStore::chargers`].
    fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        page: &PageRequest,
    ) -> Result<Page<DeadLetterRow>, QueryError>;

    /// The dead letter of one record; `None` if there is none.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn dead_letter_row(&self, id: RecordId) -> Result<Option<DeadLetterRow>, QueryError>;

    /// The quirks of one charger, by their number; empty if it has none or is not known. The letter case of `id` is
    /// ignored.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn charger_quirks(&self, id: &str) -> Result<Vec<QuirkView>, QueryError>;

    /// The quirks of all chargers by their number, vendor, model and firmware, as each charger's latest boot reports
    /// them. Each page reads the counts of all chargers.
    ///
    /// # Errors
    /// As [`QueryStore::chargers`].
    fn quirks(
        &self,
        filter: &QuirkFilter,
        page: &PageRequest,
    ) -> Result<Page<QuirkSummary>, QueryError>;

    /// Entries of the audit log, the newest first.
    ///
    /// # Errors
    /// As [`QueryStore::chargers`].
    fn audit(
        &self,
        filter: &AuditFilter,
        page: &PageRequest,
    ) -> Result<Page<AuditView>, QueryError>;

    /// An upper estimate of the rows of a scan with this filter, for progress.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn count_messages(&self, filter: &MessageFilter) -> Result<u64, QueryError>;

    /// An upper estimate of the rows of a scan with this filter, for progress.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn count_transactions(&self, filter: &TransactionFilter) -> Result<u64, QueryError>;
}

/// Why a query failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The database cannot be read now; try again later.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The cursor is not one of this list; begin without one.
    #[error("the cursor is not one of this list; begin again without a cursor")]
    BadCursor,
}
