//! Independent OCPP client libraries: the Python package `ocpp`, and `ocpp-rpc` for Node.js.

use crate::deployment::Deployment;
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

/// The Python of `make setup`, which has the packages of `xtask/python/requirements.txt`.
pub(crate) fn python() -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python = std::env::var_os("WATTPOST_PYTHON")
        .map_or_else(|| root.join("target/python/bin/python"), PathBuf::from);
    assert!(
        python.exists(),
        "{} is missing: run `make setup` first",
        python.display()
    );
    python
}

/// Runs `tests/python/charging_session.py`, in which the package's JSON schemas validate every answer; returns the values in
/// the answers.
fn charging_session(
    deployment: &Deployment,
    version: &str,
    identity: &str,
    password: Option<&str>,
) -> Value {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/python/charging_session.py");
    let output = Command::new(python())
        .arg(script)
        .arg(format!("ws://{}/ocpp", deployment.ocpp))
        .args([version, identity])
        .args(password)
        .output()
        .expect("run Python");
    assert!(
        output.status.success(),
        "{version}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("the values in the answers")
}

fn assert_answered_and_stored(version: &str) {
    let mut deployment = Deployment::start("");
    let identity = format!("INDEPENDENT-{version}");
    let answers = charging_session(&deployment, version, &identity, None);
    assert_eq!(answers["boot"], "Accepted");
    assert_eq!(answers["authorize"], "Accepted");
    assert_eq!(answers["start"], "Accepted");
    assert_eq!(answers["data_transfer"], "UnknownVendorId");
    assert!(
        answers["interval"]
            .as_i64()
            .is_some_and(|interval| interval > 0)
    );
    assert!(
        answers["extensions"]
            .to_string()
            .contains("PerMessageDeflate"),
        "compression was offered and must be accepted (C-9): {answers}"
    );
    deployment.stop();

    let transactions = deployment.transactions();
    assert_eq!(transactions.len(), 1, "{transactions:?}");
    let transaction = &transactions[0];
    assert_eq!(
        transaction["transaction_id"].to_string().trim_matches('"'),
        answers["transaction_id"].to_string().trim_matches('"')
    );
    assert_eq!(transaction["charger_id"], identity.as_str());
    assert_eq!(transaction["id_token"], "TAG-1");
    assert_eq!(
        transaction["energy_wh"].as_f64(),
        Some(700.0),
        "{transaction}"
    );
    let messages = deployment.messages();
    let calls = messages.iter().filter(|line| line["kind"] == "call");
    for line in calls.clone() {
        assert!(line["answer"].is_object(), "{line}");
        assert_eq!(line["ocpp_version"], version);
    }
    assert!(calls.count() >= 12);
}

/// Runs `tests/python/serve_commands.py`: a charger of the package serves every action that a central system may send.
fn assert_all_commands_are_served(version: &str, actions: usize) {
    let deployment = Deployment::start("");
    let output = Command::new(python())
        .arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/python/serve_commands.py"))
        .arg(format!("ws://{}/ocpp", deployment.ocpp))
        .arg(format!("http://{}", deployment.http))
        .arg(version)
        .output()
        .expect("run Python");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{version}: {said}");
    let served: Vec<String> = serde_json::from_slice(&output.stdout).expect("the actions");
    assert_eq!(served.len(), actions, "{served:?}");
}

#[test]
fn independent_client_serves_every_command_of_1_6() {
    assert_all_commands_are_served("1.6", 26);
}

#[test]
fn independent_client_serves_every_command_of_2_0_1() {
    assert_all_commands_are_served("2.0.1", 40);
}

#[test]
fn independent_client_serves_every_command_of_2_1() {
    assert_all_commands_are_served("2.1", 55);
}

/// Runs `tests/node/serve_commands.js`: a charger of the package `ocpp-rpc` serves every action that a central system may
/// send.
fn assert_all_commands_are_served_by_node(deployment: &Deployment, version: &str, actions: usize) {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let packages = std::env::var_os("WATTPOST_NODE_PATH").map_or_else(
        || root.join("../../target/node/node_modules"),
        PathBuf::from,
    );
    assert!(
        packages.join("ocpp-rpc").exists(),
        "{} has no ocpp-rpc: run `make setup` first",
        packages.display()
    );
    let output = Command::new("node")
        .env("NODE_PATH", packages)
        .arg(root.join("tests/node/serve_commands.js"))
        .arg(format!("ws://{}/ocpp", deployment.ocpp))
        .arg(format!("http://{}", deployment.http))
        .arg(version)
        .output()
        .expect("run Node.js");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{version}: {said}");
    let served: Vec<String> = serde_json::from_slice(&output.stdout).expect("the actions");
    assert_eq!(served.len(), actions, "{served:?}");
}

#[test]
fn independent_client_of_node_serves_every_command_of_1_6_and_2_0_1() {
    let deployment = Deployment::start("");
    assert_all_commands_are_served_by_node(&deployment, "1.6", 26);
    assert_all_commands_are_served_by_node(&deployment, "2.0.1", 40);
}

#[test]
fn independent_client_accepts_all_answers_in_1_6() {
    assert_answered_and_stored("1.6");
}

#[test]
fn independent_client_accepts_all_answers_in_2_0_1() {
    assert_answered_and_stored("2.0.1");
}

#[test]
fn independent_client_accepts_all_answers_in_2_1() {
    assert_answered_and_stored("2.1");
}

#[test]
fn charger_with_a_password_is_accepted_only_with_it() {
    let deployment = Deployment::start("");
    deployment.run(
        "charger add SAFE-1",
        &["--password", "correct horse battery"],
    );
    let is_known = crate::deployment::until(std::time::Duration::from_secs(60), || {
        crate::handshake::handshake_status(deployment.ocpp, "SAFE-1").0 == 401
    });
    assert!(is_known, "a charger with a password is accepted without it");
    let answers = charging_session(&deployment, "1.6", "SAFE-1", Some("correct horse battery"));
    assert_eq!(answers["boot"], "Accepted");
    let wrong = Command::new(python())
        .arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/python/charging_session.py"))
        .arg(format!("ws://{}/ocpp", deployment.ocpp))
        .args(["1.6", "SAFE-1", "wrong horse"])
        .output()
        .expect("run Python");
    assert!(!wrong.status.success());
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("401"));
}
