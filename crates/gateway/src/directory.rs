//! Who is known: chargers and tokens, kept here so that chargers are answered without asking anyone.
//!
//! A snapshot is loaded from the database every few seconds, swapped in whole, and kept in the data
//! directory, so that a gateway started while the database is away still knows its chargers. Only a
//! token that the snapshot does not hold is asked for, with a short deadline; while the database is
//! known to be away not even that.

use crate::registry::Control;
use arc_swap::ArcSwap;
use central::ports::{Away, ChargerProfile, DirectorySnapshot, DirectorySource, Token};
use central::station::{Fact, TokenAnswer};
use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};

const FILE: &str = "directory.json";
/// Questions to the database at the same time; each holds a blocking thread while it hangs.
const QUESTIONS_MAX: usize = 8;
/// How long a start waits for the source, without and with a kept directory.
const FIRST_LOAD: Duration = Duration::from_secs(10);
const FIRST_LOAD_KEPT: Duration = Duration::from_secs(1);

/// What changed for one charger.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// Its identity in lower case.
    pub(crate) key: String,
    /// It is no longer known, or its password is another: it must come in anew.
    pub(crate) must_return: bool,
}

struct Known {
    chargers: HashMap<String, Arc<ChargerProfile>>,
    tokens: HashMap<String, Token>,
    revision: Option<u64>,
}

impl Known {
    fn new(snapshot: DirectorySnapshot) -> Self {
        Self {
            chargers: snapshot
                .chargers
                .into_iter()
                .map(|(key, profile)| (key, Arc::new(profile)))
                .collect(),
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
            must_return: true,
        });
        let changed = new.chargers.iter().filter_map(|(key, profile)| {
            let old = self.chargers.get(key);
            let old_hash = old.and_then(|old| old.password_hash.as_ref());
            (old != Some(profile)).then(|| Change {
                key: key.clone(),
                must_return: old_hash != profile.password_hash.as_ref(),
            })
        });
        removed.chain(changed).collect()
    }
}

/// The gateway's directory.
pub(crate) struct Directory {
    known: ArcSwap<Known>,
    source: Arc<dyn DirectorySource>,
    file: PathBuf,
    refresh: Duration,
    question_timeout: Duration,
    questions: Arc<Semaphore>,
    away: AtomicBool,
    trouble: Mutex<Option<Away>>,
    look_now: Notify,
}

impl Directory {
    /// Loads the directory: from its source, or as it was kept if the source is away or slow. Blocks
    /// for a bounded time.
    pub(crate) fn open(
        source: Arc<dyn DirectorySource>,
        data_dir: &Path,
        refresh: Duration,
        question_timeout: Duration,
    ) -> Arc<Self> {
        let file = data_dir.join(FILE);
        let kept = match std::fs::read(&file).map(|bytes| serde_json::from_slice(&bytes)) {
            Ok(Ok(snapshot)) => Known::new(snapshot),
            Ok(Err(error)) => {
                tracing::warn!(file = %file.display(), %error, "the kept directory is damaged and is not used; it is loaded anew");
                nobody()
            }
            Err(error) => {
                if error.kind() != std::io::ErrorKind::NotFound {
                    tracing::warn!(file = %file.display(), %error, "the kept directory cannot be read");
                }
                nobody()
            }
        };
        let patience = match kept.revision {
            Some(_) => FIRST_LOAD_KEPT,
            None => FIRST_LOAD,
        };
        let directory = Arc::new(Self {
            known: ArcSwap::from_pointee(kept),
            source,
            file,
            refresh,
            question_timeout,
            questions: Arc::new(Semaphore::new(QUESTIONS_MAX)),
            away: AtomicBool::new(false),
            trouble: Mutex::default(),
            look_now: Notify::new(),
        });
        let (loaded, is_loaded) = std::sync::mpsc::channel();
        std::thread::spawn({
            let directory = Arc::clone(&directory);
            move || {
                directory.load();
                let _ = loaded.send(());
            }
        });
        if is_loaded.recv_timeout(patience).is_err() {
            tracing::warn!("the directory is slow to load; beginning with what is known");
        }
        directory
    }

