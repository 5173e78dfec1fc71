//! Authorization: which key or user may use which route. All of them are held in memory and read again every few seconds,
//! so that a request never queries the database for its key: each wrong key costs one hash, and known keys work while the
//! database is unavailable.

use crate::error::ApiError;
use crate::passwords::Passwords;
use crate::sessions::{CSRF_HEADER, Credential, Session, Sessions, has_host_of_this_machine};
use crate::sign_in_limit::SignInLimit;
use axum::http::{HeaderMap, header};
use central::Timestamp;
use central::model::{
    Actor, ActorKind, ApiKey, ApiKeyHash, ApiSecret, Scope, User, UserPasswordHash,
};
use central::ports::{ApiKeys, Unavailable, UnavailableKind, Users};
use common::clock::now_ms;
use common::lock::lock;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

/// How often the keys are read: a revoked key works for this long at most, while the database is available.
pub(crate) const REFRESH_INTERVAL: Duration = Duration::from_secs(5);
/// How long keys are valid after they were last read. Then every request is refused, because a key could have been
/// revoked meanwhile.
pub(crate) const STALE_MAX: Duration = Duration::from_secs(15 * 60);
/// Uses of keys are written once in this many refreshes.
const WRITE_USES_EVERY: u32 = 12;
/// How long the start waits for the keys.
pub(crate) const START_TIMEOUT: Duration = Duration::from_secs(3);
/// The same while chargers wait for a process that takes over. Until the keys are read, requests that need one get 503.
pub(crate) const TAKEN_OVER_TIMEOUT: Duration = Duration::from_secs(1);

/// What a route requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing: health, metrics, the description of the API.
    Open,
    /// A key with this scope, as soon as there are keys.
    Needs(Scope),
}

/// Who sends a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller(pub(crate) Actor);

/// The keys and the users, as this process knows them.
pub(crate) struct Keys {
    source: Arc<dyn ApiKeys>,
    /// `None`: there are no users.
    users: Option<Arc<dyn Users>>,
    known: Mutex<Arc<Known>>,
    /// One reading at a time: one that began before a change must not replace one that has seen it.
    reading: tokio::sync::Mutex<()>,
    /// Whether requests need no key while no key exists.
    opens_without_keys: bool,
    /// Whether a request without a key must name this machine to read what needs the scope admin.
    checks_host: bool,
    /// The browsers that have signed in.
    pub(crate) sessions: Sessions,
    pub(crate) passwords: Passwords,
    pub(crate) sign_in_limit: SignInLimit,
    sign_ins: Arc<SignIns>,
}

/// Times of sign-ins that are not written yet. One thread writes them, however many users sign in while the database does
/// not answer, and at most one time per user waits.
struct SignIns {
    waiting: Mutex<BTreeMap<Uuid, Timestamp>>,
    /// The permit is held by the thread that writes, and given back with `waiting` locked.
    writer: Arc<Semaphore>,
}

impl SignIns {
    fn new() -> Self {
        Self {
            waiting: Mutex::default(),
            writer: Arc::new(Semaphore::new(1)),
        }
    }

    /// Adds a time. Returns the permit to write if no thread writes now.
    fn add(&self, id: Uuid, at: Timestamp) -> Option<OwnedSemaphorePermit> {
        let mut waiting = lock(&self.waiting);
        waiting.insert(id, at);
        Arc::clone(&self.writer).try_acquire_owned().ok()
    }

    /// Writes until no time waits. After an error the times that wait are dropped, because the database is unavailable for
    /// them too.
    fn write(&self, users: &dyn Users, permit: OwnedSemaphorePermit) {
        let mut permit = Some(permit);
        while let Some((id, at)) = self.next(&mut permit) {
            if let Err(error) = users.set_user_signed_in(id, at) {
                tracing::debug!(%error, "the times of sign-ins cannot be written");
                lock(&self.waiting).clear();
            }
        }
    }

    fn next(&self, permit: &mut Option<OwnedSemaphorePermit>) -> Option<(Uuid, Timestamp)> {
        let mut waiting = lock(&self.waiting);
        let next = waiting.pop_first();
        if next.is_none() {
            *permit = None;
        }
        next
    }
}

