//! The only thread that writes records. It writes all records that have gathered with one write, syncs, and
//! only then reports them durable and wakes their waiters. Records that arrive during a sync share the next
//! one.
//!
//! Any error of a write or sync ends the journal: the content of the disk is then unknown, and a repeated sync
//! may report success wrongly.

use crate::core::{Core, Group};
use crate::disk::write_whole;
use crate::layout::{self, DATA_OFFSET, RecordHeader, SEAL_OFFSET, Seal};
use crate::segment_index::{Segment, now_s};
use crate::segment_pool::ReadySegment;
use common::lock::wait;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Waker;
use std::time::Instant;

/// The segment that receives records.
pub(crate) struct Active {
    pub(crate) segment: Arc<Segment>,
    pub(crate) file: Arc<dyn crate::disk::DiskFile>,
    /// Where the next record goes.
    pub(crate) offset: u64,
    /// When its first record was written.
    pub(crate) first_at_s: u32,
}

/// The thread's own state.
pub(crate) struct Writer {
    core: Arc<Core>,
    active: Option<Active>,
    /// The base of the next segment while there is no active one.
    base: u64,
}

/// Nothing can be written any more; the journal is poisoned.
struct Stopped;

impl Writer {
    pub(crate) const fn new(core: Arc<Core>, active: Option<Active>, base: u64) -> Self {
        Self { core, active, base }
    }

    /// Writes groups until the journal is closed or poisoned.
    pub(crate) fn run(mut self) {
        let core = self.core.clone();
        let mut group = Group::default();
        while core.next_group(&mut group) {
            let result = self.write_group(&mut group);
            // After an error these are the waiters whose records are not durable.
            group.waiters.drain(..).for_each(|(_, waker)| waker.wake());
            group.clear();
            if result.is_err() {
                return;
            }
        }
        if core.poisoned().is_none() {
            self.write_closing_seal();
        }
    }

    fn write_group(&mut self, group: &mut Group) -> Result<(), Stopped> {
        let mut done = 0;
        while done < group.bytes.len() {
            let rest = &mut group.bytes[done..];
            let first = RecordHeader::read(rest).framed() as u64;
            let mut active = match self.active.take() {
                Some(active) if active.left() >= first => active,
                Some(active) => self.change_segment(active)?,
                None => self.next_segment()?,
            };
            let piece = active.stamp_piece(rest, self.core.limits.write_bytes_max);
            let bytes = &rest[..piece.length];
            let began = Instant::now();
            if let Err(error) = write_whole(&*active.file, bytes, active.offset) {
                return Err(self.fail("write", &active.segment, &error));
            }
            self.core.set_written(piece.last_seq);
            if let Err(error) = active.file.sync() {
                return Err(self.fail("sync", &active.segment, &error));
            }
            let records = piece.last_seq - piece.first_seq + 1;
            self.core.sync_metrics.note_sync(began.elapsed(), records);
            active.extend(&piece);
            done += piece.length;
            self.publish(&piece, &mut group.waiters);
            self.active = Some(active);
        }
        Ok(())
    }

    fn publish(&self, piece: &Piece, waiters: &mut Vec<(u64, Waker)>) {
        self.core.segments().note_time(piece.first_seq, piece.at_s);
        self.core.set_durable(piece.last_seq);
        let due = waiters.partition_point(|(seq, _)| *seq <= piece.last_seq);
        waiters.drain(..due).for_each(|(_, waker)| waker.wake());
    }

    /// Seals the active segment durably before the next one begins: so only the newest segment of a journal can
    /// have a torn tail.
    fn change_segment(&mut self, active: Active) -> Result<Active, Stopped> {
        self.base = active.segment.base + active.segment.bytes;
        if let Err(error) = active.write_seal(true) {
            return Err(self.fail("seal", &active.segment, &error));
        }
        drop(active);
        self.next_segment()
    }

    fn next_segment(&self) -> Result<Active, Stopped> {
        let ready = self.take_ready()?;
        let segment = Segment::new(ready.index, ready.salt, ready.bytes, self.base);
        let segment = Arc::new(segment);
        self.core.segments().push(segment.clone());
        Ok(Active {
            segment,
            file: ready.file,
            offset: DATA_OFFSET,
            first_at_s: 0,
        })
    }

