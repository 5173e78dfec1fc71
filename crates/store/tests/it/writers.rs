//! Several processes write to one PostgreSQL database: consumers, and gateways by the bypass.

use crate::common::{
    self, Adapter, PostgresDatabase, Sent, apply, event, heartbeat, id, meter_values, start,
    status, stop,
};
use central::RecordKind;
use central::memory::MemoryStore;
use central::model::ChargerKey;
use central::ports::{Store, Unavailable, UnavailableKind};
use std::time::{Duration, Instant};

/// Records of twelve chargers on two gateways.
fn records() -> Vec<Sent> {
    let mut sent = vec![
        event(id(0, 1), RecordKind::GatewayStarted, "", 0, 1),
        event(id(1, 1), RecordKind::GatewayStarted, "", 0, 1),
    ];
    for n in 0..600_u64 {
        let charger = format!("CP-{}", n % 12);
        let record = id(u128::from(n % 2), n + 2);
        let minute = n.cast_signed() / 12;
        let transaction = (n % 12).cast_signed() + 1 + 100 * (minute / 10);
        sent.push(match minute % 10 {
            0 => start(record, &charger, minute, transaction),
            9 => stop(record, &charger, minute, transaction),
            // A stop that names no start.
            5 if n % 12 == 7 => stop(record, &charger, minute, 0),
            4 => status(record, &charger, minute, 1),
            _ => meter_values(record, &charger, minute, transaction),
        });
    }
    sent
}

