//! Reads the journal of a process that runs, because a backup must contain what is acknowledged and not delivered yet.
//!
//! Nothing is locked and nothing is written. The running process appends, moves its cursor and reuses segments meanwhile,
//! so a segment may end in a record that is being written, and one may disappear while it is read. Neither is a loss: a
//! segment is reused only once its records are delivered, and the cursor is read again at the end. Every record after that
//! cursor which was durable at the beginning has been passed on, or the result is an error.

use crate::block_reader::BlockReader;
use crate::cursor::CURSOR_FILE;
use crate::disk::{Disk, DiskFile, read_fully};
use crate::error::{DAMAGE_REMEDY, Damage, OpenError};
use crate::inspection::open_dir;
use crate::layout::{self, BLOCK, DATA_OFFSET, FORMAT, Header, HeaderError, SEAL_OFFSET, Seal};
use crate::scan::Scan;
use std::io;
use std::path::Path;
use std::time::Duration;

const BLOCK_BYTES: usize = 1 << 20;
/// A record that should be there is looked for so often, at this interval.
const ATTEMPTS: u32 = 50;
const RETRY_AFTER: Duration = Duration::from_millis(10);

/// What [`read_live`] has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LiveRecords {
    /// Records up to here were delivered when the reading ended.
    pub cursor: u64,
    /// The first record that was passed on; 0 if none was.
    pub first: u64,
    /// The last one.
    pub last: u64,
    /// How many were passed on.
    pub records: u64,
}

