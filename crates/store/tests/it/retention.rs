//! The retention: what is past it is deleted, everything else stays, and storing does not wait for it.

use crate::common::{
    Adapter, BEGIN_MILLIS, PostgresDatabase, Sent, SqliteDatabase, apply, call, gateway, heartbeat,
    id, meter_values, start, stop,
};
use central::ports::{DeadLetter, Maintenance, Store};
use central::project::Changes;
use central::query::{QueryStore, TransactionFilter, all_transactions};
use central::{Seq, Timestamp};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use store::{PostgresOptions, Retention, SqliteOptions, SqliteStore};

const DAY_MILLIS: i64 = 86_400_000;
const DAY_MINUTES: i64 = 24 * 60;

fn noon(day: i64) -> Timestamp {
    Timestamp(BEGIN_MILLIS + day * DAY_MILLIS + DAY_MILLIS / 2)
}

fn sqlite_with(database: &SqliteDatabase, retention: Retention) -> SqliteStore {
    database.open_with(SqliteOptions {
        retention,
        ..SqliteOptions::default()
    })
}

fn three_days() -> Retention {
    Retention {
        records_days: 3,
        commands_days: 3,
        transactions_days: 3,
        audit_days: 3,
    }
}

/// The retention is applied by the time `now`, as if its last round had been then.
fn maintained_at(database: &SqliteDatabase, store: &SqliteStore, now: Timestamp) {
    database.execute(&format!(
        "INSERT INTO settings (name, value) VALUES ('retention_clock', {0})
         ON CONFLICT (name) DO UPDATE SET value = {0}",
        now.as_millis()
    ));
    store.maintain(now).unwrap();
}

fn daily(days: std::ops::Range<i64>) -> Vec<Sent> {
    days.map(|day| {
        let minute = day * DAY_MINUTES + 720;
        meter_values(id(0, 100 + day.cast_unsigned()), "CP-1", minute, 5)
    })
    .collect()
}

/// The rows were stored on the day that they tell: the test's days are not those of the clock.
const ON_THEIR_DAY: &str = "UPDATE meter_values SET stored_on = at / 86400000;
     UPDATE events SET stored_on = at / 86400000";

#[test]
fn old_rows_of_sqlite_are_deleted_and_new_ones_stay() {
    let database = SqliteDatabase::new();
    let store = sqlite_with(&database, three_days());
    let security = call(
        id(0, 1),
        "CP-1",
        0,
        "SecurityEventNotification",
        r#"{"type":"FirmwareUpdated","timestamp":"2026-01-01T00:09:00Z"}"#,
    );
    apply(&store, &[security]).unwrap();
    apply(&store, &daily(0..10)).unwrap();
    // The only message of another gateway is kept: by it a start recognises an old copy of the journal.
    apply(&store, &[call(id(1, 7), "CP-2", 0, "Heartbeat", "{}")]).unwrap();
    let letter = DeadLetter {
        id: id(2, 1),
        bytes: vec![1],
        reason: "a reason".to_owned(),
    };
    store.apply(&[], &Changes::default(), &[letter]).unwrap();
    database.execute(ON_THEIR_DAY);
    // The value of a clock that is years ahead, stored long ago.
    database.execute(
        "INSERT INTO meter_values (span, charger_no, at, key_hash, sampled, stored_on)
         SELECT 20000000, charger_no, 20000000 * 300000, 1, '[]', 1 FROM meter_values LIMIT 1",
    );
    // A process of the version before this one does not write the day: such a value is kept until its own time.
    database.execute(
        "INSERT INTO meter_values (span, charger_no, at, key_hash, sampled, stored_on)
         SELECT 20000001, charger_no, 20000001 * 300000, 1, '[]', 0 FROM meter_values LIMIT 1",
    );
    database.execute(
        "INSERT INTO events (charger_no, at, key_hash, kind, data)
             SELECT charger_no, 1767999999999, 1, 'x', '' FROM events LIMIT 1",
    );
    for (no, stage, day) in [(1, 2, 0), (2, 0, 0), (3, 2, 9)] {
        database.execute(&format!(
            "INSERT INTO commands (no, id, charger_key, charger_id, action, payload, answer_within_ms, send_before,
                 created_at, requested_by, waits, stage) VALUES
                 ({no}, x'{no:032}', 'cp-1', 'CP-1', 'Reset', '{{}}', 1, 1, {}, 'x', 1, {stage});
             INSERT INTO command_progress VALUES (x'{no:032}', '{{}}');
             INSERT INTO audit_log (at, actor_kind, origin, action, subject) VALUES ({0}, 'x', 'x', 'x', 'x')",
            noon(day).as_millis()
        ));
    }
    let rows =
        |sql: &str| database.query(&format!("SELECT count(*) AS value FROM {sql}"))[0].clone();
    assert_eq!(
        store.oldest_message().unwrap(),
        Some(Timestamp(BEGIN_MILLIS))
    );

    let before = store.contents().unwrap().states;
    maintained_at(&database, &store, noon(10));
    let states = store.contents().unwrap().states;
    assert_eq!(states.chargers, before.chargers);
    assert_eq!(states.transactions, before.transactions);
    let kept: BTreeSet<_> = store.contents().unwrap().records.into_keys().collect();
    let expected = [id(0, 107), id(0, 108), id(0, 109), id(1, 7)];
    assert_eq!(kept, BTreeSet::from(expected));
    assert_eq!(rows("meter_values"), "4");
    assert_eq!(rows("events"), "1", "it is not due by its own time");
    assert_eq!(rows("dead_letters WHERE at > 1"), "1", "it was stored now");
    assert_eq!(rows("commands"), "2", "the queued one stays");
    assert_eq!(
        rows("command_progress WHERE id <> x'00000000000000000000000000000001'"),
        "2"
    );
    assert_eq!(rows("audit_log"), "1");
    assert_eq!(
        rows(
            "message_blocks b WHERE rows <> (SELECT count(*) FROM messages WHERE id >> 14 = b.block)"
        ),
        "0",
        "the summaries tell what is left"
    );
    assert_eq!(store.last_seq(gateway(1)).unwrap(), Some(Seq(7)));
    assert_eq!(
        store.oldest_message().unwrap(),
        Some(Timestamp(BEGIN_MILLIS)),
        "of the other gateway"
    );
    // Delivered again, it changes no state, and is deleted again.
    assert_eq!(apply(&store, &daily(0..1)).unwrap().new, 1);
    assert_eq!(store.contents().unwrap().states, states);
    database.execute(ON_THEIR_DAY);
    store.maintain(noon(10)).unwrap();
    assert_eq!(store.contents().unwrap().records.len(), 4);
}

