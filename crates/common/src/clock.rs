//! The wall clock of this machine as numbers. Zero if the clock is set before 1970.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time since 1970-01-01T00:00:00Z.
#[must_use]
pub fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
}

/// Whether the clock shows a time after 1970. Libraries that write the date of an HTTP message panic before.
#[must_use]
pub fn is_set() -> bool {
    SystemTime::now() >= UNIX_EPOCH
}

/// Milliseconds since 1970-01-01T00:00:00Z.
#[must_use]
pub fn now_ms() -> i64 {
    i64::try_from(since_epoch().as_millis()).unwrap_or(i64::MAX)
}

/// Whole seconds since 1970-01-01T00:00:00Z.
#[must_use]
pub fn now_s() -> u64 {
    since_epoch().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_functions_read_the_same_clock() {
        let before = since_epoch();
        let (ms, s) = (now_ms(), now_s());
        let after = since_epoch();
        let between = |value: u128, unit: fn(&Duration) -> u128| {
            assert!((unit(&before)..=unit(&after)).contains(&value), "{value}");
        };
        between(u128::try_from(ms).unwrap_or_default(), Duration::as_millis);
        between(u128::from(s), |since| u128::from(since.as_secs()));
    }
}
