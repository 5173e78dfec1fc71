//! What a person gets who made a mistake: one sentence that names the key, the value and the cure.

use crate::deployment::Deployment;
use std::process::Command;

fn wattpost(arguments: &[&str]) -> (bool, String, String) {
    let dir = tempfile::tempdir().expect("make a temporary directory");
    let output = Command::new(env!("CARGO_BIN_EXE_wattpost"))
        .args(arguments)
        .current_dir(dir.path())
        .output()
        .expect("run wattpost");
    (
        output.status.success(),
        String::from_utf8(output.stdout).expect("UTF-8"),
        String::from_utf8(output.stderr).expect("UTF-8"),
    )
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = taken.local_addr().expect("an address").to_string();
    let (ok, _, said) = wattpost(&[
        "serve",
        "--ocpp-listen",
        &address,
        "--http-listen",
        "127.0.0.1:0",
    ]);
    assert!(!ok);
    assert!(said.contains(&address) && said.contains("in use"), "{said}");
}

#[test]
fn a_second_process_on_the_same_data_directory_is_refused() {
    let deployment = Deployment::start("");
    let output = deployment
        .command("serve")
        .args([
            "--ocpp-listen",
            "127.0.0.1:0",
            "--http-listen",
            "127.0.0.1:0",
        ])
        .output()
        .expect("run wattpost");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        said.contains("journal") && said.contains("another"),
        "{said}"
    );
}

#[test]
fn a_setting_in_the_environment_is_checked_like_any_other() {
    let dir = tempfile::tempdir().expect("make a temporary directory");
    let output = Command::new(env!("CARGO_BIN_EXE_wattpost"))
        .arg("check")
        .env("WATTPOST__JOURNAL__MAX_BYTES", "plenty")
        .current_dir(dir.path())
        .output()
        .expect("run wattpost");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        said.contains("journal.max_bytes") && said.contains("plenty"),
        "{said}"
    );
}

#[test]
fn check_says_that_all_is_well_or_what_is_not() {
    let (ok, said, _) = wattpost(&[
        "check",
        "--ocpp-listen",
        "127.0.0.1:0",
        "--http-listen",
        "127.0.0.1:0",
    ]);
    assert!(ok && said.contains("ok"), "{said}");
    let (ok, said, error) = wattpost(&["check", "--config", "nowhere.toml"]);
    assert!(!ok && error.contains("nowhere.toml"), "{said}{error}");
    // A data directory below a file can be made by nobody, not even the superuser.
    let (ok, said, error) = wattpost(&["check", "--data-dir", "/dev/null/data"]);
    assert!(!ok && (said + &error).contains("data_dir"), "{error}");
}

#[test]
fn old_name_of_a_setting_in_the_environment_stops_the_check_and_names_the_new_variable() {
    let output = Command::new(env!("CARGO_BIN_EXE_wattpost"))
        .arg("check")
        .env("WATTPOST__GATEWAY__BATCH_MAX_RECORDS", "4711")
        .output()
        .expect("run wattpost");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for word in [
        "WATTPOST__GATEWAY__BATCH_MAX_RECORDS",
        "4711",
        "WATTPOST__GATEWAY__BATCH_RECORDS_MAX",
    ] {
        assert!(said.contains(word), "{said:?} does not contain {word:?}");
    }
}

#[test]
fn help_teaches() {
    let (ok, said, _) = wattpost(&["--help"]);
    assert!(ok);
    for word in [
        "serve", "simulate", "export", "audit", "charger", "token", "check", "ws://",
    ] {
        assert!(said.contains(word), "{word} is not in the help");
    }
    let (ok, said, _) = wattpost(&["export", "messages", "--help"]);
    assert!(
        ok && said.contains("--charger") && said.contains("csv"),
        "{said}"
    );
}
