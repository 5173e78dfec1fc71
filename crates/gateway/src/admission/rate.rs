//! Bounds on how often something may happen: handshakes per second, in total and by peer address, and warnings
//! that anybody can cause.

use crate::admission::pending::PeerAddress;
use common::lock::lock;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Lets a warning that anybody can cause be logged once per [`WARN_EVERY`].
#[derive(Default)]
pub(crate) struct WarningInterval(Mutex<Option<Instant>>);

/// Between two warnings of the same kind.
pub(crate) const WARN_EVERY: Duration = Duration::from_secs(60);

impl WarningInterval {
    /// Whether the warning may be logged now; then the next one has to wait.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        let mut last = lock(&self.0);
        let is_due = last.is_none_or(|last| now.saturating_duration_since(last) >= WARN_EVERY);
        if is_due {
            *last = Some(now);
        }
        is_due
    }
}

/// Lets a number pass per second, with bursts of the same size. One atomic, no lock.
pub(crate) struct RateBound {
    origin: Instant,
    interval_ns: u64,
    /// When the bucket would be full again, in nanoseconds since `origin`.
    full_at_ns: AtomicU64,
}

impl RateBound {
    pub(crate) fn new(per_second: u32) -> Self {
        Self {
            origin: Instant::now(),
            interval_ns: 1_000_000_000 / u64::from(per_second.max(1)),
            full_at_ns: AtomicU64::new(0),
        }
    }

    /// Whether one more may pass.
    pub(crate) fn pass(&self, now: Instant) -> bool {
        let now = u64::try_from(now.saturating_duration_since(self.origin).as_nanos())
            .unwrap_or(u64::MAX);
        let burst = 1_000_000_000;
        self.full_at_ns
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
                let next = full_at.max(now).saturating_add(self.interval_ns);
                (next <= now.saturating_add(burst)).then_some(next)
            })
            .is_ok()
    }
}

/// A [`RateBound`] for each peer address. The table does not grow: a keyed hash spreads addresses over its slots,
/// and the addresses of one slot share its rate.
pub(crate) struct AddressRates {
    slots: Vec<RateBound>,
    hasher: RandomState,
}

impl AddressRates {
    const SLOTS: usize = 4_096;

    pub(crate) fn new(per_second: u32) -> Self {
        Self {
            slots: std::iter::repeat_with(|| RateBound::new(per_second))
                .take(Self::SLOTS)
                .collect(),
            hasher: RandomState::new(),
        }
    }

    /// Whether one more of this address may pass.
    pub(crate) fn pass(&self, address: PeerAddress, now: Instant) -> bool {
        let slot = self.hasher.hash_one(address) as usize % self.slots.len();
        self.slots[slot].pass(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_one_per_interval() {
        let bound = RateBound::new(10);
        let start = bound.origin + Duration::from_secs(5);
        let passed = (0..100).filter(|_| bound.pass(start)).count();
        assert_eq!(passed, 10);
        assert!(!bound.pass(start + Duration::from_millis(90)));
        assert!(bound.pass(start + Duration::from_millis(101)));
        assert!(!bound.pass(start + Duration::from_millis(102)));
    }

    #[test]
    fn one_address_uses_up_its_own_rate_and_not_that_of_others() {
        let rates = AddressRates::new(10);
        let now = Instant::now() + Duration::from_secs(5);
        let address = |last: u8| PeerAddress::of([192, 0, 2, last].into());
        let passed = (0..1_000).filter(|_| rates.pass(address(66), now)).count();
        assert_eq!(passed, 10);
        // A few of the others may share its slot, but not most of them.
        let passed = (67..=166).filter(|last| rates.pass(address(*last), now));
        assert!(passed.count() > 90);
    }
}
