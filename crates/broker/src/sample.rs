//! One record for this crate's tests.

use central::record::{AnswerKind, GatewayId, Notes, RecordKind};
use central::{Epoch, Record, RecordId, Seq, Timestamp};
use ocpp::Version;
use uuid::Uuid;

pub(crate) fn id() -> RecordId {
    RecordId {
        gateway: GatewayId(Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef)),
        seq: Seq(17),
    }
}

pub(crate) fn record() -> Record<'static> {
    Record {
        kind: RecordKind::Call,
        charger_id: "CP.17/ü",
        ocpp_version: Version::V201,
        message_id: "m-1",
        action: "MeterValues",
        payload: r#"{"evseId": 1, "meterValue":[]}"#,
        answer_kind: AnswerKind::Result,
        answer: "{}",
        received_at: Timestamp(1_767_225_600_123),
        epoch: Epoch(7),
        notes: Notes::TOLERATED.with(Notes::CONFLICT),
        reason: "extra \"member\"",
    }
}
