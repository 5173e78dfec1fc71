use super::*;
use serde_json::json;

const CONTEXT: Context = Context {
    number: 7,
    now: Timestamp(1_769_860_800_000),
};
const NOW: &str = "2026-01-31T12:00:00.000Z";

fn request(operation: Operation, body: Value) -> Request {
    let Value::Object(members) = body else {
        panic!("a body is an object");
    };
    Request::read(operation, members).expect("a valid body")
}

fn made(operation: Operation, version: Version, body: &Value) -> (&'static str, Value) {
    let translated = request(operation, body.clone())
        .for_version(version, &CONTEXT)
        .unwrap_or_else(|faults| panic!("{operation:?} {version} {body}: {faults:?}"));
    (translated.action, translated.payload)
}

/// Each operation with a body, and its command in 1.6 and in 2.x; null if the version cannot express it.
fn table() -> Vec<(Operation, Value, Value, Value)> {
    use Operation::*;
    let profile_16 = json!({"chargingProfileId": 7, "stackLevel": 0, "chargingProfilePurpose": "ChargePointMaxProfile",
        "chargingProfileKind": "Absolute", "chargingSchedule": {"startSchedule": NOW, "chargingRateUnit": "A",
        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 16, "numberPhases": 3}]}});
    let profile_2 = json!({"id": 7, "stackLevel": 0, "chargingProfilePurpose": "ChargingStationMaxProfile",
        "chargingProfileKind": "Absolute", "chargingSchedule": [{"id": 7, "startSchedule": NOW, "chargingRateUnit": "A",
        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 16, "numberPhases": 3}]}]});
    vec![
        (
            Start,
            json!({"token": "AB", "evse": 2}),
            json!(["RemoteStartTransaction", {"idTag": "AB", "connectorId": 2}]),
            json!(["RequestStartTransaction", {"idToken": {"idToken": "AB", "type": "Central"}, "remoteStartId": 7, "evseId": 2}]),
        ),
        (
            Start,
            json!({"token": "AB", "token_type": "eMAID"}),
            json!(null),
            json!(["RequestStartTransaction", {"idToken": {"idToken": "AB", "type": "eMAID"}, "remoteStartId": 7}]),
        ),
        (
            Stop,
            json!({"transaction_id": "42"}),
            json!(["RemoteStopTransaction", {"transactionId": 42}]),
            json!(["RequestStopTransaction", {"transactionId": "42"}]),
        ),
        (
            Stop,
            json!({"transaction_id": "a-b"}),
            json!(null),
            json!(["RequestStopTransaction", {"transactionId": "a-b"}]),
        ),
        (
            Reset,
            json!({}),
            json!(["Reset", {"type": "Soft"}]),
            json!(["Reset", {"type": "Immediate"}]),
        ),
        (
            Reset,
            json!({"type": "hard"}),
            json!(["Reset", {"type": "Hard"}]),
            json!(null),
        ),
        (
            Reset,
            json!({"type": "when_idle", "evse": 1}),
            json!(null),
            json!(["Reset", {"type": "OnIdle", "evseId": 1}]),
        ),
        (
            Unlock,
            json!({"evse": 2, "connector": 1}),
            json!(["UnlockConnector", {"connectorId": 2}]),
            json!(["UnlockConnector", {"evseId": 2, "connectorId": 1}]),
        ),
        (
            Unlock,
            json!({"evse": 2}),
            json!(["UnlockConnector", {"connectorId": 2}]),
            json!(null),
        ),
        (
            Unlock,
            json!({"evse": 2, "connector": 2}),
            json!(null),
            json!(["UnlockConnector", {"evseId": 2, "connectorId": 2}]),
        ),
        (
            Availability,
            json!({"operative": false}),
            json!(["ChangeAvailability", {"connectorId": 0, "type": "Inoperative"}]),
            json!(["ChangeAvailability", {"operationalStatus": "Inoperative"}]),
        ),
        (
            Availability,
            json!({"operative": true, "evse": 1}),
            json!(["ChangeAvailability", {"connectorId": 1, "type": "Operative"}]),
            json!(["ChangeAvailability", {"operationalStatus": "Operative", "evse": {"id": 1}}]),
        ),
        (
            Trigger,
            json!({"message": "StatusNotification", "evse": 1}),
            json!(["TriggerMessage", {"requestedMessage": "StatusNotification", "connectorId": 1}]),
            json!(["TriggerMessage", {"requestedMessage": "StatusNotification", "evse": {"id": 1}}]),
        ),
        (
            Trigger,
            json!({"message": "SignChargingStationCertificate"}),
            json!(["ExtendedTriggerMessage", {"requestedMessage": "SignChargePointCertificate"}]),
            json!(["TriggerMessage", {"requestedMessage": "SignChargingStationCertificate"}]),
        ),
        (
            Trigger,
            json!({"message": "TransactionEvent"}),
            json!(null),
            json!(["TriggerMessage", {"requestedMessage": "TransactionEvent"}]),
        ),
        (
            Reserve,
            json!({"token": "AB", "until": "2026-01-31T14:00:00+01:00", "evse": 1, "group": "G"}),
            json!(["ReserveNow", {"connectorId": 1, "expiryDate": "2026-01-31T13:00:00.000Z", "idTag": "AB", "parentIdTag": "G", "reservationId": 7}]),
            json!(["ReserveNow", {"id": 7, "expiryDateTime": "2026-01-31T13:00:00.000Z", "idToken": {"idToken": "AB", "type": "ISO14443"},
                "groupIdToken": {"idToken": "G", "type": "ISO14443"}, "evseId": 1}]),
        ),
        (
            CancelReservation,
            json!({"reservation_id": 9}),
            json!(["CancelReservation", {"reservationId": 9}]),
            json!(["CancelReservation", {"reservationId": 9}]),
        ),
        (
            Limit,
            json!({"limit": 16, "unit": "A", "phases": 3}),
            json!(["SetChargingProfile", {"connectorId": 0, "csChargingProfiles": profile_16}]),
            json!(["SetChargingProfile", {"evseId": 0, "chargingProfile": profile_2}]),
        ),
        (
            ClearChargingProfile,
            json!({"purpose": "default", "stack_level": 1}),
            json!(["ClearChargingProfile", {"chargingProfilePurpose": "TxDefaultProfile", "stackLevel": 1}]),
            json!(["ClearChargingProfile", {"chargingProfileCriteria": {"chargingProfilePurpose": "TxDefaultProfile", "stackLevel": 1}}]),
        ),
        (
            LocalList,
            json!({"version": 3, "update": "differential", "entries": [{"token": "A", "status": "Accepted"}, {"token": "B"}]}),
            json!(["SendLocalList", {"listVersion": 3, "updateType": "Differential",
                "localAuthorizationList": [{"idTag": "A", "idTagInfo": {"status": "Accepted"}}, {"idTag": "B"}]}]),
            json!(["SendLocalList", {"versionNumber": 3, "updateType": "Differential", "localAuthorizationList": [
                {"idToken": {"idToken": "A", "type": "ISO14443"}, "idTokenInfo": {"status": "Accepted"}},
                {"idToken": {"idToken": "B", "type": "ISO14443"}}]}]),
        ),
        (
            Diagnostics,
            json!({"url": "ftp://x/y", "retries": 2}),
            json!(["GetDiagnostics", {"location": "ftp://x/y", "retries": 2}]),
            json!(["GetLog", {"logType": "DiagnosticsLog", "requestId": 7, "log": {"remoteLocation": "ftp://x/y"}, "retries": 2}]),
        ),
        (
            Diagnostics,
            json!({"url": "ftp://x/y", "log": "security"}),
            json!(["GetLog", {"logType": "SecurityLog", "requestId": 7, "log": {"remoteLocation": "ftp://x/y"}}]),
            json!(["GetLog", {"logType": "SecurityLog", "requestId": 7, "log": {"remoteLocation": "ftp://x/y"}}]),
        ),
        (
            Firmware,
            json!({"url": "https://x/f.bin"}),
            json!(["UpdateFirmware", {"location": "https://x/f.bin", "retrieveDate": NOW}]),
            json!(["UpdateFirmware", {"requestId": 7, "firmware": {"location": "https://x/f.bin", "retrieveDateTime": NOW}}]),
        ),
        (
            Firmware,
            json!({"url": "https://x/f.bin", "install_at": NOW}),
            json!(null),
            json!(["UpdateFirmware", {"requestId": 7, "firmware": {"location": "https://x/f.bin", "retrieveDateTime": NOW, "installDateTime": NOW}}]),
        ),
        (
            Firmware,
            json!({"url": "https://x/f.bin", "signing_certificate": "C", "signature": "S"}),
            json!(["SignedUpdateFirmware", {"requestId": 7, "firmware": {"location": "https://x/f.bin", "retrieveDateTime": NOW,
                "signingCertificate": "C", "signature": "S"}}]),
            json!(["UpdateFirmware", {"requestId": 7, "firmware": {"location": "https://x/f.bin", "retrieveDateTime": NOW,
                "signingCertificate": "C", "signature": "S"}}]),
        ),
        (
            DataTransfer,
            json!({"vendor_id": "v", "data": "d"}),
            json!(["DataTransfer", {"vendorId": "v", "data": "d"}]),
            json!(["DataTransfer", {"vendorId": "v", "data": "d"}]),
        ),
        (
            DataTransfer,
            json!({"vendor_id": "v", "data": {"a": 1}}),
            json!(null),
            json!(["DataTransfer", {"vendorId": "v", "data": {"a": 1}}]),
        ),
        (
            ClearCache,
            json!({}),
            json!(["ClearCache", {}]),
            json!(["ClearCache", {}]),
        ),
        (
            Configuration,
            json!({"read": []}),
            json!(["GetConfiguration", {}]),
            json!(null),
        ),
        (
            Configuration,
            json!({"read": ["A.B"]}),
            json!(["GetConfiguration", {"key": ["A.B"]}]),
            json!(["GetVariables", {"getVariableData": [{"component": {"name": "A"}, "variable": {"name": "B"}}]}]),
        ),
        (
            Configuration,
            json!({"read": ["HeartbeatInterval"]}),
            json!(["GetConfiguration", {"key": ["HeartbeatInterval"]}]),
            json!(null),
        ),
        (
            Configuration,
            json!({"write": {"A[x].B[y.z]": "1"}, "attribute": "Target", "evse": 1}),
            json!(null),
            json!(["SetVariables", {"setVariableData": [{"component": {"name": "A", "instance": "x", "evse": {"id": 1}},
                "variable": {"name": "B", "instance": "y.z"}, "attributeType": "Target", "attributeValue": "1"}]}]),
        ),
        (
            Configuration,
            json!({"write": {"A.B": "1"}}),
            json!(["ChangeConfiguration", {"key": "A.B", "value": "1"}]),
            json!(["SetVariables", {"setVariableData": [{"component": {"name": "A"}, "variable": {"name": "B"}, "attributeValue": "1"}]}]),
        ),
    ]
}

