//! Several programs apply to one ledger: consumers, and gateways on the direct road.

use crate::common::{
    self, Adapter, PostgresHome, Said, apply, event, heartbeat, id, meter_values, start, status,
    stop,
};
use central::RecordKind;
use central::memory::MemoryStore;
use central::model::ChargerKey;
use central::ports::{Store, Unavailable, UnavailableKind};
use std::time::{Duration, Instant};

/// What twelve chargers say on two gateways, one after the other.
fn story() -> Vec<Said> {
    let mut said = vec![
        event(id(0, 1), RecordKind::GatewayStarted, "", 0, 1),
        event(id(1, 1), RecordKind::GatewayStarted, "", 0, 1),
    ];
    for n in 0..600_u64 {
        let charger = format!("CP-{}", n % 12);
        let record = id(u128::from(n % 2), n + 2);
        let minute = n.cast_signed() / 12;
        let transaction = (n % 12).cast_signed() + 1 + 100 * (minute / 10);
        said.push(match minute % 10 {
            0 => start(record, &charger, minute, transaction),
            9 => stop(record, &charger, minute, transaction),
            // An end that names no start.
            5 if n % 12 == 7 => stop(record, &charger, minute, 0),
            4 => status(record, &charger, minute, 1),
            _ => meter_values(record, &charger, minute, transaction),
        });
    }
    said
}

/// As whoever has to get rid of a batch does.
fn insist(store: &dyn Store, said: &[Said]) -> u32 {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut refused = 0;
    loop {
        match apply(store, said) {
            Ok(_) => return refused,
            Err(Unavailable {
                kind: UnavailableKind::Locked,
                ..
            }) if Instant::now() < deadline => refused += 1,
            Err(away) => panic!("{away}"),
        }
    }
}

#[test]
fn eight_writers_with_overlapping_batches_make_one_ledger() {
    let home = PostgresHome::new();
    let said = story();
    let reference = MemoryStore::default();
    apply(&reference, &said).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..8_u64 {
            let (home, said) = (&home, &said);
            scope.spawn(move || {
                let store = home.open();
                let mut dice = fastrand::Rng::with_seed(writer);
                // Everybody applies everything, in batches of other places, sizes and orders.
                let mut from = 0;
                while from < said.len() {
                    let to = (from + dice.usize(1..90)).min(said.len());
                    let mut batch = said[from.saturating_sub(dice.usize(0..20))..to].to_vec();
                    dice.shuffle(&mut batch);
                    insist(&store, &batch);
                    from = to;
                }
            });
        }
    });
    let contents = home.open().contents().unwrap();
    assert_eq!(contents.dead, reference.contents().dead);
    assert_eq!(contents, reference.contents());
    // The list of transactions is that of one writer, too.
    let alone = PostgresHome::new();
    apply(&alone.open(), &said).unwrap();
    let list = "SELECT string_agg(key || ' ' || open || ' ' || hidden || coalesce(' ' || partner, ''), ',' ORDER BY key) AS value
        FROM transaction_views";
    assert_eq!(home.ask(list), alone.ask(list));
    let deadlocks = "SELECT deadlocks AS value FROM pg_stat_database
        WHERE datname = current_database()";
    assert_eq!(home.ask(deadlocks), ["0"], "writers waited for each other");
}

#[test]
fn a_deadlock_or_a_conflict_is_tried_again_inside() {
    for code in ["40P01", "40001", "55P03"] {
        let home = PostgresHome::new();
        let store = home.open();
        home.execute(&format!(
            "CREATE SEQUENCE tries;
             CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF nextval('tries') <= 3 THEN
                    RAISE EXCEPTION 'somebody was faster' USING ERRCODE = '{code}';
                END IF;
                RETURN NULL;
             END $$;
             CREATE TRIGGER fail AFTER INSERT ON messages EXECUTE FUNCTION fail()"
        ));
        let said = [heartbeat(1, "CP-1"), heartbeat(2, "CP-2")];
        assert_eq!(apply(&store, &said).unwrap().new, 2);
        let reference = MemoryStore::default();
        apply(&reference, &said).unwrap();
        assert_eq!(store.contents().unwrap(), reference.contents());
    }
}

