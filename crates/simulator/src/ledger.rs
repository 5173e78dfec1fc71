//! The ledger file: what each charger sent and how it was answered, to be compared with what the central system stored.
//!
//! It has one JSON object per line ([`LedgerLine`]): one for each message of a charger, written when the message is
//! acknowledged, discarded, or at the end of the run still unanswered, and one for each command that a charger received,
//! written when the charger has answered it or no answer will follow. A simulator that continues from its queue files appends; two entries with the
//! same `n` are then the same message.

use crate::charger::{Action, EndedMessage, ReceivedCommand};
use crate::command_fault::FaultKind;
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
    /// Transmitted and not answered: of class N, or of class T and still in the queue at the end.
    Unanswered,
    /// Class T: discarded after all attempts (rule Q-6).
    Discarded,
    /// Class T: never transmitted, still in the queue at the end.
    Queued,
}

/// The delivery class of a message: whether a charger queues and resends it (rules Q-2, Q-3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Class {
    /// Transaction-related: queued while offline, resent.
    T,
    /// All other messages.
    N,
}

/// One entry: a message of a charger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// The charger's identity.
    pub charger_id: String,
    /// Its OCPP version.
    pub ocpp_version: Version,
    /// The action.
    pub action: String,
    /// Its delivery class.
    pub class: Class,
    /// The message's number, per charger, in the order of creation. Messages of class T are sent in this order.
    pub n: u64,
    /// The charger's own number of the charging session. It joins a start and a stop even if their transaction ids
    /// differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<u64>,
    /// 1.6: the meter value of a start or a stop, in Wh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meter_wh: Option<u64>,
    /// The natural key, which identifies the message without its message id (rule F-22).
    pub natural_key: String,
    /// The transaction id: in 1.6 the one of the answer to StartTransaction (also in the entry of that
    /// StartTransaction), in 2.x the one chosen by the charger.
    pub transaction_id: Option<String>,
    /// The message ids of all transmissions, oldest first, without repetitions.
    pub message_ids: Vec<String>,
    /// Time of the first transmission.
    pub sent_at: Option<TimestampUs>,
    /// Time at which the CALLRESULT was read.
    pub acknowledged_at: Option<TimestampUs>,
    /// Number of transmissions.
    pub attempts: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// The CALLRESULT's payload, or the CALLERROR's code, where it matters (BootNotification, Authorize,
    /// StartTransaction, TransactionEvent with a token); else absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// [`payload_hash`] of the transmitted payload, as 16 hexadecimal digits; absent if it was never transmitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_hash: Option<String>,
}

impl LedgerEntry {
    /// The entry of a message of the charger `id`.
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

/// How a charger answered a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandOutcome {
    /// With a CALLRESULT, which was handed to the connection. Whether it arrived is not known.
    Result,
    /// With a CALLERROR, likewise.
    Error,
    /// Not at all.
    Unanswered,
}

/// One entry: a command (a CALL of the central system) that a charger received. Its first member is `"kind":"command"`;
/// entries of messages have no member `kind`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandEntry {
    /// Distinguishes the two kinds of entries.
    pub kind: CommandKind,
    /// The charger's identity.
    pub charger_id: String,
    /// Its OCPP version.
    pub ocpp_version: Version,
    /// The message id of the CALL.
    pub message_id: String,
    /// The action, also if the charger does not know it.
    pub action: String,
    /// The number of the charger's connection over which it came, from 1 at each power-up of the simulator.
    pub connection: u64,
    /// When it was received.
    pub received_at: TimestampUs,
    /// Whether the charger carried it out. What it carries out can still end with status `Rejected`.
    pub executed: bool,
    /// How it was answered.
    pub outcome: CommandOutcome,
    /// When the answer was handed to the connection; absent if it was not answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<TimestampUs>,
    /// The member `status` of the CALLRESULT, or the CALLERROR's code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// [`payload_hash`] of the CALLRESULT's payload, as 16 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_hash: Option<String>,
    /// [`payload_hash`] of the command's payload, as 16 hexadecimal digits.
    pub payload_hash: String,
    /// The simulated fault, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<FaultKind>,
}

/// The value of [`CommandEntry::kind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandKind {
    /// The only value.
    Command,
}

