//! What the store's tests share: the databases, records of a small network, and how they are applied.

#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "each test program uses its own part"
)]

mod adapter;
mod postgres;
mod sqlite;

pub(crate) use adapter::Adapter;
pub(crate) use postgres::{PostgresDatabase, run};
pub(crate) use sqlite::SqliteDatabase;

use central::model::{Actor, ActorKind, ChargerProfile, ChargerSettings, Origin, SettingsPatch};
use central::ports::{
    Applied, ChangeKind, ChangeRequest, ChargerAdmin, ChargerChange, CloseRequest, NotChanged,
    Once, Store, Unavailable,
};
use central::project::Changes;
use central::record::Notes;
use central::{AnswerKind, Epoch, GatewayId, Record, RecordId, RecordKind, Seq, Timestamp};
use ocpp::Version;
use uuid::Uuid;

pub(crate) const BEGIN_MILLIS: i64 = 1_767_225_600_000;

/// Who makes the changes of the tests.
pub(crate) fn origin() -> Origin {
    Origin {
        at: Timestamp(5),
        by: Actor {
            kind: ActorKind::CommandLine,
            name: Some("anna".to_owned()),
        },
        from: "depot-1".to_owned(),
        request_id: None,
        traceparent: None,
    }
}

/// A request to close a session, by `alice`.
pub(crate) fn close_request(key: Uuid, ended_at: Timestamp, noted_at: Timestamp) -> CloseRequest {
    CloseRequest {
        key,
        ended_at: Some(ended_at),
        who: "alice".to_owned(),
        reason: "the charger was replaced".to_owned(),
        is_forced: true,
        request: ChangeRequest::of(Origin {
            at: noted_at,
            ..origin()
        }),
    }
}

/// Makes a charger's settings equal to `profile`.
pub(crate) fn put_profile(store: &impl ChargerAdmin, profile: &ChargerProfile) -> ChargerSettings {
    let change = ChargerChange {
        charger_id: profile.charger_id.clone(),
        kind: ChangeKind::Set,
        patch: SettingsPatch::to_profile(profile),
        request: ChangeRequest::of(origin()),
    };
    match store.change_charger(&change).unwrap() {
        Once::Done(settings) => settings,
        other => panic!("not changed: {other:?}"),
    }
}

/// Removes a charger's settings.
pub(crate) fn remove_profile(store: &impl ChargerAdmin, id: &str) -> Result<(), NotChanged> {
    store
        .remove_charger(id, &ChangeRequest::of(origin()))
        .unwrap()
}

/// An encoded record with its id.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sent {
    pub(crate) id: RecordId,
    pub(crate) bytes: Vec<u8>,
}

impl Sent {
    pub(crate) fn record(&self) -> Record<'_> {
        Record::decode(&self.bytes).unwrap()
    }
}

pub(crate) fn gateway(number: u128) -> GatewayId {
    GatewayId(Uuid::from_u128(0xfeed_0000 + number))
}

pub(crate) fn id(gateway_number: u128, seq: u64) -> RecordId {
    RecordId {
        gateway: gateway(gateway_number),
        seq: Seq(seq),
    }
}

/// A 1.6 call that was accepted, `minute` minutes into the test.
pub(crate) fn call(
    id: RecordId,
    charger_id: &str,
    minute: i64,
    action: &str,
    payload: &str,
) -> Sent {
    answered(id, charger_id, minute, action, payload, "{}")
}

pub(crate) fn answered(
    id: RecordId,
    charger_id: &str,
    minute: i64,
    action: &str,
    payload: &str,
    answer: &str,
) -> Sent {
    let record = Record {
        kind: RecordKind::Call,
        charger_id,
        ocpp_version: Version::V16,
        message_id: "m",
        action,
        payload,
        answer_kind: AnswerKind::Result,
        answer,
        received_at: at(minute),
        epoch: Epoch(BEGIN_MILLIS.cast_unsigned()),
        notes: Notes::default(),
        reason: "",
    };
    Sent {
        id,
        bytes: record.encode(),
    }
}

pub(crate) fn at(minute: i64) -> Timestamp {
    Timestamp(BEGIN_MILLIS + minute * 60_000)
}

