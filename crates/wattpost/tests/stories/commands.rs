//! Commands over the HTTP API of `wattpost serve`.

use crate::charger::{Charger, Incoming};
use crate::deployment::{Deployment, until};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// The body of the answer to a request that waits for the outcome.
fn send(http: SocketAddr, key: usize) -> Value {
    let body = r#"{"action":"ClearCache"}"#;
    post(http, "", &format!("Idempotency-Key: {key}"), body)
}

fn post(http: SocketAddr, query: &str, headers: &str, body: &str) -> Value {
    let mut socket = TcpStream::connect(http).expect("connect");
    write!(
        socket,
        "POST /api/v1/chargers/CP-1/commands{query} HTTP/1.1\r\nHost: {http}\r\nContent-Type: application/json\r\n\
         {headers}\r\nPrefer: wait=20\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("send");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    serde_json::from_str(body).expect("JSON")
}

/// Events connect the parts of the process: if a gateway found commands only by looking each second, these would take
/// 30 seconds.
#[test]
fn an_answer_arrives_long_before_a_gateway_would_look_for_the_command() {
    const COMMANDS: usize = 30;
    let deployment = Deployment::start("");
    let mut charger = Charger::connect(deployment.ocpp, "CP-1", "ocpp1.6");
    let boot = r#"{"chargePointVendor":"V","chargePointModel":"M"}"#;
    assert_eq!(
        charger.call("1", "BootNotification", boot)[2]["status"],
        "Accepted"
    );
    let is_known = until(Duration::from_secs(20), || {
        deployment.get("/api/v1/chargers/CP-1").0 == 200
    });
    assert!(is_known);
    let answering = std::thread::spawn(move || {
        let mut last = Value::Null;
        for _ in 0..=COMMANDS {
            let Incoming::Text(text) = charger.receive() else {
                panic!("the connection has ended");
            };
            let call: Value = serde_json::from_str(&text).expect("JSON");
            let id = call[1].as_str().expect("an id");
            charger.send(&format!(r#"[3,"{id}",{{"status":"Accepted"}}]"#));
            last = call;
        }
        last
    });
    let began = Instant::now();
    for key in 0..COMMANDS {
        let command = send(deployment.http, key);
        assert_eq!(command["outcome"]["status"], "Accepted", "{command}");
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}");
    println!("{COMMANDS} commands took {} ms", took.as_millis());

    // Firmware with members of its own gets them as they are, and the trace of the request is kept with all that it caused.
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let own = r#"{"action":"Reset","payload":{"type":"Soft","vendorDelayS":5}}"#;
    let headers = format!("Idempotency-Key: own\r\nTraceparent: {trace}");
    let command = post(deployment.http, "?check=off", &headers, own);
    assert_eq!(command["outcome"]["status"], "Accepted", "{command}");
    let shown = |value: &Value| (value["check"].clone(), value["traceparent"].clone());
    assert_eq!(shown(&command), ("off".into(), trace.into()));
    let received = answering.join().expect("no panic");
    assert_eq!(
        received[3].to_string(),
        r#"{"type":"Soft","vendorDelayS":5}"#
    );
    let json =
        |path: &str| -> Value { serde_json::from_str(&deployment.get(path).1).expect("JSON") };
    let entries = json("/api/v1/audit?action=command.unchecked");
    assert_eq!(entries["items"][0]["after"]["command"], command["id"]);
    assert_eq!(entries["items"][0]["traceparent"], trace);
    let is_told = until(Duration::from_secs(20), || {
        let events = json("/api/v1/events?types=command.finished&limit=1000");
        let events = events["items"].as_array().expect("a list").clone();
        let mut events = events.iter().map(|event| &event["data"]);
        events.any(|data| data["id"] == command["id"] && shown(data) == shown(&command))
    });
    assert!(is_told);
}
