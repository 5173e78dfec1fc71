//! The keys of the API.

use super::idempotency::once;
use super::{SqliteStore, audit, users};
use crate::admins::Admins;
use crate::api_keys::{KeyRow, added, key, readable, revoked};
use crate::directory::to_text;
use crate::refusal::Refusal;
use central::Timestamp;
use central::model::{ApiKey, ApiKeyHash, Origin};
use central::ports::{
    API_KEYS_MAX, ApiKeys, ChangeRequest, KeyNotAdded, KeyNotRevoked, Once, Unavailable,
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

const COLUMNS: &str = "id, name, hash, scope, created_at, expires_at, last_used_at";

impl ApiKeys for SqliteStore {
    fn add_api_key(
        &self,
        key: &ApiKey,
        hash: &ApiKeyHash,
        request: &ChangeRequest,
    ) -> Result<Once<ApiKey, KeyNotAdded>, Unavailable> {
        self.transact(|connection, _| {
            once(connection, request, |connection| {
                if named(connection, &key.name)?.is_some() {
                    return Ok(Err(KeyNotAdded::NameTaken));
                }
                let count: i64 =
                    connection.query_row("SELECT count(*) FROM api_keys", [], |row| row.get(0))?;
                if count >= API_KEYS_MAX as i64 {
                    return Ok(Err(KeyNotAdded::TooMany));
                }
                connection.execute(
                    "INSERT INTO api_keys (id, name, hash, scope, created_at, expires_at, last_used_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                    params![
                        key.id.as_bytes(),
                        key.name,
                        hash.as_bytes(),
                        to_text(key.scope)?,
                        key.created_at.0,
                        key.expires_at.map(Timestamp::as_millis),
                        key.last_used_at.map(Timestamp::as_millis),
                    ],
                )?;
                audit::insert(connection, &added(key, &request.origin)?)?;
                Ok(Ok(key.clone()))
            })
        })
    }

    fn revoke_api_key(
        &self,
        name: &str,
        keeps_admin: bool,
        origin: &Origin,
    ) -> Result<Result<(), KeyNotRevoked>, Unavailable> {
        self.transact(|connection, _| {
            let Some((key, _)) = named(connection, name)? else {
                return Ok(Err(KeyNotRevoked::Unknown));
            };
            let admins = Admins {
                users: &users::all(connection)?,
                keys: &all(connection)?,
                now: origin.at,
            };
            if keeps_admin && admins.ends_with_key(&key) {
                return Ok(Err(KeyNotRevoked::LastAdmin));
            }
            connection.execute("DELETE FROM api_keys WHERE name = ?1", [name])?;
            audit::insert(connection, &revoked(&key, origin)?)?;
            Ok(Ok(()))
        })
    }

    fn api_keys(&self) -> Result<Vec<(ApiKey, ApiKeyHash)>, Unavailable> {
        self.readers.read(all).map_err(Refusal::into_unavailable)
    }

    fn set_api_keys_used(&self, used: &[(Uuid, Timestamp)]) -> Result<(), Unavailable> {
        self.transact(|connection, _| {
            for (id, at) in used {
                connection
                    .prepare_cached(
                        "UPDATE api_keys SET last_used_at = ?2
                         WHERE id = ?1 AND (last_used_at IS NULL OR last_used_at < ?2)",
                    )?
                    .execute(params![id.as_bytes(), at.0])?;
            }
            Ok(())
        })
    }
}

pub(crate) fn all(connection: &Connection) -> Result<Vec<(ApiKey, ApiKeyHash)>, Refusal> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM api_keys ORDER BY name"))?;
    let rows = statement
        .query_map([], row)?
        .collect::<Result<Vec<_>, _>>()?;
    readable(rows)
}

fn named(connection: &Connection, name: &str) -> Result<Option<(ApiKey, ApiKeyHash)>, Refusal> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM api_keys WHERE name = ?1"))?
        .query_row([name], row)
        .optional()?
        .map(key)
        .transpose()
}

fn row(row: &Row<'_>) -> rusqlite::Result<KeyRow> {
    let id: [u8; 16] = row.get(0)?;
    Ok((
        Uuid::from_bytes(id),
        row.get(1)?,
        row.get(2)?,
        row.get(3)?,
        row.get(4)?,
        row.get(5)?,
        row.get(6)?,
    ))
}
