//! The journal or the database is restored from an old copy.

use crate::charger::Charger;
use crate::deployment::{Deployment, FREE_PORTS, until};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use testbed::Process;

const HEARTBEATS: usize = 5;

/// Sends heartbeats, each of which must be acknowledged.
fn heartbeats(deployment: &Deployment, from: usize) {
    let mut charger = Charger::connect(deployment.ocpp, "CP-1", "ocpp1.6");
    for number in from..from + HEARTBEATS {
        let answer = charger.call(&format!("h{number}"), "Heartbeat", "{}");
        assert_eq!(answer[0], 3, "{answer}");
    }
}

fn heartbeats_stored(deployment: &Deployment) -> Vec<String> {
    let mut ids: Vec<String> = deployment
        .messages()
        .iter()
        .filter(|message| message["action"] == "Heartbeat")
        .map(|message| message["message_id"].as_str().expect("a text").to_owned())
        .collect();
    ids.sort();
    ids
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp")
        .arg("-a")
        .args([from, to])
        .status()
        .expect("run cp");
    assert!(status.success());
}

#[test]
fn start_with_an_old_copy_of_the_journal_is_refused_and_the_remedy_works() {
    let mut deployment = Deployment::start("");
    let journal = deployment.data_dir().join("journal");
    let old = deployment.path("old-journal");
    heartbeats(&deployment, 0);
    deployment.stop_when_stored();
    copy(&journal, &old);
    deployment.restart();
    heartbeats(&deployment, HEARTBEATS);
    deployment.stop_when_stored();

    std::fs::remove_dir_all(&journal).expect("remove the journal");
    copy(&old, &journal);
    let error = refused(&deployment);
    assert!(
        error.contains("older copy") && error.contains("move the directory"),
        "{error}"
    );

    // The remedy in the error.
    std::fs::rename(&journal, deployment.path("away")).expect("move the journal away");
    deployment.restart();
    heartbeats(&deployment, 2 * HEARTBEATS);
    deployment.stop_when_stored();
    let expected: Vec<String> = {
        let mut ids: Vec<String> = (0..3 * HEARTBEATS).map(|n| format!("h{n}")).collect();
        ids.sort();
        ids
    };
    assert_eq!(heartbeats_stored(&deployment), expected);
}

/// Starts a `serve` that must fail; returns its error.
fn refused(deployment: &Deployment) -> String {
    let mut command = deployment.command("serve");
    command.args(FREE_PORTS);
    let command = Process::wrap(&command).expect("setpriv is installed");
    let log = tempfile::NamedTempFile::new().expect("make a temporary file");
    let mut process = Process::start(command, "wattpost serve", log.path()).expect("start");
    let status = process.wait(Duration::from_secs(60)).expect("a status");
    let error = std::fs::read_to_string(log.path()).expect("read its log");
    assert!(!status.expect("it ends").success(), "{error}");
    error
}

#[test]
fn one_wrong_number_in_the_database_can_be_disregarded_but_not_an_old_journal() {
    let mut deployment = Deployment::start("");
    let journal = deployment.data_dir().join("journal");
    let old = deployment.path("old-journal");
    heartbeats(&deployment, 0);
    deployment.stop_when_stored();
    copy(&journal, &old);
    let database =
        rusqlite::Connection::open(deployment.database_file()).expect("open the database");
    let wrong = 123_456_789;
    database
        .execute(
            "INSERT INTO dead_letters (gateway_no, seq, bytes, reason, at)
             SELECT gateway_no, ?1, x'00', 'by hand', 0 FROM
             (SELECT no AS gateway_no FROM gateways LIMIT 1)",
            [wrong],
        )
        .expect("insert a row");
    drop(database);
    let error = refused(&deployment);
    let setting = format!("journal.disregard_seq = {wrong}");
    assert!(error.contains(&setting), "{error}");

    // The remedy in the error.
    deployment.write_settings(&format!("[journal]\ndisregard_seq = {wrong}\n"));
    deployment.restart();
    heartbeats(&deployment, HEARTBEATS);
    deployment.stop_when_stored();
    assert_eq!(heartbeats_stored(&deployment).len(), 2 * HEARTBEATS);

    std::fs::remove_dir_all(&journal).expect("remove the journal");
    copy(&old, &journal);
    let error = refused(&deployment);
    assert!(error.contains("older copy"), "{error}");
}

#[test]
fn old_copy_of_the_database_gets_the_records_that_the_journal_still_keeps() {
    let mut deployment = Deployment::start("");
    let database = deployment.database_file();
    let old = deployment.path("old.db");
    heartbeats(&deployment, 0);
    deployment.stop_when_stored();
    // SQLite removes the write-ahead log when the last connection is closed, so the file is complete.
    assert!(!deployment.data_dir().join("wattpost.db-wal").exists());
    copy(&database, &old);
    deployment.restart();
    heartbeats(&deployment, HEARTBEATS);
    deployment.stop_when_stored();
    let all = heartbeats_stored(&deployment);
    assert_eq!(all.len(), 2 * HEARTBEATS);

    std::fs::copy(&old, &database).expect("put the old copy back");
    assert_eq!(heartbeats_stored(&deployment).len(), HEARTBEATS);
    deployment.restart();
    assert!(until(Duration::from_secs(60), || {
        heartbeats_stored(&deployment) == all
    }));
    assert!(
        deployment.log().contains("lacks records"),
        "{}",
        deployment.log()
    );
    deployment.stop_when_stored();
}
