//! A journal with damaged bytes, looked at and made deliverable again: for a person with a command, while no
//! process has the journal open.
//!
//! A bit that rots, a sector that cannot be read, a file that somebody removed: whatever lies behind it could
//! otherwise not be delivered, since the sequence must have no gap. [`inspect`] finds every damaged place of what
//! is not yet delivered. [`salvage`] puts a *remnant* in the place of each damaged record: a record of the same
//! number, whose first byte is [`REMNANT`] and whose other bytes are what is left of the damaged one. All other
//! records keep their bytes and numbers. Who delivers remnants keeps them apart (as dead letters), because what
//! they say cannot be trusted.
//!
//! Salvaging may be killed at any moment and run again: damaged bytes are handed to `keep` before anything is
//! written over them, and a remnant that was torn is a damaged record again.

use crate::cursor::{CURSOR_FILE, CursorFile, CursorTrouble};
use crate::disk::real::RealDisk;
use crate::disk::{Disk, DiskFile, read_fully, write_whole};
use crate::error::{OpenError, RESTORE_CURE};
use crate::journal::lock;
use crate::layout::{
    self, BLOCK, DATA_OFFSET, FORMAT, Header, NoHeader, RECORD_HEADER, RecordHeader, SEAL_OFFSET,
    Seal,
};
use crate::supply::TEMPORARY_ENDING;
use crate::window::Window;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The first byte of what [`salvage`] puts in the place of a damaged record. No format of records begins so.
pub const REMNANT: u8 = 0xFF;

const READ_BYTES: usize = 1 << 20;
const SECTOR: usize = 512;

/// Keeps the bytes of a damaged stretch: the segment's name, the offset in it, the bytes.
pub type Keep<'a> = dyn FnMut(&str, u64, &[u8]) -> io::Result<()> + 'a;

/// What [`inspect`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Segments with records, oldest first.
    pub segments: Vec<SegmentReport>,
    /// Records up to here are delivered.
    pub cursor: u64,
    /// The last record that is known to have been there.
    pub last_seq: u64,
    /// Damaged places among what is not delivered, in their order.
    pub damaged: Vec<DamagedPlace>,
}

impl Inspection {
    /// Records that are not delivered, the damaged ones included.
    #[must_use]
    pub const fn waiting(&self) -> u64 {
        self.last_seq.saturating_sub(self.cursor)
    }
}

/// One segment file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentReport {
    /// Its path.
    pub file: PathBuf,
    /// Its first record.
    pub first_seq: u64,
    /// Its last record.
    pub last_seq: u64,
    /// Bytes from its start to the end of its last record.
    pub bytes: u64,
    /// Whether no more was to be written to it.
    pub is_sealed: bool,
}

/// A stretch of a segment file that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedPlace {
    /// The file.
    pub file: PathBuf,
    /// Where the stretch begins, in bytes from the file's start.
    pub offset: u64,
    /// Its length; 0 for a file that is missing.
    pub bytes: u64,
    /// The first record in it.
    pub first_seq: u64,
    /// The last record in it.
    pub last_seq: u64,
    /// What is wrong, in words.
    pub what: &'static str,
}

impl DamagedPlace {
    /// Records in it.
    #[must_use]
    pub const fn records(&self) -> u64 {
        self.last_seq - self.first_seq + 1
    }
}

impl std::fmt::Display for DamagedPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let file = self.file.display();
        let Self { offset, bytes, .. } = self;
        if self.first_seq == self.last_seq {
            write!(f, "record {}", self.first_seq)?;
        } else {
            write!(f, "records {} to {}", self.first_seq, self.last_seq)?;
        }
        write!(
            f,
            " in {file}, {bytes} bytes at byte {offset}: {}",
            self.what
        )
    }
}

/// Looks at the journal in `dir` and changes nothing. Reads all that is not delivered.
///
/// # Errors
/// When another process has the journal open, it is of another format, or the disk refuses.
pub fn inspect(dir: &Path) -> Result<Inspection, OpenError> {
    inspect_on(&real(dir)?)
}

