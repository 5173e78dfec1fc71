//! What the database shows does not depend on the order in which records are applied, on repeats, or on batches. Random
//! histories test this for every projection.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test stops at what it did not expect"
)]

use crate::common::{TestCharger, database, setup};
use central::memory::{Contents, MemoryStore};
use central::model::{
    ChargerKey, ChargerState, ChargerView, ConnectionState, ConnectorState, ConnectorView, First,
    GATEWAY_SILENT_MS_MAX, GatewayState, Merge, TransactionState, TransactionView, UnknownReason,
    pair_orphans,
};
use central::ports::Store;
use central::project::Changes;
use central::record::gateway_started;
use central::station::CloseReason;
use central::{Epoch, GatewayId, Record, RecordId, Seq, Timestamp};
use ocpp::Version;
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

type History = Vec<(RecordId, Vec<u8>)>;

/// A message from four numbers; domains are small, so that ids, times and places coincide.
fn message_v16(kind: u8, a: u8, b: u8, c: u8) -> (&'static str, String) {
    let at = time(b);
    let id = ["-1", "0", "7", "8", "\"9\""][usize::from(a % 5)];
    match kind % 9 {
        0 => (
            "StartTransaction",
            format!(
                r#"{{"connectorId":{},"idTag":"T{}","timestamp":{at},"meterStart":{c}}}"#,
                a % 2,
                c % 2
            ),
        ),
        1 => (
            "StopTransaction",
            format!(
                r#"{{"transactionId":{id},"idTag":"T{}","timestamp":{at},"meterStop":{}}}"#,
                c % 2,
                200 + u16::from(c)
            ),
        ),
        2 | 3 => (
            "MeterValues",
            format!(
                r#"{{"connectorId":1,"transactionId":{id},"meterValue":[{{"timestamp":{at},"sampledValue":[{{"value":"{c}.37","unit":"kWh"}},{{"value":"{b}","measurand":"SoC"}}]}},{{"timestamp":{at},"sampledValue":[{{"value":"{a}","measurand":"Power.Active.Import"}}]}}]}}"#
            ),
        ),
        4 => (
            "StatusNotification",
            format!(
                r#"{{"connectorId":{},"errorCode":"NoError","status":"S{c}","timestamp":{at}}}"#,
                a % 3
            ),
        ),
        5 => (
            "BootNotification",
            format!(r#"{{"chargePointVendor":"V{c}","chargePointModel":"M"}}"#),
        ),
        6 => (
            "FirmwareStatusNotification",
            format!(r#"{{"status":"S{c}"}}"#),
        ),
        7 => (
            "SecurityEventNotification",
            format!(r#"{{"type":"E{a}","timestamp":{at}}}"#),
        ),
        _ => ("StopTransaction", "{broken".to_owned()),
    }
}

fn message_v2(kind: u8, a: u8, b: u8, c: u8) -> (&'static str, String) {
    let at = time(b);
    match kind % 8 {
        0..=3 => {
            let event = ["Started", "Updated", "Updated", "Ended"][usize::from(kind % 4)];
            let token = match c % 3 {
                0 => r#","idToken":{"idToken":"A","type":"ISO14443"}"#,
                1 => r#","idToken":{"idToken":"B","type":"eMAID"},"offline":true"#,
                _ => "",
            };
            (
                "TransactionEvent",
                format!(
                    r#"{{"eventType":"{event}","timestamp":{at},"triggerReason":"Trigger","seqNo":{},"transactionInfo":{{"transactionId":"{}","chargingState":"C{c}","remoteStartId":{c}}},"evse":{{"id":{},"connectorId":1}},"meterValue":[{{"timestamp":{at},"sampledValue":[{{"value":{c}.5}}]}}]{token}}}"#,
                    c % 7,
                    a % 3,
                    a % 2
                ),
            )
        }
        4 => (
            "StatusNotification",
            format!(
                r#"{{"timestamp":{at},"connectorStatus":"S{c}","evseId":{},"connectorId":1}}"#,
                a % 2
            ),
        ),
        5 => (
            "NotifyEvent",
            format!(
                r#"{{"generatedAt":{at},"seqNo":0,"eventData":[{},{}]}}"#,
                availability(a, &at, c),
                availability(a, &at, c.wrapping_add(1))
            ),
        ),
        6 => (
            "MeterValues",
            format!(
                r#"{{"evseId":{a},"meterValue":[{{"timestamp":{at},"sampledValue":[{{"value":{c}}}]}}]}}"#
            ),
        ),
        _ => (
            "NotifyReport",
            format!(r#"{{"requestId":{a},"generatedAt":{at},"seqNo":{c}}}"#),
        ),
    }
}

fn availability(evse: u8, at: &str, state: u8) -> String {
    let evse = evse % 2;
    format!(
        r#"{{"eventId":1,"timestamp":{at},"trigger":"Delta","actualValue":"S{state}","eventNotificationType":"HardWiredNotification","component":{{"name":"Connector","evse":{{"id":{evse},"connectorId":1}}}},"variable":{{"name":"AvailabilityState"}}}}"#
    )
}

/// A quoted time: mostly plausible, sometimes not, or no time.
fn time(b: u8) -> String {
    match b % 16 {
        // Slightly in the future: later than the first copies, before the last.
        12 => r#""2026-01-01T00:00:04Z""#.to_owned(),
        13 => r#""1970-01-01T00:00:00Z""#.to_owned(),
        14 => r#""2040-01-01T00:00:00Z""#.to_owned(),
        15 => r#""soon""#.to_owned(),
        minute => format!(r#""2025-12-31T23:{minute:02}:00Z""#),
    }
}

/// The records of two gateways with two connections each; all receive the same messages.
fn history(messages: &[(u8, u8, u8, u8)], version: Version) -> History {
    let mut history = Vec::new();
    for gateway in 1..=2 {
        let gateway = GatewayId(Uuid::from_u128(gateway));
        let mut seq = 0;
        for connection in 0..2_u64 {
            let mut setup = setup(version);
            setup.epoch = 10 + connection;
            let mut charger = setup.connect();
            for (i, (kind, a, b, c)) in messages.iter().enumerate() {
                charger.wait_ms(i64::from(*c) * 17 + i64::from(gateway.0.as_bytes()[15]));
                let (action, payload) = match version {
                    Version::V16 => message_v16(*kind, *a, *b, *c),
                    Version::V201 | Version::V21 => message_v2(*kind, *a, *b, *c),
                };
                charger.sends(&format!(r#"[2,"{i}","{action}",{payload}]"#));
            }
            if connection == 0 {
                charger.disconnects(CloseReason::PingTimeout);
            }
            let started =
                gateway_started(Timestamp(crate::common::NOW.0 + 1), Epoch(10 + connection));
            for bytes in records_of(charger).into_iter().chain([started]) {
                seq += 1;
                history.push((
                    RecordId {
                        gateway,
                        seq: Seq(seq),
                    },
                    bytes,
                ));
            }
        }
    }
    history
}

fn records_of(charger: TestCharger) -> Vec<Vec<u8>> {
    charger.journal
}

fn changes_of(history: &[(RecordId, Vec<u8>)]) -> Changes {
    let mut changes = Changes::default();
    for (id, bytes) in history {
        changes.absorb(*id, &Record::decode(bytes).expect("a record"));
    }
    changes
}

fn apply(history: &[(RecordId, Vec<u8>)], batch: usize) -> Contents {
    let store = MemoryStore::default();
    for batch in history.chunks(batch.max(1)) {
        let records: Vec<_> = batch
            .iter()
            .map(|(id, bytes)| (*id, Record::decode(bytes).expect("a record")))
            .collect();
        store.apply(&records, &changes_of(batch), &[]).unwrap();
    }
    store.contents()
}

/// All views.
fn views(contents: &Contents) -> (String, Vec<TransactionView>) {
    let states = &contents.states;
    let chargers: Vec<_> = states
        .chargers
        .keys()
        .map(|charger| database::charger(contents, charger))
        .collect();
    let connectors: Vec<_> = states
        .connectors
        .iter()
        .map(|((charger, evse, connector), state)| {
            state.view(&database::charger(contents, charger), *evse, *connector)
        })
        .collect();
    let transactions: Vec<_> = states
        .transactions
        .iter()
        .flat_map(|((charger, id), state)| state.views(charger.as_str(), id))
        .collect();
    let text = serde_json::to_string(&(chargers, connectors, &transactions)).unwrap();
    (text, transactions)
}

fn reads_back<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(state: &T) {
    let text = serde_json::to_string(state).unwrap();
    assert_eq!(&serde_json::from_str::<T>(&text).unwrap(), state, "{text}");
}

fn messages() -> impl Strategy<Value = Vec<(u8, u8, u8, u8)>> {
    proptest::collection::vec((any::<u8>(), any::<u8>(), any::<u8>(), 0..40_u8), 1..24)
}

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V16), Just(Version::V201), Just(Version::V21)]
}

/// A history, and the same one shuffled, with repeats.
fn shuffled() -> impl Strategy<Value = (History, History)> {
    (messages(), version()).prop_flat_map(|(messages, version)| {
        let history = history(&messages, version);
        let repeats = proptest::collection::vec(0..history.len(), 0..history.len());
        let all = history.clone();
        let mixed = repeats
            .prop_map(move |repeats| {
                let again = repeats.iter().map(|i| all[*i].clone());
                all.iter().cloned().chain(again).collect::<History>()
            })
            .prop_shuffle();
        (Just(history), mixed)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_order_with_repeats_gives_the_same_views((history, mixed) in shuffled(), batch in 1..40_usize) {
        let plain = apply(&history, 1);
        let other = apply(&mixed, batch);
        prop_assert_eq!(&plain.states, &other.states);
        prop_assert_eq!(&plain.meter_values, &other.meter_values);
        prop_assert_eq!(&plain.events, &other.events);
        prop_assert_eq!(&plain.quirks, &other.quirks);
        prop_assert_eq!(&plain.unknown_tokens, &other.unknown_tokens);
        prop_assert_eq!(&plain.records, &other.records);
        let ((text, transactions), (other_text, mut others)) = (views(&plain), views(&other));
        prop_assert_eq!(text, other_text);
        // Pairing stops with starts does not depend on the order either.
        others.reverse();
        let sorted = |views: Vec<TransactionView>| {
            let mut paired = pair_orphans(views);
            paired.sort_by_key(|view| view.key);
            paired
        };
        prop_assert_eq!(sorted(transactions), sorted(others));
    }

    #[test]
    fn a_resend_that_was_not_recognised_adds_no_rows(
        messages in messages(), version in version(), late_ms in 1..10_000_000_i64,
    ) {
        let history = history(&messages, version);
        let again: History = history
            .iter()
            .filter_map(|(id, bytes)| {
                let mut record = Record::decode(bytes).expect("a record");
                // Without a plausible time, a row's key depends on when it was received.
                let tells_time = ["2025-", "2026-", "2040-"].iter().any(|year| record.payload.contains(year));
                record.received_at = record.received_at.plus_millis(late_ms);
                let gateway = GatewayId(Uuid::from_u128(3));
                tells_time.then(|| (RecordId { gateway, seq: Seq(id.seq.0 + id.gateway.0.as_u128() as u64 * 1_000) }, record.encode()))
            })
            .collect();
        let both: History = history.iter().chain(&again).cloned().collect();
        let (plain, both) = (apply(&history, 7), apply(&both, 7));
        prop_assert_eq!(plain.records.len() + again.len(), both.records.len());
        prop_assert_eq!(plain.meter_values, both.meter_values);
        prop_assert_eq!(plain.events, both.events);
    }

    #[test]
    fn merging_is_commutative_associative_and_idempotent((history, mixed) in shuffled()) {
        let third = history.len() / 3;
        let a = states(&history[..third * 2]);
        let b = states(&mixed[mixed.len() / 4..mixed.len() / 2]);
        let c = states(&history[third..]);
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        prop_assert_eq!(&merged(&a, &a), &a);
    }

    #[test]
    fn pairing_changes_only_with_what_the_list_compares(
        start in proptest::sample::select(vec![-1, 0, 5_000]),
        readings in proptest::collection::vec(
            (0..60_u8, proptest::sample::select(vec!["0", "500", "3000", "6000", "200000"]), any::<bool>()),
            1..6,
        ),
    ) {
        let payload = format!(
            r#"{{"connectorId":1,"idTag":"T","timestamp":"2026-01-01T00:00:00Z","meterStart":{start}}}"#
        );
        let mut messages = vec![("StartTransaction", payload)];
        messages.extend(readings.iter().map(|(minute, wh, is_begin)| {
            let context = if *is_begin { "Transaction.Begin" } else { "Sample.Periodic" };
            let payload = format!(
                r#"{{"connectorId":1,"transactionId":7,"meterValue":[{{"timestamp":"2026-01-01T00:{minute:02}:00Z","sampledValue":[{{"value":"{wh}","context":"{context}"}}]}}]}}"#
            );
            ("MeterValues", payload)
        }));
        // What a store compares before it writes a row of the list again.
        let compared = |state: &TransactionState| {
            let starts: Vec<_> = state.starts.values().map(First::stamp).collect();
            let stops: Vec<_> = state.stops.values().map(First::stamp).collect();
            let pairing = state.stops.is_empty().then(|| state.pairing_stamps());
            (state.version.get().copied(), state.first_at(), starts, stops, pairing)
        };
        let candidates = |charger: &ChargerKey, id: &str, state: &TransactionState| {
            let views = state.views(charger.as_str(), id);
            views.iter().map(|view| (view.open, view.candidate())).collect::<Vec<_>>()
        };
        let mut changes = Changes::default();
        for (seq, (action, payload)) in (1..).zip(&messages) {
            let before = changes.transactions.clone();
            let record = Record {
                action,
                payload,
                answer: r#"{"transactionId":7}"#,
                received_at: crate::common::NOW.plus_millis(3_600_000),
                ..call()
            };
            changes.absorb(crate::common::database::id(seq), &record);
            for ((charger, id), state) in &changes.transactions {
                let Some(earlier) = before.get(&(charger.clone(), id.clone())) else {
                    continue;
                };
                if compared(earlier) == compared(state) {
                    prop_assert_eq!(
                        candidates(charger, id, earlier),
                        candidates(charger, id, state)
                    );
                }
            }
        }
    }

    #[test]
    fn states_are_read_from_json_as_they_were_written(messages in messages(), version in version()) {
        let contents = apply(&history(&messages, version), 7);
        for state in contents.states.chargers.values() {
            reads_back::<ChargerState>(state);
        }
        for state in contents.states.connectors.values() {
            reads_back::<ConnectorState>(state);
        }
        for state in contents.states.transactions.values() {
            reads_back::<TransactionState>(state);
        }
    }

    #[test]
    fn projecting_is_total(action in "[A-Z][a-zA-Z]{0,20}", payload in ".{0,60}", version in version()) {
        let record = Record {
            ocpp_version: version,
            action: &action,
            payload: &payload,
            ..call()
        };
        let id = RecordId { gateway: GatewayId(Uuid::nil()), seq: Seq(1) };
        Changes::default().absorb(id, &record);
    }
}

/// A call of OCPP 1.6 that is answered `{}`.
fn call() -> Record<'static> {
    Record {
        kind: central::RecordKind::Call,
        charger_id: "CP",
        ocpp_version: Version::V16,
        message_id: "1",
        action: "",
        payload: "{}",
        answer_kind: central::AnswerKind::Result,
        answer: "{}",
        received_at: crate::common::NOW,
        epoch: Epoch(1),
        notes: central::record::Notes::default(),
        reason: "",
    }
}

/// Without the rows, which are not merged.
fn states(history: &[(RecordId, Vec<u8>)]) -> Changes {
    let mut changes = changes_of(history);
    changes.meter_values.clear();
    changes.quirks.clear();
    changes.presented.clear();
    changes.events.clear();
    changes
}

fn merged(a: &Changes, b: &Changes) -> Changes {
    let mut merged = a.clone();
    merged.merge(b.clone());
    merged
}

#[test]
fn a_time_in_the_future_keys_rows_and_does_not_hide_later_values() {
    let record = |action, payload, received_at| Record {
        kind: central::RecordKind::Call,
        charger_id: "CP",
        ocpp_version: Version::V16,
        message_id: "1",
        action,
        payload,
        answer_kind: central::AnswerKind::Result,
        answer: "{}",
        received_at,
        epoch: Epoch(1),
        notes: central::record::Notes::default(),
        reason: "",
    };
    let gateway = GatewayId(Uuid::from_u128(1));
    let values = r#"{"connectorId":1,"transactionId":5,"meterValue":[{"timestamp":"2026-01-01T00:00:04Z","sampledValue":[{"value":"100"}]}]}"#;
    let security = r#"{"type":"T","timestamp":"2026-01-01T00:00:04Z"}"#;
    let ahead = r#"{"connectorId":1,"errorCode":"NoError","status":"Charging","timestamp":"2030-01-01T00:00:00Z"}"#;
    let right = r#"{"connectorId":1,"errorCode":"NoError","status":"Finishing","timestamp":"2026-01-01T00:01:00Z"}"#;
    let mut changes = Changes::default();
    let told = [
        ("MeterValues", values, 0),
        ("MeterValues", values, 3_000),
        ("MeterValues", values, 9_000),
        ("SecurityEventNotification", security, 0),
        ("SecurityEventNotification", security, 9_000),
        ("StatusNotification", ahead, 10_000),
        ("StatusNotification", right, 61_000),
    ];
    for (seq, (action, payload, ms)) in (1..).zip(told) {
        let at = crate::common::NOW.plus_millis(ms);
        changes.absorb(
            RecordId {
                gateway,
                seq: Seq(seq),
            },
            &record(action, payload, at),
        );
    }
    let told_at = crate::common::NOW.plus_millis(4_000);
    assert!(changes.meter_values.iter().all(|row| row.at == told_at));
    assert!(changes.events.iter().all(|row| row.at == told_at));
    let connector = &changes.connectors[&(ChargerKey::of("cp"), 0, 1)];
    assert_eq!(connector.status().unwrap().status, "Finishing");
}

/// A charger that has reported connector 1 as available, and the changes of its records.
fn reporting_charger(gateway: GatewayId) -> (TestCharger, Changes) {
    let mut charger = setup(Version::V16).connect();
    let status = r#"{"connectorId":1,"errorCode":"NoError","status":"Available"}"#;
    charger.succeeds("1", "StatusNotification", status);
    let mut changes = Changes::default();
    for (seq, bytes) in (1..).map(Seq).zip(&charger.journal) {
        changes.absorb(RecordId { gateway, seq }, &Record::decode(bytes).unwrap());
    }
    (charger, changes)
}

/// The charger and its connector at this time.
fn shown(changes: &Changes, gateway: GatewayId, now: Timestamp) -> (ChargerView, ConnectorView) {
    let key = ChargerKey::of("cp-17");
    let charger = changes.chargers[&key].view("CP-17", changes.gateways.get(&gateway), now);
    let connector = changes.connectors[&(key, 0, 1)].view(&charger, 0, 1);
    (charger, connector)
}

const NOW: Timestamp = crate::common::NOW;

#[test]
fn a_charger_is_online_until_its_connection_ends_or_its_gateway_starts_again() {
    let gateway = GatewayId(Uuid::from_u128(1));
    let id = |seq| RecordId { gateway, seq };
    let (mut charger, changes) = reporting_charger(gateway);
    let (view, connector) = shown(&changes, gateway, NOW);
    assert!(view.online);
    assert_eq!(connector.status, "Available");
    assert_eq!(connector.unknown_reason, None);

    let mut killed = changes.clone();
    let started = gateway_started(NOW, Epoch(2));
    killed.absorb(id(Seq(3)), &Record::decode(&started).unwrap());
    let (view, connector) = shown(&killed, gateway, NOW);
    assert!(!view.online, "the gateway was killed and recorded no end");
    assert_eq!(view.connection, ConnectionState::Closed);
    assert_eq!(connector.status, "Unknown");
    assert_eq!(connector.unknown_reason, Some(UnknownReason::Offline));
    assert_eq!(connector.since, None, "its end was not recorded");
    assert_eq!(connector.last_status.as_deref(), Some("Available"));

    charger.disconnects(CloseReason::Shutdown);
    // The record of the end is applied first.
    let mut early = Changes::default();
    for seq in [3, 2, 1] {
        let bytes = &charger.journal[usize::try_from(seq).unwrap() - 1];
        early.absorb(id(Seq(seq)), &Record::decode(bytes).unwrap());
    }
    let (view, connector) = shown(&early, gateway, NOW);
    assert!(!view.online);
    assert_eq!(view.remote.as_deref(), Some("127.0.0.1:50000"));
    assert_eq!(
        view.disconnect_reason.as_deref(),
        Some("the gateway is stopping")
    );
    assert_eq!(connector.unknown_reason, Some(UnknownReason::Offline));
    assert_eq!(connector.since, view.disconnected_at);
}

#[test]
fn a_status_is_unknown_while_the_gateway_of_the_charger_does_not_report() {
    let gateway = GatewayId(Uuid::from_u128(1));
    let (_charger, mut changes) = reporting_charger(gateway);
    let later = |ms| NOW.plus_millis(ms);
    // A record of the charger proves that its gateway ran, even if the gateway cannot reach the database itself.
    let (view, _) = shown(&changes, gateway, later(GATEWAY_SILENT_MS_MAX));
    assert_eq!(view.connection, ConnectionState::Open);
    let silent_at = later(GATEWAY_SILENT_MS_MAX + 1);
    let (view, connector) = shown(&changes, gateway, silent_at);
    assert_eq!(view.connection, ConnectionState::Unknown);
    assert!(!view.online);
    assert_eq!(connector.status, "Unknown");
    assert_eq!(
        connector.unknown_reason,
        Some(UnknownReason::GatewayUnreachable)
    );
    assert_eq!(connector.last_status.as_deref(), Some("Available"));
    assert_eq!(connector.last_status_at, Some(NOW));

    // It reports again: nothing was lost, and the status is shown again. An older report that comes late is ignored.
    for alive_at in [silent_at, NOW] {
        let mut report = Changes::default();
        let state = GatewayState {
            alive_at: Some(alive_at),
            ..GatewayState::default()
        };
        report.gateways.insert(gateway, state);
        changes.merge(report);
    }
    let (view, connector) = shown(&changes, gateway, silent_at);
    assert_eq!(view.connection, ConnectionState::Open);
    assert_eq!(connector.status, "Available");
    // Another gateway's reports say nothing about this one's connections.
    let other = GatewayId(Uuid::from_u128(2));
    let now = later(2 * GATEWAY_SILENT_MS_MAX + 2);
    let state = GatewayState {
        alive_at: Some(now),
        ..GatewayState::default()
    };
    changes.gateways.insert(other, state);
    let (view, _) = shown(&changes, gateway, now);
    assert_eq!(view.connection, ConnectionState::Unknown);
}

#[test]
fn a_status_from_an_earlier_connection_at_another_gateway_is_not_shown_as_current() {
    let (first, second) = (GatewayId(Uuid::from_u128(1)), GatewayId(Uuid::from_u128(2)));
    let (_charger, mut changes) = reporting_charger(first);
    let mut moved = setup(Version::V16);
    moved.epoch += 1;
    let moved = moved.connect();
    let id = RecordId {
        gateway: second,
        seq: Seq(1),
    };
    changes.absorb(id, &Record::decode(&moved.journal[0]).unwrap());
    let (view, connector) = shown(&changes, second, NOW);
    assert_eq!(view.gateway_id, Some(second));
    assert!(view.online);
    assert_eq!(
        connector.unknown_reason,
        Some(UnknownReason::NotReportedSinceConnect)
    );
    assert_eq!(connector.since, view.connected_at);
    assert_eq!(connector.last_status.as_deref(), Some("Available"));
}
