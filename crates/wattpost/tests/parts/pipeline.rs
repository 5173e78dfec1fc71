//! `GET /api/v1/pipeline` over real processes: each part is made to fail and to work again.

use crate::charger::Charger;
use crate::deployment::{Deployment, Role, TIMEOUT, until};
use serde_json::Value;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use testbed::RabbitMq;

/// The answer, which comes within a second whatever is away.
fn pipeline(api: &Role) -> Value {
    let asked = Instant::now();
    let (status, body) = api.get("/api/v1/pipeline");
    assert_eq!(status, 200, "{body}");
    assert!(
        asked.elapsed() < Duration::from_secs(1),
        "{:?}",
        asked.elapsed()
    );
    serde_json::from_str(&body).expect("JSON")
}

fn state(pipeline: &Value, name: &str) -> String {
    let parts = pipeline["parts"].as_array().expect("parts");
    let part = parts.iter().find(|part| part["part"] == name);
    let state = part.and_then(|part| part["state"].as_str());
    state.expect("a part of this name").to_owned()
}

/// Waits until all these parts have these states.
fn wait_for(api: &Role, wanted: &[(&str, &str)], within: Duration) {
    let mut last = Value::Null;
    let is_so = until(within, || {
        last = pipeline(api);
        wanted
            .iter()
            .all(|(name, wanted)| state(&last, name) == *wanted)
    });
    assert!(is_so, "not {wanted:?}: {last:#}");
}

/// Waits until this many records or more are acknowledged, and every one is stored, by the balance. It is read every 5
/// seconds, so without a number an earlier one would do.
fn wait_for_balance(api: &Role, at_least: u64) -> Value {
    let mut balance = Value::Null;
    let is_even = until(TIMEOUT, || {
        balance = pipeline(api)["balance"].clone();
        balance["acknowledged"].as_u64() >= Some(at_least)
            && balance["acknowledged"] == balance["stored"]
            && balance["rabbitmq"] == 0
            && balance["difference"] == 0
    });
    assert!(is_even, "{balance:#}");
    balance
}

fn heartbeats(gateway: &Role, name: &str, count: usize) {
    let mut charger = Charger::connect(gateway.ocpp, name, "ocpp1.6");
    for number in 0..count {
        let answer = charger.call(&format!("{name}-{number}"), "Heartbeat", "{}");
        assert_eq!(answer[0], 3, "{answer}");
    }
}

const WORKING: [(&str, &str); 7] = [
    ("chargers", "works"),
    ("gateways", "works"),
    ("journal", "works"),
    ("rabbitmq", "works"),
    ("bypass", "idle"),
    ("consumers", "works"),
    ("database", "works"),
];
const GONE_WITHIN: Duration = Duration::from_secs(30);

/// Alerts are judged twice a second, and fire and end at once.
pub(crate) const ALERTS_AT_ONCE: &str = r#"
[alerts]
interval_ms = 500
charger_interval_ms = 1000
[alerts.rules]
for_s = { "BrokerLost/ticket" = 0, BrokerBlocked = 0, NoConsumer = 0, DatabaseLost = 0, PartGone = 0, ChargerOffline = 0, ChargersNotJudged = 0, BrokerQueueDeep = 0, BrokerRefuses = 0, BypassActive = 0, DirectoryUnknown = 0 }
keep_firing_s = { BrokerLost = 0, BrokerBlocked = 0, NoConsumer = 0, DatabaseLost = 0, PartGone = 0, ChargersNotJudged = 0, BrokerQueueDeep = 0, BrokerRefuses = 0, BypassActive = 0, DirectoryUnknown = 0, DeadLetters = 0, DatabaseNotDurable = 0 }
within_s = { BrokerRefuses = 20, DeadLetters = 20 }
charger_known_s = 0
"#;

/// The alerts that these parameters select.
fn alerts(api: &Role, parameters: &str) -> Vec<Value> {
    let (status, body) = api.get(&format!("/api/v1/alerts?{parameters}"));
    assert_eq!(status, 200, "{body}");
    let page: Value = serde_json::from_str(&body).expect("JSON");
    page["items"].as_array().expect("items").clone()
}

/// Waits until an alert of this name fires, or none does.
pub(crate) fn wait_for_alert(api: &Role, name: &str, fires: bool) {
    let parameters = format!("name={name}&state=firing");
    let is_so = until(GONE_WITHIN, || alerts(api, &parameters).is_empty() != fires);
    assert!(
        is_so,
        "{name} fires: {}; {:#?}",
        !fires,
        alerts(api, "limit=20")
    );
}

