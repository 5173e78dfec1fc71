//! Local authorization lists: the wishes of the operator, and how far each charger's list is.

use super::{QueryError, Unavailable};
use crate::Timestamp;
use crate::local_list::{Content, LocalList, Phase, Wish};
use crate::model::Origin;
use crate::query::{Page, PageRequest};

/// Selects local lists.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LocalListFilter {
    /// Only those in this state.
    pub phase: Option<Phase>,
    /// Only those of chargers whose identity contains this text, in any letter case.
    pub search: Option<String>,
}

/// Local lists. Calls block.
///
/// A wish holds for one charger, or for all chargers without a wish of their own. A charger has a list while a wish
/// holds for it; removing the wish leaves the list at the charger as it is.
///
/// Laws: a change of a wish and its entry in the audit log are one database transaction. Any number of processes may work
/// on lists at once: a list is saved only if nobody else has saved it since it was read, so of two that decided a step
/// from the same state one succeeds.
pub trait LocalLists: Send + Sync + 'static {
    /// Sets or removes the wish of this charger, or of all chargers without one (`None`). Setting it again, also
    /// unchanged, begins anew: refusals are forgotten and the charger is asked for its version. Returns whether there
    /// was a wish before.
    ///
    /// # Errors
    /// When the database refuses.
    fn set_list_wish(
        &self,
        charger_id: Option<&str>,
        wish: Option<&Wish>,
        origin: &Origin,
    ) -> Result<bool, Unavailable>;

    /// The wish of this charger itself, or that of all chargers without one (`None`).
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn list_wish(&self, charger_id: Option<&str>) -> Result<Option<Wish>, Unavailable>;

    /// Whether a wish holds for this charger. Then its list is sent only to fulfil the wish: a list of other origin would
    /// be replaced, or be taken for the wanted one if it has the same version.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn has_wish(&self, charger_id: &str) -> Result<bool, Unavailable> {
        Ok(self.list_wish(Some(charger_id))?.is_some() || self.list_wish(None)?.is_some())
    }

    /// Gives a list to each known charger for which a wish holds, and takes it from those for which none does.
    ///
    /// # Errors
    /// When the database refuses.
    fn adopt_lists(&self, now: Timestamp) -> Result<(), Unavailable>;

    /// Makes the lists that wait for a change due now: the tokens have changed.
    ///
    /// # Errors
    /// When the database refuses.
    fn hasten_lists(&self, now: Timestamp) -> Result<(), Unavailable>;

    /// The lists that are due at `now`, the longest overdue first, at most `limit`.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn due_lists(&self, now: Timestamp, limit: usize) -> Result<Vec<LocalList>, Unavailable>;

    /// Saves the progress of a list, and when it is due again. `false` if it was saved by somebody else since it was
    /// read, or the charger no longer has a list; then nothing has changed.
    ///
    /// # Errors
    /// When the database refuses.
    fn save_list(&self, list: &LocalList, due_at: Timestamp) -> Result<bool, Unavailable>;

    /// Keeps the content of a list, so that differences can be made from it.
    ///
    /// # Errors
    /// When the database refuses.
    fn keep_content(&self, content: &Content, now: Timestamp) -> Result<(), Unavailable>;

    /// A content by its digest.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn content(&self, digest: &str) -> Result<Option<Content>, Unavailable>;

    /// Deletes contents that no list refers to and that were kept before `before`.
    ///
    /// # Errors
    /// When the database refuses.
    fn forget_contents(&self, before: Timestamp) -> Result<(), Unavailable>;

    /// The list of one charger.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn local_list(&self, charger_id: &str) -> Result<Option<LocalList>, Unavailable>;

    /// Lists by charger, ascending.
    ///
    /// # Errors
    /// When the database cannot be read now, or the cursor is not one of this list.
    fn local_list_page(
        &self,
        filter: &LocalListFilter,
        page: &PageRequest,
    ) -> Result<Page<LocalList>, QueryError>;
}
