//! The time of simulated chargers. A charger gets it as an argument; the fleet computes it as the wall clock at its start
//! plus the monotonic time since, so that it never goes back.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// A time in UTC, in microseconds since 1970-01-01T00:00:00Z. Displays as RFC 3339 with three decimals and `Z`
/// (rule F-13).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct TimestampUs(pub u64);

impl TimestampUs {
    /// The current time of the wall clock.
    #[must_use]
    pub fn wall_clock() -> Self {
        Self::default().plus(common::clock::since_epoch())
    }

    /// This time plus `wait`, saturating.
    #[must_use]
    pub fn plus(self, wait: Duration) -> Self {
        let micros = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }

    /// The time since `earlier`; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for TimestampUs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = i64::try_from(self.0)
            .ok()
            .and_then(|micros| jiff::Timestamp::from_microsecond(micros).ok());
        match at {
            Some(at) => write!(f, "{at:.3}"),
            None => write!(f, "{}us", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_displays_as_rfc_3339_with_milliseconds() {
        let at = TimestampUs(1_767_225_600_123_456);
        assert_eq!(at.to_string(), "2026-01-01T00:00:00.123Z");
        assert_eq!(
            at.plus(Duration::from_secs(1)).since(at),
            Duration::from_secs(1)
        );
        assert_eq!(at.since(at.plus(Duration::from_secs(1))), Duration::ZERO);
    }
}
