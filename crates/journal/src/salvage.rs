//! Repairs damaged segments: each is written again with its valid records under their old numbers, and with a
//! replacement for each lost record.
//!
//! The new segment is written to a temporary file, synced, and renamed over the old one. So after a crash at
//! any moment each name refers to the complete old or the complete new file, and running it again continues
//! where it stopped. Records keep their numbers, because a record's id contains its number.

use crate::disk::{Disk, write_whole};
use crate::error::OpenError;
use crate::inspection::{
    DamagedRange, Inspection, SegmentImage, SegmentInspection, inspect_locked, open_dir,
};
use crate::journal::lock;
use crate::layout::{self, BLOCK, DATA_OFFSET, Header, RECORD_HEADER, SEAL_OFFSET, Seal};
use crate::segment_index::now_s;
use crate::segment_pool::TEMPORARY_SUFFIX;
use std::io;
use std::path::{Path, PathBuf};

/// Maximum length of the damaged bytes in one replacement, so that it can be delivered. The last one of several
/// takes the rest, whatever its length.
const PIECE_BYTES: usize = 4 << 20;
const WRITE_BYTES: usize = 1 << 20;

/// A lost record, for which a replacement is needed.
#[derive(Debug)]
pub struct LostRecord<'a> {
    /// Its number.
    pub seq: u64,
    /// The damaged range.
    pub range: &'a DamagedRange,
    /// Offset of `bytes` in the file.
    pub offset: u64,
    /// The bytes that are left of it; zeros where the disk cannot read. Empty when nothing is left, or when
    /// they cannot be separated from the record before it.
    pub bytes: &'a [u8],
}

/// Why a journal could not be repaired.
#[derive(Debug, thiserror::Error)]
pub enum SalvageError {
    /// It cannot be examined.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It has damage that cannot be repaired here; nothing was changed.
    #[error(transparent)]
    Unrepairable(crate::Damage),
    /// The disk returned an error. Finished segments stay repaired, and the next run continues.
    #[error("cannot rewrite {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
}

