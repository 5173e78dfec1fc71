//! The applier as the forwarder and the health page see it.

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

/// A store that does what the test says, call by call.
#[derive(Default)]
struct Moody {
    inner: MemoryStore,
    moods: Mutex<Vec<Mood>>,
    calls: AtomicUsize,
}

enum Mood {
    Refuse(UnavailableKind),
    Panic,
    /// Waits until the test lets it go on.
    Hold(mpsc::Receiver<()>),
}

impl Moody {
    fn with(moods: impl IntoIterator<Item = Mood>) -> Arc<Self> {
        let mut moods: Vec<_> = moods.into_iter().collect();
        moods.reverse();
        Arc::new(Self {
            moods: Mutex::new(moods),
            ..Self::default()
        })
    }
}

impl Store for Moody {
    fn apply(
        &self,
        records: &[(RecordId, Record<'_>)],
        changes: &Changes,
        dead: &[DeadLetter],
    ) -> Result<Applied, Unavailable> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let mood = self.moods.lock().unwrap().pop();
        match mood {
            Some(Mood::Refuse(kind)) => {
                return Err(Unavailable {
                    component: "database",
                    kind,
                    detail: "as told".to_owned(),
                });
            }
            Some(Mood::Panic) => panic!("as told"),
            Some(Mood::Hold(go_on)) => go_on.recv().unwrap(),
            None => {}
        }
        self.inner.apply(records, changes, dead)
    }
}

#[tokio::test]
async fn a_batch_is_applied_and_twice_is_once() {
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
async fn what_cannot_be_read_is_kept_as_a_dead_letter_and_the_rest_is_applied() {
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
async fn a_database_that_is_away_is_told_and_seen_until_it_is_back() {
    let store = Moody::with([
        Mood::Refuse(UnavailableKind::Locked),
        Mood::Refuse(UnavailableKind::Full),
    ]);
    let applier = start(Arc::clone(&store) as _);
    assert!(applier.health()[0].up);
    let batch = batch(&[(1, heartbeat("CP-1"))]);
    let away = applier.deliver(Arc::clone(&batch)).await.unwrap_err();
    assert_eq!(away.kind, UnavailableKind::Locked);
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
async fn a_panic_in_the_store_is_a_refusal_and_not_the_end() {
    let store = Moody::with([Mood::Panic]);
    let applier = start(Arc::clone(&store) as _);
    let batch = batch(&[(1, heartbeat("CP-1"))]);
    let away = applier.deliver(Arc::clone(&batch)).await.unwrap_err();
    assert_eq!(away.kind, UnavailableKind::Unreachable);
    applier.deliver(batch).await.unwrap();
    assert_eq!(store.inner.contents().records.len(), 1);
}

#[tokio::test]
async fn who_delivers_more_than_fits_waits() {
    let (let_go, held) = mpsc::channel();
    let store = Moody::with([Mood::Hold(held)]);
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
    let_go.send(()).unwrap();
    for delivery in deliveries {
        delivery.await.unwrap().unwrap();
    }
    assert_eq!(store.inner.contents().records.len(), 5);
}

#[tokio::test]
async fn a_delivery_given_up_halfway_does_no_harm() {
    let (let_go, held) = mpsc::channel();
    let store = Moody::with([Mood::Hold(held)]);
    let applier = start(Arc::clone(&store) as _);
    let given_up = applier.deliver(batch(&[(1, heartbeat("CP-1"))]));
    tokio::select! {
        biased;
        _ = given_up => panic!("it is held"),
        () = async {
            while store.calls.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
        } => {}
    }
    let_go.send(()).unwrap();
    applier
        .deliver(batch(&[(1, heartbeat("CP-1")), (2, heartbeat("CP-1"))]))
        .await
        .unwrap();
    assert_eq!(store.inner.contents().records.len(), 2);
}

#[tokio::test]
async fn closing_finishes_what_is_in_hand_and_refuses_what_comes_later() {
    let store = Arc::new(MemoryStore::default());
    let applier = Arc::new(start(Arc::clone(&store) as _));
    let one = batch(&[(1, heartbeat("CP-1"))]);
    applier.deliver(Arc::clone(&one)).await.unwrap();
    let closing = Arc::clone(&applier);
    tokio::task::spawn_blocking(move || closing.close())
        .await
        .unwrap();
    let away = applier.deliver(one).await.unwrap_err();
    assert!(away.detail.contains("stopped"));
    assert_eq!(store.contents().records.len(), 1);
}
