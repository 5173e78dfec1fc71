//! Each kind of violation, what counts as tolerated, and that no input panics.

use super::{VIOLATIONS_MAX, Violation, ViolationKind, request, response};
use crate::{ErrorCode, Version};
use ViolationKind::*;
use proptest::prelude::*;

const METER_VALUES: &str = r#"{"connectorId":1,"transactionId":7,"meterValue":[{"timestamp":"2026-11-23T16:50:00Z","sampledValue":[{"value":"1234.5","context":"Sample.Periodic","measurand":"Energy.Active.Import.Register","unit":"Wh"},{"value":"16","phase":"L1","measurand":"Current.Import","unit":"A"}]}]}"#;

fn found(violations: &[Violation]) -> Vec<(&str, ViolationKind, bool)> {
    violations
        .iter()
        .map(|violation| {
            let Violation { path, kind, .. } = violation;
            (path.as_str(), *kind, violation.is_tolerated())
        })
        .collect()
}

#[track_caller]
fn check(version: Version, action: &str, payload: &str, expected: &[(&str, ViolationKind, bool)]) {
    let violations = request(version, action, payload);
    assert_eq!(found(&violations), expected, "{violations:#?}");
}

#[track_caller]
fn check_16(action: &str, payload: &str, expected: &[(&str, ViolationKind, bool)]) {
    check(Version::V16, action, payload, expected);
}

#[test]
fn a_valid_payload_has_no_violations() {
    check_16("MeterValues", METER_VALUES, &[]);
    check_16("Heartbeat", " { } ", &[]);
    assert!(
        response(
            Version::V16,
            "StartTransaction",
            r#"{"transactionId":1,"idTagInfo":{"status":"Accepted"}}"#
        )
        .is_empty()
    );
}

#[test]
fn what_is_not_json_is_one_violation() {
    for payload in [
        "",
        "{",
        r#"{"connectorId":}"#,
        r#"{"a":1} x"#,
        "[,{",
        r#"{"connectorId":"x","meterValue":[{"#,
    ] {
        check_16("MeterValues", payload, &[("", NotJson, false)]);
    }
}

#[test]
fn a_payload_is_an_object() {
    for payload in ["[]", "7", "\"x\"", "true", "1.5"] {
        check_16("Heartbeat", payload, &[("", NotObject, false)]);
        check_16("Teleport", payload, &[("", NotObject, false)]);
    }
}

#[test]
fn null_counts_as_an_empty_payload() {
    check_16("Heartbeat", "null", &[]);
    check_16("Authorize", "null", &[("/idTag", Missing, false)]);
}

