//! The SQLite implementation of the store's ports.

mod alerts;
mod api_keys;
mod apply;
mod audit;
mod batches;
mod blocks;
mod charger_settings;
mod closings;
mod commands;
mod connection;
mod contents;
mod dead_letters;
mod directory;
mod disconnects;
mod effects;
mod error;
mod event_log;
mod events;
mod file_copy;
mod halving;
mod handshakes;
mod idempotency;
mod listing;
mod local_lists;
mod locks;
mod maintenance;
mod messages;
mod meter_values;
mod numbers;
mod processes;
mod query;
mod quirks;
mod readers;
mod retention;
mod rotations;
mod schema;
mod sites;
mod states;
mod succession;
mod tokens;
mod transfer;
mod unknown_tokens;
mod users;
mod webhooks;
mod writer;

use self::readers::Readers;
use self::writer::{Cache, Writer};
use crate::refusal::Refusal;
use crate::retention::{Retention, RoundClock};
use central::ports::{Unavailable, UnavailableKind};
pub use error::SqliteOpenError;
pub use file_copy::{check_sqlite, copy_sqlite};
use rusqlite::Transaction;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use uuid::Uuid;

/// Options of the SQLite store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteOptions {
    /// How long a write waits for another process's lock before it is refused as locked. Default 1 s.
    pub lock_wait: Duration,
    /// Size in bytes at which the write-ahead log is checkpointed. A page that every batch changes is written to
    /// the database once per checkpoint. Default 32 MiB.
    pub log_bytes: u64,
    /// Maximum size of the database in bytes; `None` = no limit but the disk. Default `None`.
    pub bytes_max: Option<u64>,
    /// Read-only: nothing is created or changed, and writes are refused. Default `false`.
    pub read_only: bool,
    /// How long rows are kept. Default: without a limit.
    pub retention: Retention,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            lock_wait: Duration::from_secs(1),
            log_bytes: 32 * 1024 * 1024,
            bytes_max: None,
            read_only: false,
            retention: Retention::default(),
        }
    }
}

/// The store on SQLite.
///
/// Made with [`SqliteStore::open`], shared behind an `Arc`. Its functions are those of the ports. It writes
/// ([`central::ports::Store`], [`central::ports::ChargerAdmin`]) one call at a time; it reads
/// ([`central::query::QueryStore`], [`central::ports::DirectorySource`]) at the same time as it writes and also
/// when another process writes.
#[derive(Debug)]
pub struct SqliteStore {
    pub(crate) readers: Readers,
    writer: Mutex<Writer>,
    path: PathBuf,
    read_only: bool,
    retention: Retention,
    round_clock: RoundClock,
    /// The key up to which rows of `event_sessions` were looked at.
    sessions_checked: Mutex<Uuid>,
}

/// The version of the schema that this build needs, the same on SQLite and PostgreSQL.
pub const SCHEMA_VERSION: u32 = schema::LATEST;

impl SqliteStore {
    /// Opens the database at `path`, creates it if it does not exist, and migrates its schema.
    ///
    /// An unavailable database (locked, damaged, read-only, …) is not an error here, because chargers are served
    /// without it. Until it is back, every call returns the cause.
    ///
    /// # Errors
    /// When waiting cannot help; see [`SqliteOpenError`].
    pub fn open(path: impl AsRef<Path>, options: SqliteOptions) -> Result<Self, SqliteOpenError> {
        let path = path.as_ref().to_owned();
        let wrong_path = |reason: String| SqliteOpenError::Path {
            path: path.clone(),
            reason,
        };
        if path.is_dir() {
            return Err(wrong_path("it is a directory".to_owned()));
        }
        let (read_only, retention) = (options.read_only, options.retention);
        if let Some(directory) = path.parent().filter(|_| !read_only) {
            std::fs::create_dir_all(directory).map_err(|error| wrong_path(error.to_string()))?;
        }
        let store = Self {
            readers: Readers::new(path.clone()),
            writer: Mutex::new(Writer::new(path.clone(), options)),
            path: path.clone(),
            read_only,
            retention,
            round_clock: RoundClock::start(),
            sessions_checked: Mutex::default(),
        };
        match store.connect() {
            Ok(()) => {}
            Err(Refusal::Newer { found, known }) => {
                return Err(SqliteOpenError::Newer { path, found, known });
            }
            Err(Refusal::OtherProgram) => return Err(SqliteOpenError::OtherProgram { path }),
            Err(refusal) => {
                let error = refusal.into_unavailable();
                tracing::warn!(%error, path = %path.display(), "continuing without the database until it is available");
            }
        }
        Ok(store)
    }

    /// The database file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` in one writing transaction.
    pub(crate) fn transact<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>, &mut Cache) -> Result<T, Refusal>,
    ) -> Result<T, Unavailable> {
        self.with_writer(|writer| writer.transact(work))
            .map_err(Refusal::into_unavailable)
    }

    fn connect(&self) -> Result<(), Refusal> {
        if self.read_only {
            return self.readers.read(|_| Ok(()));
        }
        self.with_writer(Writer::connect)
    }

    fn with_writer<T>(
        &self,
        work: impl FnOnce(&mut Writer) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        if self.read_only {
            let detail = "it was opened read-only";
            return Err(Refusal::unavailable(UnavailableKind::ReadOnly, detail));
        }
        // After a panic the transaction was rolled back on drop, but the writer's cache may be ahead of the
        // database: reconnect.
        let mut writer = self.writer.lock().unwrap_or_else(|poisoned| {
            let mut writer = PoisonError::into_inner(poisoned);
            writer.disconnect();
            self.writer.clear_poison();
            writer
        });
        work(&mut writer).map_err(|refusal| locks::name_holder(refusal, &self.path))
    }
}