impl CommandEntry {
    /// The entry of a command that the charger `id` received.
    #[must_use]
    pub fn new(id: &str, version: Version, command: ReceivedCommand) -> Self {
        let hash = |payload: &str| format!("{:016x}", payload_hash(payload).unwrap_or_default());
        let answer = command.answer.as_deref();
        let (status, answer_hash) = match command.outcome {
            CommandOutcome::Unanswered => (None, None),
            CommandOutcome::Error => (answer.map(str::to_owned), None),
            CommandOutcome::Result => {
                let text = answer.unwrap_or("{}");
                let value: Value = serde_json::from_str(text).unwrap_or(Value::Null);
                let status = value["status"].as_str().map(str::to_owned);
                (status, Some(hash(text)))
            }
        };
        Self {
            kind: CommandKind::Command,
            charger_id: id.to_owned(),
            ocpp_version: version,
            message_id: command.message_id,
            action: command.action,
            connection: command.connection,
            received_at: command.received_at,
            executed: command.executed,
            outcome: command.outcome,
            answered_at: command.answered_at,
            status,
            answer_hash,
            payload_hash: hash(&command.payload),
            fault: command.fault,
        }
    }
}

/// A line of the ledger file.
#[derive(Debug, Clone, PartialEq)]
pub enum LedgerLine {
    /// A message of a charger.
    Message(Box<LedgerEntry>),
    /// A command that a charger received.
    Command(Box<CommandEntry>),
}

impl LedgerLine {
    /// Reads a line.
    ///
    /// # Errors
    /// When it is neither of the two kinds.
    pub fn parse(line: &str) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Kind {
            kind: Option<CommandKind>,
        }
        let Kind { kind } = serde_json::from_str(line)?;
        Ok(match kind {
            None => Self::Message(Box::new(serde_json::from_str(line)?)),
            Some(CommandKind::Command) => Self::Command(Box::new(serde_json::from_str(line)?)),
        })
    }
}

/// The natural key of a message (rule F-22).
fn natural_key(action: Action, payload: &Value) -> String {
    let members: &[&str] = match action {
        Action::StartTransaction => &["connectorId", "idTag", "timestamp", "meterStart"],
        Action::StopTransaction => &["transactionId", "timestamp", "meterStop"],
        Action::TransactionEvent => &["seqNo", "eventType"],
        Action::MeterValues => &["connectorId", "transactionId"],
        Action::StatusNotification => &["connectorId", "evseId", "timestamp"],
        _ => &[],
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

/// The meter value at the start or the end of a transaction (1.6).
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

/// A 64-bit hash of a JSON payload that does not depend on white space or on the order of members. `None` if it is not
/// JSON.
#[must_use]
pub fn payload_hash(payload: &str) -> Option<u64> {
    let value: Value = serde_json::from_str(payload).ok()?;
    Some(value_hash(&value))
}

/// [`payload_hash`] of a value.
#[must_use]
pub fn value_hash(value: &Value) -> u64 {
    // FNV-1a. The members of a `Value` are sorted by name, so its text is canonical.
    value
        .to_string()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

/// The ledger file of a fleet, shared by all chargers. Entries are buffered until [`LedgerFile::flush`].
#[derive(Debug)]
pub struct LedgerFile {
    file: Mutex<BufWriter<File>>,
}

impl LedgerFile {
    /// Opens the file. If `append` is false, its content is deleted.
    ///
    /// # Errors
    /// The operating system's error.
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

    /// Writes one entry: a [`LedgerEntry`] or a [`CommandEntry`].
    ///
    /// # Errors
    /// The operating system's error.
    pub fn write(&self, line: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        lock(&self.file).write_all(&text)
    }

    /// Writes all buffered entries to the file, without a sync.
    ///
    /// # Errors
    /// The operating system's error.
    pub fn flush(&self) -> io::Result<()> {
        lock(&self.file).flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_depends_on_the_content_only() {
        let hash = payload_hash(r#"{"a":1,"b":[1,2]}"#);
        assert_eq!(hash, payload_hash(r#"{ "b": [1, 2], "a": 1 }"#));
        assert_ne!(hash, payload_hash(r#"{"a":1,"b":[2,1]}"#));
        assert_eq!(payload_hash("{"), None);
    }
}