/// Makes the journal in `dir` deliverable again and says what was found. `keep` gets the bytes of each damaged
/// stretch, with the segment's name and the offset, and must have made them certain when it returns; it gets
/// them again when salvaging is run again after it was cut short.
///
/// # Errors
/// As [`inspect`], and when `keep` or the disk refuses. What was done until then stays.
pub fn salvage(dir: &Path, keep: &mut Keep<'_>) -> Result<Inspection, OpenError> {
    salvage_on(&real(dir)?, keep)
}

fn real(dir: &Path) -> Result<RealDisk, OpenError> {
    if !dir.is_dir() {
        return Err(OpenError::Io {
            what: "find the journal's directory",
            path: dir.to_path_buf(),
            source: io::ErrorKind::NotFound.into(),
        });
    }
    RealDisk::new(dir).map_err(|source| OpenError::Io {
        what: "open the directory",
        path: dir.to_path_buf(),
        source,
    })
}

/// [`inspect`] on any disk.
///
/// # Errors
/// As [`inspect`].
#[doc(hidden)]
pub fn inspect_on(disk: &dyn Disk) -> Result<Inspection, OpenError> {
    lock(disk)?;
    let found = survey(disk).map(|survey| survey.inspection);
    disk.unlock();
    found
}

/// [`salvage`] on any disk.
///
/// # Errors
/// As [`salvage`].
#[doc(hidden)]
pub fn salvage_on(disk: &dyn Disk, keep: &mut Keep<'_>) -> Result<Inspection, OpenError> {
    lock(disk)?;
    let done = survey(disk).and_then(|survey| {
        for (place, of) in survey.inspection.damaged.iter().zip(&survey.of) {
            repair(disk, place, of, keep)?;
        }
        Ok(survey.inspection)
    });
    disk.unlock();
    done
}

/// What is found, and for each damaged place the segment that it is in.
#[derive(Default)]
struct Survey {
    inspection: Inspection,
    of: Vec<Home>,
}

/// The segment of a damaged place, as it is or should be.
#[derive(Clone)]
struct Home {
    header: Header,
    /// When the record before the place was written.
    at_s: u32,
    /// What must be written beside the remnants.
    needs: Needs,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    /// The block at the start of the file.
    Header,
    /// The whole file, from its header to its seal.
    File,
}

/// A segment file as far as it can be told.
struct Seen {
    index: u64,
    header: Option<Header>,
    has_header: bool,
    seal: Option<Seal>,
    file: Arc<dyn DiskFile>,
}

fn survey(disk: &dyn Disk) -> Result<Survey, OpenError> {
    let cursor = match CursorFile::open(disk) {
        Ok(file) => Some(file.kept()),
        Err(CursorTrouble::Io(error)) if error.kind() == io::ErrorKind::NotFound => None,
        Err(CursorTrouble::Io(error)) => return Err(io_at(disk, "read", CURSOR_FILE, error)),
        Err(CursorTrouble::Damaged(damage)) => return Err(damage.into()),
        Err(CursorTrouble::UnknownFormat(found)) => {
            return Err(unknown_format(disk, CURSOR_FILE, found));
        }
    };
    let names = disk.list().map_err(|e| io_at(disk, "list", "", e))?;
    let mut indexes: Vec<u64> = names
        .iter()
        .filter_map(|name| layout::segment_index(name))
        .collect();
    indexes.sort_unstable();
    let mut all = Vec::with_capacity(indexes.len());
    for index in indexes {
        all.push(look(disk, index)?);
    }
    let pattern = all
        .iter()
        .find(|seen| seen.has_header)
        .and_then(|seen| seen.header);
    // A header that is lost is known again from the seal and from the other files.
    for seen in all.iter_mut().filter(|seen| seen.header.is_none()) {
        let name = layout::segment_name(seen.index);
        seen.header = rebuilt(disk, seen, pattern).map_err(|e| io_at(disk, "read", &name, e))?;
    }
    let mut survey = Survey::default();
    survey.inspection.cursor = cursor.unwrap_or(0);
    let mut last_seq = 0;
    for (at, seen) in all.iter().enumerate() {
        // Files that are missing before this one: between two, or before the first what is not delivered.
        let missing = match at.checked_sub(1) {
            Some(previous) => all[previous].index + 1..seen.index,
            None if cursor.is_some() && seen.index > 1 => seen.index - 1..seen.index,
            None => seen.index..seen.index,
        };
        if at == 0 {
            last_seq = cursor.unwrap_or(0);
        }
        let name = layout::segment_name(seen.index);
        let first = first_seq(seen).map_err(|e| io_at(disk, "read", &name, e))?;
        if let Some(first) = first.filter(|first| *first > last_seq + 1)
            && !missing.is_empty()
        {
            last_seq = survey.note_missing(disk, pattern, missing, last_seq + 1..first)?;
        } else if at == 0 {
            last_seq = 0;
        }
        let next = all.get(at + 1).filter(|next| next.index == seen.index + 1);
        let next_first = match next {
            Some(next) => first_seq(next)
                .map_err(|e| io_at(disk, "read", &layout::segment_name(next.index), e))?,
            None => None,
        };
        last_seq = survey_segment(disk, seen, last_seq, next_first, &mut survey)?.max(last_seq);
    }
    let inspection = &mut survey.inspection;
    inspection.last_seq = last_seq.max(inspection.cursor);
    if cursor.is_none()
        && let Some(first) = inspection.segments.first()
    {
        inspection.cursor = first.first_seq.saturating_sub(1);
    }
    // What is delivered harms nobody; the next start drops or passes over it.
    let cursor = inspection.cursor;
    let mut of = survey.of.into_iter();
    let mut kept = Vec::new();
    inspection.damaged.retain(|place| {
        let home = of.next();
        let is_needed = place.last_seq > cursor;
        if is_needed {
            kept.extend(home);
        }
        is_needed
    });
    survey.of = kept;
    Ok(survey)
}

