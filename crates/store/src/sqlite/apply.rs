//! Stores the inbox rows, the changes and the dead letters of one batch in one transaction.
//!
//! Normally the whole batch is stored at once. When the database permanently refuses one record (a violated
//! constraint, a number out of bounds), the batch is halved until that record is alone; it becomes a dead letter
//! with its reason, and everything else is stored.

use crate::clock;
use crate::refusal::Refusal;
use crate::sqlite::blocks::Touched;
use crate::sqlite::numbers::{BLOCK_BITS, message_no};
use crate::sqlite::writer::{Memory, Writer};
use central::ports::{Applied, DeadLetter, ID_USED_TWICE};
use central::project::Changes;
use central::{Record, RecordId};
use rusqlite::{Connection, params};

type Records<'a, 'r> = &'a [(RecordId, Record<'r>)];

/// Milliseconds of a `span` of meter values.
pub(crate) const SPAN_MILLIS: i64 = 300_000;

/// Applies a batch; see [`central::ports::Store::apply`].
pub(crate) fn apply(
    writer: &mut Writer,
    records: Records<'_, '_>,
    changes: &Changes,
    dead: &[DeadLetter],
) -> Result<Applied, Refusal> {
    let whole = writer.transact(|connection, memory| {
        let applied = apply_group(connection, memory, records, changes)?;
        insert_dead_letters(connection, memory, dead)?;
        Ok(applied)
    });
    let applied = match whole {
        Ok(applied) => applied,
        Err(Refusal::Poison(reason)) => {
            tracing::debug!(reason, "a record is refused; looking for it");
            apply_most(writer, records, dead)?
        }
        Err(refusal) => return Err(refusal),
    };
    let given_up = records.len() as u64 - applied.new - applied.known;
    metrics::counter!("wattpost_store_dead_letters_total").increment(given_up);
    Ok(applied)
}

/// Applies what is not permanently refused.
fn apply_most(
    writer: &mut Writer,
    records: Records<'_, '_>,
    dead: &[DeadLetter],
) -> Result<Applied, Refusal> {
    writer.transact(|connection, memory| {
        let mut applied = Applied::default();
        apply_halving(connection, memory, records, &mut applied)?;
        insert_dead_letters(connection, memory, dead)?;
        Ok(applied)
    })
}

fn apply_group(
    connection: &Connection,
    memory: &mut Memory,
    records: Records<'_, '_>,
    changes: &Changes,
) -> Result<Applied, Refusal> {
    let applied = write_messages(connection, memory, records)?;
    // A batch of known records was applied before, and so were its changes.
    if applied.known == records.len() as u64 && !records.is_empty() {
        return Ok(applied);
    }
    memory
        .states
        .merge(connection, &mut memory.numbers, changes)?;
    write_meter_values(connection, memory, changes)?;
    write_events(connection, memory, changes)?;
    Ok(applied)
}

fn apply_halving(
    connection: &Connection,
    memory: &mut Memory,
    records: Records<'_, '_>,
    applied: &mut Applied,
) -> Result<(), Refusal> {
    connection.execute_batch("SAVEPOINT part")?;
    let (changes, _) = Changes::of(records);
    let reason = match apply_group(connection, memory, records, &changes) {
        Ok(part) => {
            connection.execute_batch("RELEASE part")?;
            applied.new += part.new;
            applied.known += part.known;
            return Ok(());
        }
        Err(Refusal::Poison(reason)) => reason,
        Err(refusal) => return Err(refusal),
    };
    connection.execute_batch("ROLLBACK TO part; RELEASE part")?;
    memory.clear();
    if let [(id, record)] = records {
        tracing::error!(record.id = %id, reason, "a record cannot be applied; it is kept as a dead letter");
        let letter = DeadLetter {
            id: *id,
            bytes: record.encode(),
            reason,
        };
        return insert_dead_letters(connection, memory, &[letter]);
    }
    let (first, second) = records.split_at(records.len() / 2);
    apply_halving(connection, memory, first, applied)?;
    apply_halving(connection, memory, second, applied)
}

