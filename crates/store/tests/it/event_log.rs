//! The laws of the port `EventLog`.

use crate::common::{
    self, Adapter, BEGIN_MILLIS, PostgresDatabase, Sent, apply, at, call, close_request, event,
    heartbeat, id, meter_values, on_every_adapter, origin, start, stop,
};
use central::alert::machine::Step;
use central::model::{Event, EventId, EventType};
use central::pipeline::{PartChange, PartState};
use central::ports::{
    Alerts, Closings, Commands, DeadLetter, DeadLetters, EventFilter, EventLog, EventsFound,
    LetterSelection, Retried, Sequenced, Store, Token, TokenStatus, Tokens,
};
use central::project::Changes;
use central::query::{QueryStore, parameters};
use central::{RecordKind, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use uuid::Uuid;

on_every_adapter!(
    each_change_is_one_event,
    storing_records_again_adds_no_event,
    a_session_has_one_start_and_one_end_in_any_order_of_its_records,
    a_superseded_session_is_closed_and_reconciled_by_its_stop,
    a_session_that_a_person_closed_has_an_event,
    the_last_event_of_a_session_shows_what_the_api_shows,
    a_status_has_an_event_when_it_differs_or_was_reported_on_another_connection,
    commands_dead_letters_and_changes_of_tokens_have_events,
    each_state_of_firmware_is_an_event,
    what_a_newer_version_has_queued_waits_for_it_and_stops_nothing,
    changes_of_the_pipeline_are_events_of_the_transaction_that_stores_them,
    an_object_that_cannot_be_read_holds_back_no_other_event,
    a_long_payload_of_a_command_is_not_in_its_events,
    readers_select_by_charger_and_type,
    a_rare_type_of_a_charger_is_found_in_bounded_pages,
    a_letter_that_is_removed_before_the_log_has_it_has_its_event,
    sessions_and_commands_that_are_gone_are_forgotten,
    a_page_ends_at_its_bounds_and_the_next_one_goes_on,
    what_has_expired_or_is_of_another_log_is_not_passed_over,
    a_change_without_a_commit_has_no_event,
    several_processes_sequence_each_change_once,
);

/// Moves all that is queued into the log.
fn sequence(store: &impl EventLog) -> usize {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut events = 0;
    loop {
        assert!(Instant::now() < deadline, "the queue never ends");
        match store.sequence_events(at(1_000)) {
            Ok(Sequenced::Done {
                events: more,
                has_more,
            }) => {
                events += more;
                if !has_more {
                    return events;
                }
            }
            // Another process does it, or holds the lock of the file.
            Ok(Sequenced::Elsewhere) => std::thread::yield_now(),
            Err(error) => assert_eq!(
                error.kind,
                central::ports::UnavailableKind::Locked,
                "{error}"
            ),
        }
    }
}

pub(crate) fn read(
    store: &impl EventLog,
    after: EventId,
    filter: &EventFilter,
    limit: usize,
) -> Vec<Event> {
    let (mut after, mut all) = (after, Vec::new());
    loop {
        match store.events_after(after, filter, limit).unwrap() {
            EventsFound::Page(page) => {
                assert!(page.events.len() <= limit);
                assert!(page.reached >= after);
                all.extend(page.events);
                if page.is_end {
                    return all;
                }
                assert!(
                    page.reached > after,
                    "a page that is not the last one goes on"
                );
                after = page.reached;
            }
            EventsFound::Expired(bounds) => panic!("{bounds:?}"),
        }
    }
}

pub(crate) fn all(store: &impl EventLog) -> Vec<Event> {
    sequence(store);
    let events = read(store, EventId::START, &EventFilter::default(), 1_000);
    for (position, event) in (1..).zip(&events) {
        assert_eq!(event.id.position, position, "positions are dense");
        serde_json::from_str::<serde_json::Value>(&event.data).unwrap();
    }
    events
}

/// Each call of the port once, for a role that has no more rights than the documented ones.
pub(crate) fn uses_every_call(store: &impl EventLog) {
    assert!(store.queued_events().unwrap() > 0);
    let events = all(store);
    assert_eq!(store.queued_events().unwrap(), 0);
    assert_eq!(store.event_bounds().unwrap().first, Some(events[0].id));
    assert_eq!(store.event_before(at(0)).unwrap(), EventId::START);
    assert_eq!(store.expire_events(at(0)).unwrap(), 0);
}

fn names(events: &[Event]) -> Vec<&'static str> {
    events.iter().map(|event| event.kind.as_str()).collect()
}

