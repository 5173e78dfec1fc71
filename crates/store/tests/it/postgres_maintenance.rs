//! PostgreSQL's schema, its partitions and its roles.

use crate::common::{
    self, Adapter, BEGIN_MILLIS, PostgresDatabase, Sent, apply, at, call, heartbeat, id,
    meter_values, origin, start, stop,
};
use central::ports::{
    ChargerProfile, Closings, DeadLetter, DeadLetters, DirectorySource, LetterSelection,
    Maintenance, Once, Registration, Retried, Store, Token, TokenStatus, Tokens,
};
use central::project::Changes;
use central::query::{PageRequest, QueryStore, TransactionFilter};
use central::{Seq, Timestamp};
use store::{PostgresOptions, PostgresStore, Retention};

const DAY_MILLIS: i64 = 86_400_000;

/// Noon of a day of the test.
fn noon(day: i64) -> Timestamp {
    Timestamp(BEGIN_MILLIS + day * DAY_MILLIS + DAY_MILLIS / 2)
}

fn with_retention(database: &PostgresDatabase, retain_days: u32) -> PostgresStore {
    database.open_with(PostgresOptions {
        retention: Retention {
            records_days: retain_days,
            commands_days: retain_days,
            ..Retention::default()
        },
        ..PostgresOptions::default()
    })
}

/// One meter value at noon of each of these days.
fn daily(days: std::ops::Range<i64>) -> Vec<Sent> {
    days.map(|day| {
        let seq = 100 + day.cast_unsigned();
        meter_values(id(0, seq), "CP-1", day * 24 * 60 + 720, 5)
    })
    .collect()
}

/// Sets the day on which rows were stored to the day that they tell: the database's clock is not that of the tests.
fn set_stored_on_their_day(database: &PostgresDatabase) {
    database.execute(
        "UPDATE message_days SET stored_on = greatest(day, 0);
         UPDATE events SET stored_on = at / 86400000;
         UPDATE messages_outside SET outside_since = received_at / 86400000",
    );
}

/// The number of rows in each partition of a table.
fn rows_by_partition(database: &PostgresDatabase, table: &str) -> Vec<String> {
    database.query(&format!(
        "SELECT tableoid::regclass || ' ' || count(*) AS value FROM {table} GROUP BY tableoid ORDER BY 1"
    ))
}

fn partitions(database: &PostgresDatabase, table: &str) -> Vec<String> {
    database.query(&format!(
        "SELECT inhrelid::regclass AS value FROM pg_inherits WHERE inhparent = '{table}_by_day'::regclass
            AND inhrelid::regclass::text LIKE '{table}_20260_%' ORDER BY 1"
    ))
}

#[test]
fn rows_are_in_the_partition_of_their_day_also_when_it_is_created_late() {
    let database = PostgresDatabase::new();
    let store = database.open();
    apply(&store, &daily(0..3)).unwrap();
    assert_eq!(
        rows_by_partition(&database, "messages"),
        ["messages_default 3"],
        "before their partitions exist"
    );
    let before = store.contents().unwrap();
    store.maintenance_round(noon(1)).unwrap();
    apply(&store, &daily(0..5)).unwrap();
    for table in ["messages", "meter_values"] {
        let want: Vec<String> = (1..=5)
            .map(|day| format!("{table}_2026010{day} 1"))
            .collect();
        assert_eq!(rows_by_partition(&database, table), want);
    }
    let after = store.contents().unwrap();
    assert_eq!(after.records.len(), 5);
    assert!(
        before
            .records
            .iter()
            .all(|(id, bytes)| after.records[id] == *bytes)
    );
    // Known records are recognised as before.
    assert_eq!(apply(&store, &daily(0..5)).unwrap().known, 5);
    // A row of a clock that is years off is stored too.
    let odd = meter_values(id(0, 900), "CP-1", 60 * 24 * 365 * 20, 5);
    apply(&store, &[odd]).unwrap();
    assert!(
        rows_by_partition(&database, "meter_values").contains(&"meter_values_default 1".to_owned())
    );
}

