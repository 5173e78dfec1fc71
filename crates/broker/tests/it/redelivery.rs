//! Unacknowledged records are delivered again.

use crate::common::{
    Gateway, Received, bounds, collect, deliver_until_accepted, subscribe_until_accepted,
};
use crate::config;
use broker::{Broker, Config};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unacknowledged_records_are_redelivered_after_cancel_and_after_drop() {
    let broker = Broker::start(config(), "both");
    broker.up().await;
    let mut gateway = Gateway::new();
    deliver_until_accepted(&broker, gateway.batch(100, 5)).await;

    let mut subscription = subscribe_until_accepted(&broker).await;
    let collected = collect(&mut subscription).await;
    assert!(!collected.batch.is_empty());
    subscription.cancel().await;

    let mut subscription = subscribe_until_accepted(&broker).await;
    let collected = collect(&mut subscription).await;
    assert!(!collected.batch.is_empty());
    drop(subscription);

    let mut received = Received::default();
    received.all_of(&broker, &gateway).await;
    assert_eq!(received.repeats, 0);
    received.assert_order();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_ends_in_the_middle_of_a_batch_loses_nothing() {
    const ENDS: u32 = 200;
    let config = Config {
        prefetch: 20,
        ..config()
    };
    let broker = Broker::start(config, "both");
    broker.up().await;
    let mut gateway = Gateway::new();
    deliver_until_accepted(&broker, gateway.batch(4_000, 11)).await;
    let mut received = Received::default();
    let mut acknowledged = Received::default();
    for round in 0..ENDS {
        if round % 20 == 0 {
            deliver_until_accepted(&broker, gateway.batch(100, 11)).await;
        }
        let mut subscription = subscribe_until_accepted(&broker).await;
        let seven = central::ports::CollectBounds {
            records_max: 7,
            not_before: Instant::now(),
            ..bounds()
        };
        // One batch is acknowledged, the next is not; in every other round even collecting is cancelled.
        let collected = subscription.collect(seven).await.expect("connected");
        received.take(&collected);
        subscription
            .acknowledge(collected.upto)
            .await
            .expect("acknowledged");
        acknowledged.take(&collected);
        if round % 2 == 0 {
            let collected = subscription.collect(seven).await.expect("connected");
            received.take(&collected);
        } else {
            let _ = tokio::time::timeout(Duration::from_micros(50), subscription.collect(bounds()))
                .await;
        }
        match round % 3 {
            0 => subscription.cancel().await,
            _ => drop(subscription),
        }
    }
    // Acknowledged records were never delivered again, and all others are still there.
    assert_eq!(acknowledged.repeats, 0);
    acknowledged.all_of(&broker, &gateway).await;
    assert_eq!(acknowledged.repeats, 0);
    acknowledged.assert_order();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_collect_loses_nothing() {
    let broker = Broker::start(config(), "both");
    broker.up().await;
    let mut gateway = Gateway::new();
    let mut subscription = subscribe_until_accepted(&broker).await;
    let mut received = Received::default();
    for _ in 0..20 {
        deliver_until_accepted(&broker, gateway.batch(10, 3)).await;
        let long = central::ports::CollectBounds {
            not_before: Instant::now() + Duration::from_secs(10),
            ..bounds()
        };
        let waited =
            tokio::time::timeout(Duration::from_millis(15), subscription.collect(long)).await;
        assert!(waited.is_err());
    }
    while received.count(&gateway) < gateway.seq {
        let collected = collect(&mut subscription).await;
        received.take(&collected);
        subscription
            .acknowledge(collected.upto)
            .await
            .expect("acknowledged");
    }
    assert_eq!(received.repeats, 0);
    received.assert_order();
}
