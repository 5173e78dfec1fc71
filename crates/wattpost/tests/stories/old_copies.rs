//! The journal or the database comes back from an old copy.

use crate::charger::Charger;
use crate::deployment::{Deployment, until};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use testbed::Process;

const HEARTBEATS: usize = 5;

/// Heartbeats of one charger, each acknowledged.
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
fn a_journal_from_an_old_copy_is_refused_with_the_cure_and_the_cure_works() {
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
    let said = refused(&deployment);
    assert!(
        said.contains("older copy") && said.contains("move the directory"),
        "{said}"
    );

    // As the sentence says.
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

/// Starts a `serve` that must refuse, and returns what it said.
fn refused(deployment: &Deployment) -> String {
    let mut command = deployment.command("serve");
    command
        .args(["--ocpp-listen", "127.0.0.1:0"])
        .args(["--http-listen", "127.0.0.1:0"]);
    let command = Process::wrap(&command).expect("setpriv is installed");
    let log = tempfile::NamedTempFile::new().expect("make a temporary file");
    let mut process = Process::start(command, "wattpost serve", log.path()).expect("start");
    let status = process.wait(Duration::from_secs(20)).expect("a status");
    let said = std::fs::read_to_string(log.path()).expect("read its words");
    assert!(!status.expect("it ends").success(), "{said}");
    said
}

#[test]
fn one_wrong_number_in_the_database_can_be_disregarded_and_an_old_journal_beside_it_cannot() {
    let mut deployment = Deployment::start("");
    let journal = deployment.data_dir().join("journal");
    let old = deployment.path("old-journal");
    heartbeats(&deployment, 0);
    deployment.stop_when_stored();
    copy(&journal, &old);
    let database = rusqlite::Connection::open(deployment.data_dir().join("wattpost.db"))
        .expect("open the database");
    let wrong = 123_456_789;
    database
        .execute(
            "INSERT INTO dead_letters (gateway_no, seq, bytes, reason, at)
             SELECT gateway_no, ?1, x'00', 'by hand', 0 FROM
             (SELECT no AS gateway_no FROM gateways LIMIT 1)",
            [wrong],
        )
        .expect("a row by hand");
    drop(database);
    let said = refused(&deployment);
    let setting = format!("journal.disregard_seq = {wrong}");
    assert!(said.contains(&setting), "{said}");

    // As the sentence says.
    let settings = format!("[journal]\ndisregard_seq = {wrong}\n");
    std::fs::write(deployment.path("wattpost.toml"), settings).expect("write the settings");
    deployment.restart();
    heartbeats(&deployment, HEARTBEATS);
    deployment.stop_when_stored();
    assert_eq!(heartbeats_stored(&deployment).len(), 2 * HEARTBEATS);

    std::fs::remove_dir_all(&journal).expect("remove the journal");
    copy(&old, &journal);
    let said = refused(&deployment);
    assert!(said.contains("older copy"), "{said}");
}

#[test]
fn a_database_from_an_old_copy_gets_again_what_the_journal_still_keeps() {
    let mut deployment = Deployment::start("");
    let database = deployment.data_dir().join("wattpost.db");
    let old = deployment.path("old.db");
    heartbeats(&deployment, 0);
    deployment.stop_when_stored();
    // Whoever closes it last leaves no log behind, so the file is all there is.
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
    assert!(until(Duration::from_secs(20), || {
        heartbeats_stored(&deployment) == all
    }));
    assert!(
        deployment.log().contains("lacks records"),
        "{}",
        deployment.log()
    );
    deployment.stop_when_stored();
}
