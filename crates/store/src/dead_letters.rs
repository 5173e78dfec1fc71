//! Records that become dead letters, and the row of one in a list.

use central::ports::{DeadLetter, ID_USED_TWICE};
use central::query::DeadLetterRow;
use central::{Record, RecordId, Timestamp};

/// The dead letter of a record that the database refuses permanently. Logs it.
pub(crate) fn refused((id, record): &(RecordId, Record<'_>), reason: String) -> DeadLetter {
    tracing::error!(record.id = %id, reason, "a record cannot be applied; it is kept as a dead letter");
    DeadLetter {
        id: *id,
        bytes: record.encode(),
        reason,
    }
}

/// The dead letters of records whose ids other records have. Logs and counts them.
pub(crate) fn ids_used_twice<'a, 'r: 'a>(
    records: impl Iterator<Item = &'a (RecordId, Record<'r>)>,
) -> Vec<DeadLetter> {
    let letters: Vec<DeadLetter> = records
        .map(|(id, record)| DeadLetter {
            id: *id,
            bytes: record.encode(),
            reason: ID_USED_TWICE.to_owned(),
        })
        .collect();
    if let Some(first) = letters.first() {
        tracing::error!(
            record.id = %first.id,
            records = letters.len(),
            "records have ids that other records have; they are kept as dead letters: {ID_USED_TWICE}"
        );
        metrics::counter!("wattpost_store_ids_used_twice_total").increment(letters.len() as u64);
    }
    letters
}

/// The name in `set_aside` of a dead letter whose id another dead letter has.
pub(crate) fn set_aside_name(id: RecordId) -> String {
    format!("dead letter {id}")
}

/// A dead letter as a list shows it.
pub(crate) fn row(id: RecordId, bytes: &[u8], reason: String, at: i64) -> DeadLetterRow {
    DeadLetterRow {
        record_id: id.to_string(),
        reason,
        at: Timestamp(at),
        size_bytes: bytes.len() as u64,
        content: String::from_utf8_lossy(bytes).into_owned(),
    }
}
