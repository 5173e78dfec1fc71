//! Meter values of one transaction.

use super::charger_no;
use crate::paging::at_most;
use crate::postgres::error;
use crate::postgres::numbers::clean;
use crate::refusal::Refusal;
use central::Timestamp;
use central::model::MeterValueRow;
use central::query::{ReadingFilter, ReadingRows, RowPlace};
use sqlx::postgres::PgConnection;

/// Milliseconds that one page covers at most: the partitions of seven days.
const SPAN_PER_PAGE: i64 = 7 * 86_400_000;

/// Time, hash, EVSE, connector, transaction, energy, power, state of charge, samples, place of a value without a
/// transaction.
type Row = (
    i64,
    i64,
    Option<i64>,
    Option<i64>,
    Option<String>,
    Option<f64>,
    Option<f64>,
    Option<f64>,
    String,
    Option<i64>,
);

/// Rows of one transaction after a position.
pub(super) async fn page(
    connection: &mut PgConnection,
    filter: &ReadingFilter,
    after: Option<RowPlace>,
    limit: usize,
) -> Result<ReadingRows, Refusal> {
    let mut found = ReadingRows::default();
    let Some(charger_no) = charger_no(connection, filter.charger.as_str()).await? else {
        return Ok(found);
    };
    let (after_at, after_hash) = after.unwrap_or((Timestamp(i64::MIN), i64::MIN));
    let from = filter.from.max(after_at);
    // Of an open transaction the end is that of the charger's newest row.
    let to = if filter.to == Timestamp(i64::MAX) {
        let newest: Option<i64> = sqlx::query_scalar(
            "SELECT at FROM meter_values WHERE charger_no = $1 ORDER BY at DESC LIMIT 1",
        )
        .bind(charger_no)
        .fetch_optional(&mut *connection)
        .await
        .map_err(error::refusal)?;
        match newest {
            Some(newest) => Timestamp(newest),
            None => return Ok(found),
        }
    } else {
        filter.to
    };
    let end = to.min(from.plus_millis(SPAN_PER_PAGE));
    let (place, unnamed_from, unnamed_to) = match filter.unnamed {
        Some((place, from, to)) => (Some(place), from.0, to.0),
        None => (None, 0, 0),
    };
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT at, key_hash, evse, connector, transaction_id, energy_wh, power_w, soc_percent, sampled, unnamed_at
         FROM meter_values
         WHERE charger_no = $1 AND at >= $2 AND at <= $3 AND (at, key_hash) > ($4, $5)
             AND (transaction_id = $6 OR (unnamed_at = $7 AND at >= $8 AND at <= $9))
         ORDER BY at, key_hash LIMIT $10",
    )
    .bind(charger_no)
    .bind(from.0)
    .bind(end.0)
    .bind(after_at.0)
    .bind(after_hash)
    .bind(clean(&filter.transaction_id).as_ref())
    .bind(place)
    .bind(unnamed_from)
    .bind(unnamed_to)
    .bind(at_most(limit + 1))
    .fetch_all(connection)
    .await
    .map_err(error::refusal)?;
    found.rows = rows
        .into_iter()
        .map(|row| MeterValueRow {
            charger: filter.charger.clone(),
            at: Timestamp(row.0),
            key_hash: row.1,
            evse: row.2,
            connector: row.3,
            transaction_id: row.4,
            energy_wh: row.5,
            power_w: row.6,
            soc_percent: row.7,
            sampled: row.8,
            unnamed_at: row.9,
        })
        .collect();
    if found.rows.len() > limit {
        found.rows.truncate(limit);
        found.next = found.rows.last().map(|row| (row.at, row.key_hash));
    } else if end < to {
        found.next = Some((end, i64::MAX));
    }
    Ok(found)
}
