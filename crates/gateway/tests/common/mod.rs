//! A gateway with a real journal in a temporary directory, a sink and a directory that tests control, and a charger that
//! sends any bytes.

#![allow(dead_code, reason = "each test file uses its own part")]

pub(crate) mod charger;
pub(crate) mod log;

use central::memory::MemoryStore;
use central::model::{ChargerKey, PasswordRotation, RotationView};
use central::policy::Policy;
use central::ports::{
    Batch, BoxFuture, ChangeRequest, ChargerProfile, ClusterEvents, CommandQueue,
    DirectorySnapshot, DirectorySource, Disconnects, Handshakes, NewRotation, Once,
    PasswordRotations, Queued, RotationNotBegun, RotationNotCancelled, Sink, Store, Token,
    Unavailable, UnavailableKind,
};
use central::project::Changes;
use central::running::RunningTransaction;
use central::{GatewayId, Record, RecordKind};
use gateway::{Gateway, GatewayConfig, GatewayDeps, HandOver, ListenerConfig};
use journal::Journal;
use journal::sim::SimDisk;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// How long these tests wait for anything.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    while !condition() {
        ticks.tick().await;
        assert!(Instant::now() < deadline, "timed out: {what}");
    }
}

/// Awaits `future` within the deadline.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(TIMEOUT, future).await {
        Ok(value) => value,
        Err(_) => panic!("timed out: {what}"),
    }
}

/// A stored record.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) seq: u64,
    pub(crate) kind: RecordKind,
    pub(crate) charger_id: String,
    pub(crate) action: String,
    pub(crate) message_id: String,
    pub(crate) payload: String,
    pub(crate) answer: String,
    pub(crate) reason: String,
    pub(crate) epoch: u64,
}

/// A sink that tests control.
#[derive(Default)]
pub(crate) struct FakeSink {
    pub(crate) stored: Mutex<Vec<Stored>>,
    pub(crate) unavailable: AtomicBool,
    /// Records stored per second; 0 = no limit.
    pub(crate) per_second: AtomicU64,
    pub(crate) attempts: AtomicU64,
    /// Deliveries do not return while this is set.
    pub(crate) held: AtomicBool,
    /// Milliseconds that each delivery takes.
    pub(crate) delay_ms: AtomicU64,
    /// First and last record of each delivery, in the order in which they began.
    pub(crate) begun: Mutex<Vec<(u64, u64)>>,
    pub(crate) in_flight_max: AtomicU64,
    in_flight: AtomicU64,
    pub(crate) queued: AtomicU64,
    /// Batches with more records are refused as full; 0 = none is.
    pub(crate) room: AtomicU64,
    /// The store that records are applied to, if any; several sinks may share it.
    pub(crate) store: Mutex<Option<Arc<MemoryStore>>>,
}

impl FakeSink {
    async fn wait_as_set(&self) {
        let delay = self.delay_ms.load(Ordering::SeqCst);
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        while self.held.load(Ordering::SeqCst) {
            ticks.tick().await;
        }
    }

    fn apply_to_store(&self, batch: &Batch) {
        let Some(store) = self.store.lock().unwrap().clone() else {
            return;
        };
        let records: Vec<_> = batch
            .iter()
            .map(|(id, bytes)| (id, Record::decode(bytes).expect("can be read")))
            .collect();
        let (changes, _) = Changes::of(&records);
        store.apply(&records, &changes, &[]).expect("memory");
    }

    pub(crate) fn count(&self, wanted: impl Fn(&Stored) -> bool) -> usize {
        self.stored
            .lock()
            .unwrap()
            .iter()
            .filter(|stored| wanted(stored))
            .count()
    }

    pub(crate) fn find(&self, wanted: impl Fn(&Stored) -> bool) -> Option<Stored> {
        self.stored
            .lock()
            .unwrap()
            .iter()
            .find(|stored| wanted(stored))
            .cloned()
    }
}

