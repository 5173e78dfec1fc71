//! EventKind a charger has to say, from the moment it comes to be until it is answered or given up.

use crate::ledger::Class;
use crate::timestamp::TimestampUs;
use ocpp::Version;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The actions that a simulated charger sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Action {
    /// Power is up.
    BootNotification,
    /// Still here.
    Heartbeat,
    /// A connector's state.
    StatusNotification,
    /// Is this token welcome?
    Authorize,
    /// 1.6: a transaction begins.
    StartTransaction,
    /// 1.6: a transaction's meter values.
    MeterValues,
    /// 1.6: a transaction ends.
    StopTransaction,
    /// 2.x: a transaction begins, goes on, ends.
    TransactionEvent,
}

impl Action {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BootNotification => "BootNotification",
            Self::Heartbeat => "Heartbeat",
            Self::StatusNotification => "StatusNotification",
            Self::Authorize => "Authorize",
            Self::StartTransaction => "StartTransaction",
            Self::MeterValues => "MeterValues",
            Self::StopTransaction => "StopTransaction",
            Self::TransactionEvent => "TransactionEvent",
        }
    }

    /// Rules Q-2 and Q-3: what must be queued and resent.
    #[must_use]
    pub const fn class(self, version: Version) -> Class {
        match self {
            Self::StartTransaction | Self::StopTransaction | Self::TransactionEvent => Class::T,
            Self::MeterValues if matches!(version, Version::V16) => Class::T,
            _ => Class::N,
        }
    }
}

/// EventKind a message does to its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Begins it.
    Start,
    /// Belongs to it, or to none.
    Within,
    /// Ends it.
    Stop,
}

/// Something a charger has to say once, however often it is transmitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Its number ([`crate::ledger::LedgerEntry::n`]).
    pub n: u64,
    /// Its action.
    pub action: Action,
    /// Raw JSON. Until the first transmission it may have gaps (below).
    pub payload: String,
    /// Where 1.6's transactionId goes, known only once StartTransaction is answered.
    pub transaction_id_at: Option<usize>,
    /// Where 2.x's `"offline":true,` goes, if the line is or was closed before the first
    /// transmission (rule Q-4).
    pub offline_at: Option<usize>,
    /// Which connector it is about, from 1; 0 = the whole charger.
    pub connector: u8,
    /// The charger's own number of the transaction.
    pub transaction: Option<u64>,
    /// EventKind it does to the transaction.
    pub step: Step,
    /// Message ids of all transmissions, oldest first, without repeats; the first is chosen in
    /// advance.
    pub message_ids: Vec<String>,
    /// Transmissions.
    pub transmissions: u32,
    /// Failed transmissions: those that count against the attempts (rule Q-6).
    pub failures: u32,
    /// First transmission.
    pub sent_at: Option<TimestampUs>,
    /// The line was closed while it waited.
    pub was_offline: bool,
}

impl Message {
    /// Closes the gaps: afterwards the payload is what goes out, each time.
    pub fn fill_in(&mut self, transaction_id: i64) {
        // The offline gap lies before or after the id gap, never both in one payload, so neither
        // insertion moves the other.
        if let Some(at) = self.transaction_id_at.take() {
            self.payload.insert_str(at, &transaction_id.to_string());
        }
        if let Some(at) = self.offline_at.take()
            && self.was_offline
        {
            self.payload.insert_str(at, r#""offline":true,"#);
        }
    }
}

/// EventKind survives a power cut, beside the queue.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PersistentState {
    /// The number of the last message.
    pub last_n: u64,
    /// The number of the last transaction.
    pub last_transaction: u64,
    /// 1.6: the central system's ids of transactions that still have messages to send.
    pub wire_ids: BTreeMap<u64, i64>,
    /// By connector.
    pub connectors: Vec<ConnectorState>,
}

/// EventKind a connector remembers over a power cut.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ConnectorState {
    /// The meter: energy ever delivered.
    pub register_wh: u64,
    /// The running transaction.
    pub transaction: Option<OpenTransaction>,
}