#[test]
fn each_operation_becomes_the_command_of_its_version_or_is_refused() {
    for (operation, body, wanted_16, wanted_2) in table() {
        let wanted = [
            (Version::V16, &wanted_16),
            (Version::V201, &wanted_2),
            (Version::V21, &wanted_2),
        ];
        for (version, wanted) in wanted {
            if wanted.is_null() {
                let faults = request(operation, body.clone())
                    .for_version(version, &CONTEXT)
                    .expect_err("the version cannot express it");
                for fault in faults {
                    let is_member = body.pointer(&fault.pointer).is_some();
                    let is_missing = fault.detail.starts_with("it is missing");
                    assert!(is_member || is_missing, "{version} {body}: {fault:?}");
                }
            } else {
                let (action, payload) = made(operation, version, &body);
                assert_eq!(json!([action, payload]), *wanted, "{version} {body}");
            }
        }
    }
}

#[test]
fn each_operation_has_a_body_for_each_version_in_the_table() {
    let table = table();
    for operation in Operation::ALL {
        if operation == Operation::ChargingProfile {
            continue; // Its profile has the members of the version; see the next test.
        }
        let mut rows = table.iter().filter(|row| row.0 == operation);
        assert!(rows.clone().any(|row| !row.2.is_null()), "{operation:?}");
        assert!(rows.any(|row| !row.3.is_null()), "{operation:?}");
        assert_eq!(Operation::from_name(operation.as_str()), Some(operation));
    }
}

