//! The journal or the database comes back from an old copy.

use crate::charger::Charger;
use crate::deployment::{Deployment, until, wait_for_exit};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

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
    let mut refused = deployment
        .command("serve")
        .args(["--ocpp-listen", "127.0.0.1:0"])
        .args(["--http-listen", "127.0.0.1:0"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start wattpost");
    let status = wait_for_exit(&mut refused, Duration::from_secs(20)).expect("it ends");
    let output = refused.wait_with_output().expect("read its words");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!status.success());
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
