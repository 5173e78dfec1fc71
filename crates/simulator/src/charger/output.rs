//! The outputs of a charger.

use super::message::{Action, QueueEdit};
use crate::command_fault::FaultKind;
use crate::ledger::{Class, CommandOutcome, Outcome};
use crate::timestamp::TimestampUs;
use std::time::Duration;

/// An output of a [`super::Charger`]. The caller executes outputs in the order of [`super::Charger::poll_output`].
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Open a connection, then call `handle_connected` or `handle_refused`.
    Connect,
    /// Send this text frame.
    Send(String),
    /// Send a WebSocket ping; its pong is passed to `handle_ping_or_pong`.
    Ping,
    /// Close the connection, if it is open. A call of `handle_closed` is not needed.
    Close,
    /// Drop the connection without a Close frame, if it is open. A call of `handle_closed` is not needed.
    Drop,
    /// Save this edit. A [`QueueEdit::Push`] must be durable before the next output is executed.
    Save(QueueEdit),
    /// A message has ended; write its ledger entry.
    Ledger(Box<EndedMessage>),
    /// A command has ended; write its ledger entry.
    Command(Box<ReceivedCommand>),
    /// Count this.
    Count(Count),
}

/// A message that has ended, with what its ledger entry needs.
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
    /// The payload, also if it was never transmitted.
    pub payload: String,
    /// Message ids of all transmissions.
    pub message_ids: Vec<String>,
    /// Time of the first transmission.
    pub sent_at: Option<TimestampUs>,
    /// Time at which the CALLRESULT was read.
    pub acknowledged_at: Option<TimestampUs>,
    /// Number of transmissions.
    pub attempts: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// Payload of the CALLRESULT, or the CALLERROR's code.
    pub answer: Option<String>,
}

/// A command that has ended, with what its ledger entry needs.
#[derive(Debug, Clone, PartialEq)]
pub struct ReceivedCommand {
    /// The message id of the CALL.
    pub message_id: String,
    /// Its action.
    pub action: String,
    /// Its payload.
    pub payload: String,
    /// The number of the connection over which it came, from 1.
    pub connection: u64,
    /// When it was received.
    pub received_at: TimestampUs,
    /// Whether it was carried out.
    pub executed: bool,
    /// How it was answered.
    pub outcome: CommandOutcome,
    /// When it was answered.
    pub answered_at: Option<TimestampUs>,
    /// The CALLRESULT's payload, or the CALLERROR's code.
    pub answer: Option<String>,
    /// The simulated fault.
    pub fault: Option<FaultKind>,
}

/// An event to be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// First transmission of a message.
    Sent(Action),
    /// A further transmission.
    Resent(Action),
    /// A CALLRESULT, with the time since the transmission.
    Acknowledged(Action, Duration),
    /// A message that is not sent again has no answer.
    Unanswered(Action),
    /// A transaction message was discarded.
    Discarded(Action),
    /// A CALLERROR.
    Error(Action),
    /// An answer without an outstanding call.
    Late,
    /// A call of the central system was answered.
    CallAnswered,
    /// A SEND, which has no answer.
    SentUnconfirmed,
    /// A text that is not an OCPP frame, or not one for a charger.
    Unexpected,
}

/// The contribution of a charger to the gauges of its fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gauge {
    /// 1 if its connection is open.
    pub online: u64,
    /// Running transactions.
    pub charging: u64,
    /// Transaction messages in the queue, including the unanswered one.
    pub queued: u64,
    /// 1 if it has sent all its meter values (`meter-flood`).
    pub finished: u64,
}
