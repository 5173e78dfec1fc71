//! Idempotency keys of requests. SQLite has one writer at a time, so two requests with one key never run at once.

use crate::idempotency::{EXPIRED_DELETED, read, written};
use crate::refusal::Refusal;
use central::ports::{ChangeRequest, IDEMPOTENCY_KEPT_MS, Once};
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Makes a change inside the caller's transaction, unless the same request was made before. The result of `effect` is kept
/// under the idempotency key of the request, so it must contain no secret; a refusal, its inner `Err`, is not kept, and
/// nothing may be written before it.
pub(crate) fn once<T: Serialize + DeserializeOwned, N>(
    connection: &Connection,
    request: &ChangeRequest,
    effect: impl FnOnce(&Connection) -> Result<Result<T, N>, Refusal>,
) -> Result<Once<T, N>, Refusal> {
    let (who, now) = (request.requested_by(), request.origin.at.0);
    if let Some(idempotency) = &request.idempotency {
        let known: Option<(Vec<u8>, String)> = connection
            .prepare_cached(
                "SELECT digest, result FROM idempotency_keys WHERE requested_by = ?1 AND key = ?2 AND at >= ?3",
            )?
            .query_row(
                params![who, idempotency.key, now - IDEMPOTENCY_KEPT_MS],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?;
        match known {
            Some((digest, json)) if digest == idempotency.digest => {
                return Ok(Once::Repeated(read(&json)?));
            }
            Some(_) => return Ok(Once::Mismatch),
            None => {}
        }
    }
    let done = match effect(connection)? {
        Ok(done) => done,
        Err(refused) => return Ok(Once::Refused(refused)),
    };
    if let Some(idempotency) = &request.idempotency {
        connection.execute(
            "INSERT OR REPLACE INTO idempotency_keys (requested_by, key, digest, result, at) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![who, idempotency.key, idempotency.digest.as_slice(), written(&done)?, now],
        )?;
        connection.execute(
            "DELETE FROM idempotency_keys WHERE (requested_by, key) IN
                 (SELECT requested_by, key FROM idempotency_keys WHERE at < ?1 ORDER BY at LIMIT ?2)",
            params![now - IDEMPOTENCY_KEPT_MS, EXPIRED_DELETED],
        )?;
    }
    Ok(Once::Done(done))
}
