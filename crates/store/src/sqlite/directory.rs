//! Chargers and tokens that the operator has set, and the revision by which a gateway detects a change.

use super::charger_settings::all_profiles;
use super::{SqliteStore, rotations, tokens};
use crate::directory::running;
use crate::paging::at_most;
use crate::refusal::Refusal;
use central::Timestamp;
use central::ports::{DirectorySnapshot, DirectorySource, Token, Unavailable};
use central::running::{READ_MAX, RunningTransaction};
use rusqlite::{Connection, params};

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
                    new_passwords: rotations::open_hashes(connection)?.into_iter().collect(),
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

    fn running(
        &self,
        is_default_refuse: bool,
        since: Timestamp,
    ) -> Result<Vec<RunningTransaction>, Unavailable> {
        self.readers
            .read(|connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT v.token_key, c.key, t.wire_id, v.place, v.began_at
                     FROM tokens k CROSS JOIN transaction_views v INDEXED BY transaction_views_running
                         ON v.token_key = k.key
                     JOIN transactions t ON t.no = v.transaction_no JOIN chargers c ON c.no = v.charger_no
                     WHERE (k.concurrent = 'refuse' OR (?1 AND k.concurrent IS NULL))
                         AND v.open AND NOT v.hidden AND v.token_key IS NOT NULL AND v.began_at >= ?2
                     ORDER BY v.began_at DESC LIMIT ?3",
                )?;
                let rows = statement.query_map(
                    params![is_default_refuse, since.as_millis(), at_most(READ_MAX)],
                    |row| {
                        Ok(running((
                            row.get(0)?,
                            row.get(1)?,
                            row.get(2)?,
                            row.get(3)?,
                            row.get(4)?,
                        )))
                    },
                )?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
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
