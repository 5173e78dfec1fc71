//! The counters of a fleet, in shards, so that thousands of tasks do not contend for one lock.

use crate::charger::{Action, Count, Gauge};
use crate::latency::Latency;
use crate::stats::{Counts, FleetStats};
use common::lock::lock;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};

const SHARDS: usize = 16;

#[derive(Debug, Default)]
struct Shard {
    actions: BTreeMap<Action, Counts>,
    latency: Latency,
    late: u64,
    unexpected: u64,
    calls_answered: u64,
    sent_unconfirmed: u64,
    connections: u64,
    failures: BTreeMap<String, u64>,
}

/// Collects the counts of all chargers.
#[derive(Debug)]
pub(crate) struct StatsCollector {
    shards: Vec<Mutex<Shard>>,
    online: AtomicU64,
    charging: AtomicU64,
    queued: AtomicU64,
    finished: AtomicU64,
    /// Chargers that were powered up.
    pub(crate) started: AtomicU64,
    /// Draining chargers without a queued or unanswered message.
    pub(crate) drained: AtomicU64,
}

impl StatsCollector {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            online: AtomicU64::new(0),
            charging: AtomicU64::new(0),
            queued: AtomicU64::new(0),
            finished: AtomicU64::new(0),
            started: AtomicU64::new(0),
            drained: AtomicU64::new(0),
        }
    }

    fn shard(&self, charger: u32) -> MutexGuard<'_, Shard> {
        lock(&self.shards[charger as usize % SHARDS])
    }

    pub(crate) fn count(&self, charger: u32, count: Count) {
        let mut shard = self.shard(charger);
        let action = match count {
            Count::Late => return shard.late += 1,
            Count::Unexpected => return shard.unexpected += 1,
            Count::CallAnswered => return shard.calls_answered += 1,
            Count::SentUnconfirmed => return shard.sent_unconfirmed += 1,
            Count::Sent(action)
            | Count::Resent(action)
            | Count::Acknowledged(action, _)
            | Count::Unanswered(action)
            | Count::Discarded(action)
            | Count::Error(action) => action,
        };
        if let Count::Acknowledged(_, latency) = count {
            shard.latency.record(latency);
        }
        let counts = shard.actions.entry(action).or_default();
        match count {
            Count::Sent(_) => counts.sent += 1,
            Count::Resent(_) => counts.resent += 1,
            Count::Acknowledged(..) => counts.acknowledged += 1,
            Count::Unanswered(_) => counts.unanswered += 1,
            Count::Discarded(_) => counts.discarded += 1,
            Count::Error(_) => counts.errors += 1,
            Count::Late | Count::Unexpected | Count::CallAnswered | Count::SentUnconfirmed => {}
        }
    }

    pub(crate) fn record_connection(&self, charger: u32) {
        self.shard(charger).connections += 1;
    }

    pub(crate) fn record_failure(&self, charger: u32, kind: &str) {
        let mut shard = self.shard(charger);
        match shard.failures.get_mut(kind) {
            Some(count) => *count += 1,
            None => {
                shard.failures.insert(kind.to_owned(), 1);
            }
        }
    }

    /// Replaces one charger's gauges, which were `before`.
    pub(crate) fn update_gauges(&self, before: Gauge, now: Gauge) {
        let step = |sum: &AtomicU64, before: u64, now: u64| {
            if now != before {
                // A decrease is added as its two's complement.
                sum.fetch_add(now.wrapping_sub(before), Relaxed);
            }
        };
        step(&self.online, before.online, now.online);
        step(&self.charging, before.charging, now.charging);
        step(&self.queued, before.queued, now.queued);
        step(&self.finished, before.finished, now.finished);
    }

    pub(crate) fn finished(&self) -> u64 {
        self.finished.load(Relaxed)
    }

    /// The sums over all shards. The fleet sets `elapsed` and `chargers`.
    pub(crate) fn stats(&self) -> FleetStats {
        let mut stats = FleetStats {
            online: self.online.load(Relaxed),
            charging: self.charging.load(Relaxed),
            queued: self.queued.load(Relaxed),
            finished: self.finished.load(Relaxed),
            ..FleetStats::default()
        };
        for charger in 0..SHARDS as u32 {
            let shard = self.shard(charger);
            for (action, counts) in &shard.actions {
                stats
                    .actions
                    .entry(action.as_str())
                    .or_default()
                    .add(counts);
            }
            stats.latency.merge(&shard.latency);
            stats.late += shard.late;
            stats.unexpected += shard.unexpected;
            stats.calls_answered += shard.calls_answered;
            stats.sent_unconfirmed += shard.sent_unconfirmed;
            stats.connections += shard.connections;
            for (kind, count) in &shard.failures {
                *stats.failures.entry(kind.clone()).or_default() += count;
            }
        }
        stats
    }
}