impl Sink for FakeSink {
    fn deliver(&self, batch: Arc<Batch>) -> BoxFuture<'_, Result<(), Unavailable>> {
        Box::pin(async move {
            self.attempts.fetch_add(1, Ordering::SeqCst);
            let seqs: Vec<_> = batch.iter().map(|(id, _)| id.seq).collect();
            self.begun
                .lock()
                .unwrap()
                .push((seqs[0].0, seqs[seqs.len() - 1].0));
            let in_flight = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
            self.in_flight_max.fetch_max(in_flight, Ordering::SeqCst);
            self.wait_as_set().await;
            self.in_flight.fetch_sub(1, Ordering::SeqCst);
            if self.unavailable.load(Ordering::SeqCst) {
                return Err(unavailable());
            }
            let room = self.room.load(Ordering::SeqCst);
            if room > 0 && batch.len() as u64 > room {
                return Err(Unavailable {
                    kind: UnavailableKind::Full,
                    ..unavailable()
                });
            }
            let per_second = self.per_second.load(Ordering::SeqCst);
            if per_second > 0 {
                let takes = Duration::from_secs_f64(batch.len() as f64 / per_second as f64);
                let mut ticks = tokio::time::interval(takes.max(Duration::from_micros(1)));
                ticks.tick().await;
                ticks.tick().await;
            }
            self.apply_to_store(&batch);
            let mut stored = self.stored.lock().unwrap();
            for (id, bytes) in batch.iter() {
                let record = Record::decode(bytes).expect("what the gateway wrote can be read");
                if stored
                    .iter()
                    .rev()
                    .take(5_000)
                    .any(|known| known.seq == id.seq.0)
                {
                    continue;
                }
                stored.push(Stored {
                    seq: id.seq.0,
                    kind: record.kind,
                    charger_id: record.charger_id.into(),
                    action: record.action.into(),
                    message_id: record.message_id.into(),
                    payload: record.payload.into(),
                    answer: record.answer.into(),
                    reason: record.reason.into(),
                    epoch: record.epoch.0,
                });
            }
            Ok(())
        })
    }

    fn queued(&self) -> Option<Queued> {
        Some(Queued {
            records: self.queued.load(Ordering::SeqCst),
            at: std::time::Instant::now(),
        })
    }
}

fn unavailable() -> Unavailable {
    Unavailable {
        component: "database",
        kind: UnavailableKind::Locked,
        detail: "set by the test".into(),
    }
}

/// A directory that tests control.
#[derive(Default)]
pub(crate) struct FakeDirectory {
    pub(crate) snapshot: Mutex<DirectorySnapshot>,
    pub(crate) unavailable: AtomicBool,
    /// Where it reads open transactions.
    pub(crate) store: Mutex<Option<Arc<MemoryStore>>>,
    /// How often they were read.
    pub(crate) reads: AtomicUsize,
    /// Milliseconds by which its clock is ahead, if it has one.
    pub(crate) clock_ahead_ms: Mutex<Option<i64>>,
}

impl FakeDirectory {
    /// A new password is sent to the charger.
    pub(crate) fn rotate(&self, charger_id: &str, new_hash: String) {
        let mut snapshot = self.snapshot.lock().unwrap();
        snapshot.revision += 1;
        let key = ChargerKey::of(charger_id);
        snapshot.new_passwords.insert(key, new_hash);
    }

    pub(crate) fn add(&self, charger_id: &str, password_hash: Option<String>) {
        let mut snapshot = self.snapshot.lock().unwrap();
        snapshot.revision += 1;
        snapshot.chargers.insert(
            ChargerKey::of(charger_id),
            ChargerProfile {
                password_hash,
                ..ChargerProfile::new(charger_id)
            },
        );
    }
}

/// Only what a gateway uses: log-ins become the current password, and nothing is due.
impl PasswordRotations for FakeDirectory {
    fn begin_rotation(
        &self,
        _: &NewRotation,
    ) -> Result<Once<PasswordRotation, RotationNotBegun>, Unavailable> {
        Err(unavailable())
    }

    fn rotation(
        &self,
        _: &str,
        _: central::Timestamp,
    ) -> Result<Option<RotationView>, Unavailable> {
        Err(unavailable())
    }

    fn cancel_rotation(
        &self,
        _: &str,
        _: &ChangeRequest,
    ) -> Result<Result<(), RotationNotCancelled>, Unavailable> {
        Err(unavailable())
    }

    fn logged_in(
        &self,
        charger: &ChargerKey,
        hash: &str,
        _: central::Timestamp,
    ) -> Result<(), Unavailable> {
        if self.unavailable.load(Ordering::SeqCst) {
            return Err(unavailable());
        }
        let mut snapshot = self.snapshot.lock().unwrap();
        if snapshot.new_passwords.get(charger).map(String::as_str) == Some(hash) {
            snapshot.revision += 1;
            snapshot.new_passwords.remove(charger);
            if let Some(profile) = snapshot.chargers.get_mut(charger) {
                profile.password_hash = Some(hash.to_owned());
            }
        }
        Ok(())
    }

    fn settle_rotations(&self, _: central::Timestamp, _: usize) -> Result<u64, Unavailable> {
        Ok(0)
    }
}

