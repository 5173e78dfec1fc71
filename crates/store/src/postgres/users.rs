//! The local users.

use super::{PostgresStore, api_keys, audit, error};
use crate::admins::Admins;
use crate::directory::to_text;
use crate::refusal::Refusal;
use crate::users::{UserRow, entry, readable};
use central::Timestamp;
use central::model::{Origin, User, UserPasswordHash};
use central::ports::{USERS_MAX, Unavailable, UserChange, UserNotAdded, UserNotChanged, Users};
use sqlx::PgConnection;
use uuid::Uuid;

impl Users for PostgresStore {
    fn add_user(
        &self,
        user: &User,
        password: &UserPasswordHash,
        origin: &Origin,
    ) -> Result<Result<(), UserNotAdded>, Unavailable> {
        self.write(async |connection| {
            let count: i64 = sqlx::query_scalar("SELECT count(*) FROM users")
                .fetch_one(&mut *connection)
                .await
                .map_err(error::refusal)?;
            if count >= USERS_MAX as i64 {
                return Ok(Err(UserNotAdded::TooMany));
            }
            let inserted = sqlx::query(
                "INSERT INTO users (id, name, password, scope, created_at, disabled_at, password_changed_at,
                     last_sign_in_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (name) DO NOTHING",
            )
            .bind(user.id)
            .bind(&user.name)
            .bind(password.expose())
            .bind(to_text(user.scope)?)
            .bind(user.created_at.0)
            .bind(user.disabled_at.map(Timestamp::as_millis))
            .bind(user.password_changed_at.0)
            .bind(user.last_sign_in_at.map(Timestamp::as_millis))
            .execute(&mut *connection)
            .await
            .map_err(error::refusal)?;
            if inserted.rows_affected() == 0 {
                return Ok(Err(UserNotAdded::NameTaken));
            }
            audit::insert(connection, &entry(None, Some(user), origin)?).await?;
            Ok(Ok(()))
        })
    }

    fn change_user(
        &self,
        name: &str,
        change: &UserChange,
        origin: &Origin,
    ) -> Result<Result<(User, UserPasswordHash), UserNotChanged>, Unavailable> {
        self.write(async |connection| {
            let all = locked(connection).await?;
            let Some((before, hash)) = all.iter().find(|(user, _)| user.name == name) else {
                return Ok(Err(UserNotChanged::Unknown));
            };
            if !change.condition.holds(Some(before.version(hash))) {
                return Ok(Err(UserNotChanged::OtherVersion));
            }
            let after = change.apply(before, origin.at);
            let password = change.password.as_ref().unwrap_or(hash).clone();
            if change.keeps_admin
                && is_last(connection, before, Some(&after), &all, origin.at).await?
            {
                return Ok(Err(UserNotChanged::LastAdmin));
            }
            if after == *before && change.password.is_none() {
                return Ok(Ok((after, password)));
            }
            sqlx::query(
                "UPDATE users SET password = $2, scope = $3, disabled_at = $4, password_changed_at = $5
                 WHERE id = $1",
            )
            .bind(before.id)
            .bind(password.expose())
            .bind(to_text(after.scope)?)
            .bind(after.disabled_at.map(Timestamp::as_millis))
            .bind(after.password_changed_at.0)
            .execute(&mut *connection)
            .await
            .map_err(error::refusal)?;
            audit::insert(connection, &entry(Some(before), Some(&after), origin)?).await?;
            Ok(Ok((after, password)))
        })
    }

    fn remove_user(
        &self,
        name: &str,
        keeps_admin: bool,
        origin: &Origin,
    ) -> Result<Result<(), UserNotChanged>, Unavailable> {
        self.write(async |connection| {
            let all = locked(connection).await?;
            let Some((before, _)) = all.iter().find(|(user, _)| user.name == name) else {
                return Ok(Err(UserNotChanged::Unknown));
            };
            if keeps_admin && is_last(connection, before, None, &all, origin.at).await? {
                return Ok(Err(UserNotChanged::LastAdmin));
            }
            sqlx::query("DELETE FROM users WHERE name = $1")
                .bind(name)
                .execute(&mut *connection)
                .await
                .map_err(error::refusal)?;
            audit::insert(connection, &entry(Some(before), None, origin)?).await?;
            Ok(Ok(()))
        })
    }

    fn users(&self) -> Result<Vec<(User, UserPasswordHash)>, Unavailable> {
        self.read(async |connection| {
            let rows: Vec<UserRow> =
                sqlx::query_as(
                "SELECT id, name, password, scope, created_at, disabled_at, password_changed_at, last_sign_in_at
                 FROM users ORDER BY name",
            )
                    .fetch_all(connection)
                    .await
                    .map_err(error::refusal)?;
            readable(rows)
        })
    }

    fn set_user_signed_in(&self, id: Uuid, at: Timestamp) -> Result<(), Unavailable> {
        self.write(async |connection| {
            sqlx::query(
                "UPDATE users SET last_sign_in_at = $2
                 WHERE id = $1 AND (last_sign_in_at IS NULL OR last_sign_in_at < $2)",
            )
            .bind(id)
            .bind(at.0)
            .execute(connection)
            .await
            .map_err(error::refusal)?;
            Ok(())
        })
    }
}

/// All users. All rows are locked, so that of two changes at the same time the later one sees what the first has left.
pub(crate) async fn locked(
    connection: &mut PgConnection,
) -> Result<Vec<(User, UserPasswordHash)>, Refusal> {
    let rows: Vec<UserRow> = sqlx::query_as(
        "SELECT id, name, password, scope, created_at, disabled_at, password_changed_at, last_sign_in_at
         FROM users ORDER BY name FOR UPDATE",
    )
    .fetch_all(connection)
    .await
    .map_err(error::refusal)?;
    readable(rows)
}

async fn is_last(
    connection: &mut PgConnection,
    before: &User,
    after: Option<&User>,
    users: &[(User, UserPasswordHash)],
    now: Timestamp,
) -> Result<bool, Refusal> {
    let keys = api_keys::locked(connection).await?;
    let admins = Admins {
        users,
        keys: &keys,
        now,
    };
    Ok(admins.ends_with_user(before, after))
}
