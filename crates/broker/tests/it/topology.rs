//! Queues and bindings that somebody deletes come back, and what finds none is caught.

use crate::common::{Gateway, Seen, deliver_for_sure, stranger, until};
use crate::config;
use broker::{Broker, Config};
use central::ports::Sink;
use lapin::options::{
    ExchangeDeleteOptions, ExchangeUnbindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;

async fn exists(url: &str, queue: &str) -> bool {
    let (_connection, channel) = stranger(url).await;
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(queue.into(), passive, FieldTable::default())
        .await
        .is_ok()
}

fn of_partition(partition: usize) -> String {
    format!("wattpost.records.{partition}")
}

async fn unbind_queue(channel: &lapin::Channel, partition: usize) {
    let name = of_partition(partition);
    channel
        .queue_unbind(
            name.as_str().into(),
            name.as_str().into(),
            "".into(),
            FieldTable::default(),
        )
        .await
        .expect("unbound");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_binding_a_record_is_caught_and_consumed() {
    let config = config();
    let broker = Broker::start(config.clone(), "both");
    broker.up().await;
    let (_connection, channel) = stranger(&config.url).await;
    for partition in 0..3 {
        unbind_queue(&channel, partition).await;
        channel
            .exchange_unbind(
                "wattpost.records".into(),
                of_partition(partition).as_str().into(),
                "".into(),
                ExchangeUnbindOptions::default(),
                FieldTable::default(),
            )
            .await
            .expect("unbound");
    }
    let mut gateway = Gateway::new();
    let caught = broker.deliver(gateway.batch(100, 5)).await;
    assert_eq!(caught, Ok(()), "not caught but returned");
    let mut seen = Seen::default();
    seen.all_of(&broker, &gateway).await;
    seen.assert_order();
}

/// The library tells of a returned record with whichever confirm comes next, which may be one of a queue
/// that is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_finds_no_queue_is_never_taken_for_a_stored_one() {
    let config = config();
    let broker = Broker::start(config.clone(), "both");
    broker.up().await;
    let (_connection, channel) = stranger(&config.url).await;
    let mut gateway = Gateway::new();
    let mut refused = 0;
    for round in 0..3 {
        unbind_queue(&channel, round % 3).await;
        let batches: Vec<_> = (0..300).map(|_| gateway.batch(1, 60)).collect();
        let deliveries = batches.iter().map(|batch| broker.deliver(batch.clone()));
        let answers = futures_util::future::join_all(deliveries).await;
        for (batch, answer) in batches.into_iter().zip(answers) {
            if answer.is_err() {
                refused += 1;
                deliver_for_sure(&broker, batch).await;
            }
        }
    }
    assert!(refused > 0, "nothing came back");
    let mut seen = Seen::default();
    seen.all_of(&broker, &gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_queues_and_exchanges_come_back() {
    let config = config();
    let broker = Broker::start(config.clone(), "both");
    broker.up().await;
    let (_connection, channel) = stranger(&config.url).await;
    for queue in ["wattpost.records.1", "wattpost.unroutable"] {
        channel
            .queue_delete(queue.into(), QueueDeleteOptions::default())
            .await
            .expect("deleted");
    }
    for exchange in [
        "wattpost.records",
        "wattpost.records.2",
        "wattpost.unroutable",
    ] {
        channel
            .exchange_delete(exchange.into(), ExchangeDeleteOptions::default())
            .await
            .expect("deleted");
    }
    let mut gateway = Gateway::new();
    deliver_for_sure(&broker, gateway.batch(100, 20)).await;
    until("the queue is there", async || {
        exists(&config.url, "wattpost.records.1").await
    })
    .await;
    let mut seen = Seen::default();
    seen.all_of(&broker, &gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_fewer_partitions_nothing_is_stranded() {
    let many = Config {
        partitions: 5,
        ..config()
    };
    let broker = Broker::start(many.clone(), "before");
    broker.up().await;
    let mut gateway = Gateway::new();
    deliver_for_sure(&broker, gateway.batch(200, 50)).await;
    broker.close().await;

    let few = Config {
        partitions: 2,
        ..many
    };
    let broker = Broker::start(few, "after");
    broker.up().await;
    deliver_for_sure(&broker, gateway.batch(200, 50)).await;
    let mut seen = Seen::default();
    seen.all_of(&broker, &gateway).await;
    assert_eq!(seen.repeats, 0);
}