#[test]
fn rows_older_than_the_retention_are_deleted() {
    let database = PostgresDatabase::new();
    let store = with_retention(&database, 3);
    let ancient = call(
        id(0, 1),
        "CP-1",
        -60 * 24 * 90,
        "SecurityEventNotification",
        r#"{"type":"FirmwareUpdated","timestamp":"2025-10-03T00:09:00Z"}"#,
    );
    apply(&store, std::slice::from_ref(&ancient)).unwrap();
    for day in 0..8 {
        store.maintenance_round(noon(day)).unwrap();
        apply(&store, &daily(day..day + 1)).unwrap();
        set_stored_on_their_day(&database);
    }
    // Today is the eighth day; the three whole days before it are kept.
    for table in ["messages", "meter_values"] {
        let kept = partitions(&database, table);
        assert_eq!(kept[0], format!("{table}_20260105"), "{kept:?}");
        assert_eq!(kept.last().unwrap(), &format!("{table}_20260115"));
    }
    let contents = store.contents().unwrap();
    let days: Vec<u64> = contents.records.keys().map(|id| id.seq.0 - 100).collect();
    assert_eq!(days, [4, 5, 6, 7]);
    assert_eq!(contents.meter_values.len(), 4);
    assert_eq!(contents.events.len(), 0);
    assert_eq!(
        database.query("SELECT count(*) AS value FROM message_days"),
        ["4"]
    );
    // A deleted record that is delivered again changes nothing, and is deleted again.
    let states = contents.states;
    let charged = store.charger("CP-1").unwrap();
    assert_eq!(apply(&store, &daily(0..1)).unwrap().new, 1);
    assert_eq!(store.contents().unwrap().states, states);
    assert_eq!(store.charger("CP-1").unwrap(), charged);
    store.maintenance_round(noon(7)).unwrap();
    set_stored_on_their_day(&database);
    store.maintenance_round(noon(7)).unwrap();
    assert_eq!(store.contents().unwrap().records.len(), 4);
}

/// `count` records of one day, each of about 750 bytes.
fn many(first_seq: u64, count: u64, day: i64) -> Vec<Sent> {
    let data = "x".repeat(700);
    let payload = format!(r#"{{"vendorId":"V","data":"{data}"}}"#);
    (first_seq..first_seq + count)
        .map(|seq| {
            let minute = day * 24 * 60 + (seq % 1_000).cast_signed();
            call(id(0, seq), "CP-1", minute, "DataTransfer", &payload)
        })
        .collect()
}

#[test]
fn missed_days_of_maintenance_are_made_up_while_others_write() {
    const DAYS: u64 = 9;
    const A_DAY: u64 = 2_000;
    let database = PostgresDatabase::new();
    let batches: Vec<Vec<Sent>> = (0..DAYS)
        .map(|day| many(1 + day * A_DAY, A_DAY, day.cast_signed()))
        .collect();
    let writer = database.open();
    let values = daily(0..9);
    let values: Vec<Sent> = values
        .into_iter()
        .map(|mut sent| {
            sent.id.seq.0 += 1_000_000;
            sent
        })
        .collect();
    for batch in &batches {
        apply(&writer, batch).unwrap();
    }
    apply(&writer, &values).unwrap();
    let before = DAYS * A_DAY + values.len() as u64;
    assert_eq!(
        rows_by_partition(&database, "messages"),
        [format!("messages_default {before}")]
    );
    let count = |table: &str| -> u64 {
        let sql = format!("SELECT count(*) AS value FROM {table}");
        database.query(&sql)[0].parse().unwrap()
    };
    let is_done = std::sync::atomic::AtomicBool::new(false);
    let done = || is_done.load(std::sync::atomic::Ordering::SeqCst);
    let today = noon(8);
    let (rounds, written) = std::thread::scope(|scope| {
        let rounds_in_threads: Vec<_> = (0..2)
            .map(|_| {
                let store = database.open();
                scope.spawn(move || {
                    // Another process may hold the lock for longer than the timeout.
                    for _ in 0..100 {
                        if let Ok(round) = store.maintenance_round(today) {
                            return round;
                        }
                    }
                    panic!("maintenance never succeeds while others write");
                })
            })
            .collect();
        let again = scope.spawn(|| {
            let store = database.open();
            while !done() {
                for batch in &batches {
                    let applied = apply(&store, batch).unwrap();
                    assert_eq!((applied.new, applied.known), (0, A_DAY), "stored twice");
                }
                apply(&store, &values).unwrap();
            }
        });
        let writing = scope.spawn(|| {
            let mut seq = 2_000_000;
            while !done() {
                assert_eq!(apply(&writer, &many(seq, 100, 8)).unwrap().new, 100);
                seq += 100;
            }
            seq - 2_000_000
        });
        let reading = scope.spawn(|| {
            let mut seen = before;
            while !done() {
                let now = count("messages");
                assert!(now >= seen, "{now} rows are visible, {seen} were before");
                assert_eq!(count("meter_values"), 9, "a value is lost or stored twice");
                seen = now;
            }
        });
        let rounds: Vec<_> = rounds_in_threads
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join)
            .collect();
        is_done.store(true, std::sync::atomic::Ordering::SeqCst);
        again.join().unwrap();
        reading.join().unwrap();
        let written = writing.join().unwrap();
        let rounds: Vec<_> = rounds.into_iter().map(Result::unwrap).collect();
        (rounds, written)
    });
    assert_eq!(count("messages"), before + written);
    let late: u64 = rounds.iter().map(|round| round.late_rows).sum();
    assert!(late >= 2 * A_DAY, "missed maintenance is reported");
    // The next round moves the rows that were added meanwhile.
    writer.maintenance_round(today).unwrap();
    assert_eq!(
        database.query("SELECT count(*) AS value FROM messages_default"),
        ["0"]
    );
    for day in [8, 9] {
        let name = format!("messages_2026010{day}");
        assert_eq!(
            database.query(&format!("SELECT count(*) > 0 AS value FROM {name}")),
            ["true"],
            "{name}"
        );
    }
    assert_eq!(count("messages"), before + written);
    // Known records are recognised wherever they are: outside, or in the partition of their day.
    for batch in &batches {
        assert_eq!(apply(&writer, batch).unwrap().known, A_DAY);
    }
    // Another record with the number of a row outside is not known.
    let other = call(id(0, 1), "CP-2", 1, "Heartbeat", "{}");
    let applied = apply(&writer, &[other]).unwrap();
    assert_eq!((applied.new, applied.known), (0, 0));
    assert_eq!(writer.contents().unwrap().dead.len(), 1);
}