impl DirectorySource for FakeDirectory {
    fn running(
        &self,
        _: bool,
        since: central::Timestamp,
    ) -> Result<Vec<RunningTransaction>, Unavailable> {
        if self.unavailable.load(Ordering::SeqCst) {
            return Err(unavailable());
        }
        self.reads.fetch_add(1, Ordering::SeqCst);
        let Some(store) = self.store.lock().unwrap().clone() else {
            return Ok(Vec::new());
        };
        let mut running = Vec::new();
        for ((charger, wire_id), state) in store.contents().states.transactions {
            for view in state.views(charger.as_str(), &wire_id) {
                if let Some(token) = view.accepted_token().filter(|_| view.open) {
                    running.push(RunningTransaction {
                        token,
                        charger: charger.clone(),
                        transaction_id: wire_id.clone(),
                        place: view.evse.or(view.connector),
                        began_at: view.started_at.unwrap_or_default(),
                    });
                }
            }
        }
        running.retain(|running| running.began_at >= since);
        Ok(running)
    }

    fn load(&self, known: Option<u64>) -> Result<Option<DirectorySnapshot>, Unavailable> {
        if self.unavailable.load(Ordering::SeqCst) {
            return Err(unavailable());
        }
        let snapshot = self.snapshot.lock().unwrap();
        Ok((known != Some(snapshot.revision)).then(|| snapshot.clone()))
    }

    fn token(&self, id: &str) -> Result<Option<Token>, Unavailable> {
        if self.unavailable.load(Ordering::SeqCst) {
            return Err(unavailable());
        }
        Ok(self
            .snapshot
            .lock()
            .unwrap()
            .tokens
            .get(&id.to_lowercase())
            .cloned())
    }

    fn clock(&self) -> Result<Option<central::Timestamp>, Unavailable> {
        if self.unavailable.load(Ordering::SeqCst) {
            return Err(unavailable());
        }
        let ahead = *self.clock_ahead_ms.lock().unwrap();
        Ok(ahead.map(|ahead| central::Timestamp(::common::clock::now_ms() + ahead)))
    }
}

/// The settings of a test.
pub(crate) struct Setup {
    pub(crate) config: GatewayConfig,
    pub(crate) journal: journal::Options,
    /// The journal's disk, if not a real one.
    pub(crate) disk: Option<SimDisk>,
    pub(crate) policy: Policy,
    pub(crate) sink: Arc<FakeSink>,
    pub(crate) directory: Arc<FakeDirectory>,
    pub(crate) gateway_id: u128,
    pub(crate) cluster_events: Option<Arc<dyn ClusterEvents>>,
    pub(crate) commands: Option<Arc<dyn CommandQueue>>,
    pub(crate) rotations: Option<Arc<dyn PasswordRotations>>,
    pub(crate) disconnects: Option<Arc<dyn Disconnects>>,
    pub(crate) handshakes: Option<Arc<dyn Handshakes>>,
    /// The contents of `directory.json` before the start.
    pub(crate) kept_directory: Option<Vec<u8>>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            config: GatewayConfig {
                listeners: vec![ListenerConfig {
                    address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
                    ..ListenerConfig::default()
                }],
                directory_refresh_s: 1,
                ..GatewayConfig::default()
            },
            journal: journal::Options::default(),
            disk: None,
            policy: Policy::default(),
            sink: Arc::default(),
            directory: Arc::default(),
            gateway_id: 7,
            cluster_events: None,
            handshakes: None,
            commands: None,
            rotations: None,
            disconnects: None,
            kept_directory: None,
        }
    }
}

impl Setup {
    /// The arguments of a gateway; sink and directory stay here.
    fn parts(
        &mut self,
        journal: &Journal,
        dir: &tempfile::TempDir,
    ) -> (GatewayConfig, GatewayDeps) {
        let deps = GatewayDeps {
            journal: journal.clone(),
            gateway_id: GatewayId(uuid::Uuid::from_u128(self.gateway_id)),
            sink: Arc::clone(&self.sink) as _,
            directory: Arc::clone(&self.directory) as _,
            policy: Arc::new(self.policy.clone()),
            data_dir: dir.path().to_path_buf(),
            cluster_events: self.cluster_events.take(),
            commands: self.commands.take(),
            rotations: self.rotations.take(),
            disconnects: self.disconnects.take(),
            handshakes: self.handshakes.take(),
        };
        (self.config.clone(), deps)
    }
}

