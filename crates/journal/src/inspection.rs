//! Examines a stopped journal: which records it holds, and where its bytes are damaged.
//!
//! Only checksums are trusted. All valid records of a segment are found, also after damaged ones: after an
//! invalid record every possible offset is tried. The missing numbers follow from the numbers of the valid
//! records, the seals and the adjacent segments. What a power cut may have torn (the end of the newest segment,
//! never acknowledged) is not damage; recovery truncates it.

use crate::cursor::CURSOR_FILE;
use crate::disk::real::RealDisk;
use crate::disk::{Disk, DiskFile, read_fully};
use crate::error::{Damage, OpenError};
use crate::journal::lock;
use crate::layout::{
    self, BLOCK, DATA_OFFSET, FORMAT, Header, HeaderError, RECORD_HEADER, RecordHeader,
    SEAL_OFFSET, Seal,
};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the disk cannot read a larger block, blocks of this size are tried.
const UNIT: usize = 4096;
/// Maximum length of a segment file; a longer file is not read to its end.
const FILE_BYTES_MAX: u64 = 2 << 30;

/// The content of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// Last forgotten record, that is, delivered. 0 when the cursor cannot be read.
    pub cursor: u64,
    /// The segments that hold records, oldest first.
    pub segments: Vec<SegmentInspection>,
    /// Damage that `salvage` cannot repair, with the remedy.
    pub unrepairable: Vec<Damage>,
    /// Damaged files of prepared segments, which hold no record; `salvage` removes them.
    pub unusable: Vec<PathBuf>,
    /// The segment numbers of `unusable`.
    pub(crate) unusable_indexes: Vec<u64>,
}

/// The content of one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentInspection {
    /// The file. If it is missing, `damage` says so.
    pub file: PathBuf,
    /// First record that it should hold.
    pub first_seq: u64,
    /// Last record that it should hold.
    pub last_seq: u64,
    /// Number of valid records in it.
    pub records: u64,
    /// The damaged ranges, ascending.
    pub damage: Vec<DamagedRange>,
    pub(crate) index: u64,
}

/// A range of bytes in a segment that are damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedRange {
    /// The file.
    pub file: PathBuf,
    /// Start of the range, in bytes from the start of the file.
    pub offset: u64,
    /// Length in bytes, up to the next valid record or the end; 0 for a missing file.
    pub length: u64,
    /// First and last lost record; `None` when only the file's header is damaged.
    pub lost: Option<(u64, u64)>,
    /// What is wrong, as a phrase.
    pub what: &'static str,
}

/// Where a valid record is in its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordLocation {
    /// Its number.
    pub seq: u64,
    /// Start in bytes from the start of the file.
    pub offset: u64,
    /// Length in bytes, header and padding included.
    pub length: u64,
}

impl SegmentInspection {
    /// Whether it is damaged and holds undelivered records.
    #[must_use]
    pub fn blocks_delivery(&self, cursor: u64) -> bool {
        self.last_seq > cursor && !self.damage.is_empty()
    }
}

impl Inspection {
    /// Whether no damage blocks the start or the delivery.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.unrepairable.is_empty()
            && self.unusable.is_empty()
            && self.blocking_damage().next().is_none()
    }

    /// Number of valid records that are not delivered yet.
    #[must_use]
    pub fn undelivered(&self) -> u64 {
        self.segments
            .iter()
            .map(|segment| {
                let forgotten = |first: u64, last: u64| {
                    last.min(self.cursor)
                        .saturating_sub(first - 1)
                        .min(last + 1 - first)
                };
                let lost: u64 = segment
                    .damage
                    .iter()
                    .filter_map(|place| place.lost)
                    .map(|(first, last)| last + 1 - first - forgotten(first, last))
                    .sum();
                let all = segment.last_seq + 1 - segment.first_seq;
                (all - forgotten(segment.first_seq, segment.last_seq)).saturating_sub(lost)
            })
            .sum()
    }

    /// The damage that blocks the start or the delivery, ascending.
    pub fn blocking_damage(&self) -> impl Iterator<Item = &DamagedRange> {
        let damaged = self
            .segments
            .iter()
            .filter(|s| s.blocks_delivery(self.cursor));
        damaged.flat_map(|segment| &segment.damage)
    }
}

