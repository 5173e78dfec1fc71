//! A record that the database refuses permanently does not block the others.

use crate::commands;
use crate::common::{
    Adapter, PostgresDatabase, Sent, apply, at, call, gateway, heartbeat, id, on_every_adapter,
    start, status, stop,
};
use central::model::{ChargerKey, Claim, CommandState};
use central::ports::{CommandQueue, Commands, Created, DeadLetter, Store};
use central::project::Changes;
use central::query::{
    ChargerFilter, CommandFilter, DeadLetterFilter, PageRequest, QueryStore, QuirkFilter,
    TransactionFilter,
};
use central::{AnswerKind, Epoch, Record, RecordKind, Seq, record::Notes};
use ocpp::Version;
use std::time::{Duration, Instant};
use store::PostgresOptions;

on_every_adapter!(
    refused_records_become_dead_letters_and_all_others_are_applied,
    dead_letters_are_listed_with_their_reason,
    record_with_a_number_out_of_range_is_a_dead_letter,
    unreadable_state_is_set_aside_and_replaced,
    unreadable_open_transaction_blocks_no_other_record,
    unreadable_state_fails_no_list_and_no_command,
    no_record_is_lost_when_many_share_an_id,
    transaction_id_may_have_any_length,
);

fn batch(poisoned: &[u64]) -> Vec<Sent> {
    (1..=37)
        .map(|seq| {
            if poisoned.contains(&seq) {
                call(id(0, seq), "NEWCOMER", 0, "Heartbeat", "poison")
            } else {
                heartbeat(seq, &format!("CP-{}", seq % 5))
            }
        })
        .collect()
}

fn refused_records_become_dead_letters_and_all_others_are_applied<A: Adapter>() {
    for poisoned in [vec![1], vec![37], vec![5, 6, 20], (1..=37).collect()] {
        let database = A::new();
        let store = database.open();
        database.refuse_poison();
        let sent = batch(&poisoned);
        let applied = apply(&store, &sent).unwrap();
        assert_eq!(applied.new, 37 - poisoned.len() as u64);
        let contents = A::contents(&store);
        for sent in &sent {
            let is_dead = poisoned.contains(&sent.id.seq.0);
            assert_eq!(contents.records.contains_key(&sent.id), !is_dead);
            assert_eq!(contents.dead.contains_key(&sent.id), is_dead);
        }
        let (bytes, reason) = &contents.dead[&id(0, poisoned[0])];
        assert_eq!(*bytes, sent[poisoned[0] as usize - 1].bytes);
        assert!(reason.contains("not with me"), "{reason}");
        // The records that were stored after the refusal are numbered and listed like any other.
        if poisoned.len() < 37 {
            let charger = store.charger("cp-3").unwrap().unwrap();
            assert_eq!(charger.charger.charger_id, "CP-3");
        }
    }
}

fn dead_letters_are_listed_with_their_reason<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    database.refuse_poison();
    apply(&store, &batch(&[3, 9])).unwrap();
    let first = store
        .dead_letters(
            &DeadLetterFilter::default(),
            &PageRequest {
                after: None,
                limit: 1,
            },
        )
        .unwrap();
    assert_eq!(first.items[0].record_id, id(0, 3).to_string());
    assert!(first.items[0].reason.contains("not with me"));
    assert!(
        first.items[0]
            .content
            .as_ref()
            .unwrap()
            .contains("NEWCOMER")
    );
    let second = store
        .dead_letters(
            &DeadLetterFilter::default(),
            &PageRequest {
                after: first.next,
                limit: 10,
            },
        )
        .unwrap();
    assert_eq!(second.items[0].record_id, id(0, 9).to_string());
    assert_eq!(second.next, None);
}

fn record_with_a_number_out_of_range_is_a_dead_letter<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let sent = [
        heartbeat(1, "CP-1"),
        heartbeat(u64::MAX, "CP-1"),
        heartbeat(2, "CP-1"),
    ];
    let applied = apply(&store, &sent).unwrap();
    assert_eq!(applied.new, 2);
    let contents = A::contents(&store);
    assert!(contents.dead[&id(0, u64::MAX)].1.contains("number"));
}

fn unreadable_state_is_set_aside_and_replaced<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    apply(&store, &[heartbeat(1, "CP-1")]).unwrap();
    database.set_state("chargers", "{\"charger_id\": 7}", "key = 'cp-1'");
    apply(&store, &[heartbeat(2, "CP-1")]).unwrap();
    assert!(store.charger("CP-1").unwrap().is_some());
    let aside = database.set_aside();
    assert_eq!(aside.len(), 1);
    assert!(aside[0].0.starts_with("charger "), "{}", aside[0].0);
    assert_eq!(aside[0].1, b"{\"charger_id\": 7}");
}

