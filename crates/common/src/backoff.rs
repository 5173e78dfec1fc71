//! The delay before the next attempt: exponential, bounded, with jitter, so that many clients that failed at
//! the same moment do not all retry at the same moment.

use std::time::Duration;

/// Counts failed attempts and returns the delay before the next one.
///
/// The delay is drawn between half and all of `min × 2ⁿ` after `n` earlier failures, but of `max` at most.
#[derive(Debug, Clone)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    /// Starts without failures: the first delay is at most `min`, every later one at most `max`.
    #[must_use]
    pub const fn new(min: Duration, max: Duration) -> Self {
        Self {
            min,
            max,
            failures: 0,
        }
    }

    /// The same with milliseconds, the unit of the settings.
    #[must_use]
    pub const fn from_millis(min_ms: u64, max_ms: u64) -> Self {
        Self::new(Duration::from_millis(min_ms), Duration::from_millis(max_ms))
    }

    /// Counts one more failure and returns the delay before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        let delay = delay(self.min, self.max, self.failures);
        self.failures = self.failures.saturating_add(1);
        delay
    }

    /// Forgets the failures: an attempt has succeeded.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }
}

/// The delay after `earlier` failures before this one: between half and all of `min × 2^earlier`, where that
/// product is `max` at most.
#[must_use]
pub fn delay(min: Duration, max: Duration, earlier: u32) -> Duration {
    let full = min.saturating_mul(1 << earlier.min(20)).min(max);
    let half = full / 2;
    half + half.mul_f64(fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_secs(1);

    #[test]
    fn delay_doubles_up_to_the_maximum_and_keeps_half_of_it() {
        let mut backoff = Backoff::new(MIN, MAX);
        for full_ms in [100, 200, 400, 800, 1_000, 1_000] {
            let delay = backoff.next_delay();
            let full = Duration::from_millis(full_ms);
            assert!(delay >= full / 2 && delay <= full, "{delay:?} of {full:?}");
        }
    }

    #[test]
    fn success_starts_again_from_the_minimum() {
        let mut backoff = Backoff::from_millis(100, 1_000);
        for _ in 0..10 {
            backoff.next_delay();
        }
        backoff.reset();
        assert!(backoff.next_delay() <= MIN);
    }

    #[test]
    fn count_of_failures_never_overflows() {
        assert!(delay(MIN, MAX, u32::MAX) <= MAX);
        assert_eq!(delay(Duration::ZERO, MAX, 3), Duration::ZERO);
    }
}