fn write_messages(
    connection: &Connection,
    memory: &mut Memory,
    records: Records<'_, '_>,
) -> Result<Applied, Refusal> {
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
    for (id, record) in records {
        let gateway_no = memory.numbers.gateway(connection, id.gateway)?;
        let charger = memory.numbers.charger(connection, record.charger_id)?;
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
            record.epoch.cast_signed(),
            record.message_id,
            record.action,
            record.payload,
            record.answer,
            record.reason,
        ])?;
        if inserted > 0 {
            applied.new += 1;
            touched.add(no >> BLOCK_BITS, record);
        } else if is_stored(connection, no, record)? {
            applied.known += 1;
        } else {
            doubles.push(DeadLetter {
                id: *id,
                bytes: record.encode(),
                reason: ID_USED_TWICE.to_owned(),
            });
        }
    }
    touched.write(connection)?;
    if let Some(first) = doubles.first() {
        tracing::error!(
            record.id = %first.id,
            records = doubles.len(),
            "records come under ids that others have: they are kept as dead letters; {ID_USED_TWICE}"
        );
        metrics::counter!("wattpost_store_ids_used_twice_total").increment(doubles.len() as u64);
        insert_dead_letters(connection, memory, &doubles)?;
    }
    Ok(applied)
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
            record.epoch.cast_signed(),
            record.kind as u8,
            record.message_id,
        ])?;
    Ok(stored)
}

fn write_meter_values(
    connection: &Connection,
    memory: &mut Memory,
    changes: &Changes,
) -> Result<(), Refusal> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO meter_values
            (span, charger_no, at, key_hash, evse, connector, transaction_id,
             energy_wh, power_w, soc_percent, sampled)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
         ON CONFLICT (span, charger_no, at, key_hash) DO NOTHING",
    )?;
    for row in &changes.meter_values {
        insert.execute(params![
            row.at.0.div_euclid(SPAN_MILLIS),
            memory.numbers.charger_with_key(connection, &row.charger)?,
            row.at.0,
            row.key_hash,
            row.evse,
            row.connector,
            row.transaction_id,
            row.energy_wh,
            row.power_w,
            row.soc_percent,
            row.sampled,
        ])?;
    }
    Ok(())
}

fn write_events(
    connection: &Connection,
    memory: &mut Memory,
    changes: &Changes,
) -> Result<(), Refusal> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO events
            (charger_no, at, key_hash, kind, name, value, evse, connector, data)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (charger_no, at, key_hash) DO NOTHING",
    )?;
    for row in &changes.events {
        insert.execute(params![
            memory.numbers.charger_with_key(connection, &row.charger)?,
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

/// Inserts each dead letter once. When a different one with the same id exists, it goes to `set_aside`, so that
/// no data is lost.
fn insert_dead_letters(
    connection: &Connection,
    memory: &mut Memory,
    letters: &[DeadLetter],
) -> Result<(), Refusal> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO dead_letters (gateway_no, seq, bytes, reason, at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (gateway_no, seq) DO NOTHING",
    )?;
    let mut is_kept = connection.prepare_cached(
        "SELECT 1 FROM dead_letters WHERE gateway_no = ?1 AND seq = ?2 AND bytes = ?3
         UNION ALL SELECT 1 FROM set_aside WHERE what = ?4 AND state = ?3",
    )?;
    let mut set_aside = connection.prepare_cached(
        "INSERT INTO set_aside (what, state, reason, at) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for letter in letters {
        let gateway_no = memory.numbers.gateway(connection, letter.id.gateway)?;
        let seq = letter.id.seq.cast_signed();
        let at = clock::now().0;
        let kept = insert.execute(params![gateway_no, seq, letter.bytes, letter.reason, at])?;
        if kept > 0 {
            continue;
        }
        let what = format!("dead letter {}", letter.id);
        if !is_kept.exists(params![gateway_no, seq, letter.bytes, what])? {
            set_aside.execute(params![what, letter.bytes, letter.reason, at])?;
        }
    }
    Ok(())
}
