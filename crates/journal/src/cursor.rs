//! The file with the cursor: the last forgotten record. It has two slots that are written in turn, so that a
//! torn write damages only one. An old cursor is harmless (records are delivered again and recognised), so it
//! is saved with a delay; before a segment is removed it must be durable.

use crate::disk::{Disk, DiskFile, read_fully, write_whole};
use crate::error::Damage;
use crate::layout::{self, BLOCK, HeaderError};
use std::io;
use std::sync::Arc;

/// The file's name.
pub(crate) const CURSOR_FILE: &str = "cursor";
const TEMPORARY: &str = "cursor.tmp";
/// Large enough that no device writes both slots at once.
const SLOT_BYTES: u64 = 4096;

/// The open cursor file.
pub(crate) struct CursorFile {
    file: Arc<dyn DiskFile>,
    generation: u64,
    saved: u64,
}

/// Why the file cannot be used.
pub(crate) enum CursorError {
    Io(io::Error),
    Damaged(Damage),
    UnknownFormat(u32),
}

impl From<io::Error> for CursorError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl CursorFile {
    /// Creates the file: complete and durable before it gets its name.
    pub(crate) fn create(disk: &dyn Disk, cursor: u64) -> io::Result<Self> {
        let file = disk.create(TEMPORARY)?;
        file.allocate(2 * SLOT_BYTES)?;
        let block = layout::encode_cursor(1, cursor);
        write_whole(&*file, &block, 0)?;
        write_whole(&*file, &block, SLOT_BYTES)?;
        file.sync()?;
        disk.rename(TEMPORARY, CURSOR_FILE)?;
        disk.sync_dir()?;
        Ok(Self {
            file,
            generation: 1,
            saved: cursor,
        })
    }

    /// Opens the file and reads the newest valid slot.
    pub(crate) fn open(disk: &dyn Disk) -> Result<Self, CursorError> {
        let file = disk.open(CURSOR_FILE)?;
        let (generation, saved) = match read(&*file)? {
            Ok(found) => found,
            Err(HeaderError::Format(format)) => return Err(CursorError::UnknownFormat(format)),
            Err(HeaderError::Damaged) => return Err(CursorError::Damaged(damage(disk))),
        };
        // What a killed process wrote may be in memory only, and must be durable before anything depends on it.
        // It is written again, because after a failed sync another sync may report success wrongly.
        let block = layout::encode_cursor(generation, saved);
        write_whole(&*file, &block, (generation % 2) * SLOT_BYTES)?;
        file.sync()?;
        Ok(Self {
            file,
            generation,
            saved,
        })
    }

    /// The cursor that is on disk.
    pub(crate) const fn saved(&self) -> u64 {
        self.saved
    }

    /// Makes `cursor` durable.
    pub(crate) fn save(&mut self, cursor: u64) -> io::Result<()> {
        let generation = self.generation + 1;
        let block = layout::encode_cursor(generation, cursor);
        write_whole(&*self.file, &block, (generation % 2) * SLOT_BYTES)?;
        self.file.sync()?;
        self.generation = generation;
        self.saved = cursor;
        Ok(())
    }
}

/// Generation and cursor of the newest valid slot.
pub(crate) fn read(file: &dyn DiskFile) -> io::Result<Result<(u64, u64), HeaderError>> {
    let mut best = Err(HeaderError::Damaged);
    for slot in [0, SLOT_BYTES] {
        let mut block = [0; BLOCK];
        read_fully(file, &mut block, slot)?;
        match layout::decode_cursor(&block) {
            Ok(found) => best = Ok(best.map_or(found, |best: (u64, u64)| best.max(found))),
            Err(HeaderError::Format(format)) => return Ok(Err(HeaderError::Format(format))),
            Err(HeaderError::Damaged) => {}
        }
    }
    Ok(best)
}

/// The damage of a file without a valid slot.
pub(crate) fn damage(disk: &dyn Disk) -> Damage {
    Damage {
        file: disk.path(CURSOR_FILE),
        offset: 0,
        what: "neither of its two slots is valid".to_owned(),
        remedy: "remove this one file: all records that the journal still holds are then \
               delivered again, which is harmless",
    }
}
