//! The local users.

use super::{SqliteStore, api_keys, audit};
use crate::admins::Admins;
use crate::directory::to_text;
use crate::refusal::Refusal;
use crate::users::{UserRow, entry, readable, user};
use central::Timestamp;
use central::model::{Origin, User, UserPasswordHash};
use central::ports::{USERS_MAX, Unavailable, UserChange, UserNotAdded, UserNotChanged, Users};
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

const COLUMNS: &str =
    "id, name, password, scope, created_at, disabled_at, password_changed_at, last_sign_in_at";

impl Users for SqliteStore {
    fn add_user(
        &self,
        user: &User,
        password: &UserPasswordHash,
        origin: &Origin,
    ) -> Result<Result<(), UserNotAdded>, Unavailable> {
        self.transact(|connection, _| {
            if named(connection, &user.name)?.is_some() {
                return Ok(Err(UserNotAdded::NameTaken));
            }
            let count: i64 =
                connection.query_row("SELECT count(*) FROM users", [], |row| row.get(0))?;
            if count >= USERS_MAX as i64 {
                return Ok(Err(UserNotAdded::TooMany));
            }
            connection.execute(
                &format!("INSERT INTO users ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"),
                params![
                    user.id.as_bytes(),
                    user.name,
                    password.expose(),
                    to_text(user.scope)?,
                    user.created_at.0,
                    user.disabled_at.map(Timestamp::as_millis),
                    user.password_changed_at.0,
                    user.last_sign_in_at.map(Timestamp::as_millis),
                ],
            )?;
            audit::insert(connection, &entry(None, Some(user), origin)?)?;
            Ok(Ok(()))
        })
    }

    fn change_user(
        &self,
        name: &str,
        change: &UserChange,
        origin: &Origin,
    ) -> Result<Result<(User, UserPasswordHash), UserNotChanged>, Unavailable> {
        self.transact(|connection, _| {
            let Some((before, hash)) = named(connection, name)? else {
                return Ok(Err(UserNotChanged::Unknown));
            };
            if !change.condition.holds(Some(before.version(&hash))) {
                return Ok(Err(UserNotChanged::OtherVersion));
            }
            let after = change.apply(&before, origin.at);
            let password = change.password.as_ref().unwrap_or(&hash).clone();
            if change.keeps_admin && is_last(connection, &before, Some(&after), origin.at)? {
                return Ok(Err(UserNotChanged::LastAdmin));
            }
            if after == before && change.password.is_none() {
                return Ok(Ok((after, password)));
            }
            connection.execute(
                "UPDATE users SET password = ?2, scope = ?3, disabled_at = ?4, password_changed_at = ?5
                 WHERE id = ?1",
                params![
                    before.id.as_bytes(),
                    password.expose(),
                    to_text(after.scope)?,
                    after.disabled_at.map(Timestamp::as_millis),
                    after.password_changed_at.0,
                ],
            )?;
            audit::insert(connection, &entry(Some(&before), Some(&after), origin)?)?;
            Ok(Ok((after, password)))
        })
    }

    fn remove_user(
        &self,
        name: &str,
        keeps_admin: bool,
        origin: &Origin,
    ) -> Result<Result<(), UserNotChanged>, Unavailable> {
        self.transact(|connection, _| {
            let Some((before, _)) = named(connection, name)? else {
                return Ok(Err(UserNotChanged::Unknown));
            };
            if keeps_admin && is_last(connection, &before, None, origin.at)? {
                return Ok(Err(UserNotChanged::LastAdmin));
            }
            connection.execute("DELETE FROM users WHERE name = ?1", [name])?;
            audit::insert(connection, &entry(Some(&before), None, origin)?)?;
            Ok(Ok(()))
        })
    }

    fn users(&self) -> Result<Vec<(User, UserPasswordHash)>, Unavailable> {
        self.readers.read(all).map_err(Refusal::into_unavailable)
    }

    fn set_user_signed_in(&self, id: Uuid, at: Timestamp) -> Result<(), Unavailable> {
        self.transact(|connection, _| {
            connection
                .prepare_cached(
                    "UPDATE users SET last_sign_in_at = ?2
                     WHERE id = ?1 AND (last_sign_in_at IS NULL OR last_sign_in_at < ?2)",
                )?
                .execute(params![id.as_bytes(), at.0])?;
            Ok(())
        })
    }
}

fn is_last(
    connection: &Connection,
    before: &User,
    after: Option<&User>,
    now: Timestamp,
) -> Result<bool, Refusal> {
    let admins = Admins {
        users: &all(connection)?,
        keys: &api_keys::all(connection)?,
        now,
    };
    Ok(admins.ends_with_user(before, after))
}

pub(crate) fn all(connection: &Connection) -> Result<Vec<(User, UserPasswordHash)>, Refusal> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM users ORDER BY name"))?;
    let rows = statement
        .query_map([], row)?
        .collect::<Result<Vec<_>, _>>()?;
    readable(rows)
}

fn named(connection: &Connection, name: &str) -> Result<Option<(User, UserPasswordHash)>, Refusal> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM users WHERE name = ?1"))?
        .query_row([name], row)
        .optional()?
        .map(user)
        .transpose()
}

fn row(row: &Row<'_>) -> rusqlite::Result<UserRow> {
    let id: [u8; 16] = row.get(0)?;
    Ok((
        Uuid::from_bytes(id),
        row.get(1)?,
        row.get(2)?,
        row.get(3)?,
        row.get(4)?,
        row.get(5)?,
        row.get(6)?,
        row.get(7)?,
    ))
}
