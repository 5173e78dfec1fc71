//! The error for a wrong setting is one sentence that names the key, the value and the remedy.

use crate::deployment::{Deployment, FREE_PORTS};
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
fn port_in_use_is_named() {
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
fn second_process_with_the_same_data_directory_is_refused() {
    let deployment = Deployment::start("");
    let output = deployment
        .command("serve")
        .args(FREE_PORTS)
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
fn setting_in_the_environment_is_validated() {
    let dir = tempfile::tempdir().expect("make a temporary directory");
    let output = Command::new(env!("CARGO_BIN_EXE_wattpost"))
        .arg("check")
        .env("WATTPOST__JOURNAL__BYTES_MAX", "plenty")
        .current_dir(dir.path())
        .output()
        .expect("run wattpost");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        said.contains("journal.bytes_max") && said.contains("plenty"),
        "{said}"
    );
}

#[test]
fn check_succeeds_or_names_what_is_wrong() {
    let (ok, said, _) = wattpost(&[&["check"], &FREE_PORTS[..]].concat());
    assert!(ok && said.contains("ok"), "{said}");
    let (ok, said, error) = wattpost(&["check", "--config", "nowhere.toml"]);
    assert!(!ok && error.contains("nowhere.toml"), "{said}{error}");
    // Not even root can create a directory below a file.
    let (ok, said, error) = wattpost(&["check", "--data-dir", "/dev/null/data"]);
    assert!(!ok && (said + &error).contains("data_dir"), "{error}");
}

#[test]
fn old_name_in_the_environment_is_an_error_that_names_the_new_variable() {
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
fn help_lists_subcommands_and_flags() {
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

#[test]
fn reader_that_closes_the_pipe_is_no_error() {
    let dir = tempfile::tempdir().expect("make a temporary directory");
    let (reader, writer) = std::io::pipe().expect("make a pipe");
    // Nobody reads from now on.
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_wattpost"))
        .args(["charger", "add", "CP-1"])
        .current_dir(dir.path())
        .stdout(writer)
        .output()
        .expect("run wattpost");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}
