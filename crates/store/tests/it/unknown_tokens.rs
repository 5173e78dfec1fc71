//! Tokens that chargers presented and that were refused, or not known: their counts, the list, and the events.

use crate::common::{
    Adapter, PostgresDatabase, Sent, SqliteDatabase, answered, apply, at, heartbeat, id,
    on_every_adapter, origin,
};
use crate::laws::on_store;
use crate::writers;
use central::model::{
    EventId, EventType, TOKEN_REFUSED_EVENTS_MAX, UNKNOWN_TOKENS_PER_DAY_MAX, UnknownTokenView,
    unknown_token_key,
};
use central::ports::{
    EventFilter, EventLog, EventsFound, Maintenance, QueryError, Sequenced, Token, Tokens,
};
use central::query::{AuditFilter, PageRequest, Place, QueryStore, UnknownTokenFilter};
use central::record::Notes;
use central::{Record, Timestamp};
use ocpp::Version;
use serde_json::Value;

on_every_adapter!(
    every_message_that_presents_an_unknown_token_is_counted_once_in_any_order,
    a_token_leaves_the_list_when_it_is_added_or_dismissed,
    a_charger_with_many_tokens_hides_only_its_own_of_that_day,
    the_list_has_pages_and_filters,
    a_refused_token_has_an_event_and_a_flood_has_few,
    writers_with_the_same_records_count_them_once,
);

const DAY: i64 = 1_440;

/// Authorize of 1.6, answered with this status.
fn presents(seq: u64, charger: &str, minute: i64, tag: &str, status: &str) -> Sent {
    let payload = serde_json::json!({ "idTag": tag }).to_string();
    let answer = format!(r#"{{"idTagInfo":{{"status":"{status}"}}}}"#);
    answered(id(1, seq), charger, minute, "Authorize", &payload, &answer)
}

fn with(sent: &Sent, change: impl FnOnce(&mut Record<'_>)) -> Sent {
    let mut record = sent.record();
    change(&mut record);
    Sent {
        id: sent.id,
        bytes: record.encode(),
    }
}

fn listed(store: &impl Tokens, filter: &UnknownTokenFilter) -> Vec<UnknownTokenView> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = store
            .unknown_tokens(filter, &PageRequest { after, limit: 7 })
            .unwrap();
        found.extend(page.items);
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}

fn all(store: &impl Tokens) -> Vec<UnknownTokenView> {
    listed(store, &UnknownTokenFilter::default())
}

fn every_message_that_presents_an_unknown_token_is_counted_once_in_any_order<A: Adapter>() {
    on_store::<A>(|store, contents| {
        let start = answered(
            id(1, 3),
            "cp-1",
            9,
            "StartTransaction",
            r#"{"connectorId":2,"idTag":"NEW","meterStart":1,"timestamp":"2026-01-01T00:00:00Z"}"#,
            r#"{"idTagInfo":{"status":"Accepted"},"transactionId":5}"#,
        );
        let start = with(&start, |record| record.notes = Notes::TOKEN_UNVERIFIED);
        let event = answered(
            id(1, 4),
            "CP-2",
            4,
            "TransactionEvent",
            r#"{"eventType":"Started","transactionInfo":{"transactionId":"t"},"evse":{"id":3},
                "idToken":{"idToken":"New","type":"ISO14443"}}"#,
            r#"{"idTokenInfo":{"status":"Unknown"}}"#,
        );
        let event = with(&event, |record| record.ocpp_version = Version::V201);
        let authorize = answered(
            id(1, 5),
            "CP-2",
            5,
            "Authorize",
            r#"{"idToken":{"idToken":"new","type":"Central"}}"#,
            r#"{"idTokenInfo":{"status":"Unknown"}}"#,
        );
        let authorize = with(&authorize, |record| record.ocpp_version = Version::V21);
        let sent = [
            presents(1, "CP-1", 1, "NEW", "Invalid"),
            presents(2, "CP-1", 2, "new", "Invalid"),
            start,
            event,
            authorize,
            // Known tokens, and what presents none.
            presents(6, "CP-1", 3, "KNOWN", "Accepted"),
            presents(7, "CP-1", 3, "BLOCKED", "Blocked"),
            presents(8, "CP-1", 3, "USED", "ConcurrentTx"),
            presents(9, "CP-1", 3, "", "Invalid"),
            presents(10, "CP-1", 3, &"x".repeat(256), "Invalid"),
            heartbeat(11, "CP-1"),
        ];
        // The newest first; repeats in one batch, among new records, and of a whole batch.
        apply(store, &[sent[2].clone(), sent[2].clone()]).unwrap();
        apply(store, &[sent[4].clone(), sent[2].clone(), sent[3].clone()]).unwrap();
        apply(store, &sent).unwrap();
        apply(store, &sent).unwrap();
        let counts = contents().unknown_tokens;
        let shown: Vec<_> = counts
            .iter()
            .map(|((charger, _, key), count)| {
                assert_eq!(*key, unknown_token_key("new"));
                let times = (count.first_at, count.last_at, count.count);
                (charger.as_str(), count.latest.as_str(), times)
            })
            .collect();
        assert_eq!(
            shown,
            [
                (
                    "cp-1",
                    r#"{"id":"NEW","connector":2,"status":"Accepted"}"#,
                    (at(1), at(9), 3)
                ),
                (
                    "cp-2",
                    r#"{"id":"new","type":"Central","status":"Unknown"}"#,
                    (at(4), at(5), 2)
                ),
            ]
        );
    });
}

