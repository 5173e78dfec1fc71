//! Commands: each action of each version is answered by the schema, carried out, and followed by the messages that the
//! standard names.

use super::*;
use crate::charger::command::test_root;
use serde_json::Value;

const V2: [Version; 2] = [Version::V201, Version::V21];

/// An idle charger with two connectors that is accepted.
fn accepted(version: Version) -> Harness {
    let config = FleetConfig {
        connectors: 2,
        ..idle()
    };
    let mut harness = Harness::new(version, &config);
    harness.run_for(10.0);
    harness
}

fn token(text: &str) -> Value {
    json!({"idToken": text, "type": "ISO14443"})
}

/// Starts a transaction on the first connector and returns its id in 2.x.
fn charging(harness: &mut Harness) -> String {
    let started = match harness.version {
        Version::V16 => harness.status(
            "RemoteStartTransaction",
            json!({"idTag": "A", "connectorId": 1}),
        ),
        _ => {
            let start = json!({"remoteStartId": 5, "idToken": token("A"), "evseId": 1});
            harness.status("RequestStartTransaction", start)
        }
    };
    assert_eq!(started, "Accepted");
    harness.run_for(1.0);
    match harness.version {
        Version::V16 => String::new(),
        _ => {
            let events = harness.of("TransactionEvent");
            let info = &events.last().unwrap().payload["transactionInfo"];
            info["transactionId"].as_str().unwrap().to_owned()
        }
    }
}

/// The member `name` of all messages of this action.
fn members(harness: &Harness, action: &str, name: &str) -> Vec<String> {
    let all = harness.of(action).into_iter();
    all.map(|one| match &one.payload[name] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    })
    .collect()
}

fn at(harness: &Harness, seconds: u64) -> String {
    harness.now.plus(Duration::from_secs(seconds)).to_string()
}

fn profile_16(id: i64, purpose: &str, level: i64, limit: f64) -> Value {
    json!({
        "chargingProfileId": id, "stackLevel": level, "chargingProfilePurpose": purpose,
        "chargingProfileKind": "Absolute",
        "chargingSchedule": {
            "chargingRateUnit": "A",
            "chargingSchedulePeriod": [
                {"startPeriod": 0, "limit": limit}, {"startPeriod": 600, "limit": 6.0},
            ],
        },
    })
}

fn profile_2(id: i64, purpose: &str, level: i64, limit: f64) -> Value {
    json!({
        "id": id, "stackLevel": level, "chargingProfilePurpose": purpose,
        "chargingProfileKind": "Absolute",
        "chargingSchedule": [{
            "id": 1, "chargingRateUnit": "A",
            "chargingSchedulePeriod": [{"startPeriod": 0, "limit": limit}],
        }],
    })
}

