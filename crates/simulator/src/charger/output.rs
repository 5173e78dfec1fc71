//! EventKind a charger wants done.

use super::message::{Action, QueueEdit};
use crate::ledger::{Class, Outcome};
use crate::timestamp::TimestampUs;
use std::time::Duration;

/// A decision of a [`super::Charger`], to be carried out in the order of
/// [`super::Charger::poll_output`].
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Open a connection, then say `handle_connected` or `handle_refused`.
    Connect,
    /// Send this text.
    Send(String),
    /// Send a WebSocket ping; its pong comes back as `handle_ping_or_pong`.
    Ping,
    /// Close the connection, if it is open. `handle_closed` need not follow.
    Close,
    /// Keep this; a [`QueueEdit::Push`] must be durable before the next output is carried out.
    Save(QueueEdit),
    /// A message has ended: a line for the ledger.
    Ledger(Box<EndedMessage>),
    /// Something to be counted.
    Count(Count),
}

/// A message that has ended, as the ledger wants it.
#[derive(Debug, Clone, PartialEq)]
pub struct EndedMessage {
    /// Its number.
    pub n: u64,
    /// Its action.
    pub action: Action,
    /// Its delivery class.
    pub class: Class,
    /// The charger's own number of the transaction that it belongs to.
    pub session: Option<u64>,
    /// EventKind was (or would have been) transmitted.
    pub payload: String,
    /// Ids of all transmissions.
    pub message_ids: Vec<String>,
    /// First transmission.
    pub sent_at: Option<TimestampUs>,
    /// When the CALLRESULT was read.
    pub acknowledged_at: Option<TimestampUs>,
    /// Transmissions.
    pub attempts: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// Payload of the CALLRESULT, or the CALLERROR's code.
    pub answer: Option<String>,
}

/// Something to be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// First transmission of a message.
    Sent(Action),
    /// A further transmission.
    Resent(Action),
    /// A CALLRESULT, so long after the transmission.
    Acknowledged(Action, Duration),
    /// A message that will not be tried again has no answer.
    Unanswered(Action),
    /// A transaction message was given up.
    Discarded(Action),
    /// A CALLERROR.
    Error(Action),
    /// An answer that nobody waits for any more.
    Late,
    /// A call of the central system was answered.
    CallAnswered,
    /// A text that is no OCPP frame, or one that a charger should not get.
    Unexpected,
}

/// How a charger is, for the fleet's sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gauge {
    /// 1 if its line is open.
    pub online: u64,
    /// Running transactions.
    pub charging: u64,
    /// Transaction messages in the queue, the one in flight included.
    pub queued: u64,
    /// 1 if it has done all that it was to do.
    pub finished: u64,
}
