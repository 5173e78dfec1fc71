//! Every action that a charger may send gets a valid answer in every version; every other action gets the error that the
//! standard demands.

use crate::common::{at, connect, error_code, profile, setup, token, vectors};
use central::policy::Policy;
use central::ports::{CheckMode, Registration, TokenStatus};
use central::record::Notes;
use central::{AnswerKind, Quirk, RecordKind};
use ocpp::action::{self, DeliveryClass};
use ocpp::frame::{self, Frame};
use ocpp::{Version, check};
use std::collections::BTreeSet;

fn strict_errors(version: Version, action: &str, payload: &str) -> Vec<String> {
    let violations = check::response(version, action, payload);
    violations.iter().map(ToString::to_string).collect()
}

#[test]
fn every_action_of_every_version_gets_a_valid_answer() {
    let mut answered = BTreeSet::new();
    for (version, path, text) in vectors("ok") {
        let mut setup = setup(version);
        setup.policy.check = CheckMode::Strict;
        let mut charger = setup.connect();
        match frame::parse(&text, version).expect("a frame") {
            Frame::Call(call) => {
                let answer = charger.calls(&text);
                let Ok(Frame::CallResult(result)) = frame::parse(&answer, version) else {
                    panic!("{}: {answer}", path.display());
                };
                assert_eq!(result.id, call.id, "{}", path.display());
                let errors = strict_errors(version, &call.action, result.payload);
                assert!(
                    errors.is_empty(),
                    "{}: {answer}: {errors:?}",
                    path.display()
                );
                let record = &charger.records()[0];
                assert_eq!(record.answer, result.payload);
                assert_eq!(record.payload, call.payload, "byte for byte");
                assert_eq!(
                    record.notes.0 & 0b11,
                    0,
                    "{}: {}",
                    path.display(),
                    record.reason
                );
                answered.insert((version, call.action.into_owned()));
            }
            Frame::Send(send) => {
                assert!(charger.sends(&text).is_empty(), "a SEND has no answer");
                assert_eq!(charger.records()[0].kind, RecordKind::Send);
                answered.insert((version, send.action.into_owned()));
            }
            frame => panic!("{}: {frame:?}", path.display()),
        }
    }
    for version in Version::ALL {
        for info in action::all(version)
            .iter()
            .filter(|info| info.is_to_central())
        {
            let key = (version, info.name.to_owned());
            assert!(
                answered.contains(&key),
                "no vector for {version} {}",
                info.name
            );
        }
    }
}

#[test]
fn every_action_is_answered_with_success_when_nothing_is_checked() {
    for version in Version::ALL {
        for info in action::all(version)
            .iter()
            .filter(|info| info.is_to_central())
        {
            let mut setup = setup(version);
            setup.policy.check = CheckMode::Off;
            let mut charger = setup.connect();
            let answer = charger.succeeds("1", info.name, "{}");
            let errors = strict_errors(version, info.name, &answer);
            // A request without certificates or a VAT number cannot be answered validly.
            let names_nothing = matches!(
                info.name,
                "GetCertificateChainStatus" | "VatNumberValidation"
            );
            assert!(
                errors.is_empty() || names_nothing,
                "{}: {answer}: {errors:?}",
                info.name
            );
        }
    }
}

