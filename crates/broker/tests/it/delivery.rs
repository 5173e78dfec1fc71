//! Records are delivered unchanged and in each charger's order.

use crate::common::{
    Gateway, Received, all_the_time, bounds, collect, deliver_until_accepted,
    subscribe_until_accepted, until,
};
use crate::config;
use broker::Broker;
use central::ports::{Batch, CollectBounds, Sink};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_delivered_unchanged_and_in_each_chargers_order() {
    let config = config();
    let sender = Broker::start(config.clone(), "gateway");
    sender.up().await;
    let mut gateway = Gateway::new();
    // Several batches at once, larger than the window, like a forwarder.
    let batches: Vec<Arc<Batch>> = [1, 700, 3_000, 0, 1_300]
        .into_iter()
        .map(|records| gateway.batch(records, 20))
        .collect();
    let answers = batches.into_iter().map(|batch| sender.deliver(batch));
    for answer in futures_util::future::join_all(answers).await {
        answer.expect("accepted");
    }

    let receiver = Broker::start(config, "consumer");
    let mut received = Received::default();
    received.all_of(&receiver, &gateway).await;
    assert_eq!(received.repeats, 0);
    received.assert_order();
    assert_eq!(received.by_charger.len(), 20);
    sender.close().await;
    receiver.close().await;
    assert!(sender.deliver(gateway.batch(1, 1)).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limits_of_a_batch_hold() {
    let config = config();
    let broker = Broker::start(config, "both");
    broker.up().await;
    let mut gateway = Gateway::new();
    deliver_until_accepted(&broker, gateway.batch(300, 5)).await;
    let mut subscription = subscribe_until_accepted(&broker).await;
    let mut received = Received::default();
    while received.count(&gateway) < 200 {
        let bounds = CollectBounds {
            records_max: 10,
            ..bounds()
        };
        let collected = subscription.collect(bounds).await.expect("connected");
        assert!((1..=10).contains(&collected.batch.len()));
        received.take(&collected);
        subscription
            .acknowledge(collected.upto)
            .await
            .expect("acknowledged");
    }
    while received.count(&gateway) < 300 {
        let bounds = CollectBounds {
            bytes_max: 1_000,
            ..bounds()
        };
        let collected = subscription.collect(bounds).await.expect("connected");
        assert!(collected.batch.size_bytes() <= 1_000);
        received.take(&collected);
        subscription
            .acknowledge(collected.upto)
            .await
            .expect("acknowledged");
    }
    // A record that is longer than the limit is still delivered.
    deliver_until_accepted(&broker, gateway.batch(1, 1)).await;
    let bounds = CollectBounds {
        bytes_max: 1,
        not_before: Instant::now(),
        ..bounds()
    };
    let collected = subscription.collect(bounds).await.expect("connected");
    assert_eq!(collected.batch.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_consumers_one_is_active_and_the_other_takes_over_in_order() {
    let config = config();
    let sender = Broker::start(config.clone(), "gateway");
    let first = Broker::start(config.clone(), "consumer 1");
    let second = Broker::start(config, "consumer 2");
    let mut working = subscribe_until_accepted(&first).await;
    let mut idle = subscribe_until_accepted(&second).await;
    let mut gateway = Gateway::new();
    sender.up().await;
    deliver_until_accepted(&sender, gateway.batch(500, 7)).await;

    let mut received = Received::default();
    while received.count(&gateway) < 400 {
        let collected = collect(&mut working).await;
        received.take(&collected);
        working
            .acknowledge(collected.upto)
            .await
            .expect("acknowledged");
    }
    // The second consumer receives nothing while the first is active.
    let nothing = tokio::time::timeout(Duration::from_millis(300), idle.collect(bounds())).await;
    assert!(nothing.is_err(), "{nothing:?}");

    drop(working);
    deliver_until_accepted(&sender, gateway.batch(500, 7)).await;
    let mut taken_over = Received::default();
    while received.count(&gateway) < gateway.seq {
        let collected = collect(&mut idle).await;
        received.take(&collected);
        taken_over.take(&collected);
        idle.acknowledge(collected.upto)
            .await
            .expect("acknowledged");
    }
    taken_over.assert_order();
    received.assert_order();
}

fn records(broker: &Broker) -> u64 {
    broker.queued().map_or(0, |queued| queued.records)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_number_of_queued_records_is_known_while_there_is_a_consumer() {
    let config = config();
    let broker = Broker::start(config, "both");
    broker.up().await;
    let mut gateway = Gateway::new();
    deliver_until_accepted(&broker, gateway.batch(9_000, 50)).await;
    // Longer than the interval between two checks of the queues.
    all_the_time(
        "there is no consumer",
        Duration::from_millis(1_500),
        async || records(&broker) == 0,
    )
    .await;
    // It takes at most the prefetch of each partition, and stays.
    let mut subscription = subscribe_until_accepted(&broker).await;
    let collected = collect(&mut subscription).await;
    until("the number of queued records is known", async || {
        records(&broker) > 0
    })
    .await;
    subscription
        .acknowledge(collected.upto)
        .await
        .expect("acknowledged");
    subscription.cancel().await;
    until("there is no consumer any more", async || {
        records(&broker) == 0
    })
    .await;
}
