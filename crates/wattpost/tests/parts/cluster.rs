//! Three RabbitMQ nodes behind a gateway whose answers wait for their confirm: what they confirmed is safe
//! though a node dies, and though the gateway's disk is lost for good.

use crate::charger::Charger;
use crate::plant::{Plant, Role, TIMEOUT, until};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use testbed::RabbitCluster;

const CHARGERS: usize = 10;

fn figure(gateway: &Role, name: &str) -> f64 {
    let (_, figures) = crate::http::get(gateway.http, "/metrics");
    let line = figures.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|rest| rest.trim().parse().ok());
    value.unwrap_or_else(|| panic!("there is no {name}"))
}

/// Whether answers wait for RabbitMQ.
fn is_safe(gateway: &Role) -> bool {
    figure(gateway, "wattpost_gateway_durability_fallback ") == 0.0
}

fn falls(gateway: &Role) -> f64 {
    figure(gateway, "wattpost_gateway_durability_fallbacks_total ")
}

/// Which node it is connected to: the health page begins with its address.
fn node_of(gateway: &Role, cluster: &RabbitCluster) -> Option<usize> {
    let part = gateway.part("rabbitmq")?;
    let detail = part["detail"].as_str()?;
    let mut ports = cluster.nodes.iter().map(testbed::RabbitMq::port);
    ports.position(|port| detail.contains(&format!(":{port}")))
}

#[test]
fn a_node_dies_and_then_the_gateway_with_its_disk_and_no_answer_was_a_lie() {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("parts-cluster");
    let _ = std::fs::remove_dir_all(&dir);
    let mut cluster = RabbitCluster::start(&dir, 3).expect("a cluster");
    let urls: Vec<String> = (0..3).map(|node| cluster.url(node)).collect();
    let settings = "[gateway]\ndurability = \"broker\"\ndurability_wait_ms = 5000";
    let plant = Plant::behind(settings, &urls.join(","));
    plant.run("migrate", &[]);
    let mut gateway = plant.start("gateway", "gateway");
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
        let goes_on = |gateway: &Role| {
            assert!(
                until(TIMEOUT, || is_safe(gateway)),
                "answers do not wait for RabbitMQ"
            );
            // More than were let out without: the last of these come after RabbitMQ has all of those.
            let before = answered.load(Ordering::Relaxed);
            assert!(
                until(TIMEOUT, || answered.load(Ordering::Relaxed) >= before + 200),
                "nobody is answered"
            );
        };
        goes_on(&gateway);
        let mut node = None;
        assert!(
            until(TIMEOUT, || {
                node = node_of(&gateway, &cluster);
                node.is_some()
            }),
            "it is connected to no node: {:?}",
            gateway.part("rabbitmq")
        );
        let before = falls(&gateway);
        cluster.kill(node.expect("seen above")).expect("killed");
        assert!(
            until(TIMEOUT, || falls(&gateway) > before),
            "nobody noticed that a node died"
        );
        goes_on(&gateway);
    });
    // Nothing but a stall of five seconds could have let the last answers out without a confirm.
    assert!(is_safe(&gateway), "the last answers did not wait");
    gateway.kill();
    std::fs::remove_dir_all(plant.path("gateway")).expect("the disk is lost");
    let _consumer = plant.start("consumer", "consumer");
    plant.wait_for_stored("Heartbeat", answered.load(Ordering::Relaxed));
}

/// Ends the chargers also when the story fails.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
