//! Time as an argument.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A time in UTC, in whole milliseconds since 1970-01-01T00:00:00Z. Displays as RFC 3339 with
/// three decimals and `Z`, the form that chargers accept most widely (rules F-13, H-2).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

/// 2010-01-01T00:00:00Z: an earlier time comes from a clock that was never set (quirk 10).
const EARLIEST: Timestamp = Timestamp(1_262_304_000_000);

/// 2100-01-01T00:00:00Z: this time or a later one comes from a clock that was set wrong.
const LATEST: Timestamp = Timestamp(4_102_444_800_000);

impl Timestamp {
    /// Whether the clock of a charger can have been set to this time: from 2010 to 2099.
    #[must_use]
    pub fn is_plausible(self) -> bool {
        (EARLIEST..LATEST).contains(&self)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This time plus `millis`; saturates at the bounds of the type.
    #[must_use]
    pub const fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => write!(f, "{at:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

impl From<jiff::Timestamp> for Timestamp {
    /// Fractions of a millisecond are cut off.
    fn from(at: jiff::Timestamp) -> Self {
        Self(at.as_millisecond())
    }
}
