//! Stores a batch that contains records which the database refuses permanently, so that one charger's invalid data
//! does not block the others.
//!
//! The batch is halved until a refused record is alone; that record becomes a dead letter with the reason. All parts
//! are savepoints of one transaction.

use super::apply::{Records, apply_group};
use super::dead_letters;
use crate::dead_letters::refused;
use crate::refusal::Refusal;
use crate::sqlite::writer::{Cache, Writer};
use central::ports::{Applied, DeadLetter};
use central::project::Changes;
use rusqlite::Connection;

/// Applies what is not permanently refused, and inserts the dead letters.
pub(crate) fn apply(
    writer: &mut Writer,
    records: Records<'_, '_>,
    dead: &[DeadLetter],
) -> Result<Applied, Refusal> {
    writer.transact(|connection, cache| {
        let mut applied = Applied::default();
        apply_halving(connection, cache, records, &mut applied)?;
        dead_letters::insert(connection, cache, dead)?;
        Ok(applied)
    })
}

fn apply_halving(
    connection: &Connection,
    cache: &mut Cache,
    records: Records<'_, '_>,
    applied: &mut Applied,
) -> Result<(), Refusal> {
    connection.execute_batch("SAVEPOINT part")?;
    let (changes, _) = Changes::of(records);
    let reason = match apply_group(connection, cache, records, &changes) {
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
    cache.clear();
    if let [alone] = records {
        let letter = refused(alone, reason);
        return dead_letters::insert(connection, cache, &[letter]);
    }
    let (first, second) = records.split_at(records.len() / 2);
    apply_halving(connection, cache, first, applied)?;
    apply_halving(connection, cache, second, applied)
}
