//! How a connection is set up. Every setting here serves a guarantee or a measured performance figure.

use crate::refusal::Refusal;
use crate::sqlite::SqliteOptions;
use crate::sqlite::schema;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::time::Duration;

/// Bytes per page of a new database. The rows of one message and its meter values take about one kilobyte;
/// larger pages mean fewer checksums and writes per commit.
const PAGE_BYTES: u32 = 8_192;

/// The writing connection's page cache: holds the pages that every batch touches.
const WRITER_CACHE_KIB: i32 = 16 * 1024;

/// The page cache of each reading connection.
const READER_CACHE_KIB: i32 = 2 * 1024;

/// How long a reader waits while the file is locked against reading.
const READER_WAIT: Duration = Duration::from_secs(2);

/// Opens for writing; creates the file and migrates the schema.
pub(crate) fn writer(path: &Path, options: &SqliteOptions) -> Result<Connection, Refusal> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(options.lock_wait)?;
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    schema::check(&connection)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(Refusal::unreachable(format!(
            "the file's directory does not allow a write-ahead log (mode {mode})"
        )));
    }
    // FULL: a commit has reached the disk when it returns. The journal deletes records because of it.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "foreign_keys", false)?;
    connection.pragma_update(
        None,
        "wal_autocheckpoint",
        (options.log_bytes / u64::from(PAGE_BYTES))
            .max(1)
            .cast_signed(),
    )?;
    // After a long read has delayed the checkpoint, the file shrinks again to this size.
    connection.pragma_update(None, "journal_size_limit", options.log_bytes.cast_signed())?;
    if let Some(bytes_max) = options.bytes_max {
        let page_bytes: u32 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        let pages = (bytes_max / u64::from(page_bytes)).max(1);
        connection.pragma_update(None, "max_page_count", pages.cast_signed())?;
    }
    connection.set_prepared_statement_cache_capacity(64);
    schema::migrate(&connection)?;
    Ok(connection)
}

/// Opens for reading only. No cache map: when another program truncates the file, one query must fail, and not
/// the process.
pub(crate) fn reader(path: &Path) -> Result<Connection, Refusal> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    let connection = match set_up_reader(&connection) {
        Ok(()) => connection,
        // In a read-only directory, a database without an open writer can still be read as a plain file.
        Err(error) if is_log_empty(path) => {
            let uri = immutable_uri(path).ok_or(error)?;
            let flags = flags | OpenFlags::SQLITE_OPEN_URI;
            let connection = Connection::open_with_flags(uri, flags)?;
            set_up_reader(&connection)?;
            connection
        }
        Err(error) => return Err(error),
    };
    match schema::check(&connection)? {
        found if found >= schema::LATEST => Ok(connection),
        found => Err(Refusal::unreachable(format!(
            "its schema is version {found}; start `wattpost serve` once to bring it up to date"
        ))),
    }
}

fn set_up_reader(connection: &Connection) -> Result<(), Refusal> {
    connection.busy_timeout(READER_WAIT)?;
    connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.set_prepared_statement_cache_capacity(32);
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(())
}

fn is_log_empty(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    std::fs::metadata(log).map_or(true, |log| log.len() == 0)
}

pub(crate) fn immutable_uri(path: &Path) -> Option<String> {
    let path = std::path::absolute(path).ok()?;
    let mut uri = String::from("file:");
    for byte in path.to_str()?.bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                uri.push(char::from(byte));
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    Some(uri)
}