#[test]
fn answers_with_content_are_as_expected() {
    let says =
        |version, action: &str, payload: &str| connect(version).succeeds("1", action, payload);
    let transfer = r#"{"vendorId":"com.example"}"#;
    let csr = r#"{"csr":"-----BEGIN CERTIFICATE REQUEST-----"}"#;
    for version in Version::ALL {
        assert_eq!(
            says(version, "DataTransfer", transfer),
            r#"{"status":"UnknownVendorId"}"#
        );
        assert_eq!(
            says(version, "SignCertificate", csr),
            r#"{"status":"Rejected"}"#
        );
        assert_eq!(
            says(version, "Heartbeat", "{}"),
            r#"{"currentTime":"2026-01-01T00:00:00.000Z"}"#
        );
    }
    let ev = r#"{"iso15118SchemaVersion":"urn:iso:15118:2:2013:MsgDef","action":"Install","exiRequest":"x"}"#;
    let answer = says(Version::V201, "Get15118EVCertificate", ev);
    assert_eq!(at(&answer, "/status"), "Failed");
    let vat = says(
        Version::V21,
        "VatNumberValidation",
        r#"{"vatNumber":"NL1\"2"}"#,
    );
    assert_eq!(at(&vat, "/vatNumber"), "NL1\"2");
    let stream = r#"{"constantStreamData":{"id":1,"variableMonitoringId":1,"params":{}}}"#;
    let answer = says(Version::V21, "OpenPeriodicEventStream", stream);
    assert_eq!(at(&answer, "/status"), "Accepted");
}

/// Each status that an answer may have, by action: one that promises something is here only if it is kept.
const STATUSES: &[(&str, &[&str])] = &[
    ("Authorize", &[]),
    // The charger may take part from now on.
    ("BootNotification", &["Accepted"]),
    ("DataTransfer", &["UnknownVendorId"]),
    ("Get15118EVCertificate", &["Failed"]),
    ("GetCertificateChainStatus", &[]),
    ("GetCertificateStatus", &["Failed"]),
    // No charging profile will be sent.
    ("NotifyEVChargingNeeds", &["Rejected", "NoChargingProfile"]),
    // The message was processed; it approves no schedule.
    ("NotifyEVChargingSchedule", &["Accepted"]),
    // The values of the stream are recorded.
    ("OpenPeriodicEventStream", &["Accepted"]),
    ("PullDynamicScheduleUpdate", &["Rejected"]),
    ("SignCertificate", &["Rejected"]),
    ("VatNumberValidation", &["Rejected"]),
];

#[test]
fn no_answer_promises_what_is_not_done() {
    for (version, path, text) in vectors("ok") {
        let Ok(Frame::Call(call)) = frame::parse(&text, version) else {
            continue;
        };
        let answer = connect(version).calls(&text);
        let status = at(&answer, "/2/status");
        let allowed = STATUSES
            .iter()
            .find(|(action, _)| *action == call.action)
            .map_or(&[] as &[&str], |(_, allowed)| allowed);
        let is_allowed = status
            .as_str()
            .map_or(allowed.is_empty(), |status| allowed.contains(&status));
        assert!(is_allowed, "{}: {answer}", path.display());
    }
    // A certificate in the chain has its status in a list.
    let chain = r#"{"certificateStatusRequests":[{"source":"CRL","urls":["u"],"certificateHashData":{"hashAlgorithm":"SHA256","issuerNameHash":"a","issuerKeyHash":"b","serialNumber":"c"}}]}"#;
    let answer = connect(Version::V21).succeeds("1", "GetCertificateChainStatus", chain);
    assert_eq!(at(&answer, "/certificateStatus/0/status"), "Failed");
}

