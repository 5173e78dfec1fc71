//! Station and charger in virtual time: who hears what, when, and what is on record by then.

use crate::common::{START, at, connect, event, number, profile, setup, token};
use central::ports::{Registration, TokenStatus};
use central::record::Notes;
use central::resend::ResendMemory;
use central::station::{CloseReason, Fact, Output, Ticket, TokenAnswer};
use central::{AnswerKind, Record, RecordKind};
use ocpp::Version;

fn call(id: &str, action: &str, payload: &str) -> String {
    format!(r#"[2,"{id}","{action}",{payload}]"#)
}

fn transaction_id(answer: &str) -> i64 {
    let is_frame = answer.starts_with('[');
    let pointer = if is_frame {
        "/2/transactionId"
    } else {
        "/transactionId"
    };
    number(answer, pointer)
}

#[test]
fn the_first_record_is_the_connection_and_the_last_its_end() {
    let mut line = connect(Version::V201);
    line.closes(CloseReason::PingTimeout);
    line.closes(CloseReason::Shutdown);
    let records = line.all_records();
    assert_eq!(records.len(), 2, "the end is told once");
    assert_eq!(records[0].kind, RecordKind::Connected);
    assert_eq!(at(records[0].payload, "/remote"), "127.0.0.1:50000");
    assert_eq!(at(records[0].payload, "/subprotocol"), "ocpp2.0.1");
    assert_eq!(records[1].kind, RecordKind::Disconnected);
    assert_eq!(records[1].reason, "no pong in time");
}

#[test]
fn no_answer_leaves_before_its_record_is_durable() {
    let mut line = connect(Version::V16);
    line.disk_works = false;
    assert!(line.sends(&call("1", "Heartbeat", "{}")).is_empty());
    assert_eq!(line.records().len(), 1);
    let heard = line.disk_catches_up();
    assert_eq!(
        heard,
        [r#"[3,"1",{"currentTime":"2026-01-01T00:00:00.000Z"}]"#]
    );
}

#[test]
fn answers_leave_in_the_order_of_their_calls() {
    let mut line = connect(Version::V16);
    line.disk_works = false;
    for id in ["1", "2", "3"] {
        let status = r#"{"connectorId":1,"errorCode":"NoError","status":"Available"}"#;
        line.sends(&call(id, "StatusNotification", status));
    }
    // Tickets 2, 3, 4: the first is the connection's.
    line.station.handle_durable(Ticket(3), line.now);
    line.settle();
    assert_eq!(line.heard, [r#"[3,"1",{}]"#, r#"[3,"2",{}]"#]);
    // Late or repeated news of old tickets change nothing; news of tickets never given out neither.
    line.station.handle_durable(Ticket(1), line.now);
    line.station.handle_durable(Ticket(99), line.now);
    line.settle();
    assert_eq!(line.heard.len(), 3);
}

#[test]
fn a_heartbeat_without_a_record_still_keeps_its_place() {
    let mut setup = setup(Version::V16);
    setup.policy.record_heartbeats = false;
    let mut line = setup.connect();
    line.disk_works = false;
    assert_eq!(
        line.sends(&call("1", "Heartbeat", "{}")).len(),
        1,
        "at once"
    );
    line.sends(&call("2", "StartTransaction", START));
    assert!(line.sends(&call("3", "Heartbeat", "{}")).is_empty());
    let heard = line.disk_catches_up();
    assert!(heard[0].starts_with(r#"[3,"2","#), "{heard:?}");
    assert!(heard[1].starts_with(r#"[3,"3","#), "{heard:?}");
    assert_eq!(line.records().len(), 1);
}

#[test]
fn frames_are_not_wanted_while_too_much_waits_for_the_disk() {
    let mut setup = setup(Version::V21);
    setup.policy.unanswered_max = 4;
    let mut line = setup.connect();
    line.disk_works = false;
    for id in 0..4 {
        assert!(line.station.wants_frame(), "{id}");
        line.sends(&call(&id.to_string(), "Heartbeat", "{}"));
    }
    assert!(!line.station.wants_frame());
    line.disk_catches_up();
    assert!(line.station.wants_frame());
    // What is never answered counts too.
    for id in 0..4 {
        assert!(line.station.wants_frame(), "{id}");
        line.sends(r#"[6,"s","NotifyPeriodicEventStream",{"id":1,"pending":0,"basetime":"2026-01-01T00:00:00Z","data":[{"t":0,"v":"1"}]}]"#);
    }
    assert!(!line.station.wants_frame());
}

#[test]
fn a_question_holds_the_line_and_its_answer_is_recorded() {
    let mut line = connect(Version::V16);
    line.directory_works = false;
    assert!(line.sends(&call("1", "StartTransaction", START)).is_empty());
    assert!(!line.station.wants_frame());
    assert!(line.records().is_empty(), "nothing is decided yet");
    let heard = line.directory_says(token("04A1", TokenStatus::Accepted));
    assert_eq!(at(&heard[0], "/2/idTagInfo/status"), "Accepted");
    assert!(line.station.wants_frame());
    assert_eq!(line.records()[0].notes, Notes::default());
}

#[test]
fn a_question_that_nobody_answers_is_decided_by_the_policy_in_time() {
    let mut line = connect(Version::V16);
    line.directory_works = false;
    line.sends(&call("1", "Authorize", r#"{"idTag":"04A1"}"#));
    let deadline = line.station.poll_timeout().expect("a deadline");
    line.passes_ms(deadline.0 - line.now.0 - 1);
    assert!(line.heard.is_empty());
    line.passes_ms(1);
    assert_eq!(
        line.heard,
        [r#"[3,"1",{"idTagInfo":{"status":"Accepted"}}]"#]
    );
    assert!(line.last_notes().has(Notes::TOKEN_UNVERIFIED));
    // The directory's answer comes too late, and once more.
    line.directory_says(TokenAnswer::Unknown);
    let stray = Fact::Token {
        question_id: 7,
        answer: TokenAnswer::Unknown,
    };
    line.station.handle_fact(stray, line.now);
    line.settle();
    assert_eq!(line.heard.len(), 1);
    assert_eq!(line.station.poll_timeout(), None);
}

#[test]
fn a_frame_that_comes_during_a_question_does_not_overtake_it() {
    let mut line = connect(Version::V16);
    line.directory_works = false;
    line.sends(&call("1", "Authorize", r#"{"idTag":"04A1"}"#));
    let heard = line.sends(&call("2", "Heartbeat", "{}"));
    assert_eq!(heard.len(), 2);
    assert!(heard[0].starts_with(r#"[3,"1","#) && heard[1].starts_with(r#"[3,"2","#));
}

#[test]
fn a_line_that_closes_during_a_question_leaves_the_call_to_the_charger() {
    let mut line = connect(Version::V16);
    line.directory_works = false;
    line.sends(&call("1", "StartTransaction", START));
    line.closes(CloseReason::ByCharger(Some(1001)));
    assert!(line.records().is_empty() && line.heard.is_empty());
    let memory = line.station.into_memory();
    assert!(memory.is_empty());
}

#[test]
fn nothing_is_answered_after_the_end() {
    let mut line = connect(Version::V16);
    line.disk_works = false;
    line.sends(&call("1", "StartTransaction", START));
    line.closes(CloseReason::Replaced);
    line.disk_catches_up();
    assert!(line.sends(&call("2", "Heartbeat", "{}")).is_empty());
    assert!(line.heard.is_empty());
    assert!(!line.station.wants_frame());
    let kinds: Vec<_> = line
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
fn outputs_that_were_not_yet_done_at_the_end_are_records_only() {
    let mut line = connect(Version::V16);
    line.station
        .handle_text(&call("1", "Heartbeat", "{}"), line.now);
    line.station.handle_durable(Ticket(2), line.now);
    line.station.handle_closed(CloseReason::Shutdown, line.now);
    let mut appended = 0;
    while let Some(output) = line.station.poll_output() {
        assert!(matches!(output, Output::Append { .. }), "{output:?}");
        appended += 1;
    }
    assert_eq!(appended, 2);
}

// Resends (ocpp-rules 2.3, 9).

#[test]
fn a_start_sent_again_with_the_same_or_a_new_id_gets_the_same_answer_and_no_record() {
    let mut line = connect(Version::V16);
    let first = line.succeeds("1", "StartTransaction", START);
    line.tokens
        .insert("04a1".into(), token("04A1", TokenStatus::Blocked));
    assert_eq!(line.succeeds("1", "StartTransaction", START), first);
    assert_eq!(line.succeeds("99", "StartTransaction", START), first);
    assert_eq!(line.records().len(), 1);
}

#[test]
fn a_start_sent_again_while_the_first_is_in_flight_waits_for_the_same_record() {
    let mut line = connect(Version::V16);
    line.disk_works = false;
    line.sends(&call("1", "StartTransaction", START));
    assert!(line.sends(&call("2", "StartTransaction", START)).is_empty());
    assert_eq!(line.records().len(), 1);
    let heard = line.disk_catches_up();
    assert_eq!(heard.len(), 2, "one answer per frame");
    assert_eq!(transaction_id(&heard[0]), transaction_id(&heard[1]));
}

#[test]
fn a_start_sent_again_after_a_reconnect_gets_the_same_answer() {
    let mut line = connect(Version::V16);
    let first = line.succeeds("1", "StartTransaction", START);
    line.closes(CloseReason::Broken("reset".into()));
    let mut setup = setup(Version::V16);
    setup.memory = line.station.into_memory();
    let mut line = setup.connect();
    assert_eq!(line.succeeds("2", "StartTransaction", START), first);
    assert!(line.records().is_empty());
}

#[test]
fn a_start_in_flight_when_the_line_broke_is_answered_only_behind_its_record() {
    let mut line = connect(Version::V16);
    line.disk_works = false;
    line.sends(&call("1", "StartTransaction", START));
    line.closes(CloseReason::Broken("reset".into()));
    assert!(line.heard.is_empty());
    let mut setup = setup(Version::V16);
    setup.memory = line.station.into_memory();
    setup.disk_works = false;
    let mut line = setup.connect();
    // The new line's own first record lies behind the start's in the journal.
    assert!(line.sends(&call("2", "StartTransaction", START)).is_empty());
    let heard = line.disk_catches_up();
    assert!(transaction_id(&heard[0]) > 0);
    assert!(line.records().is_empty(), "it was recorded on the old line");
}

#[test]
fn a_start_sent_again_after_a_restart_gets_the_same_answer() {
    let mut line = connect(Version::V16);
    line.tokens
        .insert("04a1".into(), token("04A1", TokenStatus::Blocked));
    let first = line.succeeds("1", "StartTransaction", START);
    line.sends("not a frame");
    line.closes(CloseReason::Shutdown);
    let mut memory = ResendMemory::default();
    for bytes in &line.journal {
        memory.learn(&Record::decode(bytes).expect("a record"));
    }
    let mut setup = setup(Version::V16);
    setup.memory = memory;
    let mut line = setup.connect();
    // The directory has changed its mind meanwhile; the first answer stands.
    assert_eq!(line.succeeds("2", "StartTransaction", START), first);
    assert!(line.records().is_empty());
}

#[test]
fn a_start_sent_to_a_gateway_that_never_heard_of_it_gets_the_same_id() {
    let first = connect(Version::V16).succeeds("1", "StartTransaction", START);
    let second = connect(Version::V16).succeeds("2", "StartTransaction", START);
    assert_eq!(transaction_id(&first), transaction_id(&second));
}

#[test]
fn the_same_start_with_other_trimmings_keeps_its_answer_and_is_kept_as_evidence() {
    let mut line = connect(Version::V16);
    let first = line.succeeds("1", "StartTransaction", START);
    let other = START.replacen('{', r#"{"reservationId":7,"#, 1);
    assert_eq!(line.succeeds("2", "StartTransaction", &other), first);
    let records = line.records();
    assert_eq!(records.len(), 2);
    assert!(records[1].notes.has(Notes::CONFLICT));
    assert_eq!(line.succeeds("3", "StartTransaction", &other), first);
    assert_eq!(line.records().len(), 2, "the evidence is kept once");
}

#[test]
fn a_stop_with_other_content_is_answered_and_kept_as_evidence() {
    let mut line = connect(Version::V16);
    let stop = |meter: u32| {
        format!(r#"{{"transactionId":7,"timestamp":"2026-01-01T00:00:00Z","meterStop":{meter}}}"#)
    };
    assert_eq!(line.succeeds("1", "StopTransaction", &stop(9)), "{}");
    assert_eq!(line.succeeds("2", "StopTransaction", &stop(9)), "{}");
    assert_eq!(line.succeeds("3", "StopTransaction", &stop(8)), "{}");
    let notes: Vec<_> = line.records().iter().map(|record| record.notes).collect();
    assert_eq!(notes, [Notes::default(), Notes::CONFLICT]);
}

#[test]
fn an_event_sent_again_keeps_its_verdict_and_one_that_says_more_gets_its_own() {
    let mut line = connect(Version::V201);
    let card = |id: &str| format!(r#","idToken":{{"idToken":"{id}","type":"ISO14443"}}"#);
    line.tokens
        .insert("b".into(), token("B", TokenStatus::Blocked));
    let started = event("Started", 0, &card("A"));
    let first = line.succeeds("1", "TransactionEvent", &started);
    line.tokens
        .insert("a".into(), token("A", TokenStatus::Blocked));
    assert_eq!(line.succeeds("2", "TransactionEvent", &started), first);
    assert_eq!(line.records().len(), 1);
    let other = event("Started", 0, &card("B"));
    let answer = line.succeeds("3", "TransactionEvent", &other);
    assert_eq!(at(&answer, "/idTokenInfo/status"), "Blocked");
    assert!(line.last_notes().has(Notes::CONFLICT));
    // Another number is another event.
    line.succeeds("4", "TransactionEvent", &event("Updated", 1, ""));
    assert_eq!(line.last_notes(), Notes::default());
}

#[test]
fn other_messages_are_repeats_only_by_id_and_content_and_for_a_while() {
    let mut line = connect(Version::V16);
    let status =
        |status: &str| format!(r#"{{"connectorId":1,"errorCode":"NoError","status":"{status}"}}"#);
    line.succeeds("1", "StatusNotification", &status("Available"));
    line.succeeds("1", "StatusNotification", &status("Available"));
    assert_eq!(line.records().len(), 1);
    line.succeeds("1", "StatusNotification", &status("Charging"));
    line.succeeds("2", "StatusNotification", &status("Charging"));
    assert_eq!(line.records().len(), 3);
    line.passes_ms(60_000);
    line.succeeds("2", "StatusNotification", &status("Charging"));
    assert_eq!(line.records().len(), 4);
}

#[test]
fn nothing_is_a_repeat_but_the_call_just_before() {
    let status =
        |status: &str| format!(r#"{{"connectorId":1,"errorCode":"NoError","status":"{status}"}}"#);
    let data = r#"{"vendorId":"V"}"#;
    // Each of these lies between; some are no record themselves.
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
        let mut line = setup.connect();
        line.succeeds("0", "StartTransaction", START);
        line.succeeds("1", "StatusNotification", &status("Available"));
        line.asks(&format!(r#"[2,"2","{action}",{payload}]"#));
        let before = line.records().len();
        line.succeeds("1", "StatusNotification", &status("Available"));
        assert_eq!(line.records().len(), before + 1, "after {action} {payload}");
    }
}

#[test]
fn an_id_that_is_always_the_same_makes_no_message_a_repeat() {
    let mut line = connect(Version::V16);
    let status =
        |status: &str| format!(r#"{{"connectorId":1,"errorCode":"NoError","status":"{status}"}}"#);
    let said = ["Available", "Preparing", "Available", "Available"];
    for word in said {
        line.succeeds("1", "StatusNotification", &status(word));
    }
    let told: Vec<_> = line
        .records()
        .iter()
        .map(|record| record.payload.to_owned())
        .collect();
    assert_eq!(told, said.map(status));
}

#[test]
fn an_answer_that_tells_the_time_is_never_repeated() {
    let mut line = connect(Version::V16);
    let first = line.succeeds("1", "Heartbeat", "{}");
    line.passes_ms(1_000);
    let second = line.succeeds("1", "Heartbeat", "{}");
    assert_ne!(first, second);
    assert_eq!(line.records().len(), 2);
}

#[test]
fn security_events_are_known_again_under_a_new_id() {
    let mut line = connect(Version::V201);
    let payload = r#"{"type":"TamperDetectionActivated","timestamp":"2026-01-01T00:00:00Z"}"#;
    line.succeeds("1", "SecurityEventNotification", payload);
    line.succeeds("2", "SecurityEventNotification", payload);
    assert_eq!(line.records().len(), 1);
}

// Broken input.

#[test]
fn a_broken_transaction_message_is_answered_with_success_and_kept() {
    let mut line = connect(Version::V16);
    let heard = line.asks(r#"[2,"1","StartTransaction",{"connectorId":1,"idTag":"04A1",,}]"#);
    assert!(transaction_id(&heard) > 0);
    let heard = line.asks(r#"[2,"2","MeterValues",{"connectorId":"#);
    assert_eq!(heard, r#"[3,"2",{}]"#);
    let heard = line.asks(r#"[2,"3","StopTransaction",[]]"#);
    assert_eq!(heard, r#"[3,"3",{}]"#);
    for record in line.records() {
        assert!(record.notes.has(Notes::QUARANTINED));
        assert_eq!(record.answer_kind, AnswerKind::Result);
        assert!(!record.reason.is_empty());
    }
    assert_eq!(line.records()[1].payload, r#"{"connectorId":"#);
    // And a repeat of it is a repeat.
    line.asks(r#"[2,"4","MeterValues",{"connectorId":"#);
    assert_eq!(line.records().len(), 3);
}

#[test]
fn a_broken_event_with_a_token_still_gets_its_verdict() {
    let mut line = connect(Version::V21);
    line.tokens
        .insert("b".into(), token("B", TokenStatus::Blocked));
    let text = r#"[2,"1","TransactionEvent",{"idToken":{"idToken":"B","type":"ISO14443"},"seqNo":"#;
    let heard = line.asks(text);
    assert_eq!(at(&heard, "/2/idTokenInfo/status"), "Blocked");
}

#[test]
fn frames_that_cannot_be_read_are_kept_and_answered_as_each_version_wants() {
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
        let mut line = connect(version);
        let heard = line.sends(text);
        match answered {
            None => assert!(heard.is_empty(), "{version} {text}: {heard:?}"),
            Some((id, code)) => {
                assert_eq!(
                    crate::common::error_code(&heard[0], id),
                    code,
                    "{version} {text}"
                );
            }
        }
        let records = line.records();
        assert_eq!(records[0].kind, RecordKind::Unreadable);
        assert_eq!(records[0].payload, text);
    }
}

#[test]
fn unreadable_frames_cannot_fill_the_journal() {
    let mut line = connect(Version::V16);
    let big = format!("[{}", "x".repeat(1024 * 1024));
    line.sends(&big);
    let kept = line.records()[0].payload.len();
    assert_eq!(kept, 64 * 1024);
    assert!(
        line.records()[0]
            .reason
            .contains("cut, it had 1048577 bytes")
    );
    for _ in 0..200 {
        line.sends("no frame");
    }
    assert_eq!(
        line.records().len(),
        60,
        "as many as the policy allows a minute"
    );
    line.passes_ms(60_000);
    line.sends("no frame");
    assert_eq!(line.records().len(), 61);
    line.closes(CloseReason::ByCharger(None));
    let records = line.all_records();
    let end = records.last().expect("the end");
    assert_eq!(
        end.reason,
        "closed by the charger; 141 frames were not recorded"
    );
}

#[test]
fn a_connection_with_only_unreadable_frames_is_closed() {
    let mut line = connect(Version::V201);
    for _ in 0..999 {
        line.sends("no frame");
    }
    line.sends(&call("1", "Heartbeat", "{}"));
    for _ in 0..999 {
        line.sends("no frame");
    }
    assert_eq!(line.closed, None);
    line.sends("no frame");
    assert_eq!(line.closed, Some(CloseReason::Unreadable));
    assert!(!line.station.wants_frame());
    assert!(line.sends(&call("2", "Heartbeat", "{}")).is_empty());
}

#[test]
fn bytes_that_are_no_text_are_kept_as_base64() {
    let mut line = connect(Version::V16);
    line.station.handle_binary(&[0xff, 0xfe, 0x00], line.now);
    line.settle();
    let records = line.records();
    assert_eq!(records[0].payload, "//4A");
    assert!(records[0].notes.has(Notes::BASE64));
}

#[test]
fn a_transaction_message_in_another_encoding_is_kept_and_answered_with_success() {
    // An idTag in Latin-1: no UTF-8, but plainly a start.
    let text = call(
        "1",
        "StartTransaction",
        &START.replace("04A1", "J\u{fc}rgen"),
    );
    let latin_1: Vec<u8> = text
        .chars()
        .map(|c| u8::try_from(c).unwrap_or(b'?'))
        .collect();
    let mut line = connect(Version::V16);
    line.station.handle_binary(&latin_1, line.now);
    line.settle();
    assert!(transaction_id(&line.heard[0]) > 0);
    line.station.handle_binary(&latin_1, line.now);
    line.settle();
    assert_eq!(
        transaction_id(&line.heard[0]),
        transaction_id(&line.heard[1])
    );
    let records = line.records();
    let kinds: Vec<_> = records.iter().map(|record| record.kind).collect();
    // The bytes as they came, the message as it was understood; the repeat is evidence only.
    let (raw, call) = (RecordKind::Unreadable, RecordKind::Call);
    assert_eq!(kinds, [raw, call, raw]);
    assert!(records[1].notes.has(Notes::QUARANTINED));

    // What is no transaction's is refused under its own id.
    let mut line = connect(Version::V16);
    let status = [
        br#"[2,"7","StatusNotification",{"info":""#.as_slice(),
        b"\xfc\"}]",
    ]
    .concat();
    line.station.handle_binary(&status, line.now);
    line.settle();
    assert_eq!(
        crate::common::error_code(&line.heard[0], "7"),
        "FormationViolation"
    );
}

#[test]
fn answers_to_questions_that_nobody_asked_are_kept_and_marked() {
    let mut line = connect(Version::V21);
    assert!(line.sends(r#"[3,"x",{"status":"Accepted"}]"#).is_empty());
    assert!(
        line.sends(r#"[4,"y","GenericError","so \"so\"",{}]"#)
            .is_empty()
    );
    assert!(line.sends(r#"[5,"z","FormatViolation","",{}]"#).is_empty());
    let records = line.records();
    assert_eq!(records[0].kind, RecordKind::CallResult);
    assert_eq!(records[0].message_id, "x");
    assert!(records[0].notes.has(Notes::UNSOLICITED));
    assert_eq!(records[1].kind, RecordKind::CallError);
    assert_eq!(records[1].payload, r#"["GenericError","so \"so\"",{}]"#);
    assert_eq!(records[2].kind, RecordKind::CallResultError);
    assert_eq!(records[2].notes, Notes::default());
}

#[test]
fn a_send_is_recorded_and_never_answered_whatever_it_says() {
    let mut line = connect(Version::V21);
    assert!(
        line.sends(r#"[6,"1","NotifyPeriodicEventStream",{}]"#)
            .is_empty()
    );
    assert!(line.sends(r#"[6,"2","Teleport",{}]"#).is_empty());
    let records = line.records();
    assert_eq!(records.len(), 2);
    assert_eq!(records[0].answer_kind, AnswerKind::None);
    assert!(records[0].notes.has(Notes::QUARANTINED));
    assert!(records[1].notes.has(Notes::TOLERATED));
}

#[test]
fn an_operator_may_accept_a_charger_that_waits() {
    let mut setup = setup(Version::V201);
    setup.profile = Some(profile(Registration::Pending));
    let mut line = setup.connect();
    assert_eq!(line.fails("1", "Heartbeat", "{}"), "SecurityError");
    let accepted = profile(Registration::Accepted);
    line.station.handle_profile(Some(accepted.into()));
    let boot = line.succeeds("2", "BootNotification", "{}");
    assert_eq!(at(&boot, "/status"), "Accepted");
    assert_eq!(at(&boot, "/interval"), 300);
}

#[test]
fn an_idle_charger_costs_little() {
    let mut line = connect(Version::V16);
    line.succeeds(
        "1",
        "BootNotification",
        r#"{"chargePointVendor":"V","chargePointModel":"M"}"#,
    );
    line.succeeds("2", "Heartbeat", "{}");
    assert_eq!(line.station.poll_output(), None);
    let size = size_of_val(&line.station);
    assert!(size <= 700, "{size} bytes");
    assert_eq!(line.station.into_memory().heap_bytes(), 0);
}

#[test]
fn a_message_that_the_journal_refused_is_news_again_and_no_other_is() {
    const STOP: &str = r#"{"transactionId":7,"meterStop":9,"timestamp":"2026-01-02T03:04:05Z"}"#;
    let mut line = connect(Version::V16);
    let first = line.sends(&call("1", "StartTransaction", START)).to_vec();
    line.sends(&call("2", "StopTransaction", STOP));
    let records = line.all_records();
    let refused = records[records.len() - 1].encode();
    let count = records.len();
    line.station.handle_refused(&refused);

    let again = line.sends(&call("3", "StartTransaction", START)).to_vec();
    assert_eq!(transaction_id(&again[0]), transaction_id(&first[0]));
    assert_eq!(line.all_records().len(), count, "the start is known");
    line.sends(&call("4", "StopTransaction", STOP));
    let records = line.all_records();
    assert_eq!(records.len(), count + 1, "the stop is news");
    assert_eq!(records[count].action, "StopTransaction");
}
