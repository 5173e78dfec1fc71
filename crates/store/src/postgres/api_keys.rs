//! The keys of the API.

use super::{PostgresStore, audit, error};
use crate::api_keys::{KeyRow, added, key, revoked};
use crate::directory::to_text;
use central::Timestamp;
use central::model::{ApiKey, ApiKeyHash, Origin};
use central::ports::{API_KEYS_MAX, ApiKeys, KeyAdded, Unavailable};
use uuid::Uuid;

impl ApiKeys for PostgresStore {
    fn add_api_key(
        &self,
        key: &ApiKey,
        hash: &ApiKeyHash,
        origin: &Origin,
    ) -> Result<KeyAdded, Unavailable> {
        self.write(async |connection| {
            let count: i64 = sqlx::query_scalar("SELECT count(*) FROM api_keys")
                .fetch_one(&mut *connection)
                .await
                .map_err(error::refusal)?;
            if count >= API_KEYS_MAX as i64 {
                return Ok(KeyAdded::TooMany);
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
                return Ok(KeyAdded::NameTaken);
            }
            audit::insert(connection, &added(key, origin)?).await?;
            Ok(KeyAdded::Added)
        })
    }

    fn revoke_api_key(&self, name: &str, origin: &Origin) -> Result<bool, Unavailable> {
        self.write(async |connection| {
            let removed: Option<KeyRow> = sqlx::query_as(
                "DELETE FROM api_keys WHERE name = $1
                 RETURNING id, name, hash, scope, created_at, expires_at, last_used_at",
            )
            .bind(name)
            .fetch_optional(&mut *connection)
            .await
            .map_err(error::refusal)?;
            let Some(removed) = removed else {
                return Ok(false);
            };
            let (removed, _) = key(removed)?;
            audit::insert(connection, &revoked(&removed, origin)?).await?;
            Ok(true)
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
            rows.into_iter().map(key).collect()
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