#[test]
fn no_row_is_moved_between_the_look_up_and_the_insert_of_a_batch() {
    let database = PostgresDatabase::new();
    let store = database.open_with(PostgresOptions {
        statement_timeout: std::time::Duration::from_millis(200),
        ..PostgresOptions::default()
    });
    apply(&store, &daily(0..1)).unwrap();
    // The lock as a batch holds it: rows are not moved.
    let meanwhile = |lock: &str, work: &(dyn Fn() + Sync)| {
        // On another thread, because stores block.
        database.hold(lock, || {
            std::thread::scope(|scope| scope.spawn(work).join().unwrap());
        });
    };
    meanwhile("SELECT pg_advisory_xact_lock_shared(1463899221)", &|| {
        assert!(store.maintenance_round(noon(0)).is_err());
        assert_eq!(
            rows_by_partition(&database, "messages"),
            ["messages_default 1"]
        );
        // Batches do not exclude each other.
        assert_eq!(apply(&store, &daily(1..2)).unwrap().new, 1);
    });
    // The lock as maintenance holds it: no batch is written.
    meanwhile("SELECT pg_advisory_xact_lock(1463899221)", &|| {
        assert!(apply(&store, &daily(2..3)).is_err());
    });
    database.open().maintenance_round(noon(0)).unwrap();
    assert_eq!(apply(&database.open(), &daily(0..3)).unwrap().new, 1);
}

