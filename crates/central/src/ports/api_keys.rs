//! The keys of the HTTP API.

use super::Unavailable;
use crate::Timestamp;
use crate::model::{ApiKey, ApiKeyHash, Origin};
use uuid::Uuid;

/// Keys that can exist at once. A process of the API holds all of them in memory.
pub const API_KEYS_MAX: usize = 1_000;

/// Adds, lists and revokes keys. Calls block.
///
/// Laws: a change and its entry in the audit log are one database transaction: after `Ok` both are durable, after
/// `Err` nothing has changed.
pub trait ApiKeys: Send + Sync + 'static {
    /// Adds a key.
    ///
    /// # Errors
    /// When the database refuses.
    fn add_api_key(
        &self,
        key: &ApiKey,
        hash: &ApiKeyHash,
        origin: &Origin,
    ) -> Result<KeyAdded, Unavailable>;

    /// Removes the key of this name. `false` when there is none.
    ///
    /// # Errors
    /// When the database refuses.
    fn revoke_api_key(&self, name: &str, origin: &Origin) -> Result<bool, Unavailable>;

    /// All keys by name, also the expired ones.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn api_keys(&self) -> Result<Vec<(ApiKey, ApiKeyHash)>, Unavailable>;

    /// Sets the time of the latest use of keys, unless a later one is stored. Keys that no longer exist are skipped.
    ///
    /// # Errors
    /// When the database refuses.
    fn set_api_keys_used(&self, used: &[(Uuid, Timestamp)]) -> Result<(), Unavailable>;
}

/// What became of a key to be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyAdded {
    /// It was added.
    Added,
    /// Another key has its name; nothing has changed.
    NameTaken,
    /// [`API_KEYS_MAX`] keys exist; nothing has changed.
    TooMany,
}