fn a_token_leaves_the_list_when_it_is_added_or_dismissed<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let sent = [
        presents(1, "CP-1", 1, "ONE", "Invalid"),
        presents(2, "CP-2", 2, "one", "Invalid"),
        presents(3, "CP-1", 3, "TWO", "Invalid"),
    ];
    apply(&store, &sent).unwrap();
    let ids = || -> Vec<(String, String)> {
        let rows = all(&store).into_iter();
        rows.map(|row| (row.id, row.charger_id)).collect()
    };
    let row = |id: &str, charger: &str| (id.to_owned(), charger.to_owned());
    let of_one = [row("one", "CP-2"), row("ONE", "CP-1")];
    let of_two = row("TWO", "CP-1");
    assert_eq!(
        ids(),
        [of_two.clone(), of_one[0].clone(), of_one[1].clone()]
    );

    store.put_token(&Token::accepted("One"), &origin()).unwrap();
    assert_eq!(ids(), std::slice::from_ref(&of_two));
    let one = unknown_token_key("one");
    assert!(!store.dismiss_unknown_token(one, &origin()).unwrap());
    assert!(store.remove_token("ONE", &origin()).unwrap());
    assert_eq!(ids().len(), 3, "it is not known again");

    assert!(store.dismiss_unknown_token(one, &origin()).unwrap());
    assert_eq!(ids(), std::slice::from_ref(&of_two));
    assert!(!store.dismiss_unknown_token(one, &origin()).unwrap());
    let nobody = unknown_token_key("nobody");
    assert!(!store.dismiss_unknown_token(nobody, &origin()).unwrap());
    let filter = AuditFilter {
        action: Some("unknown_token.dismissed".to_owned()),
        ..AuditFilter::default()
    };
    let entries = store.audit(&filter, &PageRequest::default()).unwrap();
    let subjects: Vec<_> = entries.items.iter().map(|entry| &entry.subject).collect();
    assert_eq!(subjects, ["one"]);

    // What was received before the dismissal and arrives late does not bring it back; what is newer does, at its charger.
    let late = presents(4, "CP-3", 1, "ONE", "Invalid");
    apply(&store, &[late]).unwrap();
    assert_eq!(ids(), std::slice::from_ref(&of_two));
    let again = presents(5, "CP-1", 4, "ONE", "Invalid");
    apply(&store, &[again]).unwrap();
    assert_eq!(ids(), [of_one[1].clone(), of_two]);
    assert_eq!(all(&store)[0].count, 2);
}

