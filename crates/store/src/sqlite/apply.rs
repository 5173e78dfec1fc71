//! Stores the inbox rows, the changes and the dead letters of one batch in one transaction.
//!
//! Normally the whole batch is stored at once. When the database permanently refuses one record (a violated
//! constraint, a number out of bounds), the batch is stored in parts (see [`super::halving`]).

use super::{
    SqliteStore, dead_letters, effects, events, halving, local_lists, messages, meter_values,
    quirks, succession, unknown_tokens,
};
use crate::event_log::{self, Queued};
use crate::refusal::Refusal;
use crate::sqlite::writer::{Cache, Writer};
use central::ports::{Applied, DeadLetter, Store, Unavailable};
use central::project::Changes;
use central::{Record, RecordId};
use rusqlite::Connection;

/// A batch.
pub(crate) type Records<'a, 'r> = &'a [(RecordId, Record<'r>)];

impl Store for SqliteStore {
    fn apply(
        &self,
        records: &[(RecordId, Record<'_>)],
        changes: &Changes,
        dead: &[DeadLetter],
    ) -> Result<Applied, Unavailable> {
        self.with_writer(|writer| apply(writer, records, changes, dead))
            .map_err(Refusal::into_unavailable)
    }
}

fn apply(
    writer: &mut Writer,
    records: Records<'_, '_>,
    changes: &Changes,
    dead: &[DeadLetter],
) -> Result<Applied, Refusal> {
    let whole = writer.transact(|connection, cache| {
        let applied = apply_group(connection, cache, records, changes)?;
        dead_letters::insert(connection, cache, dead)?;
        Ok(applied)
    });
    let applied = match whole {
        Ok(applied) => applied,
        Err(Refusal::Poison(reason)) => {
            tracing::debug!(
                reason,
                "a record is refused; storing the batch in parts to find it"
            );
            halving::apply(writer, records, dead)?
        }
        Err(refusal) => return Err(refusal),
    };
    let given_up = records.len() as u64 - applied.new - applied.known;
    metrics::counter!("wattpost_store_dead_letters_total").increment(given_up);
    Ok(applied)
}

/// Stores records and changes, inside the caller's transaction.
pub(crate) fn apply_group(
    connection: &Connection,
    cache: &mut Cache,
    records: Records<'_, '_>,
    changes: &Changes,
) -> Result<Applied, Refusal> {
    let (applied, new) = messages::write(connection, cache, records)?;
    // A batch of known records was applied before, and so were its changes.
    if applied.known == records.len() as u64 && !records.is_empty() {
        return Ok(applied);
    }
    let changed = cache
        .states
        .merge(connection, &mut cache.numbers, changes)?;
    effects::join(connection, records)?;
    local_lists::hasten_connected(connection, records)?;
    meter_values::write(connection, cache, &changes.meter_values)?;
    let mut unnamed = Vec::new();
    for value in &changes.meter_values {
        if let Some(place) = value.unnamed_at {
            let charger_no = cache.numbers.charger_with_key(connection, &value.charger)?;
            unnamed.push(((charger_no, place), value));
        }
    }
    succession::settle(connection, changed, unnamed, &mut cache.states.changed)?;
    let security = events::write(connection, cache, &changes.events)?;
    quirks::write(connection, cache, &changes.quirks, &new)?;
    let refused = unknown_tokens::write(connection, cache, &changes.presented, &new)?;
    let mut queued = Vec::new();
    for (change, charger_id, at) in event_log::of_records(records, &new) {
        let no = cache.numbers.charger(connection, charger_id)?.no;
        queued.push(Queued::of_charger(change, no, at));
    }
    queued.append(&mut cache.states.changed);
    queued.extend(security);
    queued.extend(refused);
    super::event_log::push(connection, queued)?;
    Ok(applied)
}
