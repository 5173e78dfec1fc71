//! The applier as a sink and as a health probe.

use central::memory::MemoryStore;
use central::model::ChargerKey;
use central::ports::{
    Applied, Batch, DeadLetter, HealthProbe, Sink, Store, Unavailable, UnavailableKind,
};
use central::project::Changes;
use central::record::{Notes, gateway_started};
use central::{AnswerKind, Epoch, GatewayId, Record, RecordId, RecordKind, Seq, Timestamp};
use consumer::{Applier, Config};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use uuid::Uuid;

fn heartbeat(charger_id: &str) -> Vec<u8> {
    Record {
        kind: RecordKind::Call,
        charger_id,
        ocpp_version: ocpp::Version::V16,
        message_id: "m",
        action: "Heartbeat",
        payload: "{}",
        answer_kind: AnswerKind::Result,
        answer: "{}",
        received_at: Timestamp(1_767_225_600_000),
        epoch: Epoch(1),
        notes: Notes::default(),
        reason: "",
    }
    .encode()
}

const GATEWAY: GatewayId = GatewayId(Uuid::from_u128(7));

fn batch(records: &[(u64, Vec<u8>)]) -> Arc<Batch> {
    let mut batch = Batch::new(GATEWAY);
    for (seq, bytes) in records {
        batch.push(Seq(*seq), bytes);
    }
    Arc::new(batch)
}

fn start(store: Arc<dyn Store>) -> Applier {
    Applier::start(store, Config::default()).unwrap()
}

/// A store whose calls behave as the test says, one after the other.
#[derive(Default)]
struct ScriptedStore {
    inner: MemoryStore,
    behaviours: Mutex<Vec<Behaviour>>,
    calls: AtomicUsize,
}

enum Behaviour {
    Refuse(UnavailableKind),
    Panic,
    /// Waits until the test continues it.
    Hold(mpsc::Receiver<()>),
}

impl ScriptedStore {
    fn with(behaviours: impl IntoIterator<Item = Behaviour>) -> Arc<Self> {
        let mut behaviours: Vec<_> = behaviours.into_iter().collect();
        behaviours.reverse();
        Arc::new(Self {
            behaviours: Mutex::new(behaviours),
            ..Self::default()
        })
    }
}

