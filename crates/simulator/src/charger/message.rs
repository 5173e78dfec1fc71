//! What a charger has to say, from the moment it comes to be until it is answered or given up.

use crate::ledger::Class;
use crate::timestamp::Moment;
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

/// What a message does to its transaction.
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
    /// Its number ([`crate::ledger::Line::n`]).
    pub n: u64,
    /// Its action.
    pub action: Action,
    /// Raw JSON. Until the first transmission it may have gaps (below).
    pub payload: String,
    /// Where 1.6's transactionId goes, known only once StartTransaction is answered.
    pub id_gap: Option<usize>,
    /// Where 2.x's `"offline":true,` goes, if the line is or was closed before the first
    /// transmission (rule Q-4).
    pub offline_gap: Option<usize>,
    /// Which connector it is about, from 1; 0 = the whole charger.
    pub connector: u8,
    /// The charger's own number of the transaction.
    pub transaction: Option<u64>,
    /// What it does to the transaction.
    pub step: Step,
    /// Message ids of all transmissions, oldest first, without repeats; the first is chosen in
    /// advance.
    pub message_ids: Vec<String>,
    /// Transmissions.
    pub transmissions: u32,
    /// Failed transmissions: those that count against the attempts (rule Q-6).
    pub failures: u32,
    /// First transmission.
    pub sent_at: Option<Moment>,
    /// The line was closed while it waited.
    pub was_offline: bool,
}

impl Message {
    /// Closes the gaps: afterwards the payload is what goes out, each time.
    pub fn fill_gaps(&mut self, transaction_id: i64) {
        // The offline gap lies before or after the id gap, never both in one payload, so neither
        // insertion moves the other.
        if let Some(at) = self.id_gap.take() {
            self.payload.insert_str(at, &transaction_id.to_string());
        }
        if let Some(at) = self.offline_gap.take()
            && self.was_offline
        {
            self.payload.insert_str(at, r#""offline":true,"#);
        }
    }
}

/// What survives a power cut, beside the queue.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Memory {
    /// The number of the last message.
    pub last_n: u64,
    /// The number of the last transaction.
    pub last_transaction: u64,
    /// 1.6: the central system's ids of transactions that still have messages to send.
    pub wire_ids: BTreeMap<u64, i64>,
    /// By connector.
    pub connectors: Vec<ConnectorMemory>,
}

/// What a connector remembers over a power cut.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ConnectorMemory {
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
pub enum Edit {
    /// A message was queued. Must be durable before anything that follows it.
    Push(Box<Message>, Memory),
    /// The message with this number goes out under this id now.
    Sent {
        /// Which.
        n: u64,
        /// The message id of this transmission.
        id: String,
        /// Whether it says that it was queued offline.
        offline: bool,
        /// When.
        at: Moment,
    },
    /// The message with this number was answered or given up.
    Done(u64, Memory),
}

/// A queue with its memory, as read back after a restart.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Saved {
    /// Messages, oldest first.
    pub queue: Vec<Message>,
    /// What else survived.
    pub memory: Memory,
}

impl Saved {
    /// Takes in one more edit.
    pub fn apply(&mut self, edit: Edit) {
        match edit {
            Edit::Push(message, memory) => {
                self.queue.push(*message);
                self.memory = memory;
            }
            Edit::Sent { n, id, offline, at } => {
                if let Some(message) = self.queue.iter_mut().find(|one| one.n == n) {
                    message.transmissions += 1;
                    message.sent_at.get_or_insert(at);
                    message.was_offline = offline;
                    if !message.message_ids.contains(&id) {
                        message.message_ids.push(id);
                    }
                }
            }
            Edit::Done(n, memory) => {
                self.queue.retain(|message| message.n != n);
                self.memory = memory;
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
        id_gap: Some(33),
        offline_gap: None,
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
        message.fill_gaps(-1);
        message.fill_gaps(7);
        assert!(message.payload.contains(r#""transactionId":-1,"#));

        let mut event = sample(2);
        event.payload = r#"{"seqNo":0,"x":1}"#.to_owned();
        (event.id_gap, event.offline_gap) = (None, Some(11));
        event.was_offline = true;
        event.fill_gaps(0);
        assert_eq!(event.payload, r#"{"seqNo":0,"offline":true,"x":1}"#);
    }

    #[test]
    fn edits_add_up_to_the_queue() {
        let mut saved = Saved::default();
        let memory = |last_n| Memory {
            last_n,
            ..Memory::default()
        };
        saved.apply(Edit::Push(Box::new(sample(1)), memory(1)));
        saved.apply(Edit::Push(Box::new(sample(2)), memory(2)));
        let sent = |id: &str| Edit::Sent {
            n: 1,
            id: id.into(),
            offline: false,
            at: Moment(5),
        };
        saved.apply(sent("m-1"));
        saved.apply(sent("again"));
        assert_eq!(saved.queue[0].message_ids, ["m-1", "again"]);
        assert_eq!(saved.queue[0].transmissions, 2);
        saved.apply(Edit::Done(1, memory(2)));
        saved.apply(sent("gone"));
        assert_eq!(saved.queue.len(), 1);
        assert_eq!(saved.memory.last_n, 2);
    }
}
