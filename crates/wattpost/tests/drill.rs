//! Short runs of `wattpost drill` with real servers and real processes.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use serde_json::Value;
use std::process::{Command, Output, Stdio};

fn drill(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wattpost"))
        .arg("drill")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("run the drill")
}

/// Runs a drill that must pass, and returns its outcomes.
fn passes(arguments: &[&str]) -> Vec<Value> {
    // Other tests use the machine at the same time, so answers may take seconds.
    let short = [
        "--json",
        "--chargers",
        "20",
        "--seconds",
        "4",
        "--answer-within",
        "5",
    ];
    let output = drill(&[&short, arguments].concat());
    let report = String::from_utf8_lossy(&output.stdout);
    let progress = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{report}\n{progress}");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(report["passed"], true);
    report["outcomes"].as_array().expect("outcomes").clone()
}

/// Checks the counts behind `passed`.
fn assert_nothing_lost(outcomes: &[Value]) {
    for outcome in outcomes {
        for fault in ["lost", "duplicated", "out_of_order", "altered"] {
            assert_eq!(outcome[fault], 0, "{outcome}");
        }
        let count = |name: &str| outcome[name].as_u64().expect("a number");
        assert!(count("acknowledged") > 50, "{outcome}");
        assert_eq!(count("stored"), count("acknowledged"), "{outcome}");
        assert!(outcome["recovery_s"].as_f64().expect("it recovered") > 0.0);
    }
}

#[test]
fn nothing_is_lost_when_rabbitmq_or_everything_is_killed_with_either_durability() {
    let outcomes = passes(&["--scenario", "rabbitmq", "--scenario", "5"]);
    let played: Vec<(&str, &str)> = outcomes
        .iter()
        .map(|outcome| {
            let text = |name: &str| outcome[name].as_str().expect("a text");
            (text("scenario"), text("durability"))
        })
        .collect();
    assert_eq!(
        played,
        [
            ("2", "journal"),
            ("5", "journal"),
            ("2", "broker"),
            ("5", "broker")
        ]
    );
    assert_nothing_lost(&outcomes);
}

#[test]
fn nothing_is_lost_when_serve_is_killed_or_its_database_is_locked() {
    let outcomes = passes(&[
        "--embedded",
        "--scenario",
        "all-roles",
        "--scenario",
        "database",
    ]);
    assert_eq!(outcomes.len(), 2);
    assert_nothing_lost(&outcomes);
}

#[test]
fn nothing_is_lost_in_an_alarm_with_a_backlog_and_after_missed_maintenance() {
    let scenarios = ["--scenario", "10", "--scenario", "maintenance-missed"];
    let outcomes = passes(&[&scenarios[..], &["--durability", "journal"]].concat());
    assert_eq!(outcomes.len(), 2);
    assert_nothing_lost(&outcomes);
}

#[test]
fn every_session_of_a_depot_that_was_offline_is_listed_with_its_end_and_its_energy() {
    let outcomes = passes(&["--embedded", "--scenario", "offline-depot"]);
    assert_nothing_lost(&outcomes);
    // At least sixty sessions of each charger, each with a start and a stop.
    let acknowledged = outcomes[0]["acknowledged"].as_u64().expect("a number");
    assert!(acknowledged >= 20 * 60 * 2, "{outcomes:?}");
}

#[test]
fn five_upgrades_close_no_connection_also_when_two_of_the_programs_are_broken() {
    let outcomes = passes(&["--embedded", "--scenario", "upgrade"]);
    assert_nothing_lost(&outcomes);
}

#[test]
fn unknown_scenario_is_an_error_of_one_sentence() {
    let output = drill(&["--scenario", "flood"]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.contains("flood") && error.contains("--list"),
        "{error}"
    );
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn scenarios_are_listed() {
    let output = drill(&["--list"]);
    assert!(output.status.success());
    let list = String::from_utf8_lossy(&output.stdout);
    assert_eq!(list.lines().count(), 19, "{list}");
    assert!(list.contains("black-hole"), "{list}");
}
