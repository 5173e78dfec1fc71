//! Reading connections: a small pool, borrowed for one query at a time.
//!
//! A reader sees the last commit before its query and holds no transaction between two queries, so the
//! write-ahead log can be checkpointed and the writer never waits.

use crate::refusal::Refusal;
use crate::sqlite::{connection, locks};
use central::ports::UnavailableKind;
use common::lock::lock;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Number of concurrent queries; further ones wait for a connection.
const READERS_MAX: usize = 4;

/// How long a query waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// The reading connections.
#[derive(Debug)]
pub(crate) struct Readers {
    path: PathBuf,
    pool: Mutex<Pool>,
    returned: Condvar,
}

#[derive(Debug, Default)]
struct Pool {
    idle: Vec<Reader>,
    in_use: usize,
}

#[derive(Debug)]
struct Reader {
    connection: Connection,
    inode: u64,
}

impl Readers {
    /// A pool for the database at `path`; no connection is opened yet.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            pool: Mutex::default(),
            returned: Condvar::new(),
        }
    }

    /// Runs one query: `work` sees one snapshot of the database throughout.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        self.read_now(work)
            .map_err(|refusal| locks::name_holder(refusal, &self.path))
    }

    fn read_now<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let mut permit = self.acquire()?;
        let reader = match permit.reader.take() {
            Some(reader) if inode(&self.path) == Some(reader.inode) => reader,
            _ => Reader {
                connection: connection::reader(&self.path)?,
                inode: inode(&self.path).unwrap_or_default(),
            },
        };
        let result = query(&reader.connection, work);
        // A connection that failed is closed.
        if result.is_ok() {
            permit.reader = Some(reader);
        }
        result
    }

    fn acquire(&self) -> Result<Permit<'_>, Refusal> {
        let (mut pool, timeout) = self
            .returned
            .wait_timeout_while(lock(&self.pool), ACQUIRE_TIMEOUT, |pool| {
                pool.in_use >= READERS_MAX
            })
            .unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() && pool.in_use >= READERS_MAX {
            return Err(Refusal::unavailable(
                UnavailableKind::Locked,
                "too many concurrent queries",
            ));
        }
        pool.in_use += 1;
        Ok(Permit {
            readers: self,
            reader: pool.idle.pop(),
        })
    }
}

/// The right to run one query, with the connection for it; returned to the pool when dropped.
struct Permit<'a> {
    readers: &'a Readers,
    reader: Option<Reader>,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut pool = lock(&self.readers.pool);
        pool.in_use -= 1;
        pool.idle.extend(self.reader.take());
        drop(pool);
        self.readers.returned.notify_one();
    }
}

fn query<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Deferred)?;
    let answer = work(&transaction)?;
    transaction.commit()?;
    Ok(answer)
}

fn inode(path: &std::path::Path) -> Option<u64> {
    std::fs::metadata(path).ok().map(|file| file.ino())
}
