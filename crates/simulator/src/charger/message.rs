//! A message of a charger, from its creation until it is answered or discarded, and what of it survives a power cut.

use crate::ledger::Class;
use crate::timestamp::TimestampUs;
use ocpp::Version;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The actions that a simulated charger sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Action {
    /// Sent at power-up.
    BootNotification,
    /// Sent in intervals.
    Heartbeat,
    /// The status of a connector.
    StatusNotification,
    /// Whether a token may charge.
    Authorize,
    /// 1.6: the start of a transaction.
    StartTransaction,
    /// 1.6: the meter values of a transaction.
    MeterValues,
    /// 1.6: the end of a transaction.
    StopTransaction,
    /// 2.x: the start, an update or the end of a transaction.
    TransactionEvent,
    /// 1.6: a step of an upload.
    DiagnosticsStatusNotification,
    /// A step of the upload of a log.
    LogStatusNotification,
    /// A step of a firmware update.
    FirmwareStatusNotification,
    /// 1.6: a step of an update of signed firmware.
    SignedFirmwareStatusNotification,
    /// 2.x: a step of the publishing of firmware.
    PublishFirmwareStatusNotification,
    /// A request to sign a certificate.
    SignCertificate,
    /// 2.x: the end of a reservation.
    ReservationStatusUpdate,
    /// 2.x: a page of the device model.
    NotifyReport,
    /// 2.x: a page of the monitors.
    NotifyMonitoringReport,
    /// 2.x: a page of the charging profiles.
    ReportChargingProfiles,
    /// 2.x: a page of the display messages.
    NotifyDisplayMessages,
    /// 2.x: a page of what is known about a customer.
    NotifyCustomerInformation,
    /// 2.1: a page of the DER controls.
    ReportDERControl,
    /// 2.1: the start of a DER control.
    NotifyDERStartStop,
    /// 2.1: the offer of a stream.
    OpenPeriodicEventStream,
    /// 2.1: the end of a stream.
    ClosePeriodicEventStream,
    /// 2.1: a step of the swap of a battery.
    BatterySwap,
}

impl Action {
    /// The name in OCPP messages.
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
            Self::DiagnosticsStatusNotification => "DiagnosticsStatusNotification",
            Self::LogStatusNotification => "LogStatusNotification",
            Self::FirmwareStatusNotification => "FirmwareStatusNotification",
            Self::SignedFirmwareStatusNotification => "SignedFirmwareStatusNotification",
            Self::PublishFirmwareStatusNotification => "PublishFirmwareStatusNotification",
            Self::SignCertificate => "SignCertificate",
            Self::ReservationStatusUpdate => "ReservationStatusUpdate",
            Self::NotifyReport => "NotifyReport",
            Self::NotifyMonitoringReport => "NotifyMonitoringReport",
            Self::ReportChargingProfiles => "ReportChargingProfiles",
            Self::NotifyDisplayMessages => "NotifyDisplayMessages",
            Self::NotifyCustomerInformation => "NotifyCustomerInformation",
            Self::ReportDERControl => "ReportDERControl",
            Self::NotifyDERStartStop => "NotifyDERStartStop",
            Self::OpenPeriodicEventStream => "OpenPeriodicEventStream",
            Self::ClosePeriodicEventStream => "ClosePeriodicEventStream",
            Self::BatterySwap => "BatterySwap",
        }
    }

    /// Whether it is a page of a report that a command asked for. A charger that is not accepted sends it too (rule B-5).
    #[must_use]
    pub const fn is_report(self) -> bool {
        matches!(
            self,
            Self::NotifyReport
                | Self::NotifyMonitoringReport
                | Self::ReportChargingProfiles
                | Self::NotifyDisplayMessages
                | Self::NotifyCustomerInformation
                | Self::ReportDERControl
        )
    }

    /// The delivery class (rules Q-2 and Q-3).
    #[must_use]
    pub const fn class(self, version: Version) -> Class {
        match self {
            Self::StartTransaction | Self::StopTransaction | Self::TransactionEvent => Class::T,
            Self::MeterValues if matches!(version, Version::V16) => Class::T,
            _ => Class::N,
        }
    }
}

