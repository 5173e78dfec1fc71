//! Starts, stops, resets, availability, triggers, settings and reports of the device model.

use super::*;

#[test]
fn a_remote_start_first_authorizes_if_the_device_model_says_so() {
    let mut harness = accepted(Version::V16);
    let change = json!({"key": "AuthorizeRemoteTxRequests", "value": "true"});
    assert_eq!(harness.status("ChangeConfiguration", change), "Accepted");
    charging(&mut harness);
    let actions = harness.actions();
    let authorize = actions.iter().position(|one| *one == "Authorize").unwrap();
    let start = actions
        .iter()
        .position(|one| *one == "StartTransaction")
        .unwrap();
    assert!(authorize < start, "{actions:?}");

    let mut harness = accepted(Version::V201);
    let set = json!({"setVariableData": [{
        "attributeValue": "true",
        "component": {"name": "AuthCtrlr"}, "variable": {"name": "AuthorizeRemoteStart"},
    }]});
    harness.result("SetVariables", set);
    harness.react(|call| match call.action.as_str() {
        "Authorize" => Reaction::Answer(json!({"idTokenInfo": {"status": "Blocked"}})),
        _ => Reaction::Normal,
    });
    let start = json!({"remoteStartId": 5, "idToken": token("A"), "evseId": 1});
    assert_eq!(harness.status("RequestStartTransaction", start), "Accepted");
    harness.run_for(60.0);
    assert_eq!(harness.of("Authorize").len(), 1);
    assert!(harness.of("TransactionEvent").is_empty());
}

#[test]
fn a_reset_gives_its_reason_to_the_transaction_and_to_the_boot() {
    for (kind, reason) in [("Hard", "HardReset"), ("Soft", "SoftReset")] {
        let mut harness = accepted(Version::V16);
        charging(&mut harness);
        assert_eq!(harness.status("Reset", json!({ "type": kind })), "Accepted");
        harness.run_for(60.0);
        assert_eq!(members(&harness, "StopTransaction", "reason"), [reason]);
        assert_eq!(harness.of("BootNotification").len(), 2);
    }
    for version in V2 {
        let mut harness = accepted(version);
        charging(&mut harness);
        assert_eq!(
            harness.status("Reset", json!({"type": "OnIdle"})),
            "Scheduled"
        );
        harness.run_for(60.0);
        assert_eq!(harness.of("BootNotification").len(), 1);
        while harness.of("BootNotification").len() == 1 {
            harness.run_for(60.0);
        }
        assert_eq!(
            members(&harness, "BootNotification", "reason")[1],
            "ScheduledReset"
        );

        charging(&mut harness);
        assert_eq!(
            harness.status("Reset", json!({"type": "Immediate"})),
            "Accepted"
        );
        harness.run_for(60.0);
        assert_eq!(
            members(&harness, "BootNotification", "reason")[2],
            "RemoteReset"
        );
        let events = harness.of("TransactionEvent");
        let last = &events.last().unwrap().payload;
        assert_eq!(last["transactionInfo"]["stoppedReason"], "ImmediateReset");
    }
}

#[test]
fn the_reset_of_an_evse_ends_its_transaction_only() {
    let mut harness = accepted(Version::V201);
    charging(&mut harness);
    let reset = |evse: u8| json!({"type": "Immediate", "evseId": evse});
    assert_eq!(harness.status("Reset", reset(3)), "Rejected");
    assert_eq!(harness.status("Reset", reset(2)), "Accepted");
    assert_eq!(harness.charger.gauge().charging, 1);
    assert_eq!(harness.status("Reset", reset(1)), "Accepted");
    assert_eq!(harness.charger.gauge().charging, 0);
    harness.run_for(60.0);
    assert_eq!(harness.of("BootNotification").len(), 1);
}