fn a_charger_with_many_tokens_hides_only_its_own_of_that_day<A: Adapter>() {
    on_store::<A>(|store, contents| {
        let flood: Vec<Sent> = (0..200)
            .map(|seq| {
                let tag = format!("T{}", seq % 150);
                presents(seq + 1, "FLOOD", seq.cast_signed() % 7, &tag, "Invalid")
            })
            .collect();
        let others = [
            presents(1_001, "CP-1", 3, "MINE", "Invalid"),
            presents(1_002, "FLOOD", DAY + 1, "TOMORROW", "Invalid"),
        ];
        apply(store, &others).unwrap();
        // Small batches in an order that mixes the tokens.
        for part in 0..11 {
            let batch: Vec<Sent> = flood.iter().skip(part).step_by(11).cloned().collect();
            apply(store, &batch).unwrap();
        }
        let counts = contents().unknown_tokens;
        let of = |charger: &str, day: i64| {
            let rows = counts.iter();
            rows.filter(|((of, at, _), _)| of.as_str() == charger && *at == day)
                .map(|((_, _, key), count)| (*key, count.count))
                .collect::<Vec<_>>()
        };
        let today = at(0).0.div_euclid(86_400_000);
        assert_eq!(of("cp-1", today).len(), 1);
        assert_eq!(of("flood", today + 1).len(), 1);
        let mut expected: Vec<_> = (0..150)
            .map(|tag| {
                let times = if tag < 50 { 2 } else { 1 };
                (unknown_token_key(&format!("T{tag}")), times)
            })
            .collect();
        expected.sort();
        expected.truncate(UNKNOWN_TOKENS_PER_DAY_MAX);
        assert_eq!(of("flood", today), expected, "with exact counts");
    });
}

fn the_list_has_pages_and_filters<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let mut sent: Vec<Sent> = (0..30_u64)
        .map(|seq| {
            let minute = seq.cast_signed() / 2;
            let (charger, tag) = (format!("CP-{}", seq % 3), format!("tag-{seq}"));
            presents(seq + 1, &charger, minute, &tag, "Invalid")
        })
        .collect();
    // One of an earlier day is one row.
    sent.push(presents(100, "CP-0", -DAY, "TAG-0", "Invalid"));
    apply(&store, &sent).unwrap();
    let rows = all(&store);
    assert_eq!(rows.len(), 30);
    assert!(rows.is_sorted_by(|a, b| a.last_at >= b.last_at));
    let first = rows.iter().find(|row| row.id == "tag-0").unwrap();
    assert_eq!(
        (first.count, first.first_at, first.last_at),
        (2, at(-DAY), at(0))
    );
    let of_charger = UnknownTokenFilter {
        charger: Some("cp-1".to_owned()),
        search: None,
    };
    assert_eq!(listed(&store, &of_charger).len(), 10);
    let of_text = UnknownTokenFilter {
        charger: None,
        search: Some("G-2".to_owned()),
    };
    assert_eq!(listed(&store, &of_text).len(), 11);
    let nobody = UnknownTokenFilter {
        charger: Some("nobody".to_owned()),
        search: None,
    };
    assert_eq!(listed(&store, &nobody), []);
    let foreign = PageRequest {
        after: Some(Place::Audit(1).to_cursor()),
        limit: 5,
    };
    let refused = store.unknown_tokens(&of_text, &foreign);
    assert_eq!(refused, Err(QueryError::BadCursor));
}

fn refusals(store: &impl EventLog) -> Vec<Value> {
    let now = at(100_000);
    while let Sequenced::Done { has_more: true, .. } = store.sequence_events(now).unwrap() {}
    let filter = EventFilter {
        types: vec![EventType::TokenRefused],
        charger: None,
    };
    let EventsFound::Page(page) = store.events_after(EventId::START, &filter, 500).unwrap() else {
        panic!("the log begins at its start");
    };
    let events = page.events.iter();
    events
        .map(|event| serde_json::from_str(&event.data).unwrap())
        .collect()
}

