//! The one connection that writes: opened when it is needed, given up when it fails, so that a
//! database that was away is found again without anybody's help.

use crate::refusal::Refusal;
use crate::sqlite::SqliteOptions;
use crate::sqlite::connection;
use crate::sqlite::numbers::Numbers;
use crate::sqlite::states::States;
use central::ports::UnavailableKind;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The writing connection, or the wish for one.
#[derive(Debug)]
pub(crate) struct Writer {
    path: PathBuf,
    options: SqliteOptions,
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
        Self {
            path: log_path(database),
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
    pub(crate) const fn new(path: PathBuf, options: SqliteOptions) -> Self {
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
    /// commit fails, nothing of it is visible. After `Ok` it is durable, and so is all that `work` has
    /// read.
    pub(crate) fn transact<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>, &mut Memory) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let session = self.session()?;
        let file = session.file;
        let mut result = session.transact(work);
        session.log.watch();
        // What was committed went to the file that was there when it began; if that is no longer the
        // one that people see, it is as good as not committed.
        if result.is_ok() && FileId::of(&self.path).ok() != Some(file) {
            result = Err(Refusal::away(
                UnavailableKind::Unreachable,
                format!("{} was replaced while it was written", self.path.display()),
            ));
        }
        if let Err(refusal) = &result {
            if let Some(session) = &mut self.session {
                session.memory.clear();
            }
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
                UnavailableKind::Unreachable,
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
                let file = FileId::of(&self.path).map_err(|error| {
                    Refusal::away(UnavailableKind::Unreachable, error.to_string())
                })?;
                self.was_there = true;
                make_durable(&connection, &self.path)?;
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
                UnavailableKind::ReadOnly,
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

/// Makes durable what another writer has left in the log.
///
/// A program that was killed between writing to the log and syncing it leaves records that every
/// later connection sees as committed, though a power cut would still take them. A batch delivered
/// again of which all is known writes nothing, so its commit would sync nothing either, and the journal
/// would forget on the strength of it.
fn make_durable(connection: &Connection, path: &Path) -> Result<(), Refusal> {
    let sync = |path: &Path| -> std::io::Result<()> {
        match std::fs::File::open(path) {
            Ok(file) => file.sync_all(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    };
    // Never the database file itself: to close it would let go of SQLite's locks on it.
    let directory = path.parent().filter(|path| !path.as_os_str().is_empty());
    sync(&log_path(path))
        .and_then(|()| sync(directory.unwrap_or(Path::new("."))))
        .map_err(|error| not_synced(&error))?;
    // Where an earlier sync failed, the next one may say that all is well. What is copied into the
    // database is written once more, and synced.
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
    Ok(())
}

fn not_synced(error: &std::io::Error) -> Refusal {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem, StorageFull};
    let kind = match error.kind() {
        StorageFull => UnavailableKind::Full,
        PermissionDenied | ReadOnlyFilesystem => UnavailableKind::ReadOnly,
        _ => UnavailableKind::Unreachable,
    };
    Refusal::away(kind, format!("the log cannot be synced: {error}"))
}

fn log_path(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push("-wal");
    path.into()
}

/// SQLite says only "cannot open" of a file that is there but may not be written.
fn name_read_only(refusal: Refusal, path: &Path) -> Refusal {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    match refusal {
        Refusal::Unavailable(away) if away.kind == UnavailableKind::Unreachable => {
            match std::fs::OpenOptions::new().append(true).open(path) {
                Err(error) if matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem) => {
                    Refusal::away(UnavailableKind::ReadOnly, error.to_string())
                }
                _ => Refusal::Unavailable(away),
            }
        }
        refusal => refusal,
    }
}

/// Whether a connection is as good after this refusal as before.
fn keeps_connection(refusal: &Refusal) -> bool {
    match refusal {
        Refusal::Poison(_) => true,
        Refusal::Unavailable(away) => away.kind == UnavailableKind::Locked,
        Refusal::Late(_) | Refusal::Newer { .. } | Refusal::Foreign => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_to_a_file_that_was_replaced_meanwhile_was_not_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("wattpost.db");
        let mut writer = Writer::new(path.clone(), SqliteOptions::default());
        writer.connect().unwrap();
        let count = "SELECT count(*) FROM set_aside";
        let write = "INSERT INTO set_aside (what, state, reason, at) VALUES ('', '', '', 0)";
        let refusal = writer
            .transact(|connection, _| {
                connection.execute(write, [])?;
                for name in ["wattpost.db", "wattpost.db-wal", "wattpost.db-shm"] {
                    let aside = directory.path().join("aside-".to_owned() + name);
                    std::fs::rename(directory.path().join(name), aside).unwrap();
                }
                drop(connection::writer(&path, &SqliteOptions::default())?);
                Ok(())
            })
            .unwrap_err();
        let away = refusal.into_away();
        assert_eq!(away.kind, UnavailableKind::Unreachable);
        assert!(away.detail.contains("replaced"), "{away}");
        // The next try goes to the file that is there now.
        writer
            .transact(|connection, _| Ok(connection.execute(write, [])?))
            .unwrap();
        let rows: i64 = Connection::open(&path)
            .and_then(|connection| connection.query_row(count, [], |row| row.get(0)))
            .unwrap();
        assert_eq!(rows, 1);
    }
}
