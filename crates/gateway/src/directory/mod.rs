//! The known chargers and tokens, kept in memory so that chargers are answered without a query.
//!
//! A snapshot is loaded from the database every few seconds, replaced as a whole, and kept in the data directory, so
//! that a gateway that starts while the database is unavailable knows its chargers. Only a token that is not in the
//! snapshot is looked up in the database, with a short deadline, and not while the database is known to be
//! unavailable.
//!
//! Without a snapshot (the database was never reached, and no kept snapshot can be read) it is not known which chargers
//! are known. The policy for unknown chargers must not decide then: it would accept a charger without its password, or
//! refuse a known one. So handshakes get 503 until there is a snapshot ([`Directory::is_loaded`]). An empty snapshot is
//! a snapshot.

mod credentials;
mod kept;
mod log_ins;
mod lookup;
mod snapshot;

pub(crate) use credentials::{Credentials, PasswordMark};
pub(crate) use snapshot::Change;

use arc_swap::ArcSwap;
use central::model::ChargerKey;
use central::ports::{
    ChargerProfile, DirectorySnapshot, DirectorySource, PasswordRotations, Token, Unavailable,
};
use common::lock::lock;
use kept::{age_of, write_atomically};
use log_ins::LogIns;
use lookup::LOOKUPS_MAX;
use snapshot::Snapshot;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

const FILE: &str = "directory.json";
/// Wrong passwords make the directory be read again this often at most.
const REREAD_PAUSE: Duration = Duration::from_secs(1);
/// How long a start waits for the source.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FirstLoad {
    /// With a kept snapshot.
    kept: Duration,
    /// Without one.
    none: Duration,
}

impl FirstLoad {
    pub(crate) const USUAL: Self = Self {
        kept: Duration::from_secs(1),
        none: Duration::from_secs(10),
    };
    /// While the chargers of the process before wait.
    pub(crate) const TAKEN_OVER: Self = Self {
        kept: Duration::from_millis(200),
        none: Duration::from_secs(1),
    };
}

/// The gateway's directory.
pub(crate) struct Directory {
    snapshot: ArcSwap<Snapshot>,
    source: Arc<dyn DirectorySource>,
    file: PathBuf,
    refresh: Duration,
    lookup_timeout: Duration,
    lookups: Arc<Semaphore>,
    is_unavailable: AtomicBool,
    /// Why the last load failed, if it did.
    failure: Mutex<Option<Unavailable>>,
    /// Whether the source has answered since the start; until then its revision is not compared with the kept one,
    /// which may have come from another database. Locked during a load, so that a slow load cannot overwrite a newer
    /// snapshot.
    has_answered: Mutex<bool>,
    /// Changes that were loaded and not yet handed to `on_change`.
    changes: Mutex<Vec<Change>>,
    /// When the source last confirmed the snapshot.
    confirmed: Mutex<Option<Confirmed>>,
    log_ins: LogIns,
    /// Held during a load for a log-in; when the last one began.
    log_in_load: Arc<tokio::sync::Mutex<Option<Instant>>>,
    /// Held while a log-in is written, so that any number of them uses one blocking thread.
    log_in_write: Arc<tokio::sync::Mutex<()>>,
    /// Wakes [`Directory::keep_fresh`].
    wake: tokio::sync::Notify,
}

/// A moment, and how long ago the source had confirmed the snapshot by then.
#[derive(Clone, Copy)]
struct Confirmed {
    at: Instant,
    age: Duration,
}

