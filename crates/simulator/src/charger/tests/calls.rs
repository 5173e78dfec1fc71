//! Calls of the central system.

use super::*;
use serde_json::Value;

fn status(reply: &str) -> String {
    let reply: Value = serde_json::from_str(reply).unwrap();
    assert_eq!((&reply[0], &reply[1]), (&json!(3), &json!("c-1")));
    reply[2]["status"].as_str().unwrap().to_owned()
}

#[test]
fn a_remote_start_and_stop_in_16_work() {
    let mut harness = Harness::new(Version::V16, &idle());
    harness.run_for(10.0);
    let start = json!({"idTag": "ABC", "connectorId": 1});
    assert_eq!(
        status(&harness.call("RemoteStartTransaction", start.clone())),
        "Accepted"
    );
    assert_eq!(
        status(&harness.call("RemoteStartTransaction", start)),
        "Rejected"
    );
    harness.run_for(300.0);
    assert_eq!(harness.of("StartTransaction")[0].payload["idTag"], "ABC");
    let id = harness.of("MeterValues")[0].payload["transactionId"].clone();
    let wrong = json!({"transactionId": -99});
    assert_eq!(
        status(&harness.call("RemoteStopTransaction", wrong)),
        "Rejected"
    );
    let right = json!({ "transactionId": id });
    assert_eq!(
        status(&harness.call("RemoteStopTransaction", right)),
        "Accepted"
    );
    harness.run_for(1.0);
    assert_eq!(harness.of("StopTransaction")[0].payload["reason"], "Remote");
}

#[test]
fn a_requested_start_and_stop_in_2x_work() {
    for version in [Version::V201, Version::V21] {
        let mut harness = Harness::new(version, &idle());
        harness.run_for(10.0);
        let token = json!({"idToken": "ABC", "type": "ISO14443"});
        let start = json!({"remoteStartId": 17, "idToken": token});
        assert_eq!(
            status(&harness.call("RequestStartTransaction", start)),
            "Accepted"
        );
        harness.run_for(1.0);
        let started = &harness.of("TransactionEvent")[0].payload;
        assert_eq!(started["triggerReason"], "RemoteStart");
        assert_eq!(started["transactionInfo"]["remoteStartId"], 17);
        let id = started["transactionInfo"]["transactionId"].clone();
        let asked = harness.call("GetTransactionStatus", json!({ "transactionId": id }));
        assert!(asked.contains(r#""ongoingIndicator":true"#), "{asked}");
        let stop = json!({ "transactionId": id });
        assert_eq!(
            status(&harness.call("RequestStopTransaction", stop)),
            "Accepted"
        );
        harness.run_for(1.0);
        let ended = &harness.of("TransactionEvent")[1].payload;
        assert_eq!(ended["triggerReason"], "RemoteStop");
    }
}

#[test]
fn a_reset_ends_the_transaction_and_sends_a_boot() {
    for version in Version::ALL {
        let config = FleetConfig {
            transactions_per_hour: 60.0,
            ..config()
        };
        let mut harness = Harness::new(version, &config);
        while harness.charger.gauge().charging == 0 {
            harness.run_for(1.0);
        }
        let received = harness.received.len();
        let kind = match version {
            Version::V16 => "Hard",
            _ => "Immediate",
        };
        assert_eq!(
            status(&harness.call("Reset", json!({ "type": kind }))),
            "Accepted"
        );
        harness.run_for(60.0);
        let received: Vec<_> = harness.received[received..]
            .iter()
            .map(|one| one.action.as_str())
            .collect();
        assert_eq!(received[0], "BootNotification", "{received:?}");
        assert!(received.contains(&"StopTransaction") || received.contains(&"TransactionEvent"));
    }
}

#[test]
fn a_trigger_sends_the_requested_message() {
    let mut harness = Harness::new(Version::V16, &idle());
    harness.run_for(10.0);
    let received = harness.received.len();
    let ask = |what: &str| json!({"requestedMessage": what});
    assert_eq!(
        status(&harness.call("TriggerMessage", ask("StatusNotification"))),
        "Accepted"
    );
    assert_eq!(
        status(&harness.call("TriggerMessage", ask("Heartbeat"))),
        "Accepted"
    );
    assert_eq!(
        status(&harness.call("TriggerMessage", ask("BootNotification"))),
        "Rejected"
    );
    assert_eq!(
        status(&harness.call("TriggerMessage", ask("FirmwareStatusNotification"))),
        "Accepted"
    );
    harness.run_for(1.0);
    let received: Vec<_> = harness.received[received..]
        .iter()
        .map(|one| one.action.as_str())
        .collect();
    assert_eq!(
        received,
        [
            "StatusNotification",
            "StatusNotification",
            "Heartbeat",
            "FirmwareStatusNotification"
        ]
    );
}

#[test]
fn settings_can_be_read_and_changed() {
    let mut harness = Harness::new(Version::V16, &idle());
    harness.run_for(10.0);
    let change = |key: &str, value: &str| json!({"key": key, "value": value});
    let attempts = "TransactionMessageAttempts";
    assert_eq!(
        status(&harness.call("ChangeConfiguration", change(attempts, "7"))),
        "Accepted"
    );
    assert_eq!(
        status(&harness.call("ChangeConfiguration", change(attempts, "x"))),
        "Rejected"
    );
    assert_eq!(
        status(&harness.call("ChangeConfiguration", change("Colour", "1"))),
        "NotSupported"
    );
    let read = harness.call("GetConfiguration", json!({"key": [attempts, "Colour"]}));
    assert!(read.contains(r#""value":"7""#) && read.contains(r#""unknownKey":["Colour"]"#));

    let mut harness = Harness::new(Version::V201, &idle());
    harness.run_for(10.0);
    let about = json!({
        "component": {"name": "OCPPCommCtrlr"},
        "variable": {"name": "MessageAttempts", "instance": "TransactionEvent"},
    });
    let mut data = about.clone();
    data["attributeValue"] = json!("9");
    let reply = harness.call("SetVariables", json!({"setVariableData": [data]}));
    assert!(reply.contains("Accepted"), "{reply}");
    let reply = harness.call("GetVariables", json!({"getVariableData": [about]}));
    assert!(reply.contains(r#""attributeValue":"9""#), "{reply}");
    let master = json!({
        "component": {"name": "AuthCtrlr"},
        "variable": {"name": "MasterPassGroupId"},
    });
    let mut data = master.clone();
    data["attributeValue"] = json!("MASTER");
    let reply = harness.call("SetVariables", json!({"setVariableData": [data]}));
    assert!(reply.contains("Accepted"), "{reply}");
    let reply = harness.call("GetVariables", json!({"getVariableData": [master]}));
    assert!(reply.contains(r#""attributeValue":"MASTER""#), "{reply}");
    let unknown = json!([{"component": {"name": "A"}, "variable": {"name": "B"}}]);
    let reply = harness.call("GetVariables", json!({ "getVariableData": unknown }));
    assert!(reply.contains("UnknownComponent"), "{reply}");
    let unknown = json!([{"component": {"name": "ClockCtrlr"}, "variable": {"name": "B"}}]);
    let reply = harness.call("GetVariables", json!({ "getVariableData": unknown }));
    assert!(reply.contains("UnknownVariable"), "{reply}");
}
