//! Reads records out of a segment file in large blocks.

use crate::disk::{DiskFile, read_fully};
use crate::layout::{RECORD_HEADER, RecordHeader};
use std::io;

/// A block of a file in memory.
pub(crate) struct BlockReader {
    block: Vec<u8>,
    start: u64,
    length: usize,
    block_bytes: usize,
}

impl BlockReader {
    /// Reads `block_bytes` at a time, or more for a longer record.
    pub(crate) const fn new(block_bytes: usize) -> Self {
        Self {
            block: Vec::new(),
            start: 0,
            length: 0,
            block_bytes,
        }
    }

    /// Discards the block; call it before reading another file.
    pub(crate) const fn clear(&mut self) {
        self.length = 0;
    }

    /// The bytes from `offset` on: at least `want`, unless the file or `limit` ends earlier.
    pub(crate) fn get(
        &mut self,
        file: &dyn DiskFile,
        offset: u64,
        want: usize,
        limit: u64,
    ) -> io::Result<&[u8]> {
        let want = want.min(limit.saturating_sub(offset) as usize);
        let held = offset >= self.start && offset + want as u64 <= self.start + self.length as u64;
        if !held {
            let left = limit.saturating_sub(offset) as usize;
            let load = left.min(self.block_bytes.max(want));
            if self.block.len() < load {
                self.block.resize(load, 0);
            } else if self.block.len() > self.block_bytes {
                // Frees the memory of an earlier long record.
                self.block.truncate(self.block_bytes.max(load));
                self.block.shrink_to_fit();
            }
            self.length = 0;
            self.length = read_fully(file, &mut self.block[..load], offset)?;
            self.start = offset;
        }
        Ok(&self.block[(offset - self.start) as usize..self.length])
    }

    /// The valid record at `offset` with its frame, or `None`.
    pub(crate) fn record(
        &mut self,
        file: &dyn DiskFile,
        offset: u64,
        limit: u64,
        salt: u64,
    ) -> io::Result<Option<(RecordHeader, &[u8])>> {
        let head = self.get(file, offset, RECORD_HEADER, limit)?;
        if head.len() < RECORD_HEADER {
            return Ok(None);
        }
        let header = RecordHeader::read(head);
        if header.framed() as u64 > limit - offset {
            return Ok(None);
        }
        let frame = self.get(file, offset, header.framed(), limit)?;
        let is_valid = frame.len() >= header.framed() && header.is_valid(frame, salt);
        Ok(is_valid.then_some((header, frame)))
    }
}
