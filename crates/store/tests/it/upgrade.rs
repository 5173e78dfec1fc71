//! A database of an earlier build is upgraded with what it holds.

use crate::common::{
    Adapter, PostgresDatabase, Sent, SqliteDatabase, apply, at, id, meter_values, start,
};
use central::model::{ChargerKey, TransactionView};
use central::ports::{Maintenance, Store};
use central::project::Changes;
use central::query::{QueryStore, TransactionFilter, all_transactions};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use store::{MigrationWait, PostgresStore};

/// What the first build stored for an open session: its charger's key, its id, its state, its view.
fn open_session() -> (String, String, String, TransactionView) {
    let sent = [
        start(id(0, 1), "CP-1", 0, 77),
        meter_values(id(0, 2), "CP-1", 5, 77),
    ];
    let mut changes = Changes::default();
    for sent in &sent {
        changes.absorb(sent.id, &sent.record());
    }
    let (key, state) = changes.transactions.pop_first().unwrap();
    let view = state.views(key.0.as_str(), &key.1).remove(0);
    // The first build did not store the time of a session's latest report.
    let mut json = serde_json::to_value(&state).unwrap();
    for details in json["connections"].as_object_mut().unwrap().values_mut() {
        assert!(
            details
                .as_object_mut()
                .unwrap()
                .remove("heard_at")
                .is_some()
        );
    }
    (key.0.as_str().to_owned(), key.1, json.to_string(), view)
}

fn rows(key: &str) -> Vec<String> {
    let (charger, wire_id, state, view) = open_session();
    vec![
        format!("INSERT INTO chargers (no, key, id) VALUES (1, '{charger}', 'CP-1')"),
        format!(
            "INSERT INTO transactions (no, charger_no, wire_id, state) VALUES (1, 1, '{wire_id}', '{state}')"
        ),
        format!(
            "INSERT INTO transaction_views
                (began_at, key, charger_no, transaction_no, kind, open, hidden, token, meter_wh)
             VALUES ({}, {key}, 1, 1, 1, true, false, NULL, 100)",
            view.started_at.unwrap().as_millis()
        ),
    ]
}

fn views(store: &dyn QueryStore) -> Vec<TransactionView> {
    all_transactions(store, &TransactionFilter::default())
        .collect::<Result<_, _>>()
        .unwrap()
}

/// The session that was open before the upgrade is superseded by the first one after it.
fn check<S: Store + QueryStore>(store: &S) {
    let (.., before) = open_session();
    let after = views(store);
    assert_eq!(after.len(), 1);
    assert_eq!((after[0].key, after[0].open), (before.key, true));
    assert_eq!(after[0].energy_wh, before.energy_wh);
    let again: Sent = start(id(1, 1), "cp-1", 60, 78);
    apply(store, &[again]).unwrap();
    let all = views(store);
    assert!(all[0].open && !all[1].open);
    let closed = all[1].closed.as_ref().unwrap();
    assert_eq!((closed.at, closed.reconciled), (at(60), false));
    assert_eq!(ChargerKey::of(&all[1].charger_id).as_str(), "cp-1");
}

#[test]
fn sqlite_sessions_that_were_open_at_the_upgrade_are_superseded() {
    let database = SqliteDatabase::new();
    let connection = rusqlite::Connection::open(database.path()).unwrap();
    connection
        .execute_batch(include_str!("../../migrations/sqlite/0001_initial.sql"))
        .unwrap();
    let (.., view) = open_session();
    for sql in rows(&format!("x'{}'", view.key.simple())) {
        connection.execute(&sql, []).unwrap();
    }
    connection
        .pragma_update(None, "application_id", 0x5741_5454)
        .unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    drop(connection);
    check(&database.open());
}

#[test]
fn postgres_sessions_that_were_open_at_the_upgrade_are_superseded() {
    let database = PostgresDatabase::bare();
    database.execute(include_str!("../../migrations/postgres/0001_initial.sql"));
    let (.., view) = open_session();
    for sql in rows(&format!("'{}'", view.key)) {
        let with_rev = sql
            .replace("wire_id, state)", "wire_id, state, rev)")
            .replace("}')", "}', 0)");
        database.execute(&with_rev);
    }
    database.execute("INSERT INTO wattpost_schema VALUES (1)");
    let migrated = PostgresStore::migrate(&database.url()).unwrap();
    assert_eq!(migrated.from, 1);
    let store = database.open();
    // Maintenance lists the session again.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let waiting = || database.query("SELECT count(*)::text AS value FROM transactions_to_list");
    while waiting() != ["0"] {
        assert!(std::time::Instant::now() < deadline, "still not listed");
        store.maintain(at(30)).unwrap();
    }
    check(&store);
}

