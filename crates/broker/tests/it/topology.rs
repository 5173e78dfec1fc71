//! Deleted queues and bindings are declared again, and unroutable records are consumed.

use crate::common::{Gateway, Received, deliver_until_accepted, external_connection, until};
use crate::config;
use broker::{Broker, Config};
use central::ports::Sink;
use lapin::options::{
    ExchangeDeleteOptions, ExchangeUnbindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;

async fn exists(url: &str, queue: &str) -> bool {
    let (_connection, channel) = external_connection(url).await;
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
async fn a_record_without_a_binding_is_consumed_from_the_unroutable_queue() {
    let config = config();
    let broker = Broker::start(config.clone(), "both");
    broker.up().await;
    let (_connection, channel) = external_connection(&config.url).await;
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
    assert_eq!(
        caught,
        Ok(()),
        "returned instead of routed to the alternate exchange"
    );
    let mut received = Received::default();
    received.all_of(&broker, &gateway).await;
    received.assert_order();
}

/// The client library attaches a returned record to the next confirm, which may be that of another queue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_returned_record_is_never_taken_for_a_confirmed_one() {
    let config = config();
    let broker = Broker::start(config.clone(), "both");
    broker.up().await;
    let (_connection, channel) = external_connection(&config.url).await;
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
                deliver_until_accepted(&broker, batch).await;
            }
        }
    }
    assert!(refused > 0, "nothing was returned");
    let mut received = Received::default();
    received.all_of(&broker, &gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_queues_and_exchanges_are_declared_again() {
    let config = config();
    let broker = Broker::start(config.clone(), "both");
    broker.up().await;
    let (_connection, channel) = external_connection(&config.url).await;
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
    deliver_until_accepted(&broker, gateway.batch(100, 20)).await;
    until("the queue is there", async || {
        exists(&config.url, "wattpost.records.1").await
    })
    .await;
    let mut received = Received::default();
    received.all_of(&broker, &gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_fewer_partitions_the_records_of_the_others_are_consumed() {
    let many = Config {
        partitions: 5,
        ..config()
    };
    let broker = Broker::start(many.clone(), "before");
    broker.up().await;
    let mut gateway = Gateway::new();
    deliver_until_accepted(&broker, gateway.batch(200, 50)).await;
    broker.close().await;

    let few = Config {
        partitions: 2,
        ..many
    };
    let broker = Broker::start(few, "after");
    broker.up().await;
    deliver_until_accepted(&broker, gateway.batch(200, 50)).await;
    let mut received = Received::default();
    received.all_of(&broker, &gateway).await;
    assert_eq!(received.repeats, 0);
}
