//! Client libraries that we did not write.

use crate::deployment::Deployment;
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

fn python() -> PathBuf {
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

/// Lives a charging life with the Python package `ocpp`, whose JSON schemas validate every answer of
/// ours, and returns what the charger was told.
fn charging_life(
    deployment: &Deployment,
    version: &str,
    identity: &str,
    password: Option<&str>,
) -> Value {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/python/charging_life.py");
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
    serde_json::from_slice(&output.stdout).expect("what the charger was told")
}

fn a_charging_life_is_answered_and_stored(version: &str) {
    let mut deployment = Deployment::start("");
    let identity = format!("STRANGER-{version}");
    let told = charging_life(&deployment, version, &identity, None);
    assert_eq!(told["boot"], "Accepted");
    assert_eq!(told["authorize"], "Accepted");
    assert_eq!(told["start"], "Accepted");
    assert_eq!(told["data_transfer"], "UnknownVendorId");
    assert!(
        told["interval"]
            .as_i64()
            .is_some_and(|interval| interval > 0)
    );
    assert!(
        told["extensions"].to_string().contains("PerMessageDeflate"),
        "compression was offered and is agreed to (C-9): {told}"
    );
    assert!(deployment.stop().success());

    let transactions = deployment.transactions();
    assert_eq!(transactions.len(), 1, "{transactions:?}");
    let transaction = &transactions[0];
    assert_eq!(
        transaction["transaction_id"].to_string().trim_matches('"'),
        told["transaction_id"].to_string().trim_matches('"')
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

#[test]
fn an_independent_client_passes_a_charging_life_in_1_6() {
    a_charging_life_is_answered_and_stored("1.6");
}

#[test]
fn an_independent_client_passes_a_charging_life_in_2_0_1() {
    a_charging_life_is_answered_and_stored("2.0.1");
}

#[test]
fn an_independent_client_passes_a_charging_life_in_2_1() {
    a_charging_life_is_answered_and_stored("2.1");
}

#[test]
fn a_charger_with_a_password_is_let_in_with_it_and_only_with_it() {
    let deployment = Deployment::start("");
    deployment.run(
        "charger add SAFE-1",
        &["--password", "correct horse battery"],
    );
    let known = crate::deployment::until(std::time::Duration::from_secs(20), || {
        crate::http::handshake_status(deployment.ocpp, "SAFE-1").0 == 401
    });
    assert!(
        known,
        "a charger with a password must not come in without one"
    );
    let told = charging_life(&deployment, "1.6", "SAFE-1", Some("correct horse battery"));
    assert_eq!(told["boot"], "Accepted");
    let wrong = Command::new(python())
        .arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/python/charging_life.py"))
        .arg(format!("ws://{}/ocpp", deployment.ocpp))
        .args(["1.6", "SAFE-1", "wrong horse"])
        .output()
        .expect("run Python");
    assert!(!wrong.status.success());
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("401"));
}
