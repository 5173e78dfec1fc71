//! A shortened drill, as a person would start it: real servers, real processes, kill -9, and an audit.

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
    // Other tests run at the same time: silence of some seconds is theirs, not ours.
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
    let said = String::from_utf8_lossy(&output.stdout);
    let progress = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{progress}");
    let report: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(report["passed"], true);
    report["outcomes"].as_array().expect("outcomes").clone()
}

/// What `passed` rests on, looked at once more from outside.
fn nothing_is_lost(outcomes: &[Value]) {
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
fn nothing_is_lost_when_rabbitmq_or_everything_dies_at_either_durability() {
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
    nothing_is_lost(&outcomes);
}

#[test]
fn nothing_is_lost_when_the_all_in_one_dies_or_its_database_is_locked() {
    let outcomes = passes(&["--embedded", "--scenario", "ours", "--scenario", "database"]);
    assert_eq!(outcomes.len(), 2);
    nothing_is_lost(&outcomes);
}

#[test]
fn an_alarm_on_top_of_a_backlog_is_passed_by_and_missed_upkeep_is_made_up_for() {
    let scenarios = ["--scenario", "10", "--scenario", "upkeep-missed"];
    let outcomes = passes(&[&scenarios[..], &["--durability", "journal"]].concat());
    assert_eq!(outcomes.len(), 2);
    nothing_is_lost(&outcomes);
}

#[test]
fn every_session_of_a_depot_that_comes_back_is_listed_with_its_end_and_its_energy() {
    let outcomes = passes(&["--embedded", "--scenario", "offline-depot"]);
    nothing_is_lost(&outcomes);
    // At least sixty sessions of each charger, each of a start and a stop.
    let acknowledged = outcomes[0]["acknowledged"].as_u64().expect("a number");
    assert!(acknowledged >= 20 * 60 * 2, "{outcomes:?}");
}

#[test]
fn a_scenario_that_there_is_not_is_said_in_one_sentence() {
    let output = drill(&["--scenario", "flood"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("flood") && said.contains("--list"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn the_scenarios_are_listed() {
    let output = drill(&["--list"]);
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said.lines().count(), 17, "{said}");
    assert!(said.contains("black-hole"), "{said}");
}
