//! The handle: opens the journal, starts its threads, and closes it in order.

use crate::core::{Core, Limits};
use crate::disk::real::RealDisk;
use crate::disk::{Disk, Held};
use crate::maintenance::Maintenance;
use crate::reader::Reader;
use crate::recovery::{self, Opened};
use crate::writer::Writer;
use crate::{AppendError, FullReason, JournalError, OpenError, Options, Recovery, Status};
use common::lock as mutex;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::Ordering::Release;
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};
use std::thread::{self, JoinHandle, Thread};

/// A handle of the journal, cheap to clone; all clones are one journal. The crate's documentation states its
/// promises.
///
/// - *Write*: [`append`](Self::append); [`full`](Self::full) tells in advance whether it would be refused.
/// - *Observe*: [`durable_seq`](Self::durable_seq), [`wait_durable`](Self::wait_durable),
///   [`status`](Self::status), [`poisoned`](Self::poisoned).
/// - *Deliver*: [`reader`](Self::reader), [`poll_readable`](Self::poll_readable),
///   [`forget_upto`](Self::forget_upto).
///
/// Dropping the last clone closes the journal like [`close`](Self::close).
#[derive(Clone)]
pub struct Journal {
    handle: Arc<Handle>,
}

struct Handle {
    core: Arc<Core>,
    threads: Mutex<Option<[JoinHandle<()>; 2]>>,
}

impl Journal {
    /// Opens or creates the journal in `dir`. Blocks during recovery; see [`Recovery`].
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(dir: &Path, options: Options) -> Result<(Self, Recovery), OpenError> {
        Self::open_real(dir, options, None)
    }

    /// [`Journal::open`] right after another process of this machine has closed the journal without an error at
    /// `durable_seq`, as that process has said: faster, because nothing can be torn. If another record is the last one,
    /// it is opened as usual.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_closed_at(
        dir: &Path,
        options: Options,
        durable_seq: u64,
    ) -> Result<(Self, Recovery), OpenError> {
        Self::open_real(dir, options, Some(durable_seq))
    }

    fn open_real(
        dir: &Path,
        options: Options,
        closed_at: Option<u64>,
    ) -> Result<(Self, Recovery), OpenError> {
        let disk = RealDisk::new(dir).map_err(|source| OpenError::Io {
            what: "make the directory",
            path: dir.to_path_buf(),
            source,
        })?;
        Self::open_locked(Arc::new(disk), options, closed_at)
    }

    /// [`Journal::open`] on any disk.
    ///
    /// # Errors
    /// See [`OpenError`].
    #[doc(hidden)]
    pub fn open_on(disk: impl Disk, options: Options) -> Result<(Self, Recovery), OpenError> {
        Self::open_locked(Arc::new(disk), options, None)
    }

    /// [`Journal::open_closed_at`] on any disk.
    ///
    /// # Errors
    /// See [`OpenError`].
    #[doc(hidden)]
    pub fn open_closed_at_on(
        disk: impl Disk,
        options: Options,
        durable_seq: u64,
    ) -> Result<(Self, Recovery), OpenError> {
        Self::open_locked(Arc::new(disk), options, Some(durable_seq))
    }

    fn open_locked(
        disk: Arc<dyn Disk>,
        options: Options,
        closed_at: Option<u64>,
    ) -> Result<(Self, Recovery), OpenError> {
        lock(&*disk)?;
        let opened = start(disk.clone(), &Limits::new(&options), closed_at);
        if opened.is_err() {
            disk.unlock();
        }
        opened
    }

    /// Appends a record and returns its sequence number: 1, 2, 3, … in the order of the calls. Copies the bytes
    /// and never waits for the disk. `waker` is woken when the record is durable ([`Journal::durable_seq`] has
    /// reached it) or never will be ([`Journal::poisoned`] says why).
    ///
    /// # Errors
    /// See [`AppendError`]; the record is then not in the journal, and the waker is not stored.
    pub fn append(&self, record: &[u8], waker: Option<&Waker>) -> Result<u64, AppendError> {
        self.core().append(record, waker)
    }

    /// Waits until record `seq`, which was appended before, is durable. Blocks the thread.
    ///
    /// # Errors
    /// When the journal is poisoned or closed before.
    pub fn wait_durable(&self, seq: u64) -> Result<(), JournalError> {
        let core = self.core();
        let waker = Waker::from(Arc::new(Parked(thread::current())));
        while core.durable() < seq {
            if let Some(reason) = core.poisoned() {
                return Err(JournalError::Poisoned(reason.to_owned()));
            }
            if core.has_ended() {
                return Err(JournalError::Closed);
            }
            if !core.poll_readable(seq - 1, &waker) {
                thread::park();
            }
        }
        Ok(())
    }

    /// Last record that was written to its file.
    #[must_use]
    pub fn written_seq(&self) -> u64 {
        self.core().written()
    }

    /// Last record that survives a power cut, with all records before it.
    #[must_use]
    pub fn durable_seq(&self) -> u64 {
        self.core().durable()
    }

    /// Last forgotten record.
    #[must_use]
    pub fn cursor(&self) -> u64 {
        self.core().cursor()
    }

    /// First record that can still be read; `durable_seq() + 1` when there is none.
    #[must_use]
    pub fn oldest_seq(&self) -> u64 {
        self.core().oldest_seq()
    }

    /// Length of the longest record that `append` accepts, in bytes: the setting, or the capacity of a segment
    /// if that is less.
    #[must_use]
    pub fn record_bytes_max(&self) -> usize {
        self.core().limits.record_bytes_max
    }

    /// Forgets all records up to `seq`. Saved within about 100 ms, and by `close`: after a crash some records
    /// may be undelivered again. A number below the cursor changes nothing.
    ///
    /// # Errors
    /// When `seq` is not durable yet, or the journal is poisoned or closed.
    pub fn forget_upto(&self, seq: u64) -> Result<(), JournalError> {
        self.core().forget_upto(seq)
    }

    /// Reads the records after `after_seq`: `cursor()` for the undelivered ones, `oldest_seq() - 1` for all
    /// that are kept.
    #[must_use]
    pub fn reader(&self, after_seq: u64) -> Reader {
        Reader::new(self.handle.core.clone(), after_seq.saturating_add(1))
    }

    /// Whether there is a durable record after `after_seq`. If not, `waker` is woken when there is one, or when
    /// the journal is poisoned or closed. The same waker is stored once only.
    #[must_use]
    pub fn poll_readable(&self, after_seq: u64, waker: &Waker) -> bool {
        self.core().poll_readable(after_seq, waker)
    }

    /// Why appends are refused now; `None` if they are not. Cheap. It ends without a call.
    #[must_use]
    pub fn full(&self) -> Option<FullReason> {
        self.core().full()
    }

    /// The first disk error. Cheap.
    #[must_use]
    pub fn poisoned(&self) -> Option<String> {
        self.core().poisoned().map(str::to_owned)
    }

    /// A snapshot of positions, sizes and times.
    #[must_use]
    pub fn status(&self) -> Status {
        self.core().status()
    }

    /// Accepts no more records, makes the appended ones durable, saves the cursor, ends the threads and unlocks
    /// the directory. This closes all clones.
    ///
    /// # Errors
    /// When an appended record could not be made durable.
    pub fn close(self) -> Result<(), JournalError> {
        self.handle.end();
        match self.core().poisoned() {
            Some(reason) => Err(JournalError::Poisoned(reason.to_owned())),
            None => Ok(()),
        }
    }

    fn core(&self) -> &Core {
        &self.handle.core
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal")
            .field("durable_seq", &self.durable_seq())
            .field("cursor", &self.cursor())
            .finish_non_exhaustive()
    }
}