/// Repairs the journal in `dir`, which no process may have open. Afterwards every undelivered valid record can
/// be read under its number, and every lost record is what `replacement` returned for it. Returns the damage
/// that was found. An intact journal is left unchanged. Needs disk space for one segment and memory for two.
///
/// # Errors
/// See [`SalvageError`].
pub fn salvage(
    dir: &Path,
    replacement: impl FnMut(&LostRecord<'_>) -> Vec<u8>,
) -> Result<Inspection, SalvageError> {
    salvage_on(&open_dir(dir)?, replacement)
}

/// [`salvage`] on any disk.
///
/// # Errors
/// As [`salvage`].
#[doc(hidden)]
pub fn salvage_on(
    disk: &impl Disk,
    mut replacement: impl FnMut(&LostRecord<'_>) -> Vec<u8>,
) -> Result<Inspection, SalvageError> {
    lock(disk)?;
    let done = repair(disk, &mut replacement);
    disk.unlock();
    done
}

fn repair(
    disk: &dyn Disk,
    replacement: &mut dyn FnMut(&LostRecord<'_>) -> Vec<u8>,
) -> Result<Inspection, SalvageError> {
    let found = inspect_locked(disk)?;
    if let Some(damage) = found.unrepairable.first() {
        return Err(SalvageError::Unrepairable(damage.clone()));
    }
    let io = |index: u64| {
        let path = disk.path(&layout::segment_name(index));
        move |source| SalvageError::Io { path, source }
    };
    // The newest first, so that a crash in between leaves no further gap.
    for index in found.unusable_indexes.iter().rev() {
        disk.remove(&layout::segment_name(*index))
            .and_then(|()| disk.sync_dir())
            .map_err(io(*index))?;
    }
    let damaged = found
        .segments
        .iter()
        .filter(|s| s.blocks_delivery(found.cursor));
    for segment in damaged {
        rewrite_segment(disk, segment, replacement).map_err(io(segment.index))?;
    }
    Ok(found)
}

fn rewrite_segment(
    disk: &dyn Disk,
    segment: &SegmentInspection,
    replacement: &mut dyn FnMut(&LostRecord<'_>) -> Vec<u8>,
) -> io::Result<()> {
    let image = match SegmentImage::load(disk, segment.index) {
        Ok(image) => image,
        // The file is missing or cannot be read at all.
        Err(_) if segment.records == 0 => SegmentImage::nothing(segment.index),
        Err(error) => return Err(error),
    };
    let mut draft = Draft {
        out: vec![0; DATA_OFFSET as usize],
        salt: disk.random(),
        next_seq: segment.first_seq,
        at_s: 0,
        first_at_s: None,
    };
    let mut lost = segment
        .damage
        .iter()
        .filter_map(|place| Some((place, place.lost?)));
    let mut next_lost = lost.next();
    image.scan(segment.first_seq..segment.last_seq + 1, |at, record| {
        draft.at_s = record.at_s;
        while let Some((place, (first, last))) =
            next_lost.filter(|(_, (_, last))| *last < record.seq)
        {
            draft.replace(&image, place, first, last, replacement);
            next_lost = lost.next();
        }
        if record.seq == draft.next_seq {
            let frame = image.frame(at, record);
            draft.push(&frame[record.payload()], record.in_group);
        }
    });
    while let Some((place, (first, last))) = next_lost {
        draft.replace(&image, place, first, last, replacement);
        next_lost = lost.next();
    }
    if draft.next_seq != segment.last_seq + 1 {
        return Err(io::Error::other(format!(
            "its records changed while they were read: record {} is missing now",
            draft.next_seq
        )));
    }
    draft.write(disk, segment, &image)
}

/// A segment that is being written.
struct Draft {
    out: Vec<u8>,
    salt: u64,
    next_seq: u64,
    /// When the current record was written.
    at_s: u32,
    first_at_s: Option<u32>,
}

impl Draft {
    fn push(&mut self, payload: &[u8], in_group: u32) {
        let start = self.out.len();
        let crc = crc32fast::hash(payload);
        layout::push_record(&mut self.out, self.next_seq, payload, crc);
        let at_s = if self.at_s == 0 { now_s() } else { self.at_s };
        layout::stamp(&mut self.out[start..], in_group, at_s, self.salt);
        self.first_at_s.get_or_insert(at_s);
        self.next_seq += 1;
    }

    /// Writes a replacement for each of the numbers `first..=last`.
    fn replace(
        &mut self,
        image: &SegmentImage,
        place: &DamagedRange,
        first: u64,
        last: u64,
        replacement: &mut dyn FnMut(&LostRecord<'_>) -> Vec<u8>,
    ) {
        let end = (place.offset + place.length).min(image.bytes.len() as u64) as usize;
        let mut at = (place.offset as usize).min(end);
        for seq in first..=last {
            let until = if seq == last {
                end
            } else {
                find_header(&image.bytes[at..end], seq + 1)
                    .map_or(end, |step| at + step)
                    .min(at + PIECE_BYTES)
            };
            let payload = replacement(&LostRecord {
                seq,
                range: place,
                offset: at as u64,
                bytes: &image.bytes[at..until],
            });
            self.push(&payload, 0);
            at = until;
        }
    }

    fn write(
        mut self,
        disk: &dyn Disk,
        segment: &SegmentInspection,
        image: &SegmentImage,
    ) -> io::Result<()> {
        let end = self.out.len() as u64;
        // A segment of unusual length is read like any other, but not recycled.
        let bytes = (image.bytes.len() as u64).max(end).next_multiple_of(4096);
        let header = Header {
            salt: self.salt,
            index: segment.index,
            bytes,
            write_bytes_max: image
                .header
                .map_or(WRITE_BYTES as u64, |h| h.write_bytes_max),
        };
        let seal = Seal {
            is_final: true,
            first_seq: segment.first_seq,
            last_seq: segment.last_seq,
            end,
            first_at_s: self.first_at_s.unwrap_or_else(now_s),
        };
        self.out[..BLOCK].copy_from_slice(&header.encode());
        let at = SEAL_OFFSET as usize;
        self.out[at..at + BLOCK].copy_from_slice(&seal.encode(self.salt));
        let name = layout::segment_name(segment.index);
        let temporary = format!("{name}{TEMPORARY_SUFFIX}");
        let file = disk.create(&temporary)?;
        file.allocate(bytes)?;
        for (piece, chunk) in self.out.chunks(WRITE_BYTES).enumerate() {
            write_whole(&*file, chunk, (piece * WRITE_BYTES) as u64)?;
        }
        file.sync()?;
        disk.rename(&temporary, &name)?;
        disk.sync_dir()
    }
}

/// Where the header of record `seq` seems to begin in damaged bytes, except at their start.
fn find_header(bytes: &[u8], seq: u64) -> Option<usize> {
    let wanted = seq.to_le_bytes();
    let mut places = (8..bytes.len().saturating_sub(RECORD_HEADER - 1)).step_by(8);
    places.find(|at| bytes[at + 8..at + 16] == wanted)
}