struct Known {
    /// When the keys were last read; `None` if they never were.
    read_at: Option<Instant>,
    /// Why the last attempt to read them failed.
    failure: Option<Unavailable>,
    /// By the hash of the key. The duration of a look-up depends on the hash of what a client sent, and discloses no
    /// secret.
    keys: HashMap<[u8; 32], Arc<KnownKey>>,
    /// By name.
    users: HashMap<String, KnownUser>,
}

/// A user, and what a sign-in needs.
#[derive(Clone)]
pub(crate) struct KnownUser {
    pub(crate) user: User,
    pub(crate) password: UserPasswordHash,
}

impl KnownUser {
    /// What a session of this user stands for: it ends when the user is removed or gets another password.
    pub(crate) fn credential(&self) -> Credential {
        Credential::User {
            name: self.user.name.clone(),
            id: self.user.id,
            password: self.password.digest(),
        }
    }
}

/// What one reading has found.
type Read = (Vec<(ApiKey, ApiKeyHash)>, Vec<(User, UserPasswordHash)>);

struct KnownKey {
    key: ApiKey,
    hash: ApiKeyHash,
    used_at: AtomicI64,
}

impl Keys {
    /// The keys in `source`, not read yet.
    pub(crate) fn new(
        source: Arc<dyn ApiKeys>,
        users: Option<Arc<dyn Users>>,
        opens_without_keys: bool,
        checks_host: bool,
    ) -> Self {
        let known = Known {
            read_at: None,
            failure: None,
            keys: HashMap::new(),
            users: HashMap::new(),
        };
        Self {
            source,
            users,
            known: Mutex::new(Arc::new(known)),
            reading: tokio::sync::Mutex::default(),
            opens_without_keys,
            checks_host,
            sessions: Sessions::default(),
            passwords: Passwords::default(),
            sign_in_limit: SignInLimit::default(),
            sign_ins: Arc::new(SignIns::new()),
        }
    }

    /// Reads the keys and users for the first time. Returns their number; `None` if the database is unavailable.
    pub(crate) async fn load(self: &Arc<Self>, limit: Duration) -> Option<usize> {
        if tokio::time::timeout(limit, self.refresh()).await.is_err() {
            self.replace(Err(Unavailable {
                component: "database",
                kind: UnavailableKind::Unreachable,
                detail: format!("no answer within {} ms", limit.as_millis()),
            }));
        }
        let known = self.known();
        known.read_at.map(|_| known.keys.len() + known.users.len())
    }

    /// Whether this request may use a route; if so, who sends it.
    pub(crate) fn check(&self, needed: Scope, headers: &HeaderMap) -> Result<Caller, ApiError> {
        let result = self.check_at(needed, headers, Timestamp(now_ms()));
        if let Err(error) = &result {
            metrics::counter!("wattpost_api_requests_refused_total", "code" => error.code())
                .increment(1);
        }
        result
    }