/// A valid request of each action.
fn request(harness: &Harness, action: &str) -> Value {
    let is_16 = harness.version == Version::V16;
    let later = at(harness, 3600);
    let firmware = json!({
        "location": "https://files.example/f", "retrieveDateTime": at(harness, 0),
        "signingCertificate": test_root(), "signature": "x",
    });
    let component = json!({"name": "OCPPCommCtrlr"});
    let variable = json!({"name": "HeartbeatInterval"});
    let hash = json!({
        "hashAlgorithm": "SHA256", "issuerNameHash": "a", "issuerKeyHash": "b", "serialNumber": "1",
    });
    match action {
        "AFRRSignal" => json!({"timestamp": later, "signal": 1}),
        "AdjustPeriodicEventStream" => json!({"id": 1, "params": {"interval": 5}}),
        "CancelReservation" => json!({"reservationId": 9}),
        "CertificateSigned" => json!({"certificateChain": test_root()}),
        "ChangeAvailability" if is_16 => json!({"connectorId": 1, "type": "Inoperative"}),
        "ChangeAvailability" => json!({"operationalStatus": "Inoperative"}),
        "ChangeConfiguration" => json!({"key": "HeartbeatInterval", "value": "100"}),
        "ChangeTransactionTariff" => {
            json!({"transactionId": "x", "tariff": {"tariffId": "t", "currency": "EUR"}})
        }
        "ClearDERControl" => json!({"isDefault": true}),
        "ClearDisplayMessage" => json!({"id": 1}),
        "ClearVariableMonitoring" => json!({"id": [1, 2]}),
        "CostUpdated" => json!({"totalCost": 1.5, "transactionId": "x"}),
        "CustomerInformation" => json!({
            "requestId": 1, "report": true, "clear": false, "idToken": token("A"),
        }),
        "DataTransfer" => json!({"vendorId": "Wattpost", "messageId": "Echo", "data": "x"}),
        "DeleteCertificate" => json!({ "certificateHashData": hash }),
        "GetBaseReport" => json!({"requestId": 1, "reportBase": "FullInventory"}),
        "GetChargingProfiles" => json!({"requestId": 1, "chargingProfile": {}}),
        "GetCompositeSchedule" if is_16 => json!({"connectorId": 1, "duration": 3600}),
        "GetCompositeSchedule" => json!({"evseId": 1, "duration": 3600}),
        "GetDERControl" | "GetDisplayMessages" | "GetMonitoringReport" | "GetReport" => {
            json!({"requestId": 1})
        }
        "GetDiagnostics" => json!({"location": "https://files.example/up"}),
        "GetInstalledCertificateIds" if is_16 => {
            json!({"certificateType": "CentralSystemRootCertificate"})
        }
        "GetLog" => json!({
            "logType": "SecurityLog", "requestId": 3,
            "log": {"remoteLocation": "https://files.example/up"},
        }),
        "GetTariffs" => json!({"evseId": 0}),
        "GetVariables" => {
            json!({"getVariableData": [{"component": component, "variable": variable}]})
        }
        "InstallCertificate" if is_16 => {
            json!({"certificateType": "CentralSystemRootCertificate", "certificate": test_root()})
        }
        "InstallCertificate" => {
            json!({"certificateType": "CSMSRootCertificate", "certificate": test_root()})
        }
        "NotifyAllowedEnergyTransfer" => {
            json!({"transactionId": "x", "allowedEnergyTransfer": ["DC"]})
        }
        "NotifyWebPaymentStarted" => json!({"evseId": 1, "timeout": 60}),
        "PublishFirmware" => json!({
            "location": "https://files.example/f", "checksum": "abc", "requestId": 4,
        }),
        "RemoteStartTransaction" => json!({"idTag": "A"}),
        "RemoteStopTransaction" => json!({"transactionId": 1}),
        "RequestBatterySwap" => json!({"idToken": token("A"), "requestId": 8}),
        "RequestStartTransaction" => json!({"remoteStartId": 1, "idToken": token("A")}),
        "RequestStopTransaction" => json!({"transactionId": "x"}),
        "ReserveNow" if is_16 => json!({
            "connectorId": 1, "expiryDate": later, "idTag": "A", "reservationId": 9,
        }),
        "ReserveNow" => json!({"id": 9, "expiryDateTime": later, "idToken": token("A")}),
        "Reset" if is_16 => json!({"type": "Soft"}),
        "Reset" => json!({"type": "OnIdle"}),
        "SendLocalList" if is_16 => json!({
            "listVersion": 3, "updateType": "Full",
            "localAuthorizationList": [{"idTag": "A", "idTagInfo": {"status": "Accepted"}}],
        }),
        "SendLocalList" => json!({
            "versionNumber": 3, "updateType": "Full",
            "localAuthorizationList": [
                {"idToken": token("A"), "idTokenInfo": {"status": "Accepted"}},
            ],
        }),
        "SetChargingProfile" if is_16 => json!({
            "connectorId": 1, "csChargingProfiles": profile_16(1, "TxDefaultProfile", 0, 16.0),
        }),
        "SetChargingProfile" => json!({
            "evseId": 1, "chargingProfile": profile_2(1, "TxDefaultProfile", 0, 16.0),
        }),
        "SetDERControl" => json!({
            "isDefault": false, "controlId": "c1", "controlType": "Gradients",
            "gradient": {"priority": 1, "gradient": 1.0, "softGradient": 2.0},
        }),
        "SetDefaultTariff" => {
            json!({"evseId": 0, "tariff": {"tariffId": "t", "currency": "EUR"}})
        }
        "SetDisplayMessage" => json!({"message": {
            "id": 1, "priority": "NormalCycle", "message": {"format": "UTF8", "content": "Hi"},
        }}),
        "SetMonitoringBase" => json!({"monitoringBase": "All"}),
        "SetMonitoringLevel" => json!({"severity": 4}),
        "SetNetworkProfile" => json!({"configurationSlot": 1, "connectionData": {
            "ocppVersion": "OCPP20", "ocppTransport": "JSON", "ocppCsmsUrl": "wss://csms.example",
            "messageTimeout": 30, "securityProfile": 1, "ocppInterface": "Wired0",
        }}),
        "SetVariableMonitoring" => json!({"setMonitoringData": [{
            "value": 5, "type": "Delta", "severity": 4,
            "component": component, "variable": variable,
        }]}),
        "SetVariables" => json!({"setVariableData": [{
            "attributeValue": "100", "component": component, "variable": variable,
        }]}),
        "SignedUpdateFirmware" => json!({"requestId": 2, "firmware": firmware}),
        "TriggerMessage" | "ExtendedTriggerMessage" => json!({"requestedMessage": "Heartbeat"}),
        "UnlockConnector" if is_16 => json!({"connectorId": 1}),
        "UnlockConnector" => json!({"evseId": 1, "connectorId": 1}),
        "UnpublishFirmware" => json!({"checksum": "abc"}),
        "UpdateDynamicSchedule" => {
            json!({"chargingProfileId": 1, "scheduleUpdate": {"limit": 8.0}})
        }
        "UpdateFirmware" if is_16 => {
            json!({"location": "https://files.example/f", "retrieveDate": at(harness, 0)})
        }
        "UpdateFirmware" => json!({"requestId": 2, "firmware": firmware}),
        "UsePriorityCharging" => json!({"transactionId": "x", "activate": true}),
        _ => json!({}),
    }
}