fn json(event: &Event) -> serde_json::Value {
    serde_json::from_str(&event.data).unwrap()
}

const EPOCH: u64 = BEGIN_MILLIS.cast_unsigned();

fn boot(seq: u64, minute: i64) -> Sent {
    let payload = r#"{"chargePointVendor":"V","chargePointModel":"M"}"#;
    let answer = r#"{"status":"Accepted"}"#;
    common::answered(
        id(0, seq),
        "CP-1",
        minute,
        "BootNotification",
        payload,
        answer,
    )
}

fn status(seq: u64, minute: i64, word: &str) -> Sent {
    let payload = format!(
        r#"{{"connectorId":1,"errorCode":"NoError","status":"{word}","timestamp":"{}"}}"#,
        at(minute)
    );
    call(id(0, seq), "CP-1", minute, "StatusNotification", &payload)
}

fn a_day() -> Vec<Sent> {
    vec![
        event(id(0, 1), RecordKind::Connected, "CP-1", 0, EPOCH),
        boot(2, 1),
        status(3, 2, "Preparing"),
        start(id(0, 4), "CP-1", 3, 77),
        meter_values(id(0, 5), "CP-1", 4, 77),
        meter_values(id(0, 6), "CP-1", 5, 77),
        stop(id(0, 7), "CP-1", 6, 77),
        heartbeat(8, "CP-1"),
        call(
            id(0, 9),
            "CP-1",
            9,
            "SecurityEventNotification",
            &format!(
                r#"{{"type":"InvalidMessages","timestamp":"{}","techInfo":"x"}}"#,
                at(9)
            ),
        ),
        event(id(0, 10), RecordKind::Disconnected, "CP-1", 10, EPOCH),
    ]
}

const DAY: [&str; 9] = [
    "charger.connected",
    "charger.booted",
    "connector.status_changed",
    "transaction.started",
    "transaction.updated",
    "transaction.updated",
    "transaction.ended",
    "security.event",
    "charger.disconnected",
];

fn each_change_is_one_event<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    for sent in a_day() {
        apply(&store, &[sent]).unwrap();
        sequence(&store);
    }
    let events = all(&store);
    assert_eq!(names(&events), DAY);
    let occurred: Vec<Timestamp> = events.iter().map(|event| event.occurred_at).collect();
    assert_eq!(occurred, [0, 1, 2, 3, 4, 5, 6, 9, 10].map(at));
    assert!(
        events
            .iter()
            .all(|event| event.charger_id.as_deref() == Some("CP-1"))
    );
    assert!(events.iter().all(Event::is_late), "recorded at minute 1000");
    assert_eq!(json(&events[0])["connectors"], serde_json::json!([]));
    assert_eq!(json(&events[2])["last_status"], "Preparing");
    assert_eq!(events[2].subject, "0/1");
    assert_eq!(json(&events[3])["transaction_id"], "77");
    assert_eq!(events[3].subject, json(&events[6])["key"]);
    assert_eq!(json(&events[6])["open"], false);
    assert_eq!(json(&events[7])["type"], "InvalidMessages");
    assert_eq!(json(&events[8])["disconnect_reason"], "closed");
}

fn each_state_of_firmware_is_an_event<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let sent: Vec<Sent> = [
        ("FirmwareStatusNotification", "Downloading"),
        ("FirmwareStatusNotification", "Downloaded"),
        ("SignedFirmwareStatusNotification", "Installed"),
    ]
    .into_iter()
    .zip(1..)
    .map(|((action, status), seq)| {
        let payload = format!(r#"{{"status":"{status}"}}"#);
        call(id(0, seq), "CP-1", seq.cast_signed(), action, &payload)
    })
    .collect();
    // Together and again: no state is left out, and none comes twice.
    apply(&store, &sent).unwrap();
    apply(&store, &sent).unwrap();
    let events = all(&store);
    assert_eq!(names(&events), ["firmware.status"; 3]);
    let mut states: Vec<&str> = events.iter().map(|event| &*event.subject).collect();
    states.sort_unstable();
    assert_eq!(states, ["Downloaded", "Downloading", "Installed"]);
    let first = events.iter().find(|event| event.subject == "Downloading");
    let expected = serde_json::json!({
        "charger_id": "CP-1", "status": "Downloading", "at": at(1).to_string(),
    });
    assert_eq!(json(first.unwrap()), expected);
}

