//! Local users, who sign in to the dashboard with a password. Only a slow hash of a password is stored, so that a copy of the
//! database gives no access.

use super::Scope;
use crate::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// A user without the password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Identifies the user permanently; a later user of the same name has another id.
    pub id: Uuid,
    /// The name with which the user signs in, unique among the users that exist.
    pub name: String,
    /// What the user may do.
    pub scope: Scope,
    /// When the user was added.
    pub created_at: Timestamp,
    /// Since when the user may not sign in; `None`: the user may.
    pub disabled_at: Option<Timestamp>,
    /// When the password was set.
    pub password_changed_at: Timestamp,
    /// The latest sign-in.
    pub last_sign_in_at: Option<Timestamp>,
}

impl User {
    /// The version of what can be changed of the user, with the hash of the password: another one after each change. It
    /// discloses nothing about the password.
    #[must_use]
    pub fn version(&self, password: &UserPasswordHash) -> u64 {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.id.as_bytes());
        hasher.update(self.scope.as_str().as_bytes());
        let disabled_at = self.disabled_at.map_or(i64::MIN, Timestamp::as_millis);
        hasher.update(&disabled_at.to_be_bytes());
        hasher.update(&password.digest());
        let mut version = [0; 8];
        hasher.finalize_xof().fill(&mut version);
        u64::from_be_bytes(version)
    }
}

/// How the name of a user is bounded, for error messages.
pub const USER_NAME_EXPECTED: &str =
    "1 to 64 of the characters a-z, 0-9, `.`, `_`, `-`, `@` and `+`";

/// The name of a user from a text: letters in lower case, so that a name has one spelling. `None`: see
/// [`USER_NAME_EXPECTED`].
#[must_use]
pub fn user_name(text: &str) -> Option<String> {
    let name = text.to_ascii_lowercase();
    let is_allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-@+".contains(&byte);
    ((1..=64).contains(&name.len()) && name.bytes().all(is_allowed)).then_some(name)
}

/// How a password is bounded, for error messages.
pub const USER_PASSWORD_EXPECTED: &str = "12 to 256 characters";

/// Whether a user may have this password: see [`USER_PASSWORD_EXPECTED`].
#[must_use]
pub fn is_user_password(password: &str) -> bool {
    (12..=256).contains(&password.chars().count())
}

/// The hash of a password, as a PHC string. It has no `Display`, and its `Debug` hides it, because passwords can be guessed
/// with it.
#[derive(Clone, PartialEq, Eq)]
pub struct UserPasswordHash(String);

impl UserPasswordHash {
    /// The hash that is stored as this text.
    #[must_use]
    pub const fn from_text(text: String) -> Self {
        Self(text)
    }

    /// The text for the database and for a comparison.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Tells one password of a user from the next, and discloses nothing about either.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        *blake3::hash(self.0.as_bytes()).as_bytes()
    }
}

impl fmt::Debug for UserPasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserPasswordHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_spelling_and_bounds() {
        assert_eq!(user_name("Anna"), Some("anna".to_owned()));
        let longest = "x".repeat(64);
        for name in ["a", "anna.b@example.org", "x_1-2+3", &longest] {
            assert_eq!(user_name(name).as_deref(), Some(name));
        }
        for name in ["", " a", "a b", "ä", "a\n", "a/b", &"x".repeat(65)] {
            assert_eq!(user_name(name), None, "{name:?}");
        }
    }

    #[test]
    fn a_password_has_12_characters_at_least_whatever_their_bytes() {
        assert!(is_user_password("äääääääääääé"));
        assert!(!is_user_password("äääääääääää"));
        assert!(is_user_password(&"x".repeat(256)));
        assert!(!is_user_password(&"x".repeat(257)));
    }

    #[test]
    fn a_hash_is_not_shown_by_debug() {
        let hash = UserPasswordHash::from_text("$argon2id$secret".to_owned());
        assert_eq!(format!("{hash:?}"), "UserPasswordHash(…)");
    }
}
