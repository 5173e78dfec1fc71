//! Resends: which messages count as sent again, and what is answered and recorded then.

use crate::common::{START, at, call, connect, event, setup, token, transaction_id};
use central::Record;
use central::ports::TokenStatus;
use central::record::Notes;
use central::resend::ResendMemory;
use central::station::{CloseReason, ResendCounts};
use ocpp::Version;

#[test]
fn a_resent_start_gets_the_same_answer_and_no_record() {
    let mut charger = connect(Version::V16);
    let first = charger.succeeds("1", "StartTransaction", START);
    charger
        .tokens
        .insert("04a1".into(), token("04A1", TokenStatus::Blocked));
    assert_eq!(charger.succeeds("1", "StartTransaction", START), first);
    assert_eq!(charger.succeeds("99", "StartTransaction", START), first);
    assert_eq!(charger.records().len(), 1);
}

#[test]
fn recognised_resends_are_counted_by_how_they_were_recognised() {
    let mut charger = connect(Version::V16);
    charger.succeeds("1", "StartTransaction", START);
    let status = r#"{"connectorId":1,"errorCode":"NoError","status":"Available"}"#;
    charger.succeeds("2", "StatusNotification", status);
    assert_eq!(charger.station.take_resends(), ResendCounts::default());
    charger.succeeds("2", "StatusNotification", status);
    charger.succeeds("3", "StartTransaction", START);
    charger.succeeds("4", "StartTransaction", START);
    let expected = ResendCounts {
        by_content: 2,
        by_id: 1,
    };
    assert_eq!(charger.station.take_resends(), expected);
    assert_eq!(charger.station.take_resends(), ResendCounts::default());
    // Another content under the same natural key is a conflict, not a resend.
    let other = START.replacen('{', r#"{"reservationId":7,"#, 1);
    charger.succeeds("5", "StartTransaction", &other);
    assert_eq!(charger.station.take_resends(), ResendCounts::default());
}

#[test]
fn a_start_resent_before_its_answer_waits_for_the_same_record() {
    let mut charger = connect(Version::V16);
    charger.disk_works = false;
    charger.sends(&call("1", "StartTransaction", START));
    assert!(
        charger
            .sends(&call("2", "StartTransaction", START))
            .is_empty()
    );
    assert_eq!(charger.records().len(), 1);
    let received = charger.disk_syncs();
    assert_eq!(received.len(), 2, "one answer per frame");
    assert_eq!(transaction_id(&received[0]), transaction_id(&received[1]));
}

#[test]
fn a_start_resent_after_a_reconnect_gets_the_same_answer() {
    let mut charger = connect(Version::V16);
    let first = charger.succeeds("1", "StartTransaction", START);
    charger.disconnects(CloseReason::Broken("reset".into()));
    let mut setup = setup(Version::V16);
    setup.memory = charger.station.into_memory();
    let mut charger = setup.connect();
    assert_eq!(charger.succeeds("2", "StartTransaction", START), first);
    assert!(charger.records().is_empty());
}

#[test]
fn a_start_resent_after_a_broken_connection_is_answered_after_its_first_record() {
    let mut charger = connect(Version::V16);
    charger.disk_works = false;
    charger.sends(&call("1", "StartTransaction", START));
    charger.disconnects(CloseReason::Broken("reset".into()));
    assert!(charger.received.is_empty());
    let mut setup = setup(Version::V16);
    setup.memory = charger.station.into_memory();
    setup.disk_works = false;
    let mut charger = setup.connect();
    // The first record of the new connection is after that of the start in the journal.
    assert!(
        charger
            .sends(&call("2", "StartTransaction", START))
            .is_empty()
    );
    let received = charger.disk_syncs();
    assert!(transaction_id(&received[0]) > 0);
    assert!(
        charger.records().is_empty(),
        "it was recorded on the old connection"
    );
}

#[test]
fn a_start_resent_after_a_restart_gets_the_same_answer() {
    let mut charger = connect(Version::V16);
    charger
        .tokens
        .insert("04a1".into(), token("04A1", TokenStatus::Blocked));
    let first = charger.succeeds("1", "StartTransaction", START);
    charger.sends("not a frame");
    charger.disconnects(CloseReason::Shutdown);
    let mut memory = ResendMemory::default();
    for bytes in &charger.journal {
        memory.learn(&Record::decode(bytes).expect("a record"));
    }
    let mut setup = setup(Version::V16);
    setup.memory = memory;
    let mut charger = setup.connect();
    // The directory would now answer otherwise; the first answer stays.
    assert_eq!(charger.succeeds("2", "StartTransaction", START), first);
    assert!(charger.records().is_empty());
}

#[test]
fn a_start_resent_to_another_gateway_gets_the_same_id() {
    let first = connect(Version::V16).succeeds("1", "StartTransaction", START);
    let second = connect(Version::V16).succeeds("2", "StartTransaction", START);
    assert_eq!(transaction_id(&first), transaction_id(&second));
}

#[test]
fn a_start_with_the_same_natural_key_and_other_content_gets_the_first_answer_and_a_record() {
    let mut charger = connect(Version::V16);
    let first = charger.succeeds("1", "StartTransaction", START);
    let other = START.replacen('{', r#"{"reservationId":7,"#, 1);
    assert_eq!(charger.succeeds("2", "StartTransaction", &other), first);
    let records = charger.records();
    assert_eq!(records.len(), 2);
    assert!(records[1].notes.has(Notes::CONFLICT));
    assert_eq!(charger.succeeds("3", "StartTransaction", &other), first);
    assert_eq!(charger.records().len(), 2, "it is recorded once");
}

#[test]
fn a_stop_with_other_content_is_answered_and_recorded_as_a_conflict() {
    let mut charger = connect(Version::V16);
    let stop = |meter: u32| {
        format!(r#"{{"transactionId":7,"timestamp":"2026-01-01T00:00:00Z","meterStop":{meter}}}"#)
    };
    assert_eq!(charger.succeeds("1", "StopTransaction", &stop(9)), "{}");
    assert_eq!(charger.succeeds("2", "StopTransaction", &stop(9)), "{}");
    assert_eq!(charger.succeeds("3", "StopTransaction", &stop(8)), "{}");
    let notes: Vec<_> = charger
        .records()
        .iter()
        .map(|record| record.notes)
        .collect();
    assert_eq!(notes, [Notes::default(), Notes::CONFLICT]);
}

#[test]
fn a_resent_event_gets_the_same_status_and_one_with_other_content_its_own() {
    let mut charger = connect(Version::V201);
    let card = |id: &str| format!(r#","idToken":{{"idToken":"{id}","type":"ISO14443"}}"#);
    charger
        .tokens
        .insert("b".into(), token("B", TokenStatus::Blocked));
    let started = event("Started", 0, &card("A"));
    let first = charger.succeeds("1", "TransactionEvent", &started);
    charger
        .tokens
        .insert("a".into(), token("A", TokenStatus::Blocked));
    assert_eq!(charger.succeeds("2", "TransactionEvent", &started), first);
    assert_eq!(charger.records().len(), 1);
    let other = event("Started", 0, &card("B"));
    let answer = charger.succeeds("3", "TransactionEvent", &other);
    assert_eq!(at(&answer, "/idTokenInfo/status"), "Blocked");
    assert!(charger.last_notes().has(Notes::CONFLICT));
    // Another seqNo is another event.
    charger.succeeds("4", "TransactionEvent", &event("Updated", 1, ""));
    assert_eq!(charger.last_notes(), Notes::default());
}

#[test]
fn other_messages_are_resends_by_id_and_content_for_a_minute() {
    let mut charger = connect(Version::V16);
    let status =
        |status: &str| format!(r#"{{"connectorId":1,"errorCode":"NoError","status":"{status}"}}"#);
    charger.succeeds("1", "StatusNotification", &status("Available"));
    charger.succeeds("1", "StatusNotification", &status("Available"));
    assert_eq!(charger.records().len(), 1);
    charger.succeeds("1", "StatusNotification", &status("Charging"));
    charger.succeeds("2", "StatusNotification", &status("Charging"));
    assert_eq!(charger.records().len(), 3);
    charger.wait_ms(60_000);
    charger.succeeds("2", "StatusNotification", &status("Charging"));
    assert_eq!(charger.records().len(), 4);
}

#[test]
fn only_the_last_call_can_be_a_resend() {
    let status =
        |status: &str| format!(r#"{{"connectorId":1,"errorCode":"NoError","status":"{status}"}}"#);
    let data = r#"{"vendorId":"V"}"#;
    // Each of these is sent in between; some are not recorded.
    for (action, payload) in [
        ("StatusNotification", status("Preparing")),
        ("DataTransfer", data.to_owned()),
        ("Heartbeat", "{}".to_owned()),
        ("StartTransaction", START.to_owned()),
        ("StatusNotification", "[]".to_owned()),
        ("ChangeAvailability", "{}".to_owned()),
    ] {
        let mut setup = setup(Version::V16);
        setup.policy.record_heartbeats = false;
        let mut charger = setup.connect();
        charger.succeeds("0", "StartTransaction", START);
        charger.succeeds("1", "StatusNotification", &status("Available"));
        charger.calls(&format!(r#"[2,"2","{action}",{payload}]"#));
        let before = charger.records().len();
        charger.succeeds("1", "StatusNotification", &status("Available"));
        assert_eq!(
            charger.records().len(),
            before + 1,
            "after {action} {payload}"
        );
    }
}

#[test]
fn no_message_is_a_resend_if_all_have_the_same_id() {
    let mut charger = connect(Version::V16);
    let status =
        |status: &str| format!(r#"{{"connectorId":1,"errorCode":"NoError","status":"{status}"}}"#);
    let said = ["Available", "Preparing", "Available", "Available"];
    for word in said {
        charger.succeeds("1", "StatusNotification", &status(word));
    }
    let told: Vec<_> = charger
        .records()
        .iter()
        .map(|record| record.payload.to_owned())
        .collect();
    assert_eq!(told, said.map(status));
}

#[test]
fn an_answer_with_the_current_time_is_never_repeated() {
    let mut charger = connect(Version::V16);
    let first = charger.succeeds("1", "Heartbeat", "{}");
    charger.wait_ms(1_000);
    let second = charger.succeeds("1", "Heartbeat", "{}");
    assert_ne!(first, second);
    assert_eq!(charger.records().len(), 2);
}

#[test]
fn a_security_event_under_a_new_id_is_a_resend() {
    let mut charger = connect(Version::V201);
    let payload = r#"{"type":"TamperDetectionActivated","timestamp":"2026-01-01T00:00:00Z"}"#;
    charger.succeeds("1", "SecurityEventNotification", payload);
    charger.succeeds("2", "SecurityEventNotification", payload);
    assert_eq!(charger.records().len(), 1);
}

#[test]
fn only_a_message_that_the_journal_refused_is_new_when_it_comes_again() {
    const STOP: &str = r#"{"transactionId":7,"meterStop":9,"timestamp":"2026-01-02T03:04:05Z"}"#;
    let mut charger = connect(Version::V16);
    let first = charger
        .sends(&call("1", "StartTransaction", START))
        .to_vec();
    charger.sends(&call("2", "StopTransaction", STOP));
    let records = charger.all_records();
    let refused = records[records.len() - 1].encode();
    let count = records.len();
    charger.station.handle_refused(&refused);

    let again = charger
        .sends(&call("3", "StartTransaction", START))
        .to_vec();
    assert_eq!(transaction_id(&again[0]), transaction_id(&first[0]));
    assert_eq!(charger.all_records().len(), count, "the start is known");
    charger.sends(&call("4", "StopTransaction", STOP));
    let records = charger.all_records();
    assert_eq!(records.len(), count + 1, "the stop is new");
    assert_eq!(records[count].action, "StopTransaction");
}
