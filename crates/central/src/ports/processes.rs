//! What the database knows of the processes of Wattpost, and how much of each journal it has.

use super::Unavailable;
use crate::model::{Origin, ProcessReport};
use crate::record::{GatewayId, Seq};

/// A report as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownProcess {
    /// The latest report.
    pub report: ProcessReport,
    /// How long ago it was stored, in milliseconds, by the database's clock.
    pub age_ms: i64,
    /// Of a gateway: up to here every record is known to be stored ([`Processes::set_all_stored`]).
    pub all_stored: Seq,
    /// Whether an operator has retired this gateway since its last report.
    pub is_retired: bool,
}

/// Reports of processes, and counts for the balance of the pipeline. Calls block.
///
/// Laws: a process has one row, that of its latest report.
/// Reports of processes that are no longer shown ([`ProcessReport::shown_ms`]) are deleted when another one is stored.
/// A sequence number counts as stored as in [`Maintenance`](super::Maintenance). `all_stored` only grows.
pub trait Processes: Send + Sync + 'static {
    /// Stores the report. A gateway that reports is no longer retired.
    ///
    /// # Errors
    /// When the database refuses; nothing has changed.
    fn report_process(&self, report: &ProcessReport) -> Result<(), Unavailable>;

    /// All processes that are shown, by their ids.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn processes(&self) -> Result<Vec<KnownProcess>, Unavailable>;

    /// Notes that every record of this gateway up to `upto` is stored. Without a row of it nothing changes.
    ///
    /// # Errors
    /// When the database refuses.
    fn set_all_stored(&self, gateway: GatewayId, upto: Seq) -> Result<(), Unavailable>;

    /// Marks a gateway as retired, if there is a row of it, and adds an entry `gateway.retired` of `origin` to the audit log,
    /// which says for how many chargers' connections the gateway counted.
    ///
    /// # Errors
    /// When the database refuses.
    fn retire_process(
        &self,
        gateway: GatewayId,
        chargers: u64,
        origin: &Origin,
    ) -> Result<(), Unavailable>;

    /// How many of the sequence numbers `first` to `last` of this gateway are stored, as messages or as dead letters, also
    /// discarded ones. The time grows with the range.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn count_stored(&self, gateway: GatewayId, first: Seq, last: Seq) -> Result<u64, Unavailable>;

    /// The number of dead letters, counted up to `most`.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn count_dead_letters(&self, most: u64) -> Result<u64, Unavailable>;
}
