//! A full queue refuses records, and none is lost.

use crate::common::{self, Gateway, Received, deliver_until_accepted, until};
use crate::{config, shared_node, virtual_host};
use broker::{Broker, Config};
use central::ports::{Sink, UnavailableKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_refuses_records_and_none_is_lost() {
    let config = Config {
        partitions: 1,
        queue_records_max: 50,
        ..config()
    };
    let broker = Broker::start(config, "both");
    broker.up().await;
    let mut gateway = Gateway::new();
    let mut refused = None;
    until("it becomes full", async || {
        let batch = gateway.batch(40, 3);
        refused = broker
            .deliver(batch.clone())
            .await
            .err()
            .map(|error| (error, batch));
        refused.is_some()
    })
    .await;
    let (error, batch) = refused.expect("refused");
    assert_eq!(error.kind, UnavailableKind::Full, "{error}");
    assert!(
        error.detail.contains("broker.queue_records_max = 50"),
        "{error}"
    );
    // A full queue does not fail the connection: it refuses the batch again at once.
    let again = broker.deliver(batch.clone()).await.expect_err("still full");
    assert_eq!(again.kind, UnavailableKind::Full, "{again}");

    let sender = Arc::clone(&broker);
    let delivering = tokio::spawn(async move { deliver_until_accepted(&sender, batch).await });
    let mut received = Received::default();
    received.all_of(&broker, &gateway).await;
    delivering.await.expect("delivered");
}

/// Such a limit is not visible here. A refusal while no queue is full is answered with a new connection, but
/// not again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_set_by_a_policy_does_not_cause_one_reconnect_after_another() {
    let virtual_host = virtual_host();
    let node = &shared_node().node;
    let policy = ["small", "^wattpost[.]records[.]", r#"{"max-length":50}"#];
    let mut command = vec!["set_policy", "-p", &virtual_host, "--apply-to", "queues"];
    command.extend(policy);
    node.ctl(&command).expect("a policy");
    let config = common::config(node.url_as("wattpost", "wattpost", &virtual_host));
    let broker = Broker::start(config, "both");
    broker.up().await;
    let mut gateway = Gateway::new();
    until("it becomes full", async || {
        let answer = broker.deliver(gateway.batch(40, 3)).await;
        answer.is_err_and(|error| error.kind == UnavailableKind::Full)
    })
    .await;
    let mut interruptions = 0;
    let mut was_full = true;
    let end = Instant::now() + Duration::from_secs(8);
    let batch = gateway.batch(40, 3);
    while Instant::now() < end {
        let error = broker.deliver(batch.clone()).await.expect_err("full");
        let is_full = error.kind == UnavailableKind::Full;
        interruptions += u32::from(was_full && !is_full);
        was_full = is_full;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(was_full, "the last refusal says that the queue is full");
    // At once, and 5 s later.
    assert!(interruptions <= 2, "{interruptions} new connections");
}