#[test]
fn a_clock_that_is_years_ahead_deletes_nothing_however_often_the_process_is_started() {
    let database = SqliteDatabase::new();
    let far = noon(3_000);
    let is_kept = |store: &SqliteStore| {
        let kept = store.contents().unwrap().records;
        (0..10).all(|day| kept.contains_key(&id(0, 100 + day)))
    };
    // The first round that the database ever has.
    let store = sqlite_with(&database, three_days());
    apply(&store, &daily(0..10)).unwrap();
    database.execute(ON_THEIR_DAY);
    store.maintain(far).unwrap();
    assert!(is_kept(&store), "the newest message tells the time");

    // A round while the clock is right, then a restart loop while it is not.
    maintained_at(&database, &store, noon(2));
    store.maintain(noon(-1_000)).unwrap();
    drop(store);
    for _ in 0..20 {
        let store = sqlite_with(&database, three_days());
        store.maintain(far).unwrap();
        assert!(is_kept(&store));
    }
    let note = database.query("SELECT value FROM settings WHERE name = 'retention_clock'");
    let note: i64 = note[0].parse().unwrap();
    let ahead = note - noon(2).as_millis();
    assert!((0..DAY_MILLIS).contains(&ahead), "by {ahead} ms");
}

#[test]
fn meter_values_that_are_kept_for_their_day_stay_between_those_that_are_deleted() {
    let database = SqliteDatabase::new();
    let store = sqlite_with(&database, three_days());
    apply(&store, &daily(0..1)).unwrap();
    // Stored today by chargers whose clocks are behind: more than a slice has, around one that is past the retention.
    database.execute(&format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6000)
         INSERT INTO meter_values (span, charger_no, at, key_hash, sampled, stored_on)
         SELECT 10, 1, 3000000, i, '[]', iif(i % 1500 = 0, 1, {}) FROM n",
        noon(10).as_millis() / DAY_MILLIS
    ));
    database.execute("UPDATE meter_values SET stored_on = 1 WHERE span <> 10");
    maintained_at(&database, &store, noon(10));
    let left = database.query("SELECT count(*) AS value FROM meter_values");
    assert_eq!(left, ["5996"]);
}

