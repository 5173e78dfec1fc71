//! One batch: from the journal's bytes to the store's one call.

use central::ports::{Applied, Away, Batch, DeadLetter, Store};
use central::project::Changes;
use central::{Record, RecordId};
use metrics::counter;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Decodes, projects and applies a batch.
pub(crate) fn apply(store: &dyn Store, batch: &Batch) -> Result<Applied, Away> {
    let (mut records, mut dead) = decode(batch);
    let changes = project(&mut records, &mut dead);
    let applied = store.apply(&records, &changes, &dead)?;
    if !dead.is_empty() {
        counter!("wattpost_consumer_dead_letters_total").increment(dead.len() as u64);
        for letter in &dead {
            tracing::error!(
                record.id = %letter.id,
                reason = letter.reason,
                "a record cannot be applied; it is kept as a dead letter"
            );
        }
    }
    Ok(applied)
}

fn decode(batch: &Batch) -> (Vec<(RecordId, Record<'_>)>, Vec<DeadLetter>) {
    let mut records = Vec::with_capacity(batch.len());
    let mut dead = Vec::new();
    for (id, bytes) in batch.iter() {
        match Record::decode(bytes) {
            Ok(record) => records.push((id, record)),
            Err(error) => dead.push(DeadLetter {
                id,
                bytes: bytes.to_vec(),
                reason: error.to_string(),
            }),
        }
    }
    (records, dead)
}

/// What the records change. Projecting is total by contract; should it panic for one record all the
/// same, that record is taken out, as otherwise it would hold up everything behind it for ever.
fn project(records: &mut Vec<(RecordId, Record<'_>)>, dead: &mut Vec<DeadLetter>) -> Changes {
    loop {
        let mut changes = Changes::default();
        let panicked = records.iter().position(|(id, record)| {
            catch_unwind(AssertUnwindSafe(|| changes.absorb(*id, record))).is_err()
        });
        let Some(at) = panicked else {
            return changes;
        };
        let (id, record) = records.remove(at);
        dead.push(DeadLetter {
            id,
            bytes: record.encode(),
            reason: "projecting it panicked".to_owned(),
        });
    }
}
