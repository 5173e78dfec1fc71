//! Who has the scope `admin`: users and keys by one rule, so that a change of either cannot leave nobody who may manage both.

use crate::refusal::Refusal;
use crate::state::or_leave_out;
use central::Timestamp;
use central::model::{ApiKey, ApiKeyHash, Scope, User, UserPasswordHash};
use uuid::Uuid;

/// All users and keys, as the transaction of the change has locked them.
pub(crate) struct Admins<'a> {
    pub(crate) users: &'a [(User, UserPasswordHash)],
    pub(crate) keys: &'a [(ApiKey, ApiKeyHash)],
    /// The time of the change: a key that has expired counts no more.
    pub(crate) now: Timestamp,
}

impl Admins<'_> {
    /// Whether a change of the user `before` to `after` (`None`: removed) leaves nobody with the scope `admin`.
    pub(crate) fn ends_with_user(&self, before: &User, after: Option<&User>) -> bool {
        is_admin(before) && !after.is_some_and(is_admin) && !self.has_other(before.id)
    }

    /// Whether the removal of this key leaves nobody with the scope `admin`.
    pub(crate) fn ends_with_key(&self, key: &ApiKey) -> bool {
        self.is_admin_key(key) && !self.has_other(key.id)
    }

    /// Whether an enabled user or a valid key, other than the one with this id, has the scope `admin`.
    fn has_other(&self, id: Uuid) -> bool {
        let is_user = |user: &User| user.id != id && is_admin(user);
        let is_key = |key: &ApiKey| key.id != id && self.is_admin_key(key);
        self.users.iter().any(|(user, _)| is_user(user))
            || self.keys.iter().any(|(key, _)| is_key(key))
    }

    fn is_admin_key(&self, key: &ApiKey) -> bool {
        key.scope == Scope::Admin && key.is_valid_at(self.now)
    }
}

fn is_admin(user: &User) -> bool {
    user.scope == Scope::Admin && user.disabled_at.is_none()
}

/// The users or keys of these rows that can be read.
///
/// # Errors
/// When there are some and none can be read: without any, requests would need no key.
pub(crate) fn readable<R, T>(
    rows: Vec<R>,
    what: &str,
    name: impl Fn(&R) -> String,
    read: impl Fn(R) -> Result<T, Refusal>,
) -> Result<Vec<T>, Refusal> {
    let stored = rows.len();
    let read = rows.into_iter().filter_map(|row| {
        let whose = format!("{what} {}", name(&row));
        or_leave_out(read(row), &whose)
    });
    let read: Vec<T> = read.collect();
    match read.is_empty() && stored > 0 {
        true => Err(Refusal::corrupt(format!(
            "no {what} of {stored} can be read"
        ))),
        false => Ok(read),
    }
}
