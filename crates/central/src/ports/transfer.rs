//! Moves a database's contents into another database, of the same or of another product.
//!
//! Most tables follow from the records, so they are rebuilt: a replay applies the records again. What people and
//! programs have set follows from no record; its rows are copied as they are. This port reads and writes such rows
//! without knowing their columns, so a column that a migration adds is copied without a change here.

use super::Unavailable;
use crate::time::Timestamp;
use serde_json::{Map, Value};

/// A row: its columns by name. Bytes and UUIDs are texts; a store reads what every other store writes.
pub type CopiedRow = Map<String, Value>;

/// Rows that [`Transfer::rows`] returns at most.
pub const COPIED_ROWS_MAX: usize = 500;

/// A table whose rows are copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopiedTable {
    /// Its name, the same in every store.
    pub name: &'static str,
    /// The columns by which its rows are sorted; each row has its own values.
    pub key: &'static [&'static str],
    /// The columns that are copied; empty: all.
    pub columns: &'static [&'static str],
    /// What happens to the rows that the target has.
    pub mode: CopyMode,
}

/// What happens to the rows that the target of a copy has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyMode {
    /// They are deleted first.
    Replace,
    /// They stay, and rows with the same key are not copied: the table is rebuilt, and only the order and the spelling of
    /// its rows are copied.
    Keep,
    /// They stay, and rows with the same key are replaced.
    Overwrite,
}

/// What a database holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holding {
    /// No rows.
    Nothing,
    /// The result of a replay that was not finished.
    UnfinishedReplay,
    /// Rows in this table, which no unfinished replay has written.
    Rows(&'static str),
}

/// Reads and writes the rows of a database that do not follow from records. Calls block.
///
/// Laws: rows that one store has returned are stored by another as they were, including those of the other product;
/// U+0000 in a text becomes U+2400 where the product cannot store it. A table's rows come sorted by its key, so a copy
/// that is interrupted can begin again.
pub trait Transfer: Send + Sync + 'static {
    /// What the database holds.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn holding(&self) -> Result<Holding, Unavailable>;

    /// Notes that a replay into this database begins, or that it is finished.
    ///
    /// # Errors
    /// When the database refuses.
    fn mark_replay(&self, is_finished: bool) -> Result<(), Unavailable>;

    /// Prepares the database for records received around `at`: creates the partitions of the days from the day before to
    /// seven days after. Nothing in stores without partitions.
    ///
    /// # Errors
    /// When the database refuses.
    fn prepare_for(&self, at: Timestamp) -> Result<(), Unavailable>;

    /// The tables that are copied, in the order in which that is done.
    fn copied_tables(&self) -> &'static [CopiedTable];

    /// The first [`COPIED_ROWS_MAX`] rows of a table, or those after the row `after`.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn rows(
        &self,
        table: &CopiedTable,
        after: Option<&CopiedRow>,
    ) -> Result<Vec<CopiedRow>, Unavailable>;

    /// Deletes the table's rows if its mode is [`CopyMode::Replace`].
    ///
    /// # Errors
    /// When the database refuses.
    fn clear(&self, table: &CopiedTable) -> Result<(), Unavailable>;

    /// Stores rows, in one transaction.
    ///
    /// # Errors
    /// When the database refuses; then none is stored.
    fn put_rows(&self, table: &CopiedTable, rows: &[CopiedRow]) -> Result<(), Unavailable>;

    /// The keys that transactions had while their start was missing: [`COPIED_ROWS_MAX`] rows with the key, the charger's
    /// key and the transaction's id on the wire, the first ones or those after the row `after`. They depend on the order
    /// in which records arrived, so a replay cannot rebuild them, and people may have noted them.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn former_keys(&self, after: Option<&CopiedRow>) -> Result<Vec<CopiedRow>, Unavailable>;

    /// Stores such keys for the transactions that are here, unless they are known.
    ///
    /// # Errors
    /// When the database refuses; then none is stored.
    fn put_former_keys(&self, rows: &[CopiedRow]) -> Result<(), Unavailable>;

    /// Ends the sessions that a person has closed, if their row in the list was written before the copy of the closing.
    /// Does what is otherwise left to maintenance: afterwards no transaction waits for its row in the list. The log of
    /// events gets nothing of what the replayed records changed.
    ///
    /// # Errors
    /// When the database refuses.
    fn settle(&self) -> Result<(), Unavailable>;

    /// The number of rows of each table that is rebuilt, other than messages and meter values.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn count_rebuilt(&self) -> Result<Vec<(&'static str, u64)>, Unavailable>;
}
