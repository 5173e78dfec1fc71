//! Idempotency keys of requests, the same for both databases. Commands have keys of their own (`command_keys`): a
//! command is created in the one statement that also inserts its key, without a lock for each key, and the retention deletes
//! both together; with the general table each command would cost two statements more.

use crate::refusal::Refusal;
use central::ports::Idempotency;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Expired keys that one new key deletes at most: more than it adds, so their number is that of the last 72 hours.
pub(crate) const EXPIRED_DELETED: i64 = 16;

/// The result of a change as it is kept.
pub(crate) fn written(result: &impl Serialize) -> Result<String, Refusal> {
    serde_json::to_string(result)
        .map_err(|error| Refusal::Poison(format!("cannot write the result as JSON: {error}")))
}

/// Another request was made under this idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OtherRequest;

/// The result that is kept under the key of `wanted`, if it is the one of the same request.
pub(crate) fn judged<T: DeserializeOwned>(
    digest: &[u8],
    json: &str,
    wanted: &Idempotency,
) -> Result<Result<T, OtherRequest>, Refusal> {
    match digest == wanted.digest {
        true => read(json).map(Ok),
        false => Ok(Err(OtherRequest)),
    }
}

/// A kept result.
fn read<T: DeserializeOwned>(json: &str) -> Result<T, Refusal> {
    serde_json::from_str(json).map_err(|error| {
        Refusal::corrupt(format!(
            "the result under an idempotency key cannot be read: {error}"
        ))
    })
}
