//! The consumer while RabbitMQ and the database become unavailable and available again.

use crate::support::rabbit::{Content, Rabbit};
use crate::support::store::TestStore;
use crate::support::{Process, config, id, oracle, record, start, until};
use central::ports::{DeadLetter, Health};
use consumer::Config;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

fn health(process: &Process) -> Health {
    process.consumer.probe().health().remove(0)
}

fn assert_holds(store: &TestStore, seqs: impl IntoIterator<Item = u64>) {
    let all: Vec<_> = seqs
        .into_iter()
        .map(|seq| (id(1, seq), record(seq)))
        .collect();
    let expected = oracle(all.iter().map(|(id, bytes)| (*id, bytes.as_slice())));
    assert!(
        store.contents() == expected,
        "differs from applying each record once"
    );
}

#[tokio::test]
async fn published_records_are_applied_and_acknowledged() {
    let (rabbit, store) = (Rabbit::new(1_000), Arc::new(TestStore::default()));
    let process = start(&rabbit, &store, config());
    rabbit.publish_records(1, 1..=510);
    until("all is consumed", || rabbit.is_drained()).await;
    assert_eq!(rabbit.acknowledged(), 510);
    assert_eq!((rabbit.redelivered(), rabbit.subscriptions()), (0, (1, 1)));
    assert!(health(&process).up);
    assert_holds(&store, 1..=510);
    // A single record is acknowledged although no other follows.
    rabbit.publish_records(1, [511]);
    until("the last is consumed", || rabbit.is_drained()).await;
    // So is a batch that is exactly full.
    rabbit.publish_records(1, 512..=531);
    until("the last batch is consumed", || rabbit.is_drained()).await;
    assert_eq!(rabbit.redelivered(), 0);
}

#[tokio::test]
async fn after_a_pause_records_do_not_wait_for_more() {
    let (rabbit, store) = (Rabbit::new(1_000), Arc::new(TestStore::default()));
    let config = Config {
        batch_age_ms: 60_000,
        ..config()
    };
    let _process = start(&rabbit, &store, config);
    for seq in 1..=8 {
        rabbit.publish_records(1, [seq]);
        until("the record is consumed", || rabbit.is_drained()).await;
    }
    assert_holds(&store, 1..=8);
    // A steady stream waits, so that not each record costs a transaction.
    rabbit.publish_records(1, [9]);
    until("the record is delivered", || rabbit.ready() == 0).await;
    assert_eq!(rabbit.acknowledged(), 8);
}

#[tokio::test]
async fn the_next_batch_is_collected_while_one_is_applied() {
    let (rabbit, store) = (Rabbit::new(1_000), Arc::new(TestStore::default()));
    store.hold(true);
    rabbit.publish_records(1, 1..=100);
    let _process = start(&rabbit, &store, config());
    until("two batches are out", || rabbit.unacked() == 40).await;
    assert_eq!(rabbit.acknowledged(), 0);
    store.hold(false);
    until("all is consumed", || rabbit.is_drained()).await;
    assert_holds(&store, 1..=100);
}

#[tokio::test]
async fn with_a_prefetch_of_one_batch_the_consumer_does_not_wait_for_more() {
    let (rabbit, store) = (Rabbit::new(20), Arc::new(TestStore::default()));
    rabbit.publish_records(1, 1..=200);
    let _process = start(&rabbit, &store, config());
    until("all is consumed", || rabbit.is_drained()).await;
    assert_eq!(rabbit.redelivered(), 0);
    assert_eq!(rabbit.subscriptions(), (1, 1));
    assert_holds(&store, 1..=200);
}

