//! Sessions that a person closed.

use super::idempotency::once;
use super::query::transactions;
use super::{PostgresStore, audit, error, event_log};
use crate::audit::closing_entry;
use crate::event_log::Queued;
use crate::postgres::numbers::clean;
use crate::refusal::Refusal;
use central::Timestamp;
use central::ports::{CloseRequest, Closing, Closings, NotClosed, Once, Unavailable};
use sqlx::postgres::PgConnection;
use std::collections::HashMap;
use uuid::Uuid;

impl Closings for PostgresStore {
    fn close_session(
        &self,
        wanted: &CloseRequest,
    ) -> Result<Once<Closing, NotClosed>, Unavailable> {
        self.write(async |connection| {
            once(connection, &wanted.request, async |connection| {
                close(connection, wanted).await
            })
            .await
        })
    }
}

async fn close(
    connection: &mut PgConnection,
    wanted: &CloseRequest,
) -> Result<Result<Closing, NotClosed>, Refusal> {
    let unknown = || NotClosed::Unknown { key: wanted.key };
    // Its own key: that of the request may be an earlier one.
    let Some(found) = transactions::one(connection, wanted.key).await? else {
        return Ok(Err(unknown()));
    };
    // Locked as every writer does, so that no other writer changes the charger's list meanwhile.
    sqlx::query(
        "SELECT c.no FROM chargers c WHERE c.no =
             (SELECT charger_no FROM transaction_views WHERE key = $1 LIMIT 1) FOR NO KEY UPDATE",
    )
    .bind(found.key)
    .execute(&mut *connection)
    .await
    .map_err(error::refusal)?;
    // Read again: it is judged by what is stored while no other writer changes it.
    let Some(view) = transactions::one(connection, found.key).await? else {
        return Ok(Err(unknown()));
    };
    let closing = match wanted.closing(&view) {
        Ok(closing) => closing,
        Err(refused) => return Ok(Err(refused)),
    };
    let closed: Vec<i64> = sqlx::query_scalar(
        "UPDATE transaction_views SET closed = true, open = false WHERE key = $1 AND open AND NOT hidden
         RETURNING transaction_no",
    )
    .bind(closing.key)
    .fetch_all(&mut *connection)
    .await
    .map_err(error::refusal)?;
    if closed.is_empty() {
        return Ok(Err(NotClosed::Ended { key: closing.key }));
    }
    let changed: Vec<Queued> = closed.into_iter().map(Queued::transaction).collect();
    event_log::push(connection, &changed).await?;
    sqlx::query(
        "INSERT INTO transaction_closings (key, ended_at, who, reason, noted_at) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(closing.key)
    .bind(closing.ended_at.0)
    .bind(clean(&closing.who))
    .bind(clean(&closing.reason))
    .bind(closing.noted_at.0)
    .execute(&mut *connection)
    .await
    .map_err(error::refusal)?;
    let entry = closing_entry(&view, &closing, &wanted.request.origin)?;
    audit::insert(connection, &entry).await?;
    Ok(Ok(closing))
}

/// The entries of persons who closed the sessions of these keys.
pub(crate) async fn read(
    connection: &mut PgConnection,
    keys: &[Uuid],
) -> Result<HashMap<Uuid, Closing>, Refusal> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<(Uuid, i64, String, String, i64)> = sqlx::query_as(
        "SELECT key, ended_at, who, reason, noted_at FROM transaction_closings WHERE key = ANY($1)",
    )
    .bind(keys)
    .fetch_all(connection)
    .await
    .map_err(error::refusal)?;
    let closings = rows
        .into_iter()
        .map(|(key, ended_at, who, reason, noted_at)| {
            let closing = Closing {
                key,
                ended_at: Timestamp(ended_at),
                who,
                reason,
                noted_at: Timestamp(noted_at),
            };
            (key, closing)
        });
    Ok(closings.collect())
}