/// Examines the journal in `dir`, which no process may have open, and changes nothing. Reads every byte; needs
/// memory for one segment.
///
/// # Errors
/// [`OpenError::InUse`], [`OpenError::UnknownFormat`], and the disk's error when files cannot be listed or
/// opened. Bytes that the disk has lost (EIO) are reported as damage.
pub fn inspect(dir: &Path) -> Result<Inspection, OpenError> {
    inspect_on(&open_dir(dir)?)
}

/// [`inspect`] on any disk.
///
/// # Errors
/// As [`inspect`].
#[doc(hidden)]
pub fn inspect_on(disk: &impl Disk) -> Result<Inspection, OpenError> {
    lock(disk)?;
    let inspection = inspect_locked(disk);
    disk.unlock();
    inspection
}

/// The valid records of one segment file, ascending; for tests and drills that damage a record on purpose.
///
/// # Errors
/// When the file cannot be read or is not a segment.
pub fn record_locations(segment: &Path) -> io::Result<Vec<RecordLocation>> {
    let bytes = std::fs::read(segment)?;
    let name = segment.file_name().and_then(|name| name.to_str());
    let index = name.and_then(layout::parse_segment_name);
    let index = index.ok_or_else(|| io::Error::other("its name is not that of a segment"))?;
    let image = SegmentImage::of(index, bytes, Vec::new());
    let mut places = Vec::new();
    image.scan(0..u64::MAX, |at, record| {
        places.push(RecordLocation {
            seq: record.seq,
            offset: at,
            length: record.framed() as u64,
        });
    });
    Ok(places)
}

pub(crate) fn open_dir(dir: &Path) -> Result<RealDisk, OpenError> {
    let io = |source| OpenError::Io {
        what: "open",
        path: dir.to_path_buf(),
        source,
    };
    if !dir.is_dir() {
        return Err(io(io::ErrorKind::NotFound.into()));
    }
    RealDisk::new(dir).map_err(io)
}

/// A segment file in memory.
pub(crate) struct SegmentImage {
    pub(crate) index: u64,
    pub(crate) bytes: Vec<u8>,
    /// Ranges that the disk could not read; they are zero in `bytes`.
    pub(crate) unreadable: Vec<Range<u64>>,
    /// `None` when it is not valid.
    pub(crate) header: Option<Header>,
    /// The format, when it is another one.
    format: Option<u32>,
    seal: Option<Seal>,
    /// The salt's contribution to the CRC of the records; `None` when it is unknown.
    salt_term: Option<u32>,
}

impl SegmentImage {
    /// Reads the file; unreadable bytes are zero.
    pub(crate) fn load(disk: &dyn Disk, index: u64) -> io::Result<Self> {
        let file = disk.open(&layout::segment_name(index))?;
        let mut bytes = Vec::new();
        let mut unreadable: Vec<Range<u64>> = Vec::new();
        loop {
            let at = bytes.len();
            if at as u64 >= FILE_BYTES_MAX {
                break;
            }
            bytes.resize(at + (1 << 20), 0);
            let have = match read_fully(&*file, &mut bytes[at..], at as u64) {
                Ok(have) => have,
                Err(error) if is_bad_medium(&error) => {
                    read_in_units(&*file, &mut bytes[at..], at as u64, &mut unreadable)?
                }
                Err(error) => return Err(error),
            };
            bytes.truncate(at + have);
            if have < 1 << 20 {
                break;
            }
        }
        Ok(Self::of(index, bytes, unreadable))
    }

    /// The image of a missing file.
    pub(crate) fn nothing(index: u64) -> Self {
        Self::of(index, Vec::new(), Vec::new())
    }

