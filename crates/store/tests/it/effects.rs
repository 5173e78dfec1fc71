//! Effects of commands: which messages are joined with which commands, and that the order of arrival does not matter.

use crate::common::{Adapter, Sent, apply, at, gateway, id, on_every_adapter};
use central::memory::MemoryStore;
use central::model::{
    ChargerKey, Claim, Command, CommandId, CommandView, EffectPhase, TransactionView,
};
use central::ports::{CommandQueue, Commands, Created, NewCommand, Store};
use central::query::{CommandFilter, PageRequest, QueryStore, TransactionFilter};
use central::record::Notes;
use central::{AnswerKind, Epoch, Record, RecordKind, Seq, Timestamp};
use ocpp::Version;
use proptest::prelude::*;
use uuid::Uuid;

on_every_adapter!(
    effects_do_not_depend_on_the_order_of_arrival,
    a_message_of_another_charger_or_before_the_claim_is_no_effect,
    commands_with_one_id_each_have_the_effect_that_came_after_them,
    missing_pages_are_asked_for_again_once,
    two_processes_ask_again_once,
    a_charger_whose_state_cannot_be_read_is_asked_again,
    lists_select_by_effect,
);

pub(crate) fn command_id(number: u128) -> CommandId {
    CommandId(Uuid::from_u128(number))
}

/// Requests and claims a command; its record of sending has the number `seq` or a later one.
pub(crate) fn claimed(
    store: &(impl Commands + CommandQueue),
    number: u128,
    charger: &str,
    (action, payload): (&str, &str),
    seq: u64,
) {
    let new = NewCommand {
        command: Command {
            id: command_id(number),
            charger_id: charger.to_owned(),
            action: action.to_owned(),
            payload: payload.to_owned(),
            answer_within_ms: 30_000,
            send_before: at(10),
            skips_check: false,
        },
        created_at: at(0),
        requested_by: "ops".to_owned(),
        waits_when_offline: true,
        not_sent: None,
        idempotency: None,
        audit: None,
        traceparent: None,
    };
    assert!(matches!(store.create(&new).unwrap(), Created::New(_)));
    let claim = Claim {
        gateway: gateway(0),
        started: Epoch(7),
        next_seq: Seq(seq),
        at: at(1),
    };
    let taken = store.claim(claim, &[ChargerKey::of(charger)]).unwrap();
    assert_eq!(taken[0].id, command_id(number));
}

/// A record of this kind, `seq` seconds after the first minute.
fn blank(seq: u64, kind: RecordKind) -> Record<'static> {
    Record {
        kind,
        charger_id: "CP-1",
        ocpp_version: Version::V16,
        message_id: "m",
        action: "",
        payload: "{}",
        answer_kind: AnswerKind::None,
        answer: "",
        received_at: at(1).plus_millis(seq.cast_signed() * 1_000),
        epoch: Epoch(9),
        notes: Notes::default(),
        reason: "",
    }
}

fn encoded(seq: u64, record: Record<'_>) -> Sent {
    Sent {
        id: id(0, seq),
        bytes: record.encode(),
    }
}

/// A message that was answered, `seq` seconds after the first minute.
pub(crate) fn message(
    seq: u64,
    version: Version,
    action: &str,
    payload: &str,
    answer: &str,
) -> Sent {
    encoded(
        seq,
        Record {
            ocpp_version: version,
            action,
            payload,
            answer_kind: AnswerKind::Result,
            answer,
            ..blank(seq, RecordKind::Call)
        },
    )
}

/// The records of sending and of the answer.
pub(crate) fn sent_and_answered(
    seq: u64,
    number: u128,
    version: Version,
    action: &str,
    answer: &str,
) -> [Sent; 2] {
    let message_id = command_id(number).to_string();
    let about = |seq: u64, kind, payload: &str| {
        let record = Record {
            ocpp_version: version,
            message_id: &message_id,
            action,
            payload,
            ..blank(seq, kind)
        };
        encoded(seq, record)
    };
    [
        about(seq, RecordKind::CallToCharger, "{}"),
        about(seq + 1, RecordKind::CallResult, answer),
    ]
}

pub(crate) const ACCEPTED: &str = r#"{"status":"Accepted"}"#;

