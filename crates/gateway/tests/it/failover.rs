//! `FailoverSink`: through RabbitMQ, directly to the database while RabbitMQ is unavailable for long, and back.
//! In virtual time.

use crate::common::until;
use central::GatewayId;
use central::Seq;
use central::ports::{
    Batch, BoxFuture, Health, HealthProbe, Queued, Sink, Unavailable, UnavailableKind,
};
use gateway::FailoverSink;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use uuid::Uuid;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Behaviour {
    #[default]
    Accepts,
    Refuses(UnavailableKind),
    /// A delivery does not return until the behaviour changes.
    NeverAnswers,
}

/// One of the two sinks.
#[derive(Default)]
struct SwitchableSink {
    behaviour: Mutex<Behaviour>,
    changed: Notify,
    accepted: Mutex<BTreeSet<u64>>,
    calls: AtomicUsize,
    longest: AtomicUsize,
    queued: Mutex<Option<Queued>>,
}

impl SwitchableSink {
    fn set(&self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap() = behaviour;
        self.changed.notify_waiters();
    }

    fn has(&self, seq: u64) -> bool {
        self.accepted.lock().unwrap().contains(&seq)
    }

    /// Reports a queue of this many records, read `age` ago.
    fn set_queued(&self, records: u64, age: Duration) {
        let at = Instant::now().into_std();
        let at = at.checked_sub(age).expect("a clock that old");
        *self.queued.lock().unwrap() = Some(Queued { records, at });
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Sink for SwitchableSink {
    fn deliver(&self, batch: Arc<Batch>) -> BoxFuture<'_, Result<(), Unavailable>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.longest.fetch_max(batch.len(), Ordering::SeqCst);
        Box::pin(async move {
            loop {
                let changed = self.changed.notified();
                let behaviour = *self.behaviour.lock().unwrap();
                match behaviour {
                    Behaviour::Accepts => break,
                    Behaviour::Refuses(kind) => {
                        return Err(Unavailable {
                            component: "RabbitMQ",
                            kind,
                            detail: "set by the test".into(),
                        });
                    }
                    Behaviour::NeverAnswers => changed.await,
                }
            }
            let mut accepted = self.accepted.lock().unwrap();
            accepted.extend(batch.iter().map(|(id, _)| id.seq.0));
            Ok(())
        })
    }

    fn queued(&self) -> Option<Queued> {
        *self.queued.lock().unwrap()
    }
}

const UNAVAILABLE: Behaviour = Behaviour::Refuses(UnavailableKind::Unreachable);
const FULL: Behaviour = Behaviour::Refuses(UnavailableKind::Full);
const GRACE: Duration = Duration::from_millis(200);

struct Sinks {
    broker: Arc<SwitchableSink>,
    direct: Arc<SwitchableSink>,
    sink: FailoverSink,
    next: u64,
}

impl Sinks {
    fn new() -> Self {
        let (broker, direct) = (
            Arc::new(SwitchableSink::default()),
            Arc::new(SwitchableSink::default()),
        );
        let sink = FailoverSink::new(
            Arc::clone(&broker) as _,
            Some(Arc::clone(&direct) as _),
            GRACE,
        );
        Self {
            broker,
            direct,
            sink,
            next: 1,
        }
    }

    /// Delivers this many new records; returns their sequence numbers.
    async fn deliver(&mut self, records: u64) -> Result<std::ops::Range<u64>, Unavailable> {
        let mut batch = Batch::new(GatewayId(Uuid::from_u128(7)));
        let seqs = self.next..self.next + records;
        for seq in seqs.clone() {
            batch.push(Seq(seq), b"record");
        }
        self.sink.deliver(Arc::new(batch)).await?;
        self.next = seqs.end;
        Ok(seqs)
    }

    /// Retries until the record is delivered, as the forwarder does.
    async fn deliver_with_retries(&mut self) -> u64 {
        let deadline = Instant::now() + crate::common::TIMEOUT;
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        loop {
            match self.deliver(1).await {
                Ok(seqs) => return seqs.start,
                Err(unavailable) => assert!(Instant::now() < deadline, "{unavailable}"),
            }
            ticks.tick().await;
        }
    }

