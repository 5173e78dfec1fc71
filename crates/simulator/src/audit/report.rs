//! The result of an audit.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Maximum number of faults that are described.
const FAULTS_MAX: usize = 20;

/// The result of an audit. Displays as a table, followed by the first faults.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Report {
    /// Chargers in the ledger.
    pub chargers: u64,
    /// Messages in the ledger.
    pub messages: u64,
    /// Of those, acknowledged.
    pub acknowledged: u64,
    /// Messages that were transmitted more than once.
    pub resent: u64,
    /// Transactions whose start was acknowledged.
    pub transactions: u64,
    /// Acknowledged heartbeats without a record, if no heartbeat has one: the central system does not store heartbeats.
    /// Not a fault.
    pub heartbeats_not_kept: u64,
    /// Transaction messages that the charger discarded after all attempts (rule Q-6). Not a fault, because they were
    /// never acknowledged, but the central system was unavailable for long.
    pub discarded: u64,
    /// Commands that chargers received, by message id.
    #[serde(default)]
    pub commands: u64,
    /// Of those, answered by the charger.
    #[serde(default)]
    pub commands_answered: u64,
    /// Fault: commands that a charger received more than once under one message id.
    #[serde(default)]
    pub repeated_commands: u64,
    /// Fault: commands that a charger received although no record says that they were sent with this payload.
    #[serde(default)]
    pub unrecorded_commands: u64,
    /// Fault: commands with the record of an answer that the charger did not give.
    #[serde(default)]
    pub false_answers: u64,
    /// Fault: acknowledged messages without a record.
    pub missing: u64,
    /// Fault: messages with more than one record.
    pub duplicates_in_effect: u64,
    /// Fault: records in another order than their messages.
    pub out_of_order: u64,
    /// Fault: records whose answer is not the one that the charger got.
    pub wrong_answers: u64,
    /// Fault: records whose payload is not what the charger sent.
    pub altered: u64,
    /// Fault: acknowledged starts without their transaction.
    pub missing_transactions: u64,
    /// Fault: transactions beyond the starts that were sent.
    pub duplicate_transactions: u64,
    /// Fault: open transactions whose stop was acknowledged.
    pub unfinished_transactions: u64,
    /// Fault: ended transactions whose energy is not the difference of the meter values of start and stop.
    pub wrong_energy: u64,
    /// The first faults, one sentence each.
    pub faults: Vec<String>,
}

impl Report {
    /// Whether messages were acknowledged and there is no fault. [`Report::discarded`] is not a fault; check it too.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.acknowledged > 0 && self.has_no_fault()
    }

    const fn has_no_fault(&self) -> bool {
        self.missing
            + self.duplicates_in_effect
            + self.out_of_order
            + self.wrong_answers
            + self.altered
            + self.missing_transactions
            + self.duplicate_transactions
            + self.unfinished_transactions
            + self.wrong_energy
            + self.repeated_commands
            + self.unrecorded_commands
            + self.false_answers
            == 0
    }

    pub(super) fn add_fault(&mut self, fault: impl FnOnce() -> String) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault());
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = [
            ("chargers", self.chargers),
            ("messages", self.messages),
            ("acknowledged", self.acknowledged),
            ("resent", self.resent),
            ("transactions", self.transactions),
            ("discarded by chargers", self.discarded),
            ("heartbeats not kept", self.heartbeats_not_kept),
            ("commands received", self.commands),
            ("commands answered", self.commands_answered),
        ];
        let faults = [
            ("acknowledged but missing", self.missing),
            ("duplicates in effect", self.duplicates_in_effect),
            ("out of order", self.out_of_order),
            ("wrong answers", self.wrong_answers),
            ("altered", self.altered),
            ("missing transactions", self.missing_transactions),
            ("duplicate transactions", self.duplicate_transactions),
            ("unfinished transactions", self.unfinished_transactions),
            ("wrong energy", self.wrong_energy),
            ("repeated commands", self.repeated_commands),
            ("unrecorded commands", self.unrecorded_commands),
            ("false answers", self.false_answers),
        ];
        for (name, count) in rows {
            writeln!(f, "{name:<26} {count:>12}")?;
        }
        for (name, count) in faults {
            let mark = if count == 0 { "" } else { "  <-- fault" };
            writeln!(f, "{name:<26} {count:>12}{mark}")?;
        }
        for fault in &self.faults {
            writeln!(f, "  {fault}")?;
        }
        if self.acknowledged == 0 && self.has_no_fault() {
            write!(
                f,
                "nothing was checked: the ledger has no acknowledged message; did the chargers reach the central \
                 system?"
            )
        } else if self.is_clean() {
            write!(
                f,
                "every acknowledged message is stored once, unaltered and in order"
            )
        } else {
            write!(f, "faults were found")
        }
    }
}
