//! Check mode `strict`: what is tolerated otherwise is answered with CALLERROR, except in transaction messages.

use crate::common::{START, TestCharger, connect, error_code, setup, transaction_id};
use central::ports::CheckMode;
use central::record::Notes;
use central::{AnswerKind, RecordKind};
use ocpp::Version;

fn strict(version: Version) -> TestCharger {
    let mut setup = setup(version);
    setup.policy.check = CheckMode::Strict;
    setup.connect()
}

const STATUS: &str = r#"{"connectorId":1,"errorCode":"NoError","status":"Available"}"#;
const STATUS_2: &str = r#"{"timestamp":"2026-01-01T00:00:00Z","connectorStatus":"Available","evseId":1,"connectorId":1}"#;
const LONG_ID: &str = "1234567890123456789012345678901234567";

/// Calls with one mistake in the frame each: the id, the text, and the code in 1.6 and 2.x.
fn faulty(action: &str, payload: &str) -> Vec<(String, String, [&'static str; 2])> {
    assert_eq!(LONG_ID.len(), 37);
    let frame = ["FormationViolation", "RpcFrameworkError"];
    [
        ("7", format!(r#"["2","7","{action}",{payload}]"#)),
        ("7", format!(r#"[2,"7","{action}",{payload},0]"#)),
        (LONG_ID, format!(r#"[2,"{LONG_ID}","{action}",{payload}]"#)),
        ("7", format!("\u{feff}[2,\"7\",\"{action}\",{payload}]")),
        ("7", format!("[2,\"7\",\"{action}\",{payload}]\0")),
    ]
    .map(|(id, text)| (id.to_owned(), text, frame))
    .to_vec()
}

#[test]
fn a_call_in_a_faulty_frame_is_refused_with_its_id_and_the_code_of_the_version() {
    for (version, payload, place) in [
        (Version::V16, STATUS, 0),
        (Version::V201, STATUS_2, 1),
        (Version::V21, STATUS_2, 1),
    ] {
        for (id, text, codes) in faulty("StatusNotification", payload) {
            let mut tolerant = connect(version);
            assert!(tolerant.calls(&text).starts_with("[3,"), "{text}");
            let mut charger = strict(version);
            let answer = charger.calls(&text);
            assert_eq!(error_code(&answer, &id), codes[place], "{version} {text}");
            let records = charger.records();
            assert_eq!(records.len(), 1, "{text}");
            assert_eq!(records[0].kind, RecordKind::Call);
            assert_eq!(records[0].answer_kind, AnswerKind::Error);
            assert!(
                records[0].reason.contains("not as OCPP-J demands"),
                "{}",
                records[0].reason
            );
        }
    }
}

#[test]
fn a_call_of_three_elements_or_with_a_number_or_null_is_refused() {
    for (version, place) in [(Version::V16, 0), (Version::V201, 1), (Version::V21, 1)] {
        for (id, text, codes) in [
            (
                r#""7""#,
                r#"[2,"7","Heartbeat"]"#,
                ["FormationViolation", "RpcFrameworkError"],
            ),
            (
                "7",
                r#"[2,7,"Heartbeat",{}]"#,
                ["FormationViolation", "RpcFrameworkError"],
            ),
            (
                r#""7""#,
                r#"[2,"7","Heartbeat",null]"#,
                ["FormationViolation", "FormatViolation"],
            ),
        ] {
            let mut charger = strict(version);
            let answer = charger.calls(text);
            let start = format!(r#"[4,{id},"{}","#, codes[place]);
            assert!(answer.starts_with(&start), "{version} {text}: {answer}");
            assert!(
                connect(version).calls(text).starts_with("[3,"),
                "{version} {text}"
            );
        }
    }
}

#[test]
fn a_binary_message_is_refused() {
    let mut charger = strict(Version::V16);
    charger
        .station
        .handle_binary(br#"[2,"7","Heartbeat",{}]"#, charger.now);
    charger.settle();
    assert_eq!(error_code(&charger.received[0], "7"), "FormationViolation");
}

#[test]
fn a_transaction_message_in_a_faulty_frame_is_answered_with_success_and_noted() {
    for (_, text, _) in faulty("StartTransaction", START) {
        let mut charger = strict(Version::V16);
        assert!(transaction_id(&charger.calls(&text)) > 0, "{text}");
        let records = charger.records();
        assert_eq!(records[0].answer_kind, AnswerKind::Result);
        assert!(records[0].notes.has(Notes::TOLERATED), "{text}");
        assert!(
            records[0].reason.contains("not as OCPP-J demands"),
            "{text}"
        );
    }
    // A broken payload is the graver mistake; both are noted.
    let mut charger = strict(Version::V16);
    let answer = charger.calls(r#"["2","7","StopTransaction",{"transactionId":"x"}]"#);
    assert!(answer.starts_with(r#"[3,"7","#), "{answer}");
    let records = charger.records();
    assert!(records[0].notes.has(Notes::QUARANTINED));
    assert!(
        records[0].reason.contains("the message type is a string; "),
        "{}",
        records[0].reason
    );
    // Without a payload, and as a binary message.
    let mut charger = strict(Version::V201);
    let answer = charger.calls(r#"[2,"8","TransactionEvent"]"#);
    assert!(answer.starts_with(r#"[3,"8","#), "{answer}");
    charger
        .station
        .handle_binary(br#"[2,"9","TransactionEvent",{"seqNo":1}]"#, charger.now);
    charger.settle();
    assert!(charger.received[1].starts_with(r#"[3,"9","#));
    assert_eq!(charger.records().len(), 2);
}

#[test]
fn an_action_of_another_version_is_refused_unless_it_belongs_to_a_transaction() {
    let text = r#"[2,"7","DiagnosticsStatusNotification",{"status":"Idle"}]"#;
    for version in [Version::V201, Version::V21] {
        assert!(connect(version).calls(text).starts_with("[3,"));
        let answer = strict(version).calls(text);
        assert_eq!(error_code(&answer, "7"), "NotImplemented");
    }
    let mut charger = strict(Version::V201);
    let answer = charger.calls(&format!(r#"[2,"7","StartTransaction",{START}]"#));
    assert!(transaction_id(&answer) > 0);
    assert!(charger.records()[0].notes.has(Notes::TOLERATED));
}

#[test]
fn a_faulty_message_without_an_answer_gets_a_note() {
    let mut charger = strict(Version::V21);
    let send = r#"["6","7","NotifyPeriodicEventStream",{"id":1,"pending":0,"basetime":"2026-01-01T00:00:00Z","data":[{"t":0,"v":"1"}]}]"#;
    assert!(charger.sends(send).is_empty());
    assert!(charger.sends(r#"["3","8",{}]"#).is_empty());
    assert!(charger.sends(r#"[4,"9","GenericError"]"#).is_empty());
    let records = charger.records();
    assert_eq!(records.len(), 3);
    for record in records {
        assert!(record.notes.has(Notes::TOLERATED), "{record:?}");
        assert!(
            record.reason.contains("not as OCPP-J demands"),
            "{record:?}"
        );
    }
}

#[test]
fn a_frame_without_mistakes_is_answered_with_success() {
    let id = &LONG_ID[1..];
    let mut charger = strict(Version::V16);
    charger.succeeds(id, "Heartbeat", "{}");
    charger.succeeds("8", "StatusNotification", STATUS);
    assert!(
        charger
            .records()
            .iter()
            .all(|record| record.notes == Notes::default())
    );
}
