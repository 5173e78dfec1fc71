//! Changes of a charger's password at the charger. The lock of the directory comes first in each transaction, as in every
//! other change of a charger.

use super::charger_settings::{lock_directory, one_profile, profile_key};
use super::directory::bump;
use super::idempotency::once;
use super::numbers::clean;
use super::{PostgresStore, audit, commands, error, handshakes};
use crate::directory::{charger_entry, to_text};
use crate::paging::at_most;
use crate::refusal::Refusal;
use crate::rotations::{
    ROTATION_COLUMNS, RotationRow, actor_text, begun_entry, ended_entry, first_look,
};
use central::Timestamp;
use central::model::{
    ChargerKey, CommandId, Origin, PasswordRotation, RotationAnswer, RotationOutcome, RotationView,
};
use central::ports::{
    ChangeRequest, Created, NewRotation, Once, PasswordRotations, RotationNotBegun,
    RotationNotCancelled, Unavailable,
};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row};

impl PasswordRotations for PostgresStore {
    fn begin_rotation(
        &self,
        new: &NewRotation,
    ) -> Result<Once<PasswordRotation, RotationNotBegun>, Unavailable> {
        // A commit that was reported and is lost in a crash would leave the charger with a password that nobody knows.
        self.change(async |connection| {
            once(connection, &new.request, async |connection| {
                let key = profile_key(&new.charger_id);
                lock_directory(connection).await?;
                let Some((profile, _)) = one_profile(connection, &key).await? else {
                    return Ok(Err(RotationNotBegun::Unknown));
                };
                if let Some(row) = one(connection, &key).await?
                    && row.open_hash().is_some()
                {
                    return Ok(Err(RotationNotBegun::Open(row.rotation()?)));
                }
                match commands::create(connection, &new.command).await? {
                    Created::New(_) | Created::Repeated(_) => {}
                    Created::QueueFull | Created::Mismatch => {
                        return Ok(Err(RotationNotBegun::QueueFull));
                    }
                }
                let origin = &new.request.origin;
                sqlx::query(
                    "INSERT INTO password_rotations
                         (key, id, new_hash, command, started_at, actor, origin, look_at)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                     ON CONFLICT (key) DO UPDATE SET id = excluded.id, new_hash = excluded.new_hash,
                        command = excluded.command, started_at = excluded.started_at,
                        actor = excluded.actor, origin = excluded.origin, outcome = NULL, ended_at = NULL,
                        look_at = excluded.look_at",
                )
                .bind(&key)
                .bind(&profile.charger_id)
                .bind(&new.new_hash)
                .bind(new.command.command.id.0)
                .bind(origin.at.0)
                .bind(clean(&actor_text(&origin.by)?).into_owned())
                .bind(clean(&origin.from).into_owned())
                .bind(first_look(origin.at))
                .execute(&mut *connection)
                .await
                .map_err(error::refusal)?;
                bump(connection).await?;
                let entry = begun_entry(&profile.charger_id, new.command.command.id, origin);
                audit::insert(connection, &entry).await?;
                let row = one(connection, &key)
                    .await?
                    .ok_or_else(|| Refusal::corrupt("a rotation that was inserted is not there"))?;
                row.rotation().map(Ok)
            })
            .await
        })
    }

    fn rotation(
        &self,
        charger_id: &str,
        now: Timestamp,
    ) -> Result<Option<RotationView>, Unavailable> {
        let key = profile_key(charger_id);
        self.read(async |connection| {
            let id: Option<String> =
                sqlx::query_scalar("SELECT id FROM charger_profiles WHERE key = $1")
                    .bind(&key)
                    .fetch_optional(&mut *connection)
                    .await
                    .map_err(error::refusal)?;
            let Some(id) = id else {
                return Ok(None);
            };
            let Some(row) = one(connection, &key).await? else {
                return Ok(Some(RotationView::none(&id)));
            };
            let command = commands::shown(connection, CommandId(row.command)).await?;
            Ok(Some(row.rotation()?.view(command.as_ref(), now)))
        })
    }

    fn cancel_rotation(
        &self,
        charger_id: &str,
        request: &ChangeRequest,
    ) -> Result<Result<(), RotationNotCancelled>, Unavailable> {
        let key = profile_key(charger_id);
        self.change(async |connection| {
            lock_directory(connection).await?;
            if one_profile(connection, &key).await?.is_none() {
                return Ok(Err(RotationNotCancelled::Unknown));
            }
            let row = one(connection, &key).await?;
            let Some(row) = row.filter(|row| row.open_hash().is_some()) else {
                return Ok(Err(RotationNotCancelled::NotOpen));
            };
            let now = request.origin.at;
            if !commands::cancel_queued(connection, CommandId(row.command), now).await? {
                return Ok(Err(RotationNotCancelled::TooLate));
            }
            let outcome = RotationOutcome::Cancelled;
            end(connection, &row, outcome, &request.origin).await?;
            Ok(Ok(()))
        })
    }

