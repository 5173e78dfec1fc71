//! The chargers that the operator has set.

use super::directory::bump;
use super::handshakes;
use super::idempotency::once;
use super::{SqliteStore, audit, commands, local_lists, rotations, sites};
use crate::directory::{
    GATEWAY_COLUMNS, PROFILE_COLUMNS, ProfileRow, charger_entry, gateway_profile, profile,
    readable_profile, to_text,
};
use crate::refusal::Refusal;
use crate::removed::actor_column;
use central::charger_import;
use central::import::{self, Applied, Imported, Line, Verdict};
use central::model::{ChargerKey, ChargerProfile, ChargerSettings, Origin};
use central::ports::{ChangeRequest, ChargerAdmin, ChargerChange, NotChanged, Once, Unavailable};
use central::query::label_key;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashMap;

impl ChargerAdmin for SqliteStore {
    fn change_charger(
        &self,
        change: &ChargerChange,
    ) -> Result<Once<ChargerSettings, NotChanged>, Unavailable> {
        self.transact(|connection, _| {
            once(connection, &change.request, |connection| {
                let key = ChargerKey::of(&change.charger_id);
                let before = one_profile(connection, &key)?;
                let after = match change.applied_to(before.as_ref()) {
                    Ok(after) => after,
                    Err(refused) => return Ok(Err(refused)),
                };
                if let Some(site) = change.new_site()
                    && !sites::exists(connection, site)?
                {
                    return Ok(Err(NotChanged::NoSuchSite));
                }
                if change.patch.password_hash.is_some() {
                    rotations::replace(connection, &key, &change.request.origin)?;
                }
                let version = bump(connection)?;
                put(connection, &key, &after, version)?;
                let before = before.map(|(before, _)| before);
                let entry = charger_entry(before.as_ref(), Some(&after), &change.request.origin);
                audit::insert(connection, &entry)?;
                Ok(Ok(ChargerSettings::of(&after, version)))
            })
        })
    }

    fn import_chargers_once(
        &self,
        lines: &[Line],
        is_dry_run: bool,
        request: &ChangeRequest,
    ) -> Result<Once<Vec<Verdict>, Vec<Verdict>>, Unavailable> {
        if is_dry_run {
            let judged = self.readers.read(|connection| {
                let (known, sites) = (known(connection, lines)?, sites::ids(connection)?);
                Ok(charger_import::judge(lines, &known, &sites).0)
            });
            return Ok(Once::Done(judged.map_err(Refusal::into_unavailable)?));
        }
        let done = self.transact(|connection, _| {
            once(connection, request, |connection| {
                import(connection, lines, &request.origin)
            })
        })?;
        Ok(import::verdicts(&charger_import::COLUMNS, lines, done))
    }

    fn remove_charger(
        &self,
        charger_id: &str,
        request: &ChangeRequest,
    ) -> Result<Result<(), NotChanged>, Unavailable> {
        self.transact(|connection, _| {
            let key = ChargerKey::of(charger_id);
            let Some((before, version)) = one_profile(connection, &key)? else {
                return Ok(Err(NotChanged::Unknown));
            };
            if !request.condition.holds(Some(version)) {
                return Ok(Err(NotChanged::OtherVersion));
            }
            rotations::replace(connection, &key, &request.origin)?;
            connection.execute(
                "DELETE FROM password_rotations WHERE key = ?1",
                [key.as_str()],
            )?;
            connection.execute(
                "DELETE FROM charger_profiles WHERE key = ?1",
                [key.as_str()],
            )?;
            connection.execute(
                "INSERT OR REPLACE INTO removed_chargers (key, at, actor)
                 SELECT key, ?2, ?3 FROM chargers WHERE key = ?1",
                params![
                    key.as_str(),
                    request.origin.at.0,
                    actor_column(&request.origin.by)?
                ],
            )?;
            commands::end_of_removed(connection, &key, request.origin.at)?;
            local_lists::end_of_removed(connection, &before.charger_id, &request.origin)?;
            let entry = charger_entry(Some(&before), None, &request.origin);
            audit::insert(connection, &entry)?;
            bump(connection)?;
            Ok(Ok(()))
        })
    }

    fn charger_profiles(&self) -> Result<Vec<ChargerProfile>, Unavailable> {
        self.readers
            .read(|connection| {
                let rows = all(connection, PROFILE_COLUMNS)?;
                let profiles = rows.into_iter().filter_map(readable_profile);
                Ok(profiles.map(|(_, profile)| profile).collect())
            })
            .map_err(Refusal::into_unavailable)
    }
}