#[test]
fn late_records_are_kept_for_the_retention_whatever_the_gateways_clock() {
    let database = PostgresDatabase::new();
    let store = with_retention(&database, 2);
    let millis = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis();
    let now = Timestamp(i64::try_from(millis).unwrap());
    // A partition of a day long ago, as after a gateway was cut off.
    store.maintenance_round(noon(0)).unwrap();
    let in_1970 = call(
        id(0, 1),
        "CP-1",
        -BEGIN_MILLIS / 60_000,
        "Heartbeat",
        r#"{"is":"in 1970"}"#,
    );
    let security = call(
        id(0, 2),
        "CP-1",
        1,
        "SecurityEventNotification",
        r#"{"type":"FirmwareUpdated","timestamp":"2026-01-01T00:01:00Z"}"#,
    );
    apply(&store, &[in_1970, security]).unwrap();
    for _ in 0..2 {
        store.maintenance_round(now).unwrap();
        let contents = store.contents().unwrap();
        assert_eq!(contents.records.len(), 2);
        assert_eq!(contents.events.len(), 1);
    }
    // Three days later by the clock of this process, which alone does not count because it may be wrong.
    let later = Timestamp(now.0 + 3 * DAY_MILLIS);
    store.maintenance_round(later).unwrap();
    assert_eq!(store.contents().unwrap().records.len(), 2);
    database.execute(
        "UPDATE message_days SET stored_on = stored_on - 3;
         UPDATE messages_outside SET outside_since = outside_since - 3;
         UPDATE events SET stored_on = stored_on - 3",
    );
    assert!(store.maintenance_round(later).unwrap().expired >= 2);
    let contents = store.contents().unwrap();
    assert_eq!((contents.records.len(), contents.events.len()), (0, 0));
    assert_eq!(
        database.query("SELECT count(*) AS value FROM message_days"),
        ["0"]
    );
}

#[test]
fn dead_letters_are_deleted_after_the_retention() {
    let database = PostgresDatabase::new();
    let store = with_retention(&database, 2);
    for (seq, bytes) in [(1, 1), (1, 2), (2, 3)] {
        let letter = DeadLetter {
            id: id(0, seq),
            bytes: vec![bytes],
            reason: "a reason".to_owned(),
        };
        store.apply(&[], &Changes::default(), &[letter]).unwrap();
    }
    let left = || {
        database.query(
            "SELECT (SELECT count(*) FROM dead_letters) || ' ' || (SELECT count(*) FROM set_aside) AS value",
        )
    };
    database.execute("UPDATE dead_letters SET at = at - 86400000 * 3::bigint WHERE seq = 2");
    assert_eq!(left(), ["2 1"]);
    let far = Timestamp(i64::from(u32::MAX) * 1_000);
    with_retention(&database, 0).maintenance_round(far).unwrap();
    assert_eq!(left(), ["2 1"], "kept without a retention");
    store.maintenance_round(far).unwrap();
    assert_eq!(left(), ["1 1"]);
    database.execute("UPDATE set_aside SET at = at - 86400000 * 3::bigint");
    store.maintenance_round(far).unwrap();
    assert_eq!(left(), ["1 0"]);
}

#[test]
fn slices_of_the_retention_stay_at_their_lower_bound_where_deleting_is_slow() {
    let database = PostgresDatabase::new();
    let store = database.open_with(PostgresOptions {
        retention: Retention {
            audit_days: 1,
            ..Retention::default()
        },
        ..PostgresOptions::default()
    });
    database.execute(
        "INSERT INTO audit_log (at, actor_kind, origin, action, subject)
             SELECT n, 'cli', 'a', 'token.set', 'b' FROM generate_series(1, 1100) n;
         CREATE TABLE deleted (in_transaction xid8);
         GRANT ALL ON deleted TO PUBLIC;
         CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             PERFORM pg_sleep(0.001);
             INSERT INTO deleted VALUES (pg_current_xact_id());
             RETURN OLD;
         END $$;
         CREATE TRIGGER slow BEFORE DELETE ON audit_log FOR EACH ROW EXECUTE FUNCTION slow()",
    );
    assert_eq!(store.maintenance_round(noon(30)).unwrap().expired, 1_100);
    let slices: Vec<usize> = database
        .query("SELECT count(*) AS value FROM deleted GROUP BY in_transaction ORDER BY min(in_transaction::text::bigint)")
        .iter()
        .map(|rows| rows.parse().unwrap())
        .collect();
    // A hundred milliseconds are a hundred rows at most.
    assert_eq!(slices, [500, 500, 100]);
}

