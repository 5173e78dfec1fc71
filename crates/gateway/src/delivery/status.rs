//! The state of delivery: noted by the forwarder, read by pacing, metrics and health.

use central::ports::{Unavailable, UnavailableKind};
use common::lock::lock;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Length of a record assumed until the first were delivered.
const RECORD_BYTES: u64 = 400;

/// Number of records that the mean length is taken over. The size of a large backlog is computed from the mean and must
/// not jump with every batch.
const RECORDS_IN_MEAN: u64 = 50_000;

/// The component that is named when the journal cannot be read and the sink has not failed.
pub(crate) const JOURNAL: &str = "journal";

/// The state of delivery.
#[derive(Default)]
pub(crate) struct DeliveryStatus {
    delivered: AtomicU64,
    /// Mean length of the last records, in 256ths of a byte.
    record_size: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The sink's last result, if it was a refusal.
    refusal: Option<Unavailable>,
    /// Since when the oldest batch in flight has been the oldest.
    oldest_since: Option<Instant>,
}

impl DeliveryStatus {
    /// Records delivered since the start.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Mean bytes of one record; never 0.
    pub(crate) fn record_bytes(&self) -> u64 {
        match self.record_size.load(Ordering::Relaxed) / 256 {
            0 => RECORD_BYTES,
            bytes => bytes,
        }
    }

    /// Updates the mean over the last `RECORDS_IN_MEAN` records, or over all `delivered_before` and these while they
    /// are fewer: otherwise the first batch, which is often the one short record of the gateway's start, would be the
    /// mean for a long time, and a backlog would be taken for a tenth of what it is.
    fn weigh(&self, bytes: u64, records: u64, delivered_before: u64) {
        if records == 0 {
            return;
        }
        let seen = bytes.saturating_mul(256) / records;
        let records = records.min(RECORDS_IN_MEAN);
        let others = delivered_before.min(RECORDS_IN_MEAN - records);
        let before = self.record_size.load(Ordering::Relaxed);
        let mean = (before * others + seen * records) / (others + records);
        self.record_size.store(mean, Ordering::Relaxed);
    }

    /// The sink's last result, if it was a refusal.
    pub(crate) fn refusal(&self) -> Option<Unavailable> {
        self.lock().refusal.clone()
    }

    /// Whether the last delivery succeeded and none has been in flight for longer than `stuck`.
    pub(crate) fn healthy(&self, stuck: Duration) -> bool {
        let state = self.lock();
        state.refusal.is_none()
            && state
                .oldest_since
                .is_none_or(|since| since.elapsed() < stuck)
    }

    /// Whether the sink refuses only because it is full: then it is slow rather than unavailable, if consumers work
    /// on what it holds.
    pub(crate) fn is_full(&self) -> bool {
        let state = self.lock();
        let kind = state.refusal.as_ref().map(|unavailable| unavailable.kind);
        kind == Some(UnavailableKind::Full)
    }

    /// A delivery was started.
    pub(crate) fn started(&self) {
        self.lock().oldest_since.get_or_insert_with(Instant::now);
    }

    /// All deliveries have ended.
    pub(crate) fn none_in_flight(&self) {
        self.lock().oldest_since = None;
    }

    /// The sink refused.
    pub(crate) fn refused(&self, unavailable: Unavailable) {
        let mut state = self.lock();
        if state.refusal.is_none() {
            tracing::warn!(reason = %unavailable, "records wait in the journal");
        }
        state.refusal = Some(unavailable);
    }

    /// The oldest batch in flight was delivered.
    pub(crate) fn delivered_batch(&self, records: u64, bytes: u64, more_in_flight: bool) {
        let mut state = self.lock();
        if state.refusal.take().is_some() {
            tracing::info!("records are delivered again");
        }
        state.oldest_since = more_in_flight.then(Instant::now);
        drop(state);
        let delivered_before = self.delivered.fetch_add(records, Ordering::Relaxed);
        self.weigh(bytes, records, delivered_before);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// A delivery that ended without a result of the sink.
pub(crate) fn no_answer(detail: &str) -> Unavailable {
    Unavailable {
        component: "sink",
        kind: UnavailableKind::Unreachable,
        detail: detail.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_length_is_right_from_the_first_batches_on() {
        let status = DeliveryStatus::default();
        assert_eq!(status.record_bytes(), RECORD_BYTES, "nothing is known yet");
        // The record of the gateway's start, then what chargers send.
        status.delivered_batch(1, 60, false);
        assert_eq!(status.record_bytes(), 60);
        status.delivered_batch(500, 500 * 600, false);
        let mean = status.record_bytes();
        assert!((595..=600).contains(&mean), "{mean}");
    }

    #[test]
    fn one_batch_does_not_change_the_mean_of_many_records() {
        let status = DeliveryStatus::default();
        for _ in 0..100 {
            status.delivered_batch(2_000, 2_000 * 400, false);
        }
        status.delivered_batch(1, 1 << 20, false);
        let mean = status.record_bytes();
        assert!((400..=425).contains(&mean), "{mean}");
        // But it follows when all records have become longer.
        for _ in 0..100 {
            status.delivered_batch(2_000, 2_000 * 800, false);
        }
        let mean = status.record_bytes();
        assert!((780..=800).contains(&mean), "{mean}");
    }
}
