//! The laws of the port `Store`, which every adapter must hold: in memory, on SQLite and on PostgreSQL.

use crate::common::{
    self, Adapter, Sent, apply, event, heartbeat, id, meter_values, on_every_adapter, start,
    start_on, status, stop,
};
use central::memory::{Contents, MemoryStore};
use central::model::{ChargerKey, TransactionView, resolve_sessions};
use central::ports::{DeadLetter, Store};
use central::project::Changes;
use central::query::QueryStore;
use central::{RecordId, RecordKind};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use uuid::Uuid;

on_every_adapter!(
    applying_twice_is_applying_once,
    record_twice_in_one_batch_counts_once,
    other_record_with_a_known_id_becomes_a_dead_letter,
    every_byte_of_a_record_is_stored,
    a_stop_of_the_longest_length_is_stored,
    dead_letters_are_stored_once_with_their_reason,
    two_processes_apply_to_one_database,
    several_threads_apply_at_the_same_time,
    any_order_with_repeats_gives_the_same_contents,
    pairing_does_not_depend_on_the_order_of_arrival,
    sessions_of_a_connector_do_not_depend_on_the_order_of_arrival,
    readings_find_their_session_whatever_the_clock,
    sessions_of_an_evse_do_not_depend_on_the_order_of_arrival,
    a_superseded_session_is_not_open_until_it_reports_again,
    readings_of_a_long_session_survive_its_stop_and_a_start_within_it,
    a_session_that_a_person_closed_is_not_open,
    a_session_that_was_closed_before_its_start_arrived_stays_closed,
    a_charger_has_a_bounded_number_of_connectors,
    every_session_is_listed_when_all_stops_lack_an_id,
    transaction_is_found_by_the_key_that_it_had_before_its_start,
);

/// Runs `test` on the adapter and on the reference in memory, with a function that reads the contents.
pub(crate) fn on_store<A: Adapter>(test: impl Fn(&dyn Store, &dyn Fn() -> Contents)) {
    let memory = MemoryStore::default();
    test(&memory, &|| memory.contents());
    let database = A::new();
    let store = database.open();
    test(&store, &|| A::contents(&store));
}

fn a_day() -> Vec<Sent> {
    vec![
        event(id(0, 1), RecordKind::GatewayStarted, "", 0, 1),
        event(id(0, 2), RecordKind::Connected, "CP-1", 0, 10),
        status(id(0, 3), "CP-1", 1, 1),
        start(id(0, 4), "CP-1", 2, 77),
        meter_values(id(0, 5), "CP-1", 3, 77),
        meter_values(id(0, 6), "CP-1", 4, 77),
        stop(id(0, 7), "CP-1", 5, 77),
        status(id(0, 8), "cp-1", 6, 1),
        event(id(0, 9), RecordKind::Disconnected, "CP-1", 7, 10),
        event(id(1, 1), RecordKind::GatewayStarted, "", 8, 80),
        event(id(1, 2), RecordKind::Connected, "CP-2", 9, 90),
        common::call(
            id(1, 3),
            "CP-2",
            9,
            "SecurityEventNotification",
            r#"{"type":"FirmwareUpdated","timestamp":"2026-01-01T00:09:00Z","techInfo":"1.2"}"#,
        ),
        common::call(id(1, 4), "CP-2", 9, "MeterValues", "{broken"),
    ]
}

fn applying_twice_is_applying_once<A: Adapter>() {
    on_store::<A>(|store, contents| {
        let first = apply(store, &a_day()).unwrap();
        assert_eq!((first.new, first.known), (13, 0));
        let once = contents();
        let second = apply(store, &a_day()).unwrap();
        assert_eq!((second.new, second.known), (0, 13));
        assert_eq!(contents(), once);
        assert_eq!(once.records.len(), 13);
    });
}

fn record_twice_in_one_batch_counts_once<A: Adapter>() {
    on_store::<A>(|store, contents| {
        let twice = [heartbeat(1, "CP-1"), heartbeat(1, "CP-1")];
        let applied = apply(store, &twice).unwrap();
        assert_eq!((applied.new, applied.known), (1, 1));
        assert_eq!(contents().records.len(), 1);
    });
}

fn other_record_with_a_known_id_becomes_a_dead_letter<A: Adapter>() {
    use central::ports::ID_USED_TWICE;
    on_store::<A>(|store, contents| {
        apply(store, &[heartbeat(1, "CP-1"), heartbeat(2, "CP-1")]).unwrap();
        // Two journals with one gateway id: the numbers are known, the records are not.
        let other = [
            heartbeat(2, "CP-1"),
            meter_values(id(0, 1), "CP-2", 30, 77),
            heartbeat(3, "CP-1"),
        ];
        for new in [1, 0] {
            let applied = apply(store, &other).unwrap();
            assert_eq!((applied.new, applied.known), (new, 2 - new));
        }
        let contents = contents();
        assert_eq!(contents.records.len(), 3);
        assert_eq!(contents.records[&id(0, 1)], heartbeat(1, "CP-1").bytes);
        let (bytes, reason) = &contents.dead[&id(0, 1)];
        assert_eq!((bytes, reason.as_str()), (&other[1].bytes, ID_USED_TWICE));
        assert!(reason.contains("gateway id") && reason.contains("docs/operations.md"));
        assert_eq!(contents.dead.len(), 1);
        // Its changes are applied all the same.
        assert_eq!(contents.meter_values.len(), 1);
    });
}