/// Passes on the records of the journal in `dir` that were not delivered when the reading began, in the order of their
/// numbers. Another process may be writing the journal. Records that it delivers meanwhile may be missing, and records that
/// it appends meanwhile may be there.
///
/// # Errors
/// When a record that is not delivered cannot be read, and every error of `each`, as [`OpenError`].
pub fn read_live(
    dir: &Path,
    each: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> Result<LiveRecords, OpenError> {
    read_live_on(&open_dir(dir)?, each)
}

/// As [`read_live`], on any disk.
#[doc(hidden)]
pub fn read_live_on(
    disk: &dyn Disk,
    each: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> Result<LiveRecords, OpenError> {
    let mut reading = Reading {
        disk,
        each,
        last: cursor(disk)?,
        found: LiveRecords::default(),
    };
    let mut attempts = 0;
    loop {
        let before = reading.last;
        let missing = reading.pass()?;
        let cursor = cursor(disk)?;
        let Some(missing) = missing else {
            return Ok(LiveRecords {
                cursor,
                ..reading.found
            });
        };
        if missing.last <= cursor {
            // They were delivered meanwhile, and their segment is used for others.
            reading.last = reading.last.max(missing.last);
            continue;
        }
        // A later record was there: this one is damaged, or it was written after its place had been read.
        attempts = if reading.last > before {
            0
        } else {
            attempts + 1
        };
        if attempts >= ATTEMPTS {
            return Err(missing.damage.into());
        }
        std::thread::sleep(RETRY_AFTER);
    }
}

/// Records that should be there.
struct Missing {
    last: u64,
    damage: Damage,
}

struct Reading<'a, F> {
    disk: &'a dyn Disk,
    each: F,
    /// Records up to here were passed on, or are delivered.
    last: u64,
    found: LiveRecords,
}

impl<F: FnMut(u64, &[u8]) -> io::Result<()>> Reading<'_, F> {
    /// Passes on what follows the last record, up to the first that is missing or to the end.
    fn pass(&mut self) -> Result<Option<Missing>, OpenError> {
        let names = self.disk.list();
        let names = names.map_err(|source| failed(self.disk, "list", "", source))?;
        let mut indexes: Vec<u64> = names
            .iter()
            .filter_map(|name| layout::parse_segment_name(name))
            .collect();
        indexes.sort_unstable();
        for index in indexes {
            if let Some(missing) = self.segment(&layout::segment_name(index))? {
                return Ok(Some(missing));
            }
        }
        Ok(None)
    }

    fn segment(&mut self, name: &str) -> Result<Option<Missing>, OpenError> {
        let disk = self.disk;
        let io_failed = |source| failed(disk, "read", name, source);
        let file = match disk.open(name) {
            Ok(file) => file,
            // It is reused under another name: its records are delivered.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_failed(error)),
        };
        let mut block = [0; BLOCK];
        read_fully(&*file, &mut block, 0).map_err(io_failed)?;
        let header = match Header::decode(&block) {
            Ok(header) => header,
            Err(HeaderError::Format(found)) => {
                return Err(OpenError::UnknownFormat {
                    file: disk.path(name),
                    found,
                    known: FORMAT,
                });
            }
            Err(HeaderError::Damaged) => return self.damaged(name),
        };
        read_fully(&*file, &mut block, SEAL_OFFSET).map_err(io_failed)?;
        let seal = Seal::decode(&block, header.salt);
        if seal.is_some_and(|seal| seal.is_final && seal.last_seq <= self.last) {
            return Ok(None);
        }
        let (end, missing) = self.records(name, &header, &*file)?;
        if missing.is_some() {
            return Ok(missing);
        }
        let tail = Scan::new(&header, &*file)
            .scan_tail(end, self.last + 1)
            .map_err(io_failed)?;
        let sealed = seal.map_or(0, |seal| seal.last_seq);
        let until = sealed.max(tail.acknowledged_by.unwrap_or_default());
        Ok((until > self.last).then(|| self.missing(name, end, until)))
    }

    /// Passes on the records of a segment; returns where they end, or which are missing before one of them.
    fn records(
        &mut self,
        name: &str,
        header: &Header,
        file: &dyn DiskFile,
    ) -> Result<(u64, Option<Missing>), OpenError> {
        let mut at = DATA_OFFSET;
        let mut window = BlockReader::new(BLOCK_BYTES);
        loop {
            let read = window.record(file, at, header.bytes, header.salt);
            let read = read.map_err(|source| failed(self.disk, "read", name, source))?;
            let Some((record, frame)) = read else {
                return Ok((at, None));
            };
            if record.seq > self.last + 1 {
                return Ok((at, Some(self.missing(name, at, record.seq - 1))));
            }
            if record.seq == self.last + 1 {
                (self.each)(record.seq, &frame[record.payload()])
                    .map_err(|source| failed(self.disk, "copy the records of", name, source))?;
                self.last = record.seq;
                if self.found.first == 0 {
                    self.found.first = record.seq;
                }
                self.found.last = record.seq;
                self.found.records += 1;
            }
            at += record.framed() as u64;
        }
    }

    /// A segment whose header cannot be read. It may have been reused while it was read; then its name is gone, and its records
    /// are delivered. Otherwise the records in it are missing.
    fn damaged(&self, name: &str) -> Result<Option<Missing>, OpenError> {
        match self.disk.open(name) {
            Ok(_) => Ok(Some(self.missing(name, 0, self.last + 1))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(self.disk, "read", name, error)),
        }
    }

    fn missing(&self, name: &str, offset: u64, until: u64) -> Missing {
        Missing {
            last: until,
            damage: Damage {
                file: self.disk.path(name),
                offset,
                what: format!("records {} to {until} cannot be read", self.last + 1),
                remedy: DAMAGE_REMEDY,
            },
        }
    }
}

/// The cursor on disk; 0 if there is none yet.
fn cursor(disk: &dyn Disk) -> Result<u64, OpenError> {
    let file = match disk.open(CURSOR_FILE) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(failed(disk, "read", CURSOR_FILE, error)),
    };
    match crate::cursor::read(&*file).map_err(|source| failed(disk, "read", CURSOR_FILE, source))? {
        Ok((_, cursor)) => Ok(cursor),
        Err(HeaderError::Format(found)) => Err(OpenError::UnknownFormat {
            file: disk.path(CURSOR_FILE),
            found,
            known: FORMAT,
        }),
        Err(HeaderError::Damaged) => Err(crate::cursor::damage(disk).into()),
    }
}

fn failed(disk: &dyn Disk, what: &'static str, name: &str, source: io::Error) -> OpenError {
    OpenError::Io {
        what,
        path: disk.path(name),
        source,
    }
}
