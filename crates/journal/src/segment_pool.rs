//! Segments that are prepared in advance, so that beginning one costs the writer nothing and a full disk is
//! noticed before a record depends on it. A prepared segment is complete, zeroed or recycled, and durable under
//! its final name.

use crate::cursor::CursorFile;
use crate::disk::{Disk, DiskFile, write_whole};
use crate::layout::{self, BLOCK, DATA_OFFSET, Header, SEAL_OFFSET};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

/// The suffix of unfinished files.
pub(crate) const TEMPORARY_SUFFIX: &str = ".tmp";
const TEMPORARY: &str = "segment.tmp";
/// Zeros are written and synced in slices of this many bytes.
pub(crate) const SLICE_BYTES: usize = 1 << 20;
/// Maximum number of segments prepared in advance.
const TARGET_MAX: usize = 4;

/// A prepared segment.
pub(crate) struct ReadySegment {
    pub(crate) index: u64,
    pub(crate) salt: u64,
    pub(crate) bytes: u64,
    pub(crate) file: Arc<dyn DiskFile>,
}

/// The state shared by the writer and the maintenance thread.
pub(crate) struct SegmentPool {
    ready: VecDeque<ReadySegment>,
    pub(crate) next_index: u64,
    /// The number of segments to keep ready; grows by one each time the writer had to wait.
    target: usize,
    pub(crate) writer_waits: bool,
    /// The cursor has changed since it was saved.
    pub(crate) cursor_moved: bool,
    /// No more records are accepted.
    pub(crate) is_closing: bool,
    /// The writer has ended; the maintenance thread ends next.
    pub(crate) writer_ended: bool,
    /// The operating system's error, while no segment can be created.
    pub(crate) disk_full: Option<String>,
    /// Bytes already zeroed of the segment that is being created.
    pub(crate) zeroed_bytes: u64,
    /// The cursor file, until the maintenance thread takes it.
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

    /// Raises the target: the writer had to wait.
    pub(crate) fn raise_target(&mut self) {
        self.target = (self.target + 1).min(TARGET_MAX);
    }

    /// The number of missing segments.
    pub(crate) fn wanted(&self) -> usize {
        self.target.saturating_sub(self.ready.len())
    }

    /// Whether a forgotten segment should be recycled instead of removed.
    pub(crate) fn has_use_for_another(&self) -> bool {
        self.ready.len() <= self.target
    }
}

/// Creates a segment. Calls `pause` after each slice and stops when it returns `false`.
pub(crate) fn create(
    disk: &dyn Disk,
    header: Header,
    mut pause: impl FnMut(u64) -> bool,
) -> io::Result<Option<ReadySegment>> {
    let file = disk.create(TEMPORARY)?;
    let result = zero(&*file, header.bytes, &mut pause);
    if !matches!(result, Ok(true)) {
        // Frees the space; if that fails too, the next start does it.
        let _ = disk.remove(TEMPORARY);
    }
    if !result? {
        return Ok(None);
    }
    finish(disk, file, header).map(Some)
}

fn zero(file: &dyn DiskFile, bytes: u64, pause: &mut impl FnMut(u64) -> bool) -> io::Result<bool> {
    // Reserves everything at once, so that a lack of space is found at once and leaves nothing behind.
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

/// Prepares the file of a forgotten segment for new records.
pub(crate) fn recycle(
    disk: &dyn Disk,
    name: &str,
    file: Arc<dyn DiskFile>,
    header: Header,
) -> io::Result<ReadySegment> {
    disk.rename(name, TEMPORARY)?;
    // The removal of the old name must be durable before the content changes. Otherwise the next start could
    // find unexpected content under that name.
    disk.sync_dir()?;
    write_whole(&*file, &[0; BLOCK], SEAL_OFFSET)?;
    // No valid record of the previous use may remain where the first new record will be.
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