/// As long as a gateway accepts it at most, from a charger with the highest limit.
fn a_stop_of_the_longest_length_is_stored<A: Adapter>() {
    on_store::<A>(|store, contents| {
        let value = r#"{"timestamp":"2026-01-01T00:01:00Z","sampledValue":[{"value":"7"}]}"#;
        let data = vec![value; (8 << 20) / value.len()].join(",");
        let payload = format!(
            r#"{{"transactionId":7,"meterStop":9,"timestamp":"2026-01-01T00:05:00Z","transactionData":[{data}]}}"#
        );
        let sent = common::call(id(0, 1), "CP-1", 5, "StopTransaction", &payload);
        assert_eq!(apply(store, std::slice::from_ref(&sent)).unwrap().new, 1);
        assert_eq!(contents().records[&sent.id], sent.bytes);
        assert_eq!(contents().states.transactions.len(), 1);
    });
}

fn every_byte_of_a_record_is_stored<A: Adapter>() {
    on_store::<A>(|store, contents| {
        let odd = [
            common::call(
                id(0, 1),
                "CP/ü \u{0}x",
                0,
                "Däta\u{0}",
                "{\"a\u{0}\": \"\u{1F50C}\n\"",
            ),
            common::call(id(0, 2), "cp/Ü \u{0}x", 0, "", ""),
            event(
                id(0, 3),
                RecordKind::Unreadable,
                "CP/ü \u{0}x",
                -10_000_000,
                u64::MAX,
            ),
        ];
        apply(store, &odd).unwrap();
        for sent in &odd {
            assert_eq!(contents().records[&sent.id], sent.bytes);
        }
    });
}

fn dead_letters_are_stored_once_with_their_reason<A: Adapter>() {
    on_store::<A>(|store, contents| {
        let letter = DeadLetter {
            id: id(3, 9),
            bytes: vec![0, 255, 7],
            reason: "record format 9 is not known here".to_owned(),
        };
        for _ in 0..2 {
            store
                .apply(&[], &Changes::default(), std::slice::from_ref(&letter))
                .unwrap();
        }
        let dead = contents().dead;
        assert_eq!(dead.len(), 1);
        assert_eq!(
            dead[&letter.id],
            (letter.bytes.clone(), letter.reason.clone())
        );
    });
}

/// Few different values, so that records collide.
fn anything() -> impl Strategy<Value = (u8, u8, u8, i64)> {
    (0..16_u8, 0..2_u8, 0..3_u8, 0..12_i64)
}

