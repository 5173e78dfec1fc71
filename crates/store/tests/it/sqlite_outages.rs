//! SQLite that is unavailable: the error names the kind, nothing is lost, and the store recovers by itself.

use crate::common::{Adapter, Sent, SqliteDatabase, apply, heartbeat};
use central::ports::{Maintenance, Store, UnavailableKind};
use central::query::QueryStore;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::process::{Command, Stdio};
use store::{SqliteOpenError, SqliteOptions, SqliteStore};

fn refusal(store: &dyn Store, sent: &[Sent]) -> UnavailableKind {
    let error = apply(store, sent).unwrap_err();
    assert_eq!(error.component, "database");
    assert!(!error.detail.is_empty());
    error.kind
}

#[test]
fn locked_by_another_connection_and_released() {
    let database = SqliteDatabase::new();
    let store = database.open();
    apply(&store, &[heartbeat(1, "CP-1")]).unwrap();
    let other_connection = database.other_connection();
    other_connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    let next = [heartbeat(2, "CP-1"), heartbeat(3, "CP-2")];
    for _ in 0..3 {
        assert_eq!(refusal(&store, &next), UnavailableKind::Locked);
    }
    // Reading continues meanwhile.
    assert!(store.charger("CP-1").unwrap().is_some());
    other_connection.execute_batch("ROLLBACK").unwrap();
    assert_eq!(apply(&store, &next).unwrap().new, 2);
    assert_eq!(store.contents().unwrap().records.len(), 3);
}

/// The file that [`plays_a_process_that_locks_a_database_if_told_so`] locks.
const LOCKS: &str = "WATTPOST_TEST_LOCKS";

