//! The rows of `meter_values` for a batch.

use crate::refusal::Refusal;
use crate::sqlite::writer::Cache;
use central::model::MeterValueRow;
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
             energy_wh, power_w, soc_percent, sampled, unnamed_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
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
