//! The chargers that an operator sets, in memory.

use super::imports::ImportKeys;
use crate::charger_import;
use crate::import::{self, Line, Verdict};
use crate::model::{
    Actor, ChargerKey, ChargerProfile, ChargerSettings, Origin, PasswordRotation,
    REFUSED_HANDSHAKES_MAX, REFUSED_KEPT_MS, REFUSED_PER_ADDRESS_MAX, RefusedHandshake,
    RefusedHandshakeView, RotationOutcome, RotationView, SITES_MAX, Site, SiteView,
};
use crate::ports::{
    ChangeRequest, ChargerAdmin, ChargerChange, Handshakes, IDEMPOTENCY_KEPT_MS, NewRotation,
    NotChanged, Once, PasswordRotations, QueryError, RotationNotBegun, RotationNotCancelled,
    SiteChange, SiteNotChanged, Sites, Unavailable,
};
use crate::query::{HandshakeFilter, Page, PageRequest, Place};
use crate::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A [`ChargerAdmin`] and [`Handshakes`] in memory.
#[derive(Debug, Default)]
pub struct MemoryDirectory {
    contents: Mutex<Contents>,
}

#[derive(Debug, Default)]
struct Contents {
    revision: u64,
    profiles: BTreeMap<ChargerKey, (ChargerProfile, u64)>,
    sites: BTreeMap<String, Site>,
    /// When each charger was removed, and by whom.
    removed: BTreeMap<ChargerKey, (Timestamp, Actor)>,
    /// By requester and key: the digest, the result and the time.
    keys: BTreeMap<(String, String), ([u8; 32], ChargerSettings, Timestamp)>,
    /// The idempotency keys of imports.
    imports: ImportKeys,
    /// The newest rotation of each charger, with the new hash while it is open.
    rotations: BTreeMap<ChargerKey, (PasswordRotation, Option<String>)>,
    /// With their numbers.
    refused: Vec<(i64, RefusedHandshake)>,
    /// The greatest number so far.
    refused_no: i64,
}

impl Contents {
    fn put(&mut self, charger: ChargerProfile, version: u64) {
        let key = ChargerKey::of(&charger.charger_id);
        self.refused.retain(|(_, row)| {
            let id = row.charger_id.as_deref();
            id.is_none_or(|id| ChargerKey::of(id) != key)
        });
        self.removed.remove(&key);
        self.profiles.insert(key, (charger, version));
    }
}

impl MemoryDirectory {
    /// The settings of a charger.
    #[must_use]
    pub fn settings(&self, charger_id: &str) -> Option<ChargerSettings> {
        let contents = self.lock();
        let found = contents.profiles.get(&ChargerKey::of(charger_id));
        found.map(|(profile, version)| ChargerSettings::of(profile, *version))
    }