#[tokio::test]
async fn while_the_database_is_unavailable_nothing_is_held_and_an_outage_costs_one_delivery() {
    let (rabbit, store) = (Rabbit::new(50), Arc::new(TestStore::default()));
    let process = start(&rabbit, &store, config());
    rabbit.publish_records(1, 1..=200);
    until("some are applied", || rabbit.acknowledged() > 0).await;
    for outage in 0..3_u64 {
        until("all is consumed", || rabbit.is_drained()).await;
        store.is_unavailable.store(true, Ordering::SeqCst);
        let pings = store.pings.load(Ordering::SeqCst);
        let from = 201 + outage * 100;
        rabbit.publish_records(1, from..from + 100);
        until("it is noticed", || !health(&process).up).await;
        until("the database is pinged", || {
            store.pings.load(Ordering::SeqCst) > pings + 5
        })
        .await;
        assert_eq!(
            (rabbit.unacked(), rabbit.ready()),
            (0, 100),
            "nothing is held"
        );
        assert_eq!(rabbit.subscriptions().0, 0, "nothing is consumed");
        let detail = health(&process).detail;
        assert!(detail.contains("database has no space left"), "{detail}");
        store.is_unavailable.store(false, Ordering::SeqCst);
    }
    until("consuming resumes", || rabbit.is_drained()).await;
    assert_eq!(rabbit.deliveries_max(), 2, "one redelivery for one outage");
    until("health says so", || health(&process).up).await;
    assert_holds(&store, 1..=500);
}

#[tokio::test]
async fn a_database_that_answers_pings_but_refuses_batches_is_retried_less_and_less_often() {
    let (rabbit, store) = (Rabbit::new(50), Arc::new(TestStore::default()));
    store.is_unavailable.store(true, Ordering::SeqCst);
    store.answers_pings.store(true, Ordering::SeqCst);
    rabbit.publish_records(1, 1..=10);
    let _process = start(&rabbit, &store, config());
    until("it has been tried", || {
        store.calls.load(Ordering::SeqCst) >= 7
    })
    .await;
    // Delays of 1, 2, 4, … ms, each at least half of that: 7 attempts take 31 ms or more, 30 would take 9
    // minutes.
    assert!(rabbit.deliveries_max() < 15, "{}", rabbit.deliveries_max());
    store.is_unavailable.store(false, Ordering::SeqCst);
    until("consuming resumes", || rabbit.is_drained()).await;
    assert_holds(&store, 1..=10);
}

#[tokio::test]
async fn rabbitmq_may_start_late_and_fail_repeatedly() {
    let (rabbit, store) = (Rabbit::new(50), Arc::new(TestStore::default()));
    rabbit.go_down();
    let process = start(&rabbit, &store, config());
    until("it is noticed", || {
        health(&process).detail.contains("RabbitMQ")
    })
    .await;
    for round in 0..20_u64 {
        rabbit.restore();
        let from = round * 100 + 1;
        rabbit.publish_records(1, from..from + 100);
        let wanted = rabbit.acknowledged() + 30;
        until("some are consumed", || rabbit.acknowledged() >= wanted).await;
        rabbit.go_down();
        assert_eq!(rabbit.unacked(), 0);
    }
    rabbit.restore();
    until("all is consumed", || rabbit.is_drained()).await;
    assert_holds(&store, 1..=2_000);
}

#[tokio::test]
async fn order_and_redelivery_make_no_difference() {
    let (rabbit, store) = (Rabbit::new(50), Arc::new(TestStore::default()));
    let mut rng = fastrand::Rng::with_seed(7);
    let mut seqs: Vec<u64> = (1..=500).chain(1..=500).chain(100..=200).collect();
    rng.shuffle(&mut seqs);
    rabbit.publish_records(1, seqs);
    let _process = start(&rabbit, &store, config());
    until("all is consumed", || rabbit.is_drained()).await;
    assert_holds(&store, 1..=500);
}

