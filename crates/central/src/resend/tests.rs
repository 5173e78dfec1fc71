//! Which messages are recognised as resends, and for how long.

use super::*;
use crate::record::{AnswerKind, Epoch, Record, RecordKind};
use crate::{Timestamp, actions};
use ocpp::Version;

fn resend_key(version: Version, action: &str, payload: &str) -> ResendKey {
    let row = actions::find(version, action).expect("an action");
    ResendKey::of(row, payload).expect("class T")
}

fn stop(id: u32, meter: u32) -> (ResendKey, String) {
    let payload = format!(
        r#"{{"transactionId":{id},"timestamp":"2026-01-01T00:00:00Z","meterStop":{meter}}}"#
    );
    let key = resend_key(Version::V16, "StopTransaction", &payload);
    (key, payload)
}

#[test]
fn a_resend_gets_the_first_answer_to_its_own_content() {
    let mut memory = ResendMemory::default();
    let (key, _) = stop(7, 100);
    assert_eq!(memory.find(key), Known::New);
    memory.remember(key, "first");
    let (other, _) = stop(7, 200);
    assert_eq!(memory.find(other), Known::Conflict("first"));
    memory.remember(other, "second");
    assert_eq!(memory.find(key), Known::Resend("first"));
    assert_eq!(memory.find(other), Known::Resend("second"));
    let (third, _) = stop(7, 300);
    assert_eq!(memory.find(third), Known::Conflict("first"));
}

fn start(payload: &str) -> ResendKey {
    resend_key(Version::V16, "StartTransaction", payload)
}

const UNDATED: &str = r#"{"connectorId":1,"idTag":"A","meterStart":0}"#;

