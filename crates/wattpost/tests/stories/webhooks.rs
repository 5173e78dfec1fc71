//! Webhooks with the real binary: one whose sending process is killed misses no event, and what is sent twice has the same
//! id; one that is added, tested and removed on the command line; and messages that the library of Standard Webhooks verifies.

use crate::charger::Charger;
use crate::deployment::{Deployment, until};
use crate::independent_client::python;
use crate::webhook_receiver::{Message, Receiver, SETTINGS};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;
use testbed::http;

const WAIT: Duration = Duration::from_secs(60);

/// All events of the log, by their ids.
fn log(deployment: &Deployment) -> Vec<String> {
    let page = deployment
        .get("/api/v1/events?types=charger.booted&limit=100")
        .1;
    let page: Value = serde_json::from_str(&page).expect("JSON");
    let items = page["items"].as_array().expect("items").iter();
    items
        .map(|event| event["id"].as_str().expect("an id").to_owned())
        .collect()
}

#[test]
fn a_killed_sender_skips_no_event() {
    let receiver = Receiver::start();
    let mut deployment = Deployment::start(SETTINGS);
    let body = json!({"url": receiver.url(), "types": ["charger.booted"]}).to_string();
    let added = http::send(deployment.http, "POST", "/api/v1/webhooks", "", &body);
    let added = added.expect("an answer");
    assert_eq!(added.0, 201, "{}", added.1);
    let count = || receiver.received().len();
    let mut boots = 0;
    for round in 1..=3 {
        let mut charger = Charger::connect(deployment.ocpp, "CP-1", "ocpp1.6");
        for _ in 0..10 {
            boots += 1;
            let boot = format!(r#"{{"chargePointVendor":"V","chargePointModel":"M-{boots}"}}"#);
            charger.call(&format!("b-{boots}"), "BootNotification", &boot);
        }
        let before = count();
        let has_begun = until(WAIT, || count() > before);
        assert!(
            has_begun,
            "round {round}: nothing is sent; log:\n{}",
            deployment.log_tail()
        );
        deployment.kill();
        deployment.restart();
    }
    let is_recorded = until(WAIT, || log(&deployment).len() == boots);
    assert!(is_recorded, "{} of {boots} events", log(&deployment).len());
    let wanted = log(&deployment);
    let mut seen = Vec::new();
    let is_complete = until(WAIT, || {
        let all = receiver.received();
        let mut ids = HashSet::new();
        // A receiver ignores an id that it has seen.
        let new = all.iter().filter(|message| ids.insert(message.id()));
        seen = new
            .map(|message| message.event()["id"].as_str().expect("an id").to_owned())
            .collect();
        seen.len() >= wanted.len()
    });
    assert!(is_complete, "log:\n{}", deployment.log_tail());
    assert_eq!(seen, wanted, "each event once, in the order of the log");
}

#[test]
fn a_webhook_of_the_command_line_is_sent_to_until_it_is_disabled_or_removed() {
    let receiver = Receiver::start();
    let deployment = Deployment::start(SETTINGS);
    let url = receiver.url();
    let json = |text: &str| -> Value { serde_json::from_str(text.trim()).expect("JSON") };
    let arguments = [url.as_str(), "--type", "charger.booted", "--json"];
    let added = json(&deployment.run("webhook add", &arguments));
    let id = added["id"].as_str().expect("an id");
    let secret = added["secret"].as_str().expect("a secret").to_owned();
    let shown = deployment.run("webhook show", &[id]);
    assert_eq!(json(&shown)["types"], serde_json::json!(["charger.booted"]));
    let list = deployment.run("webhook list", &[]);
    assert!(list.starts_with(&format!("{id}: active, {url}")), "{list}");
    let tested = json(&deployment.run("webhook test", &[id]));
    assert_eq!(
        (&tested["delivered"], &tested["status"]),
        (&true.into(), &204.into())
    );

    let types = || receiver.kinds();
    let mut charger = Charger::connect(deployment.ocpp, "CP-1", "ocpp1.6");
    let boot = r#"{"chargePointVendor":"V","chargePointModel":"M"}"#;
    charger.call("1", "BootNotification", boot);
    let is_sent = until(WAIT, || types() == ["webhook.test", "charger.booted"]);
    assert!(is_sent, "{:?}\n{}", types(), deployment.log_tail());
    let deliveries = || deployment.run("webhook deliveries", &[id]);
    assert!(until(WAIT, || deliveries().lines().count() == 1));
    assert_eq!(json(&deliveries())["status"], 204);

    let given = deployment.run("webhook rotate", &[id, "--former-valid-s", "60"]);
    assert!(
        given.starts_with("whsec_") && given.trim_end() != secret,
        "{given}"
    );
    let rotated = json(&deployment.run("webhook show", &[id]));
    assert!(rotated["former_secret_until"].is_string(), "{rotated}");
    deployment.run(
        "webhook redeliver",
        &[id, "--since", "2026-01-01T00:00:00Z"],
    );
    assert!(until(WAIT, || types().len() == 3));
    let ids: Vec<_> = receiver.received().iter().map(Message::id).collect();
    assert_eq!(ids[1], ids[2], "a repeat has the id of the first delivery");

    let disabled = json(&deployment.run("webhook disable", &[id]));
    assert_eq!(disabled["state"], "disabled");
    charger.call(
        "2",
        "BootNotification",
        r#"{"chargePointVendor":"V","chargePointModel":"N"}"#,
    );
    assert!(until(WAIT, || log(&deployment).len() == 2));
    assert_eq!(types().len(), 3, "nothing is sent while it is disabled");
    deployment.run("webhook enable", &[id]);
    assert!(until(WAIT, || types().len() == 4));

    for (command, arguments, words) in [
        (
            "webhook add",
            &["http://10.0.0.1/"][..],
            "webhooks.allowed_networks",
        ),
        ("webhook add", &[&url, "--type", "nonsense"], "--type"),
        ("webhook add", &[&url, "--charger", ""], "--charger"),
        ("webhook set", &[id], "--url"),
        (
            "webhook rotate",
            &[id, "--former-valid-s", "-1"],
            "from 0 to 2592000",
        ),
        (
            "webhook redeliver",
            &[id, "--since", "yesterday"],
            "the id of an event",
        ),
        (
            "webhook redeliver",
            &[id, "--since", "9999999-1"],
            "not in the log",
        ),
    ] {
        let refused = deployment.command(command).args(arguments).output();
        let refused = refused.expect("run wattpost");
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success(), "{command} {arguments:?}");
        assert!(said.contains(words), "{command} {arguments:?}: {said}");
    }
    deployment.run("webhook remove", &[id]);
    assert_eq!(deployment.run("webhook list", &[]), "");
    let again = deployment.command("webhook show").arg(id).output();
    let said = String::from_utf8_lossy(&again.expect("run wattpost").stderr).into_owned();
    assert!(said.contains("wattpost webhook list"), "{said}");
}

