//! The rows of `events` for a batch.

use crate::refusal::Refusal;
use crate::sqlite::writer::Cache;
use central::model::EventRow;
use rusqlite::{Connection, params};

/// Inserts these events, each once.
pub(crate) fn write(
    connection: &Connection,
    cache: &mut Cache,
    events: &[EventRow],
) -> Result<(), Refusal> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO events
            (charger_no, at, key_hash, kind, name, value, evse, connector, data)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (charger_no, at, key_hash) DO NOTHING",
    )?;
    for row in events {
        insert.execute(params![
            cache.numbers.charger_with_key(connection, &row.charger)?,
            row.at.0,
            row.key_hash,
            row.kind,
            row.name,
            row.value,
            row.evse,
            row.connector,
            row.data,
        ])?;
    }
    Ok(())
}
