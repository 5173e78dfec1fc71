//! The database away in every way: it says which, loses nothing, and is found again by itself.

use crate::common::{Adapter, Home, Said, apply, heartbeat};
use central::ports::{Maintenance, Store, UnavailableKind};
use central::query::QueryStore;
use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom, Write};
use store::{SqliteOpenError, SqliteOptions, SqliteStore};

fn refusal(store: &dyn Store, said: &[Said]) -> UnavailableKind {
    let away = apply(store, said).unwrap_err();
    assert_eq!(away.component, "database");
    assert!(!away.detail.is_empty());
    away.kind
}

#[test]
fn locked_by_somebody_else_and_let_go() {
    let home = Home::new();
    let store = home.open();
    apply(&store, &[heartbeat(1, "CP-1")]).unwrap();
    let other_connection = home.other_connection();
    other_connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    let news = [heartbeat(2, "CP-1"), heartbeat(3, "CP-2")];
    for _ in 0..3 {
        assert_eq!(refusal(&store, &news), UnavailableKind::Locked);
    }
    // Reading goes on meanwhile.
    assert!(store.charger("CP-1").unwrap().is_some());
    other_connection.execute_batch("ROLLBACK").unwrap();
    assert_eq!(apply(&store, &news).unwrap().new, 2);
    assert_eq!(store.contents().unwrap().records.len(), 3);
}

#[test]
fn locked_at_the_start_is_no_reason_not_to_start() {
    let home = Home::new();
    drop(home.open());
    let other_connection = home.other_connection();
    other_connection.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let store = home.open();
    assert_eq!(
        refusal(&store, &[heartbeat(1, "CP-1")]),
        UnavailableKind::Locked
    );
    other_connection.execute_batch("COMMIT").unwrap();
    assert_eq!(apply(&store, &[heartbeat(1, "CP-1")]).unwrap().new, 1);
}

#[test]
fn full_and_space_again() {
    let home = Home::new();
    drop(home.open());
    let size = std::fs::metadata(home.path()).unwrap().len();
    let small = home.open_with(SqliteOptions {
        max_bytes: Some(size + 64 * 1024),
        ..SqliteOptions::default()
    });
    let mut applied = 0;
    let refused = (1..).find(|batch| {
        let said = a_batch(*batch);
        match apply(&small, &said) {
            Ok(_) => {
                applied += said.len();
                false
            }
            Err(away) => {
                assert_eq!(away.kind, UnavailableKind::Full);
                true
            }
        }
    });
    let refused = a_batch(refused.unwrap());
    assert_eq!(refusal(&small, &refused), UnavailableKind::Full);
    // What was taken is whole, and nothing of the refused batch is visible.
    assert_eq!(small.contents().unwrap().records.len(), applied);
    drop(small);
    let large = home.open();
    assert_eq!(apply(&large, &refused).unwrap().new, refused.len() as u64);
    assert_eq!(
        large.contents().unwrap().records.len(),
        applied + refused.len()
    );
}

fn a_batch(number: u64) -> Vec<Said> {
    (0..20)
        .map(|n| heartbeat(number * 20 + n, &format!("CP-{n}")))
        .collect()
}

#[test]
fn damaged_and_restored_from_a_copy() {
    let home = Home::new();
    let store = home.open();
    apply(&store, &[heartbeat(1, "CP-1")]).unwrap();
    drop(store);
    let whole = std::fs::read(home.path()).unwrap();
    let mut damaged = whole.clone();
    damaged[..16].copy_from_slice(b"not a database!!");
    std::fs::write(home.path(), &damaged).unwrap();
    let store = home.open();
    assert_eq!(
        refusal(&store, &[heartbeat(2, "CP-1")]),
        UnavailableKind::Corrupt
    );
    assert_eq!(store.ping().unwrap_err().kind, UnavailableKind::Corrupt);
    std::fs::write(home.path(), &whole).unwrap();
    assert_eq!(apply(&store, &[heartbeat(2, "CP-1")]).unwrap().new, 1);
    assert_eq!(store.contents().unwrap().records.len(), 2);
}

#[test]
fn damaged_inside() {
    let home = Home::new();
    let store = home.open();
    for batch in 1..50 {
        apply(&store, &a_batch(batch)).unwrap();
    }
    drop(store);
    let whole = std::fs::read(home.path()).unwrap();
    let mut damaged = whole.clone();
    // The header of every page but the first, which says what kind of page it is.
    for page in damaged.chunks_mut(8_192).skip(1) {
        page[..8].fill(0xa5);
    }
    std::fs::write(home.path(), &damaged).unwrap();
    let store = home.open();
    assert_eq!(refusal(&store, &a_batch(60)), UnavailableKind::Corrupt);
    std::fs::write(home.path(), &whole).unwrap();
    assert_eq!(apply(&store, &a_batch(60)).unwrap().new, 20);
}

/// SQLite writes no database whose header asks for a newer way of writing: read-only for everybody,
/// also for root.
fn set_write_version(home: &Home, version: u8) {
    let mut file = OpenOptions::new().write(true).open(home.path()).unwrap();
    file.seek(SeekFrom::Start(18)).unwrap();
    file.write_all(&[version]).unwrap();
}

