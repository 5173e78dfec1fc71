//! The chargers that an operator sets, in memory.

use crate::model::{ChargerKey, ChargerProfile, ChargerSettings};
use crate::ports::{
    ChangeRequest, ChargerAdmin, ChargerChange, IDEMPOTENCY_KEPT_MS, NotChanged, Once, Unavailable,
};
use crate::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A [`ChargerAdmin`] in memory.
#[derive(Debug, Default)]
pub struct MemoryDirectory {
    contents: Mutex<Contents>,
}

#[derive(Debug, Default)]
struct Contents {
    revision: u64,
    profiles: BTreeMap<ChargerKey, (ChargerProfile, u64)>,
    /// By requester and key: the digest, the result and the time.
    keys: BTreeMap<(String, String), ([u8; 32], ChargerSettings, Timestamp)>,
}

impl MemoryDirectory {
    /// The settings of a charger.
    #[must_use]
    pub fn settings(&self, charger_id: &str) -> Option<ChargerSettings> {
        let contents = self.lock();
        let found = contents.profiles.get(&ChargerKey::of(charger_id));
        found.map(|(profile, version)| ChargerSettings::of(profile, *version))
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
        contents.revision += 1;
        let version = contents.revision;
        let settings = ChargerSettings::of(&after, version);
        contents.profiles.insert(key, (after, version));
        if let Some((key, digest)) = once {
            contents.keys.insert(key, (digest, settings.clone(), now));
        }
        Ok(Once::Done(settings))
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
        contents.revision += 1;
        Ok(Ok(()))
    }

    fn charger_profiles(&self) -> Result<Vec<ChargerProfile>, Unavailable> {
        let contents = self.lock();
        let profiles = contents.profiles.values();
        Ok(profiles.map(|(profile, _)| profile.clone()).collect())
    }
}
