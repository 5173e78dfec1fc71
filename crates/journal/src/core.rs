//! The state shared by appenders, writer, maintenance thread and readers: the group of new records, the
//! positions in the log, and whether there is space.
//!
//! Locks are held for short times and never two at once.

use crate::disk::Disk;
use crate::layout::{self, DATA_OFFSET, RECORD_HEADER, framed};
use crate::segment_index::SegmentIndex;
use crate::segment_pool::SegmentPool;
use crate::{AppendError, FullReason, JournalError, Options, Status};
use common::lock::{lock, wait};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::task::Waker;
use std::time::Duration;

/// Maximum length of one write, unless a single record is longer.
const WRITE_BYTES_MAX: usize = 4 << 20;
const BYTES_MAX_MIN: u64 = 512 << 10;
const SEGMENT_BYTES_MIN: u64 = 64 << 10;
const SEGMENT_BYTES_MAX: u64 = 1 << 31;

/// [`Options`] within their bounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) bytes_max: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) retain_bytes: u64,
    pub(crate) record_bytes_max: usize,
    pub(crate) pending_bytes_max: usize,
    pub(crate) write_bytes_max: usize,
}

impl Limits {
    pub(crate) fn new(options: &Options) -> Self {
        let bytes_max = options.bytes_max.max(BYTES_MAX_MIN);
        let segment_bytes = options
            .segment_bytes
            .min(bytes_max / 8)
            .clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX)
            .next_multiple_of(4096);
        let holds = (segment_bytes - DATA_OFFSET) as usize - RECORD_HEADER;
        let record_bytes_max = options.record_bytes_max.min(holds);
        Self {
            bytes_max,
            segment_bytes,
            retain_bytes: options.retain_bytes,
            record_bytes_max,
            pending_bytes_max: options.pending_bytes_max.max(framed(record_bytes_max)),
            write_bytes_max: WRITE_BYTES_MAX.max(framed(record_bytes_max)),
        }
    }

    /// After a refusal at `bytes_max`, appends are accepted again when no more than this is in use.
    const fn resume_bytes(&self) -> u64 {
        self.bytes_max - self.bytes_max / 8
    }
}

/// Records that wait for the writer, and the wakers of their waiters.
#[derive(Default)]
pub(crate) struct Group {
    /// The frames of the records.
    pub(crate) bytes: Vec<u8>,
    /// (seq, waker), ascending.
    pub(crate) waiters: Vec<(u64, Waker)>,
}

impl Group {
    /// Empties the group. Its memory is reused, up to a bound.
    pub(crate) fn clear(&mut self) {
        const KEEP: usize = 8 << 20;
        self.bytes.clear();
        self.bytes.shrink_to(KEEP);
        self.waiters.clear();
    }
}

/// The state that `append` changes.
pub(crate) struct AppendState {
    pub(crate) group: Group,
    pub(crate) next_seq: u64,
    pub(crate) closed: bool,
    pub(crate) writer_sleeps: bool,
    /// The position in the log after the last record that was appended.
    tail: u64,
    /// Bytes left in the segment of the next record. The writer places records by the same rule, so an appender
    /// knows without a lookup whether there is space on disk.
    left: u64,
    /// Prepared segments that no record needs yet; negative while records wait for a segment that is being
    /// created.
    spare_segments: i64,
    /// The maintenance thread could not create a segment. From then on no record is accepted that needs a
    /// segment that does not exist. While earlier records wait for one, none is accepted at all: `full` is
    /// [`FullReason::DiskFull`] until there is one more segment than they need.
    disk_full: bool,
    full: Option<FullReason>,
}

/// Counts and times of syncs, for [`crate::Status`].
#[derive(Default)]
pub(crate) struct SyncMetrics {
    pub(crate) syncs: AtomicU64,
    pub(crate) synced_records: AtomicU64,
    pub(crate) sync_last_ns: AtomicU64,
    pub(crate) sync_total_ns: AtomicU64,
    pub(crate) sync_max_ns: AtomicU64,
    pub(crate) segment_waits: AtomicU64,
}