/// Applies until it succeeds, as every caller does; returns how often the database was locked.
fn apply_until_stored(store: &dyn Store, sent: &[Sent]) -> u32 {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut refused = 0;
    loop {
        match apply(store, sent) {
            Ok(_) => return refused,
            Err(Unavailable {
                kind: UnavailableKind::Locked,
                ..
            }) if Instant::now() < deadline => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn eight_writers_with_overlapping_batches_store_the_same_as_one() {
    let database = PostgresDatabase::new();
    let sent = records();
    let reference = MemoryStore::default();
    apply(&reference, &sent).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..8_u64 {
            let (database, sent) = (&database, &sent);
            scope.spawn(move || {
                let store = database.open();
                let mut rng = fastrand::Rng::with_seed(writer);
                // Every writer applies everything, in batches of its own sizes and orders.
                let mut from = 0;
                while from < sent.len() {
                    let to = (from + rng.usize(1..90)).min(sent.len());
                    let mut batch = sent[from.saturating_sub(rng.usize(0..20))..to].to_vec();
                    rng.shuffle(&mut batch);
                    apply_until_stored(&store, &batch);
                    from = to;
                }
            });
        }
    });
    let contents = database.open().contents().unwrap();
    assert_eq!(contents.dead, reference.contents().dead);
    assert_eq!(contents, reference.contents());
    // The list of transactions is the same as that of one writer.
    let alone = PostgresDatabase::new();
    apply(&alone.open(), &sent).unwrap();
    let list = "SELECT string_agg(key || ' ' || open || ' ' || hidden || coalesce(' ' || partner, ''), ',' ORDER BY key) AS value
        FROM transaction_views";
    assert_eq!(database.query(list), alone.query(list));
    let deadlocks = "SELECT deadlocks AS value FROM pg_stat_database
        WHERE datname = current_database()";
    assert_eq!(
        database.query(deadlocks),
        ["0"],
        "writers waited for each other in a circle"
    );
}

#[test]
fn deadlock_or_conflict_is_retried_inside_apply() {
    for code in ["40P01", "40001", "55P03"] {
        let database = PostgresDatabase::new();
        let store = database.open();
        database.execute(&format!(
            "CREATE SEQUENCE tries;
             CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF nextval('tries') <= 3 THEN
                    RAISE EXCEPTION 'conflict' USING ERRCODE = '{code}';
                END IF;
                RETURN NULL;
             END $$;
             CREATE TRIGGER fail AFTER INSERT ON messages EXECUTE FUNCTION fail()"
        ));
        let sent = [heartbeat(1, "CP-1"), heartbeat(2, "CP-2")];
        assert_eq!(apply(&store, &sent).unwrap().new, 2);
        let reference = MemoryStore::default();
        apply(&reference, &sent).unwrap();
        assert_eq!(store.contents().unwrap(), reference.contents());
    }
}

#[test]
fn idle_writer_merges_onto_what_others_have_written() {
    let database = PostgresDatabase::new();
    let (one, other) = (database.open(), database.open());
    let reference = MemoryStore::default();
    for (n, sent) in records().chunks(7).enumerate() {
        let store = if n / 5 % 2 == 0 { &one } else { &other };
        assert_eq!(
            apply_until_stored(store, sent),
            0,
            "no other writer at the same time"
        );
        apply(&reference, sent).unwrap();
    }
    assert_eq!(one.contents().unwrap(), reference.contents());
}

#[test]
fn other_record_with_a_number_of_another_day_is_a_dead_letter() {
    let database = PostgresDatabase::new();
    database.execute("SELECT wattpost_maintain(1767225600000 + 86400000, 0, true)");
    let store = database.open();
    let day = 24 * 60;
    let first = [
        meter_values(id(0, 7), "CP-1", 1, 5),
        meter_values(id(0, 8), "CP-1", 2, 5),
    ];
    apply(&store, &first).unwrap();
    // A journal that was restored from an old copy continues from there, a day later.
    let again = [
        meter_values(id(0, 8), "CP-1", day + 1, 5),
        meter_values(id(0, 9), "CP-1", day + 2, 5),
    ];
    for new in [1, 0] {
        let applied = apply(&database.open(), &again).unwrap();
        assert_eq!((applied.new, applied.known), (new, 1 - new));
    }
    let contents = store.contents().unwrap();
    assert_eq!(contents.records.len(), 3);
    assert_eq!(contents.records[&id(0, 8)], first[1].bytes);
    assert_eq!(contents.dead[&id(0, 8)].0, again[0].bytes);
    assert_eq!(contents.meter_values.len(), 4);
    // Of two in one batch, the earlier one is stored.
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
fn batches_by_copy_store_the_same_as_batches_by_insert() {
    let sent: Vec<Sent> = (0..300_u64)
        .map(|n| {
            let record = id(u128::from(n % 3), n + 1);
            let minute = n.cast_signed();
            match n % 4 {
                0 => common::call(record, "CP-\u{0}", minute, "Odd\u{0}", "{\"a\u{0}\":1}"),
                1 => common::call(record, "cp-1", minute, "Heartbeat", ""),
                // The same meter value more than once.
                2 => meter_values(record, "CP-1", minute / 20, 5),
                _ => start(record, "CP-1", minute, minute),
            }
        })
        .collect();
    let reference = MemoryStore::default();
    apply(&reference, &sent).unwrap();
    let database = PostgresDatabase::new();
    let store = database.open();
    assert_eq!(apply(&store, &sent[..100]).unwrap().new, 100);
    // Half of the records are known, then none, then all.
    for (range, new) in [(0..200, 100), (100..300, 100), (0..300, 0)] {
        let applied = apply(&store, &sent[range.clone()]).unwrap();
        assert_eq!(
            (applied.new, applied.known),
            (new, range.len() as u64 - new)
        );
    }
    let contents = store.contents().unwrap();
    assert_eq!(contents.records, reference.contents().records);
    // A text with U+0000 is unchanged in its record only; elsewhere U+2400 replaces it.
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

/// Three writers store parts of `all` at the same time. Each begins at another record, so that they meet known and new records
/// in every batch.
pub(crate) fn meet<A: Adapter>(database: &A, all: &[Sent]) {
    std::thread::scope(|scope| {
        for writer in 0..3 {
            scope.spawn(move || {
                let store = database.open();
                for begin in 0..10 {
                    let begin = (begin * 6 + writer * 20) % all.len();
                    let mut batch = all[begin..].to_vec();
                    batch.extend_from_slice(&all[..begin]);
                    batch.truncate(30);
                    while apply(&store, &batch).is_err() {}
                }
            });
        }
    });
}
