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
    passes_within("5", arguments)
}

/// As [`passes`], with the longest time without an answer, in seconds.
fn passes_within(answer_within: &str, arguments: &[&str]) -> Vec<Value> {
    let short = [
        "--json",
        "--chargers",
        "20",
        "--seconds",
        "4",
        "--answer-within",
        answer_within,
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
fn nothing_is_lost_in_an_alarm_after_missed_maintenance_and_in_rolling_restarts() {
    let wanted = ["10", "maintenance-missed", "rolling"];
    let scenarios = wanted.map(|scenario| ["--scenario", scenario]).concat();
    let outcomes = passes(&[&scenarios[..], &["--durability", "journal"]].concat());
    assert_eq!(outcomes.len(), 3);
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
fn five_upgrades_close_no_connection_and_all_chargers_return_from_a_storm() {
    let scenarios = ["--scenario", "upgrade", "--scenario", "storm"];
    // 0.5 s and 0.1 s are promised. A gateway that waits for a connection waits a second at least, and health that waits for
    // a thread of the chargers waits for all of them.
    let busy = ["--health-within", "1"];
    let outcomes = passes_within("2", &[&["--embedded"], &scenarios[..], &busy].concat());
    assert_eq!(outcomes.len(), 2);
    assert_nothing_lost(&outcomes);
    let notes = outcomes[1]["notes"].to_string();
    for measured in ["were back after", "503", "peak of the memory", "/metrics"] {
        assert!(notes.contains(measured), "{measured}: {notes}");
    }
}

#[test]
fn storm_of_more_chargers_than_open_files_names_the_limit() {
    let output = drill(&[
        "--scenario",
        "storm",
        "--embedded",
        "--chargers",
        "4000000000",
    ]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("ulimit -n"), "{error}");
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
    assert_eq!(list.lines().count(), 21, "{list}");
    assert!(list.contains("black-hole"), "{list}");
}
