//! The audit finds each kind of fault, and none in a run without faults.

use super::*;
use crate::ledger::{
    Class, CommandEntry, CommandKind, CommandOutcome, LedgerEntry, Outcome, payload_hash,
};
use ocpp::Version;
use serde_json::json;

/// A run of one charger: its ledger, and the exports of the central system.
struct Run {
    entries: Vec<LedgerEntry>,
    rows: Vec<Value>,
    transactions: Vec<Value>,
}

fn entry(n: u64, action: &str, payload: &Value) -> LedgerEntry {
    LedgerEntry {
        charger_id: "SIM-1".into(),
        ocpp_version: Version::V16,
        action: action.into(),
        class: if action == "Heartbeat" {
            Class::N
        } else {
            Class::T
        },
        n,
        session: match n {
            1..=4 => Some(1),
            5..=8 => Some(2),
            _ => None,
        },
        meter_wh: payload["meter"].as_u64(),
        natural_key: format!("key-{n}"),
        transaction_id: payload.get("transactionId").map(Value::to_string),
        message_ids: vec![format!("m-{n}")],
        sent_at: Some(TimestampUs(n * 1000)),
        acknowledged_at: Some(TimestampUs(n * 1000 + 1000)),
        attempts: 1,
        outcome: Outcome::Acknowledged,
        answer: None,
        payload_hash: payload_hash(&payload.to_string()).map(|hash| format!("{hash:016x}")),
    }
}

fn row(seq: u64, entry: &LedgerEntry, payload: &Value, answer: &Value) -> Value {
    json!({
        "record_id": format!("G/{seq}"), "charger_id": "sim-1", "kind": "call",
        "ocpp_version": "1.6", "direction": "in", "message_id": entry.message_ids[0],
        "action": entry.action, "payload": payload, "answer": answer,
        "received_at": "2026-01-01T00:00:00.000Z", "gateway_id": "G", "seq": seq,
    })
}

fn clean_run() -> Run {
    let mut run = Run {
        entries: Vec::new(),
        rows: vec![json!({
            "charger_id": "SIM-1", "kind": "connected", "message_id": "", "gateway_id": "G",
            "seq": 1, "payload": {"from": "here"}, "answer": null,
        })],
        transactions: Vec::new(),
    };
    for n in 1..=12_u64 {
        let (action, payload, answer) = match n {
            1 | 5 => (
                "StartTransaction",
                json!({"idTag": "A", "meter": n * 100}),
                json!({"transactionId": n + 100}),
            ),
            4 | 8 => (
                "StopTransaction",
                json!({"transactionId": 101, "n": n, "meter": n * 1000}),
                json!({}),
            ),
            12 => ("Heartbeat", json!({}), json!({"currentTime": "now"})),
            _ => (
                "MeterValues",
                json!({"transactionId": 101, "n": n}),
                json!({}),
            ),
        };
        let mut entry = entry(n, action, &payload);
        if action == "StartTransaction" {
            entry.transaction_id = Some((n + 100).to_string());
            entry.answer = Some(answer.to_string());
            run.transactions.push(json!({
                "charger_id": "SIM-1", "transaction_id": (n + 100).to_string(),
                "started_at": "2026-01-01T00:00:00.000Z", "open": false,
                // The stop is the third message after its start.
                "energy_wh": ((n + 3) * 1000 - n * 100) as f64,
            }));
        }
        run.rows.push(row(n + 1, &entry, &payload, &answer));
        run.entries.push(entry);
    }
    run
}

fn check(run: &Run) -> Report {
    let lines: Vec<_> = run
        .entries
        .iter()
        .map(|one| serde_json::to_string(one).unwrap())
        .collect();
    let text = |rows: &[Value]| {
        let rows: Vec<_> = rows.iter().map(Value::to_string).collect();
        rows.join("\n")
    };
    audit(
        lines.join("\n").as_bytes(),
        text(&run.rows).as_bytes(),
        Some(text(&run.transactions).as_bytes()),
    )
    .unwrap()
}

/// Changes a run without faults. The audit must then find one fault, in the counter that `fault` gives.
fn assert_found(change: impl FnOnce(&mut Run), fault: impl Fn(&mut Report) -> &mut u64) {
    let mut run = clean_run();
    change(&mut run);
    let mut report = check(&run);
    assert!(!report.is_clean());
    assert_eq!(report.faults.len(), 1, "{report}");
    assert!(report.to_string().contains("<-- fault"));
    let count = *fault(&mut report);
    assert_eq!(count, 1, "{report}");
    *fault(&mut report) = 0;
    assert!(report.is_clean(), "{report}");
}

#[test]
fn a_run_without_faults_is_clean() {
    let report = check(&clean_run());
    assert!(report.is_clean(), "{report}");
    assert_eq!(
        (report.messages, report.acknowledged, report.chargers),
        (12, 12, 1)
    );
    assert_eq!(report.transactions, 2);
    assert!(
        report
            .to_string()
            .contains("every acknowledged message is stored once")
    );
}

