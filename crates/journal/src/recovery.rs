//! Recovers the journal that the last process left, whatever way that process ended.
//!
//! Segments are examined from the newest to the oldest. The newest one with records is read to its end and
//! every record is verified: only there can a power cut have torn something, because a segment is sealed
//! durably before the next one is written. A torn tail was never acknowledged. It is truncated after the last
//! valid record and zeroed, so that its bytes can never be read later. Of older segments header and seal are
//! verified here; their records are verified when they are read.
//!
//! What was durable and is not valid now is damage, and damage is reported, not truncated: a later record or a
//! seal proves that the damaged record was durable, or the sequence has a gap. Damage among forgotten records
//! is harmless; segments that hold only forgotten records are dropped if they are damaged.
//!
//! Bytes that can be read are not always on the disk: after a failed sync the operating system may still return
//! bytes that it has lost. So what is relied on here, and is not proved durable by a later record or seal, is
//! written and synced again first: the last write, the zeros after it, the cursor.

use crate::core::{InitialState, Limits};
use crate::cursor::{CURSOR_FILE, CursorError, CursorFile};
use crate::disk::{Disk, DiskFile, read_fully};
use crate::error::{DAMAGE_REMEDY, Damage, OpenError};
use crate::layout::{self, BLOCK, DATA_OFFSET, FORMAT, Header, HeaderError, SEAL_OFFSET, Seal};
use crate::scan::{self, Scan};
use crate::segment_index::{Found, Segment, SegmentIndex};
use crate::segment_pool::{ReadySegment, SegmentPool, TEMPORARY_SUFFIX};
use crate::writer::Active;
use crate::{Recovery, TruncatedTail};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Instant;

/// The result: all that the threads need to start.
pub(crate) struct Opened {
    pub(crate) start: InitialState,
    pub(crate) active: Option<Active>,
    /// The base of the next segment.
    pub(crate) base: u64,
    pub(crate) recovery: Recovery,
}

/// A segment file with a valid header.
struct SegmentFile {
    index: u64,
    header: Header,
    seal: Option<Seal>,
    file: Arc<dyn DiskFile>,
}

/// A segment that holds records.
struct RecoveredSegment {
    index: u64,
    header: Header,
    found: Found,
    /// Start of the last write: all records before it were durable when it was written.
    last_write: u64,
    is_sealed: bool,
}

impl SegmentFile {
    /// Whether the segment was complete.
    fn is_sealed(&self) -> bool {
        self.seal.is_some_and(|seal| seal.is_final)
    }
}

/// Examines the directory, repairs what a power cut may leave, and returns where to continue.
///
/// `closed_at` is the last record at which another process has just closed the journal without an error, as it says
/// itself. If that is also the last record found, nothing can be torn and everything is on the disk: nothing is searched
/// for or written again.
pub(crate) fn recover(
    disk: &dyn Disk,
    limits: &Limits,
    closed_at: Option<u64>,
) -> Result<Opened, OpenError> {
    let began = Instant::now();
    let indexes = remove_temporary_files(disk)?;
    let cursor_file = open_cursor(disk)?;
    let mut recoverer = Recoverer {
        disk,
        limits,
        forgotten: cursor_file.as_ref().map_or(0, CursorFile::saved),
        closed_at,
        recovery: Recovery::default(),
    };
    let (prepared, newest) = recoverer.scan_newest(&indexes)?;
    let (mut known, active_file) = match newest {
        Some((known, file)) => (VecDeque::from([known]), Some(file)),
        None => (VecDeque::new(), None),
    };
    recoverer.check_older(&indexes, &mut known)?;
    let oldest_seq = known.front().map(|known| known.found.first_seq);
    let last_seq = known.back().map_or(0, |known| known.found.last_seq);
    let cursor_file = match cursor_file {
        Some(file) => file,
        None => {
            recoverer.recovery.created = indexes.is_empty();
            if !indexes.is_empty() {
                tracing::warn!(
                    "the journal has no cursor file; all its records are delivered again"
                );
            }
            let cursor = oldest_seq.map_or(0, |oldest| oldest - 1);
            CursorFile::create(disk, cursor).map_err(|e| io_at(disk, "create", CURSOR_FILE, e))?
        }
    };
    let cursor = cursor_file.saved();
    if let Some(oldest) = oldest_seq.filter(|oldest| *oldest > cursor + 1) {
        return Err(Damage {
            file: disk.path(""),
            offset: 0,
            what: format!("records {} to {} are missing", cursor + 1, oldest - 1),
            remedy: DAMAGE_REMEDY,
        }
        .into());
    }
    // A number is never used twice, even if forgotten records at the end are damaged.
    let durable = last_seq.max(cursor);
    let continues =
        recoverer.resync_newest(&mut known, active_file.as_ref(), durable == last_seq)?;
    let next_index = known.back().map_or(1, |known| known.index + 1);
    let (ready, next_index) = recoverer.reuse_prepared(prepared, next_index)?;
    let (segments, base, active) = build_index(&known, continues.then_some(active_file).flatten());
    let mut segments = segments;
    segments.forget_times(cursor);
    let recovery = Recovery {
        oldest_seq: oldest_seq.unwrap_or(durable + 1),
        cursor,
        durable_seq: durable,
        took: began.elapsed(),
        ..recoverer.recovery
    };
    let end = active.as_ref().map_or(base, |a| a.segment.base + a.offset);
    let left = active.as_ref().map_or(0, |a| a.segment.bytes - a.offset);
    Ok(Opened {
        start: InitialState {
            durable,
            cursor,
            tail: end,
            left,
            segments,
            pool: SegmentPool::new(ready, next_index, cursor_file),
        },
        active,
        base,
        recovery,
    })
}