#[tokio::test]
async fn unreadable_messages_become_dead_letters_and_block_nothing() {
    let (rabbit, store) = (Rabbit::new(50), Arc::new(TestStore::default()));
    rabbit.publish_records(1, 1..=30);
    rabbit.publish(Content::Record(id(1, 31), b"no record".to_vec()));
    let letter = DeadLetter {
        id: id(2, 1),
        bytes: b"no envelope".to_vec(),
        reason: "not JSON".to_owned(),
    };
    rabbit.publish(Content::Unreadable(letter));
    rabbit.publish_records(1, 32..=60);
    let _process = start(&rabbit, &store, config());
    until("all is consumed", || rabbit.is_drained()).await;
    let contents = store.contents();
    assert_eq!(contents.records.len(), 59);
    assert_eq!(contents.dead.len(), 2);
    assert_eq!(contents.dead[&id(2, 1)].1, "not JSON");
    assert_eq!(contents.dead[&id(1, 31)].0, b"no record");
    assert_eq!(rabbit.redelivered(), 0);
}

#[tokio::test]
async fn a_batch_of_unreadable_messages_only_is_acknowledged() {
    let (rabbit, store) = (Rabbit::new(50), Arc::new(TestStore::default()));
    let letter = DeadLetter {
        id: id(2, 1),
        bytes: Vec::new(),
        reason: "empty".to_owned(),
    };
    rabbit.publish(Content::Unreadable(letter));
    let _process = start(&rabbit, &store, config());
    until("it is consumed", || rabbit.is_drained()).await;
    assert_eq!(store.contents().dead.len(), 1);
}

#[tokio::test]
async fn shutdown_finishes_the_current_batches_and_returns_the_rest() {
    let (rabbit, store) = (Rabbit::new(1_000), Arc::new(TestStore::default()));
    store.hold(true);
    rabbit.publish_records(1, 1..=100);
    let process = start(&rabbit, &store, config());
    until("two batches are out", || rabbit.unacked() == 40).await;
    let consumer = Arc::new(process.consumer);
    let stopping = tokio::spawn({
        let consumer = Arc::clone(&consumer);
        async move { consumer.shutdown(crate::support::TIMEOUT).await }
    });
    tokio::task::yield_now().await;
    store.hold(false);
    stopping.await.unwrap();
    assert_eq!(rabbit.acknowledged(), 40);
    assert_eq!((rabbit.unacked(), rabbit.ready()), (0, 60));
    assert_eq!(rabbit.redelivered(), 0);
    assert_holds(&store, 1..=40);
    assert_eq!(consumer.probe().health()[0].detail, "stopped");
}

#[tokio::test]
async fn shutdown_ends_after_its_grace_while_the_database_blocks() {
    let (rabbit, store) = (Rabbit::new(1_000), Arc::new(TestStore::default()));
    store.hold(true);
    rabbit.publish_records(1, 1..=10);
    let process = start(&rabbit, &store, config());
    until("a batch is out", || rabbit.unacked() == 10).await;
    let stopping = process.consumer.shutdown(Duration::from_millis(50));
    tokio::time::timeout(crate::support::TIMEOUT, stopping)
        .await
        .expect("ends");
    until("RabbitMQ has it back", || rabbit.ready() == 10).await;
    store.hold(false);
}

#[tokio::test]
async fn one_of_two_consumers_is_active_and_the_other_takes_over() {
    let (rabbit, store) = (Rabbit::new(50), Arc::new(TestStore::default()));
    let first = start(&rabbit, &store, config());
    until("it is there", || rabbit.subscriptions().0 == 1).await;
    let _second = start(&rabbit, &store, config());
    rabbit.publish_records(1, 1..=300);
    until("some are applied", || rabbit.acknowledged() > 0).await;
    drop(first);
    rabbit.publish_records(1, 301..=600);
    until("all is consumed", || rabbit.is_drained()).await;
    assert_holds(&store, 1..=600);
}

#[test]
fn invalid_settings_are_reported_by_name() {
    assert_eq!(Config::default().check(), Ok(()));
    let config = Config {
        batch_records_max: 0,
        ..Config::default()
    };
    let error = config.check().unwrap_err();
    assert!(
        error
            .to_string()
            .contains("consumer.batch_records_max is 0"),
        "{error}"
    );
}