/// The part of a message in its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Starts it.
    Start,
    /// Neither starts nor ends a transaction.
    Within,
    /// Ends it.
    Stop,
}

/// A message, which may be transmitted several times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Its number ([`crate::ledger::LedgerEntry::n`]).
    pub n: u64,
    /// Its action.
    pub action: Action,
    /// The payload as JSON. Before the first transmission, the two values below may be missing in it.
    pub payload: String,
    /// The byte offset at which 1.6's transactionId is inserted. It is known after the answer to StartTransaction.
    pub transaction_id_at: Option<usize>,
    /// The byte offset at which 2.x's `"offline":true,` is inserted, if the connection was closed at any time before the
    /// first transmission (rule Q-4).
    pub offline_at: Option<usize>,
    /// The connector, from 1; 0 = the whole charger.
    pub connector: u8,
    /// The charger's own number of the transaction.
    pub transaction: Option<u64>,
    /// Its part in the transaction.
    pub step: Step,
    /// Message ids of all transmissions, oldest first, without repetitions; the first is set at creation.
    pub message_ids: Vec<String>,
    /// Number of transmissions.
    pub transmissions: u32,
    /// Number of failed transmissions (rule Q-6).
    pub failures: u32,
    /// Time of the first transmission.
    pub sent_at: Option<TimestampUs>,
    /// Whether the connection was closed at any time before the first transmission.
    pub was_offline: bool,
}

impl Message {
    /// Inserts the missing values. The payload does not change afterwards.
    pub fn fill_in(&mut self, transaction_id: i64) {
        // A payload has at most one of the two offsets, so no insertion moves the other one.
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

/// The state that survives a power cut, apart from the queue.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PersistentState {
    /// The number of the last message.
    pub last_n: u64,
    /// The number of the last transaction.
    pub last_transaction: u64,
    /// 1.6: the transaction ids of the central system, for transactions that still have messages to send.
    pub wire_ids: BTreeMap<u64, i64>,
    /// The connectors.
    pub connectors: Vec<ConnectorState>,
}

/// The state of a connector that survives a power cut.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ConnectorState {
    /// The meter: total energy.
    pub register_wh: u64,
    /// The running transaction.
    pub transaction: Option<OpenTransaction>,
    /// Whether a command made it inoperative.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inoperative: bool,
}

/// A running transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenTransaction {
    /// The charger's own number.
    pub number: u64,
    /// 2.x: its id, chosen by the charger (rule Q-23); empty in 1.6.
    pub id: String,
    /// The token of the driver.
    pub token: String,
    /// 2.x: the seqNo of the next message (rule Q-24).
    pub next_seq_no: u64,
    /// 2.x: the remoteStartId of the request that started it.
    pub remote_start_id: Option<i64>,
    /// The reservation that it uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservation_id: Option<i64>,
}

/// A change of the queue: one line of the queue file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueEdit {
    /// A message was queued. It must be durable before the following outputs are executed.
    Push(Box<Message>, PersistentState),
    /// The message with this number is transmitted.
    Sent {
        /// The number.
        n: u64,
        /// The message id of this transmission.
        id: String,
        /// Whether the payload says that it was queued offline.
        offline: bool,
        /// The time.
        at: TimestampUs,
    },
    /// The message with this number was answered or discarded.
    Done(u64, PersistentState),
}

/// The saved queue and state, as read after a restart.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SavedQueue {
    /// Messages, oldest first.
    pub queue: Vec<Message>,
    /// The state.
    pub state: PersistentState,
}

impl SavedQueue {
    /// Applies one edit.
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
    fn missing_values_are_inserted_once() {
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
    fn applying_all_edits_gives_the_queue() {
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
