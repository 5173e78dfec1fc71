//! Reads durable records in order from a position, and verifies each.

use crate::block_reader::BlockReader;
use crate::core::Core;
use crate::disk::DiskFile;
use crate::error::{DAMAGE_REMEDY, Damage, ReadError};
use crate::inspection::SegmentImage;
use crate::layout::{DATA_OFFSET, segment_name};
use crate::segment_index::Segment;
use std::io;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;

/// Number of bytes per read of the file.
const BLOCK_BYTES: usize = 256 << 10;

/// Reads durable records in order, in large blocks, and verifies each. It never waits for records (see
/// [`Journal::poll_readable`](crate::Journal::poll_readable)), but reading blocks on the disk.
pub struct Reader {
    core: Arc<Core>,
    next_seq: u64,
    position: Option<Position>,
    window: BlockReader,
}

/// The position of the next record. Holding the segment prevents its file from being recycled.
struct Position {
    segment: Arc<Segment>,
    file: Arc<dyn DiskFile>,
    offset: u64,
    /// The record at `offset`; lower than the reader's next one until the records between are read.
    seq: u64,
}

impl Reader {
    pub(crate) const fn new(core: Arc<Core>, next_seq: u64) -> Self {
        Self {
            core,
            next_seq,
            position: None,
            window: BlockReader::new(BLOCK_BYTES),
        }
    }

    /// The record with which the next `read` begins.
    #[must_use]
    pub const fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Calls `visit` with durable records until there are no more, or `max_records` were visited, or the next
    /// one would exceed `bytes_max` (the first is always visited). Returns the number of visited records.
    ///
    /// # Errors
    /// See [`ReadError`]. Records visited before the error were valid and are not visited again.
    pub fn read(
        &mut self,
        max_records: usize,
        bytes_max: usize,
        mut visit: impl FnMut(u64, &[u8]),
    ) -> Result<usize, ReadError> {
        if self.core.ended.load(Acquire) {
            return Err(ReadError::Closed);
        }
        let durable = self.core.durable();
        let mut visited = 0;
        let mut bytes = 0;
        while self.next_seq <= durable && visited < max_records {
            let mut position = match self.position.take() {
                Some(position) if position.seq <= position.segment.last_seq() => position,
                _ => match self.find_position()? {
                    Some(position) => position,
                    None => {
                        self.next_seq = durable + 1;
                        break;
                    }
                },
            };
            let segment = position.segment.clone();
            let record = self
                .window
                .record(
                    &*position.file,
                    position.offset,
                    segment.end(),
                    segment.salt,
                )
                .map_err(|source| ReadError::Io {
                    path: path_of(&self.core, &segment),
                    source,
                })?;
            let Some((header, frame)) = record.filter(|(header, _)| header.seq == position.seq)
            else {
                if position.seq < self.next_seq
                    && let Some((seq, offset)) =
                        self.next_valid_record(&segment, position.seq + 1..self.next_seq + 1)
                {
                    // The damaged record is not needed: it is forgotten, or was skipped.
                    (position.seq, position.offset) = (seq, offset);
                    self.position = Some(position);
                    continue;
                }
                let damage = Damage {
                    file: path_of(&self.core, &segment),
                    offset: position.offset,
                    what: format!("record {} is damaged", position.seq),
                    remedy: DAMAGE_REMEDY,
                };
                self.window.clear();
                return Err(damage.into());
            };
            let is_wanted = header.seq == self.next_seq;
            if is_wanted && visited > 0 && bytes + header.length > bytes_max {
                self.position = Some(position);
                break;
            }
            position.offset += header.framed() as u64;
            position.seq += 1;
            if is_wanted {
                // Counted first: if the visitor panics, it does not get the same record again.
                self.next_seq += 1;
                visited += 1;
                bytes += header.length;
                self.position = Some(position);
                visit(header.seq, &frame[header.payload()]);
            } else {
                self.position = Some(position);
            }
        }
        Ok(visited)
    }

    /// Skips records that [`read`](Self::read) could not read: continues with the next valid record of the
    /// segment, or with the next segment. Returns the skipped numbers. Reads the whole segment into memory.
    pub fn skip_damaged(&mut self) -> RangeInclusive<u64> {
        let first = self.next_seq;
        self.position = None;
        self.window.clear();
        let segment = self.core.segments().find(first);
        self.next_seq = match segment.filter(|segment| segment.first_seq() != 0) {
            Some(segment) => {
                let valid = self.next_valid_record(&segment, first + 1..segment.last_seq() + 1);
                let (next, offset) = valid.unwrap_or((segment.last_seq().max(first) + 1, 0));
                if offset > 0
                    && let Ok(file) = self.core.disk.open(&segment_name(segment.index))
                {
                    self.position = Some(Position {
                        segment,
                        file,
                        offset,
                        seq: next,
                    });
                }
                next
            }
            None => first + 1,
        };
        first..=self.next_seq - 1
    }

    /// The first valid record with one of these numbers: its number and offset.
    fn next_valid_record(&self, segment: &Segment, numbers: Range<u64>) -> Option<(u64, u64)> {
        let image = SegmentImage::load(&*self.core.disk, segment.index).ok()?;
        let mut found = None;
        image.scan(numbers, |at, record| {
            found.get_or_insert((record.seq, at));
        });
        found
    }

    /// The position of the next record; `None` when the sequence has a gap here and no record follows yet.
    /// Recovery allows a gap only among forgotten records.
    fn find_position(&mut self) -> Result<Option<Position>, ReadError> {
        self.window.clear();
        loop {
            let segments = self.core.segments();
            let oldest_seq = segments.oldest_seq();
            let segment = segments.find(self.next_seq);
            drop(segments);
            if oldest_seq.is_none_or(|oldest| oldest > self.next_seq) {
                return Err(ReadError::Forgotten {
                    wanted: self.next_seq,
                    oldest_seq: oldest_seq.unwrap_or(self.core.durable() + 1),
                });
            }
            let Some(segment) = segment.filter(|segment| segment.first_seq() != 0) else {
                return Ok(None);
            };
            self.next_seq = self.next_seq.max(segment.first_seq());
            let (seq, offset) = segment.nearest_indexed(self.next_seq);
            debug_assert!(offset >= DATA_OFFSET);
            match self.core.disk.open(&segment_name(segment.index)) {
                Ok(file) => {
                    return Ok(Some(Position {
                        segment,
                        file,
                        offset,
                        seq,
                    }));
                }
                // Removed since the lookup: look it up again.
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound
                        && self.core.segments().oldest_seq() > oldest_seq => {}
                Err(source) => {
                    return Err(ReadError::Io {
                        path: path_of(&self.core, &segment),
                        source,
                    });
                }
            }
        }
    }
}

fn path_of(core: &Core, segment: &Segment) -> PathBuf {
    core.disk.path(&segment_name(segment.index))
}
