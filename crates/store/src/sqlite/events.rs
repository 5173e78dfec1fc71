//! The rows of `events` for a batch.

use crate::event_log::Queued;
use crate::refusal::Refusal;
use crate::sqlite::writer::Cache;
use central::model::EventRow;
use rusqlite::{Connection, params};

/// Inserts these events, each once. Returns the entries of the queue of events for the new ones.
pub(crate) fn write(
    connection: &Connection,
    cache: &mut Cache,
    events: &[EventRow],
) -> Result<Vec<Queued>, Refusal> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO events
            (charger_no, at, key_hash, kind, name, value, evse, connector, data, stored_on)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, unixepoch() / 86400)
         ON CONFLICT (charger_no, at, key_hash) DO NOTHING",
    )?;
    let mut reported = Vec::new();
    for row in events {
        let charger_no = cache.numbers.charger_with_key(connection, &row.charger)?;
        let inserted = insert.execute(params![
            charger_no,
            row.at.0,
            row.key_hash,
            row.kind,
            row.name,
            row.value,
            row.evse,
            row.connector,
            row.data,
        ])?;
        if inserted > 0 {
            let entry = Queued::reported(&row.kind, charger_no, row.key_hash, row.at);
            reported.extend(entry);
        }
    }
    Ok(reported)
}
