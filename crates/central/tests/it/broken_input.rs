//! Broken messages and unreadable frames: what is answered, and what is recorded.

use crate::common::database::{self, transactions};
use crate::common::{START, at, call, connect, event, setup, token, transaction_id};
use central::model::CheckMode;
use central::ports::TokenStatus;
use central::record::Notes;
use central::station::CloseReason;
use central::{AnswerKind, RecordKind};
use ocpp::Version;

#[test]
fn a_broken_transaction_message_is_answered_with_success_and_recorded() {
    let mut charger = connect(Version::V16);
    let received =
        charger.calls(r#"[2,"1","StartTransaction",{"connectorId":1,"idTag":"04A1",,}]"#);
    assert!(transaction_id(&received) > 0);
    let received = charger.calls(r#"[2,"2","MeterValues",{"connectorId":"#);
    assert_eq!(received, r#"[3,"2",{}]"#);
    let received = charger.calls(r#"[2,"3","StopTransaction",[]]"#);
    assert_eq!(received, r#"[3,"3",{}]"#);
    for record in charger.records() {
        assert!(record.notes.has(Notes::QUARANTINED));
        assert_eq!(record.answer_kind, AnswerKind::Result);
        assert!(!record.reason.is_empty());
    }
    assert_eq!(charger.records()[1].payload, r#"{"connectorId":"#);
    // Its resend is recognised.
    charger.calls(r#"[2,"4","MeterValues",{"connectorId":"#);
    assert_eq!(charger.records().len(), 3);
}

#[test]
fn meter_values_and_queued_messages_of_2_x_are_answered_although_they_are_broken() {
    let meter_values = [
        r#"{"evseId":2}"#,
        r#"{"evseId":1,"meterValue":[{"timestamp":null,"sampledValue":[null]}]}"#,
        r#"{"evseId":1,"meterValue":[{"timestamp":"x","sampledValue":[{"value":1e400}]}]}"#,
        r#"{"evseId":1,"meterValue":[{"timestamp":"\ud800","sampledValue":[{"value":"x"}]}]}"#,
    ];
    let events = [
        r#"{"type":"\ud800","timestamp":"2026-01-01T00:00:00Z"}"#,
        r#"{"timestamp":7}"#,
    ];
    for version in [Version::V201, Version::V21] {
        for mode in [CheckMode::Warn, CheckMode::Strict] {
            let connect = || {
                let mut setup = setup(version);
                setup.policy.check = mode;
                setup.connect()
            };
            for payload in meter_values {
                let mut charger = connect();
                charger.succeeds("1", "MeterValues", payload);
                assert!(
                    charger.records()[0].notes.has(Notes::QUARANTINED),
                    "{payload}"
                );
            }
            for payload in events {
                let mut charger = connect();
                match mode {
                    CheckMode::Strict => {
                        drop(charger.fails("1", "SecurityEventNotification", payload))
                    }
                    _ => drop(charger.succeeds("1", "SecurityEventNotification", payload)),
                }
            }
        }
    }
}

#[test]
fn a_broken_event_with_a_token_gets_its_status() {
    let mut charger = connect(Version::V21);
    charger
        .tokens
        .insert("b".into(), token("B", TokenStatus::Blocked));
    let text = r#"[2,"1","TransactionEvent",{"idToken":{"idToken":"B","type":"ISO14443"},"seqNo":"#;
    let received = charger.calls(text);
    assert_eq!(at(&received, "/2/idTokenInfo/status"), "Blocked");
}

#[test]
fn unreadable_frames_are_recorded_and_answered_as_each_version_demands() {
    for (version, text, answered) in [
        (Version::V16, "no frame", None),
        (Version::V201, "no frame", Some(("-1", "RpcFrameworkError"))),
        (Version::V21, "[2]", Some(("-1", "RpcFrameworkError"))),
        (
            Version::V16,
            r#"[2,"7","Heartbeat",{]"#,
            Some(("7", "FormationViolation")),
        ),
        (
            Version::V201,
            r#"[2,"7","Heartbeat",{]"#,
            Some(("7", "FormatViolation")),
        ),
        (Version::V16, r#"[9,"7"]"#, None),
        (
            Version::V201,
            r#"[9,"7"]"#,
            Some(("7", "MessageTypeNotSupported")),
        ),
        (Version::V21, r#"[9,"7"]"#, None),
        (
            Version::V16,
            r#"[6,"7","NotifyPeriodicEventStream",{}]"#,
            None,
        ),
    ] {
        let mut charger = connect(version);
        let received = charger.sends(text);
        match answered {
            None => assert!(received.is_empty(), "{version} {text}: {received:?}"),
            Some((id, code)) => {
                assert_eq!(
                    crate::common::error_code(&received[0], id),
                    code,
                    "{version} {text}"
                );
            }
        }
        let records = charger.records();
        assert_eq!(records[0].kind, RecordKind::Unreadable);
        assert_eq!(records[0].payload, text);
    }
}

#[test]
fn unreadable_frames_cannot_fill_the_journal() {
    let mut charger = connect(Version::V16);
    let big = format!("[{}", "x".repeat(1024 * 1024));
    charger.sends(&big);
    let recorded = charger.records()[0].payload.len();
    assert_eq!(recorded, 64 * 1024);
    assert!(
        charger.records()[0]
            .reason
            .contains("cut, it had 1048577 bytes")
    );
    for _ in 0..200 {
        charger.sends("no frame");
    }
    assert_eq!(
        charger.records().len(),
        60,
        "the policy allows this number per minute"
    );
    charger.wait_ms(60_000);
    charger.sends("no frame");
    assert_eq!(charger.records().len(), 61);
    charger.disconnects(CloseReason::ByCharger(None));
    let records = charger.all_records();
    let end = records.last().expect("the end");
    assert_eq!(
        end.reason,
        "closed by the charger; 141 frames were not recorded"
    );
}

#[test]
fn a_connection_with_only_unreadable_frames_is_closed() {
    let mut charger = connect(Version::V201);
    for _ in 0..999 {
        charger.sends("no frame");
    }
    charger.sends(&call("1", "Heartbeat", "{}"));
    for _ in 0..999 {
        charger.sends("no frame");
    }
    assert_eq!(charger.closed, None);
    charger.sends("no frame");
    assert_eq!(charger.closed, Some(CloseReason::Unreadable));
    assert!(!charger.station.wants_frame());
    assert!(charger.sends(&call("2", "Heartbeat", "{}")).is_empty());
}

#[test]
fn bytes_that_are_not_utf_8_are_recorded_as_base64() {
    let mut charger = connect(Version::V16);
    charger
        .station
        .handle_binary(&[0xff, 0xfe, 0x00], charger.now);
    charger.settle();
    let records = charger.records();
    assert_eq!(records[0].payload, "//4A");
    assert!(records[0].notes.has(Notes::BASE64));
}

#[test]
fn a_transaction_message_in_latin_1_is_recorded_and_answered_with_success() {
    // An idTag in Latin-1: not UTF-8, but readable as a start.
    let text = call(
        "1",
        "StartTransaction",
        &START.replace("04A1", "J\u{fc}rgen"),
    );
    let latin_1: Vec<u8> = text
        .chars()
        .map(|c| u8::try_from(c).unwrap_or(b'?'))
        .collect();
    let mut charger = connect(Version::V16);
    charger.station.handle_binary(&latin_1, charger.now);
    charger.settle();
    assert!(transaction_id(&charger.received[0]) > 0);
    charger.station.handle_binary(&latin_1, charger.now);
    charger.settle();
    assert_eq!(
        transaction_id(&charger.received[0]),
        transaction_id(&charger.received[1])
    );
    let records = charger.records();
    let kinds: Vec<_> = records.iter().map(|record| record.kind).collect();
    // The bytes as received and the message as read; of the resend only the bytes.
    let (raw, call) = (RecordKind::Unreadable, RecordKind::Call);
    assert_eq!(kinds, [raw, call, raw]);
    assert!(records[1].notes.has(Notes::QUARANTINED));

    // A message of another class is refused under its id.
    let mut charger = connect(Version::V16);
    let status = [
        br#"[2,"7","StatusNotification",{"info":""#.as_slice(),
        b"\xfc\"}]",
    ]
    .concat();
    charger.station.handle_binary(&status, charger.now);
    charger.settle();
    assert_eq!(
        crate::common::error_code(&charger.received[0], "7"),
        "FormationViolation"
    );
}

#[test]
fn a_transaction_message_without_a_readable_id_is_answered_and_counts() {
    for mode in [CheckMode::Warn, CheckMode::Strict, CheckMode::Off] {
        for id in ["null", "true", "[7]"] {
            let mut setup = setup(Version::V16);
            setup.policy.check = mode;
            let mut charger = setup.connect();
            charger.succeeds("1", "StartTransaction", START);
            let text = format!(
                r#"[2,{id},"StopTransaction",{{"transactionId":null,"meterStop":9000,"timestamp":"2026-01-01T00:00:00Z"}} ] "#
            );
            assert_eq!(charger.calls(&text), "[3,null,{}]", "{text}");
            // A resend is recognised.
            assert_eq!(charger.calls(&text), "[3,null,{}]", "{text}");
            let records = charger.records();
            assert_eq!(records.len(), 2, "{text}");
            assert!(records[1].notes.has(Notes::QUARANTINED));
            assert!(records[1].payload.ends_with("00Z\"}"), "{text}");
            let paired = central::model::pair_orphans(transactions(&database::of(&[&charger])));
            assert_eq!(paired.len(), 1, "{text}");
            assert!(!paired[0].open && paired[0].energy_wh.is_some(), "{text}");
            // Any other message has no answer, as 1.6 has no rule for it.
            let other = format!(r#"[2,{id},"Heartbeat",{{}}]"#);
            assert!(charger.sends(&other).is_empty(), "{other}");
        }
    }
    for version in [Version::V201, Version::V21] {
        let mut charger = connect(version);
        let text = format!(r#"[2,null,"TransactionEvent",{}]"#, event("Started", 0, ""));
        let received = charger.calls(&text);
        assert!(received.starts_with(r#"[3,"-1",{"#), "{received}");
        let received = charger.calls(r#"[2,null,"Heartbeat",{}]"#);
        assert!(
            received.starts_with(r#"[4,"-1","RpcFrameworkError""#),
            "{received}"
        );
    }
}