fn unreadable_state_fails_no_list_and_no_command<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let keys = ["CP-1", "CP-2"].map(ChargerKey::of);
    let claim = Claim {
        gateway: gateway(0),
        started: Epoch(7),
        next_seq: Seq(1),
        at: at(1),
    };
    for (number, charger) in [(1, "CP-1"), (2, "CP-2")] {
        store.create(&commands::new(number, charger)).unwrap();
    }
    assert_eq!(store.claim(claim, &keys).unwrap().len(), 2);
    let sent = commands::record(1, 1, RecordKind::CallToCharger, "{}");
    let others = [
        sent,
        status(id(0, 2), "CP-1", 1, 1),
        heartbeat(3, "CP-1"),
        status(id(0, 4), "CP-2", 1, 1),
    ];
    apply(&store, &others).unwrap();
    for number in [3, 4] {
        let charger = format!("CP-{}", number - 2);
        store.create(&commands::new(number, &charger)).unwrap();
    }
    let damages = [
        ("command_progress", "sent", "true"),
        ("connectors", "status", "connector = 1"),
        ("chargers", "charger_id", "key = 'cp-1'"),
        ("gateways", "alive_at", "true"),
    ];
    for (number, (table, member, condition)) in (5_u128..).zip(damages) {
        database.set_state(table, &format!("{{\"{member}\": \"?\"}}"), condition);
        let page = PageRequest::default();
        let chargers = store.chargers(&ChargerFilter::default(), &page);
        let chargers = chargers.unwrap_or_else(|error| panic!("{table}: {error}"));
        assert_eq!(chargers.items.len(), 2, "{table}");
        for charger in &chargers.items {
            assert_eq!(charger.connectors.len(), 1, "{table}");
        }
        assert!(store.charger("CP-1").unwrap().is_some(), "{table}");
        let listed = store.commands(&CommandFilter::default(), &page, at(1));
        let listed = listed.unwrap_or_else(|error| panic!("{table}: {error}"));
        let first_of_charger = listed.items.iter().find(|one| one.charger_id == "CP-1");
        let state = first_of_charger.unwrap().state;
        assert_eq!(state, CommandState::WaitingForCharger, "{table}");
        let created = store.create(&commands::new(number, "CP-1"));
        assert!(
            matches!(created, Ok(Created::New(_))),
            "{table}: {created:?}"
        );
        // What was sent is not known any more, so nothing is decided about that command.
        let open = store.claims(gateway(0), Epoch(7), 9);
        let open: Vec<String> = open
            .unwrap_or_else(|error| panic!("{table}: {error}"))
            .into_iter()
            .map(|open| open.command.charger_id)
            .collect();
        assert_eq!(open, ["CP-2"], "{table}");
        let quirks = store.quirks(&QuirkFilter::default(), &page);
        assert!(quirks.is_ok(), "{table}: {quirks:?}");
    }
}

fn unreadable_open_transaction_blocks_no_other_record<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let opened = [
        start(id(0, 1), "CP-1", 1, 77),
        start(id(0, 2), "CP-1", 2, 78),
        start(id(0, 3), "CP-1", 3, 79),
    ];
    apply(&store, &opened).unwrap();
    database.set_state("transactions", "{\"starts\": 7}", "wire_id = '78'");
    // A stop without an id is paired with an open start.
    let ends = [
        stop(id(0, 4), "CP-1", 4, 0),
        start(id(0, 5), "CP-2", 5, 80),
        heartbeat(6, "CP-3"),
    ];
    assert_eq!(apply(&store, &ends).unwrap().new, 3);
    let mut page = PageRequest {
        after: None,
        limit: 1,
    };
    let mut began = Vec::new();
    loop {
        let found = store
            .transactions(&TransactionFilter::default(), &page)
            .unwrap();
        began.extend(found.items.iter().map(|view| view.started_at));
        page.after = found.next;
        if page.after.is_none() {
            break;
        }
    }
    // All but the unreadable one, on whatever page.
    for minute in [1, 3, 5] {
        assert!(began.contains(&Some(at(minute))), "{minute}: {began:?}");
    }
    // It is set aside and replaced when its charger next reports it.
    apply(&store, &[stop(id(0, 7), "CP-1", 7, 78)]).unwrap();
    assert_eq!(database.set_aside().len(), 1);
}

fn no_record_is_lost_when_many_share_an_id<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let sent: Vec<Sent> = (0..4)
        .map(|minute| call(id(0, 1), "CP-1", minute, "Heartbeat", "{}"))
        .collect();
    for _ in 0..2 {
        for one in &sent {
            apply(&store, std::slice::from_ref(one)).unwrap();
        }
    }
    let contents = A::contents(&store);
    let mut kept = vec![
        contents.records[&id(0, 1)].clone(),
        contents.dead[&id(0, 1)].0.clone(),
    ];
    kept.extend(database.set_aside().into_iter().map(|(_, state)| state));
    let sent: Vec<_> = sent.into_iter().map(|sent| sent.bytes).collect();
    assert_eq!(kept, sent);
}

