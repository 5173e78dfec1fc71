//! SQLite: a file in a directory of its own.

use super::Adapter;
use central::memory::Contents;
use std::path::PathBuf;
use std::time::Duration;
use store::{SqliteOptions, SqliteStore};

/// A database file in a directory of its own.
pub(crate) struct SqliteDatabase {
    pub(crate) directory: tempfile::TempDir,
}

impl SqliteDatabase {
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("wattpost.db")
    }

    pub(crate) fn open_with(&self, options: SqliteOptions) -> SqliteStore {
        SqliteStore::open(self.path(), options).unwrap()
    }

    /// A second connection to the same file.
    pub(crate) fn other_connection(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path()).unwrap()
    }
}

impl Adapter for SqliteDatabase {
    type Store = SqliteStore;

    const CASES: u32 = 40;

    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn open(&self) -> SqliteStore {
        self.open_with(SqliteOptions {
            lock_wait: Duration::from_millis(20),
            ..SqliteOptions::default()
        })
    }

    fn contents(store: &SqliteStore) -> Contents {
        store.contents().unwrap()
    }

    fn execute(&self, sql: &str) {
        self.other_connection().execute_batch(sql).unwrap();
    }

    fn query(&self, sql: &str) -> Vec<String> {
        let other_connection = self.other_connection();
        let mut statement = other_connection
            .prepare(&format!("SELECT CAST(value AS TEXT) FROM ({sql})"))
            .unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    }

    fn refuse_poison(&self) {
        self.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON messages WHEN NEW.payload = 'poison'
             BEGIN SELECT RAISE(ABORT, 'not with me'); END",
        );
    }

    fn set_aside(&self) -> Vec<(String, Vec<u8>)> {
        let other_connection = self.other_connection();
        let mut statement = other_connection
            .prepare("SELECT what, CAST(state AS BLOB) FROM set_aside ORDER BY no")
            .unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
        rows.unwrap().map(Result::unwrap).collect()
    }

    fn key(hex: &str) -> String {
        format!("x'{hex}'")
    }

    fn set_state(&self, table: &str, state: &str, condition: &str) {
        self.execute(&format!(
            "UPDATE {table} SET state = '{state}' WHERE {condition}"
        ));
    }
}
