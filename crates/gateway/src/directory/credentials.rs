//! Which passwords admit a charger. A charger whose password is being changed may use the old one or the new one until it
//! has logged in with the new one, so an admission knows two hashes, and a connection remembers which of them it was.

/// The passwords that admit a charger, as Argon2 hashes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Credentials {
    /// `None` if no password is required.
    pub(crate) current: Option<String>,
    /// The one that was sent to the charger, while it is not known whether the charger uses it (rule S-21).
    pub(crate) new: Option<String>,
}

impl Credentials {
    /// Whether a connection that was admitted by this password, or without one, may stay.
    pub(crate) fn admit(&self, by: Option<PasswordMark>) -> bool {
        let mark = |hash: &String| PasswordMark::of(hash);
        match by {
            None => self.current.is_none(),
            Some(by) => [&self.current, &self.new]
                .into_iter()
                .flatten()
                .any(|hash| mark(hash) == by),
        }
    }
}

/// What a connection remembers of the hash that admitted it: 8 bytes of its digest, because there is one for each
/// connection. Stored hashes have random salts, so no two of one charger have the same by chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct PasswordMark(u64);

impl PasswordMark {
    pub(crate) fn of(hash: &str) -> Self {
        let digest = blake3::hash(hash.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&digest.as_bytes()[..8]);
        Self(u64::from_le_bytes(first))
    }
}