    fn check_at(
        &self,
        needed: Scope,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Caller, ApiError> {
        let (caller, held) = self.identify(headers, now)?;
        if held < needed {
            let Caller(actor) = &caller;
            let name = actor.name.as_deref().unwrap_or_default();
            return Err(ApiError::scope_missing(name, held, needed));
        }
        Ok(caller)
    }

    /// Who sends this request, and the scope that they have.
    pub(crate) fn identify(
        &self,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<(Caller, Scope), ApiError> {
        let known = self.fresh()?;
        if known.keys.is_empty() && known.users.is_empty() && self.opens_without_keys {
            let caller = Caller(Actor {
                kind: ActorKind::WithoutKey,
                name: None,
            });
            return Ok((caller, Scope::Admin));
        }
        let found = match self.session(headers, now) {
            Some(Session {
                credential: Credential::Key(hash),
                ..
            }) => known.keys.get(&hash),
            Some(Session {
                credential: credential @ Credential::User { .. },
                ..
            }) => return known.user_of(&credential),
            None => {
                let hash = bearer(headers)?.hash();
                let found = known.keys.get(hash.as_bytes());
                found.filter(|found| found.hash == hash)
            }
        };
        let Some(found) = found else {
            return Err(ApiError::unknown_key());
        };
        let key = &found.key;
        if let Some(at) = key.expires_at.filter(|at| *at <= now) {
            return Err(ApiError::key_expired(&key.name, at));
        }
        found.used_at.fetch_max(now.0, Ordering::Relaxed);
        let caller = Caller(Actor {
            kind: ActorKind::ApiKey,
            name: Some(key.name.clone()),
        });
        Ok((caller, key.scope))
    }

    /// Whether a request without a key may read what needs the scope admin. A foreign name that leads to this machine makes
    /// the origin of a web page this one, and such a page sends no origin when it reads.
    pub(crate) fn may_be_admin_without_key(&self, headers: &HeaderMap) -> bool {
        !self.checks_host || has_host_of_this_machine(headers)
    }

    /// The user of this name; `None` if there is none, or if the user is disabled.
    pub(crate) fn user(&self, name: &str) -> Result<Option<KnownUser>, ApiError> {
        let known = self.fresh()?;
        let user = known.users.get(name);
        Ok(user
            .filter(|known| known.user.disabled_at.is_none())
            .cloned())
    }

    /// Writes when a user has signed in. Nobody waits for it: it is only shown. While the database does not answer, one thread
    /// waits for it, and the newest time of each user.
    pub(crate) fn note_sign_in(&self, id: Uuid, at: Timestamp) {
        let Some(users) = self.users.clone() else {
            return;
        };
        let Some(permit) = self.sign_ins.add(id, at) else {
            return;
        };
        let sign_ins = Arc::clone(&self.sign_ins);
        tokio::task::spawn_blocking(move || sign_ins.write(users.as_ref(), permit));
    }

    /// What is known, if it is recent enough.
    fn fresh(&self) -> Result<Arc<Known>, ApiError> {
        let known = self.known();
        if known.read_at.is_some_and(|at| at.elapsed() < STALE_MAX) {
            return Ok(known);
        }
        let why = known.failure.clone().unwrap_or_else(|| Unavailable {
            component: "database",
            kind: UnavailableKind::Unreachable,
            detail: "the keys are not read yet".to_owned(),
        });
        Err(ApiError::keys_unavailable(&why))
    }

    /// The session of a request that has no key of its own.
    pub(crate) fn session(&self, headers: &HeaderMap, now: Timestamp) -> Option<Session> {
        let has_key = headers.contains_key(header::AUTHORIZATION);
        match has_key {
            true => None,
            false => self.sessions.find(headers, now),
        }
    }

    fn known(&self) -> Arc<Known> {
        Arc::clone(&lock(&self.known))
    }

    /// Where the keys are stored.
    pub(crate) fn source(&self) -> Arc<dyn ApiKeys> {
        Arc::clone(&self.source)
    }

    /// Where the users are stored.
    pub(crate) fn user_source(&self) -> Option<Arc<dyn Users>> {
        self.users.clone()
    }

    /// Reads the keys and the users.
    pub(crate) async fn refresh(self: &Arc<Self>) {
        let _reading = self.reading.lock().await;
        let (source, users) = (Arc::clone(&self.source), self.users.clone());
        let read = tokio::task::spawn_blocking(move || {
            let keys = source.api_keys()?;
            let users = users.map_or(Ok(Vec::new()), |users| users.users())?;
            Ok((keys, users))
        })
        .await;
        match read {
            Ok(read) => self.replace(read),
            Err(panic) => tracing::error!(%panic, "reading the API keys panicked"),
        }
    }

    fn replace(&self, read: Result<Read, Unavailable>) {
        let before = self.known();
        let after = match read {
            Ok((keys, users)) => {
                if before.failure.is_some() {
                    info!(keys = keys.len(), "the API keys are read again");
                }
                Known {
                    read_at: Some(Instant::now()),
                    failure: None,
                    keys: keys
                        .into_iter()
                        .map(|(key, hash)| {
                            let bytes = *hash.as_bytes();
                            let used_at = before.used_at(&bytes, &key);
                            let known = KnownKey { key, hash, used_at };
                            (bytes, Arc::new(known))
                        })
                        .collect(),
                    users: users
                        .into_iter()
                        .map(|(user, password)| (user.name.clone(), KnownUser { user, password }))
                        .collect(),
                }
            }
            Err(error) => {
                if before.failure.is_none() {
                    warn!(
                        %error,
                        known_keys = before.keys.len(),
                        minutes = STALE_MAX.as_secs() / 60,
                        "the API keys cannot be read; the known ones stay valid for this time"
                    );
                }
                Known {
                    read_at: before.read_at,
                    failure: Some(error),
                    keys: before.keys.clone(),
                    users: before.users.clone(),
                }
            }
        };
        *lock(&self.known) = Arc::new(after);
    }

    /// Reads the keys again and again, and writes when they were used; until stopped.
    pub(crate) async fn keep_current(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(REFRESH_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        let mut round: u32 = 0;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = ticks.tick() => {}
            }
            self.refresh().await;
            round = round.wrapping_add(1);
            if round.is_multiple_of(WRITE_USES_EVERY) {
                self.write_uses().await;
            }
        }
        self.write_uses().await;
    }

    async fn write_uses(&self) {
        let uses = self.known().unwritten_uses();
        if uses.is_empty() {
            return;
        }
        let source = Arc::clone(&self.source);
        let written = tokio::task::spawn_blocking(move || source.set_api_keys_used(&uses)).await;
        if let Ok(Err(error)) = written {
            // The next attempt writes them too: they stay later than what is stored.
            tracing::debug!(%error, "the latest uses of API keys cannot be written");
        }
    }
}

impl Known {
    /// The user whom a session stands for, with the scope that the user has now.
    fn user_of(&self, credential: &Credential) -> Result<(Caller, Scope), ApiError> {
        let Credential::User { name, .. } = credential else {
            return Err(ApiError::session_ended());
        };
        let known = self
            .users
            .get(name)
            .filter(|known| known.user.disabled_at.is_none() && known.credential() == *credential);
        let Some(KnownUser { user, .. }) = known else {
            return Err(ApiError::session_ended());
        };
        let caller = Caller(Actor {
            kind: ActorKind::User,
            name: Some(user.name.clone()),
        });
        Ok((caller, user.scope))
    }

