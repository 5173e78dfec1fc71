//! Commands: each action of each version is answered by the schema, carried out, and followed by the messages that the
//! standard names.

use super::*;
use crate::charger::command::test_root;
use serde_json::Value;

mod charging;
mod lists;
mod maintenance;
mod remote;
mod reports;

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