    /// The profile of a charger; `key` is its identity in lower case.
    pub(crate) fn charger(&self, key: &str) -> Option<Arc<ChargerProfile>> {
        self.known.load().chargers.get(key).cloned()
    }

    /// A token, if the snapshot holds it.
    pub(crate) fn token(&self, id: &str) -> Option<Token> {
        let known = self.known.load();
        if let Some(token) = known.tokens.get(id) {
            return Some(token.clone());
        }
        known.tokens.get(&id.to_lowercase()).cloned()
    }

    /// Asks the source for a token that the snapshot does not hold, and tells the connection: what it
    /// said, or that it cannot be asked, within the deadline.
    pub(crate) fn ask(self: &Arc<Self>, control: &Arc<Control>, question_id: u64, id: String) {
        let tell = move |control: &Control, answer| {
            control.tell(Fact::Token {
                question_id,
                answer,
            });
        };
        if self.away.load(Ordering::Relaxed) {
            tell(control, TokenAnswer::CannotAsk);
            return;
        }
        let (directory, control) = (Arc::clone(self), Arc::clone(control));
        tokio::spawn(async move {
            let asked = tokio::time::timeout(
                directory.question_timeout,
                Arc::clone(&directory).ask_source(id),
            );
            let answer = asked.await.unwrap_or(TokenAnswer::CannotAsk);
            tell(&control, answer);
        });
    }

    async fn ask_source(self: Arc<Self>, id: String) -> TokenAnswer {
        let Ok(permit) = Arc::clone(&self.questions).acquire_owned().await else {
            return TokenAnswer::CannotAsk;
        };
        let asked = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            self.source.token(&id)
        });
        match asked.await {
            Ok(Ok(Some(token))) => TokenAnswer::Known(token),
            Ok(Ok(None)) => TokenAnswer::Unknown,
            Ok(Err(_)) | Err(_) => TokenAnswer::CannotAsk,
        }
    }

    /// Looks at the source again and again, for ever, and says what changed.
    pub(crate) async fn keep_fresh(self: Arc<Self>, on_change: impl Fn(&Change)) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.refresh) => {}
                () = self.look_now.notified() => {}
            }
            let directory = Arc::clone(&self);
            // A source that hangs holds this one thread; questions are answered `CannotAsk` meanwhile.
            let loading = tokio::task::spawn_blocking(move || directory.load());
            tokio::pin!(loading);
            let changes = match tokio::time::timeout(self.refresh, &mut loading).await {
                Ok(loaded) => loaded,
                Err(_) => {
                    self.away.store(true, Ordering::Relaxed);
                    loading.await
                }
            };
            changes.unwrap_or_default().iter().for_each(&on_change);
        }
    }

    /// Something was changed: the next look at the source is now.
    pub(crate) fn refresh_now(&self) {
        self.look_now.notify_one();
    }

    fn load(&self) -> Vec<Change> {
        let revision = self.known.load().revision;
        let mut changes = Vec::new();
        let trouble = match self.source.load(revision) {
            Ok(None) => None,
            Ok(Some(snapshot)) => {
                self.keep(&snapshot);
                let new = Arc::new(Known::new(snapshot));
                let old = self.known.swap(Arc::clone(&new));
                changes = old.changes_to(&new);
                None
            }
            Err(away) => Some(away),
        };
        self.away.store(trouble.is_some(), Ordering::Relaxed);
        let mut last = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*last, &trouble) {
            (None, Some(away)) => {
                tracing::warn!(%away, "the directory cannot be refreshed; going on with what is known");
            }
            (Some(_), None) => tracing::info!("the directory can be refreshed again"),
            (None, None) | (Some(_), Some(_)) => {}
        }
        *last = trouble;
        changes
    }

    fn keep(&self, snapshot: &DirectorySnapshot) {
        if let Err(error) = write_atomically(&self.file, snapshot) {
            tracing::warn!(file = %self.file.display(), %error, "the directory cannot be kept for the next start");
        }
    }

    /// A few words on how it is, and what is wrong with its source, if anything.
    pub(crate) fn health(&self) -> (String, Option<Away>) {
        let known = self.known.load();
        let words = format!(
            "{} chargers and {} tokens known",
            known.chargers.len(),
            known.tokens.len()
        );
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        (words, trouble.clone())
    }
}