impl Handle {
    fn end(&self) {
        self.core.close_appends();
        let threads = mutex::lock(&self.threads).take();
        let Some(threads) = threads else { return };
        let here = thread::current().id();
        let is_one_of_them = threads.iter().any(|thread| thread.thread().id() == here);
        let core = self.core.clone();
        let wait = move || {
            for thread in threads {
                // A panic was caught and has poisoned the journal.
                let _ = thread.join();
            }
            core.ended.store(true, Release);
            core.wake_all();
            core.disk.unlock();
        };
        if is_one_of_them {
            // A waker owned the last handle and dropped it on the journal's own thread, which cannot join
            // itself. If no thread can be started, the directory stays locked until the process ends.
            let _ = thread::Builder::new()
                .name("journal-end".to_owned())
                .spawn(wait);
        } else {
            wait();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end();
    }
}

struct Parked(Thread);

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

pub(crate) fn lock(disk: &dyn Disk) -> Result<(), OpenError> {
    let Err(source) = disk.lock() else {
        return Ok(());
    };
    if source.kind() != io::ErrorKind::WouldBlock {
        return Err(OpenError::Io {
            what: "lock",
            path: disk.path(""),
            source,
        });
    }
    let held = source
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Held>());
    Err(OpenError::InUse {
        dir: disk.path(""),
        pid: held.and_then(|held| held.pid),
    })
}

fn start(
    disk: Arc<dyn Disk>,
    limits: &Limits,
    closed_at: Option<u64>,
) -> Result<(Journal, Recovery), OpenError> {
    let Opened {
        mut start,
        active,
        base,
        recovery,
    } = recovery::recover(&*disk, limits, closed_at)?;
    let cursor_file = start.pool.cursor_file.take();
    let core = Arc::new(Core::new(disk, *limits, start));
    let spawn_error = |source| OpenError::Io {
        what: "start the threads of",
        path: core.disk.path(""),
        source,
    };
    let writer = Writer::new(core.clone(), active, base);
    let writer = spawn("journal-writer", core.clone(), move |core| {
        run_guarded(core, "writer", || writer.run());
        // In any case the maintenance thread ends after the writer.
        core.pool().writer_ended = true;
        core.pool_changed.notify_all();
    })
    .map_err(spawn_error)?;
    let maintenance_core = core.clone();
    let maintenance = spawn("journal-maint", core.clone(), move |core| {
        if let Some(cursor_file) = cursor_file {
            let maintenance = Maintenance::new(maintenance_core, cursor_file);
            run_guarded(core, "maintenance", || maintenance.run());
        }
    });
    let maintenance = match maintenance {
        Ok(maintenance) => maintenance,
        Err(error) => {
            core.close_appends();
            let _ = writer.join();
            return Err(spawn_error(error));
        }
    };
    let handle = Handle {
        core,
        threads: Mutex::new(Some([writer, maintenance])),
    };
    let journal = Journal {
        handle: Arc::new(handle),
    };
    Ok((journal, recovery))
}

fn spawn(
    name: &str,
    core: Arc<Core>,
    body: impl FnOnce(&Core) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || body(&core))
}

/// Poisons the journal when `body` panics (a waker may), so that no waiter waits for ever.
fn run_guarded(core: &Core, name: &str, body: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(body)).is_err() {
        core.poison(format!("its {name} thread panicked"));
    }
}