/// A running gateway.
pub(crate) struct World {
    pub(crate) gateway: Gateway,
    pub(crate) journal: Journal,
    pub(crate) sink: Arc<FakeSink>,
    pub(crate) directory: Arc<FakeDirectory>,
    pub(crate) dir: Option<tempfile::TempDir>,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = Setup::default();
        change(&mut setup);
        Self::open(setup, tempfile::tempdir().expect("a directory")).await
    }

    /// A gateway whose journal already has these records, as after a kill.
    pub(crate) async fn after(left: &[Vec<u8>], change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = Setup::default();
        change(&mut setup);
        let dir = tempfile::tempdir().expect("a directory");
        let (journal, _) =
            Journal::open(&dir.path().join("journal"), setup.journal).expect("the journal opens");
        for record in left {
            journal.append(record, None).expect("has room");
        }
        tokio::task::spawn_blocking(move || journal.close())
            .await
            .expect("no panic")
            .expect("closes");
        Self::open(setup, dir).await
    }

    async fn open(mut setup: Setup, dir: tempfile::TempDir) -> Self {
        if let Some(bytes) = &setup.kept_directory {
            std::fs::write(dir.path().join("directory.json"), bytes).expect("writes");
        }
        let opened = match setup.disk.take() {
            Some(disk) => Journal::open_on(disk, setup.journal),
            None => Journal::open(&dir.path().join("journal"), setup.journal),
        };
        let (journal, _) = opened.expect("the journal opens");
        let (config, deps) = setup.parts(&journal, &dir);
        let gateway = Gateway::start(config, deps).await.expect("starts");
        Self {
            gateway,
            journal,
            sink: setup.sink,
            directory: setup.directory,
            dir: Some(dir),
        }
    }

    /// Stops the gateway gracefully and starts it again on the same disk.
    pub(crate) async fn restart(self) -> Self {
        self.restart_with(|_| {}).await
    }

    /// As [`World::restart`], with a policy of the test.
    pub(crate) async fn restart_with(mut self, change: impl FnOnce(&mut Policy)) -> Self {
        self.gateway.shutdown(Duration::from_secs(2)).await;
        let mut setup = Setup {
            sink: Arc::clone(&self.sink),
            directory: Arc::clone(&self.directory),
            ..Setup::default()
        };
        change(&mut setup.policy);
        let dir = self.dir.take().expect("has its directory");
        let journal = self.journal.clone();
        drop(self);
        tokio::task::spawn_blocking(move || journal.close())
            .await
            .expect("no panic")
            .expect("closes");
        Self::open(setup, dir).await
    }

    /// Another process takes over, with these settings; here it is the same process.
    pub(crate) async fn upgrade(self, change: impl FnOnce(&mut Setup)) -> Self {
        let (handed, next) = self.hand_over().await;
        next.take_over(handed, change).await
    }

    /// The gateway has stopped for another process, and its journal is closed.
    pub(crate) async fn hand_over(mut self) -> (HandOver, Next) {
        let handed = self.gateway.hand_over(Duration::from_secs(1)).await;
        let journal = self.journal.clone();
        let next = Next {
            sink: Arc::clone(&self.sink),
            directory: Arc::clone(&self.directory),
            dir: self.dir.take().expect("has its directory"),
        };
        drop(self);
        tokio::task::spawn_blocking(move || journal.close())
            .await
            .expect("no panic")
            .expect("closes");
        (handed.expect("hands over"), next)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.gateway.local_addr()
    }
}

/// What the gateway that takes over shares with the one before.
pub(crate) struct Next {
    sink: Arc<FakeSink>,
    directory: Arc<FakeDirectory>,
    dir: tempfile::TempDir,
}

impl Next {
    pub(crate) async fn take_over(
        self,
        handed: HandOver,
        change: impl FnOnce(&mut Setup),
    ) -> World {
        let mut setup = Setup {
            sink: self.sink,
            directory: self.directory,
            ..Setup::default()
        };
        change(&mut setup);
        let opened = Journal::open(&self.dir.path().join("journal"), setup.journal);
        let (journal, _) = opened.expect("the journal opens");
        let (config, deps) = setup.parts(&journal, &self.dir);
        let taken = Gateway::take_over(config, deps, handed).await;
        let (gateway, taken) = taken.expect("takes over");
        taken.go().expect("goes on");
        World {
            gateway,
            journal,
            sink: setup.sink,
            directory: setup.directory,
            dir: Some(self.dir),
        }
    }
}

/// The transaction id in an answer to StartTransaction.
pub(crate) fn transaction_id(answer: &str) -> i64 {
    let answer: serde_json::Value = serde_json::from_str(answer).expect("JSON");
    answer[2]["transactionId"].as_i64().expect("an integer")
}
