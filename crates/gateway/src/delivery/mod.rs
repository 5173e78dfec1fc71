//! How the delivery is: what the forwarder notes, and the pace, the figures and the health look at.

pub(crate) mod ack_gate;
pub(crate) mod failover;
pub(crate) mod forwarder;
pub(crate) mod verify;

use central::ports::{Away, AwayKind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Usual length of a record, until the first have been seen.
const RECORD_BYTES: u64 = 400;

/// What is named as away when it is not the sink that refuses, but the journal that cannot be read.
pub(crate) const JOURNAL: &str = "journal";

/// How the delivery is.
#[derive(Default)]
pub(crate) struct Delivery {
    delivered: AtomicU64,
    /// Mean length of the last records, in 256ths of a byte.
    record_size: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    away: Option<Away>,
    /// Since when the first of the batches on their way has been the first.
    first_since: Option<Instant>,
}

impl Delivery {
    /// Records stored since the start.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Bytes of one record, by the last ones seen; never 0.
    pub(crate) fn record_bytes(&self) -> u64 {
        match self.record_size.load(Ordering::Relaxed) / 256 {
            0 => RECORD_BYTES,
            bytes => bytes,
        }
    }

    /// A mean over some ten thousand records: the size of a large backlog is reckoned with it, which
    /// must not jump with every batch.
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

    /// What the sink said last, if that was a refusal.
    pub(crate) fn away(&self) -> Option<Away> {
        self.lock().away.clone()
    }

    /// Whether the last delivery succeeded and none has been under way for longer than `stuck`.
    pub(crate) fn healthy(&self, stuck: Duration) -> bool {
        let state = self.lock();
        state.away.is_none()
            && state
                .first_since
                .is_none_or(|since| since.elapsed() < stuck)
    }

    /// Whether the sink refuses only because it is full: then it is slow rather than away, if somebody is at
    /// work behind it.
    pub(crate) fn is_full(&self) -> bool {
        let state = self.lock();
        let kind = state.away.as_ref().map(|away| away.kind);
        kind == Some(AwayKind::Full)
    }

    /// A batch is handed over.
    pub(crate) fn one_more_under_way(&self) {
        self.lock().first_since.get_or_insert_with(Instant::now);
    }

    /// What was under way has ended.
    pub(crate) fn nothing_under_way(&self) {
        self.lock().first_since = None;
    }

    /// The sink refused.
    pub(crate) fn refused(&self, away: Away) {
        let mut state = self.lock();
        if state.away.is_none() {
            tracing::warn!(%away, "records wait in the journal");
        }
        state.away = Some(away);
    }

    /// The first batch under way is stored.
    pub(crate) fn landed(&self, records: u64, bytes: u64, more_under_way: bool) {
        let mut state = self.lock();
        if state.away.take().is_some() {
            tracing::info!("records are delivered again");
        }
        state.first_since = more_under_way.then(Instant::now);
        drop(state);
        self.delivered.fetch_add(records, Ordering::Relaxed);
        self.weigh(bytes, records);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A delivery that ended without an answer of the sink.
pub(crate) fn lost(detail: &str) -> Away {
    Away {
        what: "sink",
        kind: AwayKind::Unreachable,
        detail: detail.to_owned(),
    }
}
