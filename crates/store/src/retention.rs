//! How long rows are kept, the same for both databases.

/// For how many days rows are kept; 0 = without a limit. An open transaction and a queued command are always kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Messages, meter values, events that chargers reported, dead letters. Default 0.
    pub records_days: u32,
    /// Commands that are no longer queued, and what records say of them. Default 0.
    pub commands_days: u32,
    /// Transactions, from their end or from the latest message about them. Default 0.
    pub transactions_days: u32,
    /// Entries of the audit log. Its latest 100,000 are kept at most, whatever this is. Default 0.
    pub audit_days: u32,
}

impl Retention {
    /// Whether everything is kept.
    pub(crate) fn is_off(&self) -> bool {
        *self == Self::default()
    }
}

/// Rows of the audit log that one slice deletes at most.
pub(crate) const AUDIT_ROWS: i32 = 5_000;