#[test]
fn each_part_is_shown_as_down_while_it_fails_and_as_working_after_that() {
    let settings = format!("[gateway]\nbroker_grace_s = 1\n{ALERTS_AT_ONCE}");
    let (deployment, rabbit, postgres) = Deployment::through_proxies(&settings);
    let mut gateway = deployment.start("gateway", "gateway");
    let mut consumer = deployment.start("consumer", "consumer");
    let api = deployment.start("api", "api");
    heartbeats(&gateway, "A", 20);
    wait_for(&api, &WORKING, TIMEOUT);
    let before = wait_for_balance(&api, 20)["acknowledged"].as_u64();
    let before = before.expect("a number");

    rabbit.cut();
    wait_for(
        &api,
        &[("rabbitmq", "down"), ("consumers", "down")],
        GONE_WITHIN,
    );
    wait_for_alert(&api, "BrokerLost", true);
    // The bypass takes over with the first records.
    heartbeats(&gateway, "B", 20);
    wait_for(&api, &[("bypass", "works"), ("database", "works")], TIMEOUT);
    rabbit.restore();
    // The next deliveries find out that RabbitMQ works again.
    let is_back = until(TIMEOUT, || {
        heartbeats(&gateway, "C", 1);
        state(&pipeline(&api), "bypass") == "idle"
    });
    assert!(is_back, "{:#}", pipeline(&api));
    wait_for(&api, &WORKING, TIMEOUT);
    wait_for_balance(&api, before + 20);
    wait_for_alert(&api, "BrokerLost", false);

    // Queries get no answer.
    postgres.black_hole();
    wait_for(
        &api,
        &[("database", "down"), ("gateways", "degraded")],
        TIMEOUT,
    );
    heartbeats(&gateway, "D", 20);
    let away = pipeline(&api);
    assert!(away["balance"]["stored"].is_null(), "{away:#}");
    let reason = away["balance"]["unknown"]["stored"].as_str();
    assert!(
        reason.is_some_and(|words| words.contains("database")),
        "{away:#}"
    );
    postgres.restore();
    wait_for(&api, &WORKING, TIMEOUT);
    postgres.cut();
    // The alert fires while nothing can be stored; another one about a part may still fire.
    let log = deployment.path("api.log");
    let fires = || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let mut lines = text.lines();
        lines.any(|line| line.contains("an alert fires") && line.contains("DatabaseLost"))
    };
    assert!(until(GONE_WITHIN, fires));
    postgres.restore();
    wait_for(&api, &WORKING, TIMEOUT);
    let lost = "name=DatabaseLost&state=resolved";
    let is_stored = until(GONE_WITHIN, || !alerts(&api, lost).is_empty());
    assert!(is_stored, "{:#?}", alerts(&api, "limit=20"));

    // One that stays connected, and is unknown while its gateway is gone.
    let kept = Charger::connect(gateway.ocpp, "F", "ocpp1.6");
    wait_for_balance(&api, before + 40);
    gateway.kill();
    consumer.kill();
    let gone = [
        ("gateways", "down"),
        ("consumers", "down"),
        ("chargers", "unknown"),
        // These work without the processes that use them.
        ("rabbitmq", "works"),
        ("database", "works"),
    ];
    wait_for(&api, &gone, GONE_WITHIN);
    wait_for_alert(&api, "PartGone", true);
    wait_for_alert(&api, "NoConsumer", true);
    let of_charger = alerts(&api, "name=ChargerOffline&charger=F");
    assert!(
        of_charger.is_empty(),
        "an outage of ours is not one of a charger: {of_charger:#?}"
    );
    drop(kept);
    gateway.restart();
    consumer.restart();
    heartbeats(&gateway, "E", 20);
    wait_for(&api, &WORKING, TIMEOUT);
    wait_for_balance(&api, before + 60);
    // `NoConsumer` has fired before, so it ends later.
    wait_for_alert(&api, "PartGone", false);
    // It has not come back to the gateway that runs again.
    wait_for_alert(&api, "ChargerOffline", true);
}

#[test]
fn a_queue_that_fills_up_without_a_consumer_is_told_and_ends_when_it_is_emptied() {
    // A consumer that has just started does not consume yet, as its first report says.
    let rules = ALERTS_AT_ONCE.replacen("NoConsumer = 0", "NoConsumer = 8", 1);
    let settings = format!("[gateway]\nbroker_grace_s = 1\n{rules}lag_s_max = 2\n");
    let deployment = Deployment::new(&settings);
    let start = |role: &str| {
        let mut command = deployment.command(role, role);
        command
            .env("WATTPOST__BROKER__PARTITIONS", "1")
            .env("WATTPOST__BROKER__QUEUE_RECORDS_MAX", "1000");
        deployment.start_command(command, role)
    };
    let gateway = start("gateway");
    let mut consumer = start("consumer");
    let api = start("api");
    heartbeats(&gateway, "A", 5);
    wait_for(&api, &WORKING, TIMEOUT);
    consumer.stop();
    wait_for_alert(&api, "NoConsumer", true);
    // More than the queue takes.
    std::thread::scope(|threads| {
        for name in ["B", "C", "D", "E", "F", "G", "H", "I"] {
            let gateway = &gateway;
            threads.spawn(move || heartbeats(gateway, name, 150));
        }
    });
    let is_refused = until(GONE_WITHIN, || {
        heartbeats(&gateway, "J", 1);
        gateway.metric("wattpost_broker_refusals_total") > 0.0
    });
    assert!(is_refused);
    wait_for_alert(&api, "BrokerRefuses", true);
    wait_for_alert(&api, "BrokerQueueDeep", true);
    wait_for_alert(&api, "ChargersNotJudged", true);
    consumer.restart();
    wait_for_alert(&api, "NoConsumer", false);
    wait_for_alert(&api, "BrokerQueueDeep", false);
    wait_for_alert(&api, "BrokerRefuses", false);
}

