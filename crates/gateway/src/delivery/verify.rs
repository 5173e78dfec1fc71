//! Reads once, at the start and in the background, all records that wait to be delivered: a damaged place is
//! told at once, and not only when the delivery gets there, which may be hours later.
//!
//! Chargers do not wait for it. It reads [`BYTES_PER_SECOND`] at most, and only what the last process left:
//! what is written from now on was right when it was written, and is checked again when it is delivered.

use crate::shared::Shared;
use journal::{ReadError, Reader};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// As much is read in a second at most: a quarter of what a slow disk gives.
const BYTES_PER_SECOND: u64 = 32 << 20;
const READ_RECORDS: usize = 8_192;
const READ_BYTES: usize = 1 << 20;
/// A disk that refuses to read is asked again after this time.
const AGAIN: Duration = Duration::from_secs(10);
/// The words of this many places are kept, from the first on; all are counted.
const PLACES_MAX: usize = 64;

/// What was found.
#[derive(Default)]
pub(crate) struct Verified(Mutex<Found>);

#[derive(Default)]
struct Found {
    /// The last number of each damaged place, with the sentence about it; ascending.
    places: Vec<(u64, String)>,
    /// How many more there are, beyond those.
    more: u64,
    /// What the disk says where it refuses just now.
    refusal: Option<String>,
}

/// Damaged places that hold up the delivery.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Damaged {
    pub(crate) places: u64,
    pub(crate) first: Option<String>,
}

impl Verified {
    /// What is known, without what lies up to `cursor`: that is delivered.
    pub(crate) fn damaged(&self, cursor: u64) -> Damaged {
        let mut found = self.lock();
        found.places.retain(|(last, _)| *last > cursor);
        let first = found.places.first().map(|(_, sentence)| sentence);
        Damaged {
            places: found.places.len() as u64 + found.more + u64::from(found.refusal.is_some()),
            first: first.or(found.refusal.as_ref()).cloned(),
        }
    }

    fn note(&self, last: u64, sentence: String) {
        let mut found = self.lock();
        if found.places.len() < PLACES_MAX {
            found.places.push((last, sentence));
        } else {
            found.more += 1;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What people are told about a place that cannot be read.
pub(crate) fn sentence(error: &ReadError) -> String {
    match error {
        ReadError::Io { .. } => format!(
            "{error}; no record behind this place is delivered until the file can be read; if it is lost for \
             good, stop the gateway and run `wattpost journal salvage`"
        ),
        _ => format!("{error}; no record behind it is delivered until then"),
    }
}

/// Reads all that waits now; ends when it has.
pub(crate) async fn run(shared: Arc<Shared>) {
    let journal = &shared.journal;
    let end = journal.durable_seq();
    let mut reader = journal.reader(journal.cursor());
    while reader.next_seq() <= end {
        let reading = tokio::task::spawn_blocking(move || read_some(reader)).await;
        let Ok((back, bytes, result)) = reading else {
            return;
        };
        reader = back;
        if !matches!(result, Err(ReadError::Io { .. })) {
            shared.verified.lock().refusal = None;
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
                    let passed = reader.pass_over();
                    (reader, passed)
                });
                let Ok((back, passed)) = passing.await else {
                    return;
                };
                reader = back;
                tracing::error!(%error, ?passed, "the journal is damaged");
                shared.verified.note(*passed.end(), sentence(&error));
            }
            Err(error @ ReadError::Io { .. }) => {
                shared.verified.lock().refusal = Some(sentence(&error));
                tokio::time::sleep(AGAIN).await;
                if reader.next_seq() <= journal.cursor() {
                    reader = journal.reader(journal.cursor());
                }
            }
        }
    }
    shared.verified.lock().refusal = None;
}

fn read_some(mut reader: Reader) -> (Reader, u64, Result<usize, ReadError>) {
    let mut bytes = 0;
    let result = reader.read(READ_RECORDS, READ_BYTES, |_, record| {
        bytes += record.len() as u64
    });
    (reader, bytes, result)
}
