//! Idempotency keys of requests, the same for both databases. Commands have keys of their own (`command_keys`), because
//! their result is the command as it is now.

use crate::refusal::Refusal;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Expired keys that one new key deletes at most: more than it adds, so their number is that of the last 72 hours.
pub(crate) const EXPIRED_DELETED: i64 = 16;

/// The result of a change as it is kept.
pub(crate) fn written(result: &impl Serialize) -> Result<String, Refusal> {
    serde_json::to_string(result)
        .map_err(|error| Refusal::Poison(format!("cannot write the result as JSON: {error}")))
}

/// A kept result.
pub(crate) fn read<T: DeserializeOwned>(json: &str) -> Result<T, Refusal> {
    serde_json::from_str(json).map_err(|error| {
        Refusal::corrupt(format!(
            "the result under an idempotency key cannot be read: {error}"
        ))
    })
}