impl Survey {
    /// Notes files that are missing, and the records that were in them; gives the last of these.
    fn note_missing(
        &mut self,
        disk: &dyn Disk,
        pattern: Option<Header>,
        indexes: std::ops::Range<u64>,
        records: std::ops::Range<u64>,
    ) -> Result<u64, OpenError> {
        let mut first_seq = records.start;
        for index in indexes.clone() {
            let Some(pattern) = pattern else {
                return Err(beyond_cure(disk, index));
            };
            // How they were shared is not known, only that each file had some.
            let last_seq = match index + 1 == indexes.end {
                true => records.end - 1,
                false => first_seq,
            };
            if last_seq < first_seq {
                return Err(beyond_cure(disk, index));
            }
            let header = Header {
                index,
                salt: disk.random(),
                ..pattern
            };
            let place = DamagedPlace {
                file: disk.path(&layout::segment_name(index)),
                offset: 0,
                bytes: 0,
                first_seq,
                last_seq,
                what: "the file is missing",
            };
            self.note(place, &header, 0, Needs::File);
            first_seq = last_seq + 1;
        }
        Ok(first_seq - 1)
    }

    fn note(&mut self, place: DamagedPlace, header: &Header, at_s: u32, needs: Needs) {
        self.inspection.damaged.push(place);
        self.of.push(Home {
            header: *header,
            at_s,
            needs,
        });
    }
}

fn look(disk: &dyn Disk, index: u64) -> Result<Seen, OpenError> {
    let name = layout::segment_name(index);
    let file = disk
        .open(&name)
        .map_err(|e| io_at(disk, "open", &name, e))?;
    let mut block = [0; BLOCK];
    let _ = read_bearing(&*file, &mut block, 0);
    let header = match Header::decode(&block) {
        Ok(header) if header.index == index => Some(header),
        Err(NoHeader::Format(found)) => return Err(unknown_format(disk, &name, found)),
        Ok(_) | Err(NoHeader::Damaged) => None,
    };
    block.fill(0);
    let _ = read_bearing(&*file, &mut block, SEAL_OFFSET);
    let seal = match header {
        Some(header) => Seal::decode(&block, header.salt),
        None => Seal::decode_any(&block).map(|(seal, _)| seal),
    };
    Ok(Seen {
        index,
        header,
        has_header: header.is_some(),
        seal,
        file,
    })
}

