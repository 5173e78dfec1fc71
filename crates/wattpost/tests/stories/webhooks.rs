//! A webhook whose sending process is killed: no event is missing, and what is sent twice has the same id.

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