#[test]
fn data_of_a_data_transfer_may_have_any_type_and_is_kept() {
    for mode in [CheckMode::Strict, CheckMode::Warn, CheckMode::Off] {
        for version in Version::ALL {
            for data in [r#"{"a":[1]}"#, "[1,2]", "7", "true", "null", r#""x""#] {
                let mut setup = setup(version);
                setup.policy.check = mode;
                let mut charger = setup.connect();
                let payload =
                    format!(r#"{{"vendorId":"com.example","messageId":"m","data":{data}}}"#);
                if mode == CheckMode::Strict && data == "null" && version != Version::V16 {
                    // The schema of 2.x allows any content in words, and null is absent (F-6).
                    continue;
                }
                let answer = charger.succeeds("1", "DataTransfer", &payload);
                assert_eq!(
                    answer, r#"{"status":"UnknownVendorId"}"#,
                    "{mode:?} {version} {data}"
                );
                assert_eq!(charger.records()[0].payload, payload, "byte for byte");
            }
        }
    }
    let mut charger = connect(Version::V16);
    charger.succeeds("1", "DataTransfer", r#"{"vendorId":"V","data":{}}"#);
    assert!(charger.last_notes().has(Quirk::OtherType.note()));
    let answer = charger.succeeds("2", "DataTransfer", r#"{"data":{}}"#);
    assert_eq!(answer, r#"{"status":"Rejected"}"#, "it names no vendor");
}

#[test]
fn a_message_that_is_refused_anyway_gets_the_status_also_when_it_is_broken() {
    let broken =
        r#"{"csr":{"a":1},"vendorId":[7],"exiRequest":[],"ocspRequestData":"x","evseId":"one"}"#;
    for (version, action, status) in [
        (Version::V16, "SignCertificate", "Rejected"),
        (Version::V201, "SignCertificate", "Rejected"),
        (Version::V21, "SignCertificate", "Rejected"),
        (Version::V16, "DataTransfer", "Rejected"),
        (Version::V201, "DataTransfer", "Rejected"),
        (Version::V201, "Get15118EVCertificate", "Failed"),
        (Version::V201, "GetCertificateStatus", "Failed"),
        (Version::V201, "NotifyEVChargingNeeds", "Rejected"),
        (Version::V21, "NotifyEVChargingNeeds", "NoChargingProfile"),
        (Version::V21, "PullDynamicScheduleUpdate", "Rejected"),
    ] {
        let mut charger = connect(version);
        let answer = charger.succeeds("1", action, broken);
        assert_eq!(at(&answer, "/status"), status, "{version} {action}");
        let record = &charger.records()[0];
        assert!(record.notes.has(Notes::QUARANTINED), "{version} {action}");
        assert_eq!(record.payload, broken);

        let mut setup = setup(version);
        setup.policy.check = CheckMode::Strict;
        setup.connect().fails("1", action, broken);
    }
}

#[test]
fn unknown_actions_and_actions_of_the_central_system_get_different_errors() {
    for version in Version::ALL {
        let mut charger = connect(version);
        assert_eq!(charger.fails("1", "Teleport", "{}"), "NotImplemented");
        assert_eq!(charger.fails("2", "Reset", "{}"), "NotSupported");
        assert_eq!(charger.fails("3", "heartbeat", "{}"), "NotImplemented");
        let records = charger.records();
        assert_eq!(records.len(), 3);
        assert_eq!(records[0].answer_kind, AnswerKind::Error);
        assert_eq!(at(records[0].answer, "/0"), "NotImplemented");
        assert_eq!(records[1].action, "Reset");
    }
}

#[test]
fn error_codes_have_the_spelling_of_each_version() {
    let code = |version, action, payload| connect(version).fails("1", action, payload);
    let missing = "{}";
    assert_eq!(
        code(Version::V16, "Authorize", missing),
        "OccurenceConstraintViolation"
    );
    assert_eq!(
        code(Version::V201, "Authorize", missing),
        "OccurrenceConstraintViolation"
    );
    assert_eq!(code(Version::V16, "Authorize", "[]"), "FormationViolation");
    assert_eq!(code(Version::V21, "Authorize", "[]"), "FormatViolation");
    let typed = r#"{"idTag":["x"]}"#;
    assert_eq!(
        code(Version::V16, "Authorize", typed),
        "TypeConstraintViolation"
    );
}

#[test]
fn the_check_mode_decides_what_is_refused() {
    let long = format!(r#"{{"idTag":"{}"}}"#, "x".repeat(21));
    let mode = |mode, payload: &str| {
        let mut setup = setup(Version::V16);
        setup.policy.check = mode;
        let answer = setup
            .connect()
            .calls(&format!(r#"[2,"1","Authorize",{payload}]"#));
        answer.starts_with("[3,")
    };
    assert!(!mode(CheckMode::Strict, &long));
    assert!(mode(CheckMode::Warn, &long));
    assert!(mode(CheckMode::Off, &long));
    assert!(!mode(CheckMode::Strict, "{}"));
    assert!(!mode(CheckMode::Warn, "{}"));
    assert!(mode(CheckMode::Off, "{}"));
    assert!(!mode(CheckMode::Off, "[]"));

    // The charger's mode overrides the policy's.
    let mut setup = setup(Version::V16);
    setup.profile = Some(profile(Registration::Accepted));
    setup.profile.as_mut().expect("set").check = Some(CheckMode::Strict);
    let mut charger = setup.connect();
    assert_eq!(
        charger.fails("1", "Authorize", &long),
        "PropertyConstraintViolation"
    );
}

#[test]
fn tolerated_messages_are_answered_and_broken_ones_refused_unless_they_must_be_answered() {
    for (version, path, text) in vectors("tolerated") {
        let mut charger = connect(version);
        let answer = charger.calls(&text);
        assert!(answer.starts_with("[3,"), "{}: {answer}", path.display());
    }
    for (version, path, text) in vectors("broken") {
        let mut charger = connect(version);
        let received = charger.sends(&text);
        let action = match frame::parse(&text, version) {
            Ok(Frame::Call(call)) => Some(call.action.into_owned()),
            Ok(_) => None,
            Err(error) if error.id.is_some() => error.action.map(Into::into),
            Err(_) => None,
        };
        let class = action
            .as_deref()
            .and_then(|name| action::lookup(version, name))
            .map(|info| info.class);
        let is_kept = matches!(class, Some(DeliveryClass::T | DeliveryClass::Q));
        let is_answered =
            is_kept || matches!(action.as_deref(), Some("BootNotification" | "MeterValues"));
        // Broken in this version, valid in an older one.
        let is_older = path.to_string_lossy().contains("quirk_03");
        if is_older {
            assert!(
                received[0].starts_with("[3,"),
                "{}: {received:?}",
                path.display()
            );
            assert_eq!(charger.records()[0].ocpp_version, Version::V16);
        } else if is_answered {
            assert_eq!(received.len(), 1, "{}", path.display());
            assert!(
                received[0].starts_with("[3,"),
                "{}: {}",
                path.display(),
                received[0]
            );
            let record = &charger.records()[0];
            assert!(!record.reason.is_empty(), "{}", path.display());
        } else {
            assert!(received.len() <= 1, "{}", path.display());
            assert!(
                received.iter().all(|answer| answer.starts_with("[4,")),
                "{}: {received:?}",
                path.display()
            );
        }
    }
}

#[test]
fn a_charger_that_is_not_accepted_may_only_boot() {
    for version in Version::ALL {
        for registration in [Registration::Pending, Registration::Rejected] {
            let mut setup = setup(version);
            setup.profile = Some(profile(registration));
            let mut charger = setup.connect();
            let boot = charger.succeeds("1", "BootNotification", "{}");
            let status = format!("{registration:?}");
            assert_eq!(at(&boot, "/status"), status.as_str());
            let interval = at(&boot, "/interval").as_i64().expect("a number");
            assert!((60..=120).contains(&interval), "{interval}");
            assert!(strict_errors(version, "BootNotification", &boot).is_empty());
            assert_eq!(charger.fails("2", "Heartbeat", "{}"), "SecurityError");
            assert_eq!(charger.fails("3", "GetLog", "{}"), "SecurityError");
            assert_eq!(charger.fails("4", "NoSuchAction", "{}"), "SecurityError");
            // Only the boot is recorded: other messages could fill the journal.
            assert_eq!(charger.records().len(), 1);
        }
    }
}

#[test]
fn a_refused_transaction_message_is_recorded_and_is_answered_once_the_charger_is_accepted() {
    let mut setup = setup(Version::V16);
    setup.policy.unknown_charger = central::policy::UnknownCharger::Pending;
    let mut charger = setup.connect();
    assert_eq!(
        charger.fails("1", "StartTransaction", crate::common::START),
        "SecurityError"
    );
    assert_eq!(charger.records()[0].answer_kind, AnswerKind::Error);
    charger
        .station
        .handle_profile(Some(profile(Registration::Accepted).into()));
    // The refusal is not repeated as an answer.
    let answer = charger.succeeds("2", "StartTransaction", crate::common::START);
    assert!(at(&answer, "/transactionId").as_i64() > Some(0));
}

#[test]
fn boot_intervals_are_random() {
    let mut drawn = BTreeSet::new();
    let mut setup = setup(Version::V16);
    setup.policy.unknown_charger = central::policy::UnknownCharger::Reject;
    let mut charger = setup.connect();
    for i in 0..20 {
        let boot = charger.succeeds(&i.to_string(), "BootNotification", "{}");
        drawn.insert(at(&boot, "/interval").as_i64());
    }
    assert!(drawn.len() > 5, "{drawn:?}");
}

#[test]
fn quirk_27_the_heartbeat_interval_is_never_0() {
    let mut setup = setup(Version::V16);
    setup.policy = Policy {
        heartbeat_interval_s: 0,
        ..Policy::default()
    };
    let boot = setup.connect().succeeds("1", "BootNotification", "{}");
    assert_eq!(at(&boot, "/interval"), 1);
}

#[test]
fn a_charger_is_served_without_a_boot() {
    // B-1: registration belongs to the charger, not to the connection (quirk 16).
    let mut charger = connect(Version::V16);
    charger.succeeds("1", "Heartbeat", "{}");
    charger.succeeds("2", "StartTransaction", crate::common::START);
}

#[test]
fn tokens_of_2_x_get_their_status_in_authorize_and_in_every_event_that_has_one() {
    for version in [Version::V201, Version::V21] {
        let mut charger = connect(version);
        let blocked = token("T1", TokenStatus::Blocked);
        charger.tokens.insert("t1".to_owned(), blocked);
        let card = r#"{"idToken":"T1","type":"ISO14443"}"#;
        let answer = charger.succeeds("1", "Authorize", &format!(r#"{{"idToken":{card}}}"#));
        assert_eq!(answer, r#"{"idTokenInfo":{"status":"Blocked"}}"#);
        let ended = crate::common::event("Ended", 1, &format!(r#","idToken":{card}"#));
        let answer = charger.succeeds("2", "TransactionEvent", &ended);
        assert_eq!(answer, r#"{"idTokenInfo":{"status":"Blocked"}}"#);
        let plain = crate::common::event("Ended", 2, "");
        assert_eq!(charger.succeeds("3", "TransactionEvent", &plain), "{}");
        let free = r#","idToken":{"idToken":"","type":"NoAuthorization"}"#;
        let started = crate::common::event("Started", 3, free);
        let answer = charger.succeeds("4", "TransactionEvent", &started);
        assert_eq!(answer, r#"{"idTokenInfo":{"status":"Accepted"}}"#);
    }
}

#[test]
fn a_contract_certificate_that_cannot_be_checked_is_invalid() {
    let payload = r#"{"idToken":{"idToken":"DE8AA1A2B3C4D59","type":"eMAID"},"certificate":"-----BEGIN CERTIFICATE-----"}"#;
    let answer = connect(Version::V201).succeeds("1", "Authorize", payload);
    assert_eq!(at(&answer, "/certificateStatus"), "CertChainError");
    assert_eq!(at(&answer, "/idTokenInfo/status"), "Invalid");
}

#[test]
fn a_call_error_has_five_elements() {
    let mut charger = connect(Version::V201);
    let answer = charger.calls(r#"[2,"x","Nope",{}]"#);
    assert_eq!(error_code(&answer, "x"), "NotImplemented");
}