/// Each kind of effect once.
fn requests() -> Vec<(Version, &'static str, &'static str, &'static str)> {
    use Version::{V16, V21, V201};
    vec![
        (
            V16,
            "RemoteStartTransaction",
            r#"{"idTag":"Tag-1","connectorId":1}"#,
            ACCEPTED,
        ),
        (
            V16,
            "RemoteStopTransaction",
            r#"{"transactionId":77}"#,
            ACCEPTED,
        ),
        (
            V16,
            "TriggerMessage",
            r#"{"requestedMessage":"StatusNotification","connectorId":2}"#,
            ACCEPTED,
        ),
        (V16, "Reset", r#"{"type":"Soft"}"#, ACCEPTED),
        (
            V16,
            "GetDiagnostics",
            r#"{"location":"ftp://u:p@h/d"}"#,
            r#"{"fileName":"x.zip"}"#,
        ),
        (
            V16,
            "UpdateFirmware",
            r#"{"location":"http://h/f","retrieveDate":"2026-01-01T00:00:00Z"}"#,
            "{}",
        ),
        (
            V16,
            "ChangeAvailability",
            r#"{"connectorId":1,"type":"Inoperative"}"#,
            ACCEPTED,
        ),
        (
            V201,
            "RequestStartTransaction",
            r#"{"remoteStartId":9,"idToken":{"idToken":"x","type":"Central"}}"#,
            ACCEPTED,
        ),
        (
            V201,
            "RequestStopTransaction",
            r#"{"transactionId":"abc-1-of-many"}"#,
            ACCEPTED,
        ),
        (
            V201,
            "GetBaseReport",
            r#"{"requestId":5,"reportBase":"FullInventory"}"#,
            ACCEPTED,
        ),
        (
            V201,
            "GetLog",
            r#"{"requestId":6,"logType":"SecurityLog","log":{"remoteLocation":"https://h/l?sig=1"}}"#,
            r#"{"status":"Accepted","filename":"l.gz"}"#,
        ),
        (
            V201,
            "ReserveNow",
            r#"{"id":3,"expiryDateTime":"2026-01-01T00:05:00Z"}"#,
            ACCEPTED,
        ),
        (V21, "GetDisplayMessages", r#"{"requestId":8}"#, ACCEPTED),
    ]
}

fn messages() -> Vec<Sent> {
    use Version::{V16, V21, V201};
    let start =
        r#"{"connectorId":1,"idTag":"TAG-1","meterStart":1,"timestamp":"2026-01-01T00:03:00Z"}"#;
    let stop = r#"{"transactionId":77,"meterStop":9,"timestamp":"2026-01-01T00:04:00Z"}"#;
    let started = r#"{"eventType":"Started","timestamp":"2026-01-01T00:03:00Z","triggerReason":"RemoteStart","seqNo":0,"transactionInfo":{"transactionId":"abc-1-of-many","remoteStartId":9},"reservationId":3}"#;
    let ended = r#"{"eventType":"Ended","timestamp":"2026-01-01T00:04:00Z","triggerReason":"RemoteStop","seqNo":1,"transactionInfo":{"transactionId":"abc-1-of-many"}}"#;
    let mut seq = 100;
    let mut all = Vec::new();
    let mut say = |version, action: &str, payload: &str, answer: &str| {
        seq += 1;
        all.push(message(seq, version, action, payload, answer));
    };
    say(
        V16,
        "StartTransaction",
        start,
        r#"{"transactionId":77,"idTagInfo":{"status":"Accepted"}}"#,
    );
    say(V16, "StopTransaction", stop, "{}");
    say(
        V16,
        "StatusNotification",
        r#"{"connectorId":2,"errorCode":"NoError","status":"Available"}"#,
        "{}",
    );
    say(
        V16,
        "StatusNotification",
        r#"{"connectorId":1,"errorCode":"NoError","status":"Unavailable"}"#,
        "{}",
    );
    say(
        V16,
        "BootNotification",
        r#"{"chargePointVendor":"v","chargePointModel":"m"}"#,
        ACCEPTED,
    );
    say(
        V16,
        "DiagnosticsStatusNotification",
        r#"{"status":"Uploading"}"#,
        "{}",
    );
    say(
        V16,
        "DiagnosticsStatusNotification",
        r#"{"status":"Uploaded"}"#,
        "{}",
    );
    for status in [
        "Downloading",
        "Downloaded",
        "Installing",
        "Installed",
        "Idle",
    ] {
        let payload = format!(r#"{{"status":"{status}"}}"#);
        say(V16, "FirmwareStatusNotification", &payload, "{}");
    }
    say(V201, "TransactionEvent", started, "{}");
    say(V201, "TransactionEvent", ended, "{}");
    say(
        V201,
        "LogStatusNotification",
        r#"{"status":"Uploaded","requestId":6}"#,
        "{}",
    );
    for (number, tbc) in [(0, true), (1, true), (2, true), (3, false)] {
        let payload = format!(
            r#"{{"requestId":5,"generatedAt":"2026-01-01T00:00:00Z","seqNo":{number},"tbc":{tbc}}}"#
        );
        say(V201, "NotifyReport", &payload, "{}");
    }
    say(
        V201,
        "ReservationStatusUpdate",
        r#"{"reservationId":3,"reservationUpdateStatus":"Expired"}"#,
        "{}",
    );
    say(
        V21,
        "NotifyDisplayMessages",
        r#"{"requestId":8,"tbc":true}"#,
        "{}",
    );
    say(V21, "NotifyDisplayMessages", r#"{"requestId":8}"#, "{}");
    all
}

fn everything() -> Vec<Sent> {
    let mut all = Vec::new();
    for (number, (version, action, _, answer)) in (1..).zip(requests()) {
        let seq = u64::try_from(number).unwrap() * 2;
        all.extend(sent_and_answered(seq, number, version, action, answer));
    }
    all.extend(messages());
    all
}

fn prepare(store: &(impl Commands + CommandQueue)) {
    for (number, (_, action, payload, _)) in (1..).zip(requests()) {
        let seq = u64::try_from(number).unwrap() * 2;
        claimed(store, number, "CP-1", (action, payload), seq);
    }
}

fn views(store: &impl Commands, now: Timestamp) -> Vec<CommandView> {
    let all = store.commands(&CommandFilter::default(), &PageRequest::default(), now);
    let all = all.unwrap().items;
    for view in &all {
        assert_eq!(store.command(view.id, now).unwrap().as_ref(), Some(view));
    }
    all
}

fn effects_do_not_depend_on_the_order_of_arrival<A: Adapter>() {
    let config = ProptestConfig {
        cases: A::CASES / 4 + 1,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let count = everything().len();
    let order = Just((0..count).collect::<Vec<_>>()).prop_shuffle();
    proptest!(config, |(order in order, size in 1..9_usize, again in prop::collection::vec(0..count, 0..9))| {
        let memory = MemoryStore::default();
        prepare(&memory);
        apply(&memory, &everything()).unwrap();
        let database = A::new();
        let store = database.open();
        prepare(&store);
        let sent = everything();
        let arriving: Vec<Sent> = order.iter().chain(&again).map(|at| sent[*at].clone()).collect();
        for batch in arriving.chunks(size) {
            apply(&store, batch).unwrap();
        }
        let now = at(9);
        prop_assert_eq!(A::contents(&store).states.effects, memory.contents().states.effects);
        prop_assert_eq!(A::contents(&store), memory.contents());
        prop_assert_eq!(views(&store, now), views(&memory, now));
        let all = views(&store, now);
        for view in &all {
            prop_assert_eq!(view.effect.state, EffectPhase::Seen, "{:#?}", view);
        }
        let effect = |number: usize| &all[requests().len() - number].effect;
        let listed = store.transactions(&TransactionFilter::default(), &PageRequest::default()).unwrap().items;
        let key = |wire_id: &str| {
            listed.iter().find(|view: &&TransactionView| view.transaction_id == wire_id).map(|view| view.key)
        };
        prop_assert!(key("77").is_some());
        prop_assert_eq!(effect(1).transaction, key("77"));
        prop_assert_eq!(effect(2).transaction, key("77"));
        prop_assert_eq!(effect(8).transaction, key("abc-1-of-many"));
        prop_assert_eq!(effect(9).transaction, key("abc-1-of-many"));
        prop_assert_eq!(effect(5).file.as_deref(), Some("ftp://h/d/x.zip"));
        prop_assert_eq!(effect(6).status.as_deref(), Some("Installed"));
        let steps: Vec<&str> = effect(6).statuses.iter().map(|step| step.status.as_str()).collect();
        prop_assert_eq!(steps, ["Downloading", "Downloaded", "Installing", "Installed"]);
        prop_assert_eq!(effect(7).status.as_deref(), Some("Unavailable"));
        prop_assert_eq!(effect(10).report.as_ref().map(|report| report.pages), Some(4));
        prop_assert_eq!(effect(11).file.as_deref(), Some("https://h/l/l.gz"));
        prop_assert_eq!(effect(12).status.as_deref(), Some("Expired"));
        prop_assert_eq!(effect(13).report.as_ref().map(|report| report.pages), Some(2));
    });
}

fn a_message_of_another_charger_or_before_the_claim_is_no_effect<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    claimed(
        &store,
        1,
        "CP-1",
        ("TriggerMessage", r#"{"requestedMessage":"Heartbeat"}"#),
        10,
    );
    let heartbeat = |seq| message(seq, Version::V16, "Heartbeat", "{}", "{}");
    let other = {
        let sent = heartbeat(20);
        let record = Record {
            charger_id: "CP-2",
            ..sent.record()
        };
        Sent {
            id: sent.id,
            bytes: record.encode(),
        }
    };
    // The second one was read between the claim and the sending.
    apply(&store, &[heartbeat(9), heartbeat(10), other]).unwrap();
    apply(
        &store,
        &sent_and_answered(11, 1, Version::V16, "TriggerMessage", ACCEPTED),
    )
    .unwrap();
    let effect = |minute| {
        store
            .command(command_id(1), at(minute))
            .unwrap()
            .unwrap()
            .effect
    };
    assert_eq!(effect(1).state, EffectPhase::Expected);
    assert_eq!(effect(5).state, EffectPhase::NotSeen);
    // A late message still shows the effect.
    apply(&store, &[heartbeat(90)]).unwrap();
    assert_eq!(effect(5).state, EffectPhase::Seen);
    assert_eq!(effect(5).seen_at, Some(heartbeat(90).record().received_at));
}

fn commands_with_one_id_each_have_the_effect_that_came_after_them<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let report = ("GetReport", r#"{"requestId":1}"#);
    claimed(&store, 1, "CP-1", report, 10);
    apply(
        &store,
        &sent_and_answered(10, 1, Version::V201, report.0, ACCEPTED),
    )
    .unwrap();
    let page = |seq| {
        message(
            seq,
            Version::V201,
            "NotifyReport",
            r#"{"requestId":1,"seqNo":0}"#,
            "{}",
        )
    };
    apply(&store, &[page(12)]).unwrap();
    claimed(&store, 2, "CP-1", report, 20);
    apply(
        &store,
        &sent_and_answered(20, 2, Version::V201, report.0, ACCEPTED),
    )
    .unwrap();
    let state = |number| {
        store
            .command(command_id(number), at(2))
            .unwrap()
            .unwrap()
            .effect
            .state
    };
    assert_eq!(
        (state(1), state(2)),
        (EffectPhase::Seen, EffectPhase::Expected)
    );
    apply(&store, &[page(22)]).unwrap();
    assert_eq!((state(1), state(2)), (EffectPhase::Seen, EffectPhase::Seen));
}

/// A report of which the second page is missing.
fn with_a_missing_page(store: &(impl Commands + CommandQueue + Store)) {
    let report = (
        "GetBaseReport",
        r#"{"requestId":5,"reportBase":"FullInventory"}"#,
    );
    claimed(store, 2, "CP-1", report, 10);
    apply(
        store,
        &sent_and_answered(10, 2, Version::V201, report.0, ACCEPTED),
    )
    .unwrap();
    for (seq, payload) in [
        (12, r#"{"requestId":5,"seqNo":0,"tbc":true}"#),
        (13, r#"{"requestId":5,"seqNo":2,"tbc":false}"#),
    ] {
        let page = message(seq, Version::V201, "NotifyReport", payload, "{}");
        apply(store, &[page]).unwrap();
    }
}

fn missing_pages_are_asked_for_again_once<A: Adapter>() {
    fn check(store: &(impl Commands + CommandQueue + Store)) {
        with_a_missing_page(store);
        let show = |number| store.command(command_id(number), at(6)).unwrap();
        // Before the pages are late, nothing is asked.
        assert_eq!(store.ask_again(at(1), 9).unwrap(), 0);
        assert_eq!(store.ask_again(at(2), 9).unwrap(), 0);
        assert_eq!(show(3), None);
        assert_eq!(store.ask_again(at(6), 9).unwrap(), 1);
        assert_eq!(store.ask_again(at(6), 9).unwrap(), 0);
        let (first, again) = (show(2).unwrap(), show(3).unwrap());
        let report = first.effect.report.unwrap();
        assert_eq!((report.missing, report.complete), (vec![(1, 1)], false));
        assert_eq!(report.asked_again, Some(again.id));
        assert_eq!(first.effect.state, EffectPhase::NotSeen);
        assert_eq!(
            (again.repeats, again.by.as_str()),
            (Some(first.id), "wattpost")
        );
        assert_eq!(again.action, "GetBaseReport");
        assert!(again.payload.contains(r#""reportBase":"FullInventory""#));
        assert!(
            !again.payload.contains(r#""requestId":5"#),
            "{}",
            again.payload
        );
        // The repeat is not repeated.
        let claim = Claim {
            gateway: gateway(0),
            started: Epoch(7),
            next_seq: Seq(100),
            at: at(6),
        };
        let taken = store.claim(claim, &[ChargerKey::of("CP-1")]).unwrap();
        assert_eq!(taken[0].id, again.id);
        let answer = sent_and_answered(400, 3, Version::V201, "GetBaseReport", ACCEPTED);
        apply(store, &answer).unwrap();
        for minute in [7, 30, 300] {
            assert_eq!(store.ask_again(at(minute), 9).unwrap(), 0);
        }
        let all = store.commands(&CommandFilter::default(), &PageRequest::default(), at(9));
        assert_eq!(all.unwrap().items.len(), 2);
    }
    check(&MemoryStore::default());
    check(&A::new().open());
}

fn a_charger_whose_state_cannot_be_read_is_asked_again<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    with_a_missing_page(&store);
    database.set_state("chargers", "{\"charger_id\": 7}", "key = 'cp-1'");
    assert_eq!(store.ask_again(at(6), 9), Ok(1));
}

fn two_processes_ask_again_once<A: Adapter>() {
    let database = A::new();
    with_a_missing_page(&database.open());
    let created: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let store = database.open();
                scope.spawn(move || {
                    loop {
                        if let Ok(created) = store.ask_again(at(6), 9) {
                            return created;
                        }
                        std::thread::yield_now();
                    }
                })
            })
            .collect();
        let threads = threads.into_iter();
        threads.map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(created, 1);
}

fn lists_select_by_effect<A: Adapter>() {
    fn check(store: &(impl Commands + CommandQueue + Store)) {
        for number in 1..=9_u128 {
            let trigger = ("TriggerMessage", r#"{"requestedMessage":"Heartbeat"}"#);
            let seq = u64::try_from(number).unwrap() * 10;
            claimed(store, number, "CP-1", trigger, seq);
            let answer = match number % 3 {
                0 => r#"{"status":"Rejected"}"#,
                _ => ACCEPTED,
            };
            apply(
                store,
                &sent_and_answered(seq, number, Version::V16, trigger.0, answer),
            )
            .unwrap();
        }
        apply(store, &[message(55, Version::V16, "Heartbeat", "{}", "{}")]).unwrap();
        let list = |phase, minute| {
            let filter = CommandFilter {
                effect: Some(phase),
                ..CommandFilter::default()
            };
            let mut page = PageRequest {
                after: None,
                limit: 2,
            };
            let mut found = Vec::new();
            loop {
                let read = store.commands(&filter, &page, at(minute)).unwrap();
                assert!(read.items.len() <= 2);
                found.extend(read.items.iter().map(|view| view.id.0.as_u128()));
                page.after = read.next;
                if page.after.is_none() {
                    return found;
                }
            }
        };
        assert_eq!(list(EffectPhase::None, 2), [9, 6, 3]);
        assert_eq!(list(EffectPhase::Seen, 2), [5, 4, 2, 1]);
        assert_eq!(list(EffectPhase::Expected, 2), [8, 7]);
        assert_eq!(list(EffectPhase::NotSeen, 2), [0_u128; 0]);
        assert_eq!(list(EffectPhase::Expected, 9), [0_u128; 0]);
        assert_eq!(list(EffectPhase::NotSeen, 9), [8, 7]);
    }
    check(&MemoryStore::default());
    check(&A::new().open());
}

/// Each call of a port that effects use, for a role that has no more rights than the documented ones.
pub(crate) fn uses_every_call<S: Commands + CommandQueue + Store>(store: &S) {
    claimed(
        store,
        1_001,
        "CP-9",
        ("GetReport", r#"{"requestId":1}"#),
        5_000,
    );
    let page = message(
        5_001,
        Version::V201,
        "NotifyReport",
        r#"{"requestId":1,"seqNo":0,"tbc":true}"#,
        "{}",
    );
    let other = message(
        5_002,
        Version::V201,
        "NotifyReport",
        r#"{"requestId":1,"seqNo":1}"#,
        "{}",
    );
    for sent in [page, other] {
        let record = Record {
            charger_id: "CP-9",
            ..sent.record()
        };
        let bytes = record.encode();
        apply(store, &[Sent { id: sent.id, bytes }]).unwrap();
    }
    for minute in [3, 60] {
        store.ask_again(at(minute), 9).unwrap();
    }
}
