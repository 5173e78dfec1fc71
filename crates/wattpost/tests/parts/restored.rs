//! PostgreSQL is restored from a backup; RabbitMQ and the gateway's journal are newer.

use crate::charger::Charger;
use crate::deployment::{Deployment, Role, TIMEOUT, servers, until};
use std::ops::Range;

fn heartbeats(gateway: &Role, numbers: Range<usize>) {
    let mut charger = Charger::connect(gateway.ocpp, "CP-1", "ocpp1.6");
    for number in numbers {
        let answer = charger.call(&format!("h{number}"), "Heartbeat", "{}");
        assert_eq!(answer[0], 3, "{answer}");
    }
}

#[test]
fn records_missing_from_a_restored_database_are_delivered_again_from_the_journal() {
    let deployment = Deployment::new("");
    let name = deployment.name.clone();
    let psql = |sql: String| servers().postgres.superuser_psql(&sql).expect(&sql);
    let mut gateway = deployment.start("gateway", "gateway");
    let mut consumer = deployment.start("consumer", "consumer");
    heartbeats(&gateway, 0..5);
    deployment.wait_for_stored("Heartbeat", 5);
    consumer.stop();
    gateway.stop();
    psql(format!("CREATE DATABASE {name}_backup TEMPLATE {name}"));
    gateway.restart();
    consumer.restart();
    heartbeats(&gateway, 5..10);
    deployment.wait_for_stored("Heartbeat", 10);
    consumer.stop();
    // These are confirmed by RabbitMQ, and newer than the records that will be missing.
    heartbeats(&gateway, 10..12);
    assert!(until(TIMEOUT, || {
        gateway.metric("wattpost_journal_waiting_records") == 0.0
    }));
    gateway.stop();

    psql(format!("DROP DATABASE {name} WITH (FORCE)"));
    psql(format!(
        "CREATE DATABASE {name} TEMPLATE {name}_backup OWNER wattpost"
    ));
    consumer.restart();
    deployment.wait_for_stored("Heartbeat", 7);
    gateway.restart();
    deployment.wait_for_stored("Heartbeat", 12);
    assert!(gateway.log().contains("lacks records"), "{}", gateway.log());
    gateway.stop();
    consumer.stop();
    deployment.wait_for_stored("Heartbeat", 12);
}