/// A lost header, from the seal's salt and another file's bounds; without a seal there is no salt, and nothing
/// in the file can be told from what an earlier life left there.
fn rebuilt(disk: &dyn Disk, seen: &Seen, pattern: Option<Header>) -> io::Result<Option<Header>> {
    let mut block = [0; BLOCK];
    let _ = read_bearing(&*seen.file, &mut block, SEAL_OFFSET);
    let salt = Seal::decode_any(&block).map(|(_, salt)| salt);
    let Some(pattern) = pattern else {
        return Ok(None);
    };
    Ok(Some(Header {
        salt: salt.unwrap_or_else(|| disk.random()),
        index: seen.index,
        ..pattern
    }))
}

/// The first record of a segment, if that can be told.
fn first_seq(seen: &Seen) -> io::Result<Option<u64>> {
    if let Some(seal) = seen.seal {
        return Ok(Some(seal.first_seq));
    }
    let Some(header) = seen.header else {
        return Ok(None);
    };
    let mut window = Window::new(READ_BYTES);
    let record = window.record(&*seen.file, DATA_OFFSET, header.bytes, header.salt);
    Ok(record.unwrap_or(None).map(|(record, _)| record.seq))
}

/// Walks along the records of one segment; gives the last that is known to have been there, 0 for none.
fn survey_segment(
    disk: &dyn Disk,
    seen: &Seen,
    before: u64,
    next_first: Option<u64>,
    survey: &mut Survey,
) -> Result<u64, OpenError> {
    let name = layout::segment_name(seen.index);
    let Some(header) = seen.header else {
        return Err(beyond_cure(disk, seen.index));
    };
    // Records up to here were there; `None`: whatever follows a torn one was never acknowledged.
    let sealed = seen.seal.filter(|seal| seal.is_last_word);
    let known_last = match sealed {
        Some(seal) => Some(seal.last_seq),
        None => seen
            .seal
            .map(|mark| mark.last_seq)
            .max(next_first.map(|next| next.saturating_sub(1))),
    };
    let limit = sealed.map_or(header.bytes, |seal| seal.end.min(header.bytes));
    let mut expected = match (seen.seal, before) {
        (Some(seal), _) => seal.first_seq,
        (None, 0) => 0,
        (None, before) => before + 1,
    };
    let mut walk = Walk::new(&header, &*seen.file);
    let (mut at, mut last, mut at_s) = (DATA_OFFSET, 0, 0);
    let mut first = 0;
    let mut needs = if seen.has_header {
        Needs::Nothing
    } else {
        Needs::Header
    };
    loop {
        let record = walk.record(at, limit);
        if let Some(record) = record.filter(|record| expected == 0 || record.seq == expected) {
            first = if first == 0 { record.seq } else { first };
            last = record.seq;
            at_s = record.at_s;
            expected = last + 1;
            at += record.framed() as u64;
            continue;
        }
        let wanted = expected.max(1);
        let next = walk.next_whole(at, limit, wanted);
        let is_known = known_last.is_some_and(|known| known >= wanted);
        let was_durable =
            is_known || next.is_some_and(|(_, record)| record.durable_before() > wanted);
        if !was_durable {
            break;
        }
        let (end, last_lost) = match (next, sealed) {
            (Some((offset, record)), _) => (offset, record.seq - 1),
            (None, Some(seal)) => (seal.end, seal.last_seq),
            (None, None) => match seen.seal.filter(|mark| mark.last_seq >= wanted) {
                Some(mark) => (mark.end, mark.last_seq),
                None => (limit, known_last.unwrap_or(wanted)),
            },
        };
        let place = DamagedPlace {
            file: disk.path(&name),
            offset: at,
            bytes: end.saturating_sub(at),
            first_seq: wanted,
            last_seq: last_lost,
            what: "not as it was written",
        };
        // Every remnant needs room for itself.
        if place.bytes < place.records() * layout::framed(1) as u64 {
            return Err(beyond_cure(disk, seen.index));
        }
        first = if first == 0 { wanted } else { first };
        survey.note(place, &header, at_s, needs);
        needs = Needs::Nothing;
        last = last_lost;
        expected = last + 1;
        at = end;
        if next.is_none() {
            break;
        }
    }
    if needs == Needs::Header && first != 0 {
        // All its records are whole; only the header is not.
        let place = DamagedPlace {
            file: disk.path(&name),
            offset: 0,
            bytes: BLOCK as u64,
            first_seq: first,
            last_seq: last,
            what: "its header is not as it was written; all its records are",
        };
        survey.note(place, &header, 0, Needs::Header);
    }
    if first != 0 {
        survey.inspection.segments.push(SegmentReport {
            file: disk.path(&name),
            first_seq: first,
            last_seq: last,
            bytes: at,
            is_sealed: sealed.is_some(),
        });
    }
    Ok(last)
}

