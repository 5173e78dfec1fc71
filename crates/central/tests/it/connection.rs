//! One connection in virtual time: what is answered and when, and what is recorded by then.

use crate::common::{START, at, call, connect, profile, setup, token};
use central::ports::{Registration, TokenStatus};
use central::record::Notes;
use central::station::{CloseReason, Fact, Output, Ticket, TokenAnswer};
use central::{AnswerKind, RecordKind};
use ocpp::Version;

#[test]
fn the_first_record_is_the_connection_and_the_last_its_end() {
    let mut charger = connect(Version::V201);
    charger.disconnects(CloseReason::PingTimeout);
    charger.disconnects(CloseReason::Shutdown);
    let records = charger.all_records();
    assert_eq!(records.len(), 2, "the end is recorded once");
    assert_eq!(records[0].kind, RecordKind::Connected);
    assert_eq!(at(records[0].payload, "/remote"), "127.0.0.1:50000");
    assert_eq!(at(records[0].payload, "/subprotocol"), "ocpp2.0.1");
    assert_eq!(records[1].kind, RecordKind::Disconnected);
    assert_eq!(records[1].reason, "no pong in time");
}

#[test]
fn no_answer_leaves_before_its_record_is_durable() {
    let mut charger = connect(Version::V16);
    charger.disk_works = false;
    assert!(charger.sends(&call("1", "Heartbeat", "{}")).is_empty());
    assert_eq!(charger.records().len(), 1);
    let received = charger.disk_syncs();
    assert_eq!(
        received,
        [r#"[3,"1",{"currentTime":"2026-01-01T00:00:00.000Z"}]"#]
    );
}

#[test]
fn answers_leave_in_the_order_of_their_calls() {
    let mut charger = connect(Version::V16);
    charger.disk_works = false;
    for id in ["1", "2", "3"] {
        let status = r#"{"connectorId":1,"errorCode":"NoError","status":"Available"}"#;
        charger.sends(&call(id, "StatusNotification", status));
    }
    // Tickets 2, 3, 4: the first is the connection's.
    charger.station.handle_durable(Ticket(3), charger.now);
    charger.settle();
    assert_eq!(charger.received, [r#"[3,"1",{}]"#, r#"[3,"2",{}]"#]);
    // Tickets that are durable already, or were never given out, change nothing.
    charger.station.handle_durable(Ticket(1), charger.now);
    charger.station.handle_durable(Ticket(99), charger.now);
    charger.settle();
    assert_eq!(charger.received.len(), 3);
}

#[test]
fn a_heartbeat_without_a_record_is_answered_in_order() {
    let mut setup = setup(Version::V16);
    setup.policy.record_heartbeats = false;
    let mut charger = setup.connect();
    charger.disk_works = false;
    assert_eq!(
        charger.sends(&call("1", "Heartbeat", "{}")).len(),
        1,
        "at once"
    );
    charger.sends(&call("2", "StartTransaction", START));
    assert!(charger.sends(&call("3", "Heartbeat", "{}")).is_empty());
    let received = charger.disk_syncs();
    assert!(received[0].starts_with(r#"[3,"2","#), "{received:?}");
    assert!(received[1].starts_with(r#"[3,"3","#), "{received:?}");
    assert_eq!(charger.records().len(), 1);
}

#[test]
fn no_frames_are_read_while_too_many_records_wait_for_the_disk() {
    let mut setup = setup(Version::V21);
    setup.policy.unanswered_max = 4;
    let mut charger = setup.connect();
    charger.disk_works = false;
    for id in 0..4 {
        assert!(charger.station.wants_frame(), "{id}");
        charger.sends(&call(&id.to_string(), "Heartbeat", "{}"));
    }
    assert!(!charger.station.wants_frame());
    charger.disk_syncs();
    assert!(charger.station.wants_frame());
    // Messages without an answer count too.
    for id in 0..4 {
        assert!(charger.station.wants_frame(), "{id}");
        charger.sends(r#"[6,"s","NotifyPeriodicEventStream",{"id":1,"pending":0,"basetime":"2026-01-01T00:00:00Z","data":[{"t":0,"v":"1"}]}]"#);
    }
    assert!(!charger.station.wants_frame());
}

#[test]
fn no_frames_are_read_while_a_question_is_open_and_its_answer_is_recorded() {
    let mut charger = connect(Version::V16);
    charger.directory_works = false;
    assert!(
        charger
            .sends(&call("1", "StartTransaction", START))
            .is_empty()
    );
    assert!(!charger.station.wants_frame());
    assert!(charger.records().is_empty(), "nothing is recorded yet");
    let received = charger.directory_answers(token("04A1", TokenStatus::Accepted));
    assert_eq!(at(&received[0], "/2/idTagInfo/status"), "Accepted");
    assert!(charger.station.wants_frame());
    assert_eq!(charger.records()[0].notes, Notes::default());
}

#[test]
fn the_policy_decides_a_question_without_an_answer_in_time() {
    let mut charger = connect(Version::V16);
    charger.directory_works = false;
    charger.sends(&call("1", "Authorize", r#"{"idTag":"04A1"}"#));
    let deadline = charger.station.poll_timeout().expect("a deadline");
    charger.wait_ms(deadline.0 - charger.now.0 - 1);
    assert!(charger.received.is_empty());
    charger.wait_ms(1);
    assert_eq!(
        charger.received,
        [r#"[3,"1",{"idTagInfo":{"status":"Accepted"}}]"#]
    );
    assert!(charger.last_notes().has(Notes::TOKEN_UNVERIFIED));
    // Answers of the directory after that are ignored.
    charger.directory_answers(TokenAnswer::Unknown);
    let stray = Fact::Token {
        question_id: 7,
        answer: TokenAnswer::Unknown,
    };
    charger.station.handle_fact(stray, charger.now);
    charger.settle();
    assert_eq!(charger.received.len(), 1);
    assert_eq!(charger.station.poll_timeout(), None);
}

#[test]
fn a_frame_during_an_open_question_is_answered_after_it() {
    let mut charger = connect(Version::V16);
    charger.directory_works = false;
    charger.sends(&call("1", "Authorize", r#"{"idTag":"04A1"}"#));
    let received = charger.sends(&call("2", "Heartbeat", "{}"));
    assert_eq!(received.len(), 2);
    assert!(received[0].starts_with(r#"[3,"1","#) && received[1].starts_with(r#"[3,"2","#));
}

#[test]
fn a_connection_that_ends_during_an_open_question_drops_the_call() {
    let mut charger = connect(Version::V16);
    charger.directory_works = false;
    charger.sends(&call("1", "StartTransaction", START));
    charger.disconnects(CloseReason::ByCharger(Some(1001)));
    assert!(charger.records().is_empty() && charger.received.is_empty());
    let memory = charger.station.into_memory();
    assert!(memory.is_empty());
}

#[test]
fn nothing_is_answered_after_the_end_of_the_connection() {
    let mut charger = connect(Version::V16);
    charger.disk_works = false;
    charger.sends(&call("1", "StartTransaction", START));
    charger.disconnects(CloseReason::Replaced);
    charger.disk_syncs();
    assert!(charger.sends(&call("2", "Heartbeat", "{}")).is_empty());
    assert!(charger.received.is_empty());
    assert!(!charger.station.wants_frame());
    let kinds: Vec<_> = charger
        .all_records()
        .iter()
        .map(|record| record.kind)
        .collect();
    assert_eq!(
        kinds,
        [
            RecordKind::Connected,
            RecordKind::Call,
            RecordKind::Disconnected
        ]
    );
}

#[test]
fn only_records_are_output_after_the_end_of_the_connection() {
    let mut charger = connect(Version::V16);
    charger
        .station
        .handle_text(&call("1", "Heartbeat", "{}"), charger.now);
    charger.station.handle_durable(Ticket(2), charger.now);
    charger
        .station
        .handle_closed(CloseReason::Shutdown, charger.now);
    let mut appended = 0;
    while let Some(output) = charger.station.poll_output() {
        assert!(matches!(output, Output::Append { .. }), "{output:?}");
        appended += 1;
    }
    assert_eq!(appended, 2);
}

#[test]
fn unsolicited_replies_are_recorded_and_noted() {
    let mut charger = connect(Version::V21);
    assert!(charger.sends(r#"[3,"x",{"status":"Accepted"}]"#).is_empty());
    assert!(
        charger
            .sends(r#"[4,"y","GenericError","so \"so\"",{}]"#)
            .is_empty()
    );
    assert!(
        charger
            .sends(r#"[5,"z","FormatViolation","",{}]"#)
            .is_empty()
    );
    let records = charger.records();
    assert_eq!(records[0].kind, RecordKind::CallResult);
    assert_eq!(records[0].message_id, "x");
    assert!(records[0].notes.has(Notes::UNSOLICITED));
    assert_eq!(records[1].kind, RecordKind::CallError);
    assert_eq!(records[1].payload, r#"["GenericError","so \"so\"",{}]"#);
    assert_eq!(records[2].kind, RecordKind::CallResultError);
    assert_eq!(records[2].notes, Notes::default());
}

#[test]
fn a_send_is_recorded_and_never_answered() {
    let mut charger = connect(Version::V21);
    assert!(
        charger
            .sends(r#"[6,"1","NotifyPeriodicEventStream",{}]"#)
            .is_empty()
    );
    assert!(charger.sends(r#"[6,"2","Teleport",{}]"#).is_empty());
    let records = charger.records();
    assert_eq!(records.len(), 2);
    assert_eq!(records[0].answer_kind, AnswerKind::None);
    assert!(records[0].notes.has(Notes::QUARANTINED));
    assert!(records[1].notes.has(Notes::TOLERATED));
}

#[test]
fn a_pending_charger_can_be_accepted() {
    let mut setup = setup(Version::V201);
    setup.profile = Some(profile(Registration::Pending));
    let mut charger = setup.connect();
    assert_eq!(charger.fails("1", "Heartbeat", "{}"), "SecurityError");
    let accepted = profile(Registration::Accepted);
    charger.station.handle_profile(Some(accepted.into()));
    let boot = charger.succeeds("2", "BootNotification", "{}");
    assert_eq!(at(&boot, "/status"), "Accepted");
    assert_eq!(at(&boot, "/interval"), 300);
}

#[test]
fn an_idle_charger_takes_little_memory() {
    let mut charger = connect(Version::V16);
    charger.succeeds(
        "1",
        "BootNotification",
        r#"{"chargePointVendor":"V","chargePointModel":"M"}"#,
    );
    charger.succeeds("2", "Heartbeat", "{}");
    assert_eq!(charger.station.poll_output(), None);
    let size = size_of_val(&charger.station);
    assert!(size <= 700, "{size} bytes");
    assert_eq!(charger.station.into_memory().heap_bytes(), 0);
}
