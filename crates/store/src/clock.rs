//! The store's clock, for the timestamps that no record carries.

use central::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

/// Now, by this machine's clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