impl Directory {
    /// Loads the directory from its source, or the kept snapshot if the source is unavailable or slow. Blocks for a
    /// bounded time.
    pub(crate) fn open(
        source: Arc<dyn DirectorySource>,
        rotations: Option<Arc<dyn PasswordRotations>>,
        data_dir: &Path,
        refresh: Duration,
        lookup_timeout: Duration,
        first_load: FirstLoad,
    ) -> Arc<Self> {
        let file = data_dir.join(FILE);
        let mut confirmed = None;
        let kept = match std::fs::read(&file).map(|bytes| serde_json::from_slice(&bytes)) {
            Ok(Ok(snapshot)) => {
                confirmed = Some(Confirmed {
                    at: Instant::now(),
                    age: age_of(&file),
                });
                Snapshot::new(snapshot)
            }
            Ok(Err(error)) => {
                tracing::warn!(file = %file.display(), %error, "the kept directory is damaged and is not used; it is loaded from the database");
                Snapshot::none()
            }
            Err(error) => {
                if error.kind() != std::io::ErrorKind::NotFound {
                    tracing::warn!(file = %file.display(), %error, "the kept directory cannot be read");
                }
                Snapshot::none()
            }
        };
        let wait_max = match kept.revision {
            Some(_) => first_load.kept,
            None => first_load.none,
        };
        let directory = Arc::new(Self {
            snapshot: ArcSwap::from_pointee(kept),
            source,
            file,
            refresh,
            lookup_timeout,
            lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)),
            is_unavailable: AtomicBool::new(false),
            failure: Mutex::default(),
            has_answered: Mutex::new(false),
            changes: Mutex::default(),
            confirmed: Mutex::new(confirmed),
            log_ins: LogIns::open(data_dir, rotations),
            log_in_load: Arc::default(),
            log_in_write: Arc::default(),
            wake: tokio::sync::Notify::new(),
        });
        let (loaded, is_loaded) = std::sync::mpsc::channel();
        std::thread::spawn({
            let directory = Arc::clone(&directory);
            move || {
                directory.load();
                let _ = loaded.send(());
            }
        });
        if is_loaded.recv_timeout(wait_max).is_err() {
            tracing::warn!("the directory is slow to load; starting with the kept snapshot");
        }
        if !directory.is_loaded() {
            tracing::error!(
                file = %directory.file.display(),
                "no charger may connect: the database was never reached and no directory is kept; handshakes get 503 \
                 until the database answers"
            );
        }
        directory
    }

    /// The revision of the snapshot; `None` without one. What is read of the directory after this call is of this revision or
    /// of a later one.
    pub(crate) fn revision(&self) -> Option<u64> {
        self.snapshot.load().revision
    }

    /// Whether there is a snapshot, loaded or kept. Without one no charger may connect, and none may be treated as
    /// unknown.
    pub(crate) fn is_loaded(&self) -> bool {
        self.revision().is_some()
    }

    /// How long ago the source last confirmed the snapshot; for a kept one, how long ago it was written. `None` without
    /// a snapshot.
    pub(crate) fn age(&self) -> Option<Duration> {
        let confirmed = *lock(&self.confirmed);
        confirmed.map(|confirmed| confirmed.at.elapsed() + confirmed.age)
    }

    /// Whether any charger was added.
    pub(crate) fn has_chargers(&self) -> bool {
        !self.snapshot.load().chargers.is_empty()
    }

    /// The profile of a charger, if it is known.
    pub(crate) fn charger(&self, key: &ChargerKey) -> Option<Arc<ChargerProfile>> {
        self.snapshot.load().chargers.get(key).cloned()
    }

    /// The passwords that admit a charger. After it has logged in here with a new one, the old one does not.
    pub(crate) fn credentials(&self, key: &ChargerKey) -> Credentials {
        let known = self.snapshot.load();
        let Some(profile) = known.chargers.get(key) else {
            return Credentials::default();
        };
        let new = known.new_passwords.get(key);
        // A log-in that was noted after its rotation had ended says nothing of the password that counts now.
        match new.filter(|new| self.log_ins.has(key, new)) {
            Some(seen) => Credentials {
                current: Some(seen.clone()),
                new: None,
            },
            None => Credentials {
                current: profile.password_hash.clone(),
                new: new.cloned(),
            },
        }
    }

    /// The charger has logged in with the new password of this hash. Returns when that survives a crash of this gateway;
    /// if the disk refuses, only this process remembers it. The database is told soon.
    pub(crate) async fn logged_in(self: &Arc<Self>, key: &ChargerKey, hash: &str) {
        let (directory, key, hash) = (Arc::clone(self), key.clone(), hash.to_owned());
        let writing = Arc::clone(&self.log_in_write).lock_owned().await;
        let writing = tokio::task::spawn_blocking(move || {
            directory.log_ins.add(key, hash);
            drop(writing);
        });
        let _ = writing.await;
        self.wake.notify_one();
    }

    /// Reads the directory once more because a password was wrong: it may have been changed since the last load. There is
    /// one load per [`REREAD_PAUSE`], and a caller waits for a bounded time.
    pub(crate) async fn reread(self: &Arc<Self>) {
        self.load_unless(|last| last.elapsed() < REREAD_PAUSE).await;
    }

    /// Reads the directory before the first log-in with a new password is accepted: the charger may have refused that
    /// password meanwhile, or a person set another one. If the source does not answer in time, the last snapshot is used.
    pub(crate) async fn confirm(self: &Arc<Self>) {
        let asked = Instant::now();
        self.load_unless(|last| last > asked).await;
    }

    /// Loads the directory, unless the one that began last is enough. Any number of callers share one load and one
    /// blocking thread, also while the source hangs, and each waits for twice the deadline of a look-up at most.
    async fn load_unless(self: &Arc<Self>, is_enough: impl FnOnce(Instant) -> bool) {
        if self.is_unavailable.load(Ordering::Relaxed) {
            return;
        }
        let gate = Arc::clone(&self.log_in_load).lock_owned();
        let Ok(mut last) = tokio::time::timeout(self.lookup_timeout, gate).await else {
            return;
        };
        if last.is_some_and(is_enough) {
            return;
        }
        let directory = Arc::clone(self);
        let loading = tokio::task::spawn_blocking(move || {
            *last = Some(Instant::now());
            directory.load();
            drop(last);
        });
        let _ = tokio::time::timeout(self.lookup_timeout, loading).await;
        self.wake.notify_one();
    }

    /// Reads the directory before a command with a password is sent, so that this gateway accepts that password, also
    /// after a restart without the database. Blocks. Returns whether the source has answered.
    pub(crate) fn load_for_command(&self) -> bool {
        self.load()
    }

    /// A token, if it is in the snapshot.
    pub(crate) fn token(&self, id: &str) -> Option<Token> {
        let known = self.snapshot.load();
        if let Some(token) = known.tokens.get(id) {
            return Some(token.clone());
        }
        known.tokens.get(&id.to_lowercase()).cloned()
    }

    /// Whether a token of the snapshot may be in one transaction only, by its own rule.
    pub(crate) fn has_refusing_token(&self) -> bool {
        self.snapshot.load().has_refusing_token
    }

    /// Reloads the snapshot regularly and calls `on_change` for each change; never returns.
    pub(crate) async fn keep_fresh(self: Arc<Self>, on_change: impl Fn(&Change)) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.refresh) => {}
                () = self.wake.notified() => {}
            }
            let directory = Arc::clone(&self);
            // A source that hangs holds this one thread; look-ups are answered `CannotAsk` meanwhile.
            let loading = tokio::task::spawn_blocking(move || {
                directory.log_ins.report();
                directory.load()
            });
            tokio::pin!(loading);
            if tokio::time::timeout(self.refresh, &mut loading)
                .await
                .is_err()
            {
                self.is_unavailable.store(true, Ordering::Relaxed);
                let _ = loading.await;
            }
            let changes = std::mem::take(&mut *lock(&self.changes));
            changes.iter().for_each(&on_change);
        }
    }

    fn load(&self) -> bool {
        let mut has_answered = lock(&self.has_answered);
        let revision = self.snapshot.load().revision;
        let failure = match self.source.load(revision.filter(|_| *has_answered)) {
            Ok(None) => {
                self.log_ins.forget_ended(&self.snapshot.load());
                None
            }
            Ok(Some(snapshot)) => {
                self.keep(&snapshot);
                let new = Arc::new(Snapshot::new(snapshot));
                let old = self.snapshot.swap(Arc::clone(&new));
                self.log_ins.forget_ended(&new);
                lock(&self.changes).extend(old.changes_to(&new));
                if old.revision.is_none() {
                    tracing::info!(
                        chargers = new.chargers.len(),
                        tokens = new.tokens.len(),
                        "the directory is loaded: chargers may connect"
                    );
                }
                None
            }
            Err(unavailable) => Some(unavailable),
        };
        if failure.is_none() {
            *has_answered = true;
            *lock(&self.confirmed) = Some(Confirmed {
                at: Instant::now(),
                age: Duration::ZERO,
            });
        }
        self.is_unavailable
            .store(failure.is_some(), Ordering::Relaxed);
        let mut last = lock(&self.failure);
        match (&*last, &failure) {
            (None, Some(unavailable)) if self.is_loaded() => {
                tracing::warn!(reason = %unavailable, "the directory cannot be refreshed; the last snapshot stays in use");
            }
            (None, Some(unavailable)) => {
                tracing::warn!(reason = %unavailable, "the directory cannot be loaded")
            }
            (Some(_), None) => tracing::info!("the directory can be refreshed again"),
            (None, None) | (Some(_), Some(_)) => {}
        }
        let has_answered = failure.is_none();
        *last = failure;
        has_answered
    }

    fn keep(&self, snapshot: &DirectorySnapshot) {
        if let Err(error) = write_atomically(&self.file, snapshot) {
            tracing::warn!(file = %self.file.display(), %error, "the directory cannot be kept for the next start");
        }
    }

    /// How many chargers and how many tokens it knows.
    pub(crate) fn known(&self) -> (usize, usize) {
        let known = self.snapshot.load();
        (known.chargers.len(), known.tokens.len())
    }

    /// A short description, and why the last load failed, if it did.
    pub(crate) fn health(&self) -> (String, Option<Unavailable>) {
        let known = self.snapshot.load();
        let description = match known.revision {
            Some(_) => format!(
                "{} chargers and {} tokens known",
                known.chargers.len(),
                known.tokens.len()
            ),
            None => "no directory was loaded since the start, and none is kept".to_owned(),
        };
        (description, lock(&self.failure).clone())
    }
}

#[cfg(test)]
mod tests;
