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
    let mut socket = TcpStream::connect(http).expect("connect");
    write!(
        socket,
        "POST /api/v1/chargers/CP-1/commands HTTP/1.1\r\nHost: {http}\r\nContent-Type: application/json\r\n\
         Idempotency-Key: {key}\r\nPrefer: wait=20\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
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
        for _ in 0..COMMANDS {
            let Incoming::Text(text) = charger.receive() else {
                panic!("the connection has ended");
            };
            let call: Value = serde_json::from_str(&text).expect("JSON");
            let id = call[1].as_str().expect("an id");
            charger.send(&format!(r#"[3,"{id}",{{"status":"Accepted"}}]"#));
        }
    });
    let began = Instant::now();
    for key in 0..COMMANDS {
        let command = send(deployment.http, key);
        assert_eq!(command["outcome"]["status"], "Accepted", "{command}");
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}");
    println!("{COMMANDS} commands took {} ms", took.as_millis());
    answering.join().expect("no panic");
}
