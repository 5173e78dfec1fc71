//! Chargers and tokens that the operator has set, and the revision by which a gateway detects a change.

use crate::directory::{charger_entry, profile, to_text};
use crate::refusal::Refusal;
use crate::sqlite::{SqliteStore, audit, tokens};
use central::model::{ChargerKey, Origin};
use central::ports::{
    ChargerProfile, DirectoryAdmin, DirectorySnapshot, DirectorySource, Token, Unavailable,
};
use rusqlite::{Connection, OptionalExtension, params};

impl DirectoryAdmin for SqliteStore {
    fn put_charger_profile(
        &self,
        profile: &ChargerProfile,
        origin: &Origin,
    ) -> Result<(), Unavailable> {
        self.transact(|connection, _| {
            let key = ChargerKey::of(&profile.charger_id);
            let before = one_profile(connection, &key)?;
            connection.execute(
                "INSERT INTO charger_profiles (key, id, registration, password_hash, check_mode, frame_bytes_max)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (key) DO UPDATE SET id = excluded.id,
                    registration = excluded.registration,
                    password_hash = excluded.password_hash, check_mode = excluded.check_mode,
                    frame_bytes_max = excluded.frame_bytes_max",
                params![
                    key.as_str(),
                    profile.charger_id,
                    to_text(profile.registration)?,
                    profile.password_hash,
                    profile.check.map(to_text).transpose()?,
                    profile.frame_bytes_max,
                ],
            )?;
            audit::insert(
                connection,
                &charger_entry(before.as_ref(), Some(profile), origin),
            )?;
            bump(connection)
        })
    }

    fn remove_charger_profile(
        &self,
        charger_id: &str,
        origin: &Origin,
    ) -> Result<bool, Unavailable> {
        self.transact(|connection, _| {
            let key = ChargerKey::of(charger_id);
            let Some(before) = one_profile(connection, &key)? else {
                return Ok(false);
            };
            connection.execute(
                "DELETE FROM charger_profiles WHERE key = ?1",
                [key.as_str()],
            )?;
            audit::insert(connection, &charger_entry(Some(&before), None, origin))?;
            bump(connection)?;
            Ok(true)
        })
    }

    fn charger_profiles(&self) -> Result<Vec<ChargerProfile>, Unavailable> {
        self.readers
            .read(|connection| {
                Ok(all_profiles(connection)?
                    .into_iter()
                    .map(|(_, p)| p)
                    .collect())
            })
            .map_err(Refusal::into_unavailable)
    }
}

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

fn one_profile(
    connection: &Connection,
    key: &ChargerKey,
) -> Result<Option<ChargerProfile>, Refusal> {
    let mut statement = connection.prepare_cached(
        "SELECT key, id, registration, password_hash, check_mode, frame_bytes_max
         FROM charger_profiles WHERE key = ?1",
    )?;
    let row = statement
        .query_row([key.as_str()], |row| row.try_into())
        .optional()?;
    Ok(row.map(profile).transpose()?.map(|(_, profile)| profile))
}

fn revision(connection: &Connection) -> Result<u64, Refusal> {
    let revision: i64 = connection
        .prepare_cached("SELECT value FROM settings WHERE name = 'directory_revision'")?
        .query_row([], |row| row.get(0))?;
    Ok(revision.cast_unsigned())
}

pub(super) fn bump(connection: &Connection) -> Result<(), Refusal> {
    connection.execute(
        "UPDATE settings SET value = value + 1 WHERE name = 'directory_revision'",
        [],
    )?;
    Ok(())
}

fn all_profiles(connection: &Connection) -> Result<Vec<(ChargerKey, ChargerProfile)>, Refusal> {
    let mut statement = connection.prepare_cached(
        "SELECT key, id, registration, password_hash, check_mode, frame_bytes_max
         FROM charger_profiles ORDER BY key",
    )?;
    statement
        .query_map([], |row| row.try_into())?
        .map(|row| profile(row?))
        .collect()
}
