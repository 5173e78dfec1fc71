//! Three RabbitMQ nodes behind a gateway whose answers wait for their confirm: what they confirmed is safe
//! though a node dies, and though the gateway's disk is lost for good.

use crate::charger::Charger;
use crate::plant::{PATIENCE, Plant, Role, until};
use neighbours::RabbitCluster;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const CHARGERS: usize = 10;

fn figure(gateway: &Role, name: &str) -> f64 {
    let (_, figures) = crate::http::get(gateway.http, "/metrics");
    let line = figures.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|rest| rest.trim().parse().ok());
    value.unwrap_or_else(|| panic!("there is no {name}"))
}

/// Whether answers wait for RabbitMQ again, and RabbitMQ has all that was answered before.
fn is_safe(gateway: &Role) -> bool {
    figure(gateway, "wattpost_gateway_durability_fallback ") == 0.0
        && figure(gateway, "wattpost_gateway_delivered_records_total ") > 0.0
}

#[test]
fn a_node_dies_and_then_the_gateway_with_its_disk_and_no_answer_was_a_lie() {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("parts-cluster");
    let _ = std::fs::remove_dir_all(&dir);
    let mut cluster = RabbitCluster::start(&dir, 3).expect("a cluster");
    let urls: Vec<String> = (0..3).map(|node| cluster.url(node)).collect();
    let settings = "[gateway]\ndurability = \"broker\"\ndurability_wait_ms = 2000";
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
            let before = answered.load(Ordering::Relaxed);
            assert!(
                until(PATIENCE, || is_safe(gateway)),
                "answers do not wait for RabbitMQ"
            );
            assert!(
                until(PATIENCE, || answered.load(Ordering::Relaxed)
                    >= before + 200),
                "nobody is answered"
            );
        };
        goes_on(&gateway);
        // The one that the gateway is connected to.
        cluster.kill(0).expect("killed");
        assert!(
            until(PATIENCE, || !is_safe(&gateway)),
            "nobody noticed that a node died"
        );
        goes_on(&gateway);
        assert!(
            until(PATIENCE, || figure(
                &gateway,
                "wattpost_journal_waiting_records "
            ) < 100.0),
            "what was answered meanwhile does not get to RabbitMQ"
        );
    });
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