    fn health(&self) -> Health {
        self.sink.health().remove(0)
    }
}

#[tokio::test(start_paused = true)]
async fn records_go_through_rabbitmq_while_it_accepts_them() {
    let mut sinks = Sinks::new();
    for _ in 0..10 {
        sinks.deliver(5).await.unwrap();
    }
    assert_eq!((sinks.broker.calls(), sinks.direct.calls()), (10, 0));
    assert!(
        sinks.health().up
            && sinks
                .health()
                .detail
                .starts_with("delivering through RabbitMQ")
    );
}

#[tokio::test(start_paused = true)]
async fn records_wait_within_the_grace_period_and_are_delivered_directly_after_it() {
    let mut sinks = Sinks::new();
    sinks.broker.set(UNAVAILABLE);
    let began = Instant::now();
    assert!(sinks.deliver(1).await.is_err());
    assert!(
        sinks.health().up,
        "records wait in the journal, as they should"
    );
    sinks.broker.set(Behaviour::Accepts);
    sinks.deliver(1).await.unwrap();
    assert_eq!(sinks.direct.calls(), 0);

    sinks.broker.set(UNAVAILABLE);
    let seq = sinks.deliver_with_retries().await;
    assert!(
        began.elapsed() >= GRACE,
        "the grace counts from the last success"
    );
    assert!(sinks.direct.has(seq) && !sinks.broker.has(seq));
    let health = sinks.health();
    assert!(
        health.up && health.detail.starts_with("delivering directly"),
        "{health:?}"
    );

    // RabbitMQ is used again without any refused delivery.
    sinks.broker.set(Behaviour::Accepts);
    let deadline = Instant::now() + crate::common::TIMEOUT;
    while sinks.health().detail.starts_with("delivering directly") {
        assert!(Instant::now() < deadline, "RabbitMQ is not used again");
        sinks.deliver(1).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let direct = sinks.direct.calls();
    let seqs = sinks.deliver(3).await.unwrap();
    assert!(seqs.clone().all(|seq| sinks.broker.has(seq)));
    assert_eq!(sinks.direct.calls(), direct);
}

#[tokio::test(start_paused = true)]
async fn a_rabbitmq_that_never_answers_delays_no_direct_delivery() {
    let mut sinks = Sinks::new();
    sinks.broker.set(UNAVAILABLE);
    sinks.deliver_with_retries().await;
    sinks.broker.set(Behaviour::NeverAnswers);
    let tried = sinks.broker.calls();
    let deadline = Instant::now() + crate::common::TIMEOUT;
    while sinks.broker.calls() == tried {
        assert!(Instant::now() < deadline, "RabbitMQ is not probed");
        let began = Instant::now();
        sinks.deliver(1_000).await.unwrap();
        assert!(
            began.elapsed() < Duration::from_millis(500),
            "{:?}",
            began.elapsed()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for _ in 0..10 {
        sinks.deliver(1_000).await.unwrap();
    }
    assert_eq!(sinks.broker.calls(), tried + 1, "one probe at a time");
    let longest = sinks.broker.longest.load(Ordering::SeqCst);
    assert!(longest <= 32, "a probe is small: {longest}");
    sinks.broker.set(Behaviour::Accepts);
    until("it is back", || {
        sinks.health().detail.starts_with("delivering through")
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn with_both_unavailable_records_wait_for_whichever_returns_first() {
    for broker_first in [true, false] {
        let mut sinks = Sinks::new();
        sinks.broker.set(UNAVAILABLE);
        sinks.deliver_with_retries().await;
        sinks
            .direct
            .set(Behaviour::Refuses(UnavailableKind::Locked));
        let unavailable = sinks.deliver(1).await.unwrap_err();
        assert_eq!(unavailable.kind, UnavailableKind::Locked);
        assert!(!sinks.health().up);
        let back = if broker_first {
            &sinks.broker
        } else {
            &sinks.direct
        };
        back.set(Behaviour::Accepts);
        let back = Arc::clone(back);
        let seq = sinks.deliver_with_retries().await;
        assert!(back.has(seq), "{broker_first}");
        assert!(sinks.health().up);
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_is_waited_for_only_while_consumers_work_on_it() {
    let mut sinks = Sinks::new();
    sinks.broker.set(FULL);
    let began = Instant::now();
    while began.elapsed() < GRACE * 2 {
        sinks.broker.set_queued(5_000, Duration::ZERO);
        assert_eq!(
            sinks.deliver(1).await.unwrap_err().kind,
            UnavailableKind::Full
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(sinks.direct.calls(), 0);
    let queued = sinks.sink.queued().map(|queued| queued.records);
    assert_eq!(queued, Some(5_000));
    sinks.broker.set_queued(0, Duration::ZERO);
    let seq = sinks.deliver_with_retries().await;
    assert!(sinks.direct.has(seq));
    assert_eq!(
        sinks.sink.queued(),
        None,
        "queues that are not in use are not reported"
    );
}

#[tokio::test(start_paused = true)]
async fn an_unknown_or_old_queue_length_is_no_reason_to_wait() {
    // During an alarm RabbitMQ refuses and the queue lengths are unknown; or they were read long ago.
    for age in [None, Some(Duration::from_secs(16))] {
        let mut sinks = Sinks::new();
        sinks.broker.set_queued(5_000, Duration::ZERO);
        sinks.deliver(1).await.unwrap();
        match age {
            Some(age) => sinks.broker.set_queued(5_000, age),
            None => *sinks.broker.queued.lock().unwrap() = None,
        }
        sinks.broker.set(FULL);
        let began = Instant::now();
        let seq = sinks.deliver_with_retries().await;
        assert!(sinks.direct.has(seq), "{age:?}");
        assert!(began.elapsed() >= GRACE, "{age:?}: the grace holds");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_direct_sink_only_rabbitmq_is_used() {
    let broker = Arc::new(SwitchableSink::default());
    let sink = FailoverSink::new(Arc::clone(&broker) as _, None, Duration::ZERO);
    broker.set(UNAVAILABLE);
    let mut batch = Batch::new(GatewayId(Uuid::from_u128(7)));
    batch.push(Seq(1), b"record");
    let batch = Arc::new(batch);
    for _ in 0..3 {
        assert!(sink.deliver(Arc::clone(&batch)).await.is_err());
    }
    assert!(!sink.health()[0].up);
    broker.set(Behaviour::Accepts);
    sink.deliver(batch).await.unwrap();
    assert!(broker.has(1) && sink.health()[0].up);
}
