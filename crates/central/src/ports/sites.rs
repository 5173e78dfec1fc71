//! The sites that the operator sets, and to which chargers belong.

use super::{ChangeKind, ChangeRequest, Once, QueryError, Unavailable};
use crate::model::{Site, SitePatch, SiteView};
use crate::query::{Page, PageRequest};

/// Creates, changes, lists and removes sites. Calls block.
///
/// Laws: each change, its entry in the audit log and its idempotency key are one database transaction: after `Ok` they are
/// durable, after `Err` nothing has changed, or it has and was not reported. A charger belongs only to a site that exists:
/// changes of sites and of chargers run one after the other. A change of a site does not change the revision of
/// [`DirectorySnapshot`](super::DirectorySnapshot), because gateways know nothing of sites.
pub trait Sites: Send + Sync + 'static {
    /// One site with the number of its chargers.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn site(&self, id: &str) -> Result<Option<SiteView>, Unavailable>;

    /// Sites by their ids, ascending, with the numbers of their chargers.
    ///
    /// # Errors
    /// When the database cannot be read now, or the cursor is not one of this list.
    fn site_page(&self, page: &PageRequest) -> Result<Page<SiteView>, QueryError>;

    /// Creates or changes a site.
    ///
    /// # Errors
    /// When the database refuses.
    fn change_site(
        &self,
        change: &SiteChange,
    ) -> Result<Once<SiteView, SiteNotChanged>, Unavailable>;

    /// Removes a site that has no chargers. An idempotency key in the request is not used: repeating a removal is harmless.
    ///
    /// # Errors
    /// When the database refuses.
    fn remove_site(
        &self,
        id: &str,
        request: &ChangeRequest,
    ) -> Result<Result<(), SiteNotChanged>, Unavailable>;
}

/// A change of a site.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteChange {
    /// Its id.
    pub id: String,
    /// Whether it may or must exist.
    pub kind: ChangeKind,
    /// What is changed.
    pub patch: SitePatch,
    /// Who requests it.
    pub request: ChangeRequest,
}

impl SiteChange {
    /// The site after this change; `before` is the stored one.
    ///
    /// # Errors
    /// When the change is not to be made.
    pub fn applied_to(&self, before: Option<&Site>) -> Result<Site, SiteNotChanged> {
        match (self.kind, before) {
            (ChangeKind::Create, Some(_)) => return Err(SiteNotChanged::Exists),
            (ChangeKind::Update, None) => return Err(SiteNotChanged::Unknown),
            _ => {}
        }
        if !self.request.condition.holds(before.map(Site::version)) {
            return Err(SiteNotChanged::OtherVersion);
        }
        let mut site = before.map_or_else(|| Site::new(&self.id), Site::clone);
        self.patch.apply(&mut site);
        match site.has_whole_position() {
            true => Ok(site),
            false => Err(SiteNotChanged::HalfPosition),
        }
    }
}

/// Why a change of a site was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SiteNotChanged {
    /// It is to be created, and it exists.
    Exists,
    /// It does not exist.
    Unknown,
    /// It has another version than the request expects.
    OtherVersion,
    /// It would have only one of latitude and longitude.
    HalfPosition,
    /// It is to be removed, and so many chargers are there.
    HasChargers(u64),
    /// [`SITES_MAX`](crate::model::SITES_MAX) sites exist.
    TooMany,
}
