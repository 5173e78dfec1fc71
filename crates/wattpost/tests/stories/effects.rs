//! Effects of commands that simulated chargers of all three versions carry out, over the real binary.

use crate::charger::{Charger, Incoming};
use crate::deployment::{Deployment, until};
use serde_json::{Value, json};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(90);

/// Sends a command and waits for its effect.
fn send(serve: &Deployment, charger: &str, action: &str, payload: &Value) -> Value {
    let payload = payload.to_string();
    let output = serve.run(
        "command send",
        &[charger, action, &payload, "--wait-effect"],
    );
    let command: Value = serde_json::from_str(&output).expect("JSON");
    let shown = serve.run("command show", &[command["id"].as_str().expect("an id")]);
    assert_eq!(
        serde_json::from_str::<Value>(&shown).ok(),
        Some(command.clone())
    );
    assert_eq!(command["effect"]["state"], "seen", "{command:#}");
    command
}

fn chargers(serve: &Deployment) -> Vec<(String, String)> {
    let (_, body) = serve.get("/api/v1/chargers");
    let page: Value = serde_json::from_str(&body).unwrap_or_default();
    let items = page["items"].as_array().cloned().unwrap_or_default();
    let booted = items.iter().filter(|item| !item["booted_at"].is_null());
    booted
        .map(|item| {
            let text = |member: &str| item[member].as_str().unwrap_or_default().to_owned();
            (text("charger_id"), text("ocpp_version"))
        })
        .collect()
}

fn commands_of(serve: &Deployment, charger: &str, is_v16: bool) {
    let heartbeat = json!({"requestedMessage": "Heartbeat"});
    let triggered = send(serve, charger, "TriggerMessage", &heartbeat);
    assert_eq!(triggered["effect"]["status"], "Heartbeat");
    if is_v16 {
        let upload = json!({"location": "ftp://user:secret@files.example/logs"});
        let upload = send(serve, charger, "GetDiagnostics", &upload);
        assert_eq!(upload["effect"]["status"], "Uploaded");
        let file = upload["effect"]["file"].as_str().expect("a file");
        assert!(file.starts_with("ftp://files.example/logs/"), "{file}");
    } else {
        let report = json!({"requestId": 7, "reportBase": "FullInventory"});
        let report = send(serve, charger, "GetBaseReport", &report);
        let pages = report["effect"]["report"]["pages"].as_u64();
        assert_eq!(report["effect"]["report"]["complete"], true);
        let id = report["id"].as_str().expect("an id");
        let lines = serve.run("command report", &[id]);
        assert_eq!(Some(lines.lines().count() as u64), pages, "{lines}");
    }
    // It is installed when no transaction runs, and the chargers of this scenario always have one.
    let firmware = match is_v16 {
        true => json!({"location": "https://f.example/fw", "retrieveDate": "2026-01-01T00:00:00Z"}),
        false => json!({"requestId": 8, "firmware": {
            "location": "https://u:p@f.example/fw?sig=1", "retrieveDateTime": "2026-01-01T00:00:00Z"}}),
    };
    let firmware = firmware.to_string();
    let output = serve.run("command send", &[charger, "UpdateFirmware", &firmware]);
    let firmware: Value = serde_json::from_str(&output).expect("JSON");
    let id = firmware["id"].as_str().expect("an id");
    let mut shown = Value::Null;
    let is_downloaded = until(TIMEOUT, || {
        shown = serde_json::from_str(&serve.run("command show", &[id])).expect("JSON");
        shown["effect"]["status"] == "Downloaded"
    });
    assert!(is_downloaded, "{shown:#}");
    assert_eq!(shown["effect"]["state"], "expected");
    assert_eq!(shown["effect"]["file"], "https://f.example/fw");
    let reset = json!({"type": if is_v16 { "Hard" } else { "Immediate" }});
    let reset = send(serve, charger, "Reset", &reset);
    let reason = if is_v16 {
        Value::Null
    } else {
        json!("RemoteReset")
    };
    assert_eq!(reset["effect"]["status"], reason);
}

#[test]
fn commands_show_what_simulated_chargers_of_each_version_did() {
    let serve = Deployment::start("");
    let fleet = serve.meter_flood(
        &serve.path("ledger"),
        3,
        &["--versions", "1.6:1,2.0.1:1,2.1:1"],
    );
    let mut found = Vec::new();
    assert!(
        until(TIMEOUT, || {
            found = chargers(&serve);
            found.len() == 3
        }),
        "{found:?}; log:\n{}",
        serve.log_tail()
    );
    // At the same time, because simulated uploads and restarts take seconds.
    std::thread::scope(|scope| {
        for (charger, version) in &found {
            let serve = &serve;
            scope.spawn(move || commands_of(serve, charger, version == "1.6"));
        }
    });
    drop(fleet);
}

#[test]
fn a_charger_that_does_not_report_after_a_connect_is_asked_for_its_status() {
    let serve = Deployment::start("[gateway]\nask_status_after_s = 1\n");
    let status =
        |name: &str| format!(r#"{{"connectorId":1,"errorCode":"NoError","status":"{name}"}}"#);
    {
        let mut charger = Charger::connect(serve.ocpp, "CP-1", "ocpp1.6");
        let boot = r#"{"chargePointVendor":"V","chargePointModel":"M"}"#;
        charger.call("1", "BootNotification", boot);
        charger.call("2", "StatusNotification", &status("Available"));
    }
    let shown = || {
        let (_, body) = serve.get("/api/v1/chargers/CP-1");
        let charger: Value = serde_json::from_str(&body).unwrap_or_default();
        charger["connectors"][0]["status"].clone()
    };
    let mut charger = Charger::connect(serve.ocpp, "CP-1", "ocpp1.6");
    let Incoming::Text(text) = charger.receive() else {
        panic!("the connection has ended");
    };
    let call: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(call[2], "TriggerMessage", "{call}");
    assert_eq!(
        call[3],
        json!({"requestedMessage": "StatusNotification", "connectorId": 1})
    );
    assert_eq!(shown(), "Unknown");
    let id = call[1].as_str().expect("an id");
    charger.send(&format!(r#"[3,"{id}",{{"status":"Accepted"}}]"#));
    charger.call("3", "StatusNotification", &status("Charging"));
    assert!(until(TIMEOUT, || shown() == "Charging"));
    let command: Value = serde_json::from_str(&serve.run("command show", &[id])).expect("JSON");
    assert_eq!(command["by"], "wattpost");
    assert_eq!(command["effect"]["state"], "seen");
}