fn what_a_newer_version_has_queued_waits_for_it_and_stops_nothing<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let queue_newer = |count: u32, first: u32| {
        database.execute(&format!(
            "WITH RECURSIVE n(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < {} - 1)
             INSERT INTO event_queue (kind, number, at) SELECT 200, {first} + n, 0 FROM n",
            count
        ));
    };
    let waiting = || -> (usize, u64) {
        let numbers = database
            .query("SELECT number AS value FROM event_queue WHERE kind = 200 ORDER BY number");
        let first = numbers.first().map_or(0, |first| first.parse().unwrap());
        (numbers.len(), first)
    };
    // More than one round reads.
    queue_newer(5_100, 1);
    assert_eq!(store.queued_events().unwrap(), 0);
    let installed = |seq: u64, status: &str| {
        let payload = format!(r#"{{"status":"{status}"}}"#);
        let at = seq.cast_signed();
        call(
            id(0, seq),
            "CP-1",
            at,
            "FirmwareStatusNotification",
            &payload,
        )
    };
    apply(&store, &[installed(1, "Downloaded")]).unwrap();
    assert_eq!(names(&all(&store)), ["firmware.status"]);
    assert_eq!(waiting(), (5_100, 1));
    // No newer version comes back for them: their number is bounded.
    queue_newer(5_000, 5_101);
    apply(&store, &[installed(2, "Installed")]).unwrap();
    assert_eq!(names(&all(&store)), ["firmware.status"; 2]);
    assert_eq!(waiting(), (10_000, 101));
}

fn changes_of_the_pipeline_are_events_of_the_transaction_that_stores_them<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let change = |state: PartState, minute: i64| PartChange {
        part: "rabbitmq".to_owned(),
        state,
        detail: "it's \"away\"".to_owned(),
        since: at(minute).to_string(),
        at: at(minute),
    };
    let step = Step {
        parts: vec![change(PartState::Down, 1), change(PartState::Works, 2)],
        ..Step::default()
    };
    let (holder, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
    store.lease_alerts(holder, at(0), at(5)).unwrap().unwrap();
    assert!(!store.record_alerts(other, &step, "", at(3)).unwrap());
    assert_eq!(all(&store), []);
    assert!(store.record_alerts(holder, &step, "", at(3)).unwrap());
    let events = all(&store);
    assert_eq!(names(&events), ["pipeline.part_down", "pipeline.part_up"]);
    assert_eq!(
        [events[0].occurred_at, events[1].occurred_at],
        [1, 2].map(at)
    );
    let expected = serde_json::json!({
        "part": "rabbitmq", "state": "down", "detail": "it's \"away\"", "since": at(1).to_string(),
    });
    assert_eq!(json(&events[0]), expected);
    assert_eq!(
        (events[1].subject.as_str(), &events[1].charger_id),
        ("rabbitmq", &None)
    );
}

fn storing_records_again_adds_no_event<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    apply(&store, &a_day()).unwrap();
    let once = all(&store);
    // Updates that are queued together are one, the start and the end are not left out.
    let is_update = |name: &&str| *name == "transaction.updated";
    let mut kinds = names(&once);
    kinds.retain(|name| !is_update(name));
    kinds.sort_unstable();
    let mut expected = DAY.to_vec();
    expected.retain(|name| !is_update(name));
    expected.sort_unstable();
    assert_eq!(kinds, expected);
    apply(&store, &a_day()).unwrap();
    for sent in a_day() {
        apply(&store, &[sent]).unwrap();
    }
    // New records that change nothing.
    apply(&store, &[heartbeat(20, "CP-1")]).unwrap();
    assert_eq!(all(&store), once);
}