/// A run in which the charger received and answered a command, with the records of both.
fn check_command(change: impl FnOnce(&mut Vec<CommandEntry>, &mut Vec<Value>)) -> Report {
    let hash = |payload: Value| format!("{:016x}", value_hash(&payload));
    let mut entries = vec![CommandEntry {
        kind: CommandKind::Command,
        charger_id: "SIM-1".into(),
        ocpp_version: Version::V16,
        message_id: "c-1".into(),
        action: "Reset".into(),
        connection: 1,
        received_at: TimestampUs(2000),
        executed: true,
        outcome: CommandOutcome::Result,
        answered_at: Some(TimestampUs(2001)),
        status: Some("Accepted".into()),
        answer_hash: Some(hash(json!({"status": "Accepted"}))),
        payload_hash: hash(json!({"type": "Soft"})),
        fault: None,
    }];
    let record = |kind: &str, seq: u64, payload: Value| {
        json!({
            "charger_id": "sim-1", "kind": kind, "message_id": "c-1", "action": "Reset",
            "payload": payload, "gateway_id": "G", "seq": seq,
        })
    };
    let mut rows = vec![
        record("call_to_charger", 90, json!({"type": "Soft"})),
        record("call_result", 91, json!({"status": "Accepted"})),
    ];
    change(&mut entries, &mut rows);
    let run = clean_run();
    let ledger = run
        .entries
        .iter()
        .map(|one| serde_json::to_string(one).unwrap());
    let commands = entries
        .iter()
        .map(|one| serde_json::to_string(one).unwrap());
    let ledger: Vec<_> = ledger.chain(commands).collect();
    let rows: Vec<_> = run.rows.iter().chain(&rows).map(Value::to_string).collect();
    let transactions = None::<&[u8]>;
    audit(
        ledger.join("\n").as_bytes(),
        rows.join("\n").as_bytes(),
        transactions,
    )
    .unwrap()
}

#[test]
fn a_command_that_was_sent_received_and_answered_once_is_clean() {
    let report = check_command(|_, _| {});
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.commands, report.commands_answered), (1, 1));
    // The answer was lost, or the command, or the central system keeps no commands.
    for report in [
        check_command(|_, rows| drop(rows.remove(1))),
        check_command(|entries, rows| {
            entries.clear();
            rows.remove(1);
        }),
        check_command(|_, rows| rows.clear()),
    ] {
        assert!(report.is_clean(), "{report}");
    }
}

#[test]
fn a_command_that_was_received_twice_is_found() {
    let report = check_command(|entries, _| entries.push(entries[0].clone()));
    assert_eq!((report.repeated_commands, report.faults.len()), (1, 1));
}

#[test]
fn a_command_without_a_record_of_its_sending_is_found() {
    let other = check_command(|_, rows| rows[0]["message_id"] = json!("c-2"));
    let changed = check_command(|_, rows| rows[0]["payload"] = json!({"type": "Hard"}));
    for report in [other, changed] {
        assert_eq!((report.unrecorded_commands, report.faults.len()), (1, 1));
        assert!(!report.is_clean());
    }
}

#[test]
fn an_answer_that_the_charger_did_not_give_is_found() {
    let other = check_command(|_, rows| rows[1]["payload"] = json!({"status": "Rejected"}));
    let error = check_command(|_, rows| rows[1]["kind"] = json!("call_error"));
    let silent = check_command(|entries, _| {
        entries[0].outcome = CommandOutcome::Unanswered;
        entries[0].answered_at = None;
        entries[0].answer_hash = None;
    });
    for report in [other, error, silent] {
        assert_eq!((report.false_answers, report.faults.len()), (1, 1));
        assert!(!report.is_clean());
    }
}

#[test]
fn a_missing_record_is_found() {
    assert_found(|run| drop(run.rows.remove(3)), |report| &mut report.missing);
}

#[test]
fn an_open_session_and_one_with_a_wrong_energy_are_found() {
    let open = |run: &mut Run| run.transactions[0]["open"] = json!(true);
    assert_found(open, |report| &mut report.unfinished_transactions);
    let energy = |run: &mut Run| run.transactions[1]["energy_wh"] = json!(1.0);
    assert_found(energy, |report| &mut report.wrong_energy);
    // The stop was not answered, so the transaction may be open.
    let mut run = clean_run();
    run.entries[3].outcome = Outcome::Unanswered;
    run.transactions[0]["open"] = json!(true);
    assert!(check(&run).is_clean(), "{}", check(&run));
    // The members `open` and `energy_wh` may be missing.
    let mut run = clean_run();
    for row in &mut run.transactions {
        let row = row.as_object_mut().unwrap();
        row.remove("open");
        row.remove("energy_wh");
    }
    assert!(check(&run).is_clean());
}

#[test]
fn a_second_record_is_found_under_any_of_the_ids() {
    let again = |id: &'static str| {
        move |run: &mut Run| {
            run.entries[2].message_ids.push("again".into());
            let mut row = run.rows[3].clone();
            row["seq"] = json!(50);
            row["message_id"] = json!(id);
            run.rows.push(row);
        }
    };
    assert_found(again("m-3"), |report| &mut report.duplicates_in_effect);
    assert_found(again("again"), |report| &mut report.duplicates_in_effect);
}

