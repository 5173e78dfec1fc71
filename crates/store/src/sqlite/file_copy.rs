//! Copies a database file that is in use, for a backup, and checks a copy.

use super::{connection, schema};
use crate::refusal::Refusal;
use central::ports::Unavailable;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;

/// Writes a consistent copy of the database at `from` to the file `to`, which must not exist or be empty: what was committed
/// when the copy began, without free space, and durable when this returns. Other processes may read and write meanwhile; the
/// write-ahead log cannot be checkpointed, and grows by what they write.
///
/// # Errors
/// Why the database cannot be read or the copy cannot be written. What was written is left for the caller to remove.
pub fn copy_sqlite(from: &Path, to: &Path) -> Result<(), Unavailable> {
    copy(from, to).map_err(Refusal::into_unavailable)
}

fn copy(from: &Path, to: &Path) -> Result<(), Refusal> {
    let Some(target) = to.to_str() else {
        return Err(Refusal::unreachable(format!(
            "the name of the copy, {}, is not UTF-8",
            to.display()
        )));
    };
    connection::reader(from)?.execute("VACUUM INTO ?1", [target])?;
    std::fs::File::open(to)
        .and_then(|copy| copy.sync_all())
        .map_err(|error| Refusal::unreachable(format!("the copy cannot be synced: {error}")))
}

/// The version of the schema of a copy that no process writes, after a check of all its pages.
///
/// # Errors
/// When it is damaged, is of another program, or has a schema that is newer than this build.
pub fn check_sqlite(file: &Path) -> Result<u32, Unavailable> {
    check(file).map_err(Refusal::into_unavailable)
}

fn check(file: &Path) -> Result<u32, Refusal> {
    let uri = connection::immutable_uri(file)
        .ok_or_else(|| Refusal::unreachable(format!("the name {} is not UTF-8", file.display())))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri, flags)?;
    let version = schema::check(&connection)?;
    let first: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    match first.as_str() {
        "ok" => Ok(version),
        _ => Err(Refusal::unreachable(format!("it is damaged: {first}"))),
    }
}