fn a_session_has_one_start_and_one_end_in_any_order_of_its_records<A: Adapter>() {
    let session = [
        start(id(0, 1), "CP-1", 1, 77),
        meter_values(id(0, 2), "CP-1", 2, 77),
        meter_values(id(0, 3), "CP-1", 3, 77),
        stop(id(0, 4), "CP-1", 4, 77),
    ];
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 3, 0, 1], [1, 0, 3, 2]] {
        let database = A::new();
        let store = database.open();
        for place in order {
            apply(&store, &[session[place].clone()]).unwrap();
            sequence(&store);
        }
        let events = all(&store);
        // A stop that arrives before its start ends a session under a provisional key.
        let last = json(events.last().unwrap());
        let of_key: Vec<&Event> = events
            .iter()
            .filter(|event| last["key"] == *event.subject)
            .collect();
        for kind in [EventType::TransactionStarted, EventType::TransactionEnded] {
            let count = of_key.iter().filter(|event| event.kind == kind).count();
            assert_eq!(count, 1, "{order:?} {kind} {events:#?}");
        }
    }
}

fn a_superseded_session_is_closed_and_reconciled_by_its_stop<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let step = |sent: Sent| {
        let before = all(&store).len();
        apply(&store, &[sent]).unwrap();
        let events = all(&store).split_off(before);
        events
            .iter()
            .map(|event| {
                let id = json(event)["transaction_id"].as_str().unwrap().to_owned();
                format!("{} {id}", event.kind)
            })
            .collect::<BTreeSet<_>>()
    };
    let set = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    assert_eq!(
        step(start(id(0, 1), "CP-1", 1, 77)),
        set(&["transaction.started 77"])
    );
    assert_eq!(
        step(start(id(0, 2), "CP-1", 60, 78)),
        set(&["transaction.started 78", "transaction.closed 77"])
    );
    assert_eq!(
        step(call(
            id(0, 3),
            "CP-1",
            70,
            "StopTransaction",
            &format!(
                r#"{{"transactionId":77,"meterStop":900,"timestamp":"{}"}}"#,
                at(50)
            )
        )),
        set(&["transaction.ended 77", "transaction.reconciled 77"])
    );
}

fn a_session_that_a_person_closed_has_an_event<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    apply(&store, &[start(id(0, 1), "CP-1", 1, 77)]).unwrap();
    let key = all(&store)[0].subject.parse().unwrap();
    let wanted = close_request(key, at(5), at(9));
    store.close_session(&wanted).unwrap();
    store.close_session(&wanted).unwrap();
    let events = all(&store);
    assert_eq!(
        names(&events),
        ["transaction.started", "transaction.closed"]
    );
    assert_eq!(json(&events[1])["closed"]["who"], "alice");
    assert_eq!(events[1].occurred_at, at(5));
}

fn the_last_event_of_a_session_shows_what_the_api_shows<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let mut rng = fastrand::Rng::with_seed(7);
    let mut sent: Vec<Sent> = Vec::new();
    for seq in 1..=200_u64 {
        let (record, minute) = (id(0, seq), seq.cast_signed());
        let charger = format!("CP-{}", seq % 3);
        let transaction = 1 + minute / 20;
        sent.push(match seq % 20 {
            0..3 => start(record, &charger, minute, transaction),
            // A stop that names no start.
            17 => stop(record, &charger, minute, 0),
            18..20 if seq % 40 > 20 => stop(record, &charger, minute, transaction),
            _ => meter_values(record, &charger, minute, transaction),
        });
    }
    rng.shuffle(&mut sent);
    for batch in sent.chunks(9) {
        apply(&store, batch).unwrap();
        if rng.bool() {
            sequence(&store);
        }
    }
    let mut latest = BTreeMap::new();
    for event in all(&store) {
        latest.insert(event.subject.clone(), event);
    }
    let shown = store
        .transactions(&Default::default(), &Default::default())
        .unwrap()
        .items;
    assert!(shown.len() > 10);
    for view in shown {
        let event = &latest[&view.key.to_string()];
        assert_eq!(json(event), serde_json::to_value(&view).unwrap());
    }
}

fn a_status_has_an_event_when_it_differs_or_was_reported_on_another_connection<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let statuses = EventFilter {
        types: vec![EventType::ConnectorStatusChanged],
        ..EventFilter::default()
    };
    let step = |sent: Sent| {
        apply(&store, &[sent]).unwrap();
        sequence(&store);
        read(&store, EventId::START, &statuses, 10).len()
    };
    assert_eq!(step(status(1, 1, "Available")), 1);
    assert_eq!(step(status(2, 2, "Available")), 1);
    assert_eq!(step(status(3, 3, "Charging")), 2);
    let later = status(4, 40, "Charging");
    let record = central::Record {
        epoch: central::Epoch(EPOCH + 20 * 60_000),
        ..later.record()
    };
    let later = Sent {
        id: later.id,
        bytes: record.encode(),
    };
    assert_eq!(
        step(later),
        3,
        "after a reconnect the status is known again"
    );
}

