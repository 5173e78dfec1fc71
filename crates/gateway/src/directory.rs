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

use crate::clock::wall_clock;
use crate::connection::control::Control;
use arc_swap::ArcSwap;
use central::model::{ChargerKey, ConcurrentTransactions};
use central::ports::{
    ChargerProfile, DirectorySnapshot, DirectorySource, PasswordRotations, Token, Unavailable,
};
use central::station::{Fact, TokenAnswer};
use common::lock::lock;
use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

const FILE: &str = "directory.json";
/// New passwords with which chargers have logged in here, as hashes, until the database has the end of their rotations.
const SEEN_FILE: &str = "new-passwords.json";
/// Wrong passwords make the directory be read again this often at most.
const REREAD_PAUSE: Duration = Duration::from_secs(1);
/// Concurrent token look-ups; each holds a blocking thread while the database hangs.
const LOOKUPS_MAX: usize = 8;
/// How long the start waits for the source without a kept snapshot.
const FIRST_LOAD: Duration = Duration::from_secs(10);
/// How long the start waits for the source with a kept snapshot.
const FIRST_LOAD_KEPT: Duration = Duration::from_secs(1);

/// A change of one charger.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// Which charger.
    pub(crate) key: ChargerKey,
    /// It was removed: it must connect again. After another change it must only if its password is no longer accepted
    /// ([`Credentials::admit`]).
    pub(crate) is_removed: bool,
}

/// The passwords that admit a charger, as Argon2 hashes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Credentials {
    /// `None` if no password is required.
    pub(crate) current: Option<String>,
    /// The one that was sent to the charger, while it is not known whether the charger uses it (rule S-21).
    pub(crate) new: Option<String>,
}

impl Credentials {
    /// Whether a connection that was admitted by this password, or without one, may stay.
    pub(crate) fn admit(&self, by: Option<PasswordMark>) -> bool {
        let mark = |hash: &String| PasswordMark::of(hash);
        match by {
            None => self.current.is_none(),
            Some(by) => [&self.current, &self.new]
                .into_iter()
                .flatten()
                .any(|hash| mark(hash) == by),
        }
    }
}

/// What a connection remembers of the hash that admitted it: 8 bytes of its digest, because there is one for each
/// connection. Stored hashes have random salts, so no two of one charger have the same by chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct PasswordMark(u64);

impl PasswordMark {
    pub(crate) fn of(hash: &str) -> Self {
        let digest = blake3::hash(hash.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&digest.as_bytes()[..8]);
        Self(u64::from_le_bytes(first))
    }
}

struct Snapshot {
    chargers: HashMap<ChargerKey, Arc<ChargerProfile>>,
    new_passwords: HashMap<ChargerKey, String>,
    tokens: HashMap<String, Token>,
    /// Whether a token may be in one transaction only, by its own rule.
    has_refusing_token: bool,
    revision: Option<u64>,
}

impl Snapshot {
    fn new(snapshot: DirectorySnapshot) -> Self {
        let mut rules = snapshot.tokens.values().map(|token| token.concurrent);
        Self {
            has_refusing_token: rules.any(|rule| rule == Some(ConcurrentTransactions::Refuse)),
            chargers: snapshot
                .chargers
                .into_iter()
                .map(|(key, profile)| (key, Arc::new(profile)))
                .collect(),
            new_passwords: snapshot.new_passwords,
            tokens: snapshot.tokens,
            revision: Some(snapshot.revision),
        }
    }