/// A session that reads a table for long, as `pg_dump` does, delays a migration, and the migration delays nobody else.
#[test]
fn a_migration_that_waits_for_a_reader_names_it_and_lets_others_through() {
    let database = PostgresDatabase::bare();
    database.execute(include_str!("../../migrations/postgres/0001_initial.sql"));
    database.execute("INSERT INTO wattpost_schema VALUES (1)");
    let wait = |seconds| MigrationWait {
        total: Duration::from_secs(seconds),
        lock: Duration::from_secs(1),
    };
    let lines = Mutex::new(Vec::new());
    let progress = |line: &str| lines.lock().unwrap().push(line.to_owned());
    let dump = "SET application_name = 'a dump';
        LOCK TABLE chargers, transactions, wattpost_schema IN ACCESS SHARE MODE";
    let url = database.url();
    let migrate = |seconds, progress: &(dyn Fn(&str) + Sync)| {
        PostgresStore::migrate_waiting(&url, wait(seconds), progress)
    };
    let migrated = std::thread::scope(|scope| {
        let mut migrating = None;
        database.hold(dump, || {
            let refused = scope.spawn(|| migrate(0, &|_: &str| {}));
            let refused = refused.join().unwrap().unwrap_err().to_string();
            assert!(refused.contains(r#""a dump""#), "{refused}");
            assert!(refused.contains("LOCK TABLE chargers"), "{refused}");
            assert!(refused.contains("--wait"), "{refused}");
            migrating = Some(scope.spawn(|| migrate(120, &progress)));
            let deadline = Instant::now() + Duration::from_secs(60);
            while lines.lock().unwrap().len() < 2 {
                assert!(Instant::now() < deadline, "it does not wait");
                std::thread::sleep(Duration::from_millis(5));
            }
            // Each attempt holds others back for a second at most. Without a limit these would wait until the dump ends.
            let reading = scope.spawn(|| {
                let began = Instant::now();
                for _ in 0..5 {
                    database.query("SELECT count(*)::text AS value FROM transactions");
                    database.query("SELECT version::text AS value FROM wattpost_schema");
                }
                began.elapsed()
            });
            let took = reading.join().unwrap();
            assert!(took < Duration::from_secs(20), "{took:?}");
        });
        migrating.unwrap().join().unwrap()
    });
    let migrated = migrated.unwrap();
    assert_eq!((migrated.from, migrated.to), (1, store::SCHEMA_VERSION));
    let lines = lines.into_inner().unwrap();
    assert!(lines[0].contains(r#""a dump""#), "{lines:?}");
    assert!(lines[1].contains("the attempt is undone"), "{lines:?}");
}

/// The dumps that `scripts/fixtures.sh` has made of PostgreSQL with each release.
#[test]
fn postgres_dump_of_each_release_is_migrated_with_all_its_rows() {
    let formats = concat!(env!("CARGO_MANIFEST_DIR"), "/../wattpost/tests/formats");
    let mut releases = 0;
    for release in std::fs::read_dir(formats).unwrap() {
        let release = release.unwrap().path();
        let lines = |name: &str| {
            let rows = shell("gzip -dc \"$1\"", &[release.join(name).to_str().unwrap()]);
            rows.lines().count()
        };
        let database = PostgresDatabase::bare();
        let dump = release.join("postgres.sql.gz");
        shell(
            "gzip -dc \"$1\" | psql --quiet --output=/dev/null --set=ON_ERROR_STOP=1 \"$2\"",
            &[dump.to_str().unwrap(), &database.url()],
        );
        let migrated = PostgresStore::migrate(&database.url()).unwrap();
        assert!(migrated.from >= 21 && migrated.to == store::SCHEMA_VERSION);
        let store = database.open();
        store.maintain(at(30)).unwrap();
        let records = store.contents().unwrap().records;
        assert_eq!(records.len(), lines("messages.ndjson.gz"));
        let sessions = views(&store);
        assert_eq!(sessions.len(), lines("transactions.ndjson.gz"));
        assert!(sessions.iter().all(|session| session.energy_wh.is_some()));
        releases += 1;
    }
    assert!(releases > 0);
}

fn shell(script: &str, arguments: &[&str]) -> String {
    let mut command = std::process::Command::new("sh");
    command.args(["-c", script, "sh"]).args(arguments);
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && error.is_empty(), "{error}");
    String::from_utf8(output.stdout).unwrap()
}
