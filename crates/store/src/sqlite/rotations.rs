//! Changes of a charger's password at the charger. SQLite has one writer at a time, so each call is exclusive.

use super::charger_settings::one_profile;
use super::directory::bump;
use super::idempotency::once;
use super::{SqliteStore, audit, commands, handshakes};
use crate::directory::{charger_entry, to_text};
use crate::paging::at_most;
use crate::refusal::Refusal;
use crate::rotations::{
    ROTATION_COLUMNS, RotationRow, actor_text, begun_entry, ended_entry, first_look,
};
use crate::sqlite::listing::uuid_of;
use crate::state::Unreadable;
use central::Timestamp;
use central::model::{
    ChargerKey, CommandId, Origin, PasswordRotation, RotationAnswer, RotationOutcome, RotationView,
};
use central::ports::{
    ChangeRequest, Created, NewRotation, Once, PasswordRotations, RotationNotBegun,
    RotationNotCancelled, Unavailable,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

impl PasswordRotations for SqliteStore {
    fn begin_rotation(
        &self,
        new: &NewRotation,
    ) -> Result<Once<PasswordRotation, RotationNotBegun>, Unavailable> {
        self.transact(|connection, _| {
            once(connection, &new.request, |connection| {
                let key = ChargerKey::of(&new.charger_id);
                let Some((profile, _)) = one_profile(connection, &key)? else {
                    return Ok(Err(RotationNotBegun::Unknown));
                };
                if let Some(row) = one(connection, &key)?
                    && row.open_hash().is_some()
                {
                    return Ok(Err(RotationNotBegun::Open(row.rotation()?)));
                }
                match commands::create(connection, &new.command)? {
                    Created::New(_) | Created::Repeated(_) => {}
                    Created::QueueFull | Created::Mismatch => {
                        return Ok(Err(RotationNotBegun::QueueFull));
                    }
                }
                let origin = &new.request.origin;
                connection.execute(
                    "INSERT OR REPLACE INTO password_rotations
                         (key, id, new_hash, command, started_at, actor, origin, look_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                    params![
                        key.as_str(),
                        profile.charger_id,
                        new.new_hash,
                        new.command.command.id.0.as_bytes(),
                        origin.at.0,
                        actor_text(&origin.by)?,
                        origin.from,
                        first_look(origin.at),
                    ],
                )?;
                bump(connection)?;
                let entry = begun_entry(&profile.charger_id, new.command.command.id, origin);
                audit::insert(connection, &entry)?;
                let row = one(connection, &key)?
                    .ok_or_else(|| Refusal::corrupt("a rotation that was inserted is not there"))?;
                row.rotation().map(Ok)
            })
        })
    }

    fn rotation(
        &self,
        charger_id: &str,
        now: Timestamp,
    ) -> Result<Option<RotationView>, Unavailable> {
        self.readers
            .read(|connection| {
                let key = ChargerKey::of(charger_id);
                let Some((profile, _)) = one_profile(connection, &key)? else {
                    return Ok(None);
                };
                let Some(row) = one(connection, &key)? else {
                    return Ok(Some(RotationView::none(&profile.charger_id)));
                };
                let command = CommandId(row.command);
                let command = commands::shown(connection, command, Unreadable::IsNone)?;
                Ok(Some(row.rotation()?.view(command.as_ref(), now)))
            })
            .map_err(Refusal::into_unavailable)
    }

    fn cancel_rotation(
        &self,
        charger_id: &str,
        request: &ChangeRequest,
    ) -> Result<Result<(), RotationNotCancelled>, Unavailable> {
        self.transact(|connection, _| {
            let key = ChargerKey::of(charger_id);
            if one_profile(connection, &key)?.is_none() {
                return Ok(Err(RotationNotCancelled::Unknown));
            }
            let row = one(connection, &key)?.filter(|row| row.open_hash().is_some());
            let Some(row) = row else {
                return Ok(Err(RotationNotCancelled::NotOpen));
            };
            let now = request.origin.at;
            if !commands::cancel_queued(connection, CommandId(row.command), now)? {
                return Ok(Err(RotationNotCancelled::TooLate));
            }
            let outcome = RotationOutcome::Cancelled;
            end(connection, &row, outcome, &request.origin)?;
            Ok(Ok(()))
        })
    }

    fn logged_in(
        &self,
        charger: &ChargerKey,
        hash: &str,
        now: Timestamp,
    ) -> Result<(), Unavailable> {
        self.transact(|connection, _| {
            let row = one(connection, charger)?.filter(|row| row.open_hash() == Some(hash));
            let (Some(row), Some((before, _))) = (row, one_profile(connection, charger)?) else {
                return Ok(());
            };
            commands::cancel_queued(connection, CommandId(row.command), now)?;
            let origin = row.origin_at(now);
            let version = end(connection, &row, RotationOutcome::Done, &origin)?;
            connection.execute(
                "UPDATE charger_profiles SET password_hash = ?2, version = ?3 WHERE key = ?1",
                params![charger.as_str(), hash, version.cast_signed()],
            )?;
            let mut after = before.clone();
            after.password_hash = Some(hash.to_owned());
            let entry = charger_entry(Some(&before), Some(&after), &origin);
            audit::insert(connection, &entry)?;
            handshakes::forget(connection, charger)
        })
    }

    fn settle_rotations(&self, now: Timestamp, limit: usize) -> Result<u64, Unavailable> {
        let is_due = self.readers.read(|connection| {
            let due: Option<i64> = connection
                .prepare_cached("SELECT 1 FROM password_rotations WHERE look_at <= ?1 LIMIT 1")?
                .query_row([now.0], |row| row.get(0))
                .optional()?;
            Ok(due.is_some())
        });
        // The query alone needs no write lock.
        if !is_due.map_err(Refusal::into_unavailable)? {
            return Ok(0);
        }
        self.transact(|connection, _| {
            let sql = format!(
                "SELECT {ROTATION_COLUMNS} FROM password_rotations WHERE look_at <= ?1
                 ORDER BY look_at LIMIT ?2"
            );
            let due: Vec<RotationRow> = connection
                .prepare_cached(&sql)?
                .query_map([now.0, at_most(limit)], row)?
                .collect::<Result<_, _>>()?;
            let mut look = connection
                .prepare_cached("UPDATE password_rotations SET look_at = ?2 WHERE key = ?1")?;
            let mut ended = 0;
            for row in due {
                let command = commands::find(connection, CommandId(row.command))?;
                match RotationRow::answer(command.as_ref()) {
                    RotationAnswer::Ends(outcome) => {
                        end(connection, &row, outcome, &row.origin_at(now))?;
                        ended += 1;
                    }
                    RotationAnswer::Accepted => {
                        look.execute(params![row.key, None::<i64>])?;
                    }
                    RotationAnswer::Undecided => {
                        let next = command.is_some().then(|| row.next_look(now));
                        look.execute(params![row.key, next])?;
                    }
                }
            }
            Ok(ended)
        })
    }
}

/// The new hashes of rotations that are not decided.
pub(super) fn open_hashes(connection: &Connection) -> Result<Vec<(ChargerKey, String)>, Refusal> {
    let mut statement = connection.prepare_cached(
        "SELECT key, new_hash FROM password_rotations WHERE new_hash IS NOT NULL AND outcome IS NULL",
    )?;
    statement
        .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?
        .map(|row| row.map(|(key, hash)| (ChargerKey::of(&key), hash)))
        .collect::<Result<_, _>>()
        .map_err(Refusal::from)
}

/// Ends the rotation of a charger whose password is set in another way, and cancels its command if that is queued.
pub(super) fn replace(
    connection: &Connection,
    key: &ChargerKey,
    origin: &Origin,
) -> Result<(), Refusal> {
    let row = one(connection, key)?.filter(|row| row.open_hash().is_some());
    let Some(row) = row else {
        return Ok(());
    };
    commands::cancel_queued(connection, CommandId(row.command), origin.at)?;
    end(connection, &row, RotationOutcome::Replaced, origin)?;
    Ok(())
}

/// Notes the end; returns the directory's new revision.
fn end(
    connection: &Connection,
    rotation: &RotationRow,
    outcome: RotationOutcome,
    origin: &Origin,
) -> Result<u64, Refusal> {
    connection.execute(
        "UPDATE password_rotations SET new_hash = NULL, look_at = NULL, outcome = ?2, ended_at = ?3
         WHERE key = ?1",
        params![rotation.key, to_text(outcome)?, origin.at.0],
    )?;
    audit::insert(connection, &ended_entry(rotation, outcome, origin)?)?;
    bump(connection)
}

fn one(connection: &Connection, key: &ChargerKey) -> Result<Option<RotationRow>, Refusal> {
    let sql = format!("SELECT {ROTATION_COLUMNS} FROM password_rotations WHERE key = ?1");
    let found = connection
        .prepare_cached(&sql)?
        .query_row([key.as_str()], row)
        .optional()?;
    Ok(found)
}

fn row(row: &Row<'_>) -> rusqlite::Result<RotationRow> {
    Ok(RotationRow {
        key: row.get(0)?,
        id: row.get(1)?,
        new_hash: row.get(2)?,
        command: uuid_of(row, 3)?,
        started_at: row.get(4)?,
        actor: row.get(5)?,
        origin: row.get(6)?,
        outcome: row.get(7)?,
        ended_at: row.get(8)?,
    })
}
