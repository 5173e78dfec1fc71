//! One RabbitMQ node that is killed, restarted, and low on memory.

use crate::common::{
    self, Gateway, Received, SOON, all_the_time, collect, deliver_until_accepted,
    subscribe_until_accepted, until,
};
use broker::{Broker, Config};
use central::ports::{HealthProbe, Sink, UnavailableKind};
use lapin::options::QueueDeleteOptions;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use testbed::RabbitMq;

const VIRTUAL_HOSTS: usize = 8;

/// The node, exclusively for one test.
fn node() -> MutexGuard<'static, RabbitMq> {
    static NODE: OnceLock<Mutex<RabbitMq>> = OnceLock::new();
    NODE.get_or_init(|| {
        let node = RabbitMq::start(&common::dir("outage")).expect("RabbitMQ");
        common::make_virtual_hosts(&node, VIRTUAL_HOSTS);
        Mutex::new(node)
    })
    .lock()
    .unwrap_or_else(PoisonError::into_inner)
}

fn config(node: &RabbitMq, virtual_host: &str) -> Config {
    common::config(node.url_as("wattpost", "wattpost", virtual_host))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Delivers batch after batch, each until it is accepted, until `stop` is set.
async fn keep_delivering(broker: Arc<Broker>, flow: Arc<Flow>) -> Gateway {
    let mut gateway = Gateway::new();
    while !flow.stop.load(Ordering::Relaxed) {
        deliver_until_accepted(&broker, gateway.batch(200, 9)).await;
        flow.delivered.fetch_add(1, Ordering::Relaxed);
    }
    gateway
}

/// Shared by a test and its deliveries.
#[derive(Default)]
struct Flow {
    stop: AtomicBool,
    /// Number of accepted batches.
    delivered: AtomicU64,
    /// Number of consumed batches.
    consumed: AtomicU64,
}

impl Flow {
    /// Waits until three more batches are accepted.
    async fn wait_for_progress(&self) {
        let before = self.delivered.load(Ordering::Relaxed);
        until("more batches are accepted", async || {
            self.delivered.load(Ordering::Relaxed) >= before + 3
        })
        .await;
    }
}

#[test]
fn kill_9_while_publishing_and_consuming_loses_nothing() {
    let _guard = crate::one_at_a_time();
    let mut node = node();
    let config = config(&node, "v0");
    let runtime = runtime();
    let sender = runtime.block_on(async { Broker::start(config.clone(), "gateway") });
    let receiver = runtime.block_on(async { Broker::start(config, "consumer") });
    let flow = Arc::new(Flow::default());
    let delivering = runtime.spawn(keep_delivering(sender.clone(), flow.clone()));
    let consuming = {
        let (receiver, flow) = (receiver.clone(), flow.clone());
        runtime.spawn(async move {
            let mut received = Received::default();
            let mut subscription = subscribe_until_accepted(&receiver).await;
            // Until the first error; the rest is consumed below.
            while let Ok(collected) = subscription.collect(common::bounds()).await {
                received.take(&collected);
                if subscription.acknowledge(collected.upto).await.is_err() {
                    break;
                }
                flow.consumed.fetch_add(1, Ordering::Relaxed);
            }
            received
        })
    };
    runtime.block_on(async {
        flow.wait_for_progress().await;
        // A consumer that subscribes after the last kill would wait for ever.
        until("batches are consumed", async || {
            flow.consumed.load(Ordering::Relaxed) > 0
        })
        .await;
    });
    for _ in 0..2 {
        node.kill().expect("killed");
        let since = Instant::now();
        runtime.block_on(async {
            until("it is noticed", async || !sender.health()[0].up).await;
            assert!(
                since.elapsed() < Duration::from_secs(2),
                "{:?}",
                since.elapsed()
            );
            // While the node is down every call fails at once.
            let since = Instant::now();
            let mut other = Gateway::new();
            sender
                .deliver(other.batch(10, 1))
                .await
                .expect_err("the node is down");
            assert!(since.elapsed() < Duration::from_millis(100));
        });
        node.restart().expect("restarted");
        runtime.block_on(async {
            tokio::time::timeout(SOON, sender.up())
                .await
                .expect("connected again");
            flow.wait_for_progress().await;
        });
    }
    flow.stop.store(true, Ordering::Relaxed);
    runtime.block_on(async {
        let gateway = delivering.await.expect("delivered");
        let mut received = consuming.await.expect("consumed");
        received.all_of(&receiver, &gateway).await;
        received.assert_order();
        assert!(gateway.seq >= 400, "{} records", gateway.seq);
    });
}

#[test]
fn after_a_restart_everything_is_declared_again_also_what_was_deleted() {
    let _guard = crate::one_at_a_time();
    let mut node = node();
    let config = config(&node, "v1");
    let runtime = runtime();
    let broker = runtime.block_on(async { Broker::start(config.clone(), "both") });
    let mut gateway = Gateway::new();
    runtime.block_on(async {
        broker.up().await;
        deliver_until_accepted(&broker, gateway.batch(300, 9)).await;
        let mut subscription = subscribe_until_accepted(&broker).await;
        collect(&mut subscription).await;
        let (_connection, channel) = common::external_connection(&config.url).await;
        for partition in 0..3_u8 {
            let queue = format!("wattpost.records.{partition}");
            channel
                .queue_unbind(
                    queue.as_str().into(),
                    queue.as_str().into(),
                    "".into(),
                    lapin::types::FieldTable::default(),
                )
                .await
                .expect("unbound");
        }
        channel
            .queue_delete("wattpost.dead".into(), QueueDeleteOptions::default())
            .await
            .expect("deleted");
    });
    node.stop();
    node.restart().expect("restarted");
    runtime.block_on(async {
        tokio::time::timeout(SOON, broker.up())
            .await
            .expect("connected again");
        deliver_until_accepted(&broker, gateway.batch(300, 9)).await;
        // In the partitions, not only in the unroutable queue.
        until("the partitions have records", async || {
            let report = Broker::check(&config).await.expect("all is there");
            report.waiting_records >= 300
        })
        .await;
        let mut received = Received::default();
        received.all_of(&broker, &gateway).await;
    });
}

#[test]
fn during_a_memory_alarm_deliveries_fail_at_once_and_succeed_after_it() {
    let _guard = crate::one_at_a_time();
    let node = node();
    let config = config(&node, "v2");
    let runtime = runtime();
    let broker = runtime.block_on(async { Broker::start(config.clone(), "gateway") });
    let consumer = runtime.block_on(async { Broker::start(config, "consumer") });
    let mut gateway = Gateway::new();
    runtime.block_on(async {
        broker.up().await;
        deliver_until_accepted(&broker, gateway.batch(100, 9)).await;
    });
    node.set_memory_alarm(true).expect("an alarm");
    runtime.block_on(async {
        // The first delivery meets the alarm and does not wait for the confirm timeout of 2 s.
        let since = Instant::now();
        let batch = gateway.batch(2_000, 9);
        let error = broker.deliver(batch.clone()).await.expect_err("blocked");
        assert!(
            since.elapsed() < Duration::from_millis(1_500),
            "{:?}",
            since.elapsed()
        );
        assert_eq!(error.kind, UnavailableKind::Full, "{error}");
        assert!(error.detail.contains("low on memory"), "{error}");
        let since = Instant::now();
        broker.deliver(batch.clone()).await.expect_err("blocked");
        assert!(since.elapsed() < Duration::from_millis(50));
        assert!(!broker.health()[0].up);
        // Connections that only consume continue.
        let mut subscription = subscribe_until_accepted(&consumer).await;
        let collected = collect(&mut subscription).await;
        subscription
            .acknowledge(collected.upto)
            .await
            .expect("acknowledged");
        subscription.cancel().await;
        // Longer than the confirm timeout: a blocked connection does not fail.
        all_the_time("blocked", Duration::from_secs(3), async || {
            broker.health()[0].detail.contains("low on memory")
        })
        .await;
        gateway.seq -= 2_000;
    });
    node.set_memory_alarm(false).expect("no alarm");
    runtime.block_on(async {
        tokio::time::timeout(SOON, broker.up())
            .await
            .expect("unblocked");
        deliver_until_accepted(&broker, gateway.batch(2_000, 9)).await;
        let mut received = Received::default();
        // What was acknowledged above is not delivered again, so all that can be received is counted.
        let (mut count, mut idle) = (0, 0);
        let mut subscription = subscribe_until_accepted(&consumer).await;
        while idle < 5 {
            let wait = Duration::from_millis(500);
            match tokio::time::timeout(wait, subscription.collect(common::bounds())).await {
                Ok(collected) => {
                    let collected = collected.expect("connected");
                    received.take(&collected);
                    count += collected.batch.len();
                    subscription
                        .acknowledge(collected.upto)
                        .await
                        .expect("acknowledged");
                    idle = 0;
                }
                Err(_) => idle += 1,
            }
        }
        let last = received.records[&gateway.id].range(101..).count();
        assert_eq!(last, 2_000, "of {count}");
    });
}

#[test]
fn the_number_of_queued_records_is_unknown_during_an_alarm_and_checked_after_it() {
    let _guard = crate::one_at_a_time();
    let node = node();
    let config = config(&node, "v3");
    let runtime = runtime();
    let sender = runtime.block_on(async { Broker::start(config.clone(), "gateway") });
    let consumer = runtime.block_on(async { Broker::start(config, "consumer") });
    let mut gateway = Gateway::new();
    let mut subscription = runtime.block_on(async {
        sender.up().await;
        deliver_until_accepted(&sender, gateway.batch(9_000, 50)).await;
        // Takes at most the prefetch: the rest is queued, with an active consumer.
        let subscription = subscribe_until_accepted(&consumer).await;
        until("the backlog is known", async || {
            sender.queued().is_some_and(|queued| queued.records > 0)
        })
        .await;
        subscription
    });
    node.set_memory_alarm(true).expect("an alarm");
    let mut received = Received::default();
    runtime.block_on(async {
        let batch = gateway.batch(10, 9);
        until("it refuses", async || {
            let refused = sender.deliver(batch.clone()).await;
            refused.is_err_and(|error| error.kind == UnavailableKind::Full)
        })
        .await;
        assert_eq!(
            sender.queued(),
            None,
            "the queues are not checked during an alarm"
        );
        // The consumers empty the queues during the alarm.
        while received.count(&gateway) < 9_000 {
            let collected = collect(&mut subscription).await;
            received.take(&collected);
            subscription
                .acknowledge(collected.upto)
                .await
                .expect("acknowledged");
        }
        all_the_time("unknown", Duration::from_secs(2), async || {
            sender.queued().is_none()
        })
        .await;
    });
    let ended = Instant::now();
    node.set_memory_alarm(false).expect("no alarm");
    runtime.block_on(async {
        tokio::time::timeout(SOON, sender.up())
            .await
            .expect("unblocked");
        let mut queued = None;
        until("the queues are checked again", async || {
            queued = sender.queued();
            queued.is_some()
        })
        .await;
        assert!(queued.is_some_and(|queued| queued.at > ended && queued.records < 9_000));
    });
}