fn a_refused_token_has_an_event_and_a_flood_has_few<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let accepted = presents(1, "CP-1", 1, "KNOWN", "Accepted");
    let unverified = with(&presents(2, "CP-1", 1, "NEW", "Accepted"), |record| {
        record.notes = Notes::TOKEN_UNVERIFIED;
    });
    let start = answered(
        id(1, 3),
        "CP-1",
        2,
        "StartTransaction",
        r#"{"connectorId":2,"idTag":"B-1","meterStart":1,"timestamp":"2026-01-01T00:00:00Z"}"#,
        r#"{"idTagInfo":{"status":"Blocked"},"transactionId":5}"#,
    );
    let sent = [accepted, unverified, start];
    apply(&store, &sent).unwrap();
    apply(&store, &sent).unwrap();
    assert_eq!(
        refusals(&store),
        [serde_json::json!({
            "record_id": id(1, 3).to_string(), "charger_id": "CP-1", "connector": 2, "token": "B-1",
            "type": null, "status": "Blocked", "action": "StartTransaction", "at": at(2).to_string(),
        })]
    );
    // Another charger, in batches that end anywhere; again in the next hour.
    let hour = |first: u64, minute: i64| -> Vec<Sent> {
        let one = |seq: u64| {
            let tag = format!("F-{seq}");
            presents(first + seq, "FLOOD", minute, &tag, "Invalid")
        };
        (0..40).map(one).collect()
    };
    for (first, minute, hours) in [(100, 10, 1), (200, 70, 2)] {
        for batch in hour(first, minute).chunks(7) {
            apply(&store, batch).unwrap();
        }
        let events = refusals(&store).len() as u64 - 1;
        assert_eq!(events, hours * TOKEN_REFUSED_EVENTS_MAX);
    }
    let other = presents(300, "CP-2", 70, "X", "Invalid");
    apply(&store, &[other]).unwrap();
    assert_eq!(refusals(&store).last().unwrap()["charger_id"], "CP-2");
}

fn writers_with_the_same_records_count_them_once<A: Adapter>() {
    let database = A::new();
    let all: Vec<Sent> = (1..=60)
        .map(|seq| {
            let charger = format!("CP-{}", seq % 3);
            presents(seq, &charger, 1, &format!("T{}", seq % 2), "Invalid")
        })
        .collect();
    writers::meet(&database, &all);
    let counts = A::contents(&database.open()).unknown_tokens;
    assert_eq!(counts.len(), 6);
    assert!(counts.values().all(|count| count.count == 10), "{counts:?}");
}

/// For the test of the rights that a running Wattpost needs.
pub(crate) fn uses_every_call(store: &(impl Tokens + central::ports::Store)) {
    apply(store, &[presents(9_000, "CP-9", 1, "RIGHTS", "Invalid")]).unwrap();
    let key = unknown_token_key("rights");
    assert!(all(store).iter().any(|row| row.key == key));
    assert!(store.dismiss_unknown_token(key, &origin()).unwrap());
}

/// A token of each of two days, and a dismissal; then a round of maintenance 31 days after the first.
fn days_end<S: Tokens + Maintenance + central::ports::Store>(store: &S, now: impl Fn(Timestamp)) {
    let old = presents(1, "CP-1", 1, "OLD", "Invalid");
    let young = presents(2, "CP-1", DAY + 1, "OLD", "Invalid");
    apply(store, &[old, young]).unwrap();
    assert_eq!(all(store)[0].count, 2);
    now(at(31 * DAY - 1));
    assert_eq!(all(store)[0].count, 2, "the day is kept for 30 days");
    now(at(31 * DAY));
    let row = &all(store)[0];
    assert_eq!((row.count, row.first_at), (1, at(DAY + 1)));
    let key = row.key;
    assert!(store.dismiss_unknown_token(key, &origin()).unwrap());
    now(at(32 * DAY));
    let again = presents(3, "CP-1", 2, "OLD", "Invalid");
    apply(store, &[again]).unwrap();
    assert_eq!(all(store).len(), 1, "the dismissal has ended too");
}

#[test]
fn days_end_on_sqlite() {
    let database = SqliteDatabase::new();
    let store = database.open();
    days_end(&store, |now| {
        // As if the last round had been then.
        let sql = format!(
            "INSERT INTO settings (name, value) VALUES ('retention_clock', {0})
             ON CONFLICT (name) DO UPDATE SET value = {0}",
            now.as_millis()
        );
        database.other_connection().execute(&sql, []).unwrap();
        store.maintain(now).unwrap();
    });
}

#[test]
fn days_end_on_postgres() {
    let database = PostgresDatabase::new();
    let store = database.open();
    days_end(&store, |now| store.maintain(now).map(|_| ()).unwrap());
}