#[test]
fn an_unknown_action_may_have_any_members() {
    check_16("Teleport", r#"{"to":{"x":[1,null]}}"#, &[]);
    assert!(response(Version::V21, "NotifyPeriodicEventStream", "{}").is_empty());
}

#[test]
fn a_missing_member_is_named_where_it_should_be() {
    check_16(
        "MeterValues",
        r#"{"connectorId":1,"meterValue":[{"timestamp":"2026-11-23T16:50:00Z"}]}"#,
        &[("/meterValue/0/sampledValue", Missing, false)],
    );
}

#[test]
fn a_wrong_type_is_tolerated_only_if_its_meaning_is_clear() {
    let start = |meter_start: &str| {
        format!(
            r#"{{"connectorId":1,"idTag":"A","timestamp":"2026-11-23T16:50:00Z","meterStart":{meter_start}}}"#
        )
    };
    for (meter_start, tolerated) in [
        ("\"12\"", true),
        ("\" 12.50 \"", true),
        ("\"-1\"", true),
        ("12.0", true),
        ("12.5", true),
        ("\"\"", false),
        ("\"twelve\"", false),
        ("\"inf\"", false),
        ("true", false),
        ("null", false),
        ("[12]", false),
        (r#"{"a":[{}]}"#, false),
    ] {
        check_16(
            "StartTransaction",
            &start(meter_start),
            &[("/meterStart", Type, tolerated)],
        );
    }
    check_16("Authorize", r#"{"idTag":4711}"#, &[("/idTag", Type, true)]);
    check_16("Authorize", r#"{"idTag":true}"#, &[("/idTag", Type, false)]);
    for meter_start in [
        "12",
        "-12",
        "0",
        "9223372036854775807",
        "18446744073709551616",
    ] {
        check_16("StartTransaction", &start(meter_start), &[]);
    }
    check(
        Version::V201,
        "NotifyReport",
        r#"{"generatedAt":"2026-11-23T16:50:00Z","requestId":1.0,"seqNo":0.0,"tbc":"False"}"#,
        &[("/tbc", Type, true)],
    );
}

#[test]
fn null_and_an_empty_object_are_tolerated_for_an_optional_member() {
    let stop = |rest: &str| {
        format!(r#"{{"transactionId":1,"meterStop":2,"timestamp":"2026-11-23T16:50:00Z",{rest}}}"#)
    };
    check_16(
        "StopTransaction",
        &stop(r#""reason":null"#),
        &[("/reason", Type, true)],
    );
    check_16("StopTransaction", &stop(r#""transactionData":[]"#), &[]);
    let event = r#"{"eventType":"Started","timestamp":"2026-11-23T16:50:00Z","triggerReason":"CablePluggedIn","seqNo":0,"transactionInfo":{"transactionId":"T"},"idToken":{}}"#;
    check(
        Version::V201,
        "TransactionEvent",
        event,
        &[
            ("/idToken/idToken", Missing, true),
            ("/idToken/type", Missing, true),
        ],
    );
}

#[test]
fn wrong_enumerations_lengths_and_formats_are_tolerated() {
    check_16(
        "StatusNotification",
        r#"{"connectorId":1,"errorCode":"Error","status":"Available","timestamp":"2026-11-23 16:50"}"#,
        &[("/errorCode", Enum, true), ("/timestamp", Format, true)],
    );
    check_16("Authorize", r#"{"idTag":"12345678901234567890"}"#, &[]);
    check_16("Authorize", r#"{"idTag":"éééééééééééééééééééé"}"#, &[]);
    check_16(
        "Authorize",
        r#"{"idTag":"123456789012345678901"}"#,
        &[("/idTag", Length, true)],
    );
    check_16(
        "GetDiagnostics",
        r#"{"location":"no uri"}"#,
        &[("/location", Format, true)],
    );
}

#[test]
fn each_version_has_its_own_date_times() {
    let heartbeat = r#"{"currentTime":"2026-11-23T16:50:00.123456Z"}"#;
    assert!(response(Version::V16, "Heartbeat", heartbeat).is_empty());
    assert_eq!(
        found(&response(Version::V201, "Heartbeat", heartbeat)),
        [("/currentTime", Format, true)]
    );
}

#[test]
fn numbers_and_lists_have_bounds() {
    let needs = |soc: &str| {
        format!(
            r#"{{"evseId":1,"chargingNeeds":{{"requestedEnergyTransfer":"DC","dcChargingParameters":{{"evMaxCurrent":1,"evMaxVoltage":2,"stateOfCharge":{soc}}}}}}}"#
        )
    };
    let at = "/chargingNeeds/dcChargingParameters/stateOfCharge";
    for (soc, fits) in [
        ("0", true),
        ("100.0", true),
        ("-1", false),
        ("101", false),
        ("1e300", false),
    ] {
        let expected: &[_] = if fits { &[] } else { &[(at, Range, true)] };
        check(
            Version::V201,
            "NotifyEVChargingNeeds",
            &needs(soc),
            expected,
        );
    }
    check_16(
        "MeterValues",
        r#"{"connectorId":1,"meterValue":[]}"#,
        &[("/meterValue", Items, true)],
    );
    check(
        Version::V201,
        "SendLocalList",
        r#"{"versionNumber":1,"updateType":"Full","localAuthorizationList":[]}"#,
        &[("/localAuthorizationList", Items, true)],
    );
}

#[test]
fn tenths_are_counted_in_decimal() {
    let profile = |limit: &str| {
        format!(
            r#"{{"connectorId":1,"csChargingProfiles":{{"chargingProfileId":1,"stackLevel":0,"chargingProfilePurpose":"TxProfile","chargingProfileKind":"Absolute","chargingSchedule":{{"chargingRateUnit":"A","chargingSchedulePeriod":[{{"startPeriod":0,"limit":{limit}}}]}}}}}}"#
        )
    };
    for limit in ["0.1", "0.3", "0.7", "16", "-0.1", "123456.7", "1e17"] {
        check_16("SetChargingProfile", &profile(limit), &[]);
    }
    for limit in ["0.25", "0.30000001", "16.05"] {
        check_16(
            "SetChargingProfile",
            &profile(limit),
            &[(
                "/csChargingProfiles/chargingSchedule/chargingSchedulePeriod/0/limit",
                Range,
                true,
            )],
        );
    }
}

#[test]
fn unknown_members_are_extra_except_in_custom_data() {
    check_16(
        "Authorize",
        r#"{"idTag":"A","x~/y":{"deep":[[[[1]]]]}}"#,
        &[("/x~0~1y", Extra, true)],
    );
    check(
        Version::V201,
        "Heartbeat",
        r#"{"customData":{"vendorId":"V","more":{"a":[1]}}}"#,
        &[],
    );
    check(
        Version::V201,
        "Heartbeat",
        r#"{"customData":{"more":1}}"#,
        &[("/customData/vendorId", Missing, false)],
    );
}

#[test]
fn a_report_is_bounded_and_keeps_what_is_not_tolerated() {
    let extras: String = (0..100).map(|n| format!(r#""extra{n}":1,"#)).collect();
    let violations = request(
        Version::V16,
        "StartTransaction",
        &format!(r#"{{{extras}"connectorId":[]}}"#),
    );
    assert_eq!(violations.len(), VIOLATIONS_MAX);
    let serious = violations
        .iter()
        .filter(|violation| !violation.is_tolerated());
    assert_eq!(serious.count(), 4, "{violations:#?}");

    let long = "é".repeat(10_000);
    let payload = format!(r#"{{"type":"{long}","{long}":1}}"#);
    for violation in request(Version::V16, "Reset", &payload) {
        assert!(violation.to_string().len() < 1_000);
    }
}

#[test]
fn deep_nesting_does_not_overflow_the_stack() {
    for deep in [
        "[".repeat(1_000_000),
        "{\"a\":".repeat(200_000),
        format!("{{\"x\":{}{}}}", "[".repeat(500_000), "]".repeat(500_000)),
    ] {
        assert!(!request(Version::V16, "MeterValues", &deep).is_empty());
        assert!(!request(Version::V16, "Teleport", &deep).is_empty() || deep.starts_with("{\"x\""));
    }
}

#[test]
fn every_kind_has_its_error_code() {
    for (kind, code) in [
        (NotJson, ErrorCode::FormatViolation),
        (NotObject, ErrorCode::FormatViolation),
        (Extra, ErrorCode::FormatViolation),
        (Type, ErrorCode::TypeConstraintViolation),
        (Missing, ErrorCode::OccurrenceConstraintViolation),
        (Items, ErrorCode::OccurrenceConstraintViolation),
        (Enum, ErrorCode::PropertyConstraintViolation),
        (Length, ErrorCode::PropertyConstraintViolation),
        (Range, ErrorCode::PropertyConstraintViolation),
        (Format, ErrorCode::PropertyConstraintViolation),
    ] {
        let violation = Violation {
            path: String::new(),
            kind,
            detail: String::new(),
            tolerated: false,
        };
        assert_eq!(violation.error_code(), code);
    }
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".{0,30}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let name = prop_oneof![
            Just("connectorId".to_owned()),
            Just("meterValue".to_owned()),
            Just("sampledValue".to_owned()),
            Just("timestamp".to_owned()),
            Just("customData".to_owned()),
            ".{0,10}"
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::vec((name, inner), 0..5).prop_map(|members| members
                .into_iter()
                .collect::<serde_json::Map<_, _>>()
                .into()),
        ]
    })
}

proptest! {
    #[test]
    fn any_text_is_checked_without_a_panic(text in ".{0,80}") {
        for version in Version::ALL {
            let _ = request(version, "MeterValues", &text);
            let _ = response(version, &text, &text);
        }
    }

    #[test]
    fn any_json_is_checked_without_a_panic(json in any_json()) {
        let text = json.to_string();
        for version in Version::ALL {
            for action in ["MeterValues", "TransactionEvent", "DataTransfer", "Teleport"] {
                for violation in request(version, action, &text) {
                    prop_assert_ne!(violation.kind, NotJson);
                }
            }
        }
    }

    #[test]
    fn a_mutated_payload_is_checked_without_a_panic(at in 0..METER_VALUES.len(), byte in 0_u8..128, cut in any::<bool>()) {
        let mut bytes = METER_VALUES.as_bytes().to_vec();
        if cut {
            bytes.truncate(at);
        } else {
            bytes[at] = byte;
        }
        let text = String::from_utf8(bytes).expect("all of it is ASCII");
        let violations = request(Version::V16, "MeterValues", &text);
        prop_assert!(violations.len() <= VIOLATIONS_MAX);
        let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
        let not_json = violations.iter().any(|violation| violation.kind == NotJson);
        prop_assert_eq!(is_json, !not_json);
    }
}