    fn of(index: u64, bytes: Vec<u8>, unreadable: Vec<Range<u64>>) -> Self {
        let block = |at: u64| {
            let at = (at as usize).min(bytes.len());
            &bytes[at..bytes.len().min(at + BLOCK)]
        };
        let (header, format) = match Header::decode(block(0)) {
            Ok(header) if header.index == index => (Some(header), None),
            Err(HeaderError::Format(format)) => (None, Some(format)),
            _ => (None, None),
        };
        let salt = header
            .map(|header| header.salt)
            .or_else(|| Seal::salt(block(SEAL_OFFSET)));
        let seal = salt.and_then(|salt| Seal::decode(block(SEAL_OFFSET), salt));
        let mut image = Self {
            index,
            header,
            format,
            seal,
            salt_term: salt.map(layout::salt_term),
            unreadable,
            bytes,
        };
        if image.salt_term.is_none() {
            image.salt_term = image.infer_salt_term();
        }
        image
    }

    /// Derives the salt's contribution when header and seal are lost: from two adjacent records whose checksums
    /// give the same value.
    fn infer_salt_term(&self) -> Option<u32> {
        let mut at = DATA_OFFSET as usize;
        while at + RECORD_HEADER <= self.bytes.len() {
            let here = &self.bytes[at..];
            let record = RecordHeader::read(here);
            if let Some(term) = record.salt_term(here)
                && let Some(next) = here.get(record.framed()..)
                && next.len() >= RECORD_HEADER
            {
                let follower = RecordHeader::read(next);
                if follower.seq == record.seq.wrapping_add(1)
                    && follower.salt_term(next) == Some(term)
                {
                    return Some(term);
                }
            }
            at += 8;
        }
        None
    }

    fn record_at(&self, at: u64) -> Option<RecordHeader> {
        let here = self.bytes.get(at as usize..)?;
        if here.len() < RECORD_HEADER {
            return None;
        }
        let record = RecordHeader::read(here);
        let fits = record.framed() <= here.len();
        (fits && record.salt_term(here).is_some() && record.salt_term(here) == self.salt_term)
            .then_some(record)
    }

    /// The frame of the record at `at`.
    pub(crate) fn frame(&self, at: u64, record: &RecordHeader) -> &[u8] {
        &self.bytes[at as usize..at as usize + record.framed()]
    }

    /// Upper bound of the end of the records.
    fn limit(&self) -> u64 {
        let length = self.bytes.len() as u64;
        match self.seal {
            Some(seal) if seal.is_final => seal.end.min(length),
            _ => length,
        }
    }

    /// Visits all valid records with ascending numbers in `numbers`. The cost of trying every offset is
    /// bounded: bytes that look like headers are verified for at most 64 times the segment's length.
    pub(crate) fn scan(&self, numbers: Range<u64>, mut visit: impl FnMut(u64, &RecordHeader)) {
        let limit = self.limit();
        let mut at = DATA_OFFSET;
        let mut least = numbers.start.max(1);
        let mut most = numbers.end;
        let capacity = self.bytes.len() as u64 / RECORD_HEADER as u64;
        let mut budget = (self.bytes.len() as u64).saturating_mul(64);
        while at + RECORD_HEADER as u64 <= limit {
            let record = RecordHeader::read(&self.bytes[at as usize..]);
            let fits = record.framed() as u64 <= limit - at;
            if !fits || record.seq < least || record.seq >= most {
                at += 8;
                continue;
            }
            let cost = record.framed() as u64;
            if cost > budget {
                return;
            }
            if self.record_at(at).is_none() {
                budget -= cost;
                at += 8;
                continue;
            }
            visit(at, &record);
            least = record.seq + 1;
            // The number of records that fit after it is bounded.
            most = numbers.end.min(least.saturating_add(capacity));
            at += cost;
        }
    }

    /// Whether no record was ever written to it: until then seal and first record are zero.
    fn is_unused(&self) -> bool {
        let zero = |from: u64| {
            let from = (from as usize).min(self.bytes.len());
            let block = &self.bytes[from..self.bytes.len().min(from + BLOCK)];
            block.iter().all(|byte| *byte == 0)
        };
        self.unreadable.is_empty() && zero(SEAL_OFFSET) && zero(DATA_OFFSET)
    }
}