pub(crate) fn heartbeat(seq: u64, charger_id: &str) -> Sent {
    call(id(0, seq), charger_id, seq.cast_signed(), "Heartbeat", "{}")
}

/// A record that is not a call.
pub(crate) fn event(
    id: RecordId,
    kind: RecordKind,
    charger_id: &str,
    minute: i64,
    epoch: u64,
) -> Sent {
    let record = Record {
        kind,
        charger_id,
        ocpp_version: Version::V16,
        message_id: "",
        action: "",
        payload: if kind == RecordKind::Connected {
            r#"{"remote":"127.0.0.1:1"}"#
        } else {
            ""
        },
        answer_kind: AnswerKind::None,
        answer: "",
        received_at: at(minute),
        epoch: Epoch(epoch),
        notes: Notes::default(),
        reason: if kind == RecordKind::Disconnected {
            "closed"
        } else {
            ""
        },
    };
    Sent {
        id,
        bytes: record.encode(),
    }
}

pub(crate) fn start(id: RecordId, charger_id: &str, minute: i64, transaction: i64) -> Sent {
    start_on(id, charger_id, minute, transaction, 1)
}

pub(crate) fn start_on(
    id: RecordId,
    charger_id: &str,
    minute: i64,
    transaction: i64,
    connector: i64,
) -> Sent {
    let payload = format!(
        r#"{{"connectorId":{connector},"idTag":"TAG-1","meterStart":100,"timestamp":"{}"}}"#,
        at(minute)
    );
    let answer =
        format!(r#"{{"idTagInfo":{{"status":"Accepted"}},"transactionId":{transaction}}}"#);
    answered(
        id,
        charger_id,
        minute,
        "StartTransaction",
        &payload,
        &answer,
    )
}

pub(crate) fn stop(id: RecordId, charger_id: &str, minute: i64, transaction: i64) -> Sent {
    let payload = format!(
        r#"{{"transactionId":{transaction},"meterStop":{},"timestamp":"{}","reason":"Local"}}"#,
        100 + minute * 10,
        at(minute)
    );
    call(id, charger_id, minute, "StopTransaction", &payload)
}

pub(crate) fn meter_values(id: RecordId, charger_id: &str, minute: i64, transaction: i64) -> Sent {
    let payload = format!(
        r#"{{"connectorId":1,"transactionId":{transaction},"meterValue":[{{"timestamp":"{}","sampledValue":[{{"value":"{}.7","measurand":"Energy.Active.Import.Register","unit":"Wh"}},{{"value":"7.36","measurand":"Power.Active.Import","unit":"kW"}}]}}]}}"#,
        at(minute),
        100 + minute * 10
    );
    call(id, charger_id, minute, "MeterValues", &payload)
}

pub(crate) fn status(id: RecordId, charger_id: &str, minute: i64, connector: i64) -> Sent {
    let word = ["Available", "Charging", "Faulted"][minute.unsigned_abs() as usize % 3];
    let payload = format!(
        r#"{{"connectorId":{connector},"errorCode":"NoError","status":"{word}","timestamp":"{}"}}"#,
        at(minute)
    );
    call(id, charger_id, minute, "StatusNotification", &payload)
}

/// Projects and applies in one transaction, as the applier does.
pub(crate) fn apply(store: &dyn Store, sent: &[Sent]) -> Result<Applied, Unavailable> {
    let records: Vec<_> = sent.iter().map(|sent| (sent.id, sent.record())).collect();
    let mut changes = Changes::default();
    for (id, record) in &records {
        changes.absorb(*id, record);
    }
    store.apply(&records, &changes, &[])
}

/// Runs generic tests on every adapter: `fn name<A: Adapter>()` becomes `sqlite::name` and `postgres::name`.
macro_rules! on_every_adapter {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(#[test]
            fn $test() {
                super::$test::<crate::common::SqliteDatabase>();
            })*
        }
        mod postgres {
            $(#[test]
            fn $test() {
                super::$test::<crate::common::PostgresDatabase>();
            })*
        }
    };
}
pub(crate) use on_every_adapter;