    fn logged_in(
        &self,
        charger: &ChargerKey,
        hash: &str,
        now: Timestamp,
    ) -> Result<(), Unavailable> {
        let key = profile_key(charger.as_str());
        self.change(async |connection| {
            lock_directory(connection).await?;
            let row = one(connection, &key).await?;
            let row = row.filter(|row| row.open_hash() == Some(hash));
            let (Some(row), Some((before, _))) = (row, one_profile(connection, &key).await?) else {
                return Ok(());
            };
            commands::cancel_queued(connection, CommandId(row.command), now).await?;
            let origin = row.origin_at(now);
            let version = end(connection, &row, RotationOutcome::Done, &origin).await?;
            sqlx::query(
                "UPDATE charger_profiles SET password_hash = $2, version = $3 WHERE key = $1",
            )
            .bind(&key)
            .bind(hash)
            .bind(version.cast_signed())
            .execute(&mut *connection)
            .await
            .map_err(error::refusal)?;
            let mut after = before.clone();
            after.password_hash = Some(hash.to_owned());
            let entry = charger_entry(Some(&before), Some(&after), &origin);
            audit::insert(connection, &entry).await?;
            handshakes::forget(connection, std::slice::from_ref(&key)).await
        })
    }

    fn settle_rotations(&self, now: Timestamp, limit: usize) -> Result<u64, Unavailable> {
        // Most of the time nothing is due, and a query needs no transaction of its own.
        let is_due: bool = self.read(async |connection| {
            sqlx::query_scalar(
                "SELECT EXISTS (SELECT 1 FROM password_rotations WHERE look_at <= $1)",
            )
            .bind(now.0)
            .fetch_one(connection)
            .await
            .map_err(error::refusal)
        })?;
        if !is_due {
            return Ok(0);
        }
        let sql = format!(
            "SELECT {ROTATION_COLUMNS} FROM password_rotations WHERE look_at <= $1
             ORDER BY look_at LIMIT $2"
        );
        self.change(async |connection| {
            lock_directory(connection).await?;
            let due = sqlx::query(AssertSqlSafe(sql))
                .bind(now.0)
                .bind(at_most(limit))
                .fetch_all(&mut *connection)
                .await
                .map_err(error::refusal)?;
            let mut ended = 0;
            for found in &due {
                let row = row(found).map_err(error::refusal)?;
                let command = commands::find(connection, CommandId(row.command)).await?;
                let next = match RotationRow::answer(command.as_ref()) {
                    RotationAnswer::Ends(outcome) => {
                        end(connection, &row, outcome, &row.origin_at(now)).await?;
                        ended += 1;
                        continue;
                    }
                    RotationAnswer::Accepted => None,
                    RotationAnswer::Undecided => command.map(|_| row.next_look(now)),
                };
                sqlx::query("UPDATE password_rotations SET look_at = $2 WHERE key = $1")
                    .bind(&row.key)
                    .bind(next)
                    .execute(&mut *connection)
                    .await
                    .map_err(error::refusal)?;
            }
            Ok(ended)
        })
    }
}

/// The new hashes of rotations that are not decided.
pub(super) async fn open_hashes(
    connection: &mut PgConnection,
) -> Result<Vec<(ChargerKey, String)>, Refusal> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT key, new_hash FROM password_rotations WHERE new_hash IS NOT NULL AND outcome IS NULL",
    )
    .fetch_all(connection)
    .await
    .map_err(error::refusal)?;
    let rows = rows.into_iter();
    Ok(rows
        .map(|(key, hash)| (ChargerKey::of(&key), hash))
        .collect())
}

/// Ends the rotation of a charger whose password is set in another way, and cancels its command if that is queued. The
/// caller holds the lock of the directory.
pub(super) async fn replace(
    connection: &mut PgConnection,
    key: &str,
    origin: &Origin,
) -> Result<(), Refusal> {
    let row = one(connection, key).await?;
    let Some(row) = row.filter(|row| row.open_hash().is_some()) else {
        return Ok(());
    };
    commands::cancel_queued(connection, CommandId(row.command), origin.at).await?;
    end(connection, &row, RotationOutcome::Replaced, origin).await?;
    Ok(())
}

/// Notes the end; returns the directory's new revision.
async fn end(
    connection: &mut PgConnection,
    rotation: &RotationRow,
    outcome: RotationOutcome,
    origin: &Origin,
) -> Result<u64, Refusal> {
    sqlx::query(
        "UPDATE password_rotations SET new_hash = NULL, look_at = NULL, outcome = $2, ended_at = $3
         WHERE key = $1",
    )
    .bind(&rotation.key)
    .bind(to_text(outcome)?)
    .bind(origin.at.0)
    .execute(&mut *connection)
    .await
    .map_err(error::refusal)?;
    audit::insert(connection, &ended_entry(rotation, outcome, origin)?).await?;
    bump(connection).await
}

async fn one(connection: &mut PgConnection, key: &str) -> Result<Option<RotationRow>, Refusal> {
    let sql = format!("SELECT {ROTATION_COLUMNS} FROM password_rotations WHERE key = $1");
    let found = sqlx::query(AssertSqlSafe(sql))
        .bind(key)
        .fetch_optional(connection)
        .await
        .map_err(error::refusal)?;
    found.as_ref().map(row).transpose().map_err(error::refusal)
}

fn row(row: &PgRow) -> Result<RotationRow, sqlx::Error> {
    Ok(RotationRow {
        key: row.try_get(0)?,
        id: row.try_get(1)?,
        new_hash: row.try_get(2)?,
        command: row.try_get(3)?,
        started_at: row.try_get(4)?,
        actor: row.try_get(5)?,
        origin: row.try_get(6)?,
        outcome: row.try_get(7)?,
        ended_at: row.try_get(8)?,
    })
}
