//! What is shown of a connector after an outage of Wattpost and after its charger was disconnected.

use crate::charger::Charger;
use crate::deployment::{Deployment, until};
use serde_json::{Value, json};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(60);
const AVAILABLE: &str = r#"{"connectorId":1,"errorCode":"NoError","status":"Available"}"#;

fn connector(serve: &Deployment) -> Value {
    let (_, body) = serve.get("/api/v1/chargers/CP-1");
    let charger: Value = serde_json::from_str(&body).expect("JSON");
    charger["connectors"][0].clone()
}

/// `status`, `unknown_reason` and `last_status` of the connector.
fn shown(serve: &Deployment) -> [Value; 3] {
    let connector = connector(serve);
    ["status", "unknown_reason", "last_status"].map(|name| connector[name].clone())
}

#[test]
fn a_status_is_unknown_after_an_outage_until_the_charger_reports_it_again() {
    let mut serve = Deployment::start("");
    let mut charger = Charger::connect(serve.ocpp, "CP-1", "ocpp1.6");
    charger.call("1", "StatusNotification", AVAILABLE);
    let becomes = |serve: &Deployment, expected: [Value; 3]| {
        let is_so = until(TIMEOUT, || shown(serve) == expected);
        assert!(is_so, "{:?} instead of {expected:?}", shown(serve));
    };
    let reported = [json!("Available"), Value::Null, json!("Available")];
    becomes(&serve, reported.clone());

    // An outage of Wattpost: the end of the connection is not recorded.
    serve.kill();
    serve.restart();
    let unknown = |reason: &str| [json!("Unknown"), json!(reason), json!("Available")];
    becomes(&serve, unknown("offline"));
    let mut charger = Charger::connect(serve.ocpp, "CP-1", "ocpp1.6");
    charger.call("2", "Heartbeat", "{}");
    becomes(&serve, unknown("not_reported_since_connect"));
    charger.call("3", "StatusNotification", AVAILABLE);
    becomes(&serve, reported);

    // The charger disconnects.
    drop(charger);
    becomes(&serve, unknown("offline"));

    // The list and the export show the same.
    let (_, body) = serve.get("/api/v1/chargers");
    let list: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(list["items"][0]["connectors"], json!([connector(&serve)]));
    let output = serve
        .command("export connectors")
        .args(["--quiet", "--charger", "cp-1"])
        .output()
        .expect("run wattpost");
    let exported: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    assert_eq!(exported, connector(&serve));
}
