//! A charger's password is changed while single roles are killed: of two gateways, the consumer and the API each may die
//! between the two phases, and the charger can always log in at either gateway.

use crate::charger::{Charger, Incoming};
use crate::deployment::{Deployment, Role, TIMEOUT, until};
use crate::handshake::{handshake_status_with, send_handshake};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use serde_json::Value;
use std::net::SocketAddr;
use testbed::http;

const FIRST: &str = "the-first-password";
const PATH: &str = "/api/v1/chargers/CP-1/password";

fn basic(password: &str) -> String {
    format!(
        "Authorization: Basic {}\r\n",
        BASE64.encode(format!("CP-1:{password}"))
    )
}

fn status(server: SocketAddr, password: &str) -> u16 {
    handshake_status_with(server, "CP-1", &basic(password)).0
}

fn log_in(server: SocketAddr, password: &str) -> Charger {
    let answer = send_handshake(server, "CP-1", "ocpp1.6", &basic(password));
    let (head, socket) = answer.expect("a connection");
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    Charger::on(socket)
}

/// Requests a new password; returns the call that carries it: its id and the password.
fn change(api: &Role, charger: &mut Charger) -> (String, String) {
    let begun = http::send(api.http, "PUT", PATH, "", "{}").expect("an answer");
    assert_eq!(begun.0, 202, "{}", begun.1);
    let Incoming::Text(text) = charger.receive() else {
        panic!("the connection has ended");
    };
    let call: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(call[2], "ChangeConfiguration", "{text}");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    (text(&call[1]), text(&call[3]["value"]))
}

fn wait_for(api: &Role, states: &[&str]) {
    let mut last = String::new();
    let reached = until(TIMEOUT, || {
        last = api.get(PATH).1;
        states
            .iter()
            .any(|state| last.contains(&format!(r#""state":"{state}""#)))
    });
    assert!(reached, "none of {states:?}: {last}");
}

#[test]
fn a_charger_can_log_in_at_any_gateway_whichever_role_is_killed_between_the_phases() {
    let deployment =
        Deployment::new("[gateway]\ndirectory_refresh_s = 1\nask_status_after_s = 0\n");
    let mut first = deployment.start("gateway", "first");
    let second = deployment.start("gateway", "second");
    let mut consumer = deployment.start("consumer", "consumer");
    let mut api = deployment.start("api", "api");
    deployment.run("charger add", &["CP-1", "--password", FIRST]);
    let knows = |gateway: &Role| handshake_status_with(gateway.ocpp, "CP-1", "").0 == 401;
    assert!(until(TIMEOUT, || knows(&first) && knows(&second)));
    let mut charger = log_in(first.ocpp, FIRST);
    let boot = r#"{"chargePointVendor":"V","chargePointModel":"M"}"#;
    charger.call("1", "BootNotification", boot);
    let is_online = |api: &Role| {
        let shown = api.get("/api/v1/chargers/CP-1").1;
        shown.contains(r#""online":true"#)
    };
    assert!(until(TIMEOUT, || is_online(&api)));

    // The gateway is killed when the charger has the new password and has not answered; the API too. The charger uses
    // whichever it has, at the other gateway.
    let (_, new) = change(&api, &mut charger);
    first.kill();
    api.kill();
    assert_eq!(status(second.ocpp, FIRST), 101);
    assert_eq!(status(second.ocpp, "not-its-password"), 401);
    // The other gateway reads the new password with its next refresh.
    assert!(until(TIMEOUT, || status(second.ocpp, &new) == 101));
    // The log-in has decided: the old one is refused, also by the gateway that was killed, once it is back.
    assert!(until(TIMEOUT, || status(second.ocpp, FIRST) == 401));
    first.restart();
    api.restart();
    assert!(until(TIMEOUT, || status(first.ocpp, FIRST) == 401));
    wait_for(&api, &["done"]);

    // The consumer is killed: the answer waits in RabbitMQ, and both passwords are accepted until a log-in decides.
    let mut charger = log_in(second.ocpp, &new);
    assert!(until(TIMEOUT, || is_online(&api)));
    consumer.kill();
    let (id, newer) = change(&api, &mut charger);
    charger.send(&format!(r#"[3,"{id}",{{"status":"RebootRequired"}}]"#));
    wait_for(&api, &["sent", "uncertain", "waiting"]);
    for gateway in [&first, &second] {
        assert!(until(TIMEOUT, || status(gateway.ocpp, &new) == 101));
    }
    consumer.restart();
    wait_for(&api, &["accepted"]);
    assert_eq!(status(second.ocpp, &new), 101);
    // Decided by the other gateway, which is killed just after.
    assert!(until(TIMEOUT, || status(first.ocpp, &newer) == 101));
    first.kill();
    first.restart();
    for gateway in [&first, &second] {
        assert!(until(TIMEOUT, || status(gateway.ocpp, &new) == 401));
    }
    assert_eq!(status(second.ocpp, &newer), 101);
    wait_for(&api, &["done"]);
}
