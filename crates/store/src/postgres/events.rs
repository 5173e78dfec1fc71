//! The rows of `events` for a batch.

use super::error;
use super::numbers::clean;
use super::writer::Cache;
use crate::event_log::Queued;
use crate::refusal::Refusal;
use central::Timestamp;
use central::model::EventRow;
use sqlx::postgres::PgConnection;
use std::borrow::Cow;

/// Inserts these events, each once. Returns the entries of the queue of events for the new ones.
pub(crate) async fn write(
    connection: &mut PgConnection,
    cache: &Cache,
    events: &[EventRow],
) -> Result<Vec<Queued>, Refusal> {
    let mut rows: Vec<_> = events.iter().collect();
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    rows.sort_unstable_by_key(|row| (&row.charger, row.at, row.key_hash));
    let charger_nos = rows
        .iter()
        .map(|row| cache.numbers.charger_with_key(&row.charger))
        .collect::<Result<Vec<_>, _>>()?;
    let ats: Vec<i64> = rows.iter().map(|row| row.at.0).collect();
    let hashes: Vec<i64> = rows.iter().map(|row| row.key_hash).collect();
    let kinds: Vec<Cow<'_, str>> = rows.iter().map(|row| clean(&row.kind)).collect();
    let names: Vec<Option<Cow<'_, str>>> = rows
        .iter()
        .map(|row| row.name.as_deref().map(clean))
        .collect();
    let values: Vec<Option<Cow<'_, str>>> = rows
        .iter()
        .map(|row| row.value.as_deref().map(clean))
        .collect();
    let evses: Vec<Option<i64>> = rows.iter().map(|row| row.evse).collect();
    let connectors: Vec<Option<i64>> = rows.iter().map(|row| row.connector).collect();
    let data: Vec<Cow<'_, str>> = rows.iter().map(|row| clean(&row.data)).collect();
    let inserted: Vec<(i32, i64, i64, String)> = sqlx::query_as(
        "INSERT INTO events (charger_no, at, key_hash, kind, name, value, evse, connector, data)
         SELECT * FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[],
             $7::bigint[], $8::bigint[], $9::text[])
         ON CONFLICT DO NOTHING RETURNING charger_no, at, key_hash, kind",
    )
    .bind(&charger_nos)
    .bind(&ats)
    .bind(&hashes)
    .bind(&kinds)
    .bind(&names)
    .bind(&values)
    .bind(&evses)
    .bind(&connectors)
    .bind(&data)
    .fetch_all(connection)
    .await
    .map_err(error::refusal)?;
    let reported = inserted
        .into_iter()
        .filter_map(|(no, at, hash, kind)| Queued::reported(&kind, no.into(), hash, Timestamp(at)));
    Ok(reported.collect())
}