impl Store for ScriptedStore {
    fn apply(
        &self,
        records: &[(RecordId, Record<'_>)],
        changes: &Changes,
        dead: &[DeadLetter],
    ) -> Result<Applied, Unavailable> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let behaviour = self.behaviours.lock().unwrap().pop();
        match behaviour {
            Some(Behaviour::Refuse(kind)) => {
                return Err(Unavailable {
                    component: "database",
                    kind,
                    detail: "set by the test".to_owned(),
                });
            }
            Some(Behaviour::Panic) => panic!("set by the test"),
            Some(Behaviour::Hold(resumed)) => resumed.recv().unwrap(),
            None => {}
        }
        self.inner.apply(records, changes, dead)
    }
}

#[tokio::test]
async fn applying_a_batch_twice_equals_applying_it_once() {
    let store = Arc::new(MemoryStore::default());
    let applier = start(Arc::clone(&store) as _);
    let batch = batch(&[
        (1, gateway_started(Timestamp(1), Epoch(1))),
        (2, heartbeat("CP-1")),
        (3, heartbeat("CP-2")),
    ]);
    for _ in 0..2 {
        applier.deliver(Arc::clone(&batch)).await.unwrap();
    }
    let contents = store.contents();
    assert_eq!(contents.records.len(), 3);
    assert!(
        contents
            .states
            .chargers
            .contains_key(&ChargerKey::of("cp-1"))
    );
    assert_eq!(contents.states.gateways.len(), 1);
    assert!(contents.dead.is_empty());
}

#[tokio::test]
async fn unreadable_records_become_dead_letters_and_the_others_are_applied() {
    let store = Arc::new(MemoryStore::default());
    let applier = start(Arc::clone(&store) as _);
    let mut newer = heartbeat("CP-1");
    newer[0] = 9;
    let cut = heartbeat("CP-1")[..50].to_vec();
    let batch = batch(&[
        (1, newer.clone()),
        (2, heartbeat("CP-1")),
        (3, cut.clone()),
        (4, Vec::new()),
    ]);
    applier.deliver(batch).await.unwrap();
    let contents = store.contents();
    assert_eq!(contents.records.len(), 1);
    assert_eq!(contents.dead.len(), 3);
    let id = |seq| RecordId {
        gateway: GATEWAY,
        seq,
    };
    assert_eq!(contents.dead[&id(Seq(1))].0, newer);
    assert!(contents.dead[&id(Seq(1))].1.contains("format 9"));
    assert_eq!(contents.dead[&id(Seq(3))].0, cut);
    assert!(contents.dead[&id(Seq(3))].1.contains("damaged"));
}

#[tokio::test]
async fn an_unavailable_database_is_reported_until_it_accepts_records_again() {
    let store = ScriptedStore::with([
        Behaviour::Refuse(UnavailableKind::Locked),
        Behaviour::Refuse(UnavailableKind::Full),
    ]);
    let applier = start(Arc::clone(&store) as _);
    assert!(applier.health()[0].up);
    let batch = batch(&[(1, heartbeat("CP-1"))]);
    let error = applier.deliver(Arc::clone(&batch)).await.unwrap_err();
    assert_eq!(error.kind, UnavailableKind::Locked);
    let health = &applier.health()[0];
    assert!(!health.up && health.part == "database");
    assert!(health.detail.contains("is locked"), "{}", health.detail);
    applier.deliver(Arc::clone(&batch)).await.unwrap_err();
    assert!(applier.health()[0].detail.contains("no space left"));
    applier.deliver(Arc::clone(&batch)).await.unwrap();
    assert!(applier.health()[0].up);
    assert_eq!(store.inner.contents().records.len(), 1);
}

#[tokio::test]
async fn a_panic_in_the_store_is_an_error_and_does_not_end_the_applier() {
    let store = ScriptedStore::with([Behaviour::Panic]);
    let applier = start(Arc::clone(&store) as _);
    let batch = batch(&[(1, heartbeat("CP-1"))]);
    let error = applier.deliver(Arc::clone(&batch)).await.unwrap_err();
    assert_eq!(error.kind, UnavailableKind::Unreachable);
    applier.deliver(batch).await.unwrap();
    assert_eq!(store.inner.contents().records.len(), 1);
}

#[tokio::test]
async fn a_delivery_waits_while_the_queue_is_full() {
    let (resume, held) = mpsc::channel();
    let store = ScriptedStore::with([Behaviour::Hold(held)]);
    let applier = Arc::new(
        Applier::start(
            Arc::clone(&store) as _,
            Config {
                queue_batches_max: 1,
                ..Config::default()
            },
        )
        .unwrap(),
    );
    let deliveries: Vec<_> = (1..=5)
        .map(|seq| {
            let applier = Arc::clone(&applier);
            tokio::spawn(async move {
                let batch = batch(&[(seq, heartbeat("CP-1"))]);
                applier.deliver(batch).await
            })
        })
        .collect();
    while store.calls.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    assert!(store.inner.contents().records.is_empty());
    resume.send(()).unwrap();
    for delivery in deliveries {
        delivery.await.unwrap().unwrap();
    }
    assert_eq!(store.inner.contents().records.len(), 5);
}

#[tokio::test]
async fn a_cancelled_delivery_is_harmless() {
    let (resume, held) = mpsc::channel();
    let store = ScriptedStore::with([Behaviour::Hold(held)]);
    let applier = start(Arc::clone(&store) as _);
    let cancelled = applier.deliver(batch(&[(1, heartbeat("CP-1"))]));
    tokio::select! {
        biased;
        _ = cancelled => panic!("it is held"),
        () = async {
            while store.calls.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
        } => {}
    }
    resume.send(()).unwrap();
    applier
        .deliver(batch(&[(1, heartbeat("CP-1")), (2, heartbeat("CP-1"))]))
        .await
        .unwrap();
    assert_eq!(store.inner.contents().records.len(), 2);
}

#[tokio::test]
async fn close_finishes_accepted_batches_and_refuses_later_ones() {
    let store = Arc::new(MemoryStore::default());
    let applier = Arc::new(start(Arc::clone(&store) as _));
    let one = batch(&[(1, heartbeat("CP-1"))]);
    applier.deliver(Arc::clone(&one)).await.unwrap();
    let closing = Arc::clone(&applier);
    tokio::task::spawn_blocking(move || closing.close())
        .await
        .unwrap();
    let error = applier.deliver(one).await.unwrap_err();
    assert!(error.detail.contains("stopped"));
    assert_eq!(store.contents().records.len(), 1);
}
