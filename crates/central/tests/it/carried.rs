//! A station that another process goes on with behaves as if it had stayed.

use crate::commands::{command, gives, reply};
use crate::common::{TestCharger, call, connect, setup};
use central::RecordKind;
use central::record::Notes;
use central::resend::ResendMemory;
use central::station::CarriedStation;
use ocpp::Version;

const START: &str =
    r#"{"connectorId":1,"idTag":"A","meterStart":0,"timestamp":"2026-01-01T00:00:00Z"}"#;

fn moves(charger: TestCharger) -> TestCharger {
    charger.moves(|_| {})
}

#[test]
fn resends_get_their_first_answer_and_no_new_record_also_after_a_move() {
    let mut charger = connect(Version::V16);
    let start = call("1", "StartTransaction", START);
    let first = charger.calls(&start);
    let status = call(
        "2",
        "StatusNotification",
        r#"{"connectorId":1,"errorCode":"NoError","status":"Available"}"#,
    );
    let stored = charger.calls(&status);
    let records = charger.journal.len();
    let mut charger = moves(moves(charger));
    assert_eq!(charger.calls(&status), stored, "the last call, by its id");
    assert_eq!(charger.calls(&start), first, "by its content");
    assert_eq!(charger.journal.len(), records);
    charger.succeeds("3", "Heartbeat", "{}");
    assert_eq!(charger.journal.len(), records + 1);
}

#[test]
fn a_build_with_other_hashes_takes_the_memory_of_the_journal_instead() {
    let mut charger = connect(Version::V16);
    let start = call("1", "StartTransaction", START);
    charger.calls(&start);
    let records = charger.journal.len();
    let mut charger = charger.moves(|json| json["hash_of_build"] = 1.into());
    charger.calls(&start);
    // The test's journal memory is empty, so the same message is a new record.
    assert_eq!(charger.journal.len(), records + 1);
}

#[test]
fn the_next_connection_gets_the_memory_of_one_that_does_not_go_on() {
    for (hashes_differ, further_records) in [(false, 0), (true, 1)] {
        let mut charger = connect(Version::V16);
        let start = call("1", "StartTransaction", START);
        let first = charger.calls(&start);
        let carried = charger.station.into_carried().expect("nothing waits");
        let mut json = serde_json::to_value(&carried).expect("JSON");
        if hashes_differ {
            json["hash_of_build"] = 1.into();
        }
        let carried: CarriedStation = serde_json::from_str(&json.to_string()).expect("reads");
        let mut setup = setup(Version::V16);
        setup.epoch = 2;
        // The journal says nothing in this test.
        setup.memory = carried.into_memory(ResendMemory::default());
        let mut charger = setup.connect();
        let records = charger.journal.len();
        let again = charger.calls(&start);
        assert_eq!(charger.journal.len(), records + further_records);
        assert!(hashes_differ || again == first, "{again:?}");
    }
}

#[test]
fn a_reply_to_a_command_that_was_sent_before_the_move_is_its_reply() {
    let mut charger = connect(Version::V201);
    gives(
        &mut charger,
        &command(7, "Reset", r#"{"type":"Immediate"}"#),
    )
    .unwrap();
    let mut charger = moves(charger);
    assert!(!charger.station.wants_command());
    charger.sends(&reply(7, r#"{"status":"Accepted"}"#));
    let records = charger.records();
    let last = records.last().unwrap();
    assert_eq!((last.kind, last.action), (RecordKind::CallResult, "Reset"));
    assert_eq!(last.notes, Notes::default());
    assert!(charger.station.wants_command());
}

#[test]
fn a_command_whose_reply_does_not_come_is_unanswered_at_the_same_time_as_without_a_move() {
    let mut charger = connect(Version::V16);
    gives(&mut charger, &command(7, "Reset", r#"{"type":"Soft"}"#)).unwrap();
    let due = charger.station.poll_timeout();
    charger.wait_ms(29_000);
    let mut charger = moves(charger);
    assert_eq!(charger.station.poll_timeout(), due);
    charger.wait_ms(1_000);
    assert_eq!(
        charger.records().last().unwrap().kind,
        RecordKind::CallUnanswered
    );
    // A late reply still belongs to it, after another move too.
    let mut charger = moves(charger);
    charger.sends(&reply(7, r#"{"status":"Accepted"}"#));
    assert!(!charger.last_notes().has(Notes::UNSOLICITED));
}

#[test]
fn a_station_moves_only_between_two_messages() {
    let mut setup = setup(Version::V16);
    setup.disk_works = false;
    let mut charger = setup.connect();
    assert!(!charger.station.is_between_messages(), "its first record");
    charger.disk_syncs();
    assert!(charger.station.is_between_messages());
    charger.sends(&call("1", "Heartbeat", "{}"));
    assert!(!charger.station.is_between_messages());
    assert!(charger.station.into_carried().is_none());
}

#[test]
fn an_action_that_this_build_does_not_have_is_an_error_and_no_guess() {
    let mut charger = connect(Version::V16);
    gives(&mut charger, &command(7, "Reset", r#"{"type":"Soft"}"#)).unwrap();
    let carried = charger.station.into_carried().expect("nothing waits");
    let json = serde_json::to_string(&carried).expect("JSON");
    let changed = json.replace("Reset", "Rest");
    assert_ne!(json, changed);
    let read = serde_json::from_str::<CarriedStation>(&changed);
    assert!(read.unwrap_err().to_string().contains("Rest"));
}
