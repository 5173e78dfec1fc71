//! The rows of `events` for a batch.

use crate::event_log::{self, Queued};
use crate::refusal::Refusal;
use crate::sqlite::writer::Cache;
use central::model::EventRow;
use rusqlite::{Connection, params};

/// Inserts these events, each once. Returns the security events among the new ones.
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
    let mut security = Vec::new();
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
        if inserted > 0 && event_log::is_security(&row.kind) {
            security.push(Queued::security(charger_no, row.key_hash, row.at));
        }
    }
    Ok(security)
}