#[test]
fn a_memory_alarm_of_rabbitmq_is_told_and_ends_with_it() {
    // Its own RabbitMQ, because the alarm stops all who publish.
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("alarmed-rabbit");
    let _ = std::fs::remove_dir_all(&dir);
    let rabbit = RabbitMq::start(&dir).expect("start RabbitMQ");
    let settings = format!("[gateway]\nbroker_grace_s = 1\n{ALERTS_AT_ONCE}");
    let deployment = Deployment::with_broker(&settings, &rabbit.url());
    deployment.run("migrate", &[]);
    let gateway = deployment.start("gateway", "gateway");
    let _consumer = deployment.start("consumer", "consumer");
    let api = deployment.start("api", "api");
    heartbeats(&gateway, "A", 5);
    wait_for(&api, &WORKING, TIMEOUT);
    // Another gateway does not know which chargers there are.
    let mut command = deployment.command("gateway", "second");
    let nowhere = "postgres://wattpost@127.0.0.1:1/none";
    command.env("WATTPOST__DATABASE__URL", nowhere);
    let mut second = deployment.start_command(command, "second");
    wait_for_alert(&api, "DirectoryUnknown", true);
    second.kill();
    let _second = deployment.start("gateway", "second");
    wait_for_alert(&api, "DirectoryUnknown", false);
    rabbit.set_memory_alarm(true).expect("raise the alarm");
    // RabbitMQ tells those who publish.
    let is_blocked = until(GONE_WITHIN, || {
        heartbeats(&gateway, "B", 1);
        gateway.metric("wattpost_broker_blocked") > 0.0
    });
    assert!(is_blocked);
    let all = ["BrokerBlocked", "BypassActive"];
    for name in all {
        wait_for_alert(&api, name, true);
    }
    rabbit.set_memory_alarm(false).expect("clear the alarm");
    // The next deliveries find out that RabbitMQ works again.
    let is_back = until(TIMEOUT, || {
        heartbeats(&gateway, "C", 1);
        state(&pipeline(&api), "bypass") == "idle"
    });
    assert!(is_back, "{:#}", pipeline(&api));
    for name in all {
        wait_for_alert(&api, name, false);
    }
}

#[test]
fn a_retired_gateway_with_records_in_its_journal_stays_visible() {
    let (deployment, rabbit, postgres) =
        Deployment::through_proxies("[gateway]\nbroker_grace_s = 1\n");
    let mut gateway = deployment.start("gateway", "gateway");
    let api = deployment.start("api", "api");
    heartbeats(&gateway, "A", 5);
    wait_for(
        &api,
        &[("gateways", "works"), ("journal", "works")],
        TIMEOUT,
    );
    let id = pipeline(&api)["watermarks"][0]["gateway_id"].clone();
    let id = id.as_str().expect("an id").to_owned();
    // Records stay in the journal, and the reports go through RabbitMQ no longer.
    rabbit.cut();
    postgres.cut();
    heartbeats(&gateway, "B", 5);
    gateway.kill();
    postgres.restore();
    let mut shown = Value::Null;
    let is_gone = until(GONE_WITHIN, || {
        shown = pipeline(&api)["watermarks"][0].clone();
        shown["state"] == "gone"
    });
    assert!(is_gone, "{shown:#}");
    deployment.run("retire-gateway", &[&id]);
    let is_retired = until(TIMEOUT, || {
        shown = pipeline(&api)["watermarks"][0].clone();
        shown["state"] == "retired"
    });
    assert!(is_retired, "{shown:#}");
    // It delivers what it has when it is started again after all.
    rabbit.restore();
    gateway.restart();
    let is_back = until(TIMEOUT, || {
        shown = pipeline(&api)["watermarks"][0].clone();
        shown["state"] == "running" && shown["undelivered"] == 0
    });
    assert!(is_back, "{shown:#}");
}

#[test]
fn the_embedded_shape_has_four_parts_and_the_same_balance() {
    let deployment = Deployment::with_broker("", "");
    let serve = deployment.start("serve", "serve");
    heartbeats(&serve, "A", 20);
    wait_for(
        &serve,
        &[("gateways", "works"), ("database", "works")],
        TIMEOUT,
    );
    let found = pipeline(&serve);
    assert_eq!(
        found["parts"].as_array().map(Vec::len),
        Some(4),
        "{found:#}"
    );
    wait_for_balance(&serve, 20);
}
