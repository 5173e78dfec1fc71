//! The one connection that writes: opened when it is needed, given up when it fails, so that a
//! database that was away is found again without anybody's help.

use crate::connection;
use crate::numbers::Numbers;
use crate::refusal::Refusal;
use crate::sqlite::Options;
use crate::states::States;
use central::ports::AwayKind;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The writing connection, or the wish for one.
#[derive(Debug)]
pub(crate) struct Writer {
    path: PathBuf,
    options: Options,
    session: Option<Session>,
    /// Whether the file was there before: then its absence is trouble, not a beginning.
    was_there: bool,
}

/// An open connection with what the writer remembers of the rows behind it.
#[derive(Debug)]
struct Session {
    connection: Connection,
    memory: Memory,
    file: FileId,
    log: Log,
}

/// The write-ahead log, which grows for as long as somebody reads in one long transaction.
#[derive(Debug)]
struct Log {
    path: PathBuf,
    alarm_bytes: u64,
    is_long: bool,
}

impl Log {
    /// The alarm is given at this many times the size at which the log should be emptied.
    const ALARM_FACTOR: u64 = 8;

    fn of(database: &Path, log_bytes: u64) -> Self {
        let mut path = database.as_os_str().to_owned();
        path.push("-wal");
        Self {
            path: path.into(),
            alarm_bytes: log_bytes.saturating_mul(Self::ALARM_FACTOR),
            is_long: false,
        }
    }

    fn watch(&mut self) {
        let bytes = std::fs::metadata(&self.path).map_or(0, |log| log.len());
        metrics::gauge!("wattpost_store_log_bytes").set(bytes as f64);
        let is_long = bytes > self.alarm_bytes;
        if is_long && !self.is_long {
            tracing::warn!(
                bytes,
                log = %self.path.display(),
                "the write-ahead log cannot be emptied; some program reads in one long transaction"
            );
        }
        self.is_long = is_long;
    }
}

/// What the writer remembers, so that it need not ask.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) numbers: Numbers,
    pub(crate) states: States,
    /// SQLite's `data_version`: changes when another connection has committed.
    data_version: i64,
}

impl Memory {
    /// Forgets everything: after a rollback, or when somebody else has written.
    pub(crate) fn clear(&mut self) {
        self.numbers.clear();
        self.states.clear();
    }
}

/// Which file a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(path: &Path) -> std::io::Result<Self> {
        let file = std::fs::metadata(path)?;
        Ok(Self {
            device: file.dev(),
            inode: file.ino(),
        })
    }
}

impl Writer {
    /// A writer on `path` that is not connected yet.
    pub(crate) const fn new(path: PathBuf, options: Options) -> Self {
        Self {
            path,
            options,
            session: None,
            was_there: false,
        }
    }

    /// Connects if need be.
    pub(crate) fn connect(&mut self) -> Result<(), Refusal> {
        self.session().map(|_| ())
    }

    /// Gives the connection up; the next use makes a new one.
    pub(crate) fn disconnect(&mut self) {
        self.session = None;
    }

    /// Runs `work` in one transaction that holds the write lock from its start. When `work` or the
    /// commit fails, nothing of it is visible.
    pub(crate) fn transact<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>, &mut Memory) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let session = self.session()?;
        let result = session.transact(work);
        session.log.watch();
        if let Err(refusal) = &result {
            session.memory.clear();
            if !keeps_connection(refusal) {
                // The log and the page cache of a connection that failed are not to be trusted.
                self.session = None;
            }
        }
        result
    }

    fn session(&mut self) -> Result<&mut Session, Refusal> {
        let now = FileId::of(&self.path).ok();
        if self.was_there && now.is_none() {
            self.session = None;
            return Err(Refusal::away(
                AwayKind::Unreachable,
                format!(
                    "{} is gone; put it back, or restart to begin a new one",
                    self.path.display()
                ),
            ));
        }
        // Somebody put another file in its place: what went to the old one would be lost.
        let moved = |session: &mut Session| Some(session.file) != now;
        if self.session.as_mut().is_some_and(moved) {
            tracing::warn!(path = %self.path.display(), "the database file was replaced; opening it anew");
            self.session = None;
        }
        match &mut self.session {
            Some(session) => Ok(session),
            slot @ None => {
                let connection = connection::writer(&self.path, &self.options)
                    .map_err(|refusal| name_read_only(refusal, &self.path))?;
                let file = FileId::of(&self.path)
                    .map_err(|error| Refusal::away(AwayKind::Unreachable, error.to_string()))?;
                self.was_there = true;
                Ok(slot.insert(Session {
                    connection,
                    memory: Memory::default(),
                    file,
                    log: Log::of(&self.path, self.options.log_bytes),
                }))
            }
        }
    }
}

impl Session {
    fn transact<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>, &mut Memory) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let transaction =
            Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        // SQLite begins even where it may not write, and only then refuses each change.
        if transaction.is_readonly(rusqlite::MAIN_DB)? {
            return Err(Refusal::away(
                AwayKind::ReadOnly,
                "the file cannot be written",
            ));
        }
        let version: i64 = transaction
            .prepare_cached("PRAGMA data_version")?
            .query_row([], |row| row.get(0))?;
        if version != self.memory.data_version {
            self.memory.clear();
            self.memory.data_version = version;
        }
        let done = work(&transaction, &mut self.memory)?;
        transaction.commit()?;
        Ok(done)
    }
}

/// SQLite says only "cannot open" of a file that is there but may not be written.
fn name_read_only(refusal: Refusal, path: &Path) -> Refusal {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    match refusal {
        Refusal::Away(away) if away.kind == AwayKind::Unreachable => {
            match std::fs::OpenOptions::new().append(true).open(path) {
                Err(error) if matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem) => {
                    Refusal::away(AwayKind::ReadOnly, error.to_string())
                }
                _ => Refusal::Away(away),
            }
        }
        refusal => refusal,
    }
}

/// Whether a connection is as good after this refusal as before.
fn keeps_connection(refusal: &Refusal) -> bool {
    match refusal {
        Refusal::Poison(_) => true,
        Refusal::Away(away) => away.kind == AwayKind::Locked,
        Refusal::Newer { .. } | Refusal::Foreign => false,
    }
}