/// Whether the disk has lost the bytes. Other errors (permissions, no file handles) say nothing about them.
fn is_bad_medium(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

/// Reads block by block what the disk can read; returns the number of bytes of the file.
fn read_in_units(
    file: &dyn DiskFile,
    buffer: &mut [u8],
    start: u64,
    unreadable: &mut Vec<Range<u64>>,
) -> io::Result<usize> {
    let mut have = 0;
    while have < buffer.len() {
        let end = buffer.len().min(have + UNIT);
        let unit = &mut buffer[have..end];
        let at = start + have as u64;
        match read_fully(file, unit, at) {
            Ok(count) => {
                have += count;
                if count < UNIT {
                    break;
                }
            }
            Err(error) if is_bad_medium(&error) => {
                unit.fill(0);
                have = end;
                let hole = at..start + end as u64;
                match unreadable.last_mut() {
                    Some(last) if last.end == hole.start => last.end = hole.end,
                    _ => unreadable.push(hole),
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(have)
}

/// The facts about one segment, collected step by step.
struct Slot {
    index: u64,
    /// What is wrong with the whole file.
    problem: Option<&'static str>,
    exists: bool,
    /// Whether no record was ever written to it.
    is_unused: bool,
    is_sealed: bool,
    records: u64,
    first_good: u64,
    last_good: u64,
    /// Bytes between valid records: record before (0 = none), start, end, record after.
    gaps: Vec<(u64, u64, u64, u64)>,
    /// End of the last valid record, and end of the space for records.
    tail: Range<u64>,
    /// The highest number that was durable for sure.
    durable: u64,
    /// First and last number once they are known; 0 until then.
    first: u64,
    last: u64,
}

impl Slot {
    fn missing(index: u64, what: &'static str) -> Self {
        Self {
            index,
            problem: Some(what),
            exists: false,
            is_unused: false,
            is_sealed: true,
            records: 0,
            first_good: 0,
            last_good: 0,
            gaps: Vec::new(),
            tail: 0..0,
            durable: 0,
            first: 0,
            last: 0,
        }
    }

    fn of(image: &SegmentImage, numbers: Range<u64>) -> Self {
        let mut slot = Self::missing(image.index, "");
        slot.problem = match (&image.header, image.unreadable.is_empty()) {
            (None, _) => Some("its header is damaged"),
            _ => None,
        };
        slot.exists = true;
        slot.is_unused = image.is_unused();
        let mut end = DATA_OFFSET;
        let mut gaps = Vec::new();
        let (mut first, mut last, mut durable, mut records) = (0, 0, 0, 0);
        image.scan(numbers, |at, record| {
            let is_next = last == 0 || record.seq == last + 1;
            if at != end || !is_next {
                gaps.push((last, end, at, record.seq));
            }
            if first == 0 {
                first = record.seq;
            }
            durable = durable.max(record.durable_before().saturating_sub(1));
            last = record.seq;
            records += 1;
            end = at + record.framed() as u64;
        });
        slot.is_sealed = false;
        let mut tail_end = image.limit();
        if let Some(seal) = image.seal {
            slot.is_sealed = seal.is_final;
            slot.first = seal.first_seq;
            durable = durable.max(seal.last_seq);
            if seal.is_final {
                slot.last = seal.last_seq;
            }
            tail_end = seal.end;
        } else if first != 0 && gaps.first().is_none_or(|gap| gap.0 != 0) {
            slot.first = first;
        }
        slot.records = records;
        slot.first_good = first;
        slot.last_good = last;
        slot.durable = durable;
        slot.gaps = gaps;
        slot.tail = end..tail_end.max(end);
        slot
    }

    const fn is_empty(&self) -> bool {
        self.records == 0 && self.durable == 0
    }

    /// Excludes the torn tail of the newest segment: what was not durable for sure was never acknowledged.
    /// `before` is the last number of the segment before it.
    fn exclude_torn_tail(&mut self, before: u64) {
        if self.is_sealed {
            return;
        }
        let missing_first =
            |gap: &(u64, u64, u64, u64)| gap.0.max(before).max(self.first.saturating_sub(1)) + 1;
        let torn = self
            .gaps
            .iter()
            .position(|gap| missing_first(gap) > self.durable);
        if let Some(at) = torn {
            let (before, from, ..) = self.gaps[at];
            self.gaps.truncate(at);
            self.last_good = before;
            self.tail = from..from;
            if before == 0 {
                (self.records, self.durable) = (0, 0);
                return;
            }
        }
        self.last = self.last_good.max(self.durable);
        if self.last == self.last_good {
            self.tail.end = self.tail.start;
        }
    }

    fn damage(&self, disk: &dyn Disk) -> Vec<DamagedRange> {
        let file = disk.path(&layout::segment_name(self.index));
        let place = |from: u64, to: u64, lost: Option<(u64, u64)>, what| DamagedRange {
            file: file.clone(),
            offset: from,
            length: to - from,
            lost,
            what,
        };
        let mut found = Vec::new();
        if self.records == 0 {
            let what = self.problem.unwrap_or("all its records are damaged");
            let lost = (self.first <= self.last).then_some((self.first, self.last));
            return vec![place(self.tail.start, self.tail.end, lost, what)];
        }
        if let Some(what) = self.problem {
            found.push(place(0, BLOCK as u64, None, what));
        }
        let damaged = "bytes are damaged";
        for (before, from, to, after) in &self.gaps {
            let first = (before + 1).max(self.first);
            let lost = (first < *after).then(|| (first, after - 1));
            found.push(place(*from, *to, lost, damaged));
        }
        if self.last > self.last_good {
            let lost = Some((self.last_good + 1, self.last));
            found.push(place(self.tail.start, self.tail.end, lost, damaged));
        }
        found
    }
}

pub(crate) fn inspect_locked(disk: &dyn Disk) -> Result<Inspection, OpenError> {
    let io = |what, name: &str, source| OpenError::Io {
        what,
        path: disk.path(name),
        source,
    };
    let names = disk.list().map_err(|e| io("list", "", e))?;
    let mut indexes: Vec<u64> = names
        .iter()
        .filter_map(|name| layout::parse_segment_name(name))
        .collect();
    indexes.sort_unstable();
    let mut unrepairable = Vec::new();
    let kept_cursor = read_cursor(disk, &mut unrepairable)?;
    let mut slots = examine(disk, &indexes)?;
    let unusable_indexes = split_off_unused(disk, &mut slots, &mut unrepairable);
    assign_numbers(&mut slots, kept_cursor.unwrap_or(0));
    let oldest = slots.first().map_or(1, |oldest| oldest.first);
    // Like the next start: without a cursor all records are delivered again.
    let cursor = kept_cursor.unwrap_or(oldest.saturating_sub(1));
    // The oldest files are missing, and their records were not delivered.
    if oldest > cursor + 1 && slots[0].index > 0 {
        let mut gone = Slot::missing(slots[0].index - 1, "the file is missing");
        (gone.first, gone.last) = (cursor + 1, oldest - 1);
        slots.insert(0, gone);
    }
    let segments = slots.iter().map(|slot| {
        let damage = slot.damage(disk);
        let lost = damage.iter().filter_map(|place| place.lost);
        let lost: u64 = lost.map(|(first, last)| last + 1 - first).sum();
        SegmentInspection {
            file: disk.path(&layout::segment_name(slot.index)),
            first_seq: slot.first,
            last_seq: slot.last,
            records: (slot.last + 1).saturating_sub(slot.first + lost),
            damage,
            index: slot.index,
        }
    });
    Ok(Inspection {
        cursor,
        segments: segments.collect(),
        unrepairable,
        unusable: unusable_indexes
            .iter()
            .map(|index| disk.path(&layout::segment_name(*index)))
            .collect(),
        unusable_indexes,
    })
}

/// One slot for each segment, also for missing files in between.
fn examine(disk: &dyn Disk, indexes: &[u64]) -> Result<Vec<Slot>, OpenError> {
    let mut slots: Vec<Slot> = Vec::new();
    let mut least = 0;
    for index in indexes {
        let after = slots.last().map_or(*index, |slot| slot.index + 1);
        slots.extend((after..*index).map(|gone| Slot::missing(gone, "the file is missing")));
        let slot = match SegmentImage::load(disk, *index) {
            Ok(image) => match image.format {
                None => Slot::of(&image, least..u64::MAX),
                Some(found) => {
                    return Err(OpenError::UnknownFormat {
                        file: disk.path(&layout::segment_name(*index)),
                        found,
                        known: FORMAT,
                    });
                }
            },
            Err(error) if !is_bad_medium(&error) => {
                return Err(OpenError::Io {
                    what: "read",
                    path: disk.path(&layout::segment_name(*index)),
                    source: error,
                });
            }
            Err(_) => Slot {
                exists: true,
                ..Slot::missing(*index, "the file cannot be read")
            },
        };
        least = slot.last_good.max(slot.durable).max(least);
        slots.push(slot);
    }
    Ok(slots)
}

/// Keeps the segments with records in `slots`, the newest without its torn tail. Returns the prepared segments
/// that must be removed because one before them is damaged or missing.
fn split_off_unused(
    disk: &dyn Disk,
    slots: &mut Vec<Slot>,
    unrepairable: &mut Vec<Damage>,
) -> Vec<u64> {
    let with_records = slots.iter().rposition(|slot| !slot.is_empty());
    let mut unused = slots.split_off(with_records.map_or(0, |at| at + 1));
    if let Some((newest, older)) = slots.split_last_mut() {
        let before = older.last();
        newest.exclude_torn_tail(before.map_or(0, |slot| slot.last.max(slot.last_good)));
        if newest.is_empty() {
            unused.splice(0..0, slots.pop());
        }
    }
    let Some(hole) = unused.iter().position(|slot| slot.problem.is_some()) else {
        return Vec::new();
    };
    // A segment is sealed before the next one gets its first record.
    let was_begun = hole == 0 && slots.last().is_none_or(|slot| slot.is_sealed);
    if was_begun && !unused[hole].is_unused {
        unrepairable.push(Damage {
            file: disk.path(&layout::segment_name(unused[hole].index)),
            offset: 0,
            what: format!(
                "{}, and the records that it held are unknown",
                unused[hole].problem.unwrap_or_default()
            ),
            remedy: "restore this file from a copy, or make it readable; where that is impossible, move the \
                   whole journal directory aside (keep it: it holds what was not yet delivered) and start \
                   with a new one",
        });
        return Vec::new();
    }
    let unusable = unused[hole..].iter().filter(|slot| slot.exists);
    unusable.map(|slot| slot.index).collect()
}

/// Derives the first and last number of each segment from the adjacent segments.
fn assign_numbers(slots: &mut [Slot], cursor: u64) {
    loop {
        let mut has_changed = false;
        for at in 0..slots.len() {
            let before = at.checked_sub(1).map_or(0, |before| slots[before].last);
            let after = slots.get(at + 1).map_or(0, |after| after.first);
            let slot = &mut slots[at];
            if slot.first == 0 && before != 0 {
                slot.first = before + 1;
                has_changed = true;
            }
            if slot.last == 0 && after != 0 {
                slot.last = (after - 1).max(slot.last_good);
                has_changed = true;
            }
        }
        if has_changed {
            continue;
        }
        // The border of two adjacent segments is unknown: it follows from the valid records, or one number is assumed.
        let unknown = slots
            .iter_mut()
            .find(|slot| slot.first == 0 || slot.last == 0);
        let Some(slot) = unknown else {
            return;
        };
        if slot.first == 0 {
            slot.first = match slot.first_good {
                0 => (cursor + 1).min(slot.last.max(1)),
                good => good.min(cursor + 1),
            };
        } else {
            slot.last = slot.last_good.max(slot.durable).max(slot.first);
        }
    }
}

fn read_cursor(disk: &dyn Disk, unrepairable: &mut Vec<Damage>) -> Result<Option<u64>, OpenError> {
    let io = |source| OpenError::Io {
        what: "read",
        path: disk.path(CURSOR_FILE),
        source,
    };
    let file: Arc<dyn DiskFile> = match disk.open(CURSOR_FILE) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    match crate::cursor::read(&*file).map_err(io)? {
        Ok((_, cursor)) => Ok(Some(cursor)),
        Err(HeaderError::Format(found)) => Err(OpenError::UnknownFormat {
            file: disk.path(CURSOR_FILE),
            found,
            known: FORMAT,
        }),
        Err(HeaderError::Damaged) => {
            unrepairable.push(crate::cursor::damage(disk));
            Ok(None)
        }
    }
}
