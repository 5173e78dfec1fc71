//! The laws of the port `Store`, held by every adapter: in memory, on SQLite and on PostgreSQL.

use crate::common::{
    self, Adapter, Said, apply, event, heartbeat, id, meter_values, on_every_adapter, start,
    status, stop,
};
use central::RecordKind;
use central::memory::{Contents, MemoryStore};
use central::model::{ChargerKey, TransactionView, pair_orphans};
use central::ports::{DeadLetter, Store};
use central::project::Changes;
use central::query::QueryStore;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use uuid::Uuid;

on_every_adapter!(
    applying_twice_is_applying_once,
    a_record_twice_in_one_batch_counts_once,
    another_record_under_a_known_id_is_not_taken_for_it,
    every_byte_of_a_record_is_kept,
    dead_letters_are_kept_once_with_their_reason,
    two_programs_may_apply_to_the_same_ledger,
    many_threads_may_apply_at_the_same_time,
    any_order_with_repeats_gives_the_same_ledger,
    pairing_does_not_depend_on_the_order_of_arrival,
    every_session_is_listed_however_many_were_stopped_under_no_id,
    a_transaction_is_found_by_the_key_that_it_had_before_its_start,
);

/// Runs `test` on the adapter and on the reference, with a way to look at everything that each holds.
fn on_store<A: Adapter>(test: impl Fn(&dyn Store, &dyn Fn() -> Contents)) {
    let memory = MemoryStore::default();
    test(&memory, &|| memory.contents());
    let home = A::new();
    let store = home.open();
    test(&store, &|| A::contents(&store));
}

fn a_day() -> Vec<Said> {
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

fn a_record_twice_in_one_batch_counts_once<A: Adapter>() {
    on_store::<A>(|store, contents| {
        let twice = [heartbeat(1, "CP-1"), heartbeat(1, "CP-1")];
        let applied = apply(store, &twice).unwrap();
        assert_eq!((applied.new, applied.known), (1, 1));
        assert_eq!(contents().records.len(), 1);
    });
}

fn another_record_under_a_known_id_is_not_taken_for_it<A: Adapter>() {
    use central::ports::ID_USED_TWICE;
    on_store::<A>(|store, contents| {
        apply(store, &[heartbeat(1, "CP-1"), heartbeat(2, "CP-1")]).unwrap();
        // Two journals under one gateway id: the numbers are known, the records are not.
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
        // What it tells is told all the same.
        assert_eq!(contents.meter_values.len(), 1);
    });
}

fn every_byte_of_a_record_is_kept<A: Adapter>() {
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
        for said in &odd {
            assert_eq!(contents().records[&said.id], said.bytes);
        }
    });
}

