//! How often a batch that is not full may be sent, so that few records are not kept waiting for more, and a steady stream
//! of records does not cost a transaction for each.

use std::time::{Duration, Instant};

/// Batches that may follow each other at once after a pause: a command makes two (its call and the answer), and a
/// transaction's start a few more.
const BURST: u32 = 8;

/// Allows one batch per interval on average, and up to eight at once after a pause (the generic cell rate algorithm).
///
/// ```
/// use common::batch_rate::BatchRate;
/// use std::time::{Duration, Instant};
///
/// let now = Instant::now();
/// let mut rate = BatchRate::new(Duration::from_millis(20), now);
/// for _ in 0..8 {
///     assert!(rate.next_at() <= now);
///     rate.count(now);
/// }
/// assert_eq!(rate.next_at(), now + Duration::from_millis(20));
/// ```
#[derive(Debug, Clone)]
pub struct BatchRate {
    interval: Duration,
    /// When the next batch may be sent.
    next_at: Instant,
}

impl BatchRate {
    /// Starts as after a pause. With an interval of zero, a batch may always be sent.
    #[must_use]
    pub fn new(interval: Duration, now: Instant) -> Self {
        let mut rate = Self {
            interval,
            next_at: now,
        };
        rate.next_at = rate.earliest(now);
        rate
    }

    /// When the next batch that is not full may be sent; a time in the past means at once.
    #[must_use]
    pub const fn next_at(&self) -> Instant {
        self.next_at
    }

    /// Counts a batch that was sent at `now`, full or not. The next one that is not full waits one interval at most.
    pub fn count(&mut self, now: Instant) {
        let next_at = self.next_at.max(self.earliest(now)) + self.interval;
        self.next_at = next_at.min(now + self.interval);
    }

    /// As far in the past as a pause counts.
    fn earliest(&self, now: Instant) -> Instant {
        now.checked_sub(self.interval * (BURST - 1)).unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(20);

    #[test]
    fn a_steady_stream_gets_one_batch_per_interval() {
        let start = Instant::now() + Duration::from_secs(60);
        let mut rate = BatchRate::new(INTERVAL, start);
        let (mut now, mut batches) = (start, 0);
        while now < start + Duration::from_secs(1) {
            if rate.next_at() <= now {
                rate.count(now);
                batches += 1;
            }
            now += Duration::from_millis(1);
        }
        assert_eq!(batches, 50 + BURST - 1);
    }

    #[test]
    fn a_long_pause_allows_no_more_than_a_short_one() {
        let mut now = Instant::now() + Duration::from_secs(60);
        let mut rate = BatchRate::new(INTERVAL, now);
        now += Duration::from_secs(3_600);
        for _ in 0..BURST {
            assert!(rate.next_at() <= now);
            rate.count(now);
        }
        assert_eq!(rate.next_at(), now + INTERVAL);
    }

    #[test]
    fn many_full_batches_delay_the_next_one_by_one_interval() {
        let now = Instant::now() + Duration::from_secs(60);
        let mut rate = BatchRate::new(INTERVAL, now);
        for _ in 0..1_000 {
            rate.count(now);
        }
        assert_eq!(rate.next_at(), now + INTERVAL);
    }
}