#[test]
fn commits_are_synced_whatever_synchronous_commit_the_role_sets() {
    let database = PostgresDatabase::new();
    let role = format!("lax_of_{}", database.name);
    database.command(&format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'secret' IN ROLE wattpost;
         ALTER ROLE {role} SET synchronous_commit = off;
         ALTER DATABASE {} SET synchronous_commit = off",
        database.name
    ));
    // A trigger in the writer's transaction records the setting of its connection.
    database.execute(
        "CREATE TABLE seen (value text);
         GRANT INSERT ON seen TO PUBLIC;
         CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$;
         CREATE TRIGGER see AFTER INSERT ON messages FOR EACH STATEMENT EXECUTE FUNCTION see()",
    );
    let url = database.url_as(&role, "secret");
    let store = PostgresStore::open(&url, PostgresOptions::default()).unwrap();
    apply(&store, &[heartbeat(1, "CP-1")]).unwrap();
    assert_eq!(database.query("SELECT value FROM seen"), ["on"]);
    // A stronger setting is kept.
    database.command(&format!(
        "ALTER ROLE {role} SET synchronous_commit = remote_apply"
    ));
    let store = PostgresStore::open(&url, PostgresOptions::default()).unwrap();
    apply(&store, &[heartbeat(2, "CP-1")]).unwrap();
    assert_eq!(
        database.query("SELECT value FROM seen"),
        ["on", "remote_apply"]
    );
    // The server of these tests does not sync, which is reported.
    let why = store.lacks_durability().unwrap().unwrap();
    assert!(why.contains("fsync = on"), "{why}");
    drop(store);
    database.command(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn nothing_is_deleted_without_a_retention() {
    let database = PostgresDatabase::new();
    let store = database.open();
    for day in [0, 40] {
        store.maintenance_round(noon(day)).unwrap();
        apply(&store, &daily(day..day + 1)).unwrap();
    }
    assert_eq!(store.contents().unwrap().records.len(), 2);
    assert!(partitions(&database, "messages").contains(&"messages_20260101".to_owned()));
}

#[test]
fn several_processes_do_maintenance_while_others_write() {
    let database = PostgresDatabase::new();
    std::thread::scope(|scope| {
        for n in 0..3_u64 {
            let database = &database;
            scope.spawn(move || {
                let store = with_retention(database, 2);
                for day in 0..6 {
                    // Another process may hold the lock; the next round does the rest.
                    let _ = store.maintenance_round(noon(day));
                    let seq = n * 100 + day.cast_unsigned() + 1;
                    let minute = day * 24 * 60 + n.cast_signed();
                    let sent = meter_values(id(0, seq), "CP-1", minute, 5);
                    apply(&store, &[sent]).unwrap();
                }
            });
        }
    });
    set_stored_on_their_day(&database);
    let store = with_retention(&database, 2);
    store.maintenance_round(noon(5)).unwrap();
    let days = 3;
    assert_eq!(store.contents().unwrap().records.len(), 3 * days);
}

#[test]
fn several_processes_migrate_at_the_same_time() {
    let database = PostgresDatabase::bare();
    let done: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6)
            .map(|_| scope.spawn(|| PostgresStore::migrate(&database.url()).unwrap()))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(done.iter().filter(|done| done.from == 0).count(), 1);
    assert!(done.iter().all(|done| done.to == 31));
    let store = database.open();
    assert_eq!(apply(&store, &[heartbeat(1, "CP-1")]).unwrap().new, 1);
    let again = PostgresStore::migrate(&database.url()).unwrap();
    assert!(again.to_string().contains("up to date"), "{again}");
    assert_eq!(store.contents().unwrap().records.len(), 1);
}

#[test]
fn errors_that_waiting_does_not_help_are_returned_at_once() {
    let open = |url: &str| {
        let error = PostgresStore::open(url, PostgresOptions::default()).unwrap_err();
        error.to_string()
    };
    let bare = PostgresDatabase::bare();
    assert!(open(&bare.url()).contains("`wattpost migrate`"));
    let database = PostgresDatabase::new();
    assert!(open(&database.url_as("wattpost", "wrong")).contains("password"));
    assert!(open(&database.url_as("nobody-here", "x")).contains("nobody-here"));
    let nowhere = database.url().replace(&database.name, "no_such_database");
    assert!(open(&nowhere).contains("no_such_database"));
    assert!(open("mysql://somewhere/else").contains("postgres://"));
    database.execute("UPDATE wattpost_schema SET version = 99");
    for error in [
        open(&database.url()),
        PostgresStore::migrate(&database.url())
            .unwrap_err()
            .to_string(),
    ] {
        assert!(error.contains("99") && error.contains("newer"), "{error}");
    }
    // A migration that processes of this version can go on with says so.
    database.execute(&format!(
        "INSERT INTO settings VALUES ('schema_99_usable_from', {})",
        store::SCHEMA_VERSION
    ));
    let store = PostgresStore::open(&database.url(), PostgresOptions::default()).unwrap();
    store.ping().unwrap();
    let done = PostgresStore::migrate(&database.url()).unwrap();
    assert_eq!((done.from, done.to), (99, 99));
    database.execute("UPDATE settings SET value = value + 1 WHERE name = 'schema_99_usable_from'");
    assert!(open(&database.url()).contains("newer"));
}

