//! The audit: compares what chargers sent and were answered (the ledger) with what a central system stored (its exports).
//!
//! It is a pure function over readers that uses only some NDJSON members of the exports, so it works with any central
//! system that exports these. Records of chargers that are not in the ledger, and of earlier runs, are ignored.

mod ledger_index;
mod report;
#[cfg(test)]
mod tests;

pub use report::Report;

use crate::ledger::{LedgerLine, value_hash};
use crate::timestamp::TimestampUs;
use ledger_index::{LedgerIndex, StoredRecord, TransactionState};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io::{self, BufRead};

/// Why an audit is not possible.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A file cannot be read.
    #[error("read {what}: {error}")]
    Read {
        /// The input.
        what: &'static str,
        /// The operating system's error.
        error: io::Error,
    },
    /// A line has another format than expected.
    #[error("{what}, line {line}: {detail}")]
    Line {
        /// The input.
        what: &'static str,
        /// The number of the line, from 1.
        line: u64,
        /// The error.
        detail: String,
    },
}

/// The members that an audit reads of a line of an export of messages.
#[derive(Debug, Deserialize)]
struct MessageRow {
    charger_id: String,
    kind: String,
    message_id: String,
    #[serde(default)]
    payload: Value,
    #[serde(default)]
    answer: Value,
    gateway_id: String,
    seq: u64,
}

/// The members that an audit reads of a line of an export of transactions.
#[derive(Debug, Deserialize)]
struct TransactionRow {
    charger_id: String,
    transaction_id: Value,
    /// `null` = the start has not arrived.
    #[serde(default = "unknown")]
    started_at: Value,
    /// Whether the end has not arrived.
    #[serde(default)]
    open: Option<bool>,
    #[serde(default)]
    energy_wh: Option<f64>,
}

fn unknown() -> Value {
    Value::Bool(true)
}

/// Compares a ledger with an export of messages and, if given, of transactions (NDJSON, as `wattpost
/// export messages` and `wattpost export transactions` write them).
///
/// It checks that:
/// - an acknowledged message has one record, under one of its message ids; no message has two;
/// - the record has the payload that the charger sent and the answer that it got;
/// - of two messages of a charger, the one that was acknowledged before the other was first
///   transmitted has the smaller sequence number (per gateway);
/// - no charger received two commands under one message id; each that it received has a record of its sending with the
///   same payload (if the export has any); each answer of a charger that has a record is what the charger answered;
/// - an acknowledged start has one transaction, and during the run no transaction started whose start was not transmitted;
/// - a session whose stop was acknowledged too has ended, whatever transaction id the stop has (if the export has the
///   member `open`), with the energy between its meter values (in 1.6, if the export has the member `energy_wh`).
///
/// # Errors
/// When an input cannot be read, or a line lacks a member that the comparison needs.
pub fn audit(
    ledger: impl BufRead,
    messages: impl BufRead,
    transactions: Option<impl BufRead>,
) -> Result<Report, AuditError> {
    let mut index = LedgerIndex::default();
    each_text(ledger, "the ledger", |text| {
        match LedgerLine::parse(text)? {
            LedgerLine::Message(entry) => index.add_entry(*entry),
            LedgerLine::Command(entry) => index.add_command(*entry),
        }
        Ok(())
    })?;
    each_line(messages, "the export of messages", |row: MessageRow| {
        let payload_hash = value_hash(&parsed(row.payload));
        let (charger, id) = (&row.charger_id, &row.message_id);
        match row.kind.as_str() {
            "call" => {
                let record = StoredRecord {
                    gateway_id: row.gateway_id,
                    seq: row.seq,
                    payload_hash,
                    answer: parsed(row.answer),
                };
                index.add_record(charger, id, record);
            }
            "call_to_charger" => index.add_command_record(charger, id, payload_hash),
            "call_result" => index.add_command_answer(charger, id, Some(payload_hash)),
            "call_error" => index.add_command_answer(charger, id, None),
            _ => {}
        }
    })?;
    if let Some(transactions) = transactions {
        index.index_transactions();
        let what = "the export of transactions";
        each_line(transactions, what, |row: TransactionRow| {
            let id = match &row.transaction_id {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            if !row.started_at.is_null() {
                let started_at = row.started_at.as_str().and_then(timestamp);
                let ended = TransactionState {
                    open: row.open,
                    energy_wh: row.energy_wh,
                };
                index.add_transaction(&row.charger_id, &id, started_at, ended);
            }
        })?;
    }
    Ok(index.into_report())
}

/// Parses a payload that the export has as a text; other values are returned unchanged.
fn parsed(value: Value) -> Value {
    match &value {
        Value::String(text) => serde_json::from_str(text).unwrap_or(value),
        _ => value,
    }
}

fn timestamp(text: &str) -> Option<TimestampUs> {
    let at: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(at.as_microsecond()).ok().map(TimestampUs)
}

fn each_line<T: DeserializeOwned>(
    reader: impl BufRead,
    what: &'static str,
    mut add: impl FnMut(T),
) -> Result<(), AuditError> {
    each_text(reader, what, |text| {
        add(serde_json::from_str(text)?);
        Ok(())
    })
}

fn each_text(
    mut reader: impl BufRead,
    what: &'static str,
    mut add: impl FnMut(&str) -> Result<(), serde_json::Error>,
) -> Result<(), AuditError> {
    let mut text = String::new();
    for line in 1.. {
        text.clear();
        let read = reader
            .read_line(&mut text)
            .map_err(|error| AuditError::Read { what, error })?;
        if read == 0 {
            break;
        }
        if text.trim().is_empty() {
            continue;
        }
        add(&text).map_err(|error| AuditError::Line {
            what,
            line,
            detail: error.to_string(),
        })?;
    }
    Ok(())
}
