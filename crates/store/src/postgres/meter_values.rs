//! The rows of `meter_values` that a batch makes.

use super::copy::CopyRows;
use super::error;
use super::numbers::clean;
use super::writer::Cache;
use crate::refusal::Refusal;
use central::model::MeterValueRow;
use sqlx::postgres::PgConnection;
use std::borrow::Cow;
use std::collections::HashSet;

const COPY: &str =
    "COPY meter_values (charger_no, at, key_hash, evse, connector, transaction_id, energy_wh,
    power_w, soc_percent, sampled, unnamed_at) FROM STDIN (FORMAT binary)";

/// A row with its charger's number.
type Numbered<'a> = (i32, &'a MeterValueRow);

/// Keeps these values, each once.
pub(crate) async fn write(
    connection: &mut PgConnection,
    cache: &mut Cache,
    values: &[MeterValueRow],
) -> Result<(), Refusal> {
    if values.is_empty() {
        return Ok(());
    }
    let mut rows = Vec::with_capacity(values.len());
    for value in values {
        rows.push((cache.numbers.charger_with_key(&value.charger)?, value));
    }
    rows.sort_unstable_by_key(key);
    // Two rows with the same key are the same measurement, reported twice.
    rows.dedup_by_key(|row| key(row));
    take_away_outside(connection, &mut rows).await?;
    if rows.is_empty() {
        return Ok(());
    }
    let strategy = &mut cache.copied_values;
    if strategy.is_copy(rows.len())
        && strategy
            .copy(connection, COPY, copy_rows(&rows))
            .await?
            .is_some()
    {
        return Ok(());
    }
    insert(connection, &rows).await
}

/// Removes rows that are stored outside the daily partitions, where the insert would not detect the conflict.
async fn take_away_outside(
    connection: &mut PgConnection,
    rows: &mut Vec<Numbered<'_>>,
) -> Result<(), Refusal> {
    let is_any: bool = sqlx::query_scalar("SELECT pg_relation_size('meter_values_outside') > 0")
        .fetch_one(&mut *connection)
        .await
        .map_err(error::refusal)?;
    if !is_any {
        return Ok(());
    }
    let found: HashSet<(i32, i64, i64)> = sqlx::query_as(
        // One by one by the index: a sequential scan of an emptied table stays slow until it is vacuumed.
        "SELECT k.charger_no, k.at, k.key_hash
         FROM unnest($1::int[], $2::bigint[], $3::bigint[]) AS k (charger_no, at, key_hash)
         CROSS JOIN LATERAL (SELECT FROM meter_values_outside AS m
             WHERE m.charger_no = k.charger_no AND m.at = k.at AND m.key_hash = k.key_hash
             LIMIT 1) AS found",
    )
    .bind(rows.iter().map(|row| row.0).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.1.at.0).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.1.key_hash).collect::<Vec<_>>())
    .fetch_all(connection)
    .await
    .map_err(error::refusal)?
    .into_iter()
    .collect();
    rows.retain(|row| !found.contains(&key(row)));
    Ok(())
}

const fn key((charger_no, value): &Numbered<'_>) -> (i32, i64, i64) {
    (*charger_no, value.at.0, value.key_hash)
}

fn copy_rows(rows: &[Numbered<'_>]) -> CopyRows {
    let bytes: usize = rows.iter().map(|(_, value)| value.sampled.len()).sum();
    let mut copy = CopyRows::with_capacity(bytes + rows.len() * 120);
    for (charger_no, value) in rows {
        copy.row(11);
        copy.int4(*charger_no);
        copy.int8(value.at.0);
        copy.int8(value.key_hash);
        copy.int8_or_null(value.evse);
        copy.int8_or_null(value.connector);
        let transaction = value.transaction_id.as_deref().map(clean);
        copy.field_or_null(transaction.as_ref().map(|id| id.as_bytes()));
        copy.float8_or_null(value.energy_wh);
        copy.float8_or_null(value.power_w);
        copy.float8_or_null(value.soc_percent);
        copy.field(clean(&value.sampled).as_bytes());
        copy.int8_or_null(value.unnamed_at);
    }
    copy
}

async fn insert(connection: &mut PgConnection, rows: &[Numbered<'_>]) -> Result<(), Refusal> {
    let charger_nos: Vec<i32> = rows.iter().map(|row| row.0).collect();
    let rows = || rows.iter().map(|row| row.1);
    let ats: Vec<i64> = rows().map(|row| row.at.0).collect();
    let hashes: Vec<i64> = rows().map(|row| row.key_hash).collect();
    let evses: Vec<Option<i64>> = rows().map(|row| row.evse).collect();
    let connectors: Vec<Option<i64>> = rows().map(|row| row.connector).collect();
    let transactions: Vec<Option<Cow<'_, str>>> = rows()
        .map(|row| row.transaction_id.as_deref().map(clean))
        .collect();
    let energies: Vec<Option<f64>> = rows().map(|row| row.energy_wh).collect();
    let powers: Vec<Option<f64>> = rows().map(|row| row.power_w).collect();
    let socs: Vec<Option<f64>> = rows().map(|row| row.soc_percent).collect();
    let unnamed: Vec<Option<i64>> = rows().map(|row| row.unnamed_at).collect();
    let sampled: Vec<Cow<'_, str>> = rows().map(|row| clean(&row.sampled)).collect();
    sqlx::query(
        "INSERT INTO meter_values
            (charger_no, at, key_hash, evse, connector, transaction_id, energy_wh, power_w, soc_percent,
             sampled, unnamed_at)
         SELECT * FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[],
             $7::float8[], $8::float8[], $9::float8[], $10::text[], $11::bigint[])
         ON CONFLICT DO NOTHING",
    )
    .bind(&charger_nos)
    .bind(&ats)
    .bind(&hashes)
    .bind(&evses)
    .bind(&connectors)
    .bind(&transactions)
    .bind(&energies)
    .bind(&powers)
    .bind(&socs)
    .bind(&sampled)
    .bind(&unnamed)
    .execute(connection)
    .await
    .map_err(error::refusal)?;
    Ok(())
}