/// `wattpost migrate` of a newer program, while processes of this version run that cannot go on with its schema: what they
/// would write may be incomplete for the new one.
#[test]
fn a_running_process_writes_nothing_to_a_schema_that_it_cannot_use() {
    let database = PostgresDatabase::new();
    let store = database.open();
    apply(&store, &[heartbeat(1, "CP-1")]).unwrap();
    let newer = |usable_from: u32| {
        database.execute(&format!(
            "UPDATE wattpost_schema SET version = 99;
             INSERT INTO settings VALUES ('schema_99_usable_from', {usable_from})
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        ));
    };
    newer(store::SCHEMA_VERSION + 1);
    let next = [heartbeat(2, "CP-1")];
    let token = Token::accepted("04A2");
    for _ in 0..2 {
        let error = apply(&store, &next).unwrap_err();
        let said = error.to_string();
        assert!(
            said.contains("schema is version 99") && said.contains("use a newer program"),
            "{said}"
        );
        assert!(store.ping().is_err());
        assert!(store.put_token(&token, &origin()).is_err());
    }
    let rows =
        "SELECT (SELECT count(*) FROM messages) || ' ' || (SELECT count(*) FROM tokens) AS value";
    assert_eq!(database.query(rows), ["1 0"]);
    // One that says that processes of this version can go on.
    newer(store::SCHEMA_VERSION);
    assert_eq!(apply(&store, &next).unwrap().new, 1);
    assert_eq!(database.query(rows), ["2 0"]);
}

#[test]
fn database_with_another_encoding_is_refused() {
    let database = PostgresDatabase::latin1();
    for error in [
        PostgresStore::migrate(&database.url()).unwrap_err(),
        PostgresStore::open(&database.url(), PostgresOptions::default()).unwrap_err(),
    ] {
        let error = error.to_string();
        assert!(error.contains("LATIN1"), "{error}");
        assert!(error.contains("createdb --encoding=UTF8"), "{error}");
    }
}

#[test]
fn tables_of_another_program_are_not_changed() {
    let database = PostgresDatabase::bare();
    database.execute("CREATE TABLE messages (title text)");
    let error = PostgresStore::migrate(&database.url())
        .unwrap_err()
        .to_string();
    assert!(error.contains("another program"), "{error}");
    assert_eq!(
        database.query("SELECT string_agg(relname, ' ') AS value FROM pg_stat_user_tables"),
        ["messages"]
    );
}

#[test]
fn a_role_without_a_right_on_a_new_table_is_refused_at_once() {
    let database = PostgresDatabase::new();
    let role = format!("old_of_{}", database.name);
    database.command(&format!("CREATE ROLE {role} LOGIN PASSWORD 'secret'"));
    let grants = include_str!("../../migrations/postgres/grants.sql");
    // As they were granted before the tables were added.
    let is_old = |line: &&str| !line.contains("unknown_tokens");
    let old: String = grants.lines().filter(is_old).collect::<Vec<_>>().join("\n");
    database.execute(&old.replace(":\"role\"", &role));
    let url = database.url_as(&role, "secret");
    let open = || PostgresStore::open(&url, PostgresOptions::default());
    let error = open().expect_err("a right is missing").to_string();
    for part in [role.as_str(), "unknown_tokens", "grants.sql"] {
        assert!(error.contains(part), "{error}");
    }
    database.execute(&grants.replace(":\"role\"", &role));
    open().unwrap().ping().unwrap();
}