/// Walks along the records of one segment, bearing with what cannot be read.
pub(crate) struct Walk<'a> {
    header: &'a Header,
    file: &'a dyn DiskFile,
    window: Window,
}

impl<'a> Walk<'a> {
    pub(crate) const fn new(header: &'a Header, file: &'a dyn DiskFile) -> Self {
        Self {
            header,
            file,
            window: Window::new(READ_BYTES),
        }
    }

    /// The whole record at `at`; what cannot be read is no whole record.
    fn record(&mut self, at: u64, limit: u64) -> Option<RecordHeader> {
        let record = self.window.record(self.file, at, limit, self.header.salt);
        match record {
            Ok(record) => record.map(|(record, _)| record),
            Err(_) => {
                self.window.clear();
                self.whole_in_sectors(at, limit)
            }
        }
    }

    /// As above, where a part of the file near `at` cannot be read.
    fn whole_in_sectors(&self, at: u64, limit: u64) -> Option<RecordHeader> {
        let mut head = [0; RECORD_HEADER];
        read_bearing(self.file, &mut head, at).ok()?;
        let record = RecordHeader::read(&head);
        if record.framed() as u64 > limit.saturating_sub(at) {
            return None;
        }
        let mut frame = vec![0; record.framed()];
        read_bearing(self.file, &mut frame, at).ok()?;
        record.is_whole(&frame, self.header.salt).then_some(record)
    }

    /// The first whole record behind `at` with a number above `wanted`.
    pub(crate) fn next_whole(
        &mut self,
        at: u64,
        limit: u64,
        wanted: u64,
    ) -> Option<(u64, RecordHeader)> {
        // No more records than this fit behind `at`.
        let seq_end = wanted + 1 + limit.saturating_sub(at) / layout::framed(1) as u64;
        let mut offset = at + 8;
        let mut block = vec![0; READ_BYTES];
        while offset + RECORD_HEADER as u64 <= limit {
            let length = ((limit - offset) as usize).min(READ_BYTES);
            let _ = read_bearing(self.file, &mut block[..length], offset);
            let steps = (length - RECORD_HEADER) / 8 + 1;
            for step in 0..steps {
                let record = RecordHeader::read(&block[step * 8..]);
                let place = offset + step as u64 * 8;
                let is_likely = record.seq > wanted
                    && record.seq <= seq_end
                    && record.framed() as u64 <= limit - place;
                if is_likely && self.record(place, limit).is_some() {
                    return Some((place, record));
                }
            }
            offset += steps as u64 * 8;
        }
        None
    }
}

/// Reads what can be read; sectors that cannot are zeros.
fn read_bearing(file: &dyn DiskFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    if let Ok(read) = read_fully(file, buffer, offset) {
        return Ok(read);
    }
    let mut done = 0;
    while done < buffer.len() {
        let at = offset + done as u64;
        let to_sector = SECTOR - (at % SECTOR as u64) as usize;
        let part = to_sector.min(buffer.len() - done);
        if read_fully(file, &mut buffer[done..done + part], at).is_err() {
            buffer[done..done + part].fill(0);
        }
        done += part;
    }
    Ok(done)
}

