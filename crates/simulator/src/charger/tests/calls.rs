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
    let mut world = World::new(Version::V16, &idle());
    world.run_for(10.0);
    let start = json!({"idTag": "ABC", "connectorId": 1});
    assert_eq!(
        status(&world.call("RemoteStartTransaction", start.clone())),
        "Accepted"
    );
    assert_eq!(
        status(&world.call("RemoteStartTransaction", start)),
        "Rejected"
    );
    world.run_for(300.0);
    assert_eq!(world.of("StartTransaction")[0].payload["idTag"], "ABC");
    let id = world.of("MeterValues")[0].payload["transactionId"].clone();
    let wrong = json!({"transactionId": -99});
    assert_eq!(
        status(&world.call("RemoteStopTransaction", wrong)),
        "Rejected"
    );
    let right = json!({ "transactionId": id });
    assert_eq!(
        status(&world.call("RemoteStopTransaction", right)),
        "Accepted"
    );
    world.run_for(1.0);
    assert_eq!(world.of("StopTransaction")[0].payload["reason"], "Remote");
}

#[test]
fn a_requested_start_and_stop_in_2x_work() {
    for version in [Version::V201, Version::V21] {
        let mut world = World::new(version, &idle());
        world.run_for(10.0);
        let token = json!({"idToken": "ABC", "type": "ISO14443"});
        let start = json!({"remoteStartId": 17, "idToken": token});
        assert_eq!(
            status(&world.call("RequestStartTransaction", start)),
            "Accepted"
        );
        world.run_for(1.0);
        let begun = &world.of("TransactionEvent")[0].payload;
        assert_eq!(begun["triggerReason"], "RemoteStart");
        assert_eq!(begun["transactionInfo"]["remoteStartId"], 17);
        let id = begun["transactionInfo"]["transactionId"].clone();
        let asked = world.call("GetTransactionStatus", json!({ "transactionId": id }));
        assert!(asked.contains(r#""ongoingIndicator":true"#), "{asked}");
        let stop = json!({ "transactionId": id });
        assert_eq!(
            status(&world.call("RequestStopTransaction", stop)),
            "Accepted"
        );
        world.run_for(1.0);
        let ended = &world.of("TransactionEvent")[1].payload;
        assert_eq!(ended["triggerReason"], "RemoteStop");
    }
}

#[test]
fn a_reset_ends_the_transaction_and_boots_again() {
    for version in Version::ALL {
        let config = FleetConfig {
            transactions_per_hour: 60.0,
            ..config()
        };
        let mut world = World::new(version, &config);
        while world.charger.gauge().charging == 0 {
            world.run_for(1.0);
        }
        let heard = world.heard.len();
        assert_eq!(
            status(&world.call("Reset", json!({"type": "Immediate"}))),
            "Accepted"
        );
        world.run_for(60.0);
        let told: Vec<_> = world.heard[heard..]
            .iter()
            .map(|one| one.action.as_str())
            .collect();
        assert_eq!(told[0], "BootNotification", "{told:?}");
        assert!(told.contains(&"StopTransaction") || told.contains(&"TransactionEvent"));
    }
}

#[test]
fn triggers_say_what_is_asked_for() {
    let mut world = World::new(Version::V16, &idle());
    world.run_for(10.0);
    let heard = world.heard.len();
    let ask = |what: &str| json!({"requestedMessage": what});
    assert_eq!(
        status(&world.call("TriggerMessage", ask("StatusNotification"))),
        "Accepted"
    );
    assert_eq!(
        status(&world.call("TriggerMessage", ask("Heartbeat"))),
        "Accepted"
    );
    assert_eq!(
        status(&world.call("TriggerMessage", ask("BootNotification"))),
        "Rejected"
    );
    assert_eq!(
        status(&world.call("TriggerMessage", ask("FirmwareStatusNotification"))),
        "NotImplemented"
    );
    world.run_for(1.0);
    let told: Vec<_> = world.heard[heard..]
        .iter()
        .map(|one| one.action.as_str())
        .collect();
    assert_eq!(
        told,
        ["StatusNotification", "StatusNotification", "Heartbeat"]
    );
}

#[test]
fn settings_can_be_read_and_changed() {
    let mut world = World::new(Version::V16, &idle());
    world.run_for(10.0);
    let change = |key: &str, value: &str| json!({"key": key, "value": value});
    let attempts = "TransactionMessageAttempts";
    assert_eq!(
        status(&world.call("ChangeConfiguration", change(attempts, "7"))),
        "Accepted"
    );
    assert_eq!(
        status(&world.call("ChangeConfiguration", change(attempts, "x"))),
        "Rejected"
    );
    assert_eq!(
        status(&world.call("ChangeConfiguration", change("Colour", "1"))),
        "NotSupported"
    );
    let read = world.call("GetConfiguration", json!({"key": [attempts, "Colour"]}));
    assert!(read.contains(r#""value":"7""#) && read.contains(r#""unknownKey":["Colour"]"#));

    let mut world = World::new(Version::V201, &idle());
    world.run_for(10.0);
    let about = json!({
        "component": {"name": "OCPPCommCtrlr"},
        "variable": {"name": "MessageAttempts", "instance": "TransactionEvent"},
    });
    let mut data = about.clone();
    data["attributeValue"] = json!("9");
    let reply = world.call("SetVariables", json!({"setVariableData": [data]}));
    assert!(reply.contains("Accepted"), "{reply}");
    let reply = world.call("GetVariables", json!({"getVariableData": [about]}));
    assert!(reply.contains(r#""attributeValue":"9""#), "{reply}");
    let strange = json!([{"component": {"name": "A"}, "variable": {"name": "B"}}]);
    let reply = world.call("GetVariables", json!({ "getVariableData": strange }));
    assert!(reply.contains("UnknownVariable"), "{reply}");
}

#[test]
fn every_reply_fits_its_schema() {
    for version in Version::ALL {
        for info in ocpp::action::all(version)
            .iter()
            .filter(|info| info.is_to_charger())
        {
            let mut world = World::new(version, &idle());
            world.run_for(10.0);
            let reply = world.call(info.name, json!({}));
            let reply: Value = serde_json::from_str(&reply).unwrap();
            if reply[0] == 3 {
                let payload = reply[2].to_string();
                let mut violations = ocpp::check::response(version, info.name, &payload);
                // Nothing was asked for, so nothing is listed.
                violations.retain(|one| one.kind != ocpp::check::ViolationKind::Items);
                assert!(
                    violations.is_empty(),
                    "{version} {}: {violations:?}",
                    info.name
                );
            } else {
                assert_eq!(reply[2], "NotSupported", "{version} {}", info.name);
            }
        }
        let mut world = World::new(version, &idle());
        world.run_for(10.0);
        let reply = world.call("MakeCoffee", json!({}));
        assert!(reply.contains("NotImplemented"), "{reply}");
    }
}
