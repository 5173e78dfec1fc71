//! Segments made ahead of need: complete, zeroed (or recycled) and certain under their final name
//! before the writer touches them, so that beginning a segment costs the writer nothing and a full
//! disk is noticed before anything is acknowledged.

use crate::cursor::CursorFile;
use crate::disk::{Disk, DiskFile, write_whole};
use crate::layout::{self, BLOCK, DATA_OFFSET, Header, SEAL_OFFSET};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

/// Ending of files that do not count yet.
pub(crate) const TEMPORARY_SUFFIX: &str = ".tmp";
const TEMPORARY: &str = "segment.tmp";
/// Zeros are written and synced in slices of this size.
pub(crate) const SLICE_BYTES: usize = 1 << 20;
/// Most segments prepared ahead.
const TARGET_MAX: usize = 4;

/// A prepared segment.
pub(crate) struct ReadySegment {
    pub(crate) index: u64,
    pub(crate) salt: u64,
    pub(crate) bytes: u64,
    pub(crate) file: Arc<dyn DiskFile>,
}

/// What writer and keeper tell each other.
pub(crate) struct SegmentPool {
    ready: VecDeque<ReadySegment>,
    pub(crate) next_index: u64,
    /// How many to have ready: one more each time the writer had to wait.
    target: usize,
    pub(crate) writer_waits: bool,
    /// The cursor moved since it was kept.
    pub(crate) cursor_moved: bool,
    /// No more records are taken.
    pub(crate) is_closing: bool,
    /// The writer has ended; the keeper is the last.
    pub(crate) writer_ended: bool,
    /// The system's words, while no segment can be made.
    pub(crate) disk_full: Option<String>,
    /// Bytes zeroed of the segment in the making.
    pub(crate) zeroed_bytes: u64,
    /// The cursor file, until the keeper takes it.
    pub(crate) cursor_file: Option<CursorFile>,
}

impl SegmentPool {
    pub(crate) const fn new(
        ready: VecDeque<ReadySegment>,
        next_index: u64,
        cursor_file: CursorFile,
    ) -> Self {
        Self {
            ready,
            next_index,
            target: 1,
            writer_waits: false,
            cursor_moved: false,
            is_closing: false,
            writer_ended: false,
            disk_full: None,
            zeroed_bytes: 0,
            cursor_file: Some(cursor_file),
        }
    }

    pub(crate) fn ready_len(&self) -> usize {
        self.ready.len()
    }

    pub(crate) fn push(&mut self, ready: ReadySegment) {
        self.disk_full = None;
        self.zeroed_bytes = 0;
        self.ready.push_back(ready);
    }

    pub(crate) fn pop(&mut self) -> Option<ReadySegment> {
        self.ready.pop_front()
    }

    /// The writer had to wait: have more ready from now on.
    pub(crate) fn raise_target(&mut self) {
        self.target = (self.target + 1).min(TARGET_MAX);
    }

    /// Segments that are missing.
    pub(crate) fn wanted(&self) -> usize {
        self.target.saturating_sub(self.ready.len())
    }

    /// Whether a forgotten segment is worth another life rather than removal.
    pub(crate) fn has_use_for_another(&self) -> bool {
        self.ready.len() <= self.target
    }
}

/// Makes a new segment. `pause` is asked between slices, and ends the making with `false`.
pub(crate) fn create(
    disk: &dyn Disk,
    header: Header,
    mut pause: impl FnMut(u64) -> bool,
) -> io::Result<Option<ReadySegment>> {
    let file = disk.create(TEMPORARY)?;
    let result = zero(&*file, header.bytes, &mut pause);
    if !matches!(result, Ok(true)) {
        // Gives the space back; when that fails too, the next start does it.
        let _ = disk.remove(TEMPORARY);
    }
    if !result? {
        return Ok(None);
    }
    finish(disk, file, header).map(Some)
}

fn zero(file: &dyn DiskFile, bytes: u64, pause: &mut impl FnMut(u64) -> bool) -> io::Result<bool> {
    // Reserved in one go, so that a lack of space shows at once and costs nothing.
    file.allocate(bytes)?;
    let zeros = vec![0; SLICE_BYTES.min(bytes as usize)];
    let mut at = 0;
    while at < bytes {
        let length = (bytes - at).min(zeros.len() as u64);
        write_whole(file, &zeros[..length as usize], at)?;
        file.sync()?;
        at += length;
        if !pause(at) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Gives the file of a forgotten segment another life.
pub(crate) fn recycle(
    disk: &dyn Disk,
    name: &str,
    file: Arc<dyn DiskFile>,
    header: Header,
) -> io::Result<ReadySegment> {
    disk.rename(name, TEMPORARY)?;
    // Before its content changes the old name must be gone for certain, or the next start would
    // find a stranger under it.
    disk.sync_dir()?;
    write_whole(&*file, &[0; BLOCK], SEAL_OFFSET)?;
    // No valid record of its earlier life may stand where the first of the new one will.
    write_whole(&*file, &[0; BLOCK], DATA_OFFSET)?;
    finish(disk, file, header)
}

fn finish(disk: &dyn Disk, file: Arc<dyn DiskFile>, header: Header) -> io::Result<ReadySegment> {
    write_whole(&*file, &header.encode(), 0)?;
    file.sync()?;
    disk.rename(TEMPORARY, &layout::segment_name(header.index))?;
    disk.sync_dir()?;
    Ok(ReadySegment {
        index: header.index,
        salt: header.salt,
        bytes: header.bytes,
        file,
    })
}
