//! The chargers that the operator sets: the writing side of the directory.

use super::{ChangeRequest, NotChanged, Once, Sites, Unavailable};
use crate::import::{Line, Verdict, verdicts_of};
use crate::model::{ChargerProfile, ChargerSettings, Origin, SettingsPatch};

/// Creates, changes, lists and removes the settings of chargers. Calls block.
///
/// Laws: each change, its entry in the audit log (which contains no password) and its idempotency key are one database
/// transaction: after `Ok` they are durable, after `Err` nothing has changed, or it has and was not reported. A change
/// increases the revision of [`DirectorySnapshot`](super::DirectorySnapshot), and the version of the charger's settings
/// becomes that revision, so no two states of one charger have the same version, also after it was removed and created
/// again. Identities that differ only in letter case are one charger. The history of a charger is not touched: a charger that
/// had sent messages and was removed is still listed, with who removed it and when, until it is added again. A charger
/// belongs to a site of [`Sites`], or to none.
pub trait ChargerAdmin: Sites {
    /// Creates or changes a charger's settings.
    ///
    /// # Errors
    /// When the database refuses.
    fn change_charger(
        &self,
        change: &ChargerChange,
    ) -> Result<Once<ChargerSettings, NotChanged>, Unavailable>;

    /// Removes a charger's settings, and ends its commands that no gateway has claimed, in the same transaction; a claimed
    /// one ends when its gateway gives it back ([`CommandQueue::release`](super::CommandQueue::release)). An idempotency key in the request is not used: repeating a removal is harmless.
    ///
    /// # Errors
    /// When the database refuses.
    fn remove_charger(
        &self,
        charger_id: &str,
        request: &ChangeRequest,
    ) -> Result<Result<(), NotChanged>, Unavailable>;

    /// Creates and changes the chargers of an import in one transaction, or, if a line is refused, none. The passwords of
    /// the lines are hashed ([`charger_import::hash_password`](crate::charger_import::hash_password)). `is_dry_run`
    /// only judges.
    ///
    /// A repeat under the same idempotency key gets the same verdicts and changes nothing. An import with a refused line is
    /// [`Refused`](Once::Refused) and keeps no key; nor does a dry run, which is [`Done`](Once::Done).
    ///
    /// # Errors
    /// When the database refuses.
    fn import_chargers_once(
        &self,
        lines: &[Line],
        is_dry_run: bool,
        request: &ChangeRequest,
    ) -> Result<Once<Vec<Verdict>, Vec<Verdict>>, Unavailable>;

    /// As [`import_chargers_once`](Self::import_chargers_once), without an idempotency key.
    ///
    /// # Errors
    /// When the database refuses.
    fn import_chargers(
        &self,
        lines: &[Line],
        is_dry_run: bool,
        origin: &Origin,
    ) -> Result<Vec<Verdict>, Unavailable> {
        let request = ChangeRequest::of(origin.clone());
        self.import_chargers_once(lines, is_dry_run, &request)
            .map(verdicts_of)
    }

    /// All charger profiles, sorted by identity without regard to case.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn charger_profiles(&self) -> Result<Vec<ChargerProfile>, Unavailable>;
}

/// A change of a charger's settings.
#[derive(Debug, Clone, PartialEq)]
pub struct ChargerChange {
    /// The identity. Of a charger that exists, only [`ChangeKind::Set`] changes the spelling.
    pub charger_id: String,
    /// Whether it may or must exist.
    pub kind: ChangeKind,
    /// What is changed.
    pub patch: SettingsPatch,
    /// Who requests it.
    pub request: ChangeRequest,
}

/// Whether an object may or must exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It must not exist.
    Create,
    /// It must exist.
    Update,
    /// It may exist.
    Set,
}

impl ChargerChange {
    /// The profile after this change; `before` is the stored one with its version.
    ///
    /// # Errors
    /// When the change is not to be made. Whether its site exists is not checked here.
    pub fn applied_to(
        &self,
        before: Option<&(ChargerProfile, u64)>,
    ) -> Result<ChargerProfile, NotChanged> {
        match (self.kind, before) {
            (ChangeKind::Create, Some(_)) => return Err(NotChanged::Exists),
            (ChangeKind::Update, None) => return Err(NotChanged::Unknown),
            _ => {}
        }
        if !self
            .request
            .condition
            .holds(before.map(|(_, version)| *version))
        {
            return Err(NotChanged::OtherVersion);
        }
        let mut profile = before.map_or_else(
            || ChargerProfile::new(&self.charger_id),
            |(profile, _)| profile.clone(),
        );
        if self.kind == ChangeKind::Set {
            profile.charger_id.clone_from(&self.charger_id);
        }
        self.patch.apply(&mut profile);
        Ok(profile)
    }

    /// The id of the site to which the charger is to belong; the store checks that there is one.
    #[must_use]
    pub fn new_site(&self) -> Option<&str> {
        self.patch.site.as_ref()?.as_deref()
    }
}
