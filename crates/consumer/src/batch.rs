//! Applies one batch: decodes its records and passes them to the store in one call.

use central::ports::{Applied, Batch, DeadLetter, Store, Unavailable};
use central::project::Changes;
use central::{Record, RecordId};
use metrics::{counter, histogram};
use std::time::Duration;

/// The reason in the dead letter of a record whose projection panicked.
pub(crate) const PROJECTING_PANICKED: &str =
    "projecting it panicked: it is stored as a message and changed nothing else";

type Records<'a> = Vec<(RecordId, Record<'a>)>;

/// Decodes, projects and applies a batch.
pub(crate) fn apply(store: &dyn Store, batch: &Batch) -> Result<Applied, Unavailable> {
    apply_by(store, batch, |records| Changes::of(records))
}

/// `project` also returns the indexes of records that cannot be projected. They are stored as messages all the
/// same; a dead letter records that they changed nothing else.
fn apply_by(
    store: &dyn Store,
    batch: &Batch,
    project: impl Fn(&Records<'_>) -> (Changes, Vec<usize>),
) -> Result<Applied, Unavailable> {
    let (records, mut dead) = decode(batch);
    let (changes, panicked) = project(&records);
    dead.extend(panicked.into_iter().map(|at| {
        let (id, record) = &records[at];
        DeadLetter {
            id: *id,
            bytes: record.encode(),
            reason: PROJECTING_PANICKED.to_owned(),
        }
    }));
    let applied = store.apply(&records, &changes, &dead)?;
    // Of a batch that is delivered again it is not known which records were stored only now.
    if applied.known == 0 {
        note_delays(&records);
    }
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

/// Observes for each record how long after its reception it is stored: by the clock of the gateway at the reception, and
/// by this machine's now.
fn note_delays(records: &Records<'_>) {
    let histogram = histogram!("wattpost_consumer_stored_after_seconds");
    let now = common::clock::now_ms();
    for (_, record) in records {
        let delay = now.saturating_sub(record.received_at.0).max(0);
        histogram.record(Duration::from_millis(delay.unsigned_abs()).as_secs_f64());
    }
}

fn decode(batch: &Batch) -> (Records<'_>, Vec<DeadLetter>) {
    let mut records = Vec::with_capacity(batch.len());
    let mut dead = batch.unreadable().to_vec();
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

#[cfg(test)]
mod tests {
    use super::*;
    use central::memory::MemoryStore;
    use central::record::gateway_started;
    use central::{Epoch, Seq};
    use central::{GatewayId, Timestamp};
    use uuid::Uuid;

    #[test]
    fn a_record_that_cannot_be_projected_is_stored_as_a_message() {
        let gateway = GatewayId(Uuid::from_u128(7));
        let mut batch = Batch::new(gateway);
        for epoch in 1..=3 {
            batch.push(Seq(epoch), &gateway_started(Timestamp(9), Epoch(epoch)));
        }
        let store = MemoryStore::default();
        let applied = apply_by(&store, &batch, |records| {
            let (changes, panicked) = Changes::of(&records[..2]);
            assert!(panicked.is_empty());
            (changes, vec![2])
        });
        assert_eq!(applied.map(|applied| applied.new), Ok(3));
        let contents = store.contents();
        assert_eq!(contents.records.len(), 3);
        let id = RecordId {
            gateway,
            seq: Seq(3),
        };
        assert_eq!(contents.dead.len(), 1);
        assert_eq!(contents.dead[&id].0, contents.records[&id]);
        assert_eq!(contents.states.gateways[&gateway].started_epoch, Epoch(2));
    }
}
