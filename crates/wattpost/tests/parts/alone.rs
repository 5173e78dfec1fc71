//! Each role is started, stopped, killed and started again while the others go on.

use crate::charger::Charger;
use crate::plant::{Plant, TIMEOUT, until};

fn heartbeats(gateway: &crate::plant::Role, name: &str, count: usize) {
    let mut charger = Charger::connect(gateway.ocpp, name, "ocpp1.6");
    for number in 0..count {
        let answer = charger.call(&format!("{name}-{number}"), "Heartbeat", "{}");
        assert_eq!(answer[0], 3, "{answer}");
    }
}

#[test]
fn every_role_may_be_killed_or_stopped_while_the_others_go_on() {
    let plant = Plant::new("");
    let mut gateway = plant.start("gateway", "gateway");
    let mut consumer = plant.start("consumer", "consumer");
    let mut api = plant.start("api", "api");
    heartbeats(&gateway, "A", 10);
    plant.wait_for_stored("Heartbeat", 10);

    consumer.kill();
    heartbeats(&gateway, "B", 10);
    consumer.restart();
    plant.wait_for_stored("Heartbeat", 20);

    api.kill();
    heartbeats(&gateway, "C", 10);
    api.restart();
    plant.wait_for_stored("Heartbeat", 30);

    gateway.kill();
    gateway.restart();
    heartbeats(&gateway, "D", 10);
    plant.wait_for_stored("Heartbeat", 40);

    // An upgrade, one after the other, in the order that hurts most.
    for role in [&mut consumer, &mut gateway, &mut api] {
        role.stop();
        role.restart();
    }
    heartbeats(&gateway, "E", 10);
    plant.wait_for_stored("Heartbeat", 50);
    let (status, body) = crate::http::get(api.http, "/api/v1/chargers/A");
    assert_eq!(status, 200, "{body}");
}

#[test]
fn a_gateway_without_consumer_keeps_its_messages_in_rabbitmq_and_says_who_is_missing() {
    let plant = Plant::new("");
    let gateway = plant.start("gateway", "gateway");
    heartbeats(&gateway, "A", 25);
    assert!(until(TIMEOUT, || {
        plant.run("check", &[]).contains("no consumer")
    }));
    let consumer = plant.start("consumer", "consumer");
    plant.wait_for_stored("Heartbeat", 25);
    let ready = || {
        consumer
            .part("rabbitmq")
            .is_some_and(|part| part["up"] == true)
    };
    assert!(until(TIMEOUT, ready));
}

#[test]
fn a_durable_answer_by_rabbitmq_is_given_while_all_is_well() {
    let plant = Plant::new("[gateway]\ndurability = \"broker\"\ndurability_wait_ms = 3000");
    let gateway = plant.start("gateway", "gateway");
    let _consumer = plant.start("consumer", "consumer");
    // A first start makes the queues and connects; until then the journal's sync is enough.
    let figure = |name: &str| {
        let (_, figures) = crate::http::get(gateway.http, "/metrics");
        let value = figures.lines().find_map(|line| line.strip_prefix(name));
        value
            .and_then(|value| value.trim().parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    let mut warming = 0;
    let warm = until(TIMEOUT, || {
        heartbeats(&gateway, &format!("W{warming}"), 1);
        warming += 1;
        gateway
            .part("rabbitmq")
            .is_some_and(|part| part["up"] == true)
            && figure("wattpost_gateway_durability_fallback ") == 0.0
    });
    assert!(warm, "answers never wait for RabbitMQ");
    let falls = figure("wattpost_gateway_durability_fallbacks_total ");
    heartbeats(&gateway, "A", 50);
    plant.wait_for_stored("Heartbeat", 50 + warming);
    assert_eq!(
        figure("wattpost_gateway_durability_fallbacks_total "),
        falls
    );
}

#[test]
fn all_roles_in_one_process_take_the_same_road() {
    let plant = Plant::unmigrated("");
    let serve = plant.start("serve", "serve");
    heartbeats(&serve, "A", 20);
    plant.wait_for_stored("Heartbeat", 20);
    for part in ["rabbitmq", "database", "consumer"] {
        assert!(serve.part(part).is_some(), "{part} is not told");
    }
}

#[test]
fn a_gateway_learns_from_postgresql_who_may_come_in() {
    let plant =
        Plant::new("[policy]\nunknown_charger = \"reject\"\n[gateway]\ndirectory_refresh_s = 1");
    let gateway = plant.start("gateway", "gateway");
    assert_eq!(crate::http::handshake_status(gateway.ocpp, "CP-1").0, 404);
    plant.run("charger add", &["CP-1"]);
    assert!(until(TIMEOUT, || {
        crate::http::handshake_status(gateway.ocpp, "CP-1").0 == 101
    }));
    plant.run("token add", &["TAG-1", "--status", "blocked"]);
    let blocked = || {
        let mut charger = Charger::connect(gateway.ocpp, "CP-1", "ocpp1.6");
        let answer = charger.call("1", "Authorize", r#"{"idTag":"tag-1"}"#);
        answer[2]["idTagInfo"]["status"] == "Blocked"
    };
    assert!(until(TIMEOUT, blocked));
}
