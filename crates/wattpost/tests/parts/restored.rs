//! PostgreSQL comes back from a backup while RabbitMQ and the gateway's journal go on.

use crate::charger::Charger;
use crate::plant::{Plant, Role, TIMEOUT, servers, until};
use std::ops::Range;

fn heartbeats(gateway: &Role, numbers: Range<usize>) {
    let mut charger = Charger::connect(gateway.ocpp, "CP-1", "ocpp1.6");
    for number in numbers {
        let answer = charger.call(&format!("h{number}"), "Heartbeat", "{}");
        assert_eq!(answer[0], 3, "{answer}");
    }
}

#[test]
fn what_a_restored_database_lacks_below_newer_records_is_delivered_again_from_the_journal() {
    let plant = Plant::new("");
    let name = plant.virtual_host.clone();
    let psql = |sql: String| servers().postgres.superuser_psql(&sql).expect(&sql);
    let mut gateway = plant.start("gateway", "gateway");
    let mut consumer = plant.start("consumer", "consumer");
    heartbeats(&gateway, 0..5);
    plant.wait_for_stored("Heartbeat", 5);
    consumer.stop();
    gateway.stop();
    psql(format!("CREATE DATABASE {name}_backup TEMPLATE {name}"));
    gateway.restart();
    consumer.restart();
    heartbeats(&gateway, 5..10);
    plant.wait_for_stored("Heartbeat", 10);
    consumer.stop();
    // Confirmed by RabbitMQ, and newer than all that is missing afterwards.
    heartbeats(&gateway, 10..12);
    let are_delivered = || {
        let (_, figures) = crate::http::get(gateway.http, "/metrics");
        figures.contains("\nwattpost_journal_waiting_records 0\n")
    };
    assert!(until(TIMEOUT, are_delivered));
    gateway.stop();

    psql(format!("DROP DATABASE {name} WITH (FORCE)"));
    psql(format!(
        "CREATE DATABASE {name} TEMPLATE {name}_backup OWNER wattpost"
    ));
    consumer.restart();
    plant.wait_for_stored("Heartbeat", 7);
    gateway.restart();
    plant.wait_for_stored("Heartbeat", 12);
    assert!(gateway.log().contains("lacks records"), "{}", gateway.log());
    gateway.stop();
    consumer.stop();
    plant.wait_for_stored("Heartbeat", 12);
}