#[test]
fn role_with_the_documented_grants_does_everything_but_migrate() {
    let database = PostgresDatabase::new();
    let role = format!("app_of_{}", database.name);
    database.command(&format!("CREATE ROLE {role} LOGIN PASSWORD 'secret'"));
    let grants = include_str!("../../migrations/postgres/grants.sql");
    database.execute(&grants.replace(":\"role\"", &role));
    let url = database.url_as(&role, "secret");
    let options = PostgresOptions {
        retention: Retention {
            records_days: 2,
            commands_days: 2,
            transactions_days: 2,
            audit_days: 2,
        },
        ..PostgresOptions::default()
    };
    let store = PostgresStore::open(&url, options).unwrap();
    store.ping().unwrap();
    store.maintenance_round(noon(0)).unwrap();
    apply(
        &store,
        &[start(id(0, 1), "CP-1", 1, 7), stop(id(0, 2), "CP-1", 5, 7)],
    )
    .unwrap();
    apply(
        &store,
        &[stop(id(0, 3), "CP-1", 9, 0), heartbeat(4, "CP-2")],
    )
    .unwrap();
    // Two other records with a known number, so that one is set aside.
    for minute in [11, 12] {
        apply(&store, &[call(id(0, 4), "CP-2", minute, "Heartbeat", "{}")]).unwrap();
    }
    let letter = DeadLetter {
        id: id(0, 9),
        bytes: vec![1],
        reason: "a reason".to_owned(),
    };
    store
        .apply(&[], &Changes::default(), std::slice::from_ref(&letter))
        .unwrap();
    let wanted = crate::dead_letters::discard(LetterSelection::Ids(vec![letter.id]));
    assert!(matches!(store.discard_letters(&wanted), Ok(Once::Done(_))));
    let nothing = Retried::default();
    let settled = store.settle_retry(&nothing, &crate::dead_letters::request(Some("letters")));
    assert_eq!(settled, Ok(Once::Done(nothing)));
    apply(&store, &[start(id(1, 1), "CP-3", 1, 7)]).unwrap();
    let open = TransactionFilter {
        open: Some(true),
        ..TransactionFilter::default()
    };
    let open = store.transactions(&open, &PageRequest::default()).unwrap();
    let wanted = crate::common::close_request(open.items[0].key, at(500), at(501));
    assert!(matches!(store.close_session(&wanted), Ok(Once::Done(_))));
    let profile = ChargerProfile {
        charger_id: "CP-1".to_owned(),
        registration: Registration::Accepted,
        password_hash: None,
        ..ChargerProfile::new("CP-1")
    };
    crate::charger_settings::uses_every_call(&store, &profile);
    crate::sites::uses_every_call(&store);
    crate::handshakes::uses_every_call(&store);
    crate::unknown_tokens::uses_every_call(&store);
    let token = Token {
        id: "TAG".to_owned(),
        status: TokenStatus::Accepted,
        expires_at: Some(at(0)),
        group_id: None,
        ..Token::accepted("")
    };
    store.put_token(&token, &origin()).unwrap();
    store.remove_token("TAG", &origin()).unwrap();
    assert!(store.load(None).unwrap().is_some());
    assert_eq!(store.last_seq(common::gateway(0)).unwrap(), Some(Seq(9)));
    crate::commands::uses_every_call(&store);
    crate::rotations::use_rotations(&store);
    crate::disconnects::uses_every_call(&store);
    crate::batches::uses_every_call(&store);
    crate::effects::uses_every_call(&store);
    crate::event_log::uses_every_call(&store);
    crate::webhooks::uses_every_call(&store);
    // Partitions are created and dropped with the owner's rights.
    set_stored_on_their_day(&database);
    store.maintenance_round(noon(9)).unwrap();
    assert_eq!(store.contents().unwrap().records.len(), 0);
    assert!(store.charger("CP-1").unwrap().is_some());
    // The role itself may not.
    for forbidden in [
        "DROP TABLE messages",
        "DELETE FROM messages",
        "UPDATE messages SET payload = ''",
        "CREATE TABLE mine (x int)",
        "UPDATE wattpost_schema SET version = 7",
    ] {
        let refused = common::run(&url, forbidden).unwrap_err().to_string();
        assert!(
            refused.contains("permission denied") || refused.contains("must be owner"),
            "{forbidden}: {refused}"
        );
    }
    drop(store);
    database.command(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}
