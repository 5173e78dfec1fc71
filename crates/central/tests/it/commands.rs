//! Commands: what a station sends, records and refuses, in virtual time; and what the database shows of it.

use crate::common::{NOW, TestCharger, connect, database, profile, setup};
use central::model::{Command, CommandId, CommandProgress, NotSent, Refusal};
use central::policy::Policy;
use central::ports::Registration;
use central::record::Notes;
use central::station::{CloseReason, NotTaken, check_command};
use central::{RecordKind, Timestamp};
use ocpp::Version;
use ocpp::action::ActionInfo;
use serde_json::{Value, json};
use std::path::Path;
use uuid::Uuid;

fn id(number: u128) -> CommandId {
    CommandId(Uuid::from_u128(number))
}

pub(crate) fn command(number: u128, action: &str, payload: &str) -> Command {
    Command {
        id: id(number),
        charger_id: "CP-17".to_owned(),
        action: action.to_owned(),
        payload: payload.to_owned(),
        answer_within_ms: 30_000,
        send_before: NOW.plus_millis(3_600_000),
        skips_check: false,
    }
}

fn reset(number: u128) -> Command {
    command(number, "Reset", r#"{"type":"Soft"}"#)
}

pub(crate) fn gives(charger: &mut TestCharger, command: &Command) -> Result<(), NotTaken> {
    let given = charger.station.handle_command(command, charger.now);
    charger.settle();
    given
}

pub(crate) fn reply(number: u128, payload: &str) -> String {
    format!(r#"[3,"{}",{payload}]"#, id(number))
}

fn progress(charger: &TestCharger, number: u128) -> CommandProgress {
    let contents = database::of(&[charger]);
    let found = contents.states.commands.get(&id(number));
    found.cloned().unwrap_or_default()
}

fn kinds(charger: &TestCharger) -> Vec<RecordKind> {
    let records = charger.records();
    records.iter().map(|record| record.kind).collect()
}

#[test]
fn a_command_is_recorded_then_sent_and_its_reply_is_recorded_under_its_id() {
    let mut charger = setup(Version::V16);
    charger.disk_works = false;
    let mut charger = charger.connect();
    charger.disk_syncs();
    gives(&mut charger, &reset(7)).unwrap();
    assert_eq!(kinds(&charger), [RecordKind::CallToCharger]);
    assert!(charger.received.is_empty(), "its record is not durable yet");
    assert!(!charger.station.wants_command(), "one at a time");
    assert_eq!(gives(&mut charger, &reset(8)), Err(NotTaken::NotNow));
    // A charger cannot answer what it has not received.
    assert!(charger.sends(&reply(7, "{}")).is_empty());
    assert!(charger.last_notes().has(Notes::UNSOLICITED));
    let frame = format!(r#"[2,"{}","Reset",{{"type":"Soft"}}]"#, id(7));
    assert_eq!(charger.disk_syncs(), [frame]);
    charger.sends(&reply(7, r#"{"status":"Accepted"}"#));
    let records = charger.records();
    let last = records.last().unwrap();
    assert_eq!((last.kind, last.action), (RecordKind::CallResult, "Reset"));
    assert_eq!(last.notes, Notes::default());
    assert!(charger.station.wants_command());
    let progress = progress(&charger, 7);
    assert_eq!(progress.sent.unwrap().at, NOW);
    let reply = progress.reply.unwrap();
    assert_eq!(reply.payload, r#"{"status":"Accepted"}"#);
    assert!(!reply.is_error);
    assert_eq!(progress.unanswered, None);
}

#[test]
fn answers_to_the_charger_do_not_wait_for_a_command_s_reply() {
    let mut charger = connect(Version::V201);
    gives(&mut charger, &command(1, "ClearCache", "{}")).unwrap();
    charger.succeeds("1", "Heartbeat", "{}");
    charger.sends(&format!(r#"[4,"{}","NotSupported","no",{{}}]"#, id(1)));
    let reply = progress(&charger, 1).reply.unwrap();
    assert!(reply.is_error);
    assert_eq!(reply.payload, r#"["NotSupported","no",{}]"#);
}

#[test]
fn a_command_without_the_check_is_sent_as_it_is_if_the_version_has_its_action() {
    let mut charger = connect(Version::V16);
    let own = Command {
        skips_check: true,
        ..command(1, "Reset", r#"{"type":"Now","own":true}"#)
    };
    let not_supported = |given: Result<(), NotTaken>| match given {
        Err(NotTaken::Refused(refusal)) => refusal.reason == NotSent::NotSupportedByCharger,
        _ => false,
    };
    let checked = Command {
        skips_check: false,
        ..own.clone()
    };
    assert!(not_supported(gives(&mut charger, &checked)));
    let other = Command {
        action: "SetVariables".to_owned(),
        ..own.clone()
    };
    assert!(not_supported(gives(&mut charger, &other)));
    gives(&mut charger, &own).unwrap();
    let frame = format!(r#"[2,"{}","Reset",{{"type":"Now","own":true}}]"#, id(1));
    assert_eq!(charger.received.last(), Some(&frame));
}

#[test]
fn a_reply_after_its_time_still_counts_and_the_next_command_does_not_wait_for_it() {
    let mut charger = connect(Version::V16);
    gives(&mut charger, &reset(1)).unwrap();
    charger.wait_ms(29_999);
    assert_eq!(kinds(&charger), [RecordKind::CallToCharger]);
    charger.wait_ms(1);
    assert_eq!(
        kinds(&charger),
        [RecordKind::CallToCharger, RecordKind::CallUnanswered]
    );
    let unanswered = progress(&charger, 1).unanswered.unwrap();
    assert_eq!(unanswered.reason, "no answer within 30000 ms");
    gives(&mut charger, &reset(2)).unwrap();
    charger.sends(&reply(1, r#"{"status":"Rejected"}"#));
    assert!(
        !charger.station.wants_command(),
        "the second is outstanding"
    );
    assert!(progress(&charger, 1).reply.is_some());
    assert_eq!(progress(&charger, 2).reply, None);
    // A second reply is not asked for.
    charger.sends(&reply(1, "{}"));
    assert!(charger.last_notes().has(Notes::UNSOLICITED));
    assert_eq!(
        progress(&charger, 1).reply.unwrap().payload,
        r#"{"status":"Rejected"}"#
    );
}

#[test]
fn late_replies_are_recognised_for_the_last_eight_calls() {
    let mut charger = connect(Version::V16);
    for number in 1..=9 {
        gives(&mut charger, &reset(number)).unwrap();
        charger.wait_ms(30_000);
    }
    charger.sends(&reply(1, "{}"));
    charger.sends(&reply(2, "{}"));
    assert_eq!(progress(&charger, 1).reply, None);
    assert!(progress(&charger, 2).reply.is_some());
}

#[test]
fn the_end_of_the_connection_ends_the_wait() {
    let mut charger = connect(Version::V16);
    gives(&mut charger, &reset(1)).unwrap();
    charger.disconnects(CloseReason::ByCharger(None));
    let all: Vec<_> = charger.all_records().iter().map(|r| r.kind).collect();
    assert_eq!(
        all[1..],
        [
            RecordKind::CallToCharger,
            RecordKind::CallUnanswered,
            RecordKind::Disconnected
        ]
    );
    let reason = progress(&charger, 1).unanswered.unwrap().reason;
    assert_eq!(
        reason,
        "the connection ended before an answer: closed by the charger"
    );
    assert_eq!(gives(&mut charger, &reset(2)), Err(NotTaken::NotNow));
}

#[test]
fn a_command_whose_record_was_refused_is_not_sent() {
    let mut charger = setup(Version::V16);
    charger.disk_works = false;
    let mut charger = charger.connect();
    charger.disk_syncs();
    gives(&mut charger, &reset(1)).unwrap();
    let record = charger.journal.pop().unwrap();
    charger.station.handle_refused(&record);
    assert!(charger.disk_syncs().is_empty());
    charger.disconnects(CloseReason::NotDurable);
    assert_eq!(progress(&charger, 1), CommandProgress::default());
}

#[test]
fn a_command_is_not_sent_at_or_after_its_time() {
    let mut charger = connect(Version::V16);
    let late = Command {
        send_before: NOW,
        ..reset(1)
    };
    assert_eq!(
        gives(&mut charger, &late),
        Err(NotTaken::Refused(Refusal::new(NotSent::Expired, "")))
    );
    // Nor when the disk takes longer than that.
    charger.disk_works = false;
    let soon = Command {
        send_before: NOW.plus_millis(5),
        ..reset(2)
    };
    gives(&mut charger, &soon).unwrap();
    charger.now = NOW.plus_millis(5);
    charger.disk_works = true;
    assert!(charger.disk_syncs().is_empty());
    let reason = progress(&charger, 2).unanswered.unwrap().reason;
    assert!(reason.starts_with("it was not sent"), "{reason}");
    assert!(charger.station.wants_command());
}

#[test]
fn a_charger_that_is_not_accepted_gets_only_what_the_standard_allows() {
    let of = |registration| {
        let setup = crate::common::Setup {
            profile: Some(profile(registration)),
            ..setup(Version::V16)
        };
        setup.connect()
    };
    let mut rejected = of(Registration::Rejected);
    let Err(NotTaken::Refused(refusal)) = gives(&mut rejected, &reset(1)) else {
        panic!("nothing is sent to a rejected charger");
    };
    assert_eq!(refusal.reason, NotSent::ChargerRejected);
    let mut pending = of(Registration::Pending);
    let start = command(2, "RemoteStartTransaction", r#"{"idTag":"T"}"#);
    let Err(NotTaken::Refused(refusal)) = gives(&mut pending, &start) else {
        panic!("a pending charger must not be started");
    };
    assert_eq!(refusal.reason, NotSent::NotSupportedByCharger);
    gives(&mut pending, &command(3, "GetConfiguration", "{}")).unwrap();
}

#[test]
fn a_payload_that_breaks_the_schema_is_not_sent_and_says_where() {
    let mut charger = connect(Version::V16);
    let broken = command(1, "Reset", r#"{"type":"Now","x":1}"#);
    let Err(NotTaken::Refused(refusal)) = gives(&mut charger, &broken) else {
        panic!("it is broken");
    };
    assert_eq!(refusal.reason, NotSent::NotSupportedByCharger);
    for place in ["/type: ", "/x: "] {
        assert!(refusal.detail.contains(place), "{}", refusal.detail);
    }
    // A 2.x action, one that only chargers send, and one that does not exist.
    for action in ["SetVariables", "Heartbeat", "Teleport"] {
        let refused = gives(&mut charger, &command(1, action, "{}"));
        assert!(matches!(refused, Err(NotTaken::Refused(_))), "{action}");
    }
    assert!(charger.received.is_empty() && charger.records().is_empty());
}

#[test]
fn replies_to_commands_do_not_use_up_the_bound_of_unsolicited_ones() {
    let policy = Policy {
        unreadable_per_minute: 1,
        ..Policy::default()
    };
    let mut charger = crate::common::Setup {
        policy,
        ..setup(Version::V16)
    }
    .connect();
    for number in 1..=5 {
        gives(&mut charger, &reset(number)).unwrap();
        charger.sends(&reply(number, "{}"));
        assert!(progress(&charger, number).reply.is_some());
    }
}

#[test]
fn what_the_database_shows_does_not_depend_on_the_order_or_on_repeats() {
    let mut charger = connect(Version::V16);
    gives(&mut charger, &reset(1)).unwrap();
    charger.wait_ms(30_000);
    charger.sends(&reply(1, "{}"));
    gives(&mut charger, &reset(2)).unwrap();
    charger.disconnects(CloseReason::Shutdown);
    let journal: Vec<_> = (1..).zip(&charger.journal).collect();
    let forward = database::of(&[&charger]);
    let (mut order, mut seed) = (journal.clone(), 7_u64);
    for _ in 0..50 {
        for at in (1..order.len()).rev() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            order.swap(at, (seed >> 33) as usize % (at + 1));
        }
        let twice = order.iter().chain(&order[..order.len() / 2]);
        let shuffled = database::apply(twice.map(|(seq, bytes)| (database::id(*seq), &***bytes)));
        assert_eq!(shuffled, forward);
    }
    assert_eq!(forward.states.commands.len(), 2);
}

/// A valid payload, found by repairing what the check reports.
pub(crate) fn payload(info: &ActionInfo, words: &[Value]) -> Value {
    let mut payload = json!({});
    'repairs: for _ in 0..200 {
        let violations = info.check_request(&payload.to_string());
        let Some(violation) = violations.first() else {
            return payload;
        };
        for candidate in words {
            let mut repaired = payload.clone();
            set(&mut repaired, &violation.path, candidate.clone());
            let left = info.check_request(&repaired.to_string());
            if left.iter().all(|other| other.path != violation.path) {
                payload = repaired;
                continue 'repairs;
            }
        }
        panic!("{}: no value fits {violation}", info.name);
    }
    panic!("{}: {payload} cannot be repaired", info.name);
}

fn set(value: &mut Value, path: &str, new: Value) {
    let (parent, name) = path.rsplit_once('/').unwrap();
    match value.pointer_mut(parent).unwrap() {
        Value::Object(members) => {
            members.insert(name.to_owned(), new);
        }
        Value::Array(items) => items[name.parse::<usize>().unwrap()] = new,
        other => panic!("{other} has no members"),
    }
}

/// Values of each kind, and all values of the enumerations.
pub(crate) fn words() -> Vec<Value> {
    let mut words = vec![
        json!(1),
        json!("x"),
        json!(true),
        json!({}),
        json!([{}]),
        json!("2026-01-01T00:00:00Z"),
        json!("https://example.org/"),
    ];
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ocpp/src/tables/choices.rs");
    let source = std::fs::read_to_string(source).unwrap();
    words.extend(source.split('"').skip(1).step_by(2).map(|word| json!(word)));
    words
}

#[test]
fn every_action_that_a_charger_may_receive_can_be_commanded() {
    let words = words();
    for (version, count) in [(Version::V16, 26), (Version::V201, 40), (Version::V21, 55)] {
        let mut charger = connect(version);
        let mut sent = 0;
        for info in ocpp::action::all(version) {
            let number = 1 + sent as u128;
            if !info.is_to_charger() {
                let refused = check_command(version, info.name, "{}");
                assert!(refused.is_err(), "{version} {}", info.name);
                continue;
            }
            let payload = payload(info, &words).to_string();
            gives(&mut charger, &command(number, info.name, &payload)).unwrap();
            let frame = format!(r#"[2,"{}","{}",{payload}]"#, id(number), info.name);
            assert_eq!(charger.received.last(), Some(&frame));
            charger.sends(&reply(number, r#"{"status":"Accepted"}"#));
            sent += 1;
            charger.now = Timestamp(charger.now.0 + 1);
        }
        assert_eq!(sent, count, "{version}");
        let contents = database::of(&[&charger]);
        assert_eq!(contents.states.commands.len(), count);
        let mut answered = contents.states.commands.values();
        assert!(answered.all(|progress| progress.reply.is_some()));
    }
}