/// Not a test of its own: the next one starts it in another process, which keeps the database locked until it is killed.
#[test]
fn plays_a_process_that_locks_a_database_if_told_so() {
    let Some(path) = std::env::var_os(LOCKS) else {
        return;
    };
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    println!("it is locked");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// A shell of sqlite3 with an open transaction, a tool that copies the file: another process, which can be killed.
#[test]
fn locked_by_another_process_that_the_error_names_and_released_by_its_end() {
    let database = SqliteDatabase::new();
    let store = database.open_with(SqliteOptions {
        lock_wait: std::time::Duration::from_millis(50),
        ..SqliteOptions::default()
    });
    apply(&store, &[heartbeat(1, "CP-1")]).unwrap();
    let mut other_process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("sqlite_outages::plays_a_process_that_locks_a_database_if_told_so")
        .env(LOCKS, database.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(other_process.stdout.take().unwrap()).lines();
    let is_locked = said.any(|line| line.unwrap().contains("it is locked"));
    assert!(is_locked);
    let next = [heartbeat(2, "CP-1")];
    let error = apply(&store, &next).unwrap_err();
    assert_eq!(error.kind, UnavailableKind::Locked);
    let process = format!("process {} (", other_process.id());
    assert!(error.detail.starts_with(&process), "{error}");
    let file = database.path().display().to_string();
    assert!(error.detail.contains(&file), "{error}");
    assert!(store.charger("CP-1").unwrap().is_some(), "reading goes on");
    other_process.kill().unwrap();
    other_process.wait().unwrap();
    assert_eq!(apply(&store, &next).unwrap().new, 1);
    assert_eq!(store.contents().unwrap().records.len(), 2);
}

#[test]
fn store_opens_while_the_database_is_locked() {
    let database = SqliteDatabase::new();
    drop(database.open());
    let other_connection = database.other_connection();
    other_connection.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let store = database.open();
    assert_eq!(
        refusal(&store, &[heartbeat(1, "CP-1")]),
        UnavailableKind::Locked
    );
    other_connection.execute_batch("COMMIT").unwrap();
    assert_eq!(apply(&store, &[heartbeat(1, "CP-1")]).unwrap().new, 1);
}

#[test]
fn full_and_space_returns() {
    let database = SqliteDatabase::new();
    drop(database.open());
    let size = std::fs::metadata(database.path()).unwrap().len();
    let small = database.open_with(SqliteOptions {
        bytes_max: Some(size + 64 * 1024),
        ..SqliteOptions::default()
    });
    let mut applied = 0;
    let refused = (1..).find(|batch| {
        let sent = a_batch(*batch);
        match apply(&small, &sent) {
            Ok(_) => {
                applied += sent.len();
                false
            }
            Err(error) => {
                assert_eq!(error.kind, UnavailableKind::Full);
                true
            }
        }
    });
    let refused = a_batch(refused.unwrap());
    assert_eq!(refusal(&small, &refused), UnavailableKind::Full);
    // The stored batches are whole, and nothing of the refused batch is visible.
    assert_eq!(small.contents().unwrap().records.len(), applied);
    drop(small);
    let large = database.open();
    assert_eq!(apply(&large, &refused).unwrap().new, refused.len() as u64);
    assert_eq!(
        large.contents().unwrap().records.len(),
        applied + refused.len()
    );
}

fn a_batch(number: u64) -> Vec<Sent> {
    (0..20)
        .map(|n| heartbeat(number * 20 + n, &format!("CP-{n}")))
        .collect()
}

#[test]
fn damaged_and_restored_from_a_copy() {
    let database = SqliteDatabase::new();
    let store = database.open();
    apply(&store, &[heartbeat(1, "CP-1")]).unwrap();
    drop(store);
    let whole = std::fs::read(database.path()).unwrap();
    let mut damaged = whole.clone();
    damaged[..16].copy_from_slice(b"not a database!!");
    std::fs::write(database.path(), &damaged).unwrap();
    let store = database.open();
    assert_eq!(
        refusal(&store, &[heartbeat(2, "CP-1")]),
        UnavailableKind::Corrupt
    );
    assert_eq!(store.ping().unwrap_err().kind, UnavailableKind::Corrupt);
    std::fs::write(database.path(), &whole).unwrap();
    assert_eq!(apply(&store, &[heartbeat(2, "CP-1")]).unwrap().new, 1);
    assert_eq!(store.contents().unwrap().records.len(), 2);
}

#[test]
fn damaged_pages_are_reported_as_corrupt() {
    let database = SqliteDatabase::new();
    let store = database.open();
    for batch in 1..50 {
        apply(&store, &a_batch(batch)).unwrap();
    }
    drop(store);
    let whole = std::fs::read(database.path()).unwrap();
    let mut damaged = whole.clone();
    // The header of every page but the first.
    for page in damaged.chunks_mut(8_192).skip(1) {
        page[..8].fill(0xa5);
    }
    std::fs::write(database.path(), &damaged).unwrap();
    let store = database.open();
    assert_eq!(refusal(&store, &a_batch(60)), UnavailableKind::Corrupt);
    std::fs::write(database.path(), &whole).unwrap();
    assert_eq!(apply(&store, &a_batch(60)).unwrap().new, 20);
}

/// SQLite does not write a database whose header has a greater write version: read-only for every user, also root.
fn set_write_version(database: &SqliteDatabase, version: u8) {
    let mut file = OpenOptions::new()
        .write(true)
        .open(database.path())
        .unwrap();
    file.seek(SeekFrom::Start(18)).unwrap();
    file.write_all(&[version]).unwrap();
}

#[test]
fn read_only_and_writable_again() {
    let database = SqliteDatabase::new();
    let store = database.open();
    apply(&store, &[heartbeat(1, "CP-1")]).unwrap();
    drop(store);
    set_write_version(&database, 3);
    let store = database.open();
    let next = [heartbeat(2, "CP-1")];
    assert_eq!(refusal(&store, &next), UnavailableKind::ReadOnly);
    assert_eq!(store.ping().unwrap_err().kind, UnavailableKind::ReadOnly);
    assert!(store.charger("cp-1").unwrap().is_some());
    set_write_version(&database, 2);
    assert_eq!(apply(&store, &next).unwrap().new, 1);
}

#[test]
fn missing_file_is_an_error_and_a_restored_one_is_used() {
    let database = SqliteDatabase::new();
    let store = database.open();
    apply(&store, &[heartbeat(1, "CP-1")]).unwrap();
    let aside = database.directory.path().join("aside");
    std::fs::create_dir(&aside).unwrap();
    let names = ["wattpost.db", "wattpost.db-wal", "wattpost.db-shm"];
    for name in names {
        std::fs::rename(database.directory.path().join(name), aside.join(name)).unwrap();
    }
    let next = [heartbeat(2, "CP-1")];
    let error = apply(&store, &next).unwrap_err();
    assert_eq!(error.kind, UnavailableKind::Unreachable);
    assert!(error.detail.contains("missing"), "{error}");
    for name in names {
        std::fs::rename(aside.join(name), database.directory.path().join(name)).unwrap();
    }
    assert_eq!(apply(&store, &next).unwrap().new, 1);
    assert_eq!(store.contents().unwrap().records.len(), 2);
}

#[test]
fn file_that_replaces_another_is_used() {
    let database = SqliteDatabase::new();
    let store = database.open();
    apply(&store, &[heartbeat(1, "CP-1")]).unwrap();
    let other_database = SqliteDatabase::new();
    drop(other_database.open());
    for name in ["wattpost.db-wal", "wattpost.db-shm", "wattpost.db"] {
        std::fs::remove_file(database.directory.path().join(name)).unwrap();
    }
    std::fs::copy(other_database.path(), database.path()).unwrap();
    apply(&store, &[heartbeat(2, "CP-1")]).unwrap();
    drop(store);
    let ids: Vec<u64> = database
        .open()
        .contents()
        .unwrap()
        .records
        .keys()
        .map(|id| id.seq.0)
        .collect();
    assert_eq!(ids, [2]);
}

#[test]
fn log_of_a_killed_process_is_synced_before_records_count_as_known() {
    let database = SqliteDatabase::new();
    let store = database.open();
    apply(&store, &[heartbeat(1, "CP-1")]).unwrap();
    // The files as a kill leaves them: the applied records are in the log only.
    let killed = SqliteDatabase::new();
    for name in ["wattpost.db", "wattpost.db-wal"] {
        let from = database.directory.path().join(name);
        std::fs::copy(from, killed.directory.path().join(name)).unwrap();
    }
    let again = killed.open();
    // All of it is known, so this writes nothing.
    assert_eq!(apply(&again, &[heartbeat(1, "CP-1")]).unwrap().known, 1);
    // The database without its log, as if the log had never reached the disk.
    let survivor = SqliteDatabase::new();
    std::fs::copy(killed.path(), survivor.path()).unwrap();
    assert_eq!(survivor.open().contents().unwrap().records.len(), 1);
}

#[test]
fn unusable_path_is_an_error_at_once() {
    let database = SqliteDatabase::new();
    std::fs::write(database.path(), "").unwrap();
    let below = SqliteStore::open(
        database.path().join("below/wattpost.db"),
        SqliteOptions::default(),
    );
    assert!(matches!(below, Err(SqliteOpenError::Path { .. })));
    let itself = SqliteStore::open(database.directory.path(), SqliteOptions::default());
    assert!(matches!(itself, Err(SqliteOpenError::Path { .. })));
}

#[test]
fn newer_schema_is_refused() {
    let database = SqliteDatabase::new();
    drop(database.open());
    database
        .other_connection()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let error = SqliteStore::open(database.path(), SqliteOptions::default()).unwrap_err();
    assert!(
        matches!(
            error,
            SqliteOpenError::Newer {
                found: 99,
                known: 31,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("version 99"));
}

/// A newer program has migrated the database, and has failed or is not started yet: the running one and a restart go on.
#[test]
fn newer_schema_that_is_noted_as_usable_is_used() {
    let database = SqliteDatabase::new();
    let store = database.open();
    apply(&store, &[heartbeat(1, "CP-1")]).unwrap();
    let newer = |usable_from: u32| {
        database.execute(&format!(
            "PRAGMA user_version = 99;
             INSERT OR REPLACE INTO settings (name, value) VALUES ('schema_99_usable_from', {usable_from})"
        ));
    };
    newer(store::SCHEMA_VERSION);
    database
        .execute("ALTER TABLE messages ADD COLUMN later INTEGER; CREATE TABLE later (no INTEGER)");
    apply(&store, &[heartbeat(2, "CP-1")]).unwrap();
    drop(store);
    let store = database.open();
    apply(&store, &[heartbeat(3, "CP-1")]).unwrap();
    assert_eq!(store.contents().unwrap().records.len(), 3);
    assert_eq!(
        database.query("SELECT user_version AS value FROM pragma_user_version"),
        ["99"]
    );
    newer(store::SCHEMA_VERSION + 1);
    // The running process writes nothing that could be incomplete for the newer program.
    for _ in 0..2 {
        let said = apply(&store, &[heartbeat(4, "CP-1")])
            .unwrap_err()
            .to_string();
        assert!(
            said.contains("schema is version 99") && said.contains("use a newer program"),
            "{said}"
        );
    }
    newer(store::SCHEMA_VERSION);
    assert_eq!(apply(&store, &[heartbeat(4, "CP-1")]).unwrap().new, 1);
    drop(store);
    newer(store::SCHEMA_VERSION + 1);
    let error = SqliteStore::open(database.path(), SqliteOptions::default()).unwrap_err();
    assert!(
        matches!(error, SqliteOpenError::Newer { found: 99, .. }),
        "{error}"
    );
}

#[test]
fn database_of_another_program_is_not_changed() {
    let database = SqliteDatabase::new();
    database
        .other_connection()
        .execute_batch("CREATE TABLE songs (title TEXT)")
        .unwrap();
    let mut before = Vec::new();
    std::fs::File::open(database.path())
        .unwrap()
        .read_to_end(&mut before)
        .unwrap();
    let error = SqliteStore::open(database.path(), SqliteOptions::default()).unwrap_err();
    assert!(
        matches!(error, SqliteOpenError::OtherProgram { .. }),
        "{error}"
    );
    assert_eq!(std::fs::read(database.path()).unwrap(), before);
}

#[test]
fn schema_is_created_once() {
    let database = SqliteDatabase::new();
    let dump = || -> Vec<String> {
        let other_connection = database.other_connection();
        let mut statement = other_connection
            .prepare("SELECT name || coalesce(sql, '') FROM sqlite_schema ORDER BY name")
            .unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    };
    apply(&database.open(), &[heartbeat(1, "CP-1")]).unwrap();
    let first = dump();
    assert!(first.len() > 10);
    assert_eq!(
        apply(&database.open(), &[heartbeat(2, "CP-1")])
            .unwrap()
            .new,
        1
    );
    assert_eq!(dump(), first);
}

#[test]
fn several_stores_create_the_schema_at_the_same_time() {
    let database = SqliteDatabase::new();
    let options = SqliteOptions {
        lock_wait: std::time::Duration::from_secs(10),
        ..SqliteOptions::default()
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| database.open_with(options.clone()).ping().unwrap());
        }
    });
}
