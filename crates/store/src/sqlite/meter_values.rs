//! The rows of `meter_values` for a batch.

use crate::paging::at_most;
use crate::refusal::Refusal;
use crate::sqlite::numbers;
use crate::sqlite::writer::Cache;
use central::Timestamp;
use central::model::MeterValueRow;
use central::query::{ReadingFilter, ReadingRows, RowPlace};
use rusqlite::{Connection, params};

/// Milliseconds of a `span` of meter values.
const SPAN_MILLIS: i64 = 300_000;

/// Inserts these values, each once.
pub(crate) fn write(
    connection: &Connection,
    cache: &mut Cache,
    values: &[MeterValueRow],
) -> Result<(), Refusal> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO meter_values
            (span, charger_no, at, key_hash, evse, connector, transaction_id,
             energy_wh, power_w, soc_percent, sampled, unnamed_at,
             stored_on)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, unixepoch() / 86400)
         ON CONFLICT (span, charger_no, at, key_hash) DO NOTHING",
    )?;
    for row in values {
        insert.execute(params![
            row.at.0.div_euclid(SPAN_MILLIS),
            cache.numbers.charger_with_key(connection, &row.charger)?,
            row.at.0,
            row.key_hash,
            row.evse,
            row.connector,
            row.transaction_id,
            row.energy_wh,
            row.power_w,
            row.soc_percent,
            row.sampled,
            row.unnamed_at,
        ])?;
    }
    Ok(())
}

/// Spans that one page covers at most: seven days.
const SPANS_PER_PAGE: i64 = 7 * 86_400_000 / SPAN_MILLIS;

/// Rows of one transaction after a position.
pub(crate) fn page(
    connection: &Connection,
    filter: &ReadingFilter,
    after: Option<RowPlace>,
    limit: usize,
) -> Result<ReadingRows, Refusal> {
    let mut found = ReadingRows::default();
    let Some(charger_no) = numbers::charger_no(connection, filter.charger.as_str())? else {
        return Ok(found);
    };
    // The rows are sorted by their span first. Of an open transaction the end is that of the newest row.
    let newest: Option<i64> = connection
        .prepare_cached("SELECT max(span) FROM meter_values")?
        .query_row([], |row| row.get(0))?;
    let Some(newest) = newest else {
        return Ok(found);
    };
    let (after_at, after_hash) = after.unwrap_or((Timestamp(i64::MIN), i64::MIN));
    let from = filter.from.max(after_at);
    let first = from.0.div_euclid(SPAN_MILLIS);
    let last = filter.to.0.div_euclid(SPAN_MILLIS).min(newest);
    let (place, unnamed_from, unnamed_to) = match filter.unnamed {
        Some((place, from, to)) => (Some(place), from.0, to.0),
        None => (None, 0, 0),
    };
    let mut statement = connection.prepare_cached(
        "SELECT at, key_hash, evse, connector, transaction_id, energy_wh, power_w, soc_percent, sampled, unnamed_at
         FROM meter_values
         WHERE span = ?1 AND charger_no = ?2 AND at >= ?3 AND (at, key_hash) > (?4, ?5) AND at <= ?6
             AND (transaction_id = ?7 OR (unnamed_at = ?8 AND at >= ?9 AND at <= ?10))
         ORDER BY at, key_hash LIMIT ?11",
    )?;
    for span in first..=last {
        if span - first >= SPANS_PER_PAGE {
            let before = Timestamp(span.saturating_mul(SPAN_MILLIS) - 1);
            found.next = Some((before, i64::MAX));
            return Ok(found);
        }
        let wanted = at_most(limit + 1 - found.rows.len());
        let rows = statement.query_map(
            params![
                span,
                charger_no,
                filter.from.0,
                after_at.0,
                after_hash,
                filter.to.0,
                filter.transaction_id,
                place,
                unnamed_from,
                unnamed_to,
                wanted
            ],
            |row| {
                Ok(MeterValueRow {
                    charger: filter.charger.clone(),
                    at: Timestamp(row.get(0)?),
                    key_hash: row.get(1)?,
                    evse: row.get(2)?,
                    connector: row.get(3)?,
                    transaction_id: row.get(4)?,
                    energy_wh: row.get(5)?,
                    power_w: row.get(6)?,
                    soc_percent: row.get(7)?,
                    sampled: row.get(8)?,
                    unnamed_at: row.get(9)?,
                })
            },
        )?;
        for row in rows {
            found.rows.push(row?);
        }
        if found.rows.len() > limit {
            found.rows.truncate(limit);
            found.next = found.rows.last().map(|row| (row.at, row.key_hash));
            return Ok(found);
        }
    }
    Ok(found)
}
