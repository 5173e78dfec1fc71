//! SQLite, made unusable for a while, as a backup or a `VACUUM` of somebody else's would.

use anyhow::{Context, Result};
use std::path::Path;
use std::time::Duration;

/// Nobody else writes while this lives.
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
