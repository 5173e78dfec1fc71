//! Reads all records that wait to be delivered once, in the background after the start, so that damage is reported
//! at once and not only when delivery gets there, which may be hours later.
//!
//! Chargers do not wait for it. It reads at most [`BYTES_PER_SECOND`], and only what the last process left: what
//! is written from now on was correct when it was written, and is checked again when it is delivered.

use crate::delivery::Delivery;
use central::Seq;
use common::lock::lock;
use journal::{ReadError, Reader};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Bytes read per second at most: a quarter of a slow disk's rate.
const BYTES_PER_SECOND: u64 = 32 << 20;
const READ_RECORDS: usize = 8_192;
const READ_BYTES: usize = 1 << 20;
/// Pause after the disk refused to read.
const RETRY_PAUSE: Duration = Duration::from_secs(10);
/// Damaged positions kept with their sentence, from the first on; all are counted.
const POSITIONS_MAX: usize = 64;

/// What was found.
#[derive(Default)]
pub(crate) struct Verified(Mutex<Found>);

#[derive(Default)]
struct Found {
    /// The last sequence number of each damaged position and a sentence about it; ascending.
    positions: Vec<(Seq, String)>,
    /// Damaged positions beyond those.
    more: u64,
    /// The disk's current refusal to read.
    refusal: Option<String>,
}

/// Damaged positions that stop delivery.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Damaged {
    pub(crate) positions: u64,
    pub(crate) first: Option<String>,
}

impl Verified {
    /// The damage behind `cursor`: what lies before it is delivered.
    pub(crate) fn damaged(&self, cursor: Seq) -> Damaged {
        let mut found = self.lock();
        found.positions.retain(|(last, _)| *last > cursor);
        let first = found.positions.first().map(|(_, sentence)| sentence);
        Damaged {
            positions: found.positions.len() as u64
                + found.more
                + u64::from(found.refusal.is_some()),
            first: first.or(found.refusal.as_ref()).cloned(),
        }
    }

    fn note(&self, last: Seq, sentence: String) {
        let mut found = self.lock();
        if found.positions.len() < POSITIONS_MAX {
            found.positions.push((last, sentence));
        } else {
            found.more += 1;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Found> {
        lock(&self.0)
    }
}

/// The sentence for operators about a record that cannot be read.
pub(crate) fn sentence(error: &ReadError) -> String {
    match error {
        ReadError::Io { .. } => format!(
            "{error}; no record behind this position is delivered until the file can be read; if it is lost for \
             good, stop the gateway and run `wattpost journal salvage`"
        ),
        _ => format!("{error}; no record behind it is delivered until then"),
    }
}

/// Reads all records that wait now, then ends.
pub(crate) async fn run(delivery: Arc<Delivery>) {
    let journal = &delivery.journal;
    let end = journal.durable_seq();
    let mut reader = journal.reader(journal.cursor());
    while reader.next_seq() <= end {
        let reading = tokio::task::spawn_blocking(move || read_some(reader)).await;
        let Ok((back, bytes, result)) = reading else {
            return;
        };
        reader = back;
        if !matches!(result, Err(ReadError::Io { .. })) {
            delivery.verified.lock().refusal = None;
        }
        match result {
            Ok(0) | Err(ReadError::Closed) => return,
            Ok(_) => {
                let takes = bytes.saturating_mul(1_000_000) / BYTES_PER_SECOND;
                tokio::time::sleep(Duration::from_micros(takes)).await;
            }
            Err(ReadError::Forgotten { oldest_seq, .. }) => {
                // It was delivered meanwhile.
                reader = journal.reader(oldest_seq.saturating_sub(1).max(journal.cursor()));
            }
            Err(error @ ReadError::Damaged(_)) => {
                let passing = tokio::task::spawn_blocking(move || {
                    let passed = reader.skip_damaged();
                    (reader, passed)
                });
                let Ok((back, passed)) = passing.await else {
                    return;
                };
                reader = back;
                tracing::error!(%error, ?passed, "the journal is damaged");
                delivery.verified.note(Seq(*passed.end()), sentence(&error));
            }
            Err(error @ ReadError::Io { .. }) => {
                delivery.verified.lock().refusal = Some(sentence(&error));
                tokio::time::sleep(RETRY_PAUSE).await;
                if reader.next_seq() <= journal.cursor() {
                    reader = journal.reader(journal.cursor());
                }
            }
        }
    }
    delivery.verified.lock().refusal = None;
}

fn read_some(mut reader: Reader) -> (Reader, u64, Result<usize, ReadError>) {
    let mut bytes = 0;
    let result = reader.read(READ_RECORDS, READ_BYTES, |_, record| {
        bytes += record.len() as u64
    });
    (reader, bytes, result)
}