fn commands(version: Version) -> impl Iterator<Item = &'static str> {
    ocpp::action::all(version)
        .iter()
        .filter(|info| info.is_to_charger())
        .map(|info| info.name)
}

#[test]
fn every_action_of_every_version_gets_an_answer_that_conforms_to_its_schema() {
    let mut counts = Vec::new();
    for version in Version::ALL {
        counts.push(commands(version).count());
        for action in commands(version) {
            let mut harness = accepted(version);
            let payload = request(&harness, action);
            // Twice, because the second answer may differ.
            harness.result(action, payload.clone());
            while !harness.is_connected() {
                harness.run_for(1.0);
            }
            let second = harness.call(action, payload);
            assert!(second.starts_with("[3,"), "{version} {action}: {second}");
            // The harness checks all messages that follow.
            harness.run_for(120.0);
            assert_eq!(harness.commands.len(), 2, "{version} {action}");
        }
    }
    assert_eq!(counts, [26, 40, 55]);
}

#[test]
fn a_charger_survives_all_commands_one_after_the_other_and_still_charges() {
    for version in Version::ALL {
        let mut harness = accepted(version);
        let all: Vec<_> = commands(version).collect();
        for _ in 0..3 {
            for action in all
                .iter()
                .copied()
                .filter(|one| *one != "ChangeAvailability")
            {
                while !harness.is_connected() {
                    harness.run_for(1.0);
                }
                let payload = request(&harness, action);
                harness.result(action, payload);
                harness.run_for(3.0);
            }
        }
        harness.run_for(3600.0 * 2.0);
        while harness.charger.gauge().charging > 0 {
            harness.run_for(60.0);
        }
        charging(&mut harness);
        assert!(harness.charger.gauge().charging > 0, "{version}");
    }
}

