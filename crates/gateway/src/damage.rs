//! What of the journal cannot be read, for health and figures, and the reading that finds it early.
//!
//! A record that rots before it is delivered stops the delivery of everything behind it. Chargers are answered all
//! the same, as in an outage; but a person must know at once, by file and byte, because only
//! `wattpost journal salvage` ends it. So all that waits at the start is read and checked in the background,
//! long before the forwarder comes to it, and the health page is down while any of it is damaged.

use crate::shared::Shared;
use journal::{ReadError, Reader};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What the check reads at a time, and how long it pauses after that: at most about 80 MiB a second, so that
/// it does not keep the disk from those who wait for a sync.
const CHECK_BYTES: usize = 4 << 20;
const CHECK_PAUSE: Duration = Duration::from_millis(50);

/// What of the journal cannot be read.
#[derive(Debug, Default)]
pub(crate) struct JournalDamage {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Why the forwarder cannot go on.
    unreadable: Option<String>,
    /// The first damaged place that the check has found, and how many there are.
    first: Option<String>,
    places: u64,
}

impl JournalDamage {
    /// The forwarder cannot read the next record.
    pub(crate) fn is_unreadable(&self, error: &ReadError) {
        let words = error.to_string();
        metrics::counter!("wattpost_gateway_journal_unreadable_total").increment(1);
        let mut state = self.lock();
        if state.unreadable.as_ref() != Some(&words) {
            tracing::error!(%error, "the journal cannot be read: nothing behind this record is delivered");
        }
        state.unreadable = Some(words);
    }

    /// The forwarder reads again.
    pub(crate) fn is_readable(&self) {
        self.lock().unreadable = None;
    }

    fn found(&self, error: &ReadError, first_seq: u64, last_seq: u64) {
        tracing::error!(
            %error,
            first_seq,
            last_seq,
            "records that are not delivered yet are damaged on disk"
        );
        let mut state = self.lock();
        state.places += 1;
        state.first.get_or_insert_with(|| error.to_string());
        metrics::gauge!("wattpost_gateway_journal_damaged_places").set(state.places as f64);
    }

    /// What is wrong, in words for people; `None` when all that was read was whole.
    pub(crate) fn health(&self) -> Option<String> {
        let state = self.lock();
        match (&state.unreadable, &state.first) {
            (Some(why), _) => Some(format!(
                "{why}; nothing behind it is delivered until then, chargers are answered"
            )),
            (None, Some(first)) => Some(format!(
                "{} damaged places among what is not delivered, the first: {first}",
                state.places
            )),
            (None, None) => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads all that waits to be delivered at the start, once, and notes what is damaged.
pub(crate) async fn check(shared: Arc<Shared>) {
    metrics::gauge!("wattpost_gateway_journal_damaged_places").set(0.0);
    let until = shared.journal.durable_seq();
    let mut reader = shared.journal.reader(shared.journal.cursor());
    while reader.next_seq() <= until {
        let shared_here = Arc::clone(&shared);
        let step = tokio::task::spawn_blocking(move || {
            let goes_on = check_some(&shared_here, &mut reader);
            (reader, goes_on)
        });
        match step.await {
            Ok((back, true)) => reader = back,
            Ok((_, false)) | Err(_) => return,
        }
        tokio::time::sleep(CHECK_PAUSE).await;
    }
}

/// Whether there may be more to check.
fn check_some(shared: &Shared, reader: &mut Reader) -> bool {
    match reader.read(usize::MAX, CHECK_BYTES, |_, _| {}) {
        Ok(read) => read > 0,
        // Delivered meanwhile.
        Err(ReadError::Forgotten { oldest_seq, .. }) => {
            let after = shared.journal.cursor().max(oldest_seq.saturating_sub(1));
            *reader = shared.journal.reader(after);
            true
        }
        Err(ReadError::Closed) => false,
        Err(error @ (ReadError::Damaged(_) | ReadError::Io { .. })) => {
            let is_waiting = reader.next_seq() > shared.journal.cursor();
            match reader.pass_over() {
                Ok((first, last)) => {
                    if is_waiting {
                        shared.damage.found(&error, first, last);
                    }
                    true
                }
                Err(_) => {
                    shared
                        .damage
                        .found(&error, reader.next_seq(), reader.next_seq());
                    false
                }
            }
        }
    }
}
