//! Alerts, silences, and the lease under which one process evaluates.

use super::{ChangeRequest, Once, QueryError, Unavailable};
use crate::alert::Severity;
use crate::alert::machine::Step;
use crate::model::{Acknowledged, Alert, AlertState, Silence};
use crate::query::{Page, PageRequest};
use crate::time::Timestamp;
use uuid::Uuid;

/// Alerts that ended and are kept at most; of more, the oldest are deleted.
pub const ALERTS_KEPT_MAX: u64 = 100_000;

/// Selects alerts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AlertFilter {
    /// Only those in this state.
    pub state: Option<AlertState>,
    /// Only those of this severity.
    pub severity: Option<Severity>,
    /// Only those of this rule.
    pub name: Option<String>,
    /// Only those of this charger, in any letter case.
    pub charger: Option<String>,
    /// Only those of the site with this id, and of its chargers.
    pub site: Option<String>,
}

/// Why an alert was not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAcknowledged {
    /// There is no such alert.
    Unknown,
    /// It does not fire.
    NotFiring(AlertState),
}

/// Why a silence was not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SilenceNotAdded {
    /// [`SILENCES_MAX`](crate::model::SILENCES_MAX) silences are kept.
    TooMany,
    /// The same request added this silence before, and it was removed since.
    Removed(Uuid),
}

/// Stores alerts and silences. Calls block.
///
/// Laws: one holder has the lease at a time. [`record_alerts`](Self::record_alerts) is one database transaction with the
/// entries in the queue of the log of events, and changes nothing without the lease, so a process that has lost it cannot
/// tell of an alert twice. It never changes who has acknowledged an alert. A change by a person, its entry in the audit log
/// and its idempotency key are one database transaction.
pub trait Alerts: Send + Sync + 'static {
    /// Takes the lease until `until`, or extends it. Returns what the last holder remembered, empty at first; `None` if
    /// another one has it at `now`.
    ///
    /// # Errors
    /// When the database refuses.
    fn lease_alerts(
        &self,
        holder: Uuid,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<String>, Unavailable>;

    /// Extends the lease until `until`. `false`, and nothing is changed, if the holder has not got it.
    ///
    /// # Errors
    /// When the database refuses.
    fn extend_alerts(&self, holder: Uuid, until: Timestamp) -> Result<bool, Unavailable>;

    /// Gives the lease back.
    ///
    /// # Errors
    /// When the database refuses.
    fn release_alerts(&self, holder: Uuid) -> Result<(), Unavailable>;

    /// The alerts that are pending or firing, and those that were resolved at `since` or later, some thousand of these at
    /// most.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn active_alerts(&self, since: Timestamp) -> Result<Vec<Alert>, Unavailable>;

    /// Who has acknowledged which of the alerts that fire.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn acknowledged_alerts(&self) -> Result<Vec<(Uuid, Acknowledged)>, Unavailable>;

    /// Stores what a round has changed and what the holder remembers. `false`, and nothing is changed, if it has not the
    /// lease.
    ///
    /// # Errors
    /// When the database refuses; then nothing is changed, or it is and was not reported.
    fn record_alerts(
        &self,
        holder: Uuid,
        step: &Step,
        memory: &str,
        now: Timestamp,
    ) -> Result<bool, Unavailable>;

    /// Alerts, the newest first.
    ///
    /// # Errors
    /// When the database cannot be read now, or the cursor is not one of this list.
    fn alerts(&self, filter: &AlertFilter, page: &PageRequest) -> Result<Page<Alert>, QueryError>;

    /// One alert.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn alert(&self, id: Uuid) -> Result<Option<Alert>, Unavailable>;

    /// Notes that a person has taken note of an alert that fires. An earlier note is replaced.
    ///
    /// # Errors
    /// When the database refuses.
    fn acknowledge_alert(
        &self,
        id: Uuid,
        note: &str,
        request: &ChangeRequest,
    ) -> Result<Once<Alert, NotAcknowledged>, Unavailable>;

    /// All silences that are kept, the newest first.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn silences(&self) -> Result<Vec<Silence>, Unavailable>;

    /// Adds a silence.
    ///
    /// # Errors
    /// When the database refuses.
    fn add_silence(
        &self,
        silence: &Silence,
        request: &ChangeRequest,
    ) -> Result<Once<Silence, SilenceNotAdded>, Unavailable>;

    /// Removes a silence. `false` if there is none. An idempotency key in the request is not used.
    ///
    /// # Errors
    /// When the database refuses.
    fn remove_silence(&self, id: Uuid, request: &ChangeRequest) -> Result<bool, Unavailable>;

    /// Deletes alerts that were resolved before `before`, those beyond [`ALERTS_KEPT_MAX`], and silences that ended before
    /// `silences_before`; some thousand at most. Returns how many.
    ///
    /// # Errors
    /// When the database refuses.
    fn expire_alerts(
        &self,
        before: Timestamp,
        silences_before: Timestamp,
    ) -> Result<u64, Unavailable>;
}
