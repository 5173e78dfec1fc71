//! A cluster of three nodes: two of them are enough for a quorum queue.

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use std::time::{Duration, Instant};
use testbed::RabbitCluster;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cluster_works_without_one_node_and_with_it_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut cluster = RabbitCluster::start(dir.path(), 3).expect("a cluster");
    declare(&cluster.url(0)).await.expect("declare");
    publish_confirmed(&cluster.url(0)).await.expect("publish");

    // The queue was declared on node 0, so its leader is there.
    cluster.kill(0).expect("kill");
    let deadline = Instant::now() + Duration::from_secs(60);
    while let Err(error) = publish_confirmed(&cluster.url(1)).await {
        assert!(
            Instant::now() < deadline,
            "two of three nodes do not confirm: {error}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    cluster.restart(0).expect("restart");
    let deadline = Instant::now() + Duration::from_secs(60);
    while let Err(error) = publish_confirmed(&cluster.url(0)).await {
        assert!(
            Instant::now() < deadline,
            "the restarted node does not confirm: {error}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let count = declare(&cluster.url(2)).await.expect("declare");
    assert!(count >= 3, "three were confirmed, {count} are queued");
}

/// Declares the queue; returns the number of messages in it.
async fn declare(url: &str) -> Result<u32, String> {
    let connection = Connection::connect(url, ConnectionProperties::default())
        .await
        .map_err(|e| e.to_string())?;
    let channel = connection
        .create_channel()
        .await
        .map_err(|e| e.to_string())?;
    let mut arguments = FieldTable::default();
    arguments.insert(
        "x-queue-type".into(),
        AMQPValue::LongString("quorum".into()),
    );
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let queue = channel
        .queue_declare("kept".into(), options, arguments)
        .await
        .map_err(|e| e.to_string())?;
    Ok(queue.message_count())
}

/// Publishes one message, which must be confirmed within two seconds.
async fn publish_confirmed(url: &str) -> Result<(), String> {
    let work = async {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        let persistent = BasicProperties::default().with_delivery_mode(2);
        let options = BasicPublishOptions::default();
        channel
            .basic_publish("".into(), "kept".into(), options, b"x", persistent)
            .await?
            .await
    };
    let confirmed = tokio::time::timeout(Duration::from_secs(2), work)
        .await
        .map_err(|_| "no confirm".to_owned())?;
    if confirmed.map_err(|error| error.to_string())?.is_ack() {
        Ok(())
    } else {
        Err("not confirmed".to_owned())
    }
}
