//! The state of delivery: noted by the forwarder, read by pacing, metrics and health.

use central::ports::{Unavailable, UnavailableKind};
use common::lock::lock;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Length of a record assumed until the first were delivered.
const RECORD_BYTES: u64 = 400;

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

    /// Updates the mean over some ten thousand records. The size of a large backlog is computed from it and must not
    /// jump with every batch.
    fn weigh(&self, bytes: u64, records: u64) {
        const RECORDS: u64 = 50_000;
        if records == 0 {
            return;
        }
        let seen = bytes.saturating_mul(256) / records;
        let before = match self.record_size.load(Ordering::Relaxed) {
            0 => seen,
            before => before,
        };
        let records = records.min(RECORDS);
        let mean = (before * (RECORDS - records) + seen * records) / RECORDS;
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
        self.delivered.fetch_add(records, Ordering::Relaxed);
        self.weigh(bytes, records);
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