#[test]
fn an_undated_start_that_comes_again_after_its_stop_is_new() {
    let mut memory = ResendMemory::default();
    let key = start(UNDATED);
    memory.remember(key, r#"{"transactionId":7}"#);
    assert!(matches!(memory.find(key), Known::Resend(_)));
    assert_eq!(memory.ended_transaction(key), None);
    memory.remember(stop(8, 1).0, "{}");
    assert!(
        matches!(memory.find(key), Known::Resend(_)),
        "the stop of another transaction"
    );
    // Messages between start and stop displace neither.
    for n in 0..100_u32 {
        let values = format!(r#"{{"connectorId":1,"transactionId":7,"meterValue":[{n}]}}"#);
        let values = resend_key(Version::V16, "MeterValues", &values);
        memory.remember(values, "{}");
    }
    memory.remember(stop(7, 1).0, "{}");
    assert_eq!(memory.find(key), Known::New);
    assert_eq!(memory.ended_transaction(key), Some(7));
    memory.remember(key, r#"{"transactionId":9}"#);
    assert_eq!(memory.find(key), Known::Resend(r#"{"transactionId":9}"#));
    assert!(
        memory.find(stop(7, 1).0) != Known::New,
        "its stop may still be resent"
    );
}

#[test]
fn a_start_with_a_plausible_time_is_a_resend_after_its_stop_too() {
    let mut memory = ResendMemory::default();
    let dated =
        r#"{"timestamp":"2026-01-01T00:00:00Z","connectorId":1,"idTag":"A","meterStart":0}"#;
    let key = start(dated);
    memory.remember(key, r#"{"transactionId":7}"#);
    memory.remember(stop(7, 1).0, "{}");
    assert!(matches!(memory.find(key), Known::Resend(_)));
}

fn stop_record(payload: &str) -> Record<'_> {
    Record {
        kind: RecordKind::Call,
        charger_id: "CP-1",
        ocpp_version: Version::V16,
        message_id: "1",
        action: "StopTransaction",
        payload,
        answer_kind: AnswerKind::Result,
        answer: "{}",
        received_at: Timestamp(0),
        epoch: Epoch(1),
        notes: crate::record::Notes::default(),
        reason: "",
    }
}

#[test]
fn refusing_the_record_of_a_resend_keeps_the_stored_message_known() {
    let mut memory = ResendMemory::default();
    let key = start(UNDATED);
    memory.remember(key, r#"{"transactionId":7}"#); // durable
    memory.begin_connection();
    let mut record = stop_record(UNDATED);
    (record.action, record.answer) = ("StartTransaction", r#"{"transactionId":7}"#);
    memory.learn(&record);
    memory.forget(&record); // the record of its resend is refused
    assert_eq!(memory.find(key), Known::Resend(r#"{"transactionId":7}"#));
    assert!(
        memory.is_of_earlier_connection(key),
        "a resend still gets its record"
    );
}

#[test]
fn a_refused_stop_does_not_reopen_a_start_that_an_equal_stop_ended() {
    let without_id = r#"{"transactionId":-1,"meterStop":5,"timestamp":"1970-01-01T00:00:00Z"}"#;
    let record = stop_record(without_id);
    let mut memory = ResendMemory::default();
    let key = start(UNDATED);
    let other = start(r#"{"connectorId":1,"idTag":"B","meterStart":0}"#);
    memory.remember(key, r#"{"transactionId":7}"#);
    memory.learn(&record);
    memory.remember(other, r#"{"transactionId":8}"#);
    memory.learn(&record);
    memory.forget(&record); // the second of two equal stops is refused
    assert_eq!(memory.find(key), Known::New, "the first stop has ended it");
    assert_eq!(memory.find(other), Known::Resend(r#"{"transactionId":8}"#));
}

#[test]
fn a_refused_stop_does_not_reopen_a_start_that_a_durable_stop_ended() {
    let without_id = r#"{"transactionId":-1,"meterStop":5,"timestamp":"1970-01-01T00:00:00Z"}"#;
    for refused in [without_id.to_owned(), stop(7, 2).1] {
        let mut memory = ResendMemory::default();
        let key = start(UNDATED);
        memory.remember(key, r#"{"transactionId":7}"#);
        memory.remember(stop(7, 1).0, "{}"); // durable
        assert_eq!(memory.find(key), Known::New, "{refused}");
        let record = stop_record(&refused);
        memory.learn(&record);
        memory.forget(&record);
        assert_eq!(memory.find(key), Known::New, "{refused}");
    }
}

#[test]
fn a_refused_stop_reopens_the_start_that_it_ended() {
    let mut memory = ResendMemory::default();
    let key = start(UNDATED);
    memory.remember(key, r#"{"transactionId":7}"#);
    let (_, payload) = stop(7, 1);
    let record = stop_record(&payload);
    memory.learn(&record);
    assert_eq!(memory.find(key), Known::New);
    memory.forget(&record);
    assert!(matches!(memory.find(key), Known::Resend(_)));
}

#[test]
fn a_stop_without_an_id_ends_all_starts_and_is_forgotten_at_the_next_start() {
    let mut memory = ResendMemory::default();
    let (key, without_id) = (
        start(UNDATED),
        r#"{"transactionId":-1,"meterStop":5,"timestamp":"1970-01-01T00:00:00Z"}"#,
    );
    let without_id = resend_key(Version::V16, "StopTransaction", without_id);
    memory.remember(key, r#"{"transactionId":7}"#);
    memory.remember(without_id, "{}");
    assert_eq!(memory.find(key), Known::New);
    assert!(matches!(memory.find(without_id), Known::Resend(_)));
    memory.remember(key, r#"{"transactionId":9}"#);
    assert_eq!(memory.find(without_id), Known::New);
}

#[test]
fn an_equal_transaction_event_after_the_end_is_new() {
    let event = |kind: &str, seq: u32| {
        let payload = format!(
            r#"{{"eventType":"{kind}","seqNo":{seq},"timestamp":"1970-01-01T00:00:00Z","transactionInfo":{{"transactionId":"0"}}}}"#
        );
        resend_key(Version::V201, "TransactionEvent", &payload)
    };
    let mut memory = ResendMemory::default();
    let all = [event("Started", 0), event("Updated", 1), event("Ended", 2)];
    for _ in 0..2 {
        for key in all {
            assert_eq!(memory.find(key), Known::New);
            memory.remember(key, "{}");
            assert!(matches!(memory.find(key), Known::Resend(_)));
        }
        assert!(matches!(memory.find(all[2]), Known::Resend(_)));
    }
}

#[test]
fn only_a_start_without_a_plausible_time_is_undated() {
    assert!(start(UNDATED).is_undated_start());
    for (time, is_undated) in [
        ("1970-01-01T00:00:42Z", true),
        ("2026-01-01T00:00:00Z", false),
    ] {
        let payload = UNDATED.replace("{\"conn", &format!("{{\"timestamp\":\"{time}\",\"conn"));
        assert_eq!(start(&payload).is_undated_start(), is_undated, "{time}");
    }
}

#[test]
fn a_memory_stays_below_one_kibibyte_and_knows_the_newest_messages() {
    let mut memory = ResendMemory::default();
    assert_eq!(memory.heap_bytes(), 0);
    for id in 1..10_000 {
        let (key, _) = stop(id, id);
        let answer = if id % 10 == 0 {
            r#"{"idTagInfo":{"status":"Accepted"}}"#
        } else {
            "{}"
        };
        memory.remember(key, answer);
        assert_eq!(memory.find(key), Known::Resend(answer));
        assert!(memory.heap_bytes() < 1024, "{}", memory.heap_bytes());
    }
    for id in 10_000 - ResendMemory::KEYS_MAX as u32..10_000 {
        assert_ne!(memory.find(stop(id, id).0), Known::New);
    }
    assert_eq!(memory.find(stop(1, 1).0), Known::New);
}

#[test]
fn a_message_is_forgotten_together_with_its_answer() {
    let mut memory = ResendMemory::default();
    for id in 1..=9 {
        memory.remember(stop(id, id).0, "words");
    }
    assert_eq!(memory.find(stop(1, 1).0), Known::New);
    assert_eq!(memory.find(stop(2, 2).0), Known::Resend("words"));
}

#[test]
fn a_recent_call_is_forgotten_after_a_minute() {
    let mut recent = RecentCalls::default();
    let key = RecentCalls::key("StatusNotification", "1", "{}");
    recent.remember(key, "{}", Timestamp(0));
    assert_eq!(recent.find(key, Timestamp(59_999)), Some("{}"));
    assert_eq!(recent.find(key, Timestamp(60_000)), None);
}
