//! Reads all records of a segment, verifies each, and examines what follows the last valid one.

use crate::block_reader::BlockReader;
use crate::disk::{DiskFile, read_fully, write_whole};
use crate::layout::{DATA_OFFSET, Header, RECORD_HEADER, RecordHeader};
use crate::segment_index::{Found, OFFSETS_PER_SEGMENT};
use std::io;

const BLOCK_BYTES: usize = 1 << 20;
const ZEROS: usize = 64 << 10;

/// A scan of one segment.
pub(crate) struct Scan<'a> {
    header: &'a Header,
    file: &'a dyn DiskFile,
    window: BlockReader,
    last_write: u64,
}

/// What follows the last valid record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tail {
    /// There is at least a part of a record.
    pub(crate) is_torn: bool,
    /// A valid record which proves that the missing one was durable.
    pub(crate) acknowledged_by: Option<u64>,
}

impl<'a> Scan<'a> {
    pub(crate) const fn new(header: &'a Header, file: &'a dyn DiskFile) -> Self {
        Self {
            header,
            file,
            window: BlockReader::new(BLOCK_BYTES),
            last_write: DATA_OFFSET,
        }
    }

    /// Where the write begins that contained the last of the [`records`](Self::records).
    pub(crate) const fn last_write(&self) -> u64 {
        self.last_write
    }

    /// Reads records from the start up to the first that is invalid or out of sequence.
    pub(crate) fn records(&mut self) -> io::Result<Found> {
        let Header { salt, bytes, .. } = *self.header;
        let mut found = Found {
            end: DATA_OFFSET,
            ..Found::default()
        };
        while let Some((record, _)) = self.window.record(self.file, found.end, bytes, salt)? {
            if found.first_seq == 0 {
                found.first_seq = record.seq;
            } else if record.seq != found.last_seq + 1 {
                break;
            }
            let is_far = found
                .offsets
                .last()
                .is_none_or(|(_, at)| found.end >= at + bytes / OFFSETS_PER_SEGMENT);
            if is_far {
                found.offsets.push((record.seq, found.end));
            }
            if record.in_group == 0 {
                self.last_write = found.end;
            }
            if found.times.last().is_none_or(|(_, at)| *at != record.at_s) {
                found.times.push((record.seq, record.at_s));
            }
            found.last_seq = record.seq;
            found.end += record.framed() as u64;
        }
        Ok(found)
    }

    /// Searches after `end`, where record `next_seq` should be. Records of the same write as the missing one
    /// prove nothing; a record of a later write proves that the missing one was durable.
    pub(crate) fn scan_tail(&mut self, end: u64, next_seq: u64) -> io::Result<Tail> {
        let Header { salt, bytes, .. } = *self.header;
        let mut tail = Tail::default();
        // The number of records that fit after `end` is bounded.
        let seq_end = next_seq.saturating_add((bytes - end.min(bytes)) / RECORD_HEADER as u64);
        // Payloads may look like headers; this bounds the cost of verifying them.
        let mut budget = 4 * bytes;
        let mut at = end;
        loop {
            let block = self.window.get(self.file, at, BLOCK_BYTES, bytes)?;
            if block.len() < RECORD_HEADER {
                return Ok(tail);
            }
            let mut candidates = Vec::new();
            for step in (0..=block.len() - RECORD_HEADER).step_by(8) {
                let record = RecordHeader::read(&block[step..]);
                let offset = at + step as u64;
                let fits = record.framed() as u64 <= bytes - offset;
                if fits && (next_seq..seq_end).contains(&record.seq) {
                    candidates.push((offset, record));
                }
            }
            at += ((block.len() - RECORD_HEADER) / 8 * 8 + 8) as u64;
            for (offset, record) in candidates {
                if offset == end && record.seq == next_seq {
                    tail.is_torn = true;
                    continue;
                }
                let cost = record.framed() as u64;
                if cost > budget {
                    return Ok(tail);
                }
                budget -= cost;
                if self
                    .window
                    .record(self.file, offset, bytes, salt)?
                    .is_none()
                {
                    continue;
                }
                tail.is_torn = true;
                // A copy of the missing record at another offset: records were before it.
                if record.durable_before() > next_seq || record.seq == next_seq {
                    tail.acknowledged_by = Some(record.seq);
                    return Ok(tail);
                }
            }
        }
    }

    /// Whether any bytes after `end` look like the header of a record after `seq`, valid or not.
    pub(crate) fn has_header_after(&mut self, end: u64, seq: u64) -> io::Result<bool> {
        let bytes = self.header.bytes;
        // The number of records that fit into the segment is bounded.
        let seq_end = seq.saturating_add(bytes / RECORD_HEADER as u64);
        let mut at = end;
        loop {
            let block = self.window.get(self.file, at, BLOCK_BYTES, bytes)?;
            if block.len() < RECORD_HEADER {
                return Ok(false);
            }
            for step in (0..=block.len() - RECORD_HEADER).step_by(8) {
                let record = RecordHeader::read(&block[step..]);
                let fits = record.framed() as u64 <= bytes - at - step as u64;
                if fits && record.seq > seq && record.seq <= seq_end {
                    return Ok(true);
                }
            }
            at += ((block.len() - RECORD_HEADER) / 8 * 8 + 8) as u64;
        }
    }

    /// Writes the records from `from` to `end`, the last of which is `last_seq`, again to the same place. Reads
    /// and verifies them first: if the operating system has dropped what it failed to write, they differ now.
    pub(crate) fn rewrite(&self, from: u64, end: u64, last_seq: u64) -> io::Result<()> {
        let mut bytes = vec![0; (end - from) as usize];
        let have = read_fully(self.file, &mut bytes, from)?;
        let mut rest = &bytes[..have];
        let mut seq = 0;
        while rest.len() >= RECORD_HEADER {
            let record = RecordHeader::read(rest);
            let follows = seq == 0 || record.seq == seq + 1;
            if !follows || record.framed() > rest.len() || !record.is_valid(rest, self.header.salt)
            {
                break;
            }
            seq = record.seq;
            rest = &rest[record.framed()..];
        }
        if have < bytes.len() || !rest.is_empty() || seq != last_seq {
            return Err(io::Error::other(
                "records that were read a moment ago cannot be read any more",
            ));
        }
        write_whole(self.file, &bytes, from)
    }
}

/// Zeroes, durably, everything after `end` that one write may have left; returns the length of what was not
/// zero. Zeros are overwritten as well: they may be from an attempt whose sync failed.
pub(crate) fn zero_tail(header: &Header, file: &dyn DiskFile, end: u64) -> io::Result<u64> {
    // A write that was in progress began at `end` or earlier, so this bound covers it.
    let limit = header.bytes.min(end + header.write_bytes_max);
    let mut block = vec![0; ZEROS];
    let zeros = vec![0; ZEROS];
    let mut at = end;
    let mut dirty_end = end;
    while at < limit {
        let length = (limit - at).min(ZEROS as u64) as usize;
        let read = read_fully(file, &mut block[..length], at)?;
        if let Some(last) = block[..read].iter().rposition(|byte| *byte != 0) {
            dirty_end = at + last as u64 + 1;
        }
        write_whole(file, &zeros[..read], at)?;
        at += length as u64;
    }
    file.sync()?;
    Ok(dirty_end - end)
}