fn dead_letters_are_kept_once_with_their_reason<A: Adapter>() {
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

/// A small world, so that things collide.
fn anything() -> impl Strategy<Value = (u8, u8, u8, i64)> {
    (0..16_u8, 0..2_u8, 0..3_u8, 0..12_i64)
}

/// The charger's times: most tell the minute, some were never set, some are missing.
fn told(minute: i64) -> String {
    match minute % 4 {
        3 => r#","timestamp":"1970-01-01T00:00:42Z""#.to_owned(),
        2 => String::new(),
        _ => format!(r#","timestamp":"{}""#, common::at(minute)),
    }
}

/// A start with or without a register and a token; the register may be above that of a stop.
fn odd_start(id: central::RecordId, charger_id: &str, minute: i64, transaction: i64) -> Said {
    let meter =
        [r#","meterStart":100"#, "", r#","meterStart":9000"#][minute.unsigned_abs() as usize % 3];
    let token = ["TAG-1", "tag-1", "TAG-2", ""][minute.unsigned_abs() as usize % 4];
    let payload = format!(
        r#"{{"connectorId":1,"idTag":"{token}"{meter}{}}}"#,
        told(minute)
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

/// A stop that names no transaction, with or without a token, below or above any register.
fn odd_stop(id: central::RecordId, charger_id: &str, minute: i64) -> Said {
    let named = ["-1", "0", "null"][minute.unsigned_abs() as usize % 3];
    let token =
        ["", r#","idTag":"TAG-1""#, r#","idTag":"Tag-2""#][minute.unsigned_abs() as usize / 3 % 3];
    let meter = [50, 5_000, 20_000][minute.unsigned_abs() as usize / 2 % 3];
    let payload = format!(
        r#"{{"transactionId":{named},"meterStop":{meter}{token}{}}}"#,
        told(minute / 2)
    );
    common::call(id, charger_id, minute, "StopTransaction", &payload)
}

fn say(seq: u64, (what, gateway, charger, minute): (u8, u8, u8, i64)) -> Said {
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
        // Several ids, so that there are several open starts.
        9..=11 => odd_start(id, charger_id, minute, minute % 5 + 10),
        12 => meter_values(id, charger_id, minute, minute % 5 + 10),
        13 => stop(id, charger_id, minute, minute % 5 + 10),
        _ => odd_stop(id, charger_id, minute),
    }
}

/// What people see of it, with everything that they can ask for.
fn shown(store: &dyn QueryStore) -> String {
    use central::query::{ChargerFilter, PageRequest, TransactionFilter};
    let all = PageRequest {
        after: None,
        limit: 1_000,
    };
    let chargers = store.chargers(&ChargerFilter::default(), &all).unwrap();
    let details: Vec<_> = chargers
        .items
        .iter()
        .map(|charger| store.charger(&charger.charger_id).unwrap())
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

/// Key, charger and whether it is open, of each transaction in the list.
fn listed(store: &dyn QueryStore) -> BTreeSet<(Uuid, ChargerKey, bool)> {
    use central::query::{PageRequest, TransactionFilter};
    let all = PageRequest {
        after: None,
        limit: 1_000,
    };
    let page = store.transactions(&TransactionFilter::default(), &all);
    let views = page.unwrap().items.into_iter();
    let outlines: Vec<_> = views
        .map(|view| (view.key, ChargerKey::of(&view.charger_id), view.open))
        .collect();
    let count = outlines.len();
    let set: BTreeSet<_> = outlines.into_iter().collect();
    assert_eq!(set.len(), count, "each transaction once");
    set
}

/// The same, made from all states of a charger at once.
fn expected(contents: &Contents) -> BTreeSet<(Uuid, ChargerKey, bool)> {
    let mut views: BTreeMap<&ChargerKey, Vec<TransactionView>> = BTreeMap::new();
    for ((charger, wire_id), state) in &contents.states.transactions {
        let more = state.views(charger.as_str(), wire_id);
        views.entry(charger).or_default().extend(more);
    }
    views
        .into_iter()
        .flat_map(|(charger, views)| {
            let outline = |view: TransactionView| (view.key, charger.clone(), view.open);
            pair_orphans(views).into_iter().map(outline)
        })
        .collect()
}

/// Something said, an order in which it comes twice, and where batches end.
type Story = (Vec<Said>, Vec<usize>, Vec<usize>);

fn story() -> impl Strategy<Value = Story> {
    prop::collection::vec(anything(), 1..40).prop_flat_map(|words| {
        let twice: Vec<usize> = (0..words.len()).chain(0..words.len()).collect();
        let cuts = prop::collection::vec(0..words.len(), 0..6);
        let said: Vec<Said> = (1..).zip(words).map(|(seq, word)| say(seq, word)).collect();
        (Just(said), Just(twice).prop_shuffle(), cuts)
    })
}

fn any_order_with_repeats_gives_the_same_ledger<A: Adapter>() {
    let config = ProptestConfig {
        cases: A::CASES,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(story in story())| {
        let (said, order, mut cuts) = story;
        let memory = MemoryStore::default();
        apply(&memory, &said).unwrap();
        let (straight_home, shuffled_home) = (A::new(), A::new());
        let straight = straight_home.open();
        apply(&straight, &said).unwrap();
        let shuffled = shuffled_home.open();
        let order: Vec<Said> = order.into_iter().map(|at| said[at].clone()).collect();
        cuts.sort_unstable();
        let mut from = 0;
        for cut in cuts.into_iter().chain([order.len()]) {
            apply(&shuffled, &order[from..cut]).unwrap();
            from = cut;
        }
        let want = memory.contents();
        prop_assert_eq!(A::contents(&straight), want.clone());
        prop_assert_eq!(A::contents(&shuffled), want);
        prop_assert_eq!(shown(&straight), shown(&shuffled));
        prop_assert_eq!(listed(&straight), expected(&memory.contents()));
    });
}

/// One charger, few transactions, and only what pairing depends on.
fn paired_story() -> impl Strategy<Value = (Vec<Said>, Vec<usize>)> {
    let word = (0..6_u8, 0..12_i64, 0..2_i64);
    prop::collection::vec(word, 1..14).prop_flat_map(|words| {
        let said: Vec<Said> = (1..)
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
        let order: Vec<usize> = (0..said.len()).collect();
        (Just(said), Just(order).prop_shuffle())
    })
}

fn pairing_does_not_depend_on_the_order_of_arrival<A: Adapter>() {
    let of = |said: &[Said]| {
        let home = A::new();
        let store = home.open();
        for said in said {
            apply(&store, std::slice::from_ref(said)).unwrap();
        }
        (
            shown(&store),
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
        &format!(r#"{{"connectorId":1,"idTag":"A"{}}}"#, told(1)),
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
        &format!(r#"{{"transactionId":-1,"meterStop":5000{}}}"#, told(5)),
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
    proptest!(config, |(story in paired_story())| {
        let (said, order) = story;
        let shuffled: Vec<Said> = order.iter().map(|at| said[*at].clone()).collect();
        let (straight, other) = (of(&said), of(&shuffled));
        prop_assert_eq!(&straight.1, &straight.2);
        prop_assert_eq!(straight, other);
    });
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

fn every_session_is_listed_however_many_were_stopped_under_no_id<A: Adapter>() {
    const SESSIONS: i64 = 1_500;
    let mut said = Vec::new();
    for n in 0..SESSIONS {
        let seq = 2 * n.cast_unsigned() + 1;
        said.push(start(id(0, seq), "CP-1", 2 * n, n + 10));
        said.push(stop(id(0, seq + 1), "CP-1", 2 * n + 1, -1));
    }
    // A start that is open, older than all of them.
    said.push(start(id(0, 90_000), "CP-1", -5, 7));
    // Not in their order, and in batches that begin and end anywhere.
    let mut dice = fastrand::Rng::with_seed(7);
    for part in said.chunks_mut(1_000) {
        dice.shuffle(part);
    }
    let home = A::new();
    let store = home.open();
    let mut from = 0;
    while from < said.len() {
        let to = (from + dice.usize(1..400)).min(said.len());
        apply(&store, &said[from..to]).unwrap();
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

fn a_transaction_is_found_by_the_key_that_it_had_before_its_start<A: Adapter>() {
    let home = A::new();
    let store = home.open();
    // A stop without an id, then the start that shows it.
    apply(&store, &[stop(id(4, 1), "CP-9", 5, -1)]).unwrap();
    let alone = all_listed(&store, None).remove(0);
    apply(&store, &[start(id(4, 2), "CP-9", 2, 55)]).unwrap();
    let ended = all_listed(&store, None);
    assert_eq!(ended.len(), 1);
    assert_eq!(
        store.transaction(alone.key).unwrap().unwrap().key,
        ended[0].key
    );
    let home = A::new();
    let store = home.open();
    apply(&store, &[meter_values(id(1, 1), "CP-1", 3, 77)]).unwrap();
    let first = all_listed(&store, None).remove(0);
    apply(&store, &[start(id(0, 1), "CP-1", 2, 77)]).unwrap();
    let started = all_listed(&store, None).remove(0);
    assert_ne!(started.key, first.key);
    for key in [first.key, started.key] {
        assert_eq!(store.transaction(key).unwrap().unwrap().key, started.key);
    }
    // The id is used again: the first key could mean either now, and so means none.
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

fn two_programs_may_apply_to_the_same_ledger<A: Adapter>() {
    let home = A::new();
    let (one, other) = (home.open(), home.open());
    let reference = MemoryStore::default();
    for said in a_day().chunks(1).cycle().take(30) {
        apply(&reference, said).unwrap();
        apply(&one, said).unwrap();
        apply(&other, said).unwrap();
    }
    for (minute, said) in (20..40_i64).map(|n| {
        (
            n,
            meter_values(id(0, 100 + n.cast_unsigned()), "CP-1", n, 77),
        )
    }) {
        let store = if minute % 2 == 0 { &one } else { &other };
        apply(store, std::slice::from_ref(&said)).unwrap();
        apply(&reference, &[said]).unwrap();
    }
    assert_eq!(A::contents(&one), reference.contents());
}

fn many_threads_may_apply_at_the_same_time<A: Adapter>() {
    let home = A::new();
    let store = Arc::new(home.open());
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
