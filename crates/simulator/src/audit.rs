//! Compares what chargers were told (the ledger) with what the other side stored (its exports).
//!
//! A pure function over readers. It knows nothing of who wrote the exports beyond their NDJSON
//! fields, so it can check any central system that exports as much. Only what the ledger knows is
//! judged: records of other chargers, or of earlier runs, are passed over.

mod ledger_index;
mod report;
#[cfg(test)]
mod tests;

pub use report::Report;

use crate::ledger::{LedgerEntry, value_hash};
use crate::timestamp::TimestampUs;
use ledger_index::{Ended, Found, LedgerIndex};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io::{self, BufRead};

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

/// A line of an export of messages, as far as an audit reads it.
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

/// A line of an export of transactions, as far as an audit reads it.
#[derive(Debug, Deserialize)]
struct TransactionRow {
    charger_id: String,
    transaction_id: Value,
    /// `null` = no start has arrived.
    #[serde(default = "unknown")]
    started_at: Value,
    /// Whether no end has arrived.
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
/// What it holds them to:
/// - an acknowledged message has one record, under one of its message ids; no message has two;
/// - the record holds what the charger sent and the answer that it got;
/// - of two messages of a charger, the one that was acknowledged before the other was first
///   transmitted has the smaller sequence number (per gateway);
/// - an acknowledged start has one transaction, and no others have begun meanwhile than those whose
///   start was transmitted;
/// - a session whose stop was acknowledged too has ended in that transaction, whatever id the stop carried
///   (where the export says `open`), and with the energy between its meters (1.6, where it says `energy_wh`).
///
/// # Errors
/// When an input cannot be read or a line lacks what the comparison needs.
pub fn audit(
    ledger: impl BufRead,
    messages: impl BufRead,
    transactions: Option<impl BufRead>,
) -> Result<Report, AuditError> {
    let mut index = LedgerIndex::default();
    each_line(ledger, "the ledger", |line: LedgerEntry| index.enter(line))?;
    each_line(messages, "the export of messages", |row: MessageRow| {
        if row.kind == "call" {
            let payload = whole(row.payload);
            index.find(
                &row.charger_id,
                &row.message_id,
                Found {
                    gateway_id: row.gateway_id,
                    seq: row.seq,
                    payload_hash: value_hash(&payload),
                    answer: whole(row.answer),
                },
            );
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
                let started_at = row.started_at.as_str().and_then(moment);
                let ended = Ended {
                    open: row.open,
                    energy_wh: row.energy_wh,
                };
                index.find_transaction(&row.charger_id, &id, started_at, ended);
            }
        })?;
    }
    Ok(index.close())
}

/// JSON that an export has wrapped into a text.
fn whole(value: Value) -> Value {
    match &value {
        Value::String(text) => serde_json::from_str(text).unwrap_or(value),
        _ => value,
    }
}

fn moment(text: &str) -> Option<TimestampUs> {
    let at: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(at.as_microsecond()).ok().map(TimestampUs)
}

fn each_line<T: DeserializeOwned>(
    mut reader: impl BufRead,
    what: &'static str,
    mut take: impl FnMut(T),
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
        let row = serde_json::from_str(&text).map_err(|error| AuditError::Line {
            what,
            line,
            detail: error.to_string(),
        })?;
        take(row);
    }
    Ok(())
}