#[test]
fn an_action_that_the_version_lacks_is_not_implemented_and_one_of_chargers_not_supported() {
    for version in Version::ALL {
        let mut harness = accepted(version);
        for other in Version::ALL {
            for action in commands(other) {
                if ocpp::action::lookup(version, action).is_none() {
                    let reply = harness.call(action, json!({}));
                    assert!(reply.starts_with(r#"[4,"c-1","NotImplemented""#), "{reply}");
                }
            }
        }
        let reply = harness.call("BootNotification", json!({}));
        assert!(reply.starts_with(r#"[4,"c-1","NotSupported""#), "{reply}");
        let reply = harness.call("MakeCoffee", json!({}));
        assert!(reply.starts_with(r#"[4,"c-1","NotImplemented""#), "{reply}");
    }
}

#[test]
fn a_payload_that_breaks_the_schema_gets_the_error_in_the_spelling_of_the_version() {
    let check = |version, action: &str, payload: Value, code: &str| {
        let mut harness = accepted(version);
        let reply = harness.call(action, payload);
        let start = format!(r#"[4,"c-1","{code}","#);
        assert!(reply.starts_with(&start), "{version} {action}: {reply}");
        assert!(!harness.commands[0].executed);
    };
    check(
        Version::V16,
        "Reset",
        json!({}),
        "OccurenceConstraintViolation",
    );
    check(
        Version::V201,
        "Reset",
        json!({}),
        "OccurrenceConstraintViolation",
    );
    check(
        Version::V16,
        "Reset",
        json!({"type": 1}),
        "TypeConstraintViolation",
    );
    check(
        Version::V21,
        "Reset",
        json!({"type": "Sometimes"}),
        "PropertyConstraintViolation",
    );
    check(
        Version::V201,
        "ClearCache",
        json!({"more": 1}),
        "FormatViolation",
    );
    check(Version::V16, "ClearCache", json!([]), "FormationViolation");
}

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

#[test]
fn charging_profiles_are_kept_combined_reported_and_cleared() {
    let mut harness = accepted(Version::V16);
    let set = |connector: u8, profile: Value| json!({"connectorId": connector, "csChargingProfiles": profile});
    let tx = set(1, profile_16(1, "TxProfile", 0, 10.0));
    assert_eq!(harness.status("SetChargingProfile", tx.clone()), "Rejected");
    let default = set(0, profile_16(2, "TxDefaultProfile", 0, 16.0));
    assert_eq!(harness.status("SetChargingProfile", default), "Accepted");
    let max = set(1, profile_16(3, "ChargePointMaxProfile", 0, 13.0));
    assert_eq!(harness.status("SetChargingProfile", max), "Rejected");
    let max = set(0, profile_16(3, "ChargePointMaxProfile", 0, 13.0));
    assert_eq!(harness.status("SetChargingProfile", max), "Accepted");
    let ask = json!({"connectorId": 1, "duration": 3600, "chargingRateUnit": "W"});
    let schedule = harness.result("GetCompositeSchedule", ask.clone());
    assert_eq!(
        schedule["chargingSchedule"]["chargingSchedulePeriod"],
        json!([
            {"startPeriod": 0, "limit": 13.0 * 690.0, "numberPhases": 3},
            {"startPeriod": 600, "limit": 6.0 * 690.0, "numberPhases": 3},
        ])
    );
    charging(&mut harness);
    assert_eq!(harness.status("SetChargingProfile", tx), "Accepted");
    let schedule = harness.result("GetCompositeSchedule", ask.clone());
    let first = &schedule["chargingSchedule"]["chargingSchedulePeriod"][0];
    assert_eq!(first["limit"], 10.0 * 690.0);
    // The profile of the transaction ends with it.
    harness.status("UnlockConnector", json!({"connectorId": 1}));
    let schedule = harness.result("GetCompositeSchedule", ask);
    let first = &schedule["chargingSchedule"]["chargingSchedulePeriod"][0];
    assert_eq!(first["limit"], 13.0 * 690.0);
    assert_eq!(
        harness.status("ClearChargingProfile", json!({"id": 9})),
        "Unknown"
    );
    assert_eq!(
        harness.status("ClearChargingProfile", json!({})),
        "Accepted"
    );
    assert_eq!(harness.status("ClearChargingProfile", json!({})), "Unknown");

    for version in V2 {
        let mut harness = accepted(version);
        let set = |id, level| json!({"evseId": 1, "chargingProfile": profile_2(id, "TxDefaultProfile", level, 8.0)});
        assert_eq!(harness.status("SetChargingProfile", set(1, 0)), "Accepted");
        assert_eq!(harness.status("SetChargingProfile", set(2, 0)), "Rejected");
        assert_eq!(harness.status("SetChargingProfile", set(2, 1)), "Accepted");
        let ask = json!({"requestId": 4, "chargingProfile": {}});
        assert_eq!(harness.status("GetChargingProfiles", ask), "Accepted");
        let ask = json!({"requestId": 5, "evseId": 2, "chargingProfile": {}});
        assert_eq!(harness.status("GetChargingProfiles", ask), "NoProfiles");
        harness.run_for(5.0);
        assert_eq!(
            members(&harness, "ReportChargingProfiles", "tbc"),
            ["true", "false"]
        );
        assert_eq!(
            harness.status("ClearChargingProfile", json!({"chargingProfileId": 2})),
            "Accepted"
        );
    }
}

#[test]
fn a_charging_profile_limits_the_power_of_the_vehicle() {
    for version in Version::ALL {
        let mut harness = accepted(version);
        charging(&mut harness);
        harness.run_for(125.0);
        let power = |harness: &Harness| {
            let (action, member) = match version {
                Version::V16 => ("MeterValues", "unit"),
                _ => ("TransactionEvent", "unitOfMeasure"),
            };
            let all = harness.of(action);
            let values = all.last().unwrap().payload["meterValue"][0]["sampledValue"].clone();
            let values = values.as_array().unwrap().clone();
            let one = values
                .into_iter()
                .find(|one| one["measurand"] == "Power.Active.Import")
                .unwrap();
            assert!(one.get(member).is_some());
            match &one["value"] {
                Value::String(text) => text.parse::<f64>().unwrap(),
                number => number.as_f64().unwrap(),
            }
        };
        assert!(power(&harness) > 7000.0, "{version}");
        let set = match version {
            Version::V16 => json!({
                "connectorId": 1, "csChargingProfiles": profile_16(1, "TxDefaultProfile", 0, 6.0),
            }),
            _ => json!({
                "evseId": 1, "chargingProfile": profile_2(1, "TxDefaultProfile", 0, 6.0),
            }),
        };
        assert_eq!(harness.status("SetChargingProfile", set), "Accepted");
        harness.run_for(65.0);
        let limited = power(&harness);
        assert!(limited < 6.0 * 690.0 * 1.02, "{version}: {limited}");
        harness.status("ClearChargingProfile", json!({}));
        harness.run_for(65.0);
        assert!(power(&harness) > 7000.0, "{version}");
    }
}

#[test]
fn the_local_list_has_a_version_that_only_grows_by_differences() {
    let mut harness = accepted(Version::V201);
    let mut send = |version: i64, kind: &str, list: Value| {
        harness.status(
            "SendLocalList",
            json!({"versionNumber": version, "updateType": kind, "localAuthorizationList": list}),
        )
    };
    let entry = |text: &str| json!({"idToken": token(text), "idTokenInfo": {"status": "Accepted"}});
    assert_eq!(send(5, "Full", json!([entry("A"), entry("B")])), "Accepted");
    assert_eq!(
        send(5, "Differential", json!([entry("C")])),
        "VersionMismatch"
    );
    assert_eq!(
        send(6, "Differential", json!([{"idToken": token("B")}])),
        "Accepted"
    );
    assert_eq!(send(7, "Full", json!(vec![entry("X"); 201])), "Failed");
    let version = harness.result("GetLocalListVersion", json!({}));
    assert_eq!(version["versionNumber"], 6);
    let read = |harness: &mut Harness| {
        let result = harness.result(
            "GetVariables",
            json!({"getVariableData": [
                {"component": {"name": "LocalAuthListCtrlr"}, "variable": {"name": "Entries"}},
            ]}),
        );
        result["getVariableResult"][0]["attributeValue"].clone()
    };
    assert_eq!(read(&mut harness), "1");
    let clear = json!({"requestId": 1, "report": true, "clear": true, "idToken": token("A")});
    assert_eq!(harness.status("CustomerInformation", clear), "Accepted");
    assert_eq!(read(&mut harness), "0");
    harness.run_for(5.0);
    let pages = harness.of("NotifyCustomerInformation");
    assert!(
        pages[0].payload["data"]
            .as_str()
            .unwrap()
            .contains("Accepted")
    );
}

#[test]
fn a_reservation_is_for_its_token_and_ends_by_use_by_command_or_by_time() {
    let mut harness = accepted(Version::V201);
    let reserve = |harness: &Harness, id: u64, evse: u8| {
        json!({
            "id": id, "evseId": evse, "idToken": token("A"), "expiryDateTime": at(harness, 600),
        })
    };
    let payload = reserve(&harness, 1, 1);
    assert_eq!(harness.status("ReserveNow", payload), "Accepted");
    let payload = reserve(&harness, 2, 1);
    assert_eq!(harness.status("ReserveNow", payload), "Occupied");
    harness.run_for(1.0);
    assert!(
        members(&harness, "StatusNotification", "connectorStatus").contains(&"Reserved".into())
    );
    let start = |text: &str| json!({"remoteStartId": 1, "idToken": token(text), "evseId": 1});
    assert_eq!(
        harness.status("RequestStartTransaction", start("B")),
        "Rejected"
    );
    assert_eq!(
        harness.status("RequestStartTransaction", start("A")),
        "Accepted"
    );
    harness.run_for(1.0);
    assert_eq!(
        harness.of("TransactionEvent")[0].payload["reservationId"],
        1
    );

    let payload = reserve(&harness, 3, 2);
    assert_eq!(harness.status("ReserveNow", payload), "Accepted");
    assert_eq!(
        harness.status("CancelReservation", json!({"reservationId": 3})),
        "Accepted"
    );
    assert_eq!(
        harness.status("CancelReservation", json!({"reservationId": 3})),
        "Rejected"
    );
    let payload = reserve(&harness, 4, 2);
    assert_eq!(harness.status("ReserveNow", payload), "Accepted");
    harness.run_for(700.0);
    let updates = harness.of("ReservationStatusUpdate");
    assert_eq!(updates.len(), 1);
    assert_eq!(updates[0].payload["reservationUpdateStatus"], "Expired");
    assert_eq!(updates[0].payload["reservationId"], 4);
}

#[test]
fn a_firmware_update_goes_through_its_states_and_restarts_the_charger() {
    let mut harness = accepted(Version::V16);
    let payload = request(&harness, "UpdateFirmware");
    harness.result("UpdateFirmware", payload);
    harness.run_for(120.0);
    assert_eq!(
        members(&harness, "FirmwareStatusNotification", "status"),
        ["Downloading", "Downloaded", "Installing", "Installed"]
    );
    assert_eq!(harness.of("BootNotification").len(), 2);

    let signed = [
        "Downloading",
        "Downloaded",
        "SignatureVerified",
        "Installing",
        "InstallRebooting",
        "Installed",
    ];
    let mut harness = accepted(Version::V16);
    let payload = request(&harness, "SignedUpdateFirmware");
    assert_eq!(harness.status("SignedUpdateFirmware", payload), "Accepted");
    harness.run_for(120.0);
    assert_eq!(
        members(&harness, "SignedFirmwareStatusNotification", "status"),
        signed
    );
    for version in V2 {
        let mut harness = accepted(version);
        let transaction = charging(&mut harness);
        let mut payload = request(&harness, "UpdateFirmware");
        payload["firmware"]["signingCertificate"] = json!("x");
        assert_eq!(
            harness.status("UpdateFirmware", payload.clone()),
            "InvalidCertificate"
        );
        payload["firmware"]["signingCertificate"] = json!(test_root());
        payload["firmware"]["retrieveDateTime"] = json!(at(&harness, 60));
        assert_eq!(harness.status("UpdateFirmware", payload), "Accepted");
        harness.run_for(200.0);
        let states = members(&harness, "FirmwareStatusNotification", "status");
        assert_eq!(states[0], "DownloadScheduled");
        // It waits for the end of the transaction.
        assert_eq!(states[1..], signed[..3]);
        let stop = json!({ "transactionId": transaction });
        harness.status("RequestStopTransaction", stop);
        harness.run_for(200.0);
        assert_eq!(
            members(&harness, "FirmwareStatusNotification", "status")[1..],
            signed
        );
        assert!(
            members(&harness, "FirmwareStatusNotification", "requestId")
                .iter()
                .all(|id| id == "2")
        );
        assert_eq!(
            members(&harness, "BootNotification", "reason")[1],
            "FirmwareUpdate"
        );
    }
}

#[test]
fn a_log_is_uploaded_and_a_second_request_replaces_the_first() {
    let mut harness = accepted(Version::V16);
    let payload = request(&harness, "GetDiagnostics");
    let answer = harness.result("GetDiagnostics", payload);
    assert_eq!(answer["fileName"], "CP-1-diagnostics.log");
    harness.run_for(60.0);
    assert_eq!(
        members(&harness, "DiagnosticsStatusNotification", "status"),
        ["Uploading", "Uploaded"]
    );
    for version in V2 {
        let mut harness = accepted(version);
        let mut payload = request(&harness, "GetLog");
        assert_eq!(harness.status("GetLog", payload.clone()), "Accepted");
        harness.run_for(1.0);
        payload["requestId"] = json!(4);
        assert_eq!(harness.status("GetLog", payload), "AcceptedCanceled");
        harness.run_for(60.0);
        let states = members(&harness, "LogStatusNotification", "status");
        let ids = members(&harness, "LogStatusNotification", "requestId");
        let both: Vec<_> = states
            .iter()
            .zip(&ids)
            .map(|(a, b)| format!("{a} {b}"))
            .collect();
        assert_eq!(
            both,
            [
                "Uploading 3",
                "AcceptedCanceled 3",
                "Uploading 4",
                "Uploaded 4"
            ]
        );
    }
}

#[test]
fn a_job_goes_on_after_the_connection_was_lost() {
    let mut harness = accepted(Version::V201);
    let payload = request(&harness, "GetLog");
    harness.status("GetLog", payload);
    harness.run_for(1.0);
    harness.disconnect();
    harness.run_for(60.0);
    let states = members(&harness, "LogStatusNotification", "status");
    assert_eq!(states, ["Uploading", "Uploaded"]);
}

#[test]
fn certificates_are_installed_listed_and_deleted() {
    for version in Version::ALL {
        let mut harness = accepted(version);
        let install = request(&harness, "InstallCertificate");
        let list = match version {
            Version::V16 => json!({"certificateType": "CentralSystemRootCertificate"}),
            _ => json!({}),
        };
        let ids =
            |harness: &mut Harness| harness.result("GetInstalledCertificateIds", list.clone());
        assert_eq!(ids(&mut harness)["status"], "NotFound");
        let mut broken = install.clone();
        broken["certificate"] = json!("x");
        assert_eq!(harness.status("InstallCertificate", broken), "Rejected");
        assert_eq!(harness.status("InstallCertificate", install), "Accepted");
        let found = ids(&mut harness);
        let data = match version {
            Version::V16 => found["certificateHashData"][0].clone(),
            _ => found["certificateHashDataChain"][0]["certificateHashData"].clone(),
        };
        let delete = json!({ "certificateHashData": data });
        assert_eq!(
            harness.status("DeleteCertificate", delete.clone()),
            "Accepted"
        );
        assert_eq!(harness.status("DeleteCertificate", delete), "NotFound");
    }
}

#[test]
fn display_messages_are_kept_reported_and_cleared() {
    for version in V2 {
        let mut harness = accepted(version);
        let set = |id: u64| {
            json!({"message": {
                "id": id, "priority": "NormalCycle",
                "message": {"format": "UTF8", "content": "Hi"},
            }})
        };
        for id in 0..7 {
            assert_eq!(harness.status("SetDisplayMessage", set(id)), "Accepted");
        }
        let mut other = set(9);
        other["message"]["transactionId"] = json!("x");
        assert_eq!(
            harness.status("SetDisplayMessage", other),
            "UnknownTransaction"
        );
        let get = json!({"requestId": 3});
        assert_eq!(harness.status("GetDisplayMessages", get), "Accepted");
        let get = json!({"requestId": 4, "id": [99]});
        assert_eq!(harness.status("GetDisplayMessages", get), "Unknown");
        harness.run_for(5.0);
        let pages = harness.of("NotifyDisplayMessages");
        let counts: Vec<_> = pages
            .iter()
            .map(|page| page.payload["messageInfo"].as_array().unwrap().len())
            .collect();
        assert_eq!(counts, [5, 2]);
        assert_eq!(
            harness.status("ClearDisplayMessage", json!({"id": 1})),
            "Accepted"
        );
        assert_eq!(
            harness.status("ClearDisplayMessage", json!({"id": 1})),
            "Unknown"
        );
    }
}

#[test]
fn monitors_are_set_reported_and_cleared() {
    for version in V2 {
        let mut harness = accepted(version);
        let set = request(&harness, "SetVariableMonitoring");
        let result = harness.result("SetVariableMonitoring", set.clone());
        assert_eq!(result["setMonitoringResult"][0]["id"], 1);
        let result = harness.result("SetVariableMonitoring", set);
        assert_eq!(result["setMonitoringResult"][0]["status"], "Duplicate");
        assert_eq!(
            harness.status("GetMonitoringReport", json!({"requestId": 6})),
            "Accepted"
        );
        let none = json!({"requestId": 6, "monitoringCriteria": ["PeriodicMonitoring"]});
        assert_eq!(
            harness.status("GetMonitoringReport", none),
            "EmptyResultSet"
        );
        harness.run_for(1.0);
        assert_eq!(
            members(&harness, "NotifyMonitoringReport", "requestId"),
            ["6"]
        );
        let cleared = harness.result("ClearVariableMonitoring", json!({"id": [1, 5]}));
        assert_eq!(cleared["clearMonitoringResult"][0]["status"], "Accepted");
        assert_eq!(cleared["clearMonitoringResult"][1]["status"], "NotFound");
        assert_eq!(
            harness.status("SetMonitoringLevel", json!({"severity": 10})),
            "Rejected"
        );
    }
}

#[test]
fn a_periodic_event_stream_is_offered_sent_adjusted_and_closed() {
    let mut harness = accepted(Version::V21);
    assert_eq!(
        harness.result("GetPeriodicEventStream", json!({})),
        json!({})
    );
    let mut set = request(&harness, "SetVariableMonitoring");
    set["setMonitoringData"][0]["periodicEventStream"] = json!({"interval": 10, "values": 1});
    harness.result("SetVariableMonitoring", set);
    harness.run_for(35.0);
    assert_eq!(harness.of("OpenPeriodicEventStream").len(), 1);
    assert_eq!(harness.sends.len(), 3);
    assert_eq!(harness.sends[0].0, "NotifyPeriodicEventStream");
    assert_eq!(harness.sends[0].1["data"][0]["v"], "300");
    let streams = harness.result("GetPeriodicEventStream", json!({}));
    assert_eq!(streams["constantStreamData"][0]["params"]["interval"], 10);
    let adjust = |id: u64| json!({"id": id, "params": {"interval": 100}});
    assert_eq!(
        harness.status("AdjustPeriodicEventStream", adjust(9)),
        "Rejected"
    );
    assert_eq!(
        harness.status("AdjustPeriodicEventStream", adjust(1)),
        "Accepted"
    );
    harness.run_for(200.0);
    assert_eq!(harness.sends.len(), 5);
    harness.result("ClearVariableMonitoring", json!({"id": [1]}));
    harness.run_for(500.0);
    assert_eq!(harness.sends.len(), 5);
    assert_eq!(harness.of("ClosePeriodicEventStream").len(), 1);
}

#[test]
fn der_controls_supersede_each_other_and_are_reported() {
    let mut harness = accepted(Version::V21);
    let set = |id: &str, priority: u64| {
        json!({
            "isDefault": false, "controlId": id, "controlType": "FixedVar",
            "fixedVar": {"priority": priority, "setpoint": 1.0, "unit": "PctMaxVar"},
        })
    };
    assert_eq!(
        harness.result("SetDERControl", set("a", 5)),
        json!({"status": "Accepted"})
    );
    let answer = harness.result("SetDERControl", set("b", 1));
    assert_eq!(answer["supersededIds"], json!(["a"]));
    let mut incomplete = set("c", 1);
    incomplete.as_object_mut().unwrap().remove("fixedVar");
    assert_eq!(harness.status("SetDERControl", incomplete), "Rejected");
    let curve = json!({
        "isDefault": true, "controlId": "d", "controlType": "VoltVar",
        "curve": {"priority": 0, "yUnit": "PctMaxVar", "curveData": [{"x": 1.0, "y": 2.0}]},
    });
    assert_eq!(harness.status("SetDERControl", curve), "Accepted");
    assert_eq!(
        harness.status("GetDERControl", json!({"requestId": 2})),
        "Accepted"
    );
    harness.run_for(5.0);
    let reports = harness.of("ReportDERControl");
    assert_eq!(reports.len(), 3);
    assert_eq!(reports[0].payload["fixedVar"][0]["isSuperseded"], true);
    assert_eq!(reports[2].payload["curve"][0]["curveType"], "VoltVar");
    assert!(reports[2].payload.get("tbc").is_none());
    assert_eq!(
        members(&harness, "NotifyDERStartStop", "controlId"),
        ["a", "b"]
    );
    let clear = json!({"isDefault": false, "controlId": "a"});
    assert_eq!(harness.status("ClearDERControl", clear.clone()), "Accepted");
    assert_eq!(harness.status("ClearDERControl", clear), "NotFound");
}

#[test]
fn tariffs_are_set_listed_changed_and_cleared() {
    let mut harness = accepted(Version::V21);
    let transaction = charging(&mut harness);
    assert_eq!(
        harness.status("GetTariffs", json!({"evseId": 0})),
        "NoTariff"
    );
    let tariff = |id: &str, currency: &str| json!({"tariffId": id, "currency": currency});
    let set = json!({"evseId": 1, "tariff": tariff("t1", "EUR")});
    assert_eq!(harness.status("SetDefaultTariff", set), "Accepted");
    let listed = harness.result("GetTariffs", json!({"evseId": 0}));
    assert_eq!(listed["tariffAssignments"][0]["evseIds"], json!([1]));
    let mut change = |transaction: &str, currency: &str| {
        let payload = json!({"transactionId": transaction, "tariff": tariff("t2", currency)});
        harness.status("ChangeTransactionTariff", payload)
    };
    assert_eq!(change("x", "EUR"), "TxNotFound");
    assert_eq!(change(&transaction, "USD"), "NoCurrencyChange");
    assert_eq!(change(&transaction, "EUR"), "Accepted");
    let cleared = harness.result("ClearTariffs", json!({"tariffIds": ["t1", "t9"]}));
    assert_eq!(
        cleared["clearTariffsResult"],
        json!([
            {"tariffId": "t1", "status": "Accepted"}, {"tariffId": "t9", "status": "NoTariff"},
        ])
    );
}

#[test]
fn firmware_is_published_and_a_battery_swapped() {
    let mut harness = accepted(Version::V21);
    let publish = request(&harness, "PublishFirmware");
    assert_eq!(harness.status("PublishFirmware", publish), "Accepted");
    let unpublish = json!({"checksum": "abc"});
    assert_eq!(
        harness.status("UnpublishFirmware", unpublish.clone()),
        "DownloadOngoing"
    );
    let swap = request(&harness, "RequestBatterySwap");
    assert_eq!(harness.status("RequestBatterySwap", swap), "Accepted");
    harness.run_for(60.0);
    assert_eq!(
        members(&harness, "PublishFirmwareStatusNotification", "status"),
        ["Downloading", "Downloaded", "ChecksumVerified", "Published"]
    );
    assert_eq!(
        members(&harness, "BatterySwap", "eventType"),
        ["BatteryIn", "BatteryOut"]
    );
    assert_eq!(members(&harness, "BatterySwap", "requestId"), ["8", "8"]);
    assert_eq!(
        harness.status("UnpublishFirmware", unpublish.clone()),
        "Unpublished"
    );
    assert_eq!(harness.status("UnpublishFirmware", unpublish), "NoFirmware");
}

#[test]
fn data_of_a_known_vendor_is_sent_back() {
    for version in Version::ALL {
        let mut harness = accepted(version);
        let mut send = |vendor: &str, message: &str| {
            let payload = json!({"vendorId": vendor, "messageId": message, "data": "x"});
            harness.result("DataTransfer", payload)
        };
        assert_eq!(send("Other", "Echo")["status"], "UnknownVendorId");
        assert_eq!(send("Wattpost", "Other")["status"], "UnknownMessageId");
        assert_eq!(send("Wattpost", "Echo")["data"], "x");
    }
}

#[test]
fn no_sequence_of_commands_makes_a_charger_keep_more_than_its_bound() {
    let mut harness = accepted(Version::V21);
    let long = "x".repeat(1024);
    for n in 0..300_u64 {
        let display = json!({"message": {
            "id": n, "priority": "NormalCycle", "message": {"format": "UTF8", "content": long},
            "customData": {"vendorId": "x", "more": long.repeat(20)},
        }});
        harness.status("SetDisplayMessage", display);
        let profile = profile_2(n as i64, "TxDefaultProfile", (n % 11) as i64, 1.0);
        harness.status(
            "SetChargingProfile",
            json!({"evseId": n % 3, "chargingProfile": profile}),
        );
        let control = json!({
            "isDefault": true, "controlId": n.to_string(), "controlType": "Gradients",
            "gradient": {"priority": 1, "gradient": 1.0, "softGradient": 2.0},
        });
        harness.status("SetDERControl", control);
        let monitor = json!({"setMonitoringData": [{
            "value": 5, "type": "Delta", "severity": n % 10,
            "periodicEventStream": {"interval": 1},
            "component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "HeartbeatInterval"},
            "customData": {"vendorId": long.chars().take(255).collect::<String>()},
        }]});
        harness.call("SetVariableMonitoring", monitor);
        let kept = harness.charger.kept.as_ref().unwrap();
        assert!(kept.is_bounded(), "{kept:?}");
    }
    // A flood of commands while the central system answers nothing.
    harness.react(|_| Reaction::Silence);
    let mut refused = 0;
    for _ in 0..300 {
        let trigger = json!({"requestedMessage": "StatusNotification"});
        refused += u64::from(harness.call("TriggerMessage", trigger).starts_with("[4"));
        let report = json!({"requestId": 1, "reportBase": "FullInventory"});
        harness.call("GetBaseReport", report);
    }
    assert!(refused > 150, "{refused}");
    assert!(harness.charger.pending.len() < 300);
}

#[test]
fn an_idle_charger_keeps_nothing_for_commands() {
    let harness = accepted(Version::V21);
    assert!(harness.charger.kept.is_none());
}
