//! Keys of the HTTP API. Only a hash of a key is stored, so that a copy of the database gives no access.

use crate::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// What a key permits. Each scope includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Reads chargers, transactions and messages.
    Read,
    /// Also changes the directory and sends commands to chargers.
    Operate,
    /// Also reads the audit log, and adds and revokes keys.
    Admin,
}

impl Scope {
    /// All scopes, the least first.
    pub const ALL: [Self; 3] = [Self::Read, Self::Operate, Self::Admin];

    /// The name in JSON, in the database and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A key of the API without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Identifies the key permanently; a later key of the same name has another id.
    pub id: Uuid,
    /// The operator's name for it, unique among the keys that exist.
    pub name: String,
    /// What it permits.
    pub scope: Scope,
    /// When it was added.
    pub created_at: Timestamp,
    /// From this time on it is refused.
    pub expires_at: Option<Timestamp>,
    /// Its latest use, about a minute late.
    pub last_used_at: Option<Timestamp>,
}

impl ApiKey {
    /// Whether it is valid at this time.
    #[must_use]
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|at| at > now)
    }
}

/// How the name of a key is bounded, for error messages.
pub const API_KEY_NAME_EXPECTED: &str =
    "1 to 100 characters without blanks at its ends and without control characters";

/// Whether a key may have this name: see [`API_KEY_NAME_EXPECTED`].
#[must_use]
pub fn is_api_key_name(name: &str) -> bool {
    (1..=100).contains(&name.chars().count())
        && name.trim() == name
        && !name.contains(char::is_control)
}

/// The prefix of every key, so that scanners for secrets find a published one.
pub const API_KEY_PREFIX: &str = "wp_live_";

/// Characters after the prefix: 43 digits of base 62 hold 256 bits.
const DIGITS: usize = 43;

/// The secret of a key. It has no `Display`, and its `Debug` hides it, so that it cannot get into a log by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiSecret(String);

impl ApiSecret {
    /// The secret that consists of these random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; 32]) -> Self {
        const ALPHABET: &[u8; 62] =
            b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let mut number = bytes;
        let mut digits = [0_u8; DIGITS];
        for digit in digits.iter_mut().rev() {
            // Long division of the 256-bit number by 62.
            let mut remainder = 0_usize;
            for byte in &mut number {
                let value = remainder * 256 + usize::from(*byte);
                *byte = (value / 62) as u8;
                remainder = value % 62;
            }
            *digit = ALPHABET[remainder];
        }
        Self(format!(
            "{API_KEY_PREFIX}{}",
            String::from_utf8_lossy(&digits)
        ))
    }

    /// The secret in a text from a client; `None` if it does not have the form of a key.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(API_KEY_PREFIX)?;
        let is_well_formed =
            digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_well_formed.then(|| Self(text.to_owned()))
    }

    /// The text for its owner, who sees it once.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored of it. A fast hash is enough, because 256 random bits cannot be guessed.
    #[must_use]
    pub fn hash(&self) -> ApiKeyHash {
        ApiKeyHash(blake3::hash(self.0.as_bytes()))
    }
}

impl fmt::Debug for ApiSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiSecret(…)")
    }
}

/// The hash of a key's secret. Its comparison takes the same time wherever two hashes differ.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ApiKeyHash(blake3::Hash);

impl ApiKeyHash {
    /// The bytes for the database.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The hash with these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(blake3::Hash::from_bytes(bytes))
    }
}

impl fmt::Debug for ApiKeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKeyHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_as_it_is_written_and_never_shown_by_debug() {
        for bytes in [[0; 32], [255; 32], std::array::from_fn(|i| i as u8 * 7)] {
            let secret = ApiSecret::from_random(bytes);
            assert_eq!(secret.expose().len(), API_KEY_PREFIX.len() + DIGITS);
            let read = ApiSecret::from_text(secret.expose()).expect("a key");
            assert!(read.hash() == secret.hash());
            let shown = format!("{secret:?} {:?}", secret.hash());
            assert_eq!(shown, "ApiSecret(…) ApiKeyHash(…)");
        }
    }

    #[test]
    fn each_bit_of_the_random_bytes_changes_the_secret() {
        let mut seen = std::collections::HashSet::new();
        for bit in 0..256 {
            let mut bytes = [0_u8; 32];
            bytes[bit / 8] = 1 << (bit % 8);
            assert!(seen.insert(ApiSecret::from_random(bytes).expose().to_owned()));
        }
        // 2 to the power of 256, less one, in base 62.
        let largest = ApiSecret::from_random([255; 32]);
        assert!(largest.expose().starts_with("wp_live_"));
        assert_ne!(largest.expose().as_bytes()[API_KEY_PREFIX.len()], b'0');
    }

    #[test]
    fn a_text_of_another_form_is_no_key() {
        let digits = "a".repeat(DIGITS);
        assert!(ApiSecret::from_text(&format!("wp_live_{digits}")).is_some());
        for text in [
            String::new(),
            digits.clone(),
            format!("wp_test_{digits}"),
            format!("wp_live_{digits}a"),
            format!("wp_live_{}-", &digits[1..]),
        ] {
            assert_eq!(ApiSecret::from_text(&text), None, "{text}");
        }
    }

    #[test]
    fn names_are_bounded() {
        for name in ["a", "grafana 2", "ä", &"x".repeat(100)] {
            assert!(is_api_key_name(name), "{name}");
        }
        for name in ["", " a", "a ", "a\nb", &"x".repeat(101)] {
            assert!(!is_api_key_name(name), "{name:?}");
        }
    }
}
