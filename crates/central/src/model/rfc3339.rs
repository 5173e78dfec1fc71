//! Serializes times in views as RFC 3339 with three decimals and `Z`.

use crate::Timestamp;
use serde::Serializer;

pub(crate) fn option<S: Serializer>(
    at: &Option<Timestamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => serializer.collect_str(at),
        None => serializer.serialize_none(),
    }
}

pub(crate) fn always<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}