    fn take_ready(&self) -> Result<ReadySegment, Stopped> {
        let mut pool = self.core.pool();
        let mut has_waited = false;
        loop {
            if self.core.poisoned().is_some() {
                return Err(Stopped);
            }
            if let Some(ready) = pool.pop() {
                pool.writer_waits = false;
                drop(pool);
                self.core.pool_changed.notify_all();
                return Ok(ready);
            }
            if let (true, Some(reason)) = (pool.is_closing, &pool.disk_full) {
                let reason = format!("closed while records waited for space on disk: {reason}");
                drop(pool);
                self.core.poison(reason);
                return Err(Stopped);
            }
            if !has_waited {
                has_waited = true;
                self.core.sync_metrics.segment_waits.fetch_add(1, Relaxed);
                pool.raise_target();
            }
            pool.writer_waits = true;
            self.core.pool_changed.notify_all();
            pool = wait(&self.core.pool_changed, pool);
        }
    }

    /// Records at close how far the active segment is durable, so that the next start can tell damage from a
    /// torn tail up to the last byte.
    fn write_closing_seal(&self) {
        let Some(active) = &self.active else { return };
        if let Err(error) = active.write_seal(false) {
            let _ = self.fail("write the end of", &active.segment, &error);
        }
    }

    fn fail(&self, what: &str, segment: &Segment, error: &io::Error) -> Stopped {
        let path = self.core.disk.path(&layout::segment_name(segment.index));
        self.core
            .poison(format!("cannot {what} {}: {error}", path.display()));
        Stopped
    }
}

/// The records of one write.
struct Piece {
    length: usize,
    first_seq: u64,
    last_seq: u64,
    at_s: u32,
}

impl Active {
    /// A segment that recovery found and will seal.
    pub(crate) fn recovered(
        segment: Segment,
        file: Arc<dyn crate::disk::DiskFile>,
        first_at_s: u32,
    ) -> Self {
        Self {
            offset: segment.end(),
            segment: Arc::new(segment),
            file,
            first_at_s,
        }
    }

    fn left(&self) -> u64 {
        self.segment.bytes - self.offset
    }

    /// Completes as many frames as fit into this segment and one write. The first one fits.
    fn stamp_piece(&self, frames: &mut [u8], write_bytes_max: usize) -> Piece {
        let room = (self.left() as usize).min(write_bytes_max);
        let mut piece = Piece {
            length: 0,
            first_seq: 0,
            last_seq: 0,
            at_s: now_s(),
        };
        let mut in_group = 0;
        while piece.length < frames.len() {
            let header = RecordHeader::read(&frames[piece.length..]);
            let end = piece.length + header.framed();
            if in_group > 0 && end > room {
                break;
            }
            let frame = &mut frames[piece.length..end];
            layout::stamp(frame, in_group, piece.at_s, self.segment.salt);
            if in_group == 0 {
                piece.first_seq = header.seq;
            }
            piece.last_seq = header.seq;
            piece.length = end;
            in_group += 1;
        }
        piece
    }

    fn extend(&mut self, piece: &Piece) {
        if self.segment.first_seq() == 0 {
            self.first_at_s = piece.at_s;
        }
        let end = self.offset + piece.length as u64;
        self.segment
            .extend(piece.first_seq, piece.last_seq, self.offset, end);
        self.offset = end;
    }

    /// Writes where the records end, finally or so far.
    pub(crate) fn write_seal(&self, is_final: bool) -> io::Result<()> {
        if self.segment.first_seq() == 0 {
            return Ok(());
        }
        let seal = Seal {
            is_final,
            first_seq: self.segment.first_seq(),
            last_seq: self.segment.last_seq(),
            end: self.offset,
            first_at_s: self.first_at_s,
        };
        let block = seal.encode(self.segment.salt);
        write_whole(&*self.file, &block, SEAL_OFFSET)?;
        self.file.sync()
    }
}