fn commands_dead_letters_and_changes_of_tokens_have_events<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    crate::commands::uses_every_call(&store);
    let events = all(&store);
    let commands: Vec<_> = events
        .iter()
        .filter(|event| event.kind == EventType::CommandFinished)
        .map(|event| {
            let outcome = json(event)["outcome"].clone();
            let class = outcome["class"].as_str().unwrap().to_owned();
            (
                class,
                outcome["reason"].as_str().unwrap_or_default().to_owned(),
            )
        })
        .collect();
    let text = |class: &str, reason: &str| (class.to_owned(), reason.to_owned());
    assert_eq!(
        commands,
        [
            text("answered", ""),
            text("not_sent", "charger_rejected"),
            text("not_sent", "cancelled")
        ]
    );
    assert_eq!(
        events
            .iter()
            .filter(|event| event.kind == EventType::CommandSent)
            .count(),
        1
    );
    let before = events.len();
    let letter = DeadLetter {
        id: id(3, 1),
        bytes: b"x".to_vec(),
        reason: "damaged".to_owned(),
    };
    for _ in 0..2 {
        store
            .apply(&[], &Changes::default(), std::slice::from_ref(&letter))
            .unwrap();
    }
    let token = Token {
        id: "TAG-1".to_owned(),
        status: TokenStatus::Accepted,
        expires_at: None,
        group_id: None,
        token_type: None,
        concurrent: None,
        note: None,
    };
    store.put_token(&token, &origin()).unwrap();
    store.remove_token("TAG-1", &origin()).unwrap();
    let events = all(&store).split_off(before);
    assert_eq!(
        names(&events),
        ["dead_letter.added", "token.set", "token.removed"]
    );
    assert_eq!(events[1].subject, "TAG-1");
    let shown = json(&events[1]);
    assert_eq!(shown["after"]["status"], "Accepted", "{shown}");
    // Who did it is for those who may read the audit log.
    for hidden in ["by", "from", "request_id"] {
        assert_eq!(shown.get(hidden), None, "{shown}");
    }
    assert_eq!(json(&events[0])["reason"], "damaged");
}

fn an_object_that_cannot_be_read_holds_back_no_other_event<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    for n in 0..40 {
        let token = Token {
            id: format!("TAG-{n}"),
            status: TokenStatus::Accepted,
            expires_at: None,
            group_id: None,
            token_type: None,
            concurrent: None,
            note: None,
        };
        store.put_token(&token, &origin()).unwrap();
    }
    database
        .execute("UPDATE audit_log SET after = '{' WHERE subject IN ('TAG-7', 'TAG-8', 'TAG-39')");
    let events = all(&store);
    assert_eq!(events.len(), 37);
    assert!(events.iter().all(|event| event.subject != "TAG-7"));
    assert_eq!(store.queued_events().unwrap(), 0);
}

fn a_long_payload_of_a_command_is_not_in_its_events<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let mut long = crate::commands::new(1, "CP-1");
    long.command.payload = format!(r#"{{"type": "{}"}}"#, "x".repeat(9_000));
    store.create(&long).unwrap();
    store.cancel(long.command.id, at(1)).unwrap();
    let events = all(&store);
    assert_eq!(names(&events), ["command.finished"]);
    assert_eq!(json(&events[0])["payload"], serde_json::Value::Null);
}

fn many<S: Store + EventLog>(store: &S, chargers: u64, records: u64) {
    let mut sent = Vec::new();
    for n in 1..=records {
        let charger = format!("CP-{}", n % chargers);
        sent.push(event(
            id(1, n),
            RecordKind::Connected,
            &charger,
            n.cast_signed(),
            EPOCH + n,
        ));
    }
    apply(store, &sent).unwrap();
    sequence(store);
}

