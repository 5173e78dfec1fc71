//! What the journal needs of a disk, as a trait, so that a disk that forgets, tears and refuses can
//! stand in for the real one in tests.
//!
//! The rules that the journal relies on, and that [`sim`] enforces without mercy:
//! - bytes are certain only after `sync` of their file; until then any part of them, in units of
//!   512-byte sectors, may be on the disk or not, in any order;
//! - a sector holds its old or its new content, never a mixture;
//! - names (create, rename, remove) are certain only after `sync_dir`;
//! - after a failed `sync` nothing is known about the file, and asking again may lie.

pub(crate) mod real;
pub mod sim;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// One directory that belongs to one journal.
pub trait Disk: Send + Sync + 'static {
    /// Takes the directory for this process until [`Disk::unlock`].
    ///
    /// # Errors
    /// `WouldBlock` with [`Held`] inside when another process has it; else the disk's own.
    fn lock(&self) -> io::Result<()>;

    /// Gives the directory back.
    fn unlock(&self);

    /// Names of all files.
    ///
    /// # Errors
    /// The disk's own.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// `NotFound`, or the disk's own.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Makes an empty file, or prepared the one that is there.
    ///
    /// # Errors
    /// The disk's own.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file another name.
    ///
    /// # Errors
    /// The disk's own.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file; who has it open keeps its bytes.
    ///
    /// # Errors
    /// The disk's own.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes all names certain.
    ///
    /// # Errors
    /// The disk's own.
    fn sync_dir(&self) -> io::Result<()>;

    /// The path to show to people; the directory itself for an empty name.
    fn path(&self, name: &str) -> PathBuf;

    /// A number that nobody can guess.
    fn random(&self) -> u64;
}

/// One open file. Offsets and lengths in bytes.
pub trait DiskFile: Send + Sync {
    /// Writes at an offset; gives how many bytes were taken.
    ///
    /// # Errors
    /// The disk's own.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Reads at an offset; gives how many bytes there were, 0 at the end.
    ///
    /// # Errors
    /// The disk's own.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Reserves space for `bytes` from the start and makes the file that long.
    ///
    /// # Errors
    /// `StorageFull` when there is none.
    fn allocate(&self, bytes: u64) -> io::Result<()>;

    /// Makes all bytes certain.
    ///
    /// # Errors
    /// The disk's own; the file must not be trusted after that.
    fn sync(&self) -> io::Result<()>;
}

/// Inside the `WouldBlock` of [`Disk::lock`]: who has the directory.
#[derive(Debug)]
pub struct Held {
    /// The other process, if it left its id.
    pub pid: Option<u32>,
}

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("in use by another process")
    }
}

impl std::error::Error for Held {}

/// Writes all of `bytes`; a short write is an error, because on a preallocated file it means that
/// the disk refuses the rest.
pub(crate) fn write_whole(file: &dyn DiskFile, bytes: &[u8], offset: u64) -> io::Result<()> {
    let taken = file.write_at(bytes, offset)?;
    if taken == bytes.len() {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "the disk took only {taken} of {} bytes",
        bytes.len()
    )))
}

/// Reads until the buffer is full or the file ends; gives how many bytes there were.
pub(crate) fn read_fully(file: &dyn DiskFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut have = 0;
    while have < buffer.len() {
        match file.read_at(&mut buffer[have..], offset + have as u64) {
            Ok(0) => break,
            Ok(count) => have += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(have)
}

/// Whether an error at making a segment may pass by itself: no space, quota, no file handles.
pub(crate) fn is_out_of_space(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::OutOfMemory
    ) || matches!(
        error.raw_os_error().map(Errno::from_raw_os_error),
        Some(Errno::MFILE | Errno::NFILE)
    )
}