/// Removes unfinished files; returns the numbers of the segments, ascending.
fn remove_temporary_files(disk: &dyn Disk) -> Result<Vec<u64>, OpenError> {
    let names = disk.list().map_err(|e| io_at(disk, "list", "", e))?;
    for name in &names {
        if name.ends_with(TEMPORARY_SUFFIX) {
            disk.remove(name)
                .map_err(|e| io_at(disk, "remove", name, e))?;
        }
    }
    // Renames and removals of a killed process must be durable before anything depends on them.
    disk.sync_dir().map_err(|e| io_at(disk, "sync", "", e))?;
    let mut indexes: Vec<u64> = names
        .iter()
        .filter_map(|n| layout::parse_segment_name(n))
        .collect();
    indexes.sort_unstable();
    Ok(indexes)
}

fn open_cursor(disk: &dyn Disk) -> Result<Option<CursorFile>, OpenError> {
    match CursorFile::open(disk) {
        Ok(file) => Ok(Some(file)),
        Err(CursorError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(CursorError::Io(error)) => Err(io_at(disk, "read", CURSOR_FILE, error)),
        Err(CursorError::Damaged(damage)) => Err(damage.into()),
        Err(CursorError::UnknownFormat(found)) => Err(OpenError::UnknownFormat {
            file: disk.path(CURSOR_FILE),
            found,
            known: FORMAT,
        }),
    }
}

struct Recoverer<'a> {
    disk: &'a dyn Disk,
    limits: &'a Limits,
    /// Last forgotten record.
    forgotten: u64,
    closed_at: Option<u64>,
    recovery: Recovery,
}

