//! The local users of the dashboard.

use super::{Condition, Unavailable};
use crate::Timestamp;
use crate::model::{Origin, Scope, User, UserPasswordHash};
use uuid::Uuid;

/// Users that can exist at once. A process of the API holds all of them in memory.
pub const USERS_MAX: usize = 1_000;

/// Adds, lists, changes and removes users. Calls block.
///
/// Laws: a change and its entry in the audit log are one database transaction: after `Ok` both are durable, after `Err`
/// nothing has changed. No entry has a password or its hash. There is no idempotency key: what would be kept under it is a
/// fast hash of the request, with which the password could be guessed.
pub trait Users: Send + Sync + 'static {
    /// Adds a user.
    ///
    /// # Errors
    /// When the database refuses.
    fn add_user(
        &self,
        user: &User,
        password: &UserPasswordHash,
        origin: &Origin,
    ) -> Result<Result<(), UserNotAdded>, Unavailable>;

    /// Changes the user of this name; returns the user and the hash of the password after the change. A change that changes nothing has no entry in the
    /// audit log.
    ///
    /// # Errors
    /// When the database refuses.
    fn change_user(
        &self,
        name: &str,
        change: &UserChange,
        origin: &Origin,
    ) -> Result<Result<(User, UserPasswordHash), UserNotChanged>, Unavailable>;

    /// Removes the user of this name. `keeps_admin`: as of [`UserChange`].
    ///
    /// # Errors
    /// When the database refuses.
    fn remove_user(
        &self,
        name: &str,
        keeps_admin: bool,
        origin: &Origin,
    ) -> Result<Result<(), UserNotChanged>, Unavailable>;

    /// All users by name, also the disabled ones.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn users(&self) -> Result<Vec<(User, UserPasswordHash)>, Unavailable>;

    /// Sets the time of the latest sign-in of a user, unless a later one is stored or the user no longer exists.
    ///
    /// # Errors
    /// When the database refuses.
    fn set_user_signed_in(&self, id: Uuid, at: Timestamp) -> Result<(), Unavailable>;
}

/// What changes; `None` stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserChange {
    /// What the user may do.
    pub scope: Option<Scope>,
    /// Whether the user may not sign in.
    pub is_disabled: Option<bool>,
    /// The new password.
    pub password: Option<UserPasswordHash>,
    /// Refuses a change after which neither a user nor a valid key has the scope `admin`; of two such changes at the same
    /// time one fails.
    pub keeps_admin: bool,
    /// Which version of the user it expects: see [`User::version`].
    pub condition: Condition,
}

impl UserChange {
    /// The user after this change at the time `at`.
    #[must_use]
    pub fn apply(&self, user: &User, at: Timestamp) -> User {
        let mut after = user.clone();
        after.scope = self.scope.unwrap_or(user.scope);
        match self.is_disabled {
            Some(true) => after.disabled_at = user.disabled_at.or(Some(at)),
            Some(false) => after.disabled_at = None,
            None => {}
        }
        if self.password.is_some() {
            after.password_changed_at = at;
        }
        after
    }
}

/// Why a user was not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserNotAdded {
    /// Another user has the name.
    NameTaken,
    /// [`USERS_MAX`] users exist.
    TooMany,
}

/// Why a user was not changed or removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserNotChanged {
    /// There is no user of this name.
    Unknown,
    /// Without the user, nobody would have the scope `admin`.
    LastAdmin,
    /// The user has another version than the change expects.
    OtherVersion,
}
