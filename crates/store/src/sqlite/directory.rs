//! Chargers and tokens that the operator has set, and the revision by which a gateway detects a change.

use super::charger_settings::all_profiles;
use super::{SqliteStore, tokens};
use crate::refusal::Refusal;
use central::ports::{DirectorySnapshot, DirectorySource, Token, Unavailable};
use rusqlite::Connection;

impl DirectorySource for SqliteStore {
    fn load(&self, known: Option<u64>) -> Result<Option<DirectorySnapshot>, Unavailable> {
        self.readers
            .read(|connection| {
                let revision = revision(connection)?;
                if known == Some(revision) {
                    return Ok(None);
                }
                Ok(Some(DirectorySnapshot {
                    chargers: all_profiles(connection)?.into_iter().collect(),
                    tokens: tokens::all(connection)?.into_iter().collect(),
                    revision,
                }))
            })
            .map_err(Refusal::into_unavailable)
    }

    fn token(&self, id: &str) -> Result<Option<Token>, Unavailable> {
        self.readers
            .read(|connection| tokens::one(connection, id))
            .map_err(Refusal::into_unavailable)
    }
}

fn revision(connection: &Connection) -> Result<u64, Refusal> {
    let revision: i64 = connection
        .prepare_cached("SELECT value FROM settings WHERE name = 'directory_revision'")?
        .query_row([], |row| row.get(0))?;
    Ok(revision.cast_unsigned())
}

/// Increases the revision, and returns it.
pub(super) fn bump(connection: &Connection) -> Result<u64, Refusal> {
    let revision: i64 = connection
        .prepare_cached(
            "UPDATE settings SET value = value + 1 WHERE name = 'directory_revision' RETURNING value",
        )?
        .query_row([], |row| row.get(0))?;
    Ok(revision.cast_unsigned())
}
