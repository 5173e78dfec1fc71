//! With three RabbitMQ nodes and answers that wait for their confirms, no acknowledged message is lost, even if one node
//! is killed and then the gateway is killed and its disk is lost.

use crate::charger::Charger;
use crate::deployment::{Deployment, Role, TIMEOUT, until};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use testbed::RabbitCluster;

const CHARGERS: usize = 10;

/// Whether answers wait for RabbitMQ's confirm.
fn is_waiting(gateway: &Role) -> bool {
    gateway.metric("wattpost_gateway_durability_fallback") == 0.0
}

fn fallbacks(gateway: &Role) -> f64 {
    gateway.metric("wattpost_gateway_durability_fallbacks_total")
}

/// The node to which the gateway is connected, from the address on the health page.
fn node_of(gateway: &Role, cluster: &RabbitCluster) -> Option<usize> {
    let part = gateway.part("rabbitmq")?;
    let detail = part["detail"].as_str()?;
    let mut ports = cluster.nodes.iter().map(testbed::RabbitMq::port);
    ports.position(|port| detail.contains(&format!(":{port}")))
}

#[test]
fn nothing_acknowledged_is_lost_when_a_node_and_then_the_gateway_with_its_disk_are_lost() {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("parts-cluster");
    let _ = std::fs::remove_dir_all(&dir);
    let mut cluster = RabbitCluster::start(&dir, 3).expect("a cluster");
    let urls: Vec<String> = (0..3).map(|node| cluster.url(node)).collect();
    let settings = "[gateway]\ndurability = \"broker\"\ndurability_wait_ms = 5000";
    let deployment = Deployment::with_broker(settings, &urls.join(","));
    deployment.run("migrate", &[]);
    let mut gateway = deployment.start("gateway", "gateway");
    let (answered, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let _stops = OnDrop(&stop);
        for n in 0..CHARGERS {
            let (gateway, answered, stop) = (gateway.ocpp, &answered, &stop);
            scope.spawn(move || {
                let mut charger = Charger::connect(gateway, &format!("CP-{n}"), "ocpp1.6");
                let mut count = 0;
                while !stop.load(Ordering::Relaxed) {
                    let answer = charger.call(&format!("{n}-{count}"), "Heartbeat", "{}");
                    assert_eq!(answer[0], 3, "{answer}");
                    count += 1;
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let wait_for_confirmed_answers = |gateway: &Role| {
            assert!(
                until(TIMEOUT, || is_waiting(gateway)),
                "answers do not wait for RabbitMQ"
            );
            // Confirms come in order. So after this many answers, RabbitMQ has also confirmed every record whose answer
            // was released without a confirm.
            let before = answered.load(Ordering::Relaxed);
            assert!(
                until(TIMEOUT, || answered.load(Ordering::Relaxed) >= before + 200),
                "chargers get no answers"
            );
        };
        wait_for_confirmed_answers(&gateway);
        let mut node = None;
        assert!(
            until(TIMEOUT, || {
                node = node_of(&gateway, &cluster);
                node.is_some()
            }),
            "the gateway is connected to no node: {:?}",
            gateway.part("rabbitmq")
        );
        let before = fallbacks(&gateway);
        cluster.kill(node.expect("seen above")).expect("killed");
        assert!(
            until(TIMEOUT, || fallbacks(&gateway) > before),
            "the gateway did not enter fallback after the kill"
        );
        wait_for_confirmed_answers(&gateway);
    });
    assert!(is_waiting(&gateway), "the last answers did not wait");
    gateway.kill();
    std::fs::remove_dir_all(deployment.path("gateway")).expect("the disk is lost");
    let _consumer = deployment.start("consumer", "consumer");
    deployment.wait_for_stored("Heartbeat", answered.load(Ordering::Relaxed));
}

/// Sets the flag when it is dropped, so that the chargers end even if the test fails.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