impl Recoverer<'_> {
    fn open(&self, index: u64) -> Result<SegmentFile, OpenError> {
        let name = layout::segment_name(index);
        let file = self
            .disk
            .open(&name)
            .map_err(|e| io_at(self.disk, "open", &name, e))?;
        let mut block = [0; BLOCK];
        let read = |block: &mut [u8], offset| {
            read_fully(&*file, block, offset).map_err(|e| io_at(self.disk, "read", &name, e))
        };
        read(&mut block, 0)?;
        let header = match Header::decode(&block) {
            Ok(header) if header.index == index => header,
            Err(HeaderError::Format(found)) => {
                return Err(OpenError::UnknownFormat {
                    file: self.disk.path(&name),
                    found,
                    known: FORMAT,
                });
            }
            _ => return Err(self.damage(index, 0, "its header is damaged")),
        };
        block.fill(0);
        read(&mut block, SEAL_OFFSET)?;
        let seal = Seal::decode(&block, header.salt);
        Ok(SegmentFile {
            index,
            header,
            seal,
            file,
        })
    }

    /// The prepared segments at the end (oldest first), and the newest one with records, read completely, its
    /// torn tail truncated.
    #[expect(clippy::type_complexity, reason = "two results of one pass")]
    fn scan_newest(
        &mut self,
        indexes: &[u64],
    ) -> Result<
        (
            Vec<SegmentFile>,
            Option<(RecoveredSegment, Arc<dyn DiskFile>)>,
        ),
        OpenError,
    > {
        let mut prepared = Vec::new();
        let mut newest = None;
        for (at, index) in indexes.iter().enumerate().rev() {
            let segment = self.open(*index)?;
            let (found, last_write) = self.scan(&segment)?;
            if found.first_seq == 0 && segment.seal.is_none() {
                prepared.push(segment);
                continue;
            }
            match self.check_end(&segment, &found) {
                Ok(()) => newest = Some((segment, found, last_write)),
                Err(OpenError::Damaged(damage)) if self.is_all_forgotten(&segment, &found)? => {
                    tracing::warn!(%damage, "dropping damaged segments: all their records are forgotten");
                    self.remove_files(&indexes[..=at])?;
                }
                Err(error) => return Err(error),
            }
            break;
        }
        prepared.reverse();
        if let (Some(empty), Some(last)) = (prepared.first(), prepared.last()) {
            let next_to = newest.as_ref().map_or(empty.index, |(s, _, _)| s.index + 1);
            let is_contiguous = last.index - empty.index + 1 == prepared.len() as u64;
            if empty.index != next_to || !is_contiguous {
                return Err(self.damage(next_to, 0, "the file is missing"));
            }
        }
        // The first record of the first prepared segment may be torn.
        let next_seq = newest.as_ref().map_or(1, |(_, f, _)| f.last_seq + 1);
        let next_seq = next_seq.max(self.forgotten + 1);
        if let Some(empty) = prepared.first() {
            self.truncate_tail(empty, DATA_OFFSET, next_seq)?;
        }
        let Some((segment, found, last_write)) = newest else {
            return Ok((prepared, None));
        };
        self.recovery.segments_checked += 1;
        let known = RecoveredSegment {
            index: segment.index,
            header: segment.header,
            found,
            last_write,
            is_sealed: segment.is_sealed(),
        };
        Ok((prepared, Some((known, segment.file))))
    }

    /// Checks that the valid records of the newest segment reach as far as its seal says, and truncates a torn
    /// tail.
    fn check_end(&mut self, segment: &SegmentFile, found: &Found) -> Result<(), OpenError> {
        if let Some(seal) = segment.seal.filter(|seal| found.end < seal.end) {
            let what = format!(
                "the records up to {} were durable and are damaged",
                seal.last_seq
            );
            return Err(self.damage(segment.index, found.end, &what));
        }
        if segment.is_sealed() {
            return Ok(());
        }
        // A provisional seal says nothing about later records: the next process continues in the same segment.
        self.truncate_tail(segment, found.end, found.last_seq + 1)
    }

    /// Whether all records of a damaged segment, valid or not, are forgotten.
    fn is_all_forgotten(&self, segment: &SegmentFile, found: &Found) -> Result<bool, OpenError> {
        let noted = segment.seal.map_or(0, |seal| seal.last_seq);
        // The damaged record is the one after the last valid one.
        if noted.max(found.last_seq + 1) > self.forgotten {
            return Ok(false);
        }
        let traces =
            Scan::new(&segment.header, &*segment.file).has_header_after(found.end, self.forgotten);
        let traces = traces.map_err(|e| self.io(segment.index, "read", e))?;
        Ok(!traces)
    }

    /// Adds all older segments at the front of `known`, except damaged ones whose records are forgotten.
    fn check_older(
        &mut self,
        indexes: &[u64],
        known: &mut VecDeque<RecoveredSegment>,
    ) -> Result<(), OpenError> {
        let Some(newest) = known.front().map(|known| known.index) else {
            return Ok(());
        };
        let older = indexes.partition_point(|index| *index < newest);
        for at in (0..older).rev() {
            // Not empty: it holds at least the newest segment.
            let (next_index, next_seq) = known
                .front()
                .map_or((0, 0), |known| (known.index, known.found.first_seq));
            match self.check_sealed(indexes[at], next_index, next_seq) {
                Ok(one) => known.push_front(one),
                Err(OpenError::Damaged(damage)) if next_seq <= self.forgotten + 1 => {
                    tracing::warn!(%damage, "dropping damaged segments: all their records are forgotten");
                    return self.remove_files(&indexes[..=at]);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn check_sealed(
        &mut self,
        index: u64,
        next_index: u64,
        next_seq: u64,
    ) -> Result<RecoveredSegment, OpenError> {
        if index + 1 != next_index {
            return Err(self.damage(index + 1, 0, "the file is missing"));
        }
        let segment = self.open(index)?;
        let found = match segment.seal {
            Some(seal) if seal.is_final && self.is_long_enough(&segment, seal.end)? => {
                self.recovery.segments_trusted += 1;
                Found {
                    first_seq: seal.first_seq,
                    last_seq: seal.last_seq,
                    end: seal.end,
                    offsets: Vec::new(),
                    times: vec![(seal.first_seq, seal.first_at_s)],
                }
            }
            // The seal is lost: there was one, because there is a newer segment.
            _ => {
                self.recovery.segments_checked += 1;
                self.scan(&segment)?.0
            }
        };
        let is_gap_forgotten = next_seq <= self.forgotten + 1;
        if found.first_seq == 0 || (found.last_seq + 1 != next_seq && !is_gap_forgotten) {
            let what = format!(
                "records {} to {} are damaged",
                found.last_seq + 1,
                next_seq - 1
            );
            return Err(self.damage(index, found.end, &what));
        }
        Ok(RecoveredSegment {
            index,
            header: segment.header,
            found,
            last_write: DATA_OFFSET,
            is_sealed: true,
        })
    }

    fn is_long_enough(&self, segment: &SegmentFile, end: u64) -> Result<bool, OpenError> {
        let mut last = [0; 8];
        let read = read_fully(&*segment.file, &mut last, end.saturating_sub(8));
        let read = read.map_err(|e| self.io(segment.index, "read", e))?;
        Ok(read == last.len())
    }

    /// All valid records, and where the last write begins.
    fn scan(&self, segment: &SegmentFile) -> Result<(Found, u64), OpenError> {
        let mut scan = Scan::new(&segment.header, &*segment.file);
        let found = scan.records();
        let found = found.map_err(|e| self.io(segment.index, "read", e))?;
        Ok((found, scan.last_write()))
    }

    /// Zeroes what a power cut may have left after `end`, unless it was acknowledged.
    fn truncate_tail(
        &mut self,
        segment: &SegmentFile,
        end: u64,
        next_seq: u64,
    ) -> Result<(), OpenError> {
        if self.closed_at == Some(next_seq - 1) {
            return Ok(());
        }
        let mut scan = Scan::new(&segment.header, &*segment.file);
        let tail = scan
            .scan_tail(end, next_seq)
            .map_err(|e| self.io(segment.index, "read", e))?;
        if let Some(witness) = tail.acknowledged_by {
            let what = format!(
                "record {next_seq} is damaged, and record {witness} after it proves that it was \
                 durable"
            );
            return Err(self.damage(segment.index, end, &what));
        }
        let bytes = scan::zero_tail(&segment.header, &*segment.file, end)
            .map_err(|e| self.io(segment.index, "zero the torn tail of", e))?;
        if tail.is_torn {
            let file = self.disk.path(&layout::segment_name(segment.index));
            tracing::info!(file = %file.display(), offset = end, bytes, "truncated the torn tail of the journal");
            self.recovery.truncated_tail = Some(TruncatedTail {
                file,
                offset: end,
                bytes,
            });
        }
        Ok(())
    }

    /// Makes the content of the newest segment durable; returns whether to continue in it.
    fn resync_newest(
        &self,
        known: &mut VecDeque<RecoveredSegment>,
        file: Option<&Arc<dyn DiskFile>>,
        ends_at_durable: bool,
    ) -> Result<bool, OpenError> {
        let (Some(newest), Some(file)) = (known.back_mut(), file) else {
            return Ok(false);
        };
        if newest.is_sealed {
            return Ok(false);
        }
        // After a kill the bytes may be in memory only. After a failed sync they may be in memory and count as
        // clean though they are not on the disk: a sync alone would then report success. Writing them again
        // brings them to the disk or shows the error.
        let Found { last_seq, end, .. } = newest.found;
        let is_on_disk = self.closed_at == Some(last_seq);
        if is_on_disk && ends_at_durable && self.matches_settings(&newest.header) {
            return Ok(true);
        }
        Scan::new(&newest.header, &**file)
            .rewrite(newest.last_write, end, last_seq)
            .map_err(|e| self.io(newest.index, "rewrite the last records of", e))?;
        file.sync().map_err(|e| self.io(newest.index, "sync", e))?;
        if ends_at_durable && self.matches_settings(&newest.header) {
            return Ok(true);
        }
        let active = Active::recovered(newest.segment(0), file.clone(), newest.first_at_s());
        active
            .write_seal(true)
            .map_err(|e| self.io(newest.index, "seal", e))?;
        newest.is_sealed = true;
        Ok(false)
    }

    fn matches_settings(&self, header: &Header) -> bool {
        header.bytes == self.limits.segment_bytes
            && header.write_bytes_max == self.limits.write_bytes_max as u64
    }

    /// Reuses the prepared segments if they match the settings; removes them otherwise.
    fn reuse_prepared(
        &self,
        prepared: Vec<SegmentFile>,
        next_index: u64,
    ) -> Result<(VecDeque<ReadySegment>, u64), OpenError> {
        if !prepared.iter().all(|e| self.matches_settings(&e.header)) {
            let mut indexes: Vec<u64> = prepared.iter().map(|empty| empty.index).collect();
            indexes.reverse();
            self.remove_files(&indexes)?;
            return Ok((VecDeque::new(), next_index));
        }
        let next_index = prepared.last().map_or(next_index, |empty| empty.index + 1);
        let ready = prepared.into_iter().map(|empty| ReadySegment {
            index: empty.index,
            salt: empty.header.salt,
            bytes: empty.header.bytes,
            file: empty.file,
        });
        Ok((ready.collect(), next_index))
    }

    /// Removes files one by one, so that a power cut never leaves a gap.
    fn remove_files(&self, indexes: &[u64]) -> Result<(), OpenError> {
        for index in indexes {
            let name = layout::segment_name(*index);
            self.disk
                .remove(&name)
                .and_then(|()| self.disk.sync_dir())
                .map_err(|e| io_at(self.disk, "remove", &name, e))?;
        }
        Ok(())
    }

    fn damage(&self, index: u64, offset: u64, what: &str) -> OpenError {
        OpenError::Damaged(Damage {
            file: self.disk.path(&layout::segment_name(index)),
            offset,
            what: what.to_owned(),
            remedy: DAMAGE_REMEDY,
        })
    }

    fn io(&self, index: u64, what: &'static str, source: io::Error) -> OpenError {
        io_at(self.disk, what, &layout::segment_name(index), source)
    }
}

impl RecoveredSegment {
    fn segment(&self, base: u64) -> Segment {
        Segment::new(self.index, self.header.salt, self.header.bytes, base).recovered(&self.found)
    }

    fn first_at_s(&self) -> u32 {
        self.found.times.first().map_or(0, |(_, at_s)| *at_s)
    }
}

/// Builds the index; the newest segment becomes the active one if its file is given.
fn build_index(
    known: &VecDeque<RecoveredSegment>,
    active_file: Option<Arc<dyn DiskFile>>,
) -> (SegmentIndex, u64, Option<Active>) {
    let mut segments = SegmentIndex::default();
    let mut base = 0;
    for one in known {
        segments.push(Arc::new(one.segment(base)));
        for (seq, at_s) in &one.found.times {
            segments.note_time(*seq, *at_s);
        }
        // Unused space after the records does not count as undelivered: with changed settings the file may be
        // longer than all that may be kept.
        base += one.found.end;
    }
    let active = segments.last().zip(known.back()).zip(active_file);
    let active = active.map(|((segment, known), file)| Active {
        segment: segment.clone(),
        file,
        offset: segment.end(),
        first_at_s: known.first_at_s(),
    });
    (segments, base, active)
}

fn io_at(disk: &dyn Disk, what: &'static str, name: &str, source: io::Error) -> OpenError {
    OpenError::Io {
        what,
        path: disk.path(name),
        source,
    }
}
