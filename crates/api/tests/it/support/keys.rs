//! API keys in memory that can be made unavailable.

use central::Timestamp;
use central::model::{ApiKey, ApiKeyHash, ApiSecret, Origin, Scope};
use central::ports::{
    ApiKeys, ChangeRequest, KeyNotAdded, KeyNotRevoked, Once, Unavailable, UnavailableKind,
};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use uuid::Uuid;

/// The port with what a test put into it.
#[derive(Debug, Default)]
pub(crate) struct MemoryKeys {
    keys: Mutex<Vec<(ApiKey, ApiKeyHash)>>,
    is_away: Mutex<bool>,
    /// Calls that failed because the database is away.
    failed_calls: AtomicU64,
}

impl MemoryKeys {
    /// Adds a key and returns its secret.
    pub(crate) fn add(&self, name: &str, scope: Scope, expires_at: Option<Timestamp>) -> String {
        let id = common::id::new_v7();
        let mut random = [9; 32];
        random[..16].copy_from_slice(id.as_bytes());
        let secret = ApiSecret::from_random(random);
        let key = ApiKey {
            id,
            name: name.to_owned(),
            scope,
            created_at: Timestamp(0),
            expires_at,
            last_used_at: None,
        };
        let mut keys = self.keys.lock().expect("not poisoned");
        keys.push((key, secret.hash()));
        secret.expose().to_owned()
    }

    pub(crate) fn remove(&self, name: &str) {
        let mut keys = self.keys.lock().expect("not poisoned");
        keys.retain(|(key, _)| key.name != name);
    }

    pub(crate) fn set_away(&self, is_away: bool) {
        *self.is_away.lock().expect("not poisoned") = is_away;
    }

    pub(crate) fn last_used_at(&self, name: &str) -> Option<Timestamp> {
        let keys = self.keys.lock().expect("not poisoned");
        let found = keys.iter().find(|(key, _)| key.name == name);
        found.and_then(|(key, _)| key.last_used_at)
    }

    pub(crate) fn failed_calls(&self) -> u64 {
        self.failed_calls.load(Ordering::SeqCst)
    }

    fn available(&self) -> Result<(), Unavailable> {
        if *self.is_away.lock().expect("not poisoned") {
            self.failed_calls.fetch_add(1, Ordering::SeqCst);
            return Err(Unavailable {
                component: "database",
                kind: UnavailableKind::Unreachable,
                detail: "the test took it away".to_owned(),
            });
        }
        Ok(())
    }
}

impl ApiKeys for MemoryKeys {
    fn add_api_key(
        &self,
        key: &ApiKey,
        hash: &ApiKeyHash,
        _: &ChangeRequest,
    ) -> Result<Once<ApiKey, KeyNotAdded>, Unavailable> {
        self.available()?;
        let mut keys = self.keys.lock().expect("not poisoned");
        if keys.iter().any(|(known, _)| known.name == key.name) {
            return Ok(Once::Refused(KeyNotAdded::NameTaken));
        }
        keys.push((key.clone(), *hash));
        Ok(Once::Done(key.clone()))
    }

    fn revoke_api_key(
        &self,
        name: &str,
        keeps_admin: bool,
        _: &Origin,
    ) -> Result<Result<(), KeyNotRevoked>, Unavailable> {
        self.available()?;
        let keys = self.keys.lock().expect("not poisoned").clone();
        let Some((key, _)) = keys.iter().find(|(key, _)| key.name == name) else {
            return Ok(Err(KeyNotRevoked::Unknown));
        };
        let mut admins = keys.iter().filter(|(key, _)| key.scope == Scope::Admin);
        if keeps_admin && key.scope == Scope::Admin && admins.nth(1).is_none() {
            return Ok(Err(KeyNotRevoked::LastAdmin));
        }
        self.remove(name);
        Ok(Ok(()))
    }

    fn api_keys(&self) -> Result<Vec<(ApiKey, ApiKeyHash)>, Unavailable> {
        self.available()?;
        Ok(self.keys.lock().expect("not poisoned").clone())
    }

    fn set_api_keys_used(&self, used: &[(Uuid, Timestamp)]) -> Result<(), Unavailable> {
        self.available()?;
        let mut keys = self.keys.lock().expect("not poisoned");
        for (key, _) in keys.iter_mut() {
            if let Some((_, at)) = used.iter().find(|(id, _)| *id == key.id) {
                key.last_used_at = Some(*at);
            }
        }
        Ok(())
    }
}