    /// When a charger was removed, and by whom.
    pub(super) fn removal(&self, charger_id: &str) -> Option<(Timestamp, Actor)> {
        let contents = self.lock();
        contents.removed.get(&ChargerKey::of(charger_id)).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        // Nothing between two changes of the maps panics, so they are consistent.
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChargerAdmin for MemoryDirectory {
    fn change_charger(
        &self,
        change: &ChargerChange,
    ) -> Result<Once<ChargerSettings, NotChanged>, Unavailable> {
        let mut contents = self.lock();
        let now = change.request.origin.at;
        let once = change.request.idempotency.as_ref().map(|idempotency| {
            let requester = change.request.requested_by().to_owned();
            ((requester, idempotency.key.clone()), idempotency.digest)
        });
        if let Some((key, digest)) = &once
            && let Some((known, result, at)) = contents.keys.get(key)
            && at.plus_millis(IDEMPOTENCY_KEPT_MS) >= now
        {
            return Ok(match known == digest {
                true => Once::Repeated(result.clone()),
                false => Once::Mismatch,
            });
        }
        let key = ChargerKey::of(&change.charger_id);
        let after = match change.applied_to(contents.profiles.get(&key)) {
            Ok(after) => after,
            Err(refused) => return Ok(Once::Refused(refused)),
        };
        if let Some(site) = change.new_site()
            && !contents.sites.contains_key(site)
        {
            return Ok(Once::Refused(NotChanged::NoSuchSite));
        }
        contents.revision += 1;
        let version = contents.revision;
        let settings = ChargerSettings::of(&after, version);
        contents.put(after, version);
        if let Some((key, digest)) = once {
            contents.keys.insert(key, (digest, settings.clone(), now));
        }
        Ok(Once::Done(settings))
    }

    fn import_chargers_once(
        &self,
        lines: &[Line],
        is_dry_run: bool,
        request: &ChangeRequest,
    ) -> Result<Once<Vec<Verdict>, Vec<Verdict>>, Unavailable> {
        let mut contents = self.lock();
        let judged = |contents: &Contents| {
            let stored = contents.profiles.iter();
            let stored = stored.map(|(key, (charger, _))| (key.clone(), charger.clone()));
            let sites = contents.sites.keys().cloned().collect();
            charger_import::judge(lines, &stored.collect(), &sites)
        };
        if is_dry_run {
            return Ok(Once::Done(judged(&contents).0));
        }
        let mut keys = std::mem::take(&mut contents.imports);
        let done = keys.once(request, || {
            let (verdicts, imported) = judged(&contents);
            if !imported.is_empty() {
                contents.revision += 1;
                let version = contents.revision;
                for change in imported {
                    contents.put(change.after, version);
                }
            }
            import::applied(&charger_import::COLUMNS, verdicts)
        });
        contents.imports = keys;
        Ok(import::verdicts(&charger_import::COLUMNS, lines, done))
    }

    fn remove_charger(
        &self,
        charger_id: &str,
        request: &ChangeRequest,
    ) -> Result<Result<(), NotChanged>, Unavailable> {
        let mut contents = self.lock();
        let key = ChargerKey::of(charger_id);
        let Some((_, version)) = contents.profiles.get(&key) else {
            return Ok(Err(NotChanged::Unknown));
        };
        if !request.condition.holds(Some(*version)) {
            return Ok(Err(NotChanged::OtherVersion));
        }
        contents.profiles.remove(&key);
        let origin = &request.origin;
        contents.removed.insert(key, (origin.at, origin.by.clone()));
        contents.revision += 1;
        Ok(Ok(()))
    }

    fn charger_profiles(&self) -> Result<Vec<ChargerProfile>, Unavailable> {
        let contents = self.lock();
        let profiles = contents.profiles.values();
        Ok(profiles.map(|(profile, _)| profile.clone()).collect())
    }
}

/// Idempotency keys of changes of sites are not kept.
impl Sites for MemoryDirectory {
    fn site(&self, id: &str) -> Result<Option<SiteView>, Unavailable> {
        let contents = self.lock();
        Ok(contents.sites.get(id).map(|site| contents.shown(site)))
    }

    fn site_page(&self, page: &PageRequest) -> Result<Page<SiteView>, QueryError> {
        let after = match page.after.as_ref().map(Place::from_cursor).transpose()? {
            None => String::new(),
            Some(Place::Site(id)) => id,
            Some(_) => return Err(QueryError::BadCursor),
        };
        let contents = self.lock();
        let mut rows = contents.sites.values().filter(|site| site.id > after);
        let items: Vec<SiteView> = rows
            .by_ref()
            .take(page.rows())
            .map(|site| contents.shown(site))
            .collect();
        let last = items.last().map(|view| view.site.id.clone());
        let next = last.filter(|_| rows.next().is_some());
        Ok(Page {
            items,
            next: next.map(|id| Place::Site(id).to_cursor()),
        })
    }

    fn change_site(
        &self,
        change: &SiteChange,
    ) -> Result<Once<SiteView, SiteNotChanged>, Unavailable> {
        let mut contents = self.lock();
        let before = contents.sites.get(&change.id);
        let after = match change.applied_to(before) {
            Ok(_) if before.is_none() && contents.sites.len() >= SITES_MAX => {
                return Ok(Once::Refused(SiteNotChanged::TooMany));
            }
            Ok(after) => after,
            Err(refused) => return Ok(Once::Refused(refused)),
        };
        contents.sites.insert(after.id.clone(), after.clone());
        Ok(Once::Done(contents.shown(&after)))
    }

    fn remove_site(
        &self,
        id: &str,
        request: &ChangeRequest,
    ) -> Result<Result<(), SiteNotChanged>, Unavailable> {
        let mut contents = self.lock();
        let Some(site) = contents.sites.get(id) else {
            return Ok(Err(SiteNotChanged::Unknown));
        };
        if !request.condition.holds(Some(site.version())) {
            return Ok(Err(SiteNotChanged::OtherVersion));
        }
        match contents.shown(site).chargers {
            0 => {
                contents.sites.remove(id);
                Ok(Ok(()))
            }
            chargers => Ok(Err(SiteNotChanged::HasChargers(chargers))),
        }
    }
}

impl Contents {
    fn shown(&self, site: &Site) -> SiteView {
        let profiles = self.profiles.values();
        let here = profiles.filter(|(profile, _)| profile.site.as_ref() == Some(&site.id));
        SiteView {
            site: site.clone(),
            chargers: here.count() as u64,
        }
    }
}

/// The command of a rotation is not queued, because commands are in another store: to this one it is never sent.
impl PasswordRotations for MemoryDirectory {
    fn begin_rotation(
        &self,
        new: &NewRotation,
    ) -> Result<Once<PasswordRotation, RotationNotBegun>, Unavailable> {
        let mut contents = self.lock();
        let key = ChargerKey::of(&new.charger_id);
        let Some((profile, _)) = contents.profiles.get(&key) else {
            return Ok(Once::Refused(RotationNotBegun::Unknown));
        };
        let rotation = PasswordRotation {
            charger_id: profile.charger_id.clone(),
            command: new.command.command.id,
            started_at: new.request.origin.at,
            by: new.request.origin.by.clone(),
            end: None,
        };
        if let Some((open, Some(_))) = contents.rotations.get(&key) {
            return Ok(Once::Refused(RotationNotBegun::Open(open.clone())));
        }
        let entry = (rotation.clone(), Some(new.new_hash.clone()));
        contents.rotations.insert(key, entry);
        contents.revision += 1;
        Ok(Once::Done(rotation))
    }

    fn rotation(
        &self,
        charger_id: &str,
        now: Timestamp,
    ) -> Result<Option<RotationView>, Unavailable> {
        let contents = self.lock();
        let key = ChargerKey::of(charger_id);
        let Some((profile, _)) = contents.profiles.get(&key) else {
            return Ok(None);
        };
        Ok(Some(match contents.rotations.get(&key) {
            None => RotationView::none(&profile.charger_id),
            Some((rotation, _)) => rotation.view(None, now),
        }))
    }

    fn cancel_rotation(
        &self,
        charger_id: &str,
        request: &ChangeRequest,
    ) -> Result<Result<(), RotationNotCancelled>, Unavailable> {
        let mut contents = self.lock();
        let key = ChargerKey::of(charger_id);
        if !contents.profiles.contains_key(&key) {
            return Ok(Err(RotationNotCancelled::Unknown));
        }
        let Some((rotation, hash @ Some(_))) = contents.rotations.get_mut(&key) else {
            return Ok(Err(RotationNotCancelled::NotOpen));
        };
        *hash = None;
        rotation.end = Some((RotationOutcome::Cancelled, request.origin.at));
        contents.revision += 1;
        Ok(Ok(()))
    }

    fn logged_in(
        &self,
        charger: &ChargerKey,
        hash: &str,
        now: Timestamp,
    ) -> Result<(), Unavailable> {
        let mut contents = self.lock();
        let Some((rotation, open)) = contents.rotations.get_mut(charger) else {
            return Ok(());
        };
        if open.as_deref() != Some(hash) {
            return Ok(());
        }
        *open = None;
        rotation.end = Some((RotationOutcome::Done, now));
        contents.revision += 1;
        let version = contents.revision;
        if let Some((profile, of)) = contents.profiles.get_mut(charger) {
            profile.password_hash = Some(hash.to_owned());
            *of = version;
        }
        Ok(())
    }

    fn settle_rotations(&self, _: Timestamp, _: usize) -> Result<u64, Unavailable> {
        Ok(0)
    }
}

impl Handshakes for MemoryDirectory {
    fn add_refused(&self, refused: &[RefusedHandshake]) -> Result<(), Unavailable> {
        let mut contents = self.lock();
        for new in refused {
            let key = new.charger_id.as_deref().map(ChargerKey::of);
            let settings = key.and_then(|key| contents.profiles.get(&key));
            if settings.is_some_and(|(_, version)| new.is_before(*version)) {
                continue;
            }
            let mut rows = contents.refused.iter_mut();
            match rows.find(|(_, row)| row.key() == new.key()) {
                Some((_, row)) => row.add(new.clone()),
                None => {
                    contents.refused_no += 1;
                    let no = contents.refused_no;
                    contents.refused.push((no, new.clone()));
                }
            }
        }
        if let Some(last) = refused.iter().map(|row| row.last_at).max() {
            let oldest = last.plus_millis(-REFUSED_KEPT_MS);
            contents.refused.retain(|(_, row)| row.last_at >= oldest);
        }
        // The rows to keep come first.
        let rows = &mut contents.refused;
        rows.sort_by_key(|(no, row)| std::cmp::Reverse((row.count > 1, row.last_at, *no)));
        let mut of_address: BTreeMap<String, usize> = BTreeMap::new();
        rows.retain(|(_, row)| {
            let count = of_address.entry(row.address.clone()).or_default();
            *count += 1;
            *count <= REFUSED_PER_ADDRESS_MAX
        });
        rows.truncate(REFUSED_HANDSHAKES_MAX);
        Ok(())
    }

    fn refused(
        &self,
        filter: &HandshakeFilter,
        page: &PageRequest,
    ) -> Result<Page<RefusedHandshakeView>, QueryError> {
        let before = match page.after.as_ref().map(Place::from_cursor).transpose()? {
            None => i64::MAX,
            Some(Place::Handshake(no)) => no,
            Some(_) => return Err(QueryError::BadCursor),
        };
        let wanted = filter.charger.as_deref().map(ChargerKey::of);
        let mut rows = self.lock().refused.clone();
        rows.sort_by_key(|(no, _)| std::cmp::Reverse(*no));
        rows.retain(|(no, row)| {
            let key = row.charger_id.as_deref().map(ChargerKey::of);
            *no < before && (wanted.is_none() || wanted == key)
        });
        let has_more = rows.len() > page.rows();
        rows.truncate(page.rows());
        let next = rows.last().map(|(no, _)| Place::Handshake(*no).to_cursor());
        Ok(Page {
            items: rows
                .into_iter()
                .map(|(no, row)| RefusedHandshakeView::of(no, row))
                .collect(),
            next: next.filter(|_| has_more),
        })
    }

    fn dismiss_refused(&self, no: i64, _: &Origin) -> Result<bool, Unavailable> {
        let mut contents = self.lock();
        let before = contents.refused.len();
        contents.refused.retain(|(known, _)| *known != no);
        Ok(contents.refused.len() < before)
    }
}