fn repair(
    disk: &dyn Disk,
    place: &DamagedPlace,
    home: &Home,
    keep: &mut Keep<'_>,
) -> Result<(), OpenError> {
    let name = layout::segment_name(home.header.index);
    let failed = |what| {
        let name = name.clone();
        move |error| io_at(disk, what, &name, error)
    };
    if home.needs == Needs::File {
        return make_anew(disk, place, &home.header).map_err(failed("make anew"));
    }
    let file = disk.open(&name).map_err(failed("open"))?;
    let mut raw = vec![0; place.bytes as usize];
    read_bearing(&*file, &mut raw, place.offset).map_err(failed("read"))?;
    keep(&name, place.offset, &raw).map_err(failed("keep the damaged bytes of"))?;
    if home.needs == Needs::Header {
        write_whole(&*file, &home.header.encode(), 0).map_err(failed("write the header of"))?;
    }
    if place.offset >= DATA_OFFSET {
        let frames = remnants(place, home, &raw);
        write_whole(&*file, &frames, place.offset).map_err(failed("write remnants to"))?;
    }
    file.sync().map_err(failed("sync"))
}

/// Frames for all records of a place, as long as the place: the last takes what the others leave.
fn remnants(place: &DamagedPlace, home: &Home, raw: &[u8]) -> Vec<u8> {
    let mut frames = Vec::with_capacity(raw.len());
    let least = layout::framed(1);
    let mut rest = raw;
    for seq in place.first_seq..=place.last_seq {
        let others = (place.last_seq - seq) as usize * least;
        // Where the header still says how long the record was, and there is room, that is kept.
        let told = RecordHeader::read(rest);
        let fits = told.seq == seq && (least..=rest.len() - others).contains(&told.framed());
        let length = match (seq == place.last_seq, fits) {
            (true, _) => rest.len(),
            (false, true) => told.framed(),
            (false, false) => least,
        };
        let (one, after) = rest.split_at(length);
        rest = after;
        push_remnant(&mut frames, seq, &one[RECORD_HEADER..], home);
    }
    frames
}

fn push_remnant(frames: &mut Vec<u8>, seq: u64, left: &[u8], home: &Home) {
    let mut payload = left.to_vec();
    if let Some(first) = payload.first_mut() {
        *first = REMNANT;
    }
    let start = frames.len();
    layout::push_record(frames, seq, &payload, crc32fast::hash(&payload));
    layout::stamp(&mut frames[start..], 0, home.at_s, home.header.salt);
}

/// A file of nothing but remnants, complete and certain before it has its name.
fn make_anew(disk: &dyn Disk, place: &DamagedPlace, header: &Header) -> io::Result<()> {
    let name = layout::segment_name(header.index);
    let temporary = format!("{name}{TEMPORARY_ENDING}");
    let home = Home {
        header: *header,
        at_s: 0,
        needs: Needs::File,
    };
    let mut frames = Vec::new();
    for seq in place.first_seq..=place.last_seq {
        push_remnant(&mut frames, seq, &[REMNANT], &home);
    }
    let end = DATA_OFFSET + frames.len() as u64;
    let header = Header {
        bytes: header.bytes.max(end),
        ..*header
    };
    let seal = Seal {
        is_last_word: true,
        first_seq: place.first_seq,
        last_seq: place.last_seq,
        end,
        first_at_s: 0,
    };
    let file = disk.create(&temporary)?;
    file.allocate(header.bytes)?;
    write_whole(&*file, &header.encode(), 0)?;
    write_whole(&*file, &seal.encode(header.salt), SEAL_OFFSET)?;
    write_whole(&*file, &frames, DATA_OFFSET)?;
    file.sync()?;
    disk.rename(&temporary, &name)?;
    disk.sync_dir()
}

fn beyond_cure(disk: &dyn Disk, index: u64) -> OpenError {
    OpenError::Damaged(crate::Damage {
        file: disk.path(&layout::segment_name(index)),
        offset: 0,
        what: "nothing in it can be told apart any more".to_owned(),
        cure: RESTORE_CURE,
    })
}

fn unknown_format(disk: &dyn Disk, name: &str, found: u32) -> OpenError {
    OpenError::UnknownFormat {
        file: disk.path(name),
        found,
        known: FORMAT,
    }
}

fn io_at(disk: &dyn Disk, what: &'static str, name: &str, source: io::Error) -> OpenError {
    OpenError::Io {
        what,
        path: disk.path(name),
        source,
    }
}