fn nobody() -> Known {
    Known {
        chargers: HashMap::new(),
        tokens: HashMap::new(),
        revision: None,
    }
}

/// Either the old file or the new one is there after a power cut, whole. Only its owner may read it:
/// it holds password hashes.
fn write_atomically(file: &Path, snapshot: &DirectorySnapshot) -> std::io::Result<()> {
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
    use central::ports::{AwayKind, Registration, TokenStatus};

    #[derive(Default)]
    struct Source {
        snapshot: Mutex<Option<DirectorySnapshot>>,
    }

    impl DirectorySource for Source {
        fn load(&self, known: Option<u64>) -> Result<Option<DirectorySnapshot>, Away> {
            let snapshot = self.snapshot.lock().expect("no panic").clone();
            match snapshot {
                Some(snapshot) if Some(snapshot.revision) == known => Ok(None),
                Some(snapshot) => Ok(Some(snapshot)),
                None => Err(Away {
                    what: "database",
                    kind: AwayKind::Locked,
                    detail: "test".into(),
                }),
            }
        }

        fn token(&self, _id: &str) -> Result<Option<Token>, Away> {
            Ok(None)
        }
    }

    fn snapshot() -> DirectorySnapshot {
        let profile = ChargerProfile {
            charger_id: "CP-1".into(),
            registration: Registration::Accepted,
            password_hash: None,
            check: None,
        };
        let token = Token {
            id: "AbC".into(),
            status: TokenStatus::Accepted,
            expires_at: None,
            group_id: None,
        };
        DirectorySnapshot {
            chargers: HashMap::from([("cp-1".into(), profile)]),
            tokens: HashMap::from([("abc".into(), token)]),
            revision: 7,
        }
    }

    fn open(source: &Arc<Source>, dir: &Path) -> Arc<Directory> {
        let source = Arc::clone(source);
        Directory::open(source, dir, Duration::from_secs(1), Duration::from_secs(1))
    }

    #[test]
    fn a_gateway_started_while_the_database_is_away_knows_its_chargers() {
        let dir = tempfile::tempdir().expect("a directory");
        let source = Arc::new(Source::default());
        *source.snapshot.lock().expect("no panic") = Some(snapshot());
        assert!(open(&source, dir.path()).charger("cp-1").is_some());

        *source.snapshot.lock().expect("no panic") = None;
        let directory = open(&source, dir.path());
        assert!(directory.charger("cp-1").is_some());
        assert!(directory.token("ABC").is_some());
        assert!(directory.token("unknown").is_none());
        let (words, trouble) = directory.health();
        assert_eq!(words, "1 chargers and 1 tokens known");
        assert!(trouble.is_some());
    }

    #[test]
    fn what_changes_for_a_charger_is_told() {
        let old = Known::new(snapshot());
        let mut changed = snapshot();
        let profile = changed.chargers.get_mut("cp-1").expect("is there");
        profile.registration = Registration::Pending;
        let change = |key: &str, must_return| Change {
            key: key.into(),
            must_return,
        };
        let pending = Known::new(changed.clone());
        assert_eq!(old.changes_to(&old), []);
        assert_eq!(old.changes_to(&pending), [change("cp-1", false)]);
        let profile = changed.chargers.get_mut("cp-1").expect("is there");
        profile.password_hash = Some("new".into());
        assert_eq!(
            pending.changes_to(&Known::new(changed)),
            [change("cp-1", true)]
        );
        assert_eq!(old.changes_to(&nobody()), [change("cp-1", true)]);
    }

    #[test]
    fn a_damaged_kept_directory_is_passed_over() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join(FILE), b"{\"chargers\": {").expect("writes");
        let directory = open(&Arc::new(Source::default()), dir.path());
        assert!(directory.charger("cp-1").is_none());
    }
}