/// A transaction that has begun and not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenTransaction {
    /// The charger's own number.
    pub number: u64,
    /// 2.x: its id, chosen by the charger (rule Q-23); empty in 1.6.
    pub id: String,
    /// Who charges.
    pub token: String,
    /// 2.x: the next message's seqNo (rule Q-24).
    pub next_seq_no: u64,
    /// 2.x: the request that began it.
    pub remote_start_id: Option<i64>,
}

/// A step in the life of the queue, to be kept outside (one line of the queue's file).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueEdit {
    /// A message was queued. Must be durable before anything that follows it.
    Push(Box<Message>, PersistentState),
    /// The message with this number goes out under this id now.
    Sent {
        /// Which.
        n: u64,
        /// The message id of this transmission.
        id: String,
        /// Whether it says that it was queued offline.
        offline: bool,
        /// When.
        at: TimestampUs,
    },
    /// The message with this number was answered or given up.
    Done(u64, PersistentState),
}

/// A queue with its state, as read back after a restart.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SavedQueue {
    /// Messages, oldest first.
    pub queue: Vec<Message>,
    /// EventKind else survived.
    pub state: PersistentState,
}

impl SavedQueue {
    /// Takes in one more edit.
    pub fn apply(&mut self, edit: QueueEdit) {
        match edit {
            QueueEdit::Push(message, state) => {
                self.queue.push(*message);
                self.state = state;
            }
            QueueEdit::Sent { n, id, offline, at } => {
                if let Some(message) = self.queue.iter_mut().find(|one| one.n == n) {
                    message.transmissions += 1;
                    message.sent_at.get_or_insert(at);
                    message.was_offline = offline;
                    if !message.message_ids.contains(&id) {
                        message.message_ids.push(id);
                    }
                }
            }
            QueueEdit::Done(n, state) => {
                self.queue.retain(|message| message.n != n);
                self.state = state;
            }
        }
    }
}

#[cfg(test)]
pub(crate) fn sample(n: u64) -> Message {
    Message {
        n,
        action: Action::MeterValues,
        payload: r#"{"connectorId":1,"transactionId":,"meterValue":[]}"#.to_owned(),
        transaction_id_at: Some(33),
        offline_at: None,
        connector: 1,
        transaction: Some(1),
        step: Step::Within,
        message_ids: vec![format!("m-{n}")],
        transmissions: 0,
        failures: 0,
        sent_at: None,
        was_offline: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_filled_once() {
        let mut message = sample(1);
        message.fill_in(-1);
        message.fill_in(7);
        assert!(message.payload.contains(r#""transactionId":-1,"#));

        let mut event = sample(2);
        event.payload = r#"{"seqNo":0,"x":1}"#.to_owned();
        (event.transaction_id_at, event.offline_at) = (None, Some(11));
        event.was_offline = true;
        event.fill_in(0);
        assert_eq!(event.payload, r#"{"seqNo":0,"offline":true,"x":1}"#);
    }

    #[test]
    fn edits_add_up_to_the_queue() {
        let mut saved = SavedQueue::default();
        let state = |last_n| PersistentState {
            last_n,
            ..PersistentState::default()
        };
        saved.apply(QueueEdit::Push(Box::new(sample(1)), state(1)));
        saved.apply(QueueEdit::Push(Box::new(sample(2)), state(2)));
        let sent = |id: &str| QueueEdit::Sent {
            n: 1,
            id: id.into(),
            offline: false,
            at: TimestampUs(5),
        };
        saved.apply(sent("m-1"));
        saved.apply(sent("again"));
        assert_eq!(saved.queue[0].message_ids, ["m-1", "again"]);
        assert_eq!(saved.queue[0].transmissions, 2);
        saved.apply(QueueEdit::Done(1, state(2)));
        saved.apply(sent("gone"));
        assert_eq!(saved.queue.len(), 1);
        assert_eq!(saved.state.last_n, 2);
    }
}