impl SyncMetrics {
    /// Adds one write and sync of `records` records.
    pub(crate) fn note_sync(&self, took: Duration, records: u64) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.syncs.fetch_add(1, Relaxed);
        self.synced_records.fetch_add(records, Relaxed);
        self.sync_last_ns.store(ns, Relaxed);
        self.sync_total_ns.fetch_add(ns, Relaxed);
        self.sync_max_ns.fetch_max(ns, Relaxed);
        // A histogram cannot be derived from `Status`.
        metrics::histogram!("wattpost_journal_sync_seconds").record(took);
    }
}

/// The state in which recovery left the log.
pub(crate) struct InitialState {
    pub(crate) durable: u64,
    pub(crate) cursor: u64,
    pub(crate) tail: u64,
    pub(crate) left: u64,
    pub(crate) segments: SegmentIndex,
    pub(crate) pool: SegmentPool,
}

/// One journal.
pub(crate) struct Core {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) limits: Limits,
    append_state: Mutex<AppendState>,
    /// Notified when there are records to write and when the journal closes.
    appended: Condvar,
    segments: Mutex<SegmentIndex>,
    pub(crate) pool: Mutex<SegmentPool>,
    /// Notified when the pool has changed.
    pub(crate) pool_changed: Condvar,
    readable: Mutex<Vec<(u64, Waker)>>,
    written: AtomicU64,
    durable: AtomicU64,
    cursor: AtomicU64,
    /// [`SegmentIndex::floor`] as last computed.
    floor: AtomicU64,
    full: AtomicU8,
    poison: OnceLock<String>,
    /// All threads have ended, and the directory is unlocked.
    pub(crate) ended: AtomicBool,
    pub(crate) sync_metrics: SyncMetrics,
}

impl Core {
    pub(crate) fn new(disk: Arc<dyn Disk>, limits: Limits, start: InitialState) -> Self {
        let floor = start.segments.floor(start.cursor);
        let spare_segments = start.pool.ready_len() as i64;
        Self {
            disk,
            limits,
            append_state: Mutex::new(AppendState {
                group: Group::default(),
                next_seq: start.durable + 1,
                closed: false,
                writer_sleeps: false,
                tail: start.tail,
                left: start.left,
                spare_segments,
                disk_full: false,
                full: None,
            }),
            appended: Condvar::new(),
            segments: Mutex::new(start.segments),
            pool: Mutex::new(start.pool),
            pool_changed: Condvar::new(),
            readable: Mutex::default(),
            written: AtomicU64::new(start.durable),
            durable: AtomicU64::new(start.durable),
            cursor: AtomicU64::new(start.cursor),
            floor: AtomicU64::new(floor),
            full: AtomicU8::new(0),
            poison: OnceLock::new(),
            ended: AtomicBool::new(false),
            sync_metrics: SyncMetrics::default(),
        }
    }

