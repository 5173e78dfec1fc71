//! A charger's password is changed while processes are killed: the charger can always log in, and once it has used the new
//! password the old one is refused.

use crate::charger::{Charger, Incoming};
use crate::deployment::{Deployment, until};
use crate::handshake::{handshake_status_with, send_handshake};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use testbed::http;

const WAIT: Duration = Duration::from_secs(30);
const FIRST: &str = "the-first-password";
const PATH: &str = "/api/v1/chargers/CP-1/password";

fn basic(password: &str) -> String {
    format!(
        "Authorization: Basic {}\r\n",
        BASE64.encode(format!("CP-1:{password}"))
    )
}

fn log_in(server: SocketAddr, protocol: &str, password: &str) -> Charger {
    let answer = send_handshake(server, "CP-1", protocol, &basic(password));
    let (head, socket) = answer.expect("a connection");
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    Charger::on(socket)
}

fn status(server: SocketAddr, password: &str) -> u16 {
    handshake_status_with(server, "CP-1", &basic(password)).0
}

fn put(deployment: &Deployment, body: &str) -> (u16, Value) {
    let answer = http::send(deployment.http, "PUT", PATH, "", body).expect("an answer");
    (answer.0, serde_json::from_str(&answer.1).expect("JSON"))
}

fn wait_for(deployment: &Deployment, state: &str) {
    let mut last = String::new();
    let reached = until(WAIT, || {
        last = deployment.get(PATH).1;
        let shown: Value = serde_json::from_str(&last).expect("JSON");
        shown["state"] == state
    });
    assert!(reached, "not {state}: {last}");
}

/// The call with the new password: its id and the password. Other calls are answered with an error.
fn new_password(charger: &mut Charger) -> (String, String) {
    loop {
        let Incoming::Text(text) = charger.receive() else {
            panic!("the connection has ended");
        };
        let call: Value = serde_json::from_str(&text).expect("JSON");
        let id = call[1].as_str().expect("an id").to_owned();
        let given = match call[2].as_str() {
            Some("ChangeConfiguration") => &call[3]["value"],
            Some("SetVariables") => &call[3]["setVariableData"][0]["attributeValue"],
            _ => {
                charger.send(&format!(r#"[4,"{id}","NotImplemented","",{{}}]"#));
                continue;
            }
        };
        return (id, given.as_str().expect("a text").to_owned());
    }
}

#[test]
fn a_charger_can_log_in_whenever_a_change_of_its_password_is_interrupted() {
    let mut deployment =
        Deployment::start("[gateway]\ndirectory_refresh_s = 1\nask_status_after_s = 0\n");
    deployment.run("charger add", &["CP-1", "--password", FIRST]);
    let is_known = || handshake_status_with(deployment.ocpp, "CP-1", "").0 == 401;
    assert!(until(WAIT, is_known));
    let mut charger = log_in(deployment.ocpp, "ocpp1.6", FIRST);
    let boot = r#"{"chargePointVendor":"V","chargePointModel":"M"}"#;
    charger.call("1", "BootNotification", boot);
    let is_online = || {
        deployment
            .get("/api/v1/chargers/CP-1")
            .1
            .contains(r#""online":true"#)
    };
    assert!(until(WAIT, is_online));
    wait_for(&deployment, "none");

    // Killed when the charger has the new password and has not answered.
    let (code, begun) = put(&deployment, "{}");
    assert_eq!((code, &begun["charger_id"]), (202, &Value::from("CP-1")));
    let (_, second) = new_password(&mut charger);
    assert_eq!(second.len(), 40);
    deployment.kill();
    deployment.restart();
    assert_eq!(status(deployment.ocpp, FIRST), 101);
    wait_for(&deployment, "uncertain");
    assert_eq!(put(&deployment, "{}").1["code"], "password_change_open");
    let given_up = http::send(deployment.http, "DELETE", PATH, "", "").expect("an answer");
    assert_eq!(given_up.0, 409);
    assert_eq!(status(deployment.ocpp, "not-its-password"), 401);

    // Killed when the charger has just logged in with it, once as the bytes that the digits stand for.
    assert_eq!(status(deployment.ocpp, &second), 101);
    deployment.kill();
    deployment.restart();
    assert_eq!(status(deployment.ocpp, FIRST), 401);
    wait_for(&deployment, "done");
    assert_eq!(status(deployment.ocpp, FIRST), 401);

    // Refused by the charger; the command line begins it.
    let mut charger = log_in(deployment.ocpp, "ocpp1.6", &second);
    deployment.run("charger rotate-password", &["CP-1"]);
    let (id, third) = new_password(&mut charger);
    charger.send(&format!(r#"[3,"{id}",{{"status":"NotSupported"}}]"#));
    wait_for(&deployment, "refused");
    let is_dropped = || status(deployment.ocpp, &third) == 401;
    assert!(until(WAIT, is_dropped));
    assert_eq!(status(deployment.ocpp, &second), 101);

    // Accepted in 2.x, and another password is set directly while the charger is away.
    let mut charger = log_in(deployment.ocpp, "ocpp2.0.1", &second);
    let boot = r#"{"reason":"PowerUp","chargingStation":{"vendorName":"V","model":"M"}}"#;
    charger.call("1", "BootNotification", boot);
    let is_newer = || deployment.get("/api/v1/chargers/CP-1").1.contains("2.0.1");
    assert!(until(WAIT, is_newer));
    assert_eq!(
        put(&deployment, r#"{"password":"the-fourth-passwd"}"#).0,
        202
    );
    let (id, fourth) = new_password(&mut charger);
    assert_eq!(fourth, "the-fourth-passwd");
    charger.send(&format!(
        r#"[3,"{id}",{{"setVariableResult":[{{"attributeStatus":"Accepted","component":{{"name":"SecurityCtrlr"}},"variable":{{"name":"BasicAuthPassword"}}}}]}}]"#
    ));
    wait_for(&deployment, "accepted");
    let said = deployment.run("charger set", &["CP-1", "--password", "set-by-a-person"]);
    assert!(said.contains("password"), "{said}");
    wait_for(&deployment, "replaced");
    assert!(until(WAIT, || status(deployment.ocpp, "set-by-a-person") == 101));
    assert_eq!(status(deployment.ocpp, &fourth), 401);
    assert_eq!(status(deployment.ocpp, &second), 401);

    // A charger that is not connected: the change waits, and is given up before it is sent.
    drop(charger);
    assert_eq!(put(&deployment, "{}").0, 202);
    let given_up = http::send(deployment.http, "DELETE", PATH, "", "").expect("an answer");
    assert_eq!(given_up.0, 204, "{}", given_up.1);
    wait_for(&deployment, "cancelled");
    assert_eq!(status(deployment.ocpp, "set-by-a-person"), 101);
    let again = http::send(deployment.http, "DELETE", PATH, "", "").expect("an answer");
    assert!(again.1.contains("no_password_change"), "{}", again.1);

    // No password is shown.
    let shown = [
        deployment.get(PATH).1,
        deployment.get("/api/v1/commands").1,
        deployment.get("/api/v1/audit").1,
        deployment.get("/api/v1/messages").1,
        deployment.run("charger password", &["CP-1"]),
        deployment.log(),
    ];
    for secret in [&second, &third, &fourth] {
        assert!(shown.iter().all(|text| !text.contains(secret.as_str())));
    }
}
