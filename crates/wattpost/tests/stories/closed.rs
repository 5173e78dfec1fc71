//! A session whose stop will not come, and the person who closes it.

use crate::charger::Charger;
use crate::deployment::{Deployment, until};
use serde_json::Value;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(30);

#[test]
fn person_closes_a_session_while_the_server_runs_and_a_late_stop_still_decides() {
    let mut deployment = Deployment::start("");
    let mut charger = Charger::connect(deployment.ocpp, "LOST", "ocpp1.6");
    let start =
        r#"{"connectorId":1,"idTag":"TAG-1","meterStart":100,"timestamp":"2026-02-01T10:00:00Z"}"#;
    let answer = charger.call("1", "StartTransaction", start);
    let id = answer[2]["transactionId"].as_i64().expect("an id");
    let values = r#"{"connectorId":1,"meterValue":[{"timestamp":"2026-02-01T10:05:00Z","sampledValue":[{"value":"300"}]}]}"#;
    charger.call("2", "MeterValues", values);

    let open = || -> Vec<Value> {
        let list = deployment.run("transaction list", &["--open", "--json"]);
        let lines = list.lines();
        lines
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    };
    let is_stored = until(TIMEOUT, || {
        open()
            .first()
            .is_some_and(|view| view["energy_wh"] == 200.0)
    });
    assert!(is_stored, "{:?}", open());
    let key = open()[0]["key"].as_str().expect("a key").to_owned();
    assert!(
        deployment
            .run("transaction list", &["--open"])
            .contains("LOST  connector 1  open")
    );

    let refused = |arguments: &[&str]| {
        let output = deployment
            .command("transaction close")
            .args(arguments)
            .args(["--who", "bob"])
            .output()
            .expect("run");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let unknown = refused(&["00000000-0000-0000-0000-000000000001", "--reason", "gone"]);
    assert!(unknown.contains("there is no transaction"), "{unknown}");
    let empty = refused(&[&key, "--reason", " "]);
    assert!(empty.contains("--reason is empty"), "{empty}");

    let arguments = [
        &key,
        "--reason",
        "charger replaced",
        "--who",
        "alice",
        "--at",
        "2026-02-01T10:30:00Z",
    ];
    let done = deployment.run("transaction close", &arguments);
    assert!(done.contains("closed by alice"), "{done}");
    assert!(open().is_empty());
    let again = refused(&[&key, "--reason", "again"]);
    assert!(again.contains("closed already: by alice"), "{again}");

    let shown = || -> Value {
        let (status, body) = deployment.get(&format!("/api/v1/transactions/{key}"));
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).expect("JSON")
    };
    let closed = shown();
    assert_eq!(closed["open"], false);
    assert_eq!(closed["ended_at"], Value::Null);
    assert_eq!(closed["energy_wh"], 200.0);
    assert_eq!(closed["checks"][0]["code"], "closed_without_stop");
    assert_eq!(closed["closed"]["by"], "person");
    assert_eq!(closed["closed"]["reason"], "charger replaced");
    assert_eq!(closed["closed"]["at"], "2026-02-01T10:30:00.000Z");

    let stop = format!(
        r#"{{"transactionId":{id},"idTag":"TAG-1","meterStop":900,"timestamp":"2026-02-01T10:20:00Z"}}"#
    );
    charger.call("3", "StopTransaction", &stop);
    let is_reconciled = until(TIMEOUT, || shown()["closed"]["reconciled"] == true);
    let ended = shown();
    assert!(is_reconciled, "{ended}");
    assert_eq!(ended["energy_wh"], 800.0);
    assert_eq!(ended["ended_at"], "2026-02-01T10:20:00.000Z");
    assert_eq!(ended["closed"]["who"], "alice");
    deployment.stop();
    assert_eq!(deployment.transactions()[0]["closed"]["reconciled"], true);
}
