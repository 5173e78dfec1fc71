//! An exclusive lock on the SQLite file, as a backup or a `VACUUM` by another program would take it.

use anyhow::{Context, Result};
use std::path::Path;
use std::time::Duration;

/// Holds the lock until it is dropped.
pub(super) struct Locked {
    _connection: rusqlite::Connection,
}

impl Locked {
    pub(super) fn take(database: &Path) -> Result<Self> {
        let connection = rusqlite::Connection::open(database)
            .with_context(|| format!("open {}", database.display()))?;
        connection.busy_timeout(Duration::from_secs(20))?;
        connection
            .execute_batch("BEGIN EXCLUSIVE")
            .context("lock the database")?;
        Ok(Self {
            _connection: connection,
        })
    }
}
