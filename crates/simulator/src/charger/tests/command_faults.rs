//! Commands that are rejected, delayed, or left unanswered, and their entries in the ledger.

use super::*;
use crate::command_fault::FaultKind;
use crate::ledger::{CommandEntry, CommandOutcome, LedgerLine};

fn with_faults(version: Version, faults: &[&str]) -> Harness {
    let config = FleetConfig {
        command_faults: faults.iter().map(|one| one.parse().unwrap()).collect(),
        ..idle()
    };
    let mut harness = Harness::new(version, &config);
    harness.run_for(10.0);
    harness
}

fn start(id: u64) -> serde_json::Value {
    json!({"remoteStartId": id, "idToken": {"idToken": "A", "type": "ISO14443"}})
}

#[test]
fn a_rejected_command_is_refused_by_the_schema_of_its_response_and_not_carried_out() {
    for version in Version::ALL {
        let mut harness = with_faults(version, &["reject"]);
        for info in ocpp::action::all(version)
            .iter()
            .filter(|info| info.is_to_charger())
        {
            let before = harness.commands.len();
            let reply = harness.call(info.name, json!({}));
            // Where the empty payload is valid, the answer is a refusal; the harness has checked it by the schema.
            if info.check_request("{}").is_empty() {
                assert!(
                    !reply.contains("Accepted"),
                    "{version} {}: {reply}",
                    info.name
                );
            }
            assert!(
                !harness.commands[before].executed,
                "{version} {}",
                info.name
            );
        }
    }
    let mut harness = with_faults(Version::V201, &["reject=RequestStartTransaction"]);
    assert_eq!(
        harness.status("RequestStartTransaction", start(1)),
        "Rejected"
    );
    assert_eq!(harness.charger.gauge().charging, 0);
    assert_eq!(harness.commands[0].fault, Some(FaultKind::Reject));
    let mut harness = with_faults(Version::V201, &["reject"]);
    let reply = harness.call("GetLocalListVersion", json!({}));
    assert!(reply.starts_with("[4,"), "{reply}");
    let mut harness = with_faults(Version::V16, &["error"]);
    let reply = harness.call("ClearCache", json!({}));
    assert!(reply.contains("InternalError"), "{reply}");
}

#[test]
fn a_delayed_command_is_carried_out_and_answered_at_the_end_of_the_delay() {
    let mut harness = with_faults(Version::V201, &["delay@20"]);
    harness.send_call("c-9", "RequestStartTransaction", &start(1));
    harness.run_for(19.0);
    assert!(harness.replies.is_empty());
    assert_eq!(harness.charger.gauge().charging, 0);
    harness.run_for(2.0);
    assert!(harness.replies[0].starts_with(r#"[3,"c-9""#));
    assert_eq!(harness.charger.gauge().charging, 1);
    let command = &harness.commands[0];
    let waited = command.answered_at.unwrap().since(command.received_at);
    assert_eq!(waited, Duration::from_secs(20));
}

#[test]
fn a_delayed_command_ends_with_the_connection() {
    let mut harness = with_faults(Version::V201, &["delay@20"]);
    harness.send_call("c-9", "RequestStartTransaction", &start(1));
    harness.run_for(1.0);
    harness.disconnect();
    harness.run_for(60.0);
    assert!(harness.replies.is_empty());
    assert_eq!(harness.charger.gauge().charging, 0);
    let command = &harness.commands[0];
    assert_eq!(command.outcome, CommandOutcome::Unanswered);
    assert!(!command.executed);
}

#[test]
fn the_number_of_delayed_commands_is_bounded() {
    let mut harness = with_faults(Version::V16, &["delay@20"]);
    for n in 0..50 {
        harness.send_call(&format!("c-{n}"), "ClearCache", &json!({}));
    }
    assert_eq!(harness.replies.len(), 42);
    harness.run_for(21.0);
    assert_eq!(harness.replies.len(), 50);
}

#[test]
fn a_silent_charger_carries_the_command_out_and_does_not_answer() {
    let mut harness = with_faults(Version::V201, &["silent"]);
    harness.send_call("c-9", "RequestStartTransaction", &start(1));
    harness.run_for(5.0);
    assert!(harness.replies.is_empty());
    assert_eq!(harness.of("TransactionEvent").len(), 1);
    let command = &harness.commands[0];
    assert_eq!(
        (command.outcome, command.executed, command.answered_at),
        (CommandOutcome::Unanswered, true, None)
    );
}

#[test]
fn a_dropped_connection_loses_the_answer_and_not_the_effect() {
    let mut harness = with_faults(Version::V201, &["delay@2", "drop=RequestStartTransaction"]);
    harness.send_call("c-9", "RequestStartTransaction", &start(7));
    assert_eq!(harness.drops, 0);
    harness.run_for(60.0);
    assert_eq!(harness.drops, 1);
    assert!(harness.replies.is_empty());
    assert_eq!(harness.connects.len(), 2);
    let events = harness.of("TransactionEvent");
    assert_eq!(events[0].payload["transactionInfo"]["remoteStartId"], 7);
    assert_eq!(harness.commands[0].outcome, CommandOutcome::Unanswered);
    harness.send_call("c-10", "ClearCache", &json!({}));
    harness.run_for(3.0);
    assert_eq!(harness.commands[1].connection, 2);
}

#[test]
fn commands_and_messages_are_distinct_in_the_ledger() {
    let mut harness = with_faults(Version::V201, &["reject=Reset"]);
    harness.call("Reset", json!({"type": "OnIdle"}));
    harness.call("GetLocalListVersion", json!({}));
    harness.call("Reset", json!({}));
    let lines: Vec<_> = harness
        .commands
        .drain(..)
        .map(|one| CommandEntry::new("CP-1", Version::V201, one))
        .collect();
    assert_eq!(lines[0].status.as_deref(), Some("Rejected"));
    assert_eq!(lines[1].status, None);
    assert!(lines[1].answer_hash.is_some());
    assert_eq!(
        lines[2].status.as_deref(),
        Some("OccurrenceConstraintViolation")
    );
    for entry in lines {
        let text = serde_json::to_string(&entry).unwrap();
        assert!(
            text.starts_with(r#"{"kind":"command","charger_id":"CP-1""#),
            "{text}"
        );
        let line = LedgerLine::parse(&text).unwrap();
        assert_eq!(line, LedgerLine::Command(Box::new(entry)));
    }
    assert!(LedgerLine::parse(r#"{"kind":"other"}"#).is_err());
    assert!(LedgerLine::parse(r#"{"charger_id":"CP-1"}"#).is_err());
}
