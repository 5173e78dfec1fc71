//! The keys of the API.

use super::idempotency::once;
use super::{PostgresStore, audit, error, users};
use crate::admins::Admins;
use crate::api_keys::{KeyRow, added, readable, revoked};
use crate::directory::to_text;
use crate::refusal::Refusal;
use central::Timestamp;
use central::model::{ApiKey, ApiKeyHash, Origin};
use central::ports::{
    API_KEYS_MAX, ApiKeys, ChangeRequest, KeyNotAdded, KeyNotRevoked, Once, Unavailable,
};
use sqlx::PgConnection;
use uuid::Uuid;

impl ApiKeys for PostgresStore {
    fn add_api_key(
        &self,
        key: &ApiKey,
        hash: &ApiKeyHash,
        request: &ChangeRequest,
    ) -> Result<Once<ApiKey, KeyNotAdded>, Unavailable> {
        self.write(async |connection| {
            once(connection, request, async |connection| {
                let count: i64 = sqlx::query_scalar("SELECT count(*) FROM api_keys")
                    .fetch_one(&mut *connection)
                    .await
                    .map_err(error::refusal)?;
                if count >= API_KEYS_MAX as i64 {
                    return Ok(Err(KeyNotAdded::TooMany));
                }
                let inserted = sqlx::query(
                    "INSERT INTO api_keys (id, name, hash, scope, created_at, expires_at, last_used_at)
                     VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (name) DO NOTHING",
                )
                .bind(key.id)
                .bind(&key.name)
                .bind(hash.as_bytes().as_slice())
                .bind(to_text(key.scope)?)
                .bind(key.created_at.0)
                .bind(key.expires_at.map(Timestamp::as_millis))
                .bind(key.last_used_at.map(Timestamp::as_millis))
                .execute(&mut *connection)
                .await
                .map_err(error::refusal)?;
                if inserted.rows_affected() == 0 {
                    return Ok(Err(KeyNotAdded::NameTaken));
                }
                audit::insert(connection, &added(key, &request.origin)?).await?;
                Ok(Ok(key.clone()))
            })
            .await
        })
    }

    fn revoke_api_key(
        &self,
        name: &str,
        keeps_admin: bool,
        origin: &Origin,
    ) -> Result<Result<(), KeyNotRevoked>, Unavailable> {
        self.write(async |connection| {
            // In the same order as a change of a user, so that neither waits for the other for ever.
            let users = users::locked(connection).await?;
            let all = locked(connection).await?;
            let Some((wanted, _)) = all.iter().find(|(key, _)| key.name == name) else {
                return Ok(Err(KeyNotRevoked::Unknown));
            };
            let admins = Admins {
                users: &users,
                keys: &all,
                now: origin.at,
            };
            if keeps_admin && admins.ends_with_key(wanted) {
                return Ok(Err(KeyNotRevoked::LastAdmin));
            }
            sqlx::query("DELETE FROM api_keys WHERE name = $1")
                .bind(name)
                .execute(&mut *connection)
                .await
                .map_err(error::refusal)?;
            audit::insert(connection, &revoked(wanted, origin)?).await?;
            Ok(Ok(()))
        })
    }

    fn api_keys(&self) -> Result<Vec<(ApiKey, ApiKeyHash)>, Unavailable> {
        self.read(async |connection| {
            let rows: Vec<KeyRow> = sqlx::query_as(
                "SELECT id, name, hash, scope, created_at, expires_at, last_used_at
                 FROM api_keys ORDER BY name",
            )
            .fetch_all(connection)
            .await
            .map_err(error::refusal)?;
            readable(rows)
        })
    }

    fn set_api_keys_used(&self, used: &[(Uuid, Timestamp)]) -> Result<(), Unavailable> {
        self.write(async |connection| {
            for (id, at) in used {
                sqlx::query(
                    "UPDATE api_keys SET last_used_at = $2
                     WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)",
                )
                .bind(id)
                .bind(at.0)
                .execute(&mut *connection)
                .await
                .map_err(error::refusal)?;
            }
            Ok(())
        })
    }
}

/// All keys. All rows are locked, so that of two changes at the same time the later one sees what the first has left.
pub(crate) async fn locked(
    connection: &mut PgConnection,
) -> Result<Vec<(ApiKey, ApiKeyHash)>, Refusal> {
    let rows: Vec<KeyRow> = sqlx::query_as(
        "SELECT id, name, hash, scope, created_at, expires_at, last_used_at
         FROM api_keys ORDER BY name FOR UPDATE",
    )
    .fetch_all(connection)
    .await
    .map_err(error::refusal)?;
    readable(rows)
}
