//! The operations that the journal needs from a disk, as a trait, so that tests can use a disk that loses,
//! tears and refuses writes.
//!
//! The journal relies on these rules only; [`sim`] guarantees nothing beyond them:
//! - Bytes are durable only after `sync` of their file. Until then any part of them, in sectors of 512 bytes,
//!   may be on the disk or not, in any order.
//! - A sector holds its old or its new content, never a mixture.
//! - Names (create, rename, remove) are durable only after `sync_dir`.
//! - After a failed `sync` the content of the file is unknown, and a repeated sync may report success wrongly.

pub(crate) mod real;
pub mod sim;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// The directory of one journal.
pub trait Disk: Send + Sync + 'static {
    /// Locks the directory for this process until [`Disk::unlock`].
    ///
    /// # Errors
    /// `WouldBlock` with [`Held`] inside when another process holds the lock; else the disk's error.
    fn lock(&self) -> io::Result<()>;

    /// Releases the lock.
    fn unlock(&self);

    /// Names of all files.
    ///
    /// # Errors
    /// The disk's error.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// `NotFound`, or the disk's error.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Creates an empty file, or truncates the existing one.
    ///
    /// # Errors
    /// The disk's error.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Renames a file; replaces a file that has the new name.
    ///
    /// # Errors
    /// The disk's error.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file; open handles stay usable.
    ///
    /// # Errors
    /// The disk's error.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes all names durable.
    ///
    /// # Errors
    /// The disk's error.
    fn sync_dir(&self) -> io::Result<()>;

    /// The path for messages; the directory itself for an empty name.
    fn path(&self, name: &str) -> PathBuf;

    /// An unpredictable number.
    fn random(&self) -> u64;
}

/// An open file. Offsets and lengths are in bytes.
pub trait DiskFile: Send + Sync {
    /// Writes at an offset; returns the number of bytes written.
    ///
    /// # Errors
    /// The disk's error.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Reads at an offset; returns the number of bytes read, 0 at the end.
    ///
    /// # Errors
    /// The disk's error.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Reserves space for the first `bytes` bytes and makes the file that long.
    ///
    /// # Errors
    /// `StorageFull` when there is no space.
    fn allocate(&self, bytes: u64) -> io::Result<()>;

    /// Makes all bytes durable.
    ///
    /// # Errors
    /// The disk's error; the content of the file is then unknown.
    fn sync(&self) -> io::Result<()>;
}

/// The holder of the lock, inside the `WouldBlock` of [`Disk::lock`].
#[derive(Debug)]
pub struct Held {
    /// The other process, if it wrote its id.
    pub pid: Option<u32>,
}

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("in use by another process")
    }
}

impl std::error::Error for Held {}

/// Writes all of `bytes`. A short write is an error: on a preallocated file it means that the disk refuses the
/// rest.
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

/// Reads until the buffer is full or the file ends; returns the number of bytes read.
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

/// Whether an error while creating a segment may pass: no space, quota, no file handles.
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
