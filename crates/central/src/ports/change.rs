//! What every change that a client requests has in common: who requests it, which version of the object it expects, and
//! the key that makes its repeat harmless.
//!
//! A port with changes takes a [`ChangeRequest`] and returns [`Once`]: the store checks the condition, makes the change,
//! and inserts the entry of the audit log and the idempotency key in one database transaction.

use super::Idempotency;
use crate::model::Origin;

/// A request for a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeRequest {
    /// Who requests it, when, and from where.
    pub origin: Origin,
    /// Which version of the object it expects.
    pub condition: Condition,
    /// The requester's key for safe repeats.
    pub idempotency: Option<Idempotency>,
}

impl ChangeRequest {
    /// A request without a condition and without an idempotency key.
    #[must_use]
    pub const fn of(origin: Origin) -> Self {
        Self {
            origin,
            condition: Condition::None,
            idempotency: None,
        }
    }

    /// Whose idempotency keys these are. Two requesters may use the same key.
    #[must_use]
    pub fn requested_by(&self) -> &str {
        self.origin.by.name.as_deref().unwrap_or("without_key")
    }
}

/// Which version of the object a change expects (`If-Match`, RFC 9110, 13.1.1).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Condition {
    /// Any, also that it does not exist.
    #[default]
    None,
    /// Any version of an object that exists.
    Exists,
    /// One of these versions.
    Versions(Vec<u64>),
}

impl Condition {
    /// Whether the object with this version satisfies it; `None`: it does not exist.
    #[must_use]
    pub fn holds(&self, stored: Option<u64>) -> bool {
        match self {
            Self::None => true,
            Self::Exists => stored.is_some(),
            Self::Versions(versions) => stored.is_some_and(|stored| versions.contains(&stored)),
        }
    }
}

/// What became of a change.
///
/// Laws: of requests with one (requester, key) within [`IDEMPOTENCY_KEPT_MS`](super::IDEMPOTENCY_KEPT_MS) at most one is
/// [`Done`](Once::Done), also if they run at the same time. What was done is kept in the transaction of the change; what was
/// refused is not kept, so that its repeat is judged anew.
#[derive(Debug, Clone, PartialEq)]
pub enum Once<T, N> {
    /// It is made.
    Done(T),
    /// It was made before, by the same request under the same idempotency key; this is what came of it then.
    Repeated(T),
    /// It is not made, for this reason.
    Refused(N),
    /// Another request was made before under this idempotency key.
    Mismatch,
    /// A request with this idempotency key is running now.
    InUse,
}

/// Why a change of one object was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotChanged {
    /// It is to be created, and it exists.
    Exists,
    /// It does not exist.
    Unknown,
    /// It has another version than the request expects.
    OtherVersion,
    /// It would belong to a site that does not exist.
    NoSuchSite,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_holds_for_the_versions_that_it_names() {
        assert!(Condition::None.holds(None) && Condition::None.holds(Some(1)));
        assert!(!Condition::Exists.holds(None) && Condition::Exists.holds(Some(1)));
        let versions = Condition::Versions(vec![3, 5]);
        assert!(versions.holds(Some(5)));
        assert!(!versions.holds(Some(4)) && !versions.holds(None));
    }
}
