use super::*;
use central::ports::{Registration, TokenStatus, UnavailableKind};
use std::collections::HashMap;

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
    assert!(directory.log_ins.is_empty());
    assert!(log_ins::read(&dir.path().join(log_ins::FILE)).is_empty());
}

fn open(source: &Arc<Source>, dir: &Path) -> Arc<Directory> {
    let source = Arc::clone(source);
    Directory::open(
        source,
        None,
        dir,
        Duration::from_secs(1),
        Duration::from_secs(1),
        FirstLoad::USUAL,
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
    assert_eq!(old.changes_to(&Snapshot::none()), [change("cp-1", true)]);
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
        FirstLoad::TAKEN_OVER,
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

/// Answers the first load, and hangs in all others until its gate is dropped.
struct Hanging {
    gate: Mutex<std::sync::mpsc::Receiver<()>>,
    began: std::sync::atomic::AtomicUsize,
}

impl DirectorySource for Hanging {
    fn running(
        &self,
        _: bool,
        _: central::Timestamp,
    ) -> Result<Vec<central::running::RunningTransaction>, Unavailable> {
        Ok(Vec::new())
    }

    fn load(&self, _known: Option<u64>) -> Result<Option<DirectorySnapshot>, Unavailable> {
        if self.began.fetch_add(1, Ordering::Relaxed) == 0 {
            return Ok(Some(snapshot()));
        }
        let _ = self.gate.lock().expect("no panic").recv();
        Ok(None)
    }

    fn token(&self, _id: &str) -> Result<Option<Token>, Unavailable> {
        Ok(None)
    }
}

/// A blocking thread for each charger that logs in with a new password would leave none for anything else.
#[tokio::test]
async fn log_ins_with_new_passwords_share_one_load_while_the_database_hangs() {
    let dir = tempfile::tempdir().expect("a directory");
    let (open_gate, gate) = std::sync::mpsc::channel();
    let source = Arc::new(Hanging {
        gate: Mutex::new(gate),
        began: std::sync::atomic::AtomicUsize::new(0),
    });
    let (refresh, deadline) = (Duration::from_secs(60), Duration::from_millis(50));
    let asked = Arc::clone(&source);
    let directory = Directory::open(asked, None, dir.path(), refresh, deadline, FirstLoad::USUAL);
    let log_ins: Vec<_> = (0..20)
        .map(|_| {
            let directory = Arc::clone(&directory);
            tokio::spawn(async move { directory.confirm().await })
        })
        .collect();
    for log_in in log_ins {
        let ended = tokio::time::timeout(Duration::from_secs(20), log_in).await;
        ended
            .expect("each log-in waits for a bounded time")
            .expect("no panic");
    }
    // The one at the start, and one for all of them.
    assert_eq!(source.began.load(Ordering::Relaxed), 2);
    drop(open_gate);
}

#[tokio::test]
async fn a_log_in_with_a_new_password_sees_what_was_set_before_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let source = Arc::new(Source::default());
    *source.snapshot.lock().expect("no panic") = Some(snapshot());
    let directory = open(&source, dir.path());
    let key = ChargerKey::of("cp-1");
    for (revision, password) in [(8, "one"), (9, "two"), (10, "three")] {
        let mut content = snapshot();
        let profile = content.chargers.get_mut(&key).expect("is there");
        profile.password_hash = Some(password.into());
        content.revision = revision;
        *source.snapshot.lock().expect("no panic") = Some(content);
        directory.confirm().await;
        let current = directory.credentials(&key).current;
        assert_eq!(current.as_deref(), Some(password));
    }
}
