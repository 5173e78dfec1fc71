//! Webhooks with the real binary: one whose sending process is killed misses no event, and what is sent twice has the same
//! id; and one that is added, tested and removed on the command line.

use crate::charger::Charger;
use crate::deployment::{Deployment, until};
use serde_json::Value;
use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use testbed::http;

const SETTINGS: &str =
    "[webhooks]\nallow_http = true\nallowed_networks = [\"127.0.0.1/32\"]\ntimeout_ms = 1000\n";
const WAIT: Duration = Duration::from_secs(60);

/// The `webhook-id` and the event of each message, in the order in which they came.
type Received = Arc<Mutex<Vec<(String, Value)>>>;

/// Starts a receiver, which answers each message with 204, and returns its port.
fn receiver(received: &Received) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let received = Arc::clone(received);
    // It ends with the process of the test.
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            // A connection of a killed process has no whole message.
            if let Some(message) = read(&socket) {
                received
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(message);
                let _ =
                    (&socket).write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
            }
        }
    });
    port
}

fn read(socket: &TcpStream) -> Option<(String, Value)> {
    let mut reader = BufReader::new(socket);
    let (mut id, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader
            .read_line(&mut line)
            .ok()
            .filter(|bytes| *bytes > 0)?;
        match line.trim_end().split_once(": ") {
            Some(("webhook-id", value)) => id = value.to_owned(),
            Some(("content-length", value)) => length = value.parse().expect("a number"),
            _ if line == "\r\n" => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((id, serde_json::from_slice(&body).expect("JSON")))
}

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
    let received = Received::default();
    let port = receiver(&received);
    let mut deployment = Deployment::start(SETTINGS);
    let body = format!(r#"{{"url": "http://127.0.0.1:{port}/hook", "types": ["charger.booted"]}}"#);
    let added = http::send(deployment.http, "POST", "/api/v1/webhooks", "", &body);
    let added = added.expect("an answer");
    assert_eq!(added.0, 201, "{}", added.1);
    let count = |received: &Received| {
        received
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    };
    let mut boots = 0;
    for round in 1..=3 {
        let mut charger = Charger::connect(deployment.ocpp, "CP-1", "ocpp1.6");
        for _ in 0..10 {
            boots += 1;
            let boot = format!(r#"{{"chargePointVendor":"V","chargePointModel":"M-{boots}"}}"#);
            charger.call(&format!("b-{boots}"), "BootNotification", &boot);
        }
        let before = count(&received);
        let has_begun = until(WAIT, || count(&received) > before);
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
        let all = received
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut ids = HashSet::new();
        // A receiver ignores an id that it has seen.
        let new = all.iter().filter(|(id, _)| ids.insert(id.clone()));
        seen = new
            .map(|(_, event)| event["id"].as_str().expect("an id").to_owned())
            .collect();
        seen.len() >= wanted.len()
    });
    assert!(is_complete, "log:\n{}", deployment.log_tail());
    assert_eq!(seen, wanted, "each event once, in the order of the log");
}

#[test]
fn a_webhook_of_the_command_line_is_sent_to_until_it_is_disabled_or_removed() {
    let received = Received::default();
    let port = receiver(&received);
    let deployment = Deployment::start(SETTINGS);
    let url = format!("http://127.0.0.1:{port}/hook");
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

    let types = |received: &Received| -> Vec<String> {
        let all = received.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = |event: &Value| event["type"].as_str().expect("a type").to_owned();
        all.iter().map(|(_, event)| kind(event)).collect()
    };
    let mut charger = Charger::connect(deployment.ocpp, "CP-1", "ocpp1.6");
    let boot = r#"{"chargePointVendor":"V","chargePointModel":"M"}"#;
    charger.call("1", "BootNotification", boot);
    let is_sent = until(WAIT, || {
        types(&received) == ["webhook.test", "charger.booted"]
    });
    assert!(is_sent, "{:?}\n{}", types(&received), deployment.log_tail());
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
    assert!(until(WAIT, || types(&received).len() == 3));
    let ids: Vec<_> = {
        let all = received.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(id, _)| id.clone()).collect()
    };
    assert_eq!(ids[1], ids[2], "a repeat has the id of the first delivery");

    let disabled = json(&deployment.run("webhook disable", &[id]));
    assert_eq!(disabled["state"], "disabled");
    charger.call(
        "2",
        "BootNotification",
        r#"{"chargePointVendor":"V","chargePointModel":"N"}"#,
    );
    assert!(until(WAIT, || log(&deployment).len() == 2));
    assert_eq!(
        types(&received).len(),
        3,
        "nothing is sent while it is disabled"
    );
    deployment.run("webhook enable", &[id]);
    assert!(until(WAIT, || types(&received).len() == 4));

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