#[test]
fn a_profile_of_the_version_is_sent_as_it_is_and_its_faults_have_their_place() {
    let profile = json!({"id": 1, "stackLevel": 0, "chargingProfilePurpose": "TxDefaultProfile",
        "chargingProfileKind": "Relative", "chargingSchedule": [{"id": 1, "chargingRateUnit": "W",
        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 11000.0}]}]});
    let body = json!({"profile": profile, "evse": 1});
    let (action, payload) = made(Operation::ChargingProfile, Version::V201, &body);
    assert_eq!(action, "SetChargingProfile");
    assert_eq!(payload, json!({"evseId": 1, "chargingProfile": profile}));
    let mut broken = body;
    broken["profile"]["stackLevel"] = json!("high");
    let faults = request(Operation::ChargingProfile, broken).for_version(Version::V201, &CONTEXT);
    assert_eq!(faults.unwrap_err()[0].pointer, "/profile/stackLevel");
}

#[test]
fn a_limit_of_a_transaction_needs_the_transaction_and_its_place() {
    let mut limit = request(
        Operation::Limit,
        json!({"limit": 7.5, "unit": "W", "purpose": "transaction"}),
    );
    assert!(limit.needs_transaction());
    limit.set_transaction("42", Some(2));
    assert!(!limit.needs_transaction());
    let payload = limit.for_version(Version::V16, &CONTEXT).unwrap().payload;
    assert_eq!(payload["connectorId"], 2);
    assert_eq!(payload["csChargingProfiles"]["transactionId"], 42);
    let payload = limit.for_version(Version::V21, &CONTEXT).unwrap().payload;
    assert_eq!(payload["chargingProfile"]["transactionId"], "42");

    for (body, pointer) in [
        (json!({"limit": 1, "unit": "A", "evse": 1}), "/evse"),
        (
            json!({"limit": 1, "unit": "A", "transaction_id": "1"}),
            "/transaction_id",
        ),
        (json!({"limit": 0.25, "unit": "A"}), "/limit"),
    ] {
        let faults = request(Operation::Limit, body.clone()).for_version(Version::V16, &CONTEXT);
        assert_eq!(faults.unwrap_err()[0].pointer, pointer, "{body}");
    }
}

