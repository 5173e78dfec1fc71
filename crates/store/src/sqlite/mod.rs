//! The SQLite implementation of the store's ports.

mod apply;
mod blocks;
mod connection;
pub(crate) mod contents;
mod dead_letters;
mod directory;
pub(crate) mod listing;
mod maintenance;
mod numbers;
mod query;
mod readers;
pub(crate) mod schema;
pub(crate) mod states;
mod writer;

use self::readers::Readers;
use self::writer::{Memory, Writer};
use crate::refusal::Refusal;
use central::ports::{Applied, DeadLetter, Store, Unavailable, UnavailableKind};
use central::project::Changes;
use central::{Record, RecordId};
use rusqlite::Transaction;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Options of the SQLite store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteOptions {
    /// How long a write waits for another process's lock before it is refused as locked. Default 1 s.
    pub lock_wait: Duration,
    /// Size in bytes at which the write-ahead log is checkpointed. A page that every batch changes is written to
    /// the database once per checkpoint. Default 32 MiB.
    pub log_bytes: u64,
    /// Maximum size of the database in bytes; `None` = no limit but the disk. Default `None`.
    pub max_bytes: Option<u64>,
    /// Read-only: nothing is created or changed, and writes are refused. Default `false`.
    pub read_only: bool,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            lock_wait: Duration::from_secs(1),
            log_bytes: 32 * 1024 * 1024,
            max_bytes: None,
            read_only: false,
        }
    }
}

/// Why a database cannot be used, however long one waits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Written by a newer program.
    #[error(
        "{path} has schema version {found}, and this program knows up to {known}; use the newer program"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The schema's version.
        found: u32,
        /// The newest version that this build knows.
        known: u32,
    },
    /// A database of another program.
    #[error("{path} is a database, but not one of Wattpost's; choose another file")]
    OtherProgram {
        /// The file.
        path: PathBuf,
    },
    /// The directory is missing and cannot be created, or the path is not a file.
    #[error("cannot keep a database at {path}: {reason}")]
    Path {
        /// The file.
        path: PathBuf,
        /// The operating system's message.
        reason: String,
    },
}

/// The store on SQLite.
///
/// Made with [`SqliteStore::open`], shared behind an `Arc`. Its functions are those of the ports. It writes
/// ([`central::ports::Store`], [`central::ports::DirectoryAdmin`]) one call at a time; it reads
/// ([`central::query::QueryStore`], [`central::ports::DirectorySource`]) at the same time as it writes and also
/// when another process writes.
#[derive(Debug)]
pub struct SqliteStore {
    pub(crate) readers: Readers,
    writer: Mutex<Writer>,
    path: PathBuf,
    read_only: bool,
}

impl SqliteStore {
    /// Opens the database at `path`, creates it if it does not exist, and migrates its schema.
    ///
    /// An unavailable database (locked, damaged, read-only, …) is not an error here, because chargers are served
    /// without it. Until it is back, every call returns the cause.
    ///
    /// # Errors
    /// When waiting cannot help; see [`OpenError`].
    pub fn open(path: impl AsRef<Path>, options: SqliteOptions) -> Result<Self, OpenError> {
        let path = path.as_ref().to_owned();
        let no_place = |reason: String| OpenError::Path {
            path: path.clone(),
            reason,
        };
        if path.is_dir() {
            return Err(no_place("it is a directory".to_owned()));
        }
        let read_only = options.read_only;
        if let Some(directory) = path.parent().filter(|_| !read_only) {
            std::fs::create_dir_all(directory).map_err(|error| no_place(error.to_string()))?;
        }
        let store = Self {
            readers: Readers::new(path.clone()),
            writer: Mutex::new(Writer::new(path.clone(), options)),
            path: path.clone(),
            read_only,
        };
        match store.connect() {
            Ok(()) => {}
            Err(Refusal::Newer { found }) => {
                let known = self::schema::LATEST;
                return Err(OpenError::Newer { path, found, known });
            }
            Err(Refusal::OtherProgram) => return Err(OpenError::OtherProgram { path }),
            Err(refusal) => {
                let away = refusal.into_away();
                tracing::warn!(%away, path = %path.display(), "going on without the database for now");
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
        work: impl FnOnce(&Transaction<'_>, &mut Memory) -> Result<T, Refusal>,
    ) -> Result<T, Unavailable> {
        self.with_writer(|writer| writer.transact(work))
            .map_err(Refusal::into_away)
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
            let detail = "it was opened for reading only";
            return Err(Refusal::away(UnavailableKind::ReadOnly, detail));
        }
        // After a panic the transaction was rolled back on drop, but the writer's cache may be ahead of the
        // database: reconnect.
        let mut writer = self.writer.lock().unwrap_or_else(|poisoned| {
            let mut writer = PoisonError::into_inner(poisoned);
            writer.disconnect();
            self.writer.clear_poison();
            writer
        });
        work(&mut writer)
    }
}

impl Store for SqliteStore {
    fn apply(
        &self,
        records: &[(RecordId, Record<'_>)],
        changes: &Changes,
        dead: &[DeadLetter],
    ) -> Result<Applied, Unavailable> {
        self.with_writer(|writer| apply::apply(writer, records, changes, dead))
            .map_err(Refusal::into_away)
    }
}