    fn changes_to(&self, new: &Self) -> Vec<Change> {
        let removed = self
            .chargers
            .keys()
            .filter(|key| !new.chargers.contains_key(*key));
        let removed = removed.map(|key| Change {
            key: key.clone(),
            is_removed: true,
        });
        let changed = new.chargers.iter().filter_map(|(key, profile)| {
            let is_same = self.chargers.get(key) == Some(profile)
                && self.new_passwords.get(key) == new.new_passwords.get(key);
            (!is_same).then(|| Change {
                key: key.clone(),
                is_removed: false,
            })
        });
        removed.chain(changed).collect()
    }
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
    /// Where the log-ins with new passwords are reported; without it none is.
    rotations: Option<Arc<dyn PasswordRotations>>,
    seen_file: PathBuf,
    /// The hash of the new password with which each of these chargers has logged in here: the only one that admits it,
    /// until the loaded directory no longer has it as a new one.
    seen: Mutex<HashMap<ChargerKey, String>>,
    /// Held during a load after a wrong password; when the last one began.
    reread: Arc<tokio::sync::Mutex<Option<Instant>>>,
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
    ) -> Arc<Self> {
        let file = data_dir.join(FILE);
        let seen_file = data_dir.join(SEEN_FILE);
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
                no_snapshot()
            }
            Err(error) => {
                if error.kind() != std::io::ErrorKind::NotFound {
                    tracing::warn!(file = %file.display(), %error, "the kept directory cannot be read");
                }
                no_snapshot()
            }
        };
        let wait_max = match kept.revision {
            Some(_) => FIRST_LOAD_KEPT,
            None => FIRST_LOAD,
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
            rotations,
            seen: Mutex::new(read_seen(&seen_file)),
            seen_file,
            reread: Arc::default(),
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

    /// Whether there is a snapshot, loaded or kept. Without one no charger may connect, and none may be treated as
    /// unknown.
    pub(crate) fn is_loaded(&self) -> bool {
        self.snapshot.load().revision.is_some()
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
        match new.filter(|new| lock(&self.seen).get(key) == Some(*new)) {
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
        let writing = tokio::task::spawn_blocking(move || {
            let mut seen = lock(&directory.seen);
            seen.insert(key, hash);
            directory.keep_seen(&seen);
        });
        let _ = writing.await;
        self.wake.notify_one();
    }

    /// Reads the directory once more because a password was wrong: it may have been changed since the last load. Any
    /// number of callers share one load, there is one load per [`REREAD_PAUSE`], and a caller waits for a bounded time.
    pub(crate) async fn reread(self: &Arc<Self>) {
        if self.is_unavailable.load(Ordering::Relaxed) {
            return;
        }
        let gate = Arc::clone(&self.reread).lock_owned();
        let Ok(mut last) = tokio::time::timeout(self.lookup_timeout, gate).await else {
            return;
        };
        if last.is_some_and(|last| last.elapsed() < REREAD_PAUSE) {
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

    /// Reads the directory before the first log-in with a new password is accepted: the charger may have refused that
    /// password meanwhile, or a person set another one. If the source does not answer in time, the last snapshot is used.
    pub(crate) async fn confirm(self: &Arc<Self>) {
        if self.is_unavailable.load(Ordering::Relaxed) {
            return;
        }
        let directory = Arc::clone(self);
        let loading = tokio::task::spawn_blocking(move || directory.load());
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

    /// Looks up a token that is not in the snapshot, and sends the connection the answer, or that there is none within
    /// the deadline. `of_known` makes the answer about a token that was found.
    pub(crate) fn ask(
        self: &Arc<Self>,
        control: &Arc<Control>,
        question_id: u64,
        id: String,
        of_known: impl FnOnce(Token) -> TokenAnswer + Send + 'static,
    ) {
        let send = move |control: &Control, answer| {
            control.answer(Fact::Token {
                question_id,
                answer,
            });
        };
        if self.is_unavailable.load(Ordering::Relaxed) {
            send(control, TokenAnswer::CannotAsk);
            return;
        }
        let (directory, control) = (Arc::clone(self), Arc::clone(control));
        tokio::spawn(async move {
            let lookup = tokio::time::timeout(
                directory.lookup_timeout,
                Arc::clone(&directory).ask_source(id),
            );
            let answer = match lookup.await.unwrap_or(TokenAnswer::CannotAsk) {
                TokenAnswer::Known(token) => of_known(token),
                other => other,
            };
            send(&control, answer);
        });
    }

    async fn ask_source(self: Arc<Self>, id: String) -> TokenAnswer {
        let Ok(permit) = Arc::clone(&self.lookups).acquire_owned().await else {
            return TokenAnswer::CannotAsk;
        };
        let lookup = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            self.source.token(&id)
        });
        match lookup.await {
            Ok(Ok(Some(token))) => TokenAnswer::Known(token),
            Ok(Ok(None)) => TokenAnswer::Unknown,
            Ok(Err(_)) | Err(_) => TokenAnswer::CannotAsk,
        }
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
                directory.report_seen();
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

    /// Tells the database of log-ins with new passwords. What cannot be told now is told at the next refresh.
    fn report_seen(&self) {
        let Some(rotations) = &self.rotations else {
            return;
        };
        let seen: Vec<(ChargerKey, String)> = lock(&self.seen)
            .iter()
            .map(|(key, hash)| (key.clone(), hash.clone()))
            .collect();
        for (key, hash) in seen {
            if let Err(error) = rotations.logged_in(&key, &hash, wall_clock()) {
                tracing::debug!(charger.key = key.as_str(), %error, "a log-in with a new password cannot be stored yet");
                return;
            }
        }
    }

    /// Forgets the log-ins of rotations that have ended. The source has just confirmed the snapshot.
    fn forget_seen(&self, confirmed: &Snapshot) {
        let mut seen = lock(&self.seen);
        let before = seen.len();
        seen.retain(|key, hash| confirmed.new_passwords.get(key) == Some(hash));
        if seen.len() < before {
            self.keep_seen(&seen);
        }
    }

    fn keep_seen(&self, seen: &HashMap<ChargerKey, String>) {
        if let Err(error) = write_atomically(&self.seen_file, seen) {
            tracing::warn!(file = %self.seen_file.display(), %error, "log-ins with new passwords cannot be kept for the next start");
        }
    }

    fn load(&self) -> bool {
        let mut has_answered = lock(&self.has_answered);
        let revision = self.snapshot.load().revision;
        let failure = match self.source.load(revision.filter(|_| *has_answered)) {
            Ok(None) => {
                self.forget_seen(&self.snapshot.load());
                None
            }
            Ok(Some(snapshot)) => {
                self.keep(&snapshot);
                let new = Arc::new(Snapshot::new(snapshot));
                let old = self.snapshot.swap(Arc::clone(&new));
                self.forget_seen(&new);
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

    /// A short description, and why the last load failed, if it did.
    /// How many chargers and how many tokens it knows.
    pub(crate) fn known(&self) -> (usize, usize) {
        let known = self.snapshot.load();
        (known.chargers.len(), known.tokens.len())
    }

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

/// How long ago a file was written; zero if the clock was set back since.
fn age_of(file: &Path) -> Duration {
    let written = std::fs::metadata(file).and_then(|about| about.modified());
    written
        .ok()
        .and_then(|written| written.elapsed().ok())
        .unwrap_or_default()
}

fn no_snapshot() -> Snapshot {
    Snapshot {
        chargers: HashMap::new(),
        new_passwords: HashMap::new(),
        tokens: HashMap::new(),
        has_refusing_token: false,
        revision: None,
    }
}

/// The log-ins that the last process has kept; none if the file is missing or damaged: then both passwords are accepted
/// until the next log-in.
fn read_seen(file: &Path) -> HashMap<ChargerKey, String> {
    let bytes = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) => {
            if error.kind() != std::io::ErrorKind::NotFound {
                tracing::warn!(file = %file.display(), %error, "the kept log-ins with new passwords cannot be read");
            }
            return HashMap::new();
        }
    };
    serde_json::from_slice(&bytes).unwrap_or_else(|error| {
        tracing::warn!(file = %file.display(), %error, "the kept log-ins with new passwords are damaged and are not used");
        HashMap::new()
    })
}

/// Replaces the file so that after a power cut either the old or the new one is there, complete. Only its owner may
/// read it: it holds password hashes.
fn write_atomically(file: &Path, snapshot: &impl serde::Serialize) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let bytes = serde_json::to_vec(snapshot)?;
    let temporary = file.with_extension("json.new");
    let mut out = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    out.write_all(&bytes)?;
    out.sync_all()?;
    std::fs::rename(&temporary, file)?;
    let directory = file.parent().unwrap_or(Path::new("."));
    std::fs::File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use central::ports::{Registration, TokenStatus, UnavailableKind};

    #[derive(Default)]
    struct Source {
        snapshot: Mutex<Option<DirectorySnapshot>>,
    }

    impl DirectorySource for Source {
        fn running(
            &self,
            _: bool,
            _: central::Timestamp,
        ) -> Result<Vec<central::running::RunningTransaction>, Unavailable> {
            Ok(Vec::new())
        }

        fn load(&self, known: Option<u64>) -> Result<Option<DirectorySnapshot>, Unavailable> {
            let snapshot = self.snapshot.lock().expect("no panic").clone();
            match snapshot {
                Some(snapshot) if Some(snapshot.revision) == known => Ok(None),
                Some(snapshot) => Ok(Some(snapshot)),
                None => Err(Unavailable {
                    component: "database",
                    kind: UnavailableKind::Locked,
                    detail: "test".into(),
                }),
            }
        }

        fn token(&self, _id: &str) -> Result<Option<Token>, Unavailable> {
            Ok(None)
        }
    }

    fn snapshot() -> DirectorySnapshot {
        let profile = ChargerProfile::new("CP-1");
        let token = Token {
            id: "AbC".into(),
            status: TokenStatus::Accepted,
            expires_at: None,
            group_id: None,
            ..Token::accepted("")
        };
        DirectorySnapshot {
            chargers: HashMap::from([(ChargerKey::of("cp-1"), profile)]),
            new_passwords: HashMap::new(),
            tokens: HashMap::from([("abc".into(), token)]),
            revision: 7,
        }
    }

    /// A password that was set directly while a log-in with a rotated one was being checked is the only one: the log-in
    /// that comes late must not keep it out.
    #[tokio::test]
    async fn a_late_log_in_of_a_rotation_that_has_ended_counts_for_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let source = Arc::new(Source::default());
        let key = ChargerKey::of("cp-1");
        let mut content = snapshot();
        content.new_passwords.insert(key.clone(), "rotated".into());
        *source.snapshot.lock().expect("no panic") = Some(content.clone());
        let directory = open(&source, dir.path());
        assert_eq!(directory.credentials(&key).new.as_deref(), Some("rotated"));

        content.new_passwords.clear();
        let profile = content.chargers.get_mut(&key).expect("is there");
        profile.password_hash = Some("direct".into());
        content.revision += 1;
        *source.snapshot.lock().expect("no panic") = Some(content);
        directory.load();
        directory.logged_in(&key, "rotated").await;
        let direct = Credentials {
            current: Some("direct".into()),
            new: None,
        };
        assert_eq!(directory.credentials(&key), direct);
        // Nothing changes any more, and what was kept is forgotten all the same.
        directory.load();
        assert_eq!(directory.credentials(&key), direct);
        assert!(lock(&directory.seen).is_empty());
        assert!(read_seen(&dir.path().join(SEEN_FILE)).is_empty());
    }

    fn open(source: &Arc<Source>, dir: &Path) -> Arc<Directory> {
        let source = Arc::clone(source);
        Directory::open(
            source,
            None,
            dir,
            Duration::from_secs(1),
            Duration::from_secs(1),
        )
    }

    #[test]
    fn a_gateway_started_while_the_database_is_unavailable_knows_its_chargers() {
        let dir = tempfile::tempdir().expect("a directory");
        let source = Arc::new(Source::default());
        *source.snapshot.lock().expect("no panic") = Some(snapshot());
        assert!(
            open(&source, dir.path())
                .charger(&ChargerKey::of("cp-1"))
                .is_some()
        );

        *source.snapshot.lock().expect("no panic") = None;
        let directory = open(&source, dir.path());
        assert!(directory.charger(&ChargerKey::of("cp-1")).is_some());
        assert!(directory.token("ABC").is_some());
        assert!(directory.token("unknown").is_none());
        let (words, trouble) = directory.health();
        assert_eq!(words, "1 chargers and 1 tokens known");
        assert!(trouble.is_some());
    }

    #[test]
    fn a_changed_or_removed_charger_is_reported() {
        let old = Snapshot::new(snapshot());
        let mut changed = snapshot();
        let profile = changed
            .chargers
            .get_mut(&ChargerKey::of("cp-1"))
            .expect("is there");
        profile.registration = Registration::Pending;
        let change = |charger_id: &str, is_removed| Change {
            key: ChargerKey::of(charger_id),
            is_removed,
        };
        let pending = Snapshot::new(changed.clone());
        assert_eq!(old.changes_to(&old), []);
        assert_eq!(old.changes_to(&pending), [change("cp-1", false)]);
        let profile = changed
            .chargers
            .get_mut(&ChargerKey::of("cp-1"))
            .expect("is there");
        profile.password_hash = Some("new".into());
        assert_eq!(
            pending.changes_to(&Snapshot::new(changed.clone())),
            [change("cp-1", false)]
        );
        let password = Snapshot::new(changed.clone());
        let key = ChargerKey::of("cp-1");
        changed.new_passwords.insert(key, "newer".into());
        assert_eq!(
            password.changes_to(&Snapshot::new(changed)),
            [change("cp-1", false)]
        );
        assert_eq!(old.changes_to(&no_snapshot()), [change("cp-1", true)]);
    }

    #[test]
    fn a_damaged_kept_directory_counts_as_no_snapshot() {
        let dir = tempfile::tempdir().expect("a directory");
        for damaged in [&b"{\"chargers\": {"[..], b"", b"{}", b"\0\0\0\0"] {
            std::fs::write(dir.path().join(FILE), damaged).expect("writes");
            let directory = open(&Arc::new(Source::default()), dir.path());
            assert!(directory.charger(&ChargerKey::of("cp-1")).is_none());
            assert!(!directory.is_loaded(), "{damaged:?}");
            assert_eq!(directory.age(), None);
            let (words, trouble) = directory.health();
            assert!(words.starts_with("no directory was loaded"), "{words}");
            assert!(trouble.is_some());
        }
    }

    #[test]
    fn an_empty_snapshot_is_a_snapshot() {
        let dir = tempfile::tempdir().expect("a directory");
        let source = Arc::new(Source::default());
        *source.snapshot.lock().expect("no panic") = Some(DirectorySnapshot::default());
        let directory = open(&source, dir.path());
        assert!(directory.is_loaded() && directory.age().is_some());
    }

    #[test]
    fn a_kept_directory_of_another_database_with_the_same_revision_is_replaced() {
        let dir = tempfile::tempdir().expect("a directory");
        let source = Arc::new(Source::default());
        *source.snapshot.lock().expect("no panic") = Some(snapshot());
        assert!(
            open(&source, dir.path())
                .charger(&ChargerKey::of("cp-1"))
                .is_some()
        );

        let other = DirectorySnapshot {
            chargers: HashMap::new(),
            ..snapshot()
        };
        *source.snapshot.lock().expect("no panic") = Some(other);
        let directory = open(&source, dir.path());
        assert!(directory.is_loaded());
        assert!(directory.charger(&ChargerKey::of("cp-1")).is_none());
    }

    /// Answers the first load when the test says so.
    struct Slow {
        gate: Mutex<std::sync::mpsc::Receiver<()>>,
        snapshot: DirectorySnapshot,
    }

    impl DirectorySource for Slow {
        fn running(
            &self,
            _: bool,
            _: central::Timestamp,
        ) -> Result<Vec<central::running::RunningTransaction>, Unavailable> {
            Ok(Vec::new())
        }

        fn load(&self, _known: Option<u64>) -> Result<Option<DirectorySnapshot>, Unavailable> {
            let _ = self.gate.lock().expect("no panic").recv();
            Ok(Some(self.snapshot.clone()))
        }

        fn token(&self, _id: &str) -> Result<Option<Token>, Unavailable> {
            Ok(None)
        }
    }

    /// A charger that was accepted by the kept directory must reconnect when the first load, slower than the start, has
    /// another password for it.
    #[tokio::test]
    async fn changes_of_a_slow_first_load_are_reported_too() {
        let dir = tempfile::tempdir().expect("a directory");
        let source = Arc::new(Source::default());
        *source.snapshot.lock().expect("no panic") = Some(snapshot());
        drop(open(&source, dir.path()));

        let mut changed = snapshot();
        let profile = changed
            .chargers
            .get_mut(&ChargerKey::of("cp-1"))
            .expect("is there");
        profile.password_hash = Some("new".into());
        let (open_gate, gate) = std::sync::mpsc::channel();
        let slow = Arc::new(Slow {
            gate: Mutex::new(gate),
            snapshot: changed,
        });
        let directory = Directory::open(
            slow,
            None,
            dir.path(),
            Duration::from_millis(10),
            Duration::from_secs(1),
        );
        assert!(
            directory.charger(&ChargerKey::of("cp-1")).is_some(),
            "as it was kept"
        );
        drop(open_gate);
        let (send, mut changes) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(Arc::clone(&directory).keep_fresh(move |change| {
            let _ = send.send((change.key.clone(), change.is_removed));
        }));
        let change = tokio::time::timeout(Duration::from_secs(20), changes.recv()).await;
        assert_eq!(
            change.expect("a change is reported"),
            Some((ChargerKey::of("cp-1"), false))
        );
    }
}