#[test]
fn swapped_records_are_found() {
    assert_found(
        |run| {
            run.rows[6]["seq"] = json!(8);
            run.rows[7]["seq"] = json!(7);
        },
        |report| &mut report.out_of_order,
    );
}

#[test]
fn a_wrong_answer_is_found() {
    assert_found(
        |run| run.rows[1]["answer"] = json!({"transactionId": 999}),
        |report| &mut report.wrong_answers,
    );
}

#[test]
fn an_altered_payload_is_found() {
    assert_found(
        |run| run.rows[3]["payload"]["n"] = json!(4711),
        |report| &mut report.altered,
    );
}

#[test]
fn missing_and_additional_transactions_are_found() {
    assert_found(
        |run| drop(run.transactions.pop()),
        |report| &mut report.missing_transactions,
    );
    assert_found(
        |run| run.transactions[1]["started_at"] = Value::Null,
        |report| &mut report.missing_transactions,
    );
    for id in ["101", "777"] {
        assert_found(
            |run| {
                let mut again = run.transactions[0].clone();
                again["transaction_id"] = json!(id);
                run.transactions.push(again);
            },
            |report| &mut report.duplicate_transactions,
        );
    }
}

#[test]
fn an_unacknowledged_message_may_be_stored_or_not() {
    for keep in [true, false] {
        let mut run = clean_run();
        for index in [0, 2] {
            run.entries[index].outcome = Outcome::Unanswered;
            run.entries[index].acknowledged_at = None;
            run.entries[index].answer = None;
            run.entries[index].transaction_id = None;
        }
        if !keep {
            run.rows
                .retain(|row| !["m-1", "m-3"].contains(&row["message_id"].as_str().unwrap()));
            run.transactions.remove(0);
        }
        let report = check(&run);
        assert!(report.is_clean(), "{report}");
        assert_eq!(report.acknowledged, 10);
    }
}

#[test]
fn a_resent_message_may_be_stored_after_later_ones() {
    // n=2 was lost in its first transmission and resent after n=3.
    let mut run = clean_run();
    run.entries[1].acknowledged_at = Some(TimestampUs(3_600));
    run.entries[1].attempts = 2;
    run.rows[2]["seq"] = json!(4);
    run.rows[3]["seq"] = json!(3);
    run.entries[2].acknowledged_at = Some(TimestampUs(3_500));
    let report = check(&run);
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.resent, 1);
}

#[test]
fn two_entries_of_a_restarted_simulator_are_one_message() {
    let mut run = clean_run();
    let mut before = run.entries[2].clone();
    before.outcome = Outcome::Unanswered;
    before.acknowledged_at = None;
    before.message_ids = vec!["before".into()];
    run.rows[3]["message_id"] = json!("before");
    run.entries.insert(0, before);
    let report = check(&run);
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.messages, 12);
}

#[test]
fn either_all_heartbeats_are_stored_or_none() {
    let mut run = clean_run();
    run.rows.pop();
    let report = check(&run);
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.heartbeats_not_kept, 1);

    let mut second = run.entries[11].clone();
    second.n = 13;
    second.message_ids = vec!["m-13".into()];
    second.sent_at = Some(TimestampUs(13_000));
    second.acknowledged_at = Some(TimestampUs(14_000));
    run.rows.push(row(14, &second, &json!({}), &json!({})));
    run.entries.push(second);
    assert_eq!(check(&run).missing, 1);
}

#[test]
fn earlier_runs_and_other_chargers_are_ignored() {
    let mut run = clean_run();
    let mut old = run.transactions[0].clone();
    old["transaction_id"] = json!("5");
    old["started_at"] = json!("1969-01-01T00:00:00.000Z");
    run.transactions.push(old);
    let mut other = run.rows[2].clone();
    other["charger_id"] = json!("someone else");
    run.rows.push(other);
    run.transactions
        .push(json!({"charger_id": "someone else", "transaction_id": 5}));
    assert!(check(&run).is_clean());
}

#[test]
fn records_are_found_in_any_letter_case_of_the_identity() {
    let mut run = clean_run();
    for entry in &mut run.entries {
        entry.charger_id = "Ä1".into();
    }
    for row in run.rows.iter_mut().chain(&mut run.transactions) {
        row["charger_id"] = json!("ä1");
    }
    let report = check(&run);
    assert!(report.is_clean(), "{report}");
}

#[test]
fn an_unreadable_line_is_named() {
    let none = || None::<&[u8]>;
    let error = audit("{}\n".as_bytes(), "".as_bytes(), none()).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the ledger, line 1: missing field")
    );
    let error = audit("".as_bytes(), "\n[".as_bytes(), none()).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the export of messages, line 2")
    );
}

#[test]
fn payloads_that_were_exported_as_text_are_parsed() {
    let mut run = clean_run();
    for row in &mut run.rows {
        row["payload"] = json!(row["payload"].to_string());
        row["answer"] = json!(row["answer"].to_string());
    }
    assert!(check(&run).is_clean());
}
