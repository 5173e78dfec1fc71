//! A queue at its length refuses, and nothing is lost by that.

use crate::common::{Gateway, Seen, deliver_for_sure, until};
use crate::config;
use broker::{Broker, Config};
use central::ports::{AwayKind, Sink};
use std::sync::Arc;

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
    assert_eq!(away.kind, AwayKind::Full, "{away}");
    assert!(
        away.detail.contains("broker.queue_records_max = 50"),
        "{away}"
    );
    // Being full is not being broken: the same connection says so again at once.
    let again = broker.deliver(batch.clone()).await.expect_err("still full");
    assert_eq!(again.kind, AwayKind::Full, "{again}");

    let sender = Arc::clone(&broker);
    let delivering = tokio::spawn(async move { deliver_for_sure(&sender, batch).await });
    let mut seen = Seen::default();
    seen.all_of(&broker, &gateway).await;
    delivering.await.expect("delivered");
}
