//! The keys of the HTTP API.

use super::{ChangeRequest, Once, Unavailable};
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
    /// Adds a key. The condition of the request is not used. What is kept under its idempotency key does not contain the
    /// secret, so a repeat cannot show it.
    ///
    /// # Errors
    /// When the database refuses.
    fn add_api_key(
        &self,
        key: &ApiKey,
        hash: &ApiKeyHash,
        request: &ChangeRequest,
    ) -> Result<Once<ApiKey, KeyNotAdded>, Unavailable>;

    /// Removes the key of this name. `keeps_admin`: not if afterwards neither a valid key nor an enabled user has the scope
    /// `admin` at the time of `origin`; of two such calls at the same time one fails.
    ///
    /// # Errors
    /// When the database refuses.
    fn revoke_api_key(
        &self,
        name: &str,
        keeps_admin: bool,
        origin: &Origin,
    ) -> Result<Result<(), KeyNotRevoked>, Unavailable>;

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

/// Why a key was not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyNotAdded {
    /// Another key has its name.
    NameTaken,
    /// [`API_KEYS_MAX`] keys exist.
    TooMany,
}

/// Why a key was not revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyNotRevoked {
    /// There is no key of this name.
    Unknown,
    /// Without it, nobody would have the scope `admin`.
    LastAdmin,
}