fn readers_select_by_charger_and_type<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    many(&store, 5, 50);
    apply(&store, &a_day()).unwrap();
    sequence(&store);
    let of = |charger: &str, types: &[EventType]| {
        let filter = EventFilter {
            charger: Some(charger.to_owned()),
            types: types.to_vec(),
        };
        let found = read(&store, EventId::START, &filter, 3);
        let every = read(&store, EventId::START, &EventFilter::default(), 7);
        let expected: Vec<Event> = every
            .into_iter()
            .filter(|event| filter.has(event))
            .collect();
        assert_eq!(found, expected);
        found.len()
    };
    assert!(of("cp-1", &[]) > 10);
    assert_eq!(of("CP-4", &[]), 10);
    assert_eq!(of("CP-9", &[]), 0);
    assert_eq!(
        of(
            "CP-1",
            &[EventType::SecurityEvent, EventType::ChargerBooted]
        ),
        2
    );
}

fn a_rare_type_of_a_charger_is_found_in_bounded_pages<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    database.execute(&many_rows(25_000));
    let filter = EventFilter {
        charger: Some("CP-1".to_owned()),
        types: vec![EventType::ChargerBooted],
    };
    let (mut after, mut found, mut pages) = (EventId::START, 0, 0);
    loop {
        let EventsFound::Page(page) = store.events_after(after, &filter, 100).unwrap() else {
            panic!("nothing has expired");
        };
        found += page.events.len();
        pages += 1;
        assert!(
            page.reached.position - after.position <= 10_001,
            "a page reads at most so many rows"
        );
        after = page.reached;
        if page.is_end {
            break;
        }
    }
    assert_eq!((found, pages), (1, 3));
}

/// Statements that fill the log with events of CP-1, of which the last is of another type.
fn many_rows(count: u32) -> String {
    format!(
        "INSERT INTO event_log (position, recorded_at, type, occurred_at, charger_key, charger_id, subject, data)
         WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {count})
         SELECT n, n, CASE n WHEN {count} THEN 'charger.booted' ELSE 'connector.changed' END, n, 'cp-1', 'CP-1', '', '{{}}'
         FROM n;
         UPDATE event_head SET position = {count}, recorded_at = {count};"
    )
}

fn a_letter_that_is_removed_before_the_log_has_it_has_its_event<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let letter = |seq: u64, reason: &str| DeadLetter {
        id: id(0, seq),
        bytes: heartbeat(seq, "CP-1").bytes,
        reason: reason.to_owned(),
    };
    let add = |letter: DeadLetter| store.apply(&[], &Changes::default(), &[letter]).unwrap();
    add(letter(1, "first"));
    let discard = crate::dead_letters::discard(LetterSelection::Ids(vec![id(0, 1)]));
    store.discard_letters(&discard).unwrap();
    // It may not get the number of the one before.
    add(letter(2, "second"));
    let retried = Retried {
        applied: vec![id(0, 2).to_string()],
        ..Retried::default()
    };
    let request = crate::dead_letters::request(None);
    store.settle_retry(&retried, &request).unwrap();
    add(letter(3, "third"));
    let events = all(&store);
    assert_eq!(
        names(&events),
        [
            "dead_letter.added",
            "dead_letter.discarded",
            "dead_letter.added",
            "dead_letter.applied",
            "dead_letter.added",
        ]
    );
    for (at, reason) in [(0, "first"), (2, "second"), (4, "third")] {
        let shown = json(&events[at]);
        assert_eq!(
            (&shown["reason"], &shown["state"]),
            (&reason.into(), &"waiting".into())
        );
        assert!(shown["content"].is_string(), "{shown}");
        assert_eq!(events[at].charger_id.as_deref(), Some("CP-1"));
        assert_eq!(events[at].subject, shown["record_id"]);
    }
}

fn sessions_and_commands_that_are_gone_are_forgotten<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    apply(&store, &a_day()).unwrap();
    crate::commands::uses_every_call(&store);
    sequence(&store);
    let rows = || database.query("SELECT count(*) AS value FROM event_sessions");
    let known = rows();
    assert_ne!(known, ["0"]);
    store.expire_events(Timestamp(0)).unwrap();
    assert_eq!(rows(), known, "of sessions that exist");
    let gone: Vec<Vec<u8>> = (1..=3).map(|n| vec![n * 80; 16]).collect();
    for key in gone {
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        let key = A::key(&hex);
        database.execute(&format!(
            "INSERT INTO event_sessions (key, stages, shown) VALUES ({key}, 3, 0)"
        ));
    }
    // The second call begins again, if the first one has ended at the end.
    for _ in 0..2 {
        store.expire_events(Timestamp(0)).unwrap();
    }
    assert_eq!(rows(), known);
}