/// A timestamp of the charger: mostly right, sometimes of a clock that was never set, sometimes missing.
fn timestamp(minute: i64) -> String {
    match minute % 4 {
        3 => r#","timestamp":"1970-01-01T00:00:42Z""#.to_owned(),
        2 => String::new(),
        _ => format!(r#","timestamp":"{}""#, common::at(minute)),
    }
}

/// A start with or without a register and a token; the register may be above that of a stop.
fn odd_start(id: central::RecordId, charger_id: &str, minute: i64, transaction: i64) -> Sent {
    let meter =
        [r#","meterStart":100"#, "", r#","meterStart":9000"#][minute.unsigned_abs() as usize % 3];
    let token = ["TAG-1", "tag-1", "TAG-2", ""][minute.unsigned_abs() as usize % 4];
    let payload = format!(
        r#"{{"connectorId":1,"idTag":"{token}"{meter}{}}}"#,
        timestamp(minute)
    );
    let answer =
        format!(r#"{{"idTagInfo":{{"status":"Accepted"}},"transactionId":{transaction}}}"#);
    common::answered(
        id,
        charger_id,
        minute,
        "StartTransaction",
        &payload,
        &answer,
    )
}

/// A stop that names no transaction, with or without a token, with a register below or above all others.
fn odd_stop(id: central::RecordId, charger_id: &str, minute: i64) -> Sent {
    let named = ["-1", "0", "null"][minute.unsigned_abs() as usize % 3];
    let token =
        ["", r#","idTag":"TAG-1""#, r#","idTag":"Tag-2""#][minute.unsigned_abs() as usize / 3 % 3];
    let meter = [50, 5_000, 20_000][minute.unsigned_abs() as usize / 2 % 3];
    let payload = format!(
        r#"{{"transactionId":{named},"meterStop":{meter}{token}{}}}"#,
        timestamp(minute / 2)
    );
    common::call(id, charger_id, minute, "StopTransaction", &payload)
}

fn record(seq: u64, (what, gateway, charger, minute): (u8, u8, u8, i64)) -> Sent {
    let id = id(u128::from(gateway), seq);
    let charger_id = ["CP-1", "cp-1", "CP-2"][usize::from(charger)];
    let transaction = minute % 3 - 1;
    match what {
        0 => event(
            id,
            RecordKind::GatewayStarted,
            "",
            minute,
            minute.cast_unsigned(),
        ),
        1 => event(
            id,
            RecordKind::Connected,
            charger_id,
            minute,
            minute.cast_unsigned(),
        ),
        2 => event(
            id,
            RecordKind::Disconnected,
            charger_id,
            minute,
            minute.cast_unsigned() / 2,
        ),
        3 => status(id, charger_id, minute, minute % 2),
        4 => start(id, charger_id, minute, transaction),
        5 => meter_values(id, charger_id, minute, transaction),
        6 => stop(id, charger_id, minute, transaction),
        7 => common::call(
            id,
            charger_id,
            minute,
            "BootNotification",
            &format!(r#"{{"chargePointVendor":"V{minute}","chargePointModel":"M"}}"#),
        ),
        8 => common::call(
            id,
            charger_id,
            minute,
            "StopTransaction",
            r#"{"transactionId":"#,
        ),
        // Several ids, so that several starts are open.
        9..=11 => odd_start(id, charger_id, minute, minute % 5 + 10),
        12 => meter_values(id, charger_id, minute, minute % 5 + 10),
        13 => stop(id, charger_id, minute, minute % 5 + 10),
        _ => odd_stop(id, charger_id, minute),
    }
}

/// The results of all queries as JSON.
fn query_results(store: &dyn QueryStore) -> String {
    use central::query::{ChargerFilter, PageRequest, TransactionFilter};
    let all = PageRequest {
        after: None,
        limit: 1_000,
    };
    let chargers = store.chargers(&ChargerFilter::default(), &all).unwrap();
    let details: Vec<_> = chargers
        .items
        .iter()
        .map(|charger| store.charger(&charger.charger.charger_id).unwrap())
        .collect();
    let transactions = store
        .transactions(&TransactionFilter::default(), &all)
        .unwrap();
    let open = TransactionFilter {
        open: Some(true),
        ..TransactionFilter::default()
    };
    let open = store.transactions(&open, &all).unwrap();
    serde_json::to_string_pretty(&(chargers, details, transactions, open)).unwrap()
}

/// A view as JSON, with the charger's identity in one spelling.
fn outline(mut view: TransactionView) -> (Uuid, String) {
    view.charger_id = ChargerKey::of(&view.charger_id).as_str().to_owned();
    (view.key, serde_json::to_string(&view).unwrap())
}

/// Each transaction in the list.
fn listed(store: &dyn QueryStore) -> BTreeSet<(Uuid, String)> {
    use central::query::{PageRequest, TransactionFilter};
    let all = PageRequest {
        after: None,
        limit: 1_000,
    };
    let page = store.transactions(&TransactionFilter::default(), &all);
    let views = page.unwrap().items.into_iter();
    let outlines: Vec<_> = views.map(outline).collect();
    let count = outlines.len();
    let set: BTreeSet<_> = outlines.into_iter().collect();
    assert_eq!(set.len(), count, "each transaction once");
    set
}

/// The same, computed from all states of a charger at once.
fn expected(contents: &Contents) -> BTreeSet<(Uuid, String)> {
    let mut views: BTreeMap<&ChargerKey, Vec<TransactionView>> = BTreeMap::new();
    for ((charger, wire_id), state) in &contents.states.transactions {
        let more = state.views(charger.as_str(), wire_id);
        views.entry(charger).or_default().extend(more);
    }
    views
        .into_iter()
        .flat_map(|(charger, views)| {
            let values = contents.meter_values.values();
            let own = values.filter(|value| value.charger == *charger);
            resolve_sessions(views, own).into_iter().map(outline)
        })
        .collect()
}

/// Records, an order in which each comes twice, and where batches end.
type Case = (Vec<Sent>, Vec<usize>, Vec<usize>);

fn case() -> impl Strategy<Value = Case> {
    prop::collection::vec(anything(), 1..40).prop_flat_map(|words| {
        let twice: Vec<usize> = (0..words.len()).chain(0..words.len()).collect();
        let cuts = prop::collection::vec(0..words.len(), 0..6);
        let sent: Vec<Sent> = (1..)
            .zip(words)
            .map(|(seq, word)| record(seq, word))
            .collect();
        (Just(sent), Just(twice).prop_shuffle(), cuts)
    })
}

fn any_order_with_repeats_gives_the_same_contents<A: Adapter>() {
    let config = ProptestConfig {
        cases: A::CASES,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(case in case())| {
        let (sent, order, mut cuts) = case;
        let memory = MemoryStore::default();
        apply(&memory, &sent).unwrap();
        let (straight_database, shuffled_database) = (A::new(), A::new());
        let straight = straight_database.open();
        apply(&straight, &sent).unwrap();
        let shuffled = shuffled_database.open();
        let order: Vec<Sent> = order.into_iter().map(|at| sent[at].clone()).collect();
        cuts.sort_unstable();
        let mut from = 0;
        for cut in cuts.into_iter().chain([order.len()]) {
            apply(&shuffled, &order[from..cut]).unwrap();
            from = cut;
        }
        let want = memory.contents();
        prop_assert_eq!(A::contents(&straight), want.clone());
        prop_assert_eq!(A::contents(&shuffled), want);
        prop_assert_eq!(query_results(&straight), query_results(&shuffled));
        prop_assert_eq!(listed(&straight), expected(&memory.contents()));
    });
}

/// One charger, few transactions, and only records that pairing depends on.
fn paired_case() -> impl Strategy<Value = (Vec<Sent>, Vec<usize>)> {
    let word = (0..6_u8, 0..12_i64, 0..2_i64);
    prop::collection::vec(word, 1..14).prop_flat_map(|words| {
        let sent: Vec<Sent> = (1..)
            .zip(words)
            .map(|(seq, (what, minute, which))| {
                let transaction = 10 + which;
                match what {
                    0 | 1 => odd_start(id(0, seq), "CP-1", minute, transaction),
                    2 => meter_values(id(0, seq), "CP-1", minute, transaction),
                    3 => stop(id(0, seq), "CP-1", minute, transaction),
                    _ => odd_stop(id(0, seq), "CP-1", minute),
                }
            })
            .collect();
        let order: Vec<usize> = (0..sent.len()).collect();
        (Just(sent), Just(order).prop_shuffle())
    })
}

fn pairing_does_not_depend_on_the_order_of_arrival<A: Adapter>() {
    let of = |sent: &[Sent]| {
        let database = A::new();
        let store = database.open();
        for sent in sent {
            apply(&store, std::slice::from_ref(sent)).unwrap();
        }
        (
            query_results(&store),
            listed(&store),
            expected(&A::contents(&store)),
        )
    };
    // A start without a register of its own: the first reading is above the stop's register, so the stop
    // does not fit, however late the reading comes.
    let start = common::answered(
        id(0, 1),
        "CP-1",
        1,
        "StartTransaction",
        &format!(r#"{{"connectorId":1,"idTag":"A"{}}}"#, timestamp(1)),
        r#"{"idTagInfo":{"status":"Accepted"},"transactionId":77}"#,
    );
    let reading = common::call(
        id(0, 2),
        "CP-1",
        2,
        "MeterValues",
        &format!(
            r#"{{"connectorId":1,"transactionId":77,"meterValue":[{{"timestamp":"{}","sampledValue":[{{"value":"9000"}}]}}]}}"#,
            common::at(2)
        ),
    );
    let stop = common::call(
        id(0, 3),
        "CP-1",
        5,
        "StopTransaction",
        &format!(r#"{{"transactionId":-1,"meterStop":5000{}}}"#, timestamp(5)),
    );
    let (a, b, c) = (&start, &reading, &stop);
    let want = of(&[a.clone(), b.clone(), c.clone()]);
    assert_eq!(want.1.len(), 2);
    for order in [[a, c, b], [b, a, c], [b, c, a], [c, a, b], [c, b, a]] {
        let have = of(&order.map(Clone::clone));
        assert_eq!(have, want);
        assert_eq!(have.1, have.2);
    }
    let config = ProptestConfig {
        cases: A::CASES,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(case in paired_case())| {
        let (sent, order) = case;
        let shuffled: Vec<Sent> = order.iter().map(|at| sent[*at].clone()).collect();
        let (straight, other) = (of(&sent), of(&shuffled));
        prop_assert_eq!(&straight.1, &straight.2);
        prop_assert_eq!(straight, other);
    });
}

/// Meter values of a connector that name no transaction; the register is ten watt-hours a minute.
fn unnamed(id: RecordId, charger_id: &str, received: i64, minute: i64, connector: i64) -> Sent {
    let payload = format!(
        r#"{{"connectorId":{connector},"meterValue":[{{"timestamp":"{}","sampledValue":[{{"value":"{}"}}]}}]}}"#,
        common::at(minute),
        100 + minute * 10
    );
    common::call(id, charger_id, received, "MeterValues", &payload)
}

/// One charger with few connectors and few transactions, whose messages arrive in any order.
fn connector_case() -> impl Strategy<Value = (Vec<Sent>, Vec<usize>, usize)> {
    let word = (0..12_u8, 0..25_i64, 0..3_i64, 0..40_i64, 0..4_i64);
    prop::collection::vec(word, 1..40).prop_flat_map(|words| {
        let sent: Vec<Sent> = (1..)
            .zip(words)
            .map(|(seq, (what, minute, connector, late, which))| {
                let id = id(u128::from(what % 2), seq);
                let transaction = 10 * minute + connector + 1;
                let received = minute + if late < 25 { 0 } else { late - 20 };
                match what {
                    0..=3 => {
                        let start = start_on(id, "CP-1", minute, transaction, connector);
                        received_at(start, received)
                    }
                    4 | 5 => {
                        let stop = stop(id, "CP-1", minute + which, transaction);
                        received_at(stop, received)
                    }
                    6 => {
                        let values = meter_values(id, "CP-1", minute + 2 * which, transaction);
                        received_at(values, received)
                    }
                    7 => received_at(odd_stop(id, "CP-1", 2 * minute), received),
                    _ => unnamed(id, "CP-1", received, minute + which, connector),
                }
            })
            .collect();
        let order: Vec<usize> = (0..sent.len()).chain(0..sent.len() / 4).collect();
        (Just(sent), Just(order).prop_shuffle(), 1..12_usize)
    })
}

/// The same record, received in another minute.
fn received_at(sent: Sent, minute: i64) -> Sent {
    let mut record = sent.record();
    record.received_at = common::at(minute);
    let bytes = record.encode();
    Sent { id: sent.id, bytes }
}

fn sessions_of_a_connector_do_not_depend_on_the_order_of_arrival<A: Adapter>() {
    let config = ProptestConfig {
        cases: A::CASES,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(case in connector_case())| {
        let (sent, order, batch) = case;
        let database = A::new();
        let (one, other) = (database.open(), database.open());
        let order: Vec<Sent> = order.into_iter().map(|at| sent[at].clone()).collect();
        for (n, part) in order.chunks(batch).enumerate() {
            // Two processes in turn.
            apply(if n % 3 == 2 { &other } else { &one }, part).unwrap();
        }
        prop_assert_eq!(listed(&one), expected(&A::contents(&one)));
        let open: BTreeSet<Uuid> = all_listed(&one, Some(true)).iter().map(|view| view.key).collect();
        let views = all_listed(&one, None);
        let shown = views.iter().filter(|view| view.open).map(|view| view.key);
        prop_assert_eq!(open, shown.collect::<BTreeSet<_>>());
    });
}

/// The same record, received so many minutes earlier than written: by a clock that is ahead.
fn ahead(sent: Sent, written: i64, minutes: i64) -> Sent {
    received_at(sent, written - minutes)
}

fn readings_find_their_session_whatever_the_clock<A: Adapter>() {
    let of = |sent: &[Sent], batch: usize| {
        let database = A::new();
        let store = database.open();
        for part in sent.chunks(batch) {
            apply(&store, part).unwrap();
        }
        let views = all_listed(&store, None);
        let energies: Vec<Option<f64>> = views.iter().map(|view| view.energy_wh).collect();
        (listed(&store), expected(&A::contents(&store)), energies)
    };
    // Queued starts that arrive one after another, of a clock that is ahead; then two readings of each session.
    let mut sent: Vec<Sent> = (0..14_u64)
        .map(|n| {
            let start = start_on(
                id(0, 1 + n),
                "CP-1",
                60 + 2 * n.cast_signed(),
                70 + n.cast_signed(),
                1,
            );
            received_at(start, n.cast_signed())
        })
        .collect();
    sent.extend((0..28_u64).map(|n| {
        let minute = 60 + n.cast_signed();
        unnamed(id(0, 100 + n), "CP-1", 29, minute, 1)
    }));
    let (have, want, energies) = of(&sent, 14);
    assert_eq!(have, want);
    assert!(energies.iter().all(Option::is_some), "{energies:?}");
    sent.reverse();
    let (reversed, _, _) = of(&sent, 5);
    assert_eq!(reversed, want);
    let config = ProptestConfig {
        cases: A::CASES.div_ceil(4),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let word = (
        0..8_u8,
        0..90_i64,
        prop::sample::select(vec![0, 0, 30, 60, 600]),
    );
    let case = prop::collection::vec(word, 1..100).prop_flat_map(|words| {
        let sent: Vec<Sent> = (1..)
            .zip(words)
            .map(|(seq, (what, minute, fast))| {
                let id = id(0, seq);
                match what {
                    0..=3 => ahead(start_on(id, "CP-1", minute, 10 + minute, 1), minute, fast),
                    4 => ahead(stop(id, "CP-1", minute + 3, 10 + minute), minute + 3, fast),
                    5 => ahead(meter_values(id, "CP-1", minute, 10 + minute), minute, fast),
                    _ => unnamed(id, "CP-1", minute - fast, minute, 1),
                }
            })
            .collect();
        (Just(sent).prop_shuffle(), 1..12_usize)
    });
    proptest!(config, |((sent, batch) in case)| {
        let (have, want, _) = of(&sent, batch);
        prop_assert_eq!(have, want);
    });
}

/// What a charger of 2.x sends in the minute `at`: an event of the transaction `wire_id`, or meter values.
#[derive(Debug, Clone)]
struct Said {
    event: Option<&'static str>,
    wire_id: &'static str,
    at: i64,
    evse: Option<i64>,
    register: Option<i64>,
}

impl Said {
    /// The message as it was received in the minute 100 and number `n` after it.
    fn sent(&self, charger_id: &str, seq: u64, n: usize) -> Sent {
        let at = common::at(self.at).to_string();
        let values = self.register.map(|register| {
            serde_json::json!([{"timestamp": at, "sampledValue": [{"value": register}]}])
        });
        let mut payload = match self.event {
            Some(event) => serde_json::json!({
                "eventType": event,
                "timestamp": at,
                "triggerReason": "Authorized",
                "seqNo": 0,
                "transactionInfo": {"transactionId": self.wire_id},
            }),
            None => serde_json::json!({"evseId": self.evse}),
        };
        if let Some(evse) = self.evse.filter(|_| self.event.is_some()) {
            payload["evse"] = serde_json::json!({ "id": evse });
        }
        if let Some(values) = values {
            payload["meterValue"] = values;
        }
        let action = match self.event {
            Some(_) => "TransactionEvent",
            None => "MeterValues",
        };
        let minute = 100 + i64::try_from(n).unwrap();
        let sent = common::call(id(0, seq), charger_id, minute, action, &payload.to_string());
        let mut record = sent.record();
        record.ocpp_version = ocpp::Version::V201;
        let bytes = record.encode();
        Sent { id: sent.id, bytes }
    }
}

fn anything_said() -> impl Strategy<Value = Said> {
    let event = prop::sample::select(vec![
        Some("Started"),
        Some("Started"),
        Some("Updated"),
        Some("Ended"),
        None,
    ]);
    let evse = prop::sample::select(vec![Some(1), Some(1), Some(2), None]);
    let register = prop::option::of(prop::sample::select(vec![100, 200, 300]));
    let wire_id = prop::sample::select(vec!["1", "2"]);
    (event, wire_id, 0..8_i64, evse, register).prop_map(|(event, wire_id, at, evse, register)| {
        let is_event = event.is_some();
        Said {
            event,
            wire_id,
            at,
            evse: evse.or((!is_event).then_some(1)),
            register: register.or((!is_event).then_some(250)),
        }
    })
}

/// All orders of `0..4`.
fn orders_of_four() -> Vec<[usize; 4]> {
    let all = (0..256).map(|n| [n / 64, n / 16 % 4, n / 4 % 4, n % 4]);
    all.filter(|order| BTreeSet::from(*order).len() == 4)
        .collect()
}

/// Each charger's messages, one of each charger in a batch; the list must be what follows from the stored states.
fn hear<A: Adapter>(chargers: &[(Vec<Said>, Vec<usize>)]) -> (BTreeSet<(Uuid, String)>, Contents) {
    let database = A::new();
    let store = database.open();
    let mut seq = 0;
    for step in 0..chargers
        .iter()
        .map(|(_, order)| order.len())
        .max()
        .unwrap_or(0)
    {
        let mut batch = Vec::new();
        for (n, (said, order)) in chargers.iter().enumerate() {
            if let Some(at) = order.get(step) {
                seq += 1;
                batch.push(said[*at].sent(&format!("CP-{n}"), seq, *at));
            }
        }
        apply(&store, &batch).unwrap();
    }
    (listed(&store), A::contents(&store))
}

fn sessions_of_an_evse_do_not_depend_on_the_order_of_arrival<A: Adapter>() {
    let say = |event, wire_id, at, evse, register| Said {
        event,
        wire_id,
        at,
        evse,
        register,
    };
    let updated = say(Some("Updated"), "1", 2, Some(1), None);
    let elsewhere = say(Some("Started"), "1", 3, None, None);
    let first = say(Some("Started"), "1", 1, Some(1), None);
    let value = say(None, "", 3, Some(1), Some(250));
    let next = say(Some("Started"), "2", 4, Some(1), None);
    // In some orders the session without an EVSE has one for a while, because the update seems to be of it.
    let mut chargers = Vec::new();
    for other in [value, next] {
        for order in orders_of_four() {
            let said = vec![
                updated.clone(),
                other.clone(),
                elsewhere.clone(),
                first.clone(),
            ];
            chargers.push((said, order.to_vec()));
        }
    }
    let (listed, contents) = hear::<A>(&chargers);
    assert_eq!(listed, expected(&contents));
    let config = ProptestConfig {
        cases: A::CASES.div_ceil(16),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let charger = prop::collection::vec(anything_said(), 3..9).prop_flat_map(|said| {
        let order: Vec<usize> = (0..said.len()).collect();
        (Just(said), Just(order).prop_shuffle())
    });
    proptest!(config, |(chargers in prop::collection::vec(charger, 32))| {
        let (listed, contents) = hear::<A>(&chargers);
        prop_assert_eq!(listed, expected(&contents));
    });
}

fn a_charger_has_a_bounded_number_of_connectors<A: Adapter>() {
    on_store::<A>(|store, contents| {
        let numbers = |first: u64| (first..).zip((-500..1_000).rev());
        let statuses: Vec<Sent> = numbers(1)
            .map(|(seq, number)| status(id(0, seq), "CP-1", 1, number))
            .collect();
        let values: Vec<Sent> = numbers(2_001)
            .map(|(seq, number)| unnamed(id(0, seq), "CP-1", 1, 1, number))
            .collect();
        // With repeats.
        for sent in [&statuses, &values, &statuses] {
            for part in sent.chunks(500) {
                apply(store, part).unwrap();
            }
        }
        let contents = contents();
        assert_eq!(contents.records.len(), 3_000);
        let connectors = contents.states.connectors.keys();
        let connectors: Vec<i64> = connectors.map(|(_, _, connector)| *connector).collect();
        assert_eq!(connectors, Vec::from_iter(0..=255));
        assert_eq!(contents.meter_values.len(), 1_500);
        let unnamed = contents.meter_values.values();
        let unnamed: BTreeSet<i64> = unnamed.filter_map(|row| row.unnamed_at).collect();
        assert_eq!(unnamed, (1..=255).collect());
    });
}

fn a_superseded_session_is_not_open_until_it_reports_again<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    apply(&store, &[start(id(0, 1), "CP-1", 0, 77)]).unwrap();
    apply(&store, &[start(id(0, 2), "CP-1", 10, 78)]).unwrap();
    let open = |store: &dyn QueryStore| -> Vec<String> {
        let views = all_listed(store, Some(true)).into_iter();
        views.map(|view| view.transaction_id).collect()
    };
    assert_eq!(open(&store), ["78"]);
    let superseded = all_listed(&store, Some(false)).remove(0);
    assert!(superseded.closed.is_some() && superseded.ended_at.is_none());
    // Readings from before the other start change nothing, later ones show that it runs.
    apply(&store, &[meter_values(id(0, 3), "CP-1", 5, 77)]).unwrap();
    assert_eq!(open(&store), ["78"]);
    apply(&store, &[meter_values(id(0, 4), "CP-1", 12, 77)]).unwrap();
    assert_eq!(open(&store), ["78", "77"]);
    // A further start ends both.
    apply(&store, &[start(id(0, 5), "CP-1", 20, 79)]).unwrap();
    assert_eq!(open(&store), ["79"]);
    // The end follows from the stop, which comes late.
    apply(&store, &[stop(id(0, 6), "CP-1", 21, 77)]).unwrap();
    let ended = all_listed(&store, Some(false));
    let ended = ended
        .iter()
        .find(|view| view.transaction_id == "77")
        .unwrap();
    assert_eq!(ended.ended_at, Some(common::at(21)));
    assert!(ended.closed.as_ref().unwrap().reconciled);
}

fn readings_of_a_long_session_survive_its_stop_and_a_start_within_it<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let energy = |store: &dyn QueryStore, transaction: &str| {
        let views = all_listed(store, None);
        let view = views
            .into_iter()
            .find(|view| view.transaction_id == transaction);
        view.unwrap().energy_wh
    };
    apply(&store, &[start(id(0, 1), "CP-1", 0, 77)]).unwrap();
    for minute in 1..200_i64 {
        let seq = minute.cast_unsigned() + 1;
        apply(&store, &[unnamed(id(0, seq), "CP-1", minute, minute, 1)]).unwrap();
    }
    assert_eq!(energy(&store, "77"), Some(1_990.0));
    // Another session that began within, and became known late.
    apply(
        &store,
        &[received_at(start(id(0, 500), "CP-1", 100, 78), 210)],
    )
    .unwrap();
    assert_eq!(energy(&store, "77"), Some(990.0));
    assert_eq!(energy(&store, "78"), Some(1_990.0));
    // Its stop, without a register.
    let payload = format!(
        r#"{{"transactionId":78,"meterStop":0,"timestamp":"{}"}}"#,
        common::at(150)
    );
    let stop = common::call(id(0, 501), "CP-1", 211, "StopTransaction", &payload);
    apply(&store, &[stop]).unwrap();
    assert_eq!(energy(&store, "78"), Some(1_500.0));
}

fn a_session_that_was_closed_before_its_start_arrived_stays_closed<A: Adapter>() {
    use central::ports::{Closings, Once};
    let database = A::new();
    let store = database.open();
    apply(&store, &[meter_values(id(0, 2), "CP-1", 12, 77)]).unwrap();
    let key = all_listed(&store, Some(true)).remove(0).key;
    let wanted = common::close_request(key, common::at(13), common::at(14));
    let Once::Done(closing) = store.close_session(&wanted).unwrap() else {
        panic!("not closed");
    };
    apply(&store, &[start(id(0, 1), "CP-1", 0, 77)]).unwrap();
    assert_eq!(all_listed(&store, Some(true)), []);
    let view = all_listed(&store, Some(false)).remove(0);
    assert_ne!(view.key, closing.key);
    let closed = view.closed.unwrap();
    assert_eq!((closed.by, closed.at), (closing.by(), closing.ended_at));
}

fn a_session_that_a_person_closed_is_not_open<A: Adapter>() {
    use central::model::{ActorKind, ClosedBy};
    use central::ports::{CloseRequest, Closings, Idempotency, NotClosed, Once};
    use central::query::{AuditFilter, PageRequest};
    let database = A::new();
    let store = database.open();
    apply(&store, &[start(id(0, 1), "CP-1", 0, 77)]).unwrap();
    let key = all_listed(&store, Some(true)).remove(0).key;
    let mut wanted = common::close_request(key, common::at(7), common::at(9));
    wanted.request.idempotency = Some(Idempotency {
        key: "k".to_owned(),
        digest: [1; 32],
    });
    let unknown = CloseRequest {
        key: Uuid::nil(),
        ..wanted.clone()
    };
    let refused = NotClosed::Unknown { key: Uuid::nil() };
    assert_eq!(store.close_session(&unknown), Ok(Once::Refused(refused)));
    let early = CloseRequest {
        ended_at: Some(common::at(-1)),
        ..wanted.clone()
    };
    assert!(matches!(
        store.close_session(&early),
        Ok(Once::Refused(NotClosed::BeforeStart { .. }))
    ));
    // Another process serves meanwhile.
    let Once::Done(closing) = database.open().close_session(&wanted).unwrap() else {
        panic!("not closed");
    };
    assert_eq!(
        store.close_session(&wanted),
        Ok(Once::Repeated(closing.clone()))
    );
    let again = common::close_request(key, common::at(8), common::at(10));
    assert!(matches!(
        store.close_session(&again),
        Ok(Once::Refused(NotClosed::ClosedBefore { .. }))
    ));
    assert!(matches!(&closing.by(), ClosedBy::Person { who, .. } if who == "alice"));
    // Neither a refusal nor a repeat has an entry.
    let audit = store.audit(&AuditFilter::default(), &PageRequest::default());
    let audit = audit.unwrap().items;
    assert_eq!(audit.len(), 1);
    let entry = &audit[0];
    assert_eq!(
        (entry.action.as_str(), &entry.subject, entry.at),
        ("transaction.closed", &key.to_string(), common::at(9))
    );
    assert_eq!(entry.by.kind, ActorKind::CommandLine);
    let (before, after) = (
        entry.before.as_ref().unwrap(),
        entry.after.as_ref().unwrap(),
    );
    assert_eq!(
        (&before["open"], &after["open"]),
        (&true.into(), &false.into())
    );
    assert_eq!(before["charger_id"], "CP-1");
    assert_eq!(after["closed"]["reason"], "the charger was replaced");
    assert_eq!(all_listed(&store, Some(true)), []);
    let view = store.transaction(key).unwrap().unwrap();
    let closed = view.closed.unwrap();
    assert_eq!((closed.by, closed.at), (closing.by(), closing.ended_at));
    assert!(!closed.reconciled && !view.open && view.ended_at.is_none());
    // It stays closed until its stop arrives.
    apply(&store, &[meter_values(id(0, 2), "CP-1", 12, 77)]).unwrap();
    apply(&store, &[start(id(0, 3), "CP-1", 20, 78)]).unwrap();
    assert_eq!(all_listed(&store, Some(true)).len(), 1);
    apply(&store, &[stop(id(0, 4), "CP-1", 15, 77)]).unwrap();
    let view = store.transaction(key).unwrap().unwrap();
    let closed = view.closed.unwrap();
    assert_eq!((closed.by, closed.reconciled), (closing.by(), true));
    assert_eq!(view.ended_at, Some(common::at(15)));
}

/// Everything in the list, page by page.
fn all_listed(store: &dyn QueryStore, open: Option<bool>) -> Vec<TransactionView> {
    let filter = central::query::TransactionFilter {
        open,
        ..Default::default()
    };
    central::query::all_transactions(store, &filter)
        .collect::<Result<_, _>>()
        .unwrap()
}

fn every_session_is_listed_when_all_stops_lack_an_id<A: Adapter>() {
    const SESSIONS: i64 = 1_500;
    let mut sent = Vec::new();
    for n in 0..SESSIONS {
        let seq = 2 * n.cast_unsigned() + 1;
        sent.push(start(id(0, seq), "CP-1", 2 * n, n + 10));
        sent.push(stop(id(0, seq + 1), "CP-1", 2 * n + 1, -1));
    }
    // An open start, older than all others, on another connector.
    sent.push(start_on(id(0, 90_000), "CP-1", -5, 7, 2));
    // Shuffled, in batches of random sizes.
    let mut rng = fastrand::Rng::with_seed(7);
    for part in sent.chunks_mut(1_000) {
        rng.shuffle(part);
    }
    let database = A::new();
    let store = database.open();
    let mut from = 0;
    while from < sent.len() {
        let to = (from + rng.usize(1..400)).min(sent.len());
        apply(&store, &sent[from..to]).unwrap();
        from = to;
    }
    let ended = all_listed(&store, Some(false));
    assert_eq!(ended.len(), usize::try_from(SESSIONS).unwrap());
    assert!(
        ended
            .iter()
            .all(|view| view.ended_at.is_some() && view.energy_wh.is_some())
    );
    let minute =
        |at: Option<central::Timestamp>| at.map(|at| (at.0 - common::BEGIN_MILLIS) / 60_000);
    assert!(
        ended
            .iter()
            .all(|view| minute(view.ended_at) == minute(view.started_at).map(|at| at + 1))
    );
    let open = all_listed(&store, Some(true));
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].transaction_id, "7");
    assert_eq!(all_listed(&store, None).len(), ended.len() + 1);
}

fn transaction_is_found_by_the_key_that_it_had_before_its_start<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    // A stop without an id, then the start that it ends.
    apply(&store, &[stop(id(4, 1), "CP-9", 5, -1)]).unwrap();
    let alone = all_listed(&store, None).remove(0);
    apply(&store, &[start(id(4, 2), "CP-9", 2, 55)]).unwrap();
    let ended = all_listed(&store, None);
    assert_eq!(ended.len(), 1);
    assert_eq!(
        store.transaction(alone.key).unwrap().unwrap().key,
        ended[0].key
    );
    let database = A::new();
    let store = database.open();
    apply(&store, &[meter_values(id(1, 1), "CP-1", 3, 77)]).unwrap();
    let first = all_listed(&store, None).remove(0);
    apply(&store, &[start(id(0, 1), "CP-1", 2, 77)]).unwrap();
    let started = all_listed(&store, None).remove(0);
    assert_ne!(started.key, first.key);
    for key in [first.key, started.key] {
        assert_eq!(store.transaction(key).unwrap().unwrap().key, started.key);
    }
    // The id is used again: the first key is ambiguous now, so it finds nothing.
    apply(
        &store,
        &[
            stop(id(0, 2), "CP-1", 4, 77),
            start(id(0, 3), "CP-1", 9, 77),
        ],
    )
    .unwrap();
    assert_eq!(
        store.transaction(started.key).unwrap().unwrap().key,
        started.key
    );
    assert_eq!(store.transaction(first.key).unwrap(), None);
}

fn two_processes_apply_to_one_database<A: Adapter>() {
    let database = A::new();
    let (one, other) = (database.open(), database.open());
    let reference = MemoryStore::default();
    for sent in a_day().chunks(1).cycle().take(30) {
        apply(&reference, sent).unwrap();
        apply(&one, sent).unwrap();
        apply(&other, sent).unwrap();
    }
    for (minute, sent) in (20..40_i64).map(|n| {
        (
            n,
            meter_values(id(0, 100 + n.cast_unsigned()), "CP-1", n, 77),
        )
    }) {
        let store = if minute % 2 == 0 { &one } else { &other };
        apply(store, std::slice::from_ref(&sent)).unwrap();
        apply(&reference, &[sent]).unwrap();
    }
    assert_eq!(A::contents(&one), reference.contents());
}

fn several_threads_apply_at_the_same_time<A: Adapter>() {
    let database = A::new();
    let store = Arc::new(database.open());
    let threads: Vec<_> = (0..4_u64)
        .map(|thread| {
            let store = Arc::clone(&store);
            std::thread::spawn(move || {
                for n in 0..25 {
                    let seq = thread * 25 + n + 1;
                    apply(&*store, &[heartbeat(seq, &format!("CP-{thread}"))]).unwrap();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(A::contents(&store).records.len(), 100);
}
