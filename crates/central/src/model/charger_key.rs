//! The key of a charger. Identities that differ only in letter case name one charger (C-3), so whatever is kept by
//! charger is kept by this key, and only what is shown or sent keeps the spelling.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// A charger's identity in lower case (Unicode, not only ASCII). Cheap to clone. [`ChargerKey::of`] is the only way to
/// make one, so a value of this type is always in lower case; serialized it is a plain string.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChargerKey(Arc<str>);

impl ChargerKey {
    /// The key of this identity, whatever its letter case. A key is its own key.
    #[must_use]
    pub fn of(charger_id: &str) -> Self {
        Self(Self::fold(charger_id).into())
    }

    /// The text of the key of this identity. Allocates nothing for ASCII without capital letters.
    #[must_use]
    pub fn fold(charger_id: &str) -> Cow<'_, str> {
        let is_lower_case = charger_id
            .bytes()
            .all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase());
        if is_lower_case {
            Cow::Borrowed(charger_id)
        } else {
            Cow::Owned(charger_id.to_lowercase())
        }
    }

    /// The key as text, for a query or a hash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChargerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ChargerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for ChargerKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ChargerKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|charger_id| Self::of(&charger_id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letter_case_does_not_matter_in_any_script() {
        for (one, other) in [("CP-17", "cp-17"), ("ÄÖÜ", "äöü"), ("ЩИТ-1", "щит-1")] {
            assert_eq!(ChargerKey::of(one), ChargerKey::of(other));
            assert_eq!(ChargerKey::of(one).as_str(), other);
        }
        assert_ne!(ChargerKey::of("cp-17"), ChargerKey::of("cp-18"));
    }

    #[test]
    fn folding_lower_case_ascii_does_not_allocate() {
        assert!(matches!(
            ChargerKey::fold("cp-17.b"),
            Cow::Borrowed("cp-17.b")
        ));
        assert_eq!(
            ChargerKey::fold("CP-17.Ä"),
            ChargerKey::of("CP-17.Ä").as_str()
        );
    }

    #[test]
    fn a_key_is_its_own_key_also_as_json() {
        for charger_id in ["", "CP-17", "İ", "ΣΑΣ", "a\0B"] {
            let key = ChargerKey::of(charger_id);
            assert_eq!(ChargerKey::of(key.as_str()), key);
            let json = serde_json::to_string(&key).unwrap();
            assert_eq!(json, serde_json::to_string(key.as_str()).unwrap());
            assert_eq!(serde_json::from_str::<ChargerKey>(&json).unwrap(), key);
        }
    }
}