/// A `TransactionEvent` of OCPP 2.0.1.
fn transaction_event(seq: u64, event_type: &str, wire_id: &str) -> Sent {
    let minute = seq.cast_signed();
    let payload = serde_json::json!({
        "eventType": event_type,
        "timestamp": at(minute).to_string(),
        "triggerReason": "Authorized",
        "seqNo": seq,
        "transactionInfo": {"transactionId": wire_id},
        "evse": {"id": 1, "connectorId": 1},
    });
    let record = Record {
        kind: RecordKind::Call,
        charger_id: "CP-1",
        ocpp_version: Version::V201,
        message_id: "m",
        action: "TransactionEvent",
        payload: &payload.to_string(),
        answer_kind: AnswerKind::Result,
        answer: "{}",
        received_at: at(minute),
        epoch: Epoch(at(0).0.cast_unsigned()),
        notes: Notes::default(),
        reason: "",
    };
    Sent {
        id: id(0, seq),
        bytes: record.encode(),
    }
}

fn transaction_id_may_have_any_length<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    // Random, so that it cannot be compressed.
    let mut rng = fastrand::Rng::with_seed(7);
    let long: String = (0..3_000).map(|_| rng.alphanumeric()).collect();
    // Texts that PostgreSQL could read as bytes or as an invalid escape.
    let ids = [&long, &format!("{long}2"), r"\x41", r"A\", r"\134", "A"];
    for (place, wire_id) in ids.iter().enumerate() {
        let seq = place as u64 * 2 + 1;
        for (seq, event_type) in [(seq, "Started"), (seq + 1, "Ended")] {
            let sent = [transaction_event(seq, event_type, wire_id)];
            assert_eq!(apply(&store, &sent).unwrap().new, 1);
            assert_eq!(apply(&store, &sent).unwrap().known, 1);
        }
        // From a store with an empty cache.
        let sent = [transaction_event(seq + 100, "Updated", wire_id)];
        assert_eq!(apply(&database.open(), &sent).unwrap().new, 1);
    }
    assert!(A::contents(&store).dead.is_empty());
    let everything = PageRequest {
        after: None,
        limit: 100,
    };
    let listed = store
        .transactions(&TransactionFilter::default(), &everything)
        .unwrap();
    let mut listed: Vec<_> = listed
        .items
        .iter()
        .map(|view| (view.transaction_id.as_str(), view.open))
        .collect();
    let mut expected = ids.map(|wire_id| (wire_id, false)).to_vec();
    listed.sort_unstable();
    expected.sort_unstable();
    assert_eq!(listed, expected);
}

#[test]
fn batch_with_many_refused_records_on_a_slow_server_is_finished() {
    let database = PostgresDatabase::new();
    let impatient = PostgresOptions {
        statement_timeout: Duration::from_millis(500),
        connect_timeout: Duration::from_millis(500),
        ..PostgresOptions::default()
    };
    let store = database.open_with(impatient);
    database.refuse_poison();
    database.execute(
        "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_sleep(0.02); RETURN NULL; END $$;
         CREATE TRIGGER slowly BEFORE INSERT ON messages EXECUTE FUNCTION slowly()",
    );
    let sent: Vec<Sent> = (1..=120)
        .map(|seq| match seq % 10 {
            0 => heartbeat(seq, "CP-1"),
            _ => call(id(0, seq), "CP-2", 0, "Heartbeat", "poison"),
        })
        .collect();
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut attempts = 1;
    while let Err(error) = apply(&store, &sent) {
        assert!(Instant::now() < deadline, "{error}");
        attempts += 1;
    }
    assert!(attempts > 1, "one attempt has no time for all");
    let contents = store.contents().unwrap();
    assert_eq!((contents.records.len(), contents.dead.len()), (12, 108));
    assert!(database.set_aside().is_empty());
}

#[test]
fn refused_charger_and_refused_reason_block_no_other_record() {
    let database = PostgresDatabase::new();
    let store = database.open();
    database.execute(
        "ALTER TABLE chargers ADD CONSTRAINT \"not this one\" CHECK (id <> 'CP-13');
         ALTER TABLE dead_letters ADD CONSTRAINT \"not like this\" CHECK (reason <> 'refused reason')",
    );
    let sent = [
        heartbeat(1, "CP-1"),
        heartbeat(2, "CP-13"),
        heartbeat(3, "CP-2"),
    ];
    let records: Vec<_> = sent.iter().map(|sent| (sent.id, sent.record())).collect();
    let (changes, _) = Changes::of(&records);
    let dead = DeadLetter {
        id: id(1, 9),
        bytes: b"bytes".to_vec(),
        reason: "refused reason".to_owned(),
    };
    let applied = store.apply(&records, &changes, &[dead]).unwrap();
    assert_eq!(applied.new, 2);
    let contents = store.contents().unwrap();
    assert!(contents.dead[&id(0, 2)].1.contains("not this one"));
    let (bytes, reason) = &contents.dead[&id(1, 9)];
    assert_eq!(bytes, b"bytes");
    assert!(reason.contains("refuses"), "{reason}");
}