/// Applies the lines, or returns the verdicts if one is refused.
fn import(
    connection: &Connection,
    lines: &[Line],
    origin: &Origin,
) -> Result<Result<Applied, Vec<Verdict>>, Refusal> {
    let (known, sites) = (known(connection, lines)?, sites::ids(connection)?);
    let (verdicts, imported) = charger_import::judge(lines, &known, &sites);
    if imported.is_empty() {
        return Ok(import::applied(&charger_import::COLUMNS, verdicts));
    }
    let version = bump(connection)?;
    for Imported { before, after } in &imported {
        let key = ChargerKey::of(&after.charger_id);
        let password = |charger: &ChargerProfile| charger.password_hash.clone();
        if before.as_ref().and_then(password) != password(after) {
            rotations::replace(connection, &key, origin)?;
        }
        put(connection, &key, after, version)?;
        audit::insert(
            connection,
            &charger_entry(before.as_ref(), Some(after), origin),
        )?;
    }
    Ok(import::applied(&charger_import::COLUMNS, verdicts))
}

/// Stores a charger, which is then neither refused nor removed any more.
fn put(
    connection: &Connection,
    key: &ChargerKey,
    charger: &ChargerProfile,
    version: u64,
) -> Result<(), Refusal> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO charger_profiles
             (key, id, registration, password_hash, check_mode, frame_bytes_max, close_style, version,
              label, label_key, site, charger_group)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
         ON CONFLICT (key) DO UPDATE SET id = excluded.id,
            registration = excluded.registration,
            password_hash = excluded.password_hash, check_mode = excluded.check_mode,
            frame_bytes_max = excluded.frame_bytes_max, close_style = excluded.close_style,
            version = excluded.version,
            label = excluded.label, label_key = excluded.label_key, site = excluded.site,
            charger_group = excluded.charger_group",
    )?;
    statement.execute(params![
        key.as_str(),
        charger.charger_id,
        to_text(charger.registration)?,
        charger.password_hash,
        charger.check.map(to_text).transpose()?,
        charger.frame_bytes_max,
        charger.close_style.map(to_text).transpose()?,
        version.cast_signed(),
        charger.label,
        charger.label.as_deref().map(label_key),
        charger.site,
        charger.group,
    ])?;
    handshakes::forget(connection, key)?;
    let mut statement = connection.prepare_cached("DELETE FROM removed_chargers WHERE key = ?1")?;
    statement.execute([key.as_str()])?;
    Ok(())
}

/// The stored chargers of these lines.
fn known(
    connection: &Connection,
    lines: &[Line],
) -> Result<HashMap<ChargerKey, ChargerProfile>, Refusal> {
    let mut known = HashMap::new();
    for key in charger_import::keys(lines) {
        if let Some((charger, _)) = one_profile(connection, &key)? {
            known.insert(key, charger);
        }
    }
    Ok(known)
}

/// One profile with its version.
pub(crate) fn one_profile(
    connection: &Connection,
    key: &ChargerKey,
) -> Result<Option<(ChargerProfile, u64)>, Refusal> {
    let found = profile_row(connection, key)?.map(profile).transpose()?;
    Ok(found.map(|(_, profile, version)| (profile, version)))
}

/// The row of one profile.
pub(crate) fn profile_row(
    connection: &Connection,
    key: &ChargerKey,
) -> Result<Option<ProfileRow>, Refusal> {
    let sql = format!("SELECT {PROFILE_COLUMNS} FROM charger_profiles WHERE key = ?1");
    let row = connection
        .prepare_cached(&sql)?
        .query_row([key.as_str()], |row| row.try_into())
        .optional()?;
    Ok(row)
}

/// All profiles as a gateway needs them.
pub(crate) fn all_profiles(
    connection: &Connection,
) -> Result<Vec<(ChargerKey, ChargerProfile)>, Refusal> {
    let rows = all(connection, GATEWAY_COLUMNS)?;
    Ok(rows.into_iter().map(gateway_profile).collect())
}

fn all(connection: &Connection, columns: &str) -> Result<Vec<ProfileRow>, Refusal> {
    let sql = format!("SELECT {columns} FROM charger_profiles ORDER BY key");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([], |row| row.try_into())?;
    Ok(rows.collect::<Result<_, _>>()?)
}
