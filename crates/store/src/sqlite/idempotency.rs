//! Idempotency keys of requests. SQLite has one writer at a time, so two requests with one key never run at once.

use crate::idempotency::{EXPIRED_DELETED, OtherRequest, judged, written};
use crate::refusal::Refusal;
use central::ports::{ChangeRequest, IDEMPOTENCY_KEPT_MS, Once};
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What was done by a request with the key of this one: `Ok` if it was the same request, `Err` if it was another.
pub(crate) fn known<T: DeserializeOwned>(
    connection: &Connection,
    request: &ChangeRequest,
) -> Result<Option<Result<T, OtherRequest>>, Refusal> {
    let Some(idempotency) = &request.idempotency else {
        return Ok(None);
    };
    let known: Option<(Vec<u8>, String)> = connection
        .prepare_cached(
            "SELECT digest, result FROM idempotency_keys WHERE requested_by = ?1 AND key = ?2 AND at >= ?3",
        )?
        .query_row(
            params![
                request.requested_by(),
                idempotency.key,
                request.origin.at.0 - IDEMPOTENCY_KEPT_MS
            ],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    known
        .map(|(digest, json)| judged(&digest, &json, idempotency))
        .transpose()
}

/// Makes a change inside the caller's transaction, unless the same request was made before. The result of `effect` is kept
/// under the idempotency key of the request, so it must contain no secret; a refusal, its inner `Err`, is not kept, and
/// nothing may be written before it.
pub(crate) fn once<T: Serialize + DeserializeOwned, N>(
    connection: &Connection,
    request: &ChangeRequest,
    effect: impl FnOnce(&Connection) -> Result<Result<T, N>, Refusal>,
) -> Result<Once<T, N>, Refusal> {
    let (who, now) = (request.requested_by(), request.origin.at.0);
    match known(connection, request)? {
        Some(Ok(done)) => return Ok(Once::Repeated(done)),
        Some(Err(OtherRequest)) => return Ok(Once::Mismatch),
        None => {}
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
