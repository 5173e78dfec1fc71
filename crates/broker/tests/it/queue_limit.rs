//! A queue at its length refuses, and nothing is lost by that.

use crate::common::{self, Gateway, Seen, deliver_for_sure, until};
use crate::{config, virtual_host, world};
use broker::{Broker, Config};
use central::ports::{Sink, UnavailableKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_refuses_and_nothing_is_lost() {
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
            .map(|away| (away, batch));
        refused.is_some()
    })
    .await;
    let (away, batch) = refused.expect("refused");
    assert_eq!(away.kind, UnavailableKind::Full, "{away}");
    assert!(
        away.detail.contains("broker.queue_records_max = 50"),
        "{away}"
    );
    // Being full is not being broken: the same connection says so again at once.
    let again = broker.deliver(batch.clone()).await.expect_err("still full");
    assert_eq!(again.kind, UnavailableKind::Full, "{again}");

    let sender = Arc::clone(&broker);
    let delivering = tokio::spawn(async move { deliver_for_sure(&sender, batch).await });
    let mut seen = Seen::default();
    seen.all_of(&broker, &gateway).await;
    delivering.await.expect("delivered");
}

/// We cannot see such a bound: a refusal while no queue is at ours is cured by a new connection, but not again
/// and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bound_that_a_policy_sets_is_not_met_with_connection_after_connection() {
    let virtual_host = virtual_host();
    let node = &world().node;
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
        answer.is_err_and(|away| away.kind == UnavailableKind::Full)
    })
    .await;
    let mut interruptions = 0;
    let mut was_full = true;
    let end = Instant::now() + Duration::from_secs(8);
    let batch = gateway.batch(40, 3);
    while Instant::now() < end {
        let away = broker.deliver(batch.clone()).await.expect_err("full");
        let is_full = away.kind == UnavailableKind::Full;
        interruptions += u32::from(was_full && !is_full);
        was_full = is_full;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(was_full, "it says what it is");
    // At once, and 5 s later.
    assert!(interruptions <= 2, "{interruptions} new connections");
}
