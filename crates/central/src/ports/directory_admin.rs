//! The directory's writing side for chargers: the operator sets, lists and removes them. Tokens have
//! [`Tokens`](super::Tokens).

use super::{ChargerProfile, Unavailable};
use crate::model::Origin;

/// Sets what [`DirectorySource`](super::DirectorySource) loads. Calls block.
///
/// Laws: each change and its entry in the audit log, which contains no password, are one database transaction: after
/// `Ok` it is durable, after `Err` nothing has changed. A
/// change increases the revision of [`DirectorySnapshot`](super::DirectorySnapshot); removing what does not exist
/// is no change. Identities that differ only in letter case are one charger: a later
/// `put` replaces the earlier one, its spelling included. The history of a charger is not touched.
pub trait DirectoryAdmin: Send + Sync + 'static {
    /// Sets a charger's profile; replaces an earlier profile of the same identity.
    ///
    /// # Errors
    /// When the database refuses.
    fn put_charger_profile(
        &self,
        profile: &ChargerProfile,
        origin: &Origin,
    ) -> Result<(), Unavailable>;

    /// Removes a charger's profile. `false` when there was none.
    ///
    /// # Errors
    /// When the database refuses.
    fn remove_charger_profile(
        &self,
        charger_id: &str,
        origin: &Origin,
    ) -> Result<bool, Unavailable>;

    /// All charger profiles, sorted by identity without regard to case.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn charger_profiles(&self) -> Result<Vec<ChargerProfile>, Unavailable>;
}
