//! The writing connection: opened on first use and closed after an error, so that the next call reconnects to a
//! database that was unavailable.

use crate::refusal::Refusal;
use crate::sqlite::SqliteOptions;
use crate::sqlite::connection;
use crate::sqlite::numbers::Numbers;
use crate::sqlite::schema;
use crate::sqlite::states::States;
use central::ports::UnavailableKind;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The writing connection, open or not.
#[derive(Debug)]
pub(crate) struct Writer {
    path: PathBuf,
    options: SqliteOptions,
    session: Option<Session>,
    /// Whether the file existed before: then a missing file is an error, and no new one is created.
    existed: bool,
}

/// An open connection and the cache of the rows read or written through it.
#[derive(Debug)]
struct Session {
    connection: Connection,
    cache: Cache,
    file: FileId,
    log: Log,
}

/// The write-ahead log, which grows as long as another program keeps a read transaction open.
#[derive(Debug)]
struct Log {
    path: PathBuf,
    alarm_bytes: u64,
    is_long: bool,
}

impl Log {
    /// The warning is logged at this multiple of the checkpoint size.
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
                "the write-ahead log cannot be checkpointed; another program keeps a read transaction open"
            );
        }
        self.is_long = is_long;
    }
}

/// The writer's cache, which saves queries.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    pub(crate) numbers: Numbers,
    pub(crate) states: States,
    /// SQLite's `data_version`: changes when another connection has committed.
    data_version: i64,
}

impl Cache {
    /// Clears the cache: after a rollback, or when another connection has written.
    pub(crate) fn clear(&mut self) {
        self.numbers.clear();
        self.states.clear();
    }
}

/// The identity of the file at a path.
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
            existed: false,
        }
    }

    /// Connects if needed.
    pub(crate) fn connect(&mut self) -> Result<(), Refusal> {
        self.session().map(|_| ())
    }

    /// Closes the connection; the next use opens a new one.
    pub(crate) fn disconnect(&mut self) {
        self.session = None;
    }

    /// Runs `work` in one transaction that holds the write lock from its start. When `work` or the
    /// commit fails, nothing of it is visible. After `Ok` it is durable, and so is all that `work` has
    /// read.
    pub(crate) fn transact<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>, &mut Cache) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let session = self.session()?;
        let file = session.file;
        let mut result = session.transact(work);
        session.log.watch();
        // The commit went to the file that existed when the transaction began. If another file is at the path
        // now, the commit counts as lost.
        if result.is_ok() && FileId::of(&self.path).ok() != Some(file) {
            result = Err(Refusal::unreachable(format!(
                "{} was replaced while it was written",
                self.path.display()
            )));
        }
        if let Err(refusal) = &result {
            if let Some(session) = &mut self.session {
                session.cache.clear();
            }
            if !keeps_connection(refusal) {
                // The log and the page cache of a failed connection cannot be trusted.
                self.session = None;
            }
        }
        result
    }

    fn session(&mut self) -> Result<&mut Session, Refusal> {
        let now = FileId::of(&self.path).ok();
        if self.existed && now.is_none() {
            self.session = None;
            return Err(Refusal::unreachable(format!(
                "{} is missing; restore it, or restart to create a new database",
                self.path.display()
            )));
        }
        // Another file is at the path now: writes to the old one would be lost.
        let moved = |session: &mut Session| Some(session.file) != now;
        if self.session.as_mut().is_some_and(moved) {
            tracing::warn!(path = %self.path.display(), "the database file was replaced; opening the new one");
            self.session = None;
        }
        match &mut self.session {
            Some(session) => Ok(session),
            slot @ None => {
                let connection = connection::writer(&self.path, &self.options)
                    .map_err(|refusal| name_read_only(refusal, &self.path))?;
                let file = FileId::of(&self.path)
                    .map_err(|error| Refusal::unreachable(error.to_string()))?;
                self.existed = true;
                make_durable(&connection, &self.path)?;
                Ok(slot.insert(Session {
                    connection,
                    cache: Cache::default(),
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
        work: impl FnOnce(&Transaction<'_>, &mut Cache) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let transaction =
            Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        // SQLite begins a transaction on a read-only file, and then refuses each change.
        if transaction.is_readonly(rusqlite::MAIN_DB)? {
            return Err(Refusal::unavailable(
                UnavailableKind::ReadOnly,
                "the file cannot be written",
            ));
        }
        let version: i64 = transaction
            .prepare_cached("PRAGMA data_version")?
            .query_row([], |row| row.get(0))?;
        if version != self.cache.data_version {
            self.cache.clear();
            schema::refuse_newer(&transaction)?;
            self.cache.data_version = version;
        }
        let done = work(&transaction, &mut self.cache)?;
        transaction.commit()?;
        Ok(done)
    }
}

/// Syncs what another writer has left in the log.
///
/// A program that was killed between writing to the log and syncing it leaves records that every later
/// connection sees as committed, though a power cut can still lose them. A redelivered batch of known records
/// writes nothing, so its commit would sync nothing either, and the journal would delete records that are not
/// durable.
fn make_durable(connection: &Connection, path: &Path) -> Result<(), Refusal> {
    let sync = |path: &Path| -> std::io::Result<()> {
        match std::fs::File::open(path) {
            Ok(file) => file.sync_all(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    };
    // Not the database file itself: closing it would release SQLite's locks on it.
    let directory = path.parent().filter(|path| !path.as_os_str().is_empty());
    sync(&log_path(path))
        .and_then(|()| sync(directory.unwrap_or(Path::new("."))))
        .map_err(|error| not_synced(&error))?;
    // After a failed sync the next one may report success although data was lost. Pages copied into the database
    // are written again and synced.
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
    Refusal::unavailable(kind, format!("the log cannot be synced: {error}"))
}

fn log_path(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push("-wal");
    path.into()
}

/// SQLite reports only "cannot open" for a file that exists but is read-only.
fn name_read_only(refusal: Refusal, path: &Path) -> Refusal {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    match refusal {
        Refusal::Unavailable(error) if error.kind == UnavailableKind::Unreachable => {
            match std::fs::OpenOptions::new().append(true).open(path) {
                Err(cause) if matches!(cause.kind(), PermissionDenied | ReadOnlyFilesystem) => {
                    Refusal::unavailable(UnavailableKind::ReadOnly, cause.to_string())
                }
                _ => Refusal::Unavailable(error),
            }
        }
        refusal => refusal,
    }
}

/// Whether a connection is still usable after this refusal.
fn keeps_connection(refusal: &Refusal) -> bool {
    match refusal {
        Refusal::Poison(_) => true,
        Refusal::Unavailable(error) => error.kind == UnavailableKind::Locked,
        Refusal::Late(_) | Refusal::Newer { .. } | Refusal::OtherProgram => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commit_to_a_replaced_file_is_an_error() {
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
        let error = refusal.into_unavailable();
        assert_eq!(error.kind, UnavailableKind::Unreachable);
        assert!(error.detail.contains("replaced"), "{error}");
        // The next attempt uses the file that is there now.
        writer
            .transact(|connection, _| Ok(connection.execute(write, [])?))
            .unwrap();
        let rows: i64 = Connection::open(&path)
            .and_then(|connection| connection.query_row(count, [], |row| row.get(0)))
            .unwrap();
        assert_eq!(rows, 1);
    }
}
