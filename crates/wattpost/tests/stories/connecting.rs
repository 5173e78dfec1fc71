//! The log of the process says why a charger does not connect.

use crate::charger::Charger;
use crate::deployment::{Deployment, until};
use crate::handshake::{handshake_status_with, send_handshake};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

fn send(address: SocketAddr, text: &str) -> String {
    let mut socket = TcpStream::connect(address).expect("connects");
    let timeout = socket.set_read_timeout(Some(Duration::from_secs(15)));
    timeout.expect("a socket");
    socket.write_all(text.as_bytes()).expect("writes");
    let mut answer = String::new();
    socket
        .read_to_string(&mut answer)
        .expect("reads to the end");
    answer
}

/// Default settings, so this is what an integrator sees.
#[test]
fn what_a_charger_does_wrong_is_in_the_log_at_the_default_level() {
    let deployment = Deployment::start("");
    let has_line = |texts: &[&str]| {
        let found = until(Duration::from_secs(30), || {
            let log = std::fs::read_to_string(deployment.path("serve.log")).unwrap_or_default();
            log.lines()
                .any(|line| texts.iter().all(|text| line.contains(text)))
        });
        assert!(found, "no line with {texts:?}");
    };
    send_handshake(deployment.ocpp, "", "ocpp1.6", "").expect("an answer");
    has_line(&[
        "charger refused: no identity in the URL",
        "path=\"/ocpp/\"",
        "cure=",
    ]);
    let (head, _) = send_handshake(deployment.ocpp, "CP-1", "ocpp1.2", "").expect("an answer");
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    has_line(&[
        "charger refused: no supported OCPP version",
        "offered=\"ocpp1.2\"",
    ]);

    deployment.run("charger add", &["CP-2", "--password", "a long password"]);
    let is_known = until(Duration::from_secs(30), || {
        let lines = "Authorization: Basic Q1AtMjpzZXNhbWU=\r\n";
        handshake_status_with(deployment.ocpp, "CP-2", lines).0 == 401
    });
    assert!(is_known);
    has_line(&["charger refused: wrong password", "identity=\"CP-2\""]);

    let api = send(
        deployment.ocpp,
        "GET /api/v1/chargers HTTP/1.1\r\nHost: x\r\n\r\n",
    );
    assert!(api.starts_with("HTTP/1.1 426 "), "{api}");
    has_line(&["charger refused: request for the HTTP API", "http.listen"]);
    let wrong_port = send(
        deployment.http,
        "GET /ocpp/CP-3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    assert!(wrong_port.starts_with("HTTP/1.1 404 "), "{wrong_port}");
    has_line(&[
        "a charger called the HTTP API",
        "address=127.0.0.1:",
        "path=\"/ocpp/CP-3\"",
    ]);

    let charger = Charger::connect(deployment.ocpp, "CP-4", "ocpp2.1");
    has_line(&["charger connected", "CP-4", "version=2.1"]);
    drop(charger);
    has_line(&["charger disconnected", "CP-4", "reason="]);
    let log = std::fs::read_to_string(deployment.path("serve.log")).expect("the log");
    assert!(!log.contains("sesame") && !log.contains("Q1AtMjpzZXNhbWU"));
}