    pub(crate) fn append_state(&self) -> MutexGuard<'_, AppendState> {
        lock(&self.append_state)
    }

    pub(crate) fn segments(&self) -> MutexGuard<'_, SegmentIndex> {
        lock(&self.segments)
    }

    pub(crate) fn pool(&self) -> MutexGuard<'_, SegmentPool> {
        lock(&self.pool)
    }

    pub(crate) fn written(&self) -> u64 {
        self.written.load(Acquire)
    }

    pub(crate) fn durable(&self) -> u64 {
        self.durable.load(Acquire)
    }

    pub(crate) fn cursor(&self) -> u64 {
        self.cursor.load(Acquire)
    }

    pub(crate) fn poisoned(&self) -> Option<&str> {
        self.poison.get().map(String::as_str)
    }

    pub(crate) fn full(&self) -> Option<FullReason> {
        match self.full.load(Acquire) {
            1 => Some(FullReason::SizeLimit),
            2 => Some(FullReason::DiskFull),
            3 => Some(FullReason::DiskTooSlow),
            _ => None,
        }
    }

    fn set_full(&self, state: &mut AppendState, full: Option<FullReason>) {
        if state.full == full {
            return;
        }
        if let Some(reason) = full {
            tracing::warn!(journal.full = %reason, "the journal accepts no records for now");
        } else {
            tracing::info!("the journal accepts records again");
        }
        state.full = full;
        let code = match full {
            None => 0,
            Some(FullReason::SizeLimit) => 1,
            Some(FullReason::DiskFull) => 2,
            Some(FullReason::DiskTooSlow) => 3,
        };
        self.full.store(code, Release);
    }

    /// See [`crate::Journal::append`].
    pub(crate) fn append(&self, record: &[u8], waker: Option<&Waker>) -> Result<u64, AppendError> {
        let max = self.limits.record_bytes_max;
        if record.len() > max {
            return Err(AppendError::TooLarge {
                bytes: record.len(),
                max,
            });
        }
        let crc = crc32fast::hash(record);
        let bytes = framed(record.len());
        let mut state = self.append_state();
        if state.closed {
            return Err(AppendError::Closed);
        }
        if let Some(reason) = self.poisoned() {
            return Err(AppendError::Poisoned(reason.to_owned()));
        }
        self.reserve_space(&mut state, bytes as u64)
            .map_err(AppendError::Full)?;
        let seq = state.next_seq;
        state.next_seq += 1;
        layout::push_record(&mut state.group.bytes, seq, record, crc);
        if let Some(waker) = waker {
            state.group.waiters.push((seq, waker.clone()));
        }
        let wake_writer = std::mem::take(&mut state.writer_sleeps);
        drop(state);
        if wake_writer {
            self.appended.notify_one();
        }
        Ok(seq)
    }

    /// Reserves space for a frame of `bytes`, or returns why there is none.
    fn reserve_space(&self, state: &mut AppendState, bytes: u64) -> Result<(), FullReason> {
        if let Some(reason) = self.still_full(state) {
            return Err(reason);
        }
        let pending = state.group.bytes.len() as u64 + bytes;
        if pending > self.limits.pending_bytes_max as u64 {
            self.set_full(state, Some(FullReason::DiskTooSlow));
            return Err(FullReason::DiskTooSlow);
        }
        let fits = bytes <= state.left;
        let tail = if fits {
            state.tail + bytes
        } else {
            state.tail + state.left + DATA_OFFSET + bytes
        };
        if tail - self.floor.load(Acquire) > self.limits.bytes_max {
            self.set_full(state, Some(FullReason::SizeLimit));
            return Err(FullReason::SizeLimit);
        }
        if fits {
            state.left -= bytes;
        } else {
            // No prepared segment is left, but creating one has not failed: the maintenance thread creates it,
            // and the writer waits.
            if state.disk_full && state.spare_segments <= 0 {
                self.set_full(state, Some(FullReason::DiskFull));
                return Err(FullReason::DiskFull);
            }
            state.spare_segments -= 1;
            state.left = self.limits.segment_bytes - DATA_OFFSET - bytes;
        }
        state.tail = tail;
        Ok(())
    }

    /// Whether the reason of an earlier refusal still holds. Each reason ends at a lower threshold than it
    /// begins, so that it does not change with every record.
    fn still_full(&self, state: &mut AppendState) -> Option<FullReason> {
        let reason = state.full?;
        let holds = match reason {
            FullReason::SizeLimit => {
                state.tail.saturating_sub(self.floor.load(Acquire)) > self.limits.resume_bytes()
            }
            FullReason::DiskFull => state.disk_full && state.spare_segments <= 0,
            FullReason::DiskTooSlow => state.group.bytes.len() > self.limits.pending_bytes_max / 2,
        };
        if holds {
            return Some(reason);
        }
        self.set_full(state, None);
        None
    }

    /// Waits for records to write; `false` when the journal is closed and no record is left.
    pub(crate) fn next_group(&self, mine: &mut Group) -> bool {
        let mut state = self.append_state();
        loop {
            if self.poisoned().is_some() {
                return false;
            }
            if !state.group.bytes.is_empty() {
                break;
            }
            if state.closed {
                return false;
            }
            state.writer_sleeps = true;
            state = wait(&self.appended, state);
        }
        state.writer_sleeps = false;
        std::mem::swap(&mut state.group, mine);
        if state.full == Some(FullReason::DiskTooSlow) {
            self.still_full(&mut state);
        }
        true
    }

    /// Records up to `seq` were written to the file.
    pub(crate) fn set_written(&self, seq: u64) {
        self.written.store(seq, Release);
    }

    /// Records up to `seq` survive a power cut; wakes waiting readers.
    pub(crate) fn set_durable(&self, seq: u64) {
        self.durable.store(seq, Release);
        self.wake_readable(seq);
    }

    fn wake_readable(&self, durable: u64) {
        let mut readable = lock(&self.readable);
        if readable.is_empty() {
            return;
        }
        // Usually only the forwarder waits.
        if let [(after, _)] = readable.as_slice() {
            let one = (*after < durable).then(|| readable.pop()).flatten();
            drop(readable);
            if let Some((_, waker)) = one {
                waker.wake();
            }
            return;
        }
        let due: Vec<(u64, Waker)> = readable
            .extract_if(.., |(after, _)| *after < durable)
            .collect();
        drop(readable);
        due.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// See [`crate::Journal::poll_readable`].
    pub(crate) fn poll_readable(&self, after: u64, waker: &Waker) -> bool {
        if self.durable() > after {
            return true;
        }
        let mut readable = lock(&self.readable);
        let known = readable
            .iter_mut()
            .find(|(_, other)| other.will_wake(waker));
        if let Some((other_after, _)) = known {
            *other_after = after.min(*other_after);
        } else {
            readable.push((after, waker.clone()));
        }
        drop(readable);
        // Checked again: it may have changed before the waker was in the list.
        if self.durable() > after {
            return true;
        }
        if self.has_ended() {
            self.wake_readable(u64::MAX);
        }
        false
    }

    /// Whether no further record will become durable.
    pub(crate) fn has_ended(&self) -> bool {
        self.poisoned().is_some() || self.ended.load(Acquire)
    }

    /// Ends the journal with the first disk error. It is never reset, because after a failed write or sync the
    /// content of the disk is unknown.
    pub(crate) fn poison(&self, reason: String) {
        if self.poison.set(reason).is_err() {
            return;
        }
        tracing::error!(
            error = self.poisoned(),
            "the journal stopped; a restart recovers the durable records"
        );
        self.wake_all();
        self.appended.notify_all();
        // Takes the lock, so that a thread that is about to wait does not miss the notification.
        drop(self.pool());
        self.pool_changed.notify_all();
    }

    /// Wakes all waiters, at the end.
    pub(crate) fn wake_all(&self) {
        let waiters = std::mem::take(&mut self.append_state().group.waiters);
        for (_, waker) in waiters {
            waker.wake();
        }
        self.wake_readable(u64::MAX);
    }

    /// Accepts no more records.
    pub(crate) fn close_appends(&self) {
        self.append_state().closed = true;
        self.appended.notify_all();
        // Set under the lock, so that a writer that is about to wait for a segment does not miss it.
        self.pool().is_closing = true;
        self.pool_changed.notify_all();
    }

    /// See [`crate::Journal::forget_upto`].
    pub(crate) fn forget_upto(&self, seq: u64) -> Result<(), JournalError> {
        if let Some(reason) = self.poisoned() {
            return Err(JournalError::Poisoned(reason.to_owned()));
        }
        if self.ended.load(Acquire) {
            return Err(JournalError::Closed);
        }
        let durable = self.durable();
        if seq > durable {
            return Err(JournalError::NotDurable { seq, durable });
        }
        if self.cursor.fetch_max(seq, AcqRel) >= seq {
            return Ok(());
        }
        let mut segments = self.segments();
        segments.forget_times(seq);
        let floor = segments.floor(seq);
        drop(segments);
        self.floor.fetch_max(floor, AcqRel);
        if self.full().is_some() {
            self.still_full(&mut self.append_state());
        }
        let mut pool = self.pool();
        if !std::mem::replace(&mut pool.cursor_moved, true) {
            drop(pool);
            self.pool_changed.notify_all();
        }
        Ok(())
    }

    /// Another segment is prepared.
    pub(crate) fn add_spare_segment(&self) {
        let mut state = self.append_state();
        state.spare_segments += 1;
        if state.spare_segments > 0 {
            state.disk_full = false;
        }
        self.still_full(&mut state);
    }

    /// No segment can be created now.
    pub(crate) fn set_disk_full(&self) {
        let mut state = self.append_state();
        state.disk_full = true;
        if state.spare_segments < 0 {
            // Set here and not at the next append that needs a segment: smaller records would otherwise be
            // accepted for a segment that does not exist, and wait without notice. Another reason is found
            // again after this one has ended.
            self.set_full(&mut state, Some(FullReason::DiskFull));
        }
    }

    /// See [`crate::Journal::oldest_seq`].
    pub(crate) fn oldest_seq(&self) -> u64 {
        let durable = self.durable();
        self.segments().oldest_seq().unwrap_or(durable + 1)
    }

    /// See [`crate::Journal::status`].
    pub(crate) fn status(&self) -> Status {
        let state = self.append_state();
        let appended_seq = state.next_seq - 1;
        let pending_bytes = state.group.bytes.len() as u64;
        let used_bytes = state.tail.saturating_sub(self.floor.load(Acquire));
        drop(state);
        let cursor = self.cursor();
        let durable_seq = self.durable();
        let segments = self.segments();
        let oldest_age = (cursor < durable_seq)
            .then(|| segments.age(cursor))
            .flatten();
        let retained_bytes = segments.retained_bytes(cursor);
        let file_bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
        drop(segments);
        let pool = self.pool();
        let segment_bytes = self.limits.segment_bytes;
        let segments_ready = pool.ready_len() as u64;
        let wanted = pool.wanted() as u64;
        // Greater than 0 until the last one is ready.
        let zeroing_backlog_bytes = (wanted * segment_bytes)
            .saturating_sub(pool.zeroed_bytes)
            .max(wanted);
        let full_detail = pool.disk_full.clone();
        drop(pool);
        let syncs = self.sync_metrics.syncs.load(Relaxed);
        let total_ns = self.sync_metrics.sync_total_ns.load(Relaxed);
        Status {
            appended_seq,
            written_seq: self.written(),
            durable_seq,
            cursor,
            oldest_seq: self.oldest_seq(),
            used_bytes,
            bytes_max: self.limits.bytes_max,
            retained_bytes,
            disk_bytes: file_bytes + segments_ready * segment_bytes,
            pending_bytes,
            oldest_age,
            syncs,
            synced_records: self.sync_metrics.synced_records.load(Relaxed),
            sync_last: Duration::from_nanos(self.sync_metrics.sync_last_ns.load(Relaxed)),
            sync_mean: Duration::from_nanos(total_ns.checked_div(syncs).unwrap_or(0)),
            sync_max: Duration::from_nanos(self.sync_metrics.sync_max_ns.load(Relaxed)),
            segments_ready,
            zeroing_backlog_bytes,
            segment_waits: self.sync_metrics.segment_waits.load(Relaxed),
            full: self.full(),
            full_detail,
            poisoned: self.poisoned().map(str::to_owned),
        }
    }
}
