//! A network that drops all packets, and one that resets connections.

use crate::common::{Gateway, Received, all_the_time, config, deliver_until_accepted, until};
use crate::{shared_node, virtual_host};
use broker::{Broker, Config};
use central::ports::{HealthProbe, Sink};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use testbed::Proxy;

fn behind_a_proxy() -> (Proxy, Config) {
    let node = SocketAddr::from((Ipv4Addr::LOCALHOST, shared_node().node.port()));
    let proxy = Proxy::start(node).expect("a proxy");
    let url = format!(
        "amqp://wattpost:wattpost@{}/{}",
        proxy.addr(),
        virtual_host()
    );
    (proxy, config(url))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_network_is_noticed_within_the_confirm_timeout() {
    let (proxy, config) = behind_a_proxy();
    let config = Config {
        confirm_timeout_ms: 500,
        connect_timeout_ms: 2_000,
        ..config
    };
    let broker = Broker::start(config, "both");
    broker.up().await;
    let mut gateway = Gateway::new();
    deliver_until_accepted(&broker, gateway.batch(10, 3)).await;

    proxy.black_hole();
    let since = Instant::now();
    let batch = gateway.batch(2_000, 3);
    broker.deliver(batch.clone()).await.expect_err("no answer");
    let first = since.elapsed();
    assert!(first >= Duration::from_millis(450), "{first:?}");
    assert!(first < Duration::from_millis(2_500), "{first:?}");
    // From now on the state is known.
    let since = Instant::now();
    broker.deliver(batch.clone()).await.expect_err("no answer");
    assert!(since.elapsed() < Duration::from_millis(100));
    until("health reports it", async || !broker.health()[0].up).await;
    // Connecting is retried and given up again and again.
    all_the_time(
        "attempts are left hanging, with a thread each",
        Duration::from_millis(2_500),
        async || {
            let threads = std::fs::read_dir("/proc/self/task");
            threads.expect("threads").count() < 100
        },
    )
    .await;

    proxy.restore();
    deliver_until_accepted(&broker, batch).await;
    let mut received = Received::default();
    received.all_of(&broker, &gateway).await;
    until("healthy", async || broker.health()[0].up).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_network_is_noticed_at_once_and_nothing_is_lost() {
    let (proxy, config) = behind_a_proxy();
    let broker = Broker::start(config, "both");
    broker.up().await;
    let mut gateway = Gateway::new();
    for _ in 0..5 {
        let delivery = broker.deliver(gateway.batch(3_000, 5));
        let since = Instant::now();
        proxy.cut();
        // Either everything was confirmed before, or it fails without waiting for a timeout.
        let delivered = delivery.await;
        assert!(since.elapsed() < Duration::from_millis(1_500));
        proxy.restore();
        if delivered.is_err() {
            gateway.seq -= 3_000;
            deliver_until_accepted(&broker, gateway.batch(3_000, 5)).await;
        }
    }
    let mut received = Received::default();
    received.all_of(&broker, &gateway).await;
}
