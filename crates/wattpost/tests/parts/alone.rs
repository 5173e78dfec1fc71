//! Each role is stopped, killed and started again while the others run.

use crate::charger::Charger;
use crate::deployment::{Deployment, Role, TIMEOUT, until};

fn heartbeats(gateway: &Role, name: &str, count: usize) {
    let mut charger = Charger::connect(gateway.ocpp, name, "ocpp1.6");
    for number in 0..count {
        let answer = charger.call(&format!("{name}-{number}"), "Heartbeat", "{}");
        assert_eq!(answer[0], 3, "{answer}");
    }
}

#[test]
fn every_role_can_be_killed_or_stopped_while_the_others_run() {
    let deployment = Deployment::new("");
    let mut gateway = deployment.start("gateway", "gateway");
    let mut consumer = deployment.start("consumer", "consumer");
    let mut api = deployment.start("api", "api");
    heartbeats(&gateway, "A", 10);
    deployment.wait_for_stored("Heartbeat", 10);

    consumer.kill();
    heartbeats(&gateway, "B", 10);
    consumer.restart();
    deployment.wait_for_stored("Heartbeat", 20);

    api.kill();
    heartbeats(&gateway, "C", 10);
    api.restart();
    deployment.wait_for_stored("Heartbeat", 30);

    gateway.kill();
    gateway.restart();
    heartbeats(&gateway, "D", 10);
    deployment.wait_for_stored("Heartbeat", 40);

    // An upgrade: one role after the other, in the least favourable order.
    for role in [&mut consumer, &mut gateway, &mut api] {
        role.stop();
        role.restart();
    }
    heartbeats(&gateway, "E", 10);
    deployment.wait_for_stored("Heartbeat", 50);
    let (status, body) = api.get("/api/v1/chargers/A");
    assert_eq!(status, 200, "{body}");
}

#[test]
fn without_a_consumer_messages_wait_in_rabbitmq_and_check_names_the_reason() {
    let deployment = Deployment::new("");
    let gateway = deployment.start("gateway", "gateway");
    heartbeats(&gateway, "A", 25);
    assert!(until(TIMEOUT, || {
        deployment.run("check", &[]).contains("no consumer")
    }));
    let consumer = deployment.start("consumer", "consumer");
    deployment.wait_for_stored("Heartbeat", 25);
    assert!(until(TIMEOUT, || consumer.is_up("rabbitmq")));
}

#[test]
fn answers_wait_for_rabbitmq_confirms_without_fallback() {
    let deployment =
        Deployment::new("[gateway]\ndurability = \"broker\"\ndurability_wait_ms = 3000");
    let gateway = deployment.start("gateway", "gateway");
    let _consumer = deployment.start("consumer", "consumer");
    // Until the queues are declared, answers wait only for the journal.
    let mut sent = 0;
    let is_waiting = until(TIMEOUT, || {
        heartbeats(&gateway, &format!("W{sent}"), 1);
        sent += 1;
        gateway.is_up("rabbitmq") && gateway.metric("wattpost_gateway_durability_fallback") == 0.0
    });
    assert!(is_waiting, "answers never wait for RabbitMQ");
    let fallbacks = || gateway.metric("wattpost_gateway_durability_fallbacks_total");
    let before = fallbacks();
    heartbeats(&gateway, "A", 50);
    deployment.wait_for_stored("Heartbeat", 50 + sent);
    assert_eq!(fallbacks(), before);
}

#[test]
fn serve_delivers_through_rabbitmq_too() {
    let deployment = Deployment::unmigrated("");
    let serve = deployment.start("serve", "serve");
    heartbeats(&serve, "A", 20);
    deployment.wait_for_stored("Heartbeat", 20);
    for part in ["rabbitmq", "database", "consumer"] {
        assert!(
            serve.part(part).is_some(),
            "{part} is missing from the health page"
        );
    }
}

#[test]
fn gateway_reads_chargers_and_tokens_from_postgresql() {
    let deployment = Deployment::new(
        "[policy]\nunknown_charger = \"reject\"\n[gateway]\ndirectory_refresh_s = 1",
    );
    let gateway = deployment.start("gateway", "gateway");
    assert_eq!(
        crate::handshake::handshake_status(gateway.ocpp, "CP-1").0,
        404
    );
    deployment.run("charger add", &["CP-1"]);
    assert!(until(TIMEOUT, || {
        crate::handshake::handshake_status(gateway.ocpp, "CP-1").0 == 101
    }));
    deployment.run("token add", &["TAG-1", "--status", "blocked"]);
    let blocked = || {
        let mut charger = Charger::connect(gateway.ocpp, "CP-1", "ocpp1.6");
        let answer = charger.call("1", "Authorize", r#"{"idTag":"tag-1"}"#);
        answer[2]["idTagInfo"]["status"] == "Blocked"
    };
    assert!(until(TIMEOUT, blocked));
}