/// Whether the library of Standard Webhooks accepts each message as a receiver with this secret.
fn verdicts(messages: &[(&str, Message)]) -> Vec<bool> {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/python/verify_webhooks.py");
    let mut python = Command::new(python())
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("run Python");
    let shown = |(secret, message): &(&str, Message)| json!({"secret": secret, "headers": message.headers, "body": message.body});
    let input = Value::Array(messages.iter().map(shown).collect()).to_string();
    let mut stdin = python.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).expect("write");
    drop(stdin);
    let output = python.wait_with_output().expect("an output");
    assert!(output.status.success(), "the script failed");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn the_library_of_standard_webhooks_verifies_messages_also_while_a_secret_is_replaced() {
    let receiver = Receiver::start();
    let deployment = Deployment::start(SETTINGS);
    let added = deployment.run(
        "webhook add",
        &[&receiver.url(), "--type", "charger.booted", "--json"],
    );
    let added: Value = serde_json::from_str(&added).expect("JSON");
    let id = added["id"].as_str().expect("an id");
    let first = added["secret"].as_str().expect("a secret");
    let mut charger = Charger::connect(deployment.ocpp, "CP-1", "ocpp1.6");
    let mut boots = 0;
    // A text outside of ASCII: what is signed is bytes.
    let mut next = || {
        boots += 1;
        let boot = format!(r#"{{"chargePointVendor":"Büro-{boots}","chargePointModel":"M"}}"#);
        charger.call(&format!("b-{boots}"), "BootNotification", &boot);
        let is_sent = until(WAIT, || receiver.received().len() == boots);
        assert!(is_sent, "log:\n{}", deployment.log_tail());
        receiver.received().remove(boots - 1)
    };
    let with_one = next();
    let rotate = |valid_s: &str| {
        let secret = deployment.run("webhook rotate", &[id, "--former-valid-s", valid_s]);
        secret.trim_end().to_owned()
    };
    let second = rotate("3600");
    let with_two = next();
    let third = rotate("0");
    let with_the_newest = next();
    deployment.run("webhook test", &[id]);
    assert!(until(WAIT, || receiver.received().len() == boots + 1));
    let tested = receiver.received().remove(boots);

    let changed = |change: &dyn Fn(&mut Message)| {
        let mut message = with_two.clone();
        change(&mut message);
        message
    };
    let of_another_id = changed(&|message| {
        message.headers["webhook-id"] = with_one.id().into();
    });
    let body = changed(&|message| message.body = message.body.replace("CP-1", "CP-2"));
    assert_ne!(body.body, with_two.body);
    let later = changed(&|message| {
        let at = message.headers["webhook-timestamp"].as_str();
        let at: i64 = at.expect("a text").parse().expect("a number");
        message.headers["webhook-timestamp"] = (at + 1).to_string().into();
    });
    let cases = [
        ("the only secret", first, &with_one, true),
        ("a secret of later", &second, &with_one, false),
        ("the former secret", first, &with_two, true),
        ("the newest secret", &second, &with_two, true),
        ("another id", &second, &of_another_id, false),
        ("another body", &second, &body, false),
        ("another time", &second, &later, false),
        ("a secret before the former", first, &with_the_newest, false),
        (
            "a former secret that ended at once",
            &second,
            &with_the_newest,
            false,
        ),
        ("the third secret", &third, &with_the_newest, true),
        ("a test", &third, &tested, true),
    ];
    let asked: Vec<_> = cases
        .iter()
        .map(|(_, secret, message, _)| (*secret, (*message).clone()))
        .collect();
    for ((what, _, _, wanted), found) in cases.iter().zip(verdicts(&asked)) {
        assert_eq!(found, *wanted, "{what}");
    }
}
