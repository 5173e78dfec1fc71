//! Messages that cannot become records are kept as dead letters with their reason.

use crate::common::{
    Gateway, collect, deliver_until_accepted, external_connection, id, record,
    subscribe_until_accepted,
};
use crate::config;
use broker::{Broker, Config};
use central::Seq;
use central::ports::{Batch, Sink};
use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_above_the_delivery_limit_becomes_a_dead_letter_with_its_own_id() {
    let config = Config {
        partitions: 1,
        delivery_limit: 3,
        ..config()
    };
    let broker = Broker::start(config, "both");
    broker.up().await;
    let mut gateway = Gateway::new();
    deliver_until_accepted(&broker, gateway.batch(1, 1)).await;
    // A consumer that ends each time after it has received the record.
    let mut deaths = 0;
    let (mut subscription, collected) = loop {
        let mut subscription = subscribe_until_accepted(&broker).await;
        let collected = collect(&mut subscription).await;
        if !collected.batch.unreadable().is_empty() {
            break (subscription, collected);
        }
        deaths += 1;
        assert!(deaths <= 10, "the delivery limit is not enforced");
        drop(subscription);
    };
    assert!(deaths >= 3, "dead-lettered after {deaths} deliveries");
    assert_eq!(collected.batch.len(), 0);
    let [letter] = collected.batch.unreadable() else {
        panic!("{collected:?}");
    };
    assert_eq!(letter.id, id(&gateway, 1));
    assert_eq!(letter.bytes, record("CP-0", 1));
    assert!(
        letter.reason.contains("broker.delivery_limit"),
        "{}",
        letter.reason
    );
    assert!(
        letter.reason.contains("wattpost.records.0"),
        "{}",
        letter.reason
    );
    subscription
        .acknowledge(collected.upto)
        .await
        .expect("acknowledged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_message_becomes_a_dead_letter_and_blocks_nothing() {
    let config = config();
    let broker = Broker::start(config.clone(), "both");
    broker.up().await;
    let (_connection, channel) = external_connection(&config.url).await;
    for _ in 0..2 {
        channel
            .basic_publish(
                "wattpost.records.0".into(),
                "0.hello".into(),
                BasicPublishOptions::default(),
                b"hello",
                BasicProperties::default(),
            )
            .await
            .expect("published");
    }
    let mut gateway = Gateway::new();
    deliver_until_accepted(&broker, gateway.batch(30, 9)).await;
    let mut subscription = subscribe_until_accepted(&broker).await;
    let (mut letters, mut records) = (Vec::new(), 0);
    while letters.len() < 2 || records < 30 {
        let collected = collect(&mut subscription).await;
        records += collected.batch.len();
        letters.extend_from_slice(collected.batch.unreadable());
        subscription
            .acknowledge(collected.upto)
            .await
            .expect("acknowledged");
    }
    assert_eq!(letters[0].bytes, b"hello");
    assert_eq!(
        letters[0], letters[1],
        "the same content is the same letter"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_this_build_cannot_decode_are_delivered_unchanged() {
    let broker = Broker::start(config(), "both");
    broker.up().await;
    let gateway = Gateway::new();
    let mut batch = Batch::new(gateway.id);
    batch.push(Seq(1), b"\x09a later format");
    batch.push(Seq(2), &record("CP-1", 2));
    broker.deliver(Arc::new(batch)).await.expect("accepted");
    let mut subscription = subscribe_until_accepted(&broker).await;
    let mut got = Vec::new();
    while got.len() < 2 {
        let collected = collect(&mut subscription).await;
        got.extend(
            collected
                .batch
                .iter()
                .map(|(id, bytes)| (id.seq, bytes.to_vec())),
        );
    }
    got.sort();
    assert_eq!(got[0], (Seq(1), b"\x09a later format".to_vec()));
    assert_eq!(got[1], (Seq(2), record("CP-1", 2)));
}
