//! What each charger said and what it was told, written down so that it can be compared with what
//! the other side stored.
//!
//! One JSON object a line, one line per message, written when the message is acknowledged, given up,
//! or (at the end of the run) left unanswered. A simulator that resumes from its queue directory
//! appends; a message may then have two lines with the same `n`, which belong together.

use crate::charger::{Action, EndedMessage};
use crate::timestamp::TimestampUs;
use common::lock::lock;
use ocpp::Version;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Mutex;

/// How a message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Answered with a CALLRESULT.
    Acknowledged,
    /// Class N: answered with a CALLERROR.
    Error,
    /// Transmitted, no answer; not tried again (class N) or still in the queue at the end (class T).
    Unanswered,
    /// Class T: given up after all attempts (rule Q-6).
    Discarded,
    /// Class T: never transmitted, still in the queue at the end.
    Queued,
}

/// Whether the standard lets a charger keep and resend a message (ocpp-rules 0.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Class {
    /// Transaction-related: kept while offline, resent.
    T,
    /// Everything else here.
    N,
}

/// One message of one charger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// The charger's identity.
    pub charger_id: String,
    /// What it speaks.
    pub ocpp_version: Version,
    /// The action.
    pub action: String,
    /// Its delivery class.
    pub class: Class,
    /// The message's number: per charger, in the order in which the messages came to be. Class T
    /// goes out strictly in this order.
    pub n: u64,
    /// The charger's own number of the charging session that the message belongs to: it joins a start and a stop
    /// whatever ids they carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<u64>,
    /// 1.6: the meter that a start or a stop tells, Wh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meter_wh: Option<u64>,
    /// What makes the message recognisable whatever its message id (ocpp-rules 2.3).
    pub natural_key: String,
    /// The transaction: 1.6 the id that StartTransaction was answered with (also in that
    /// StartTransaction's own line), 2.x the charger's own id.
    pub transaction_id: Option<String>,
    /// The message id of each transmission, oldest first, without repeats.
    pub message_ids: Vec<String>,
    /// First transmission.
    pub sent_at: Option<TimestampUs>,
    /// When the CALLRESULT was read.
    pub acknowledged_at: Option<TimestampUs>,
    /// Transmissions.
    pub attempts: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// The CALLRESULT's payload, or the CALLERROR's code, where it carries meaning (Boot, Authorize,
    /// Start, TransactionEvent with a token); else absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// [`payload_hash`] of what was transmitted, as 16 hexadecimal digits; absent if it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_hash: Option<String>,
}

impl LedgerEntry {
    /// The line of a message of the charger `id`.
    #[must_use]
    pub fn from_entry(id: &str, version: Version, entry: EndedMessage) -> Self {
        let payload: Value = serde_json::from_str(&entry.payload).unwrap_or(Value::Null);
        let answer = entry.answer.as_deref().unwrap_or("");
        let was_sent = entry.attempts > 0;
        Self {
            charger_id: id.to_owned(),
            ocpp_version: version,
            action: entry.action.as_str().to_owned(),
            class: entry.class,
            n: entry.n,
            session: entry.session,
            meter_wh: meter_wh(entry.action, &payload),
            natural_key: natural_key(entry.action, &payload),
            transaction_id: transaction_id(entry.action, &payload, answer),
            message_ids: entry.message_ids,
            sent_at: entry.sent_at,
            acknowledged_at: entry.acknowledged_at,
            attempts: entry.attempts,
            outcome: entry.outcome,
            answer: entry.answer,
            payload_hash: was_sent.then(|| format!("{:016x}", value_hash(&payload))),
        }
    }
}

/// What makes a message recognisable whatever its message id (ocpp-rules 2.3).
fn natural_key(action: Action, payload: &Value) -> String {
    let members: &[&str] = match action {
        Action::StartTransaction => &["connectorId", "idTag", "timestamp", "meterStart"],
        Action::StopTransaction => &["transactionId", "timestamp", "meterStop"],
        Action::TransactionEvent => &["seqNo", "eventType"],
        Action::MeterValues => &["connectorId", "transactionId"],
        Action::StatusNotification => &["connectorId", "evseId", "timestamp"],
        Action::BootNotification | Action::Heartbeat | Action::Authorize => &[],
    };
    let mut parts: Vec<String> = members
        .iter()
        .filter_map(|member| payload.get(member))
        .map(|value| {
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned)
        })
        .collect();
    match action {
        Action::TransactionEvent => {
            let id = payload["transactionInfo"]["transactionId"].as_str();
            parts.insert(0, id.unwrap_or_default().to_owned());
        }
        Action::MeterValues => parts.push(format!("{:016x}", value_hash(&payload["meterValue"]))),
        _ => {}
    }
    parts.join("/")
}

/// The meter at a transaction's begin or end, where the message says it outright (1.6).
fn meter_wh(action: Action, payload: &Value) -> Option<u64> {
    let member = match action {
        Action::StartTransaction => "meterStart",
        Action::StopTransaction => "meterStop",
        _ => return None,
    };
    payload.get(member)?.as_u64()
}

fn transaction_id(action: Action, payload: &Value, answer: &str) -> Option<String> {
    let id = match action {
        Action::StartTransaction => {
            let answer: Value = serde_json::from_str(answer).ok()?;
            answer.get("transactionId")?.clone()
        }
        Action::TransactionEvent => payload["transactionInfo"].get("transactionId")?.clone(),
        _ => payload.get("transactionId")?.clone(),
    };
    Some(id.as_str().map_or_else(|| id.to_string(), str::to_owned))
}

/// A 64-bit hash of a JSON payload that does not depend on blanks or on the order of members.
/// `None` if it is not JSON.
#[must_use]
pub fn payload_hash(payload: &str) -> Option<u64> {
    let value: Value = serde_json::from_str(payload).ok()?;
    Some(value_hash(&value))
}

/// [`payload_hash`] of a value.
#[must_use]
pub fn value_hash(value: &Value) -> u64 {
    // FNV-1a: the members of a `Value` are sorted by name, so its text is canonical.
    value
        .to_string()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

/// The file that lines are written to, shared by all chargers. Lines are buffered for a moment:
/// [`LedgerFile::flush`] hands them to the system.
#[derive(Debug)]
pub struct LedgerFile {
    file: Mutex<BufWriter<File>>,
}

impl LedgerFile {
    /// Opens the file, at its end if `append`, else empty.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(path: &Path, append: bool) -> io::Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .append(append)
            .truncate(!append)
            .open(path)?;
        Ok(Self {
            file: Mutex::new(BufWriter::with_capacity(1 << 16, file)),
        })
    }

    /// Writes one line.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, line: &LedgerEntry) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        lock(&self.file).write_all(&text)
    }

    /// Hands all lines to the system: they survive the end of this process.
    ///
    /// # Errors
    /// What the system says.
    pub fn flush(&self) -> io::Result<()> {
        lock(&self.file).flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_sees_content_and_not_form() {
        let hash = payload_hash(r#"{"a":1,"b":[1,2]}"#);
        assert_eq!(hash, payload_hash(r#"{ "b": [1, 2], "a": 1 }"#));
        assert_ne!(hash, payload_hash(r#"{"a":1,"b":[2,1]}"#));
        assert_eq!(payload_hash("{"), None);
    }
}
