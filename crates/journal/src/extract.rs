//! Reads what is left of a damaged journal without changing it: the valid records that are not delivered, and which bytes
//! hold none. For a person who wants to see what a repair will keep, or has no other copy.

use crate::disk::Disk;
use crate::error::OpenError;
use crate::inspection::{DamagedRange, Inspection, SegmentImage, inspect_locked, open_dir};
use crate::journal::lock;
use crate::layout;
use std::io;
use std::path::Path;

/// A part of a journal, in the order of the numbers within each segment.
#[derive(Debug)]
pub enum Extracted<'a> {
    /// A valid record that is not delivered.
    Record {
        /// Its number.
        seq: u64,
        /// Its bytes.
        bytes: &'a [u8],
    },
    /// A damaged range of a segment with undelivered records; it follows the records of its segment.
    Damaged(&'a DamagedRange),
}

/// Passes on what is left of the journal in `dir`, which no process may have open, and changes nothing. Also where
/// [`salvage`](crate::salvage()) cannot repair it. Without a readable cursor these are all records. Needs memory for one
/// segment.
///
/// # Errors
/// As [`inspect`](crate::inspect), and every error of `each`, as [`OpenError`].
pub fn extract(
    dir: &Path,
    each: impl FnMut(Extracted<'_>) -> io::Result<()>,
) -> Result<Inspection, OpenError> {
    extract_on(&open_dir(dir)?, each)
}

/// [`extract`] on any disk.
///
/// # Errors
/// As [`extract`].
#[doc(hidden)]
pub fn extract_on(
    disk: &impl Disk,
    mut each: impl FnMut(Extracted<'_>) -> io::Result<()>,
) -> Result<Inspection, OpenError> {
    lock(disk)?;
    let found = inspect_locked(disk).and_then(|found| {
        pass_on(disk, &found, &mut each)?;
        Ok(found)
    });
    disk.unlock();
    found
}

fn pass_on(
    disk: &dyn Disk,
    found: &Inspection,
    each: &mut dyn FnMut(Extracted<'_>) -> io::Result<()>,
) -> Result<(), OpenError> {
    let undelivered = found
        .segments
        .iter()
        .filter(|segment| segment.last_seq > found.cursor);
    for segment in undelivered {
        let failed = |source| OpenError::Io {
            what: "pass on the records of",
            path: disk.path(&layout::segment_name(segment.index)),
            source,
        };
        // A missing file has no records.
        if segment.records > 0 {
            let image = SegmentImage::load(disk, segment.index).map_err(failed)?;
            let mut result = Ok(());
            let first = segment.first_seq.max(found.cursor + 1);
            image.scan(first..segment.last_seq + 1, |at, record| {
                if result.is_ok() {
                    let bytes = &image.frame(at, record)[record.payload()];
                    result = each(Extracted::Record {
                        seq: record.seq,
                        bytes,
                    });
                }
            });
            result.map_err(failed)?;
        }
        for range in &segment.damage {
            each(Extracted::Damaged(range)).map_err(failed)?;
        }
    }
    Ok(())
}