fn keys(store: &dyn QueryStore) -> Vec<(String, bool)> {
    all_transactions(store, &TransactionFilter::default())
        .map(Result::unwrap)
        .map(|view| (view.charger_id, view.open))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

/// Deletes after three days, on day ten.
fn transactions_end_before_they_are_deleted<A: Adapter>(database: &A, store: &A::Store) {
    let late = 9 * DAY_MINUTES;
    let sent = [
        start(id(0, 1), "CP-1", 1, 7),
        stop(id(0, 2), "CP-1", 5, 7),
        // Open since the first day.
        start(id(0, 3), "CP-2", 1, 8),
        // It has ended lately, or a reading has arrived lately.
        start(id(0, 4), "CP-3", 1, 9),
        stop(id(0, 5), "CP-3", late, 9),
        // Its stop names no transaction, and is a row of its own.
        start(id(0, 8), "CP-5", 1, 11),
        stop(id(0, 9), "CP-5", 5, -1),
    ];
    apply(store, &sent).unwrap();
    let counts = || -> Vec<String> {
        ["transactions", "transaction_views"]
            .map(|table| {
                database.query(&format!("SELECT count(*) AS value FROM {table}"))[0].clone()
            })
            .into()
    };
    assert_eq!(counts(), ["5", "5"]);
    database.execute(&format!(
        "INSERT INTO settings (name, value) VALUES ('retention_clock', {})",
        noon(10).as_millis()
    ));
    store.maintain(noon(10)).unwrap();
    let left = [("CP-2".to_owned(), true), ("CP-3".to_owned(), false)];
    assert_eq!(keys(store), left);
    assert_eq!(counts(), ["2", "2"]);
    // A charger whose old transaction is gone begins another one with the same number.
    let again = [
        start(id(0, 20), "CP-1", late, 7),
        stop(id(0, 21), "CP-1", late + 5, 7),
    ];
    assert_eq!(apply(store, &again).unwrap().new, 2);
    store.maintain(noon(10)).unwrap();
    assert_eq!(keys(store).len(), 3);
}

#[test]
fn transactions_of_sqlite_end_before_they_are_deleted() {
    let database = SqliteDatabase::new();
    let store = sqlite_with(&database, three_days());
    transactions_end_before_they_are_deleted(&database, &store);
}

#[test]
fn transactions_of_postgresql_end_before_they_are_deleted() {
    let database = PostgresDatabase::new();
    let store = database.open_with(PostgresOptions {
        retention: three_days(),
        ..PostgresOptions::default()
    });
    transactions_end_before_they_are_deleted(&database, &store);
    assert_eq!(
        store.oldest_message().unwrap(),
        Some(Timestamp(BEGIN_MILLIS)),
        "messages are kept for three days after they were stored"
    );
}

#[test]
fn storing_does_not_wait_while_the_retention_deletes() {
    const OLD: u64 = 6_000;
    let database = SqliteDatabase::new();
    let store = Arc::new(sqlite_with(&database, three_days()));
    let old: Vec<Sent> = (0..OLD)
        .map(|seq| meter_values(id(0, seq), "CP-1", (seq / 10).cast_signed(), 5))
        .collect();
    apply(&*store, &old).unwrap();
    database.execute(ON_THEIR_DAY);
    // The newest message of a gateway is kept, so the newest one is not an old one.
    let newest = call(id(0, OLD), "CP-2", 10 * DAY_MINUTES, "Heartbeat", "{}");
    apply(&*store, &[newest]).unwrap();
    database.execute(&format!(
        "INSERT INTO settings (name, value) VALUES ('retention_clock', {})",
        noon(10).as_millis()
    ));
    let is_done = Arc::new(AtomicBool::new(false));
    let deleting = {
        let (store, is_done) = (Arc::clone(&store), Arc::clone(&is_done));
        std::thread::spawn(move || {
            let result = store.maintain(noon(10));
            is_done.store(true, Ordering::SeqCst);
            result
        })
    };
    let (mut seq, mut longest) = (OLD + 1, Duration::ZERO);
    while !is_done.load(Ordering::SeqCst) {
        let sent = call(id(0, seq), "CP-2", 10 * DAY_MINUTES, "Heartbeat", "{}");
        let began = Instant::now();
        assert_eq!(apply(&*store, &[sent]).unwrap().new, 1);
        longest = longest.max(began.elapsed());
        seq += 1;
    }
    deleting.join().unwrap().unwrap();
    assert!(seq - OLD > 5, "{} records were stored meanwhile", seq - OLD);
    assert!(longest < Duration::from_secs(3), "{longest:?}");
    let kept = store.contents().unwrap().records;
    assert_eq!(kept.len() as u64, seq - OLD, "the old ones are gone");
    assert_eq!(
        apply(&*store, &[heartbeat(OLD + 1, "CP-9")]).unwrap().new,
        0
    );
}
