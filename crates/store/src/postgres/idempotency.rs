//! Idempotency keys of requests. An advisory lock on the key, held until the transaction ends, excludes two requests with
//! one key in several processes.

use super::error;
use super::numbers::clean;
use crate::idempotency::{EXPIRED_DELETED, OtherRequest, judged, written};
use crate::refusal::Refusal;
use central::ports::{ChangeRequest, IDEMPOTENCY_KEPT_MS, Once};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::postgres::PgConnection;

/// What was done by a request with the key of this one: `Ok` if it was the same request, `Err` if it was another.
pub(crate) async fn known<T: DeserializeOwned>(
    connection: &mut PgConnection,
    request: &ChangeRequest,
) -> Result<Option<Result<T, OtherRequest>>, Refusal> {
    let Some(idempotency) = &request.idempotency else {
        return Ok(None);
    };
    let known: Option<(Vec<u8>, String)> = sqlx::query_as(
        "SELECT digest, result FROM idempotency_keys WHERE requested_by = $1 AND key = $2 AND at >= $3",
    )
    .bind(clean(request.requested_by()).into_owned())
    .bind(clean(&idempotency.key).into_owned())
    .bind(request.origin.at.0 - IDEMPOTENCY_KEPT_MS)
    .fetch_optional(connection)
    .await
    .map_err(error::refusal)?;
    known
        .map(|(digest, json)| judged(&digest, &json, idempotency))
        .transpose()
}

/// Makes a change inside the caller's transaction, unless the same request was made before. The result of `effect` is kept
/// under the idempotency key of the request, so it must contain no secret; a refusal, its inner `Err`, is not kept, and
/// nothing may be written before it.
pub(crate) async fn once<T: Serialize + DeserializeOwned, N>(
    connection: &mut PgConnection,
    request: &ChangeRequest,
    effect: impl AsyncFnOnce(&mut PgConnection) -> Result<Result<T, N>, Refusal>,
) -> Result<Once<T, N>, Refusal> {
    let who = clean(request.requested_by()).into_owned();
    let now = request.origin.at.0;
    if let Some(idempotency) = &request.idempotency {
        let key = clean(&idempotency.key).into_owned();
        let is_free: bool = sqlx::query_scalar(
            "SELECT pg_try_advisory_xact_lock(hashtextextended($1, hashtextextended($2, 0)))",
        )
        .bind(&key)
        .bind(&who)
        .fetch_one(&mut *connection)
        .await
        .map_err(error::refusal)?;
        if !is_free {
            return Ok(Once::InUse);
        }
        match known(connection, request).await? {
            Some(Ok(done)) => return Ok(Once::Repeated(done)),
            Some(Err(OtherRequest)) => return Ok(Once::Mismatch),
            None => {}
        }
    }
    let done = match effect(connection).await? {
        Ok(done) => done,
        Err(refused) => return Ok(Once::Refused(refused)),
    };
    if let Some(idempotency) = &request.idempotency {
        sqlx::query(
            "INSERT INTO idempotency_keys (requested_by, key, digest, result, at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (requested_by, key) DO UPDATE
             SET digest = excluded.digest, result = excluded.result, at = excluded.at",
        )
        .bind(&who)
        .bind(clean(&idempotency.key).into_owned())
        .bind(idempotency.digest.as_slice())
        .bind(written(&done)?)
        .bind(now)
        .execute(&mut *connection)
        .await
        .map_err(error::refusal)?;
        sqlx::query(
            "DELETE FROM idempotency_keys WHERE (requested_by, key) IN
                 (SELECT requested_by, key FROM idempotency_keys WHERE at < $1 ORDER BY at LIMIT $2
                  FOR UPDATE SKIP LOCKED)",
        )
        .bind(now - IDEMPOTENCY_KEPT_MS)
        .bind(EXPIRED_DELETED)
        .execute(connection)
        .await
        .map_err(error::refusal)?;
    }
    Ok(Once::Done(done))
}