#[test]
fn availability_changes_at_once_or_after_the_transaction_and_survives_a_reset() {
    let mut harness = accepted(Version::V16);
    let change = |connector: u8, kind: &str| json!({"connectorId": connector, "type": kind});
    assert_eq!(
        harness.status("ChangeAvailability", change(2, "Inoperative")),
        "Accepted"
    );
    harness.run_for(1.0);
    let last = |harness: &Harness| {
        let all = harness.of("StatusNotification");
        let payload = &all.last().unwrap().payload;
        (
            payload["connectorId"].as_u64().unwrap(),
            payload["status"].to_string(),
        )
    };
    assert_eq!(last(&harness), (2, r#""Unavailable""#.to_owned()));
    let start = json!({"idTag": "A", "connectorId": 2});
    assert_eq!(
        harness.status("RemoteStartTransaction", start.clone()),
        "Rejected"
    );
    harness.status("Reset", json!({"type": "Soft"}));
    harness.run_for(60.0);
    assert_eq!(
        harness.status("RemoteStartTransaction", start.clone()),
        "Rejected"
    );

    charging(&mut harness);
    assert_eq!(
        harness.status("ChangeAvailability", change(0, "Inoperative")),
        "Scheduled"
    );
    assert_eq!(harness.charger.gauge().charging, 1);
    while harness.charger.gauge().charging == 1 {
        harness.run_for(60.0);
    }
    harness.run_for(120.0);
    assert_eq!(last(&harness), (1, r#""Unavailable""#.to_owned()));
    assert_eq!(
        harness.status("ChangeAvailability", change(0, "Operative")),
        "Accepted"
    );
    assert_eq!(harness.status("RemoteStartTransaction", start), "Accepted");
    assert_eq!(
        harness.status("ChangeAvailability", change(7, "Operative")),
        "Rejected"
    );
}

#[test]
fn an_unlock_ends_the_transaction_in_16_and_is_refused_during_one_in_2x() {
    let mut harness = accepted(Version::V16);
    charging(&mut harness);
    assert_eq!(
        harness.status("UnlockConnector", json!({"connectorId": 1})),
        "Unlocked"
    );
    harness.run_for(1.0);
    assert_eq!(
        members(&harness, "StopTransaction", "reason"),
        ["UnlockCommand"]
    );
    assert_eq!(
        harness.status("UnlockConnector", json!({"connectorId": 9})),
        "NotSupported"
    );
    let mut harness = accepted(Version::V201);
    charging(&mut harness);
    let mut unlock = |evse: u8, connector: u8| {
        let payload = json!({"evseId": evse, "connectorId": connector});
        harness.status("UnlockConnector", payload)
    };
    assert_eq!(unlock(1, 1), "OngoingAuthorizedTransaction");
    assert_eq!(unlock(2, 1), "Unlocked");
    assert_eq!(unlock(2, 2), "UnknownConnector");
}

#[test]
fn every_message_that_can_be_triggered_is_sent() {
    for version in Version::ALL {
        let mut harness = accepted(version);
        charging(&mut harness);
        let messages: &[(&str, &str)] = match version {
            Version::V16 => &[
                (
                    "DiagnosticsStatusNotification",
                    "DiagnosticsStatusNotification",
                ),
                ("FirmwareStatusNotification", "FirmwareStatusNotification"),
                ("Heartbeat", "Heartbeat"),
                ("MeterValues", "MeterValues"),
                ("StatusNotification", "StatusNotification"),
            ],
            _ => &[
                ("LogStatusNotification", "LogStatusNotification"),
                ("FirmwareStatusNotification", "FirmwareStatusNotification"),
                ("Heartbeat", "Heartbeat"),
                ("MeterValues", "MeterValues"),
                ("SignChargingStationCertificate", "SignCertificate"),
                ("SignV2GCertificate", "SignCertificate"),
                ("SignCombinedCertificate", "SignCertificate"),
                ("StatusNotification", "StatusNotification"),
                ("TransactionEvent", "TransactionEvent"),
                (
                    "PublishFirmwareStatusNotification",
                    "PublishFirmwareStatusNotification",
                ),
            ],
        };
        for (message, action) in messages {
            let before = harness.of(action).len();
            let asked = json!({ "requestedMessage": message });
            assert_eq!(
                harness.status("TriggerMessage", asked),
                "Accepted",
                "{message}"
            );
            harness.run_for(1.0);
            assert!(harness.of(action).len() > before, "{version} {message}");
        }
        let asked = match version {
            Version::V16 => json!({"requestedMessage": "Heartbeat", "connectorId": 3}),
            _ => json!({"requestedMessage": "Heartbeat", "evse": {"id": 3}}),
        };
        assert_eq!(harness.status("TriggerMessage", asked), "Rejected");
    }
    let mut harness = accepted(Version::V16);
    for (message, action) in [
        ("LogStatusNotification", "LogStatusNotification"),
        ("SignChargePointCertificate", "SignCertificate"),
        ("MeterValues", "MeterValues"),
    ] {
        let asked = json!({ "requestedMessage": message });
        assert_eq!(harness.status("ExtendedTriggerMessage", asked), "Accepted");
        harness.run_for(1.0);
        assert!(!harness.of(action).is_empty(), "{message}");
    }
    let values = harness.of("MeterValues");
    assert_eq!(values.len(), 2, "one for each connector");
    assert!(values[0].payload.get("transactionId").is_none());
}

#[test]
fn settings_are_read_only_or_wait_for_a_reboot_and_secrets_are_not_shown() {
    let mut harness = accepted(Version::V16);
    let mut change = |key: &str, value: &str| {
        harness.status("ChangeConfiguration", json!({"key": key, "value": value}))
    };
    assert_eq!(change("NumberOfConnectors", "9"), "Rejected");
    assert_eq!(change("LocalPreAuthorize", "maybe"), "Rejected");
    assert_eq!(change("ConnectorPhaseRotation", "1.RTS"), "RebootRequired");
    assert_eq!(change("Colour", "red"), "NotSupported");
    assert_eq!(change("", "red"), "NotSupported");
    let mut read = |key: &str| harness.result("GetConfiguration", json!({"key": [key]}));
    assert_eq!(
        read("ConnectorPhaseRotation")["configurationKey"][0]["value"],
        "1.RST"
    );
    let secret = read("AuthorizationKey");
    assert!(
        secret["configurationKey"][0].get("value").is_none(),
        "{secret}"
    );
    harness.status("Reset", json!({"type": "Soft"}));
    harness.run_for(60.0);
    let read = harness.result(
        "GetConfiguration",
        json!({"key": ["ConnectorPhaseRotation"]}),
    );
    assert_eq!(read["configurationKey"][0]["value"], "1.RTS");
    let all = harness.result("GetConfiguration", json!({}));
    assert!(all["configurationKey"].as_array().unwrap().len() > 30);

    for version in V2 {
        let mut harness = accepted(version);
        let mut set = |component: &str, name: &str, kind: &str| {
            let result = harness.result(
                "SetVariables",
                json!({"setVariableData": [{
                    "attributeType": kind, "attributeValue": "1",
                    "component": {"name": component}, "variable": {"name": name},
                }]}),
            );
            let status = result["setVariableResult"][0]["attributeStatus"].as_str();
            status.unwrap().to_owned()
        };
        let network = "NetworkConfigurationPriority";
        assert_eq!(set("OCPPCommCtrlr", network, "Actual"), "RebootRequired");
        assert_eq!(set("ChargingStation", "Model", "Actual"), "Rejected");
        assert_eq!(
            set("OCPPCommCtrlr", "HeartbeatInterval", "Target"),
            "NotSupportedAttributeType"
        );
        assert_eq!(set("OCPPCommCtrlr", "Colour", "Actual"), "UnknownVariable");
        assert_eq!(set("Paint", "Colour", "Actual"), "UnknownComponent");
        let one = json!({"component": {"name": "A"}, "variable": {"name": "B"}});
        let many = json!({"getVariableData": vec![one; 51]});
        let reply = harness.call("GetVariables", many);
        assert!(reply.contains("OccurrenceConstraintViolation"), "{reply}");
    }
}

#[test]
fn a_new_password_is_used_for_the_next_connection() {
    let mut harness = accepted(Version::V16);
    let change = |value: &str| json!({"key": "AuthorizationKey", "value": value});
    assert_eq!(
        harness.status("ChangeConfiguration", change("41")),
        "Rejected"
    );
    let hexadecimal = "41".repeat(16);
    assert_eq!(
        harness.status("ChangeConfiguration", change(&hexadecimal)),
        "Accepted"
    );
    assert_eq!(
        harness.charger.password().as_deref(),
        Some("AAAAAAAAAAAAAAAA")
    );
    harness.run_for(60.0);
    assert_eq!(harness.connects.len(), 2);
    assert_eq!(harness.of("BootNotification").len(), 1);
}

#[test]
fn a_report_comes_in_pages_whose_last_one_says_so() {
    for version in V2 {
        let mut harness = accepted(version);
        let report = json!({"requestId": 77, "reportBase": "FullInventory"});
        assert_eq!(harness.status("GetBaseReport", report), "Accepted");
        harness.run_for(5.0);
        let pages = harness.of("NotifyReport");
        assert!(pages.len() > 3);
        for (number, page) in pages.iter().enumerate() {
            assert_eq!(page.payload["requestId"], 77);
            assert_eq!(page.payload["seqNo"], number);
            assert_eq!(page.payload["tbc"], number + 1 < pages.len());
        }
        let ask = json!({"requestId": 78, "componentVariable": [
            {"component": {"name": "EVSE", "evse": {"id": 2}}},
        ]});
        assert_eq!(harness.status("GetReport", ask), "Accepted");
        harness.run_for(5.0);
        let pages = harness.of("NotifyReport");
        let last = &pages.last().unwrap().payload;
        assert_eq!(last["requestId"], 78);
        assert_eq!(last["reportData"].as_array().unwrap().len(), 1);
        let problems = json!({"requestId": 79, "componentCriteria": ["Problem"]});
        assert_eq!(harness.status("GetReport", problems), "EmptyResultSet");
    }
}

#[test]
fn a_charger_that_waits_for_acceptance_reports_and_starts_nothing() {
    let mut harness = Harness::new(Version::V201, &idle());
    let time = harness.now.to_string();
    harness.react(move |call| match call.action.as_str() {
        "BootNotification" => {
            Reaction::Answer(json!({"status": "Pending", "currentTime": time, "interval": 300}))
        }
        _ => Reaction::Normal,
    });
    harness.run_for(1.0);
    let report = json!({"requestId": 1, "reportBase": "ConfigurationInventory"});
    assert_eq!(harness.status("GetBaseReport", report), "Accepted");
    let start = json!({"remoteStartId": 1, "idToken": token("A")});
    assert_eq!(harness.status("RequestStartTransaction", start), "Rejected");
    harness.run_for(5.0);
    assert!(!harness.of("NotifyReport").is_empty());
    let trigger = json!({"requestedMessage": "BootNotification"});
    assert_eq!(harness.status("TriggerMessage", trigger), "Accepted");
    harness.run_for(1.0);
    assert_eq!(
        members(&harness, "BootNotification", "reason"),
        ["PowerUp", "Triggered"]
    );
}
