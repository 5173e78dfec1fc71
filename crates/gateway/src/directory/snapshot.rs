//! One state of the directory, as it was loaded, and what a newer state changes: connections of chargers that were changed
//! or removed must hear of it.

use central::model::{ChargerKey, ConcurrentTransactions};
use central::ports::{ChargerProfile, DirectorySnapshot, Token};
use std::collections::HashMap;
use std::sync::Arc;

/// A change of one charger.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// Which charger.
    pub(crate) key: ChargerKey,
    /// It was removed: it must connect again. After another change it must only if its password is no longer accepted
    /// ([`super::Credentials::admit`]).
    pub(crate) is_removed: bool,
}

/// A state of the directory.
pub(super) struct Snapshot {
    pub(super) chargers: HashMap<ChargerKey, Arc<ChargerProfile>>,
    /// The hash of the password that was sent to each of these chargers, while it is not known which one it uses.
    pub(super) new_passwords: HashMap<ChargerKey, String>,
    pub(super) tokens: HashMap<String, Token>,
    /// Whether a token may be in one transaction only, by its own rule.
    pub(super) has_refusing_token: bool,
    /// `None` before the first load without a kept snapshot.
    pub(super) revision: Option<u64>,
}

impl Snapshot {
    /// Nothing was ever loaded.
    pub(super) fn none() -> Self {
        Self {
            chargers: HashMap::new(),
            new_passwords: HashMap::new(),
            tokens: HashMap::new(),
            has_refusing_token: false,
            revision: None,
        }
    }

    pub(super) fn new(snapshot: DirectorySnapshot) -> Self {
        let mut rules = snapshot.tokens.values().map(|token| token.concurrent);
        Self {
            has_refusing_token: rules.any(|rule| rule == Some(ConcurrentTransactions::Refuse)),
            chargers: snapshot
                .chargers
                .into_iter()
                .map(|(key, profile)| (key, Arc::new(profile)))
                .collect(),
            new_passwords: snapshot.new_passwords,
            tokens: snapshot.tokens,
            revision: Some(snapshot.revision),
        }
    }

    /// What the newer state `new` has changed of chargers.
    pub(super) fn changes_to(&self, new: &Self) -> Vec<Change> {
        let removed = self
            .chargers
            .keys()
            .filter(|key| !new.chargers.contains_key(*key));
        let removed = removed.map(|key| Change {
            key: key.clone(),
            is_removed: true,
        });
        let changed = new.chargers.iter().filter_map(|(key, profile)| {
            let is_same = self.chargers.get(key) == Some(profile)
                && self.new_passwords.get(key) == new.new_passwords.get(key);
            (!is_same).then(|| Change {
                key: key.clone(),
                is_removed: false,
            })
        });
        removed.chain(changed).collect()
    }
}
