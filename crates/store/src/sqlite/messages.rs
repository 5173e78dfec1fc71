//! The rows of `messages` for a batch.

use super::apply::Records;
use super::dead_letters;
use crate::dead_letters::ids_used_twice;
use crate::quirks::NewRecords;
use crate::refusal::Refusal;
use crate::sqlite::blocks::Touched;
use crate::sqlite::numbers::{BLOCK_BITS, message_no};
use crate::sqlite::writer::Cache;
use central::Record;
use central::ports::Applied;
use rusqlite::{Connection, params};

/// Inserts the rows of `messages` for a batch; also returns which records were new. A record whose id another record has
/// becomes a dead letter.
pub(crate) fn write(
    connection: &Connection,
    cache: &mut Cache,
    records: Records<'_, '_>,
) -> Result<(Applied, NewRecords), Refusal> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO messages
            (id, charger_no, charger_id, kind, version, answer_kind, notes, received_at, epoch,
             message_id, action, payload, answer, reason)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
         ON CONFLICT (id) DO NOTHING",
    )?;
    let mut applied = Applied::default();
    let mut touched = Touched::default();
    let mut doubles = Vec::new();
    let mut new = Vec::with_capacity(records.len());
    for (at, (id, record)) in records.iter().enumerate() {
        let gateway_no = cache.numbers.gateway(connection, id.gateway)?;
        let charger = cache.numbers.charger(connection, record.charger_id)?;
        let no = message_no(gateway_no, id.seq)?;
        let inserted = insert.execute(params![
            no,
            charger.no,
            charger.spelled_otherwise.then_some(record.charger_id),
            record.kind as u8,
            record.ocpp_version as u8,
            record.answer_kind as u8,
            record.notes.0,
            record.received_at.0,
            record.epoch.0.cast_signed(),
            record.message_id,
            record.action,
            record.payload,
            record.answer,
            record.reason,
        ])?;
        if inserted > 0 {
            applied.new += 1;
            new.push(*id);
            touched.add(no >> BLOCK_BITS, record);
        } else if is_stored(connection, no, record)? {
            applied.known += 1;
        } else {
            doubles.push(at);
        }
    }
    touched.write(connection)?;
    let letters = ids_used_twice(doubles.into_iter().map(|at| &records[at]));
    dead_letters::insert(connection, cache, &letters)?;
    let new = match new.len() == records.len() {
        true => NewRecords::All,
        false => NewRecords::These(new.into_iter().collect()),
    };
    Ok((applied, new))
}

/// Whether the message stored under this number is this record. The time, the connection and the message id tell
/// any two records of a gateway apart.
fn is_stored(connection: &Connection, no: i64, record: &Record<'_>) -> Result<bool, Refusal> {
    let stored = connection
        .prepare_cached(
            "SELECT 1 FROM messages WHERE id = ?1
                AND received_at = ?2 AND epoch = ?3 AND kind = ?4 AND message_id = ?5",
        )?
        .exists(params![
            no,
            record.received_at.0,
            record.epoch.0.cast_signed(),
            record.kind as u8,
            record.message_id,
        ])?;
    Ok(stored)
}