#[test]
fn a_writer_that_was_idle_builds_on_what_others_wrote_meanwhile() {
    let home = PostgresHome::new();
    let (one, other) = (home.open(), home.open());
    let reference = MemoryStore::default();
    for (n, said) in story().chunks(7).enumerate() {
        let store = if n / 5 % 2 == 0 { &one } else { &other };
        assert_eq!(insist(store, said), 0, "nobody is at work at the same time");
        apply(&reference, said).unwrap();
    }
    assert_eq!(one.contents().unwrap(), reference.contents());
}

#[test]
fn another_record_under_a_number_of_another_day_is_a_dead_letter() {
    let home = PostgresHome::new();
    home.execute("SELECT wattpost_maintain(1767225600000 + 86400000, 0, true)");
    let store = home.open();
    let day = 24 * 60;
    let first = [
        meter_values(id(0, 7), "CP-1", 1, 5),
        meter_values(id(0, 8), "CP-1", 2, 5),
    ];
    apply(&store, &first).unwrap();
    // A journal that was restored from an old copy counts on from there, a day later.
    let again = [
        meter_values(id(0, 8), "CP-1", day + 1, 5),
        meter_values(id(0, 9), "CP-1", day + 2, 5),
    ];
    for new in [1, 0] {
        let applied = apply(&home.open(), &again).unwrap();
        assert_eq!((applied.new, applied.known), (new, 1 - new));
    }
    let contents = store.contents().unwrap();
    assert_eq!(contents.records.len(), 3);
    assert_eq!(contents.records[&id(0, 8)], first[1].bytes);
    assert_eq!(contents.dead[&id(0, 8)].0, again[0].bytes);
    assert_eq!(contents.meter_values.len(), 4);
    // In one batch, the earlier one is kept.
    let both = [
        meter_values(id(1, 1), "CP-2", day, 5),
        meter_values(id(1, 1), "CP-2", 3, 5),
    ];
    assert_eq!(apply(&store, &both).unwrap().new, 1);
    let contents = store.contents().unwrap();
    assert_eq!(contents.records[&id(1, 1)], both[1].bytes);
    assert_eq!(contents.dead[&id(1, 1)].0, both[0].bytes);
}

#[test]
fn large_batches_are_the_same_as_small_ones_known_records_and_odd_texts_among_them() {
    let said: Vec<Said> = (0..300_u64)
        .map(|n| {
            let record = id(u128::from(n % 3), n + 1);
            let minute = n.cast_signed();
            match n % 4 {
                0 => common::call(record, "CP-\u{0}", minute, "Odd\u{0}", "{\"a\u{0}\":1}"),
                1 => common::call(record, "cp-1", minute, "Heartbeat", ""),
                // The same value more than once.
                2 => meter_values(record, "CP-1", minute / 20, 5),
                _ => start(record, "CP-1", minute, minute),
            }
        })
        .collect();
    let reference = MemoryStore::default();
    apply(&reference, &said).unwrap();
    let home = PostgresHome::new();
    let store = home.open();
    assert_eq!(apply(&store, &said[..100]).unwrap().new, 100);
    // Half of it is known, and then a quarter; then all.
    for (range, new) in [(0..200, 100), (100..300, 100), (0..300, 0)] {
        let applied = apply(&store, &said[range.clone()]).unwrap();
        assert_eq!(
            (applied.new, applied.known),
            (new, range.len() as u64 - new)
        );
    }
    let contents = store.contents().unwrap();
    assert_eq!(contents.records, reference.contents().records);
    // A text with U+0000 is whole in its record only; elsewhere it is written otherwise.
    let of_cp_1 = |contents: &central::memory::Contents| {
        let mut values = contents.meter_values.clone();
        values.retain(|key, _| key.0 == ChargerKey::of("cp-1"));
        values
    };
    assert_eq!(of_cp_1(&contents), of_cp_1(&reference.contents()));
    assert_eq!(
        contents.states.transactions,
        reference.contents().states.transactions
    );
}