fn a_page_ends_at_its_bounds_and_the_next_one_goes_on<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    many(&store, 7, 40);
    // Two events fill a page.
    database.execute(&format!(
        "UPDATE event_log SET data = '\"{}\"' WHERE position % 2 = 0",
        "x".repeat(2_500_000)
    ));
    let filter = EventFilter::default();
    let EventsFound::Page(first) = store.events_after(EventId::START, &filter, 1_000).unwrap()
    else {
        panic!("it is kept");
    };
    assert!(
        !first.is_end && first.events.len() <= 4,
        "{}",
        first.events.len()
    );
    assert_eq!(read(&store, EventId::START, &filter, 1_000).len(), 40);
    // No selected event in a long part of the log.
    let none = EventFilter {
        types: vec![EventType::TokenSet],
        ..EventFilter::default()
    };
    assert_eq!(read(&store, EventId::START, &none, 10), []);
}

fn what_has_expired_or_is_of_another_log_is_not_passed_over<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let filter = EventFilter::default();
    assert_eq!(read(&store, EventId::START, &filter, 10), []);
    many(&store, 7, 40);
    let events = all(&store);
    database.execute("UPDATE event_log SET recorded_at = position WHERE position <= 30");
    assert_eq!(store.event_before(Timestamp(1)).unwrap(), EventId::START);
    assert_eq!(store.event_before(Timestamp(21)).unwrap().position, 20);
    assert_eq!(store.event_before(at(100_000)).unwrap().position, 40);
    assert_eq!(store.expire_events(Timestamp(31)).unwrap(), 30);
    assert_eq!(store.expire_events(Timestamp(31)).unwrap(), 0);
    let is_kept = |id: EventId| {
        matches!(
            store.events_after(id, &filter, 10).unwrap(),
            EventsFound::Page(_)
        )
    };
    assert!(!is_kept(events[10].id));
    assert!(
        is_kept(events[29].id),
        "the event before the first that is kept"
    );
    assert!(is_kept(events[35].id) && is_kept(events[39].id));
    assert_eq!(read(&store, EventId::START, &filter, 4).len(), 10);
    let other = EventId {
        recorded_at: Timestamp(5),
        ..events[35].id
    };
    assert!(!is_kept(other), "the position has another event");
    let ahead = EventId {
        position: 41,
        ..events[39].id
    };
    assert!(!is_kept(ahead));
    let bounds = store.event_bounds().unwrap();
    assert_eq!(
        (bounds.first.unwrap().position, bounds.last),
        (31, events[39].id)
    );
    // Positions are not used again when all have expired.
    database.execute("DELETE FROM event_log");
    assert!(is_kept(events[39].id) && !is_kept(events[38].id));
    apply(&store, &a_day()).unwrap();
    sequence(&store);
    assert_eq!(read(&store, EventId::START, &filter, 9)[0].id.position, 41);
}

fn a_change_without_a_commit_has_no_event<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    database.refuse_poison();
    let poisoned = call(id(0, 3), "CP-1", 3, "DataTransfer", "poison");
    let good = event(id(0, 1), RecordKind::Connected, "CP-1", 0, EPOCH);
    apply(&store, &[good, poisoned.clone()]).unwrap();
    assert_eq!(
        names(&all(&store)),
        ["charger.connected", "dead_letter.added"]
    );
    apply(&store, &[poisoned]).unwrap();
    assert_eq!(all(&store).len(), 2);
}

fn several_processes_sequence_each_change_once<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let (database, done) = (&database, &done);
            scope.spawn(move || {
                let store = database.open();
                while !done.load(Ordering::SeqCst) {
                    sequence(&store);
                    std::thread::yield_now();
                }
            });
        }
        let mut stored = 0;
        while stored < 300 {
            let sent = event(
                id(0, stored + 1),
                RecordKind::Connected,
                &format!("CP-{}", stored % 9),
                1,
                EPOCH + stored,
            );
            // Another process may hold the lock of the file.
            if apply(&store, &[sent]).is_ok() {
                stored += 1;
            }
        }
        done.store(true, Ordering::SeqCst);
    });
    let events = all(&database.open());
    assert_eq!(events.len(), 300);
}