#[test]
fn read_only_and_writable_again() {
    let home = Home::new();
    let store = home.open();
    apply(&store, &[heartbeat(1, "CP-1")]).unwrap();
    drop(store);
    set_write_version(&home, 3);
    let store = home.open();
    let news = [heartbeat(2, "CP-1")];
    assert_eq!(refusal(&store, &news), UnavailableKind::ReadOnly);
    assert_eq!(store.ping().unwrap_err().kind, UnavailableKind::ReadOnly);
    assert!(store.charger("cp-1").unwrap().is_some());
    set_write_version(&home, 2);
    assert_eq!(apply(&store, &news).unwrap().new, 1);
}

#[test]
fn a_file_that_goes_away_is_missed_and_one_that_comes_back_is_used() {
    let home = Home::new();
    let store = home.open();
    apply(&store, &[heartbeat(1, "CP-1")]).unwrap();
    let aside = home.directory.path().join("aside");
    std::fs::create_dir(&aside).unwrap();
    let names = ["wattpost.db", "wattpost.db-wal", "wattpost.db-shm"];
    for name in names {
        std::fs::rename(home.directory.path().join(name), aside.join(name)).unwrap();
    }
    let news = [heartbeat(2, "CP-1")];
    let away = apply(&store, &news).unwrap_err();
    assert_eq!(away.kind, UnavailableKind::Unreachable);
    assert!(away.detail.contains("missing"), "{away}");
    for name in names {
        std::fs::rename(aside.join(name), home.directory.path().join(name)).unwrap();
    }
    assert_eq!(apply(&store, &news).unwrap().new, 1);
    assert_eq!(store.contents().unwrap().records.len(), 2);
}

#[test]
fn a_file_put_in_the_place_of_another_is_the_one_that_is_used() {
    let home = Home::new();
    let store = home.open();
    apply(&store, &[heartbeat(1, "CP-1")]).unwrap();
    let other_home = Home::new();
    drop(other_home.open());
    for name in ["wattpost.db-wal", "wattpost.db-shm", "wattpost.db"] {
        std::fs::remove_file(home.directory.path().join(name)).unwrap();
    }
    std::fs::copy(other_home.path(), home.path()).unwrap();
    apply(&store, &[heartbeat(2, "CP-1")]).unwrap();
    drop(store);
    let ids: Vec<u64> = home
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
fn what_a_killed_program_left_in_the_log_is_durable_before_anything_is_told() {
    let home = Home::new();
    let store = home.open();
    apply(&store, &[heartbeat(1, "CP-1")]).unwrap();
    // The files as a kill leaves them: what was applied is in the log only.
    let killed = Home::new();
    for name in ["wattpost.db", "wattpost.db-wal"] {
        let from = home.directory.path().join(name);
        std::fs::copy(from, killed.directory.path().join(name)).unwrap();
    }
    let again = killed.open();
    // All of it is known, so this writes nothing.
    assert_eq!(apply(&again, &[heartbeat(1, "CP-1")]).unwrap().known, 1);
    // The database by itself, as if the log had never reached the disk.
    let survivor = Home::new();
    std::fs::copy(killed.path(), survivor.path()).unwrap();
    assert_eq!(survivor.open().contents().unwrap().records.len(), 1);
}

#[test]
fn a_directory_that_cannot_be_is_said_at_once() {
    let home = Home::new();
    std::fs::write(home.path(), "").unwrap();
    let below = SqliteStore::open(
        home.path().join("below/wattpost.db"),
        SqliteOptions::default(),
    );
    assert!(matches!(below, Err(SqliteOpenError::Path { .. })));
    let itself = SqliteStore::open(home.directory.path(), SqliteOptions::default());
    assert!(matches!(itself, Err(SqliteOpenError::Path { .. })));
}

#[test]
fn a_newer_schema_is_refused() {
    let home = Home::new();
    drop(home.open());
    home.other_connection()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let error = SqliteStore::open(home.path(), SqliteOptions::default()).unwrap_err();
    assert!(
        matches!(
            error,
            SqliteOpenError::Newer {
                found: 99,
                known: 1,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("version 99"));
}

#[test]
fn a_database_of_another_program_is_left_alone() {
    let home = Home::new();
    home.other_connection()
        .execute_batch("CREATE TABLE songs (title TEXT)")
        .unwrap();
    let mut before = Vec::new();
    std::fs::File::open(home.path())
        .unwrap()
        .read_to_end(&mut before)
        .unwrap();
    let error = SqliteStore::open(home.path(), SqliteOptions::default()).unwrap_err();
    assert!(
        matches!(error, SqliteOpenError::OtherProgram { .. }),
        "{error}"
    );
    assert_eq!(std::fs::read(home.path()).unwrap(), before);
}

#[test]
fn the_schema_is_made_once() {
    let home = Home::new();
    let dump = || -> Vec<String> {
        let other_connection = home.other_connection();
        let mut statement = other_connection
            .prepare("SELECT name || coalesce(sql, '') FROM sqlite_schema ORDER BY name")
            .unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    };
    apply(&home.open(), &[heartbeat(1, "CP-1")]).unwrap();
    let first = dump();
    assert!(first.len() > 10);
    assert_eq!(apply(&home.open(), &[heartbeat(2, "CP-1")]).unwrap().new, 1);
    assert_eq!(dump(), first);
}

#[test]
fn two_programs_may_make_the_schema_at_the_same_time() {
    let home = Home::new();
    let options = SqliteOptions {
        lock_wait: std::time::Duration::from_secs(10),
        ..SqliteOptions::default()
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| home.open_with(options.clone()).ping().unwrap());
        }
    });
}