    /// The latest use of a key that is read again: in this process, or as it is stored.
    fn used_at(&self, hash: &[u8; 32], key: &ApiKey) -> AtomicI64 {
        let here = self.keys.get(hash);
        let here = here.map_or(i64::MIN, |known| known.used_at.load(Ordering::Relaxed));
        let stored = key.last_used_at.map_or(i64::MIN, Timestamp::as_millis);
        AtomicI64::new(here.max(stored))
    }

    /// Uses that are later than what is stored; at most one per key.
    fn unwritten_uses(&self) -> Vec<(Uuid, Timestamp)> {
        let keys = self.keys.values();
        keys.filter_map(|known| {
            let used_at = known.used_at.load(Ordering::Relaxed);
            let stored = known
                .key
                .last_used_at
                .map_or(i64::MIN, Timestamp::as_millis);
            (used_at > stored).then_some((known.key.id, Timestamp(used_at)))
        })
        .collect()
    }
}

/// The key of a request.
fn bearer(headers: &HeaderMap) -> Result<ApiSecret, ApiError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Err(ApiError::no_key("The request has no key"));
    };
    if values.next().is_some() {
        return Err(ApiError::no_key(
            "The request has more than one header Authorization",
        ));
    }
    let token = value.to_str().ok().and_then(|value| value.split_once(' '));
    let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let Some((_, token)) = token else {
        return Err(ApiError::no_key(
            "The header Authorization does not have the scheme Bearer",
        ));
    };
    ApiSecret::from_text(token.trim()).ok_or_else(ApiError::unknown_key)
}

/// Hides the key from everything that prints headers.
pub(crate) fn hide_key(headers: &mut HeaderMap) {
    for (name, value) in headers.iter_mut() {
        if *name == header::AUTHORIZATION || *name == header::COOKIE || *name == CSRF_HEADER {
            value.set_sensitive(true);
        }
    }
}