/// Writers whose transactions overlap, some slow, some rolled back; readers who follow the log all the time.
#[test]
fn readers_miss_nothing_while_many_processes_commit_at_the_same_time() {
    const WRITERS: u64 = 6;
    const BATCHES: u64 = 40;
    let database = PostgresDatabase::new();
    // Every seventh batch takes long after its rows of the queue have their numbers, so others overtake it; every
    // eleventh fails, at the first attempt.
    database.execute(
        "CREATE SEQUENCE disturbances;
         CREATE FUNCTION disturb() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE n bigint := nextval('disturbances'); BEGIN
             IF n % 7 = 0 THEN PERFORM pg_sleep(0.05); END IF;
             IF n % 11 = 0 THEN RAISE EXCEPTION 'conflict' USING ERRCODE = '40001'; END IF;
             RETURN NULL;
         END $$;
         CREATE TRIGGER disturb AFTER INSERT ON event_queue EXECUTE FUNCTION disturb()",
    );
    let done = AtomicBool::new(false);
    let follow = |limit: usize| {
        let store = database.open();
        let (mut after, mut seen) = (EventId::START, Vec::new());
        loop {
            let is_last = done.load(Ordering::SeqCst);
            match store
                .events_after(after, &EventFilter::default(), limit)
                .unwrap()
            {
                EventsFound::Page(page) => {
                    seen.extend(page.events);
                    after = page.reached;
                    if is_last && page.is_end {
                        return seen;
                    }
                }
                EventsFound::Expired(bounds) => panic!("{bounds:?}"),
            }
        }
    };
    let stopped = AtomicBool::new(false);
    let followed: Vec<Vec<Event>> = std::thread::scope(|scope| {
        let readers: Vec<_> = [1, 10, 1_000]
            .map(|limit| scope.spawn(move || follow(limit)))
            .into();
        let sequencer = scope.spawn(|| {
            let store = database.open();
            while !stopped.load(Ordering::SeqCst) {
                sequence(&store);
            }
        });
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let database = &database;
                scope.spawn(move || {
                    let store = database.open();
                    for batch in 0..BATCHES {
                        let sent: Vec<Sent> = (0..5)
                            .map(|n| {
                                let seq = 1 + batch * 5 + n;
                                let charger = format!("CP-{writer}-{}", n % 2);
                                let record = id(writer.into(), seq);
                                event(record, RecordKind::Connected, &charger, 1, EPOCH + seq)
                            })
                            .collect();
                        // An adapter tries conflicts again.
                        apply(&store, &sent).unwrap();
                    }
                })
            })
            .collect();
        writers
            .into_iter()
            .for_each(|writer| writer.join().unwrap());
        stopped.store(true, Ordering::SeqCst);
        sequencer.join().unwrap();
        sequence(&database.open());
        done.store(true, Ordering::SeqCst);
        readers
            .into_iter()
            .map(|reader| reader.join().unwrap())
            .collect()
    });
    let all = all(&database.open());
    assert_eq!(
        all.len() as u64,
        WRITERS * BATCHES * 5,
        "nothing missed, nothing twice"
    );
    for seen in &followed {
        assert_eq!(*seen, all, "every reader sees the same, in the same order");
    }
    let mut last: HashMap<&str, Timestamp> = HashMap::new();
    for event in &all {
        let charger = event.charger_id.as_deref().unwrap();
        let connected = json(event)["connected_at"].as_str().unwrap().to_owned();
        let at = parameters::time(&connected).unwrap();
        let before = last.insert(charger, at).unwrap_or_default();
        assert!(
            before <= at,
            "events of one charger are in the order of its changes"
        );
    }
}

#[test]
fn a_process_that_dies_while_it_sequences_stops_nobody() {
    let database = PostgresDatabase::new();
    let store = database.open();
    many(&store, 3, 9);
    apply(&store, &a_day()).unwrap();
    database.hold(
        "SELECT * FROM event_head FOR UPDATE; DELETE FROM event_queue",
        || {
            // In a thread of its own, because this one drives the open transaction.
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    assert_eq!(store.sequence_events(at(1)).unwrap(), Sequenced::Elsewhere);
                    // A charger's messages are stored meanwhile.
                    apply(&store, &[heartbeat(50, "CP-1")]).unwrap();
                });
            });
        },
    );
    assert_eq!(names(&all(&store)).len(), 9 + DAY.len() - 2);
}
