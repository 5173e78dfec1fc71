//! Rows for [`MemoryRows`](super::MemoryRows) with plausible values, which a test changes where it needs others.

use crate::model::{ChargerView, ConnectionState, ConnectorView, TransactionView};
use crate::query::{DeadLetterRow, DeadLetterState, MessageRow};
use crate::record::{AnswerKind, Epoch, GatewayId, Notes, RecordId, RecordKind, Seq};
use crate::time::Timestamp;
use uuid::Uuid;

/// 2026-01-01T00:00:00Z in milliseconds.
pub const START: i64 = 1_767_225_600_000;

/// A charger that is online or not.
#[must_use]
pub fn charger(id: &str, online: bool) -> ChargerView {
    ChargerView {
        charger_id: id.to_owned(),
        ocpp_version: Some(ocpp::Version::V16),
        online,
        connection: if online {
            ConnectionState::Open
        } else {
            ConnectionState::Closed
        },
        gateway_id: None,
        remote: None,
        connected_at: Some(Timestamp(START)),
        disconnected_at: None,
        disconnect_reason: None,
        first_seen_at: Some(Timestamp(START)),
        last_seen_at: Some(Timestamp(START)),
        booted_at: None,
        boot: None,
        firmware_status: None,
    }
}

/// A connector of a 1.6 charger.
#[must_use]
pub fn connector(charger_id: &str, connector: i64) -> ConnectorView {
    ConnectorView {
        charger_id: charger_id.to_owned(),
        evse: 0,
        connector,
        status: "Available".to_owned(),
        since: Some(Timestamp(START)),
        unknown_reason: None,
        last_status: Some("Available".to_owned()),
        last_status_at: Some(Timestamp(START)),
        error_code: None,
        info: None,
        vendor_error_code: None,
        clock_error_ms: None,
    }
}

/// The `number`-th transaction, begun `number` seconds after [`START`].
#[must_use]
pub fn transaction(charger_id: &str, number: u32, open: bool) -> TransactionView {
    let started_at = Timestamp(START + 1_000 * i64::from(number));
    TransactionView {
        key: Uuid::from_u128(u128::from(number)),
        charger_id: charger_id.to_owned(),
        transaction_id: number.to_string(),
        ocpp_version: Some(ocpp::Version::V16),
        evse: None,
        connector: Some(1),
        id_token: Some("TAG".to_owned()),
        token_type: None,
        verdict: Some("Accepted".to_owned()),
        started_at: Some(started_at),
        ended_at: (!open).then(|| started_at.plus_millis(60_000)),
        open,
        last_at: Some(started_at),
        meter_start_wh: Some(100.0),
        meter_stop_wh: None,
        ..TransactionView::unreadable(charger_id, "", Uuid::nil(), open)
    }
}

/// The message with sequence number `seq`, received `seq` seconds after [`START`].
#[must_use]
pub fn message(charger_id: &str, seq: u64, action: &str) -> MessageRow {
    MessageRow {
        id: RecordId {
            gateway: GatewayId(Uuid::from_u128(0xfeed)),
            seq: Seq(seq),
        },
        charger_id: charger_id.to_owned(),
        ocpp_version: ocpp::Version::V16,
        kind: RecordKind::Call,
        message_id: format!("m-{seq}"),
        action: action.to_owned(),
        payload: format!("{{\"n\":{seq}}}"),
        answer_kind: AnswerKind::Result,
        answer: "{}".to_owned(),
        received_at: Timestamp(START + 1_000 * seq as i64),
        epoch: Epoch(1),
        notes: Notes::default(),
        reason: String::new(),
    }
}

/// The dead letter of the record with sequence number `seq`.
#[must_use]
pub fn dead_letter(seq: u64) -> DeadLetterRow {
    DeadLetterRow {
        record_id: format!("00000000-0000-0000-0000-00000000feed/{seq}"),
        charger_id: None,
        action: None,
        state: DeadLetterState::Waiting,
        reason: "record is damaged: unknown kind".to_owned(),
        at: Timestamp(START),
        size_bytes: 3,
        content: Some("\u{fffd}ab".to_owned()),
        discarded: None,
    }
}