#[test]
fn a_token_that_is_too_long_for_the_version_is_refused() {
    for (version, chars_max) in [(Version::V16, 20), (Version::V201, 36), (Version::V21, 255)] {
        let start = |chars: usize| {
            request(Operation::Start, json!({"token": "x".repeat(chars)}))
                .for_version(version, &CONTEXT)
        };
        start(chars_max).expect("it fits");
        if chars_max < 255 {
            assert_eq!(start(chars_max + 1).unwrap_err()[0].pointer, "/token");
        }
    }
}

#[test]
fn each_fault_of_a_body_has_its_place() {
    for (operation, body, pointers) in [
        (Operation::Start, json!({}), vec!["/token"]),
        (
            Operation::Start,
            json!({"token": 7, "evse": 0, "conector": 1}),
            vec!["/conector", "/token", "/evse"],
        ),
        (Operation::Reset, json!({"type": "soft"}), vec!["/type"]),
        (
            Operation::Reserve,
            json!({"token": "A", "until": "tomorrow"}),
            vec!["/until"],
        ),
        (
            Operation::Reserve,
            json!({"token": "A", "until": "1769860800000"}),
            vec!["/until"],
        ),
        (
            Operation::LocalList,
            json!({"version": 1, "update": "full", "entries": [{"token": ""}, 7]}),
            vec!["/entries/0/token", "/entries/1"],
        ),
        (Operation::Configuration, json!({}), vec!["/read"]),
        (
            Operation::Configuration,
            json!({"read": ["A"], "write": {"A": "1"}}),
            vec!["/write"],
        ),
        (
            Operation::Configuration,
            json!({"write": {"A": 1}}),
            vec!["/write"],
        ),
        (
            Operation::Limit,
            json!({"limit": -1, "unit": "kW"}),
            vec!["/limit", "/unit"],
        ),
    ] {
        let Value::Object(members) = body.clone() else {
            panic!("a body is an object");
        };
        let faults = Request::read(operation, members).expect_err("it is refused");
        let found: Vec<&str> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(found, pointers, "{body}");
    }
    let full = json!({"version": 1, "update": "full", "entries": [{"token": "A"}]});
    let full = request(Operation::LocalList, full);
    for version in Version::ALL {
        let faults = full.for_version(version, &CONTEXT).unwrap_err();
        assert_eq!(faults[0].pointer, "/entries/0/status");
    }
}
