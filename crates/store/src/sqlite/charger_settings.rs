//! The chargers that the operator has set.

use super::directory::bump;
use super::handshakes;
use super::idempotency::once;
use super::{SqliteStore, audit, commands, local_lists, rotations, sites};
use crate::directory::{GATEWAY_COLUMNS, PROFILE_COLUMNS, charger_entry, profile, to_text};
use crate::refusal::Refusal;
use crate::removed::actor_column;
use central::model::{ChargerKey, ChargerProfile, ChargerSettings};
use central::ports::{ChangeRequest, ChargerAdmin, ChargerChange, NotChanged, Once, Unavailable};
use central::query::label_key;
use rusqlite::{Connection, OptionalExtension, params};

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
                connection.execute(
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
                    params![
                        key.as_str(),
                        after.charger_id,
                        to_text(after.registration)?,
                        after.password_hash,
                        after.check.map(to_text).transpose()?,
                        after.frame_bytes_max,
                        after.close_style.map(to_text).transpose()?,
                        version.cast_signed(),
                        after.label,
                        after.label.as_deref().map(label_key),
                        after.site,
                        after.group,
                    ],
                )?;
                let before = before.map(|(before, _)| before);
                let entry = charger_entry(before.as_ref(), Some(&after), &change.request.origin);
                audit::insert(connection, &entry)?;
                handshakes::forget(connection, &key)?;
                let sql = "DELETE FROM removed_chargers WHERE key = ?1";
                connection.execute(sql, [key.as_str()])?;
                Ok(Ok(ChargerSettings::of(&after, version)))
            })
        })
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
                let profiles = all(connection, PROFILE_COLUMNS)?;
                Ok(profiles.into_iter().map(|(_, profile)| profile).collect())
            })
            .map_err(Refusal::into_unavailable)
    }
}

/// One profile with its version.
pub(crate) fn one_profile(
    connection: &Connection,
    key: &ChargerKey,
) -> Result<Option<(ChargerProfile, u64)>, Refusal> {
    let sql = format!("SELECT {PROFILE_COLUMNS} FROM charger_profiles WHERE key = ?1");
    let row = connection
        .prepare_cached(&sql)?
        .query_row([key.as_str()], |row| row.try_into())
        .optional()?;
    let found = row.map(profile).transpose()?;
    Ok(found.map(|(_, profile, version)| (profile, version)))
}

/// All profiles as a gateway needs them.
pub(crate) fn all_profiles(
    connection: &Connection,
) -> Result<Vec<(ChargerKey, ChargerProfile)>, Refusal> {
    all(connection, GATEWAY_COLUMNS)
}

fn all(
    connection: &Connection,
    columns: &str,
) -> Result<Vec<(ChargerKey, ChargerProfile)>, Refusal> {
    let sql = format!("SELECT {columns} FROM charger_profiles ORDER BY key");
    let mut statement = connection.prepare_cached(&sql)?;
    statement
        .query_map([], |row| row.try_into())?
        .map(|row| {
            let (key, profile, _) = profile(row?)?;
            Ok((key, profile))
        })
        .collect()
}
