//! The notebook: bytes that survive a power cut, in order.

mod error;
mod options;
mod status;

pub use error::{AppendError, Damage, FullReason, JournalError, OpenError, ReadError};
pub use options::Options;
pub use status::{Cut, Recovery, Status};

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

/// The journal: a cheap handle, all clones are one journal.
#[derive(Clone)]
pub struct Journal {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    records: Vec<Vec<u8>>,
    cursor: u64,
    readable: Vec<Waker>,
}

impl Journal {
    /// Opens or makes the journal in `dir`.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(_dir: &Path, _options: Options) -> Result<(Self, Recovery), OpenError> {
        let inner = Arc::default();
        Ok((
            Self { inner },
            Recovery {
                created: true,
                oldest_seq: 1,
                ..Recovery::default()
            },
        ))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a record and gives its sequence number: 1, 2, 3, … in the order of the calls. Copies
    /// the bytes and never waits for the disk. `waker` is woken once the record is durable
    /// ([`Journal::durable_seq`] has reached it) or never will be ([`Journal::poisoned`] says why).
    ///
    /// # Errors
    /// See [`AppendError`]; then the record is not in the journal and the waker is not kept.
    pub fn append(&self, record: &[u8], waker: Option<&Waker>) -> Result<u64, AppendError> {
        let mut inner = self.lock();
        inner.records.push(record.to_vec());
        let seq = inner.records.len() as u64;
        let readable = std::mem::take(&mut inner.readable);
        drop(inner);
        readable.into_iter().for_each(Waker::wake);
        if let Some(waker) = waker {
            waker.wake_by_ref();
        }
        Ok(seq)
    }

    /// Waits until the record is durable. Blocks the thread.
    ///
    /// # Errors
    /// When it never will be.
    pub fn wait_durable(&self, _seq: u64) -> Result<(), JournalError> {
        Ok(())
    }

    /// Last record handed to the disk.
    #[must_use]
    pub fn written_seq(&self) -> u64 {
        self.durable_seq()
    }

    /// Last record that survives a power cut; all before it do too.
    #[must_use]
    pub fn durable_seq(&self) -> u64 {
        self.lock().records.len() as u64
    }

    /// All records up to here are forgotten.
    #[must_use]
    pub fn cursor(&self) -> u64 {
        self.lock().cursor
    }

    /// First record that can still be read; `durable_seq() + 1` when there is none.
    #[must_use]
    pub fn oldest_seq(&self) -> u64 {
        1
    }

    /// Longest record that `append` takes, in bytes.
    #[must_use]
    pub fn record_bytes_max(&self) -> usize {
        16 << 20
    }

    /// Forgets all records up to `seq`. Kept on disk lazily: after a crash some may be there
    /// again. A number behind the cursor changes nothing.
    ///
    /// # Errors
    /// When `seq` is not durable yet, or the journal is poisoned or closed.
    pub fn forget_upto(&self, seq: u64) -> Result<(), JournalError> {
        let mut inner = self.lock();
        inner.cursor = inner.cursor.max(seq);
        Ok(())
    }

    /// Reads the records that follow `after_seq`.
    #[must_use]
    pub fn reader(&self, after_seq: u64) -> Reader {
        Reader {
            journal: self.clone(),
            next_seq: after_seq + 1,
        }
    }

    /// True when there is a durable record after `after_seq`; else `waker` is woken when there is,
    /// or when the journal is poisoned or closed. A waker that is known already is kept once.
    #[must_use]
    pub fn poll_readable(&self, after_seq: u64, waker: &Waker) -> bool {
        let mut inner = self.lock();
        if inner.records.len() as u64 > after_seq {
            return true;
        }
        inner.readable.push(waker.clone());
        false
    }

    /// Why appends are refused now, if they are. Cheap.
    #[must_use]
    pub fn full(&self) -> Option<FullReason> {
        None
    }

    /// The first disk error, if there was one. Cheap.
    #[must_use]
    pub fn poisoned(&self) -> Option<String> {
        None
    }

    /// How it is now.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::default()
    }

    /// Takes no more records, makes durable what was taken, keeps the cursor, and ends the threads.
    ///
    /// # Errors
    /// When something that was taken could not be made durable.
    pub fn close(self) -> Result<(), JournalError> {
        Ok(())
    }
}

/// Reads durable records in order, in large blocks, checking each.
pub struct Reader {
    journal: Journal,
    next_seq: u64,
}

impl Reader {
    /// The record that the next `read` begins with.
    #[must_use]
    pub const fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Hands durable records to `visit` until there is none left, `max_records` were visited, or
    /// the next one would exceed `max_bytes` (the first is always visited). Gives how many.
    ///
    /// # Errors
    /// See [`ReadError`]; what was visited before it was right, and is not visited again.
    pub fn read(
        &mut self,
        max_records: usize,
        max_bytes: usize,
        mut visit: impl FnMut(u64, &[u8]),
    ) -> Result<usize, ReadError> {
        let inner = self.journal.lock();
        let mut read = 0;
        let mut bytes = 0;
        while read < max_records {
            let Some(record) = inner.records.get((self.next_seq - 1) as usize) else {
                break;
            };
            bytes += record.len();
            if read > 0 && bytes > max_bytes {
                break;
            }
            visit(self.next_seq, record);
            self.next_seq += 1;
            read += 1;
        }
        Ok(read)
    }
}
