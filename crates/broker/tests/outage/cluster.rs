//! Three nodes, one of which is killed during publishing: the majority continues.

use crate::common::{self, Gateway, Received, SOON, deliver_until_accepted};
use broker::{Broker, Config};
use central::ports::Sink;
use std::time::{Duration, Instant};
use testbed::RabbitCluster;

#[test]
fn killing_a_node_during_publishing_loses_nothing() {
    let _guard = crate::one_at_a_time();
    let mut cluster = RabbitCluster::start(&common::dir("cluster"), 3).expect("a cluster");
    let urls: Vec<String> = (0..3).map(|node| cluster.url(node)).collect();
    let config = Config {
        confirm_timeout_ms: 5_000,
        ..common::config(urls.join(","))
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let sender = runtime.block_on(async { Broker::start(config.clone(), "gateway") });
    let mut gateway = Gateway::new();
    runtime.block_on(async {
        tokio::time::timeout(SOON, sender.up())
            .await
            .expect("connected");
        for _ in 0..20 {
            deliver_until_accepted(&sender, gateway.batch(200, 9)).await;
        }
    });
    // Kills the connected node in the middle of a batch.
    let batch = gateway.batch(4_000, 9);
    let under_way = sender.deliver(batch.clone());
    cluster.kill(0).expect("killed");
    let since = Instant::now();
    runtime.block_on(async {
        if under_way.await.is_err() {
            deliver_until_accepted(&sender, batch.clone()).await;
        }
        let without = since.elapsed();
        for _ in 0..20 {
            deliver_until_accepted(&sender, gateway.batch(200, 9)).await;
        }
        println!(
            "publishing continued {} ms after the kill",
            without.as_millis()
        );
        assert!(without < Duration::from_secs(40), "{without:?}");

        let receiver = Broker::start(config, "consumer");
        let mut received = Received::default();
        received.all_of(&receiver, &gateway).await;
        received.assert_order();
        sender.close().await;
        receiver.close().await;
    });
}
