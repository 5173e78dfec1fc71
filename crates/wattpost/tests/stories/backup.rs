//! A backup of a running `serve`, and what is restored from it.

use crate::charger::Charger;
use crate::deployment::{Deployment, FREE_PORTS};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// Sends heartbeats with these message ids, each of which must be acknowledged.
fn heartbeats(deployment: &Deployment, numbers: std::ops::Range<usize>) {
    let mut charger = Charger::connect(deployment.ocpp, "CP-1", "ocpp1.6");
    for number in numbers {
        let answer = charger.call(&format!("h{number:02}"), "Heartbeat", "{}");
        assert_eq!(answer[0], 3, "{answer}");
    }
}

/// The heartbeats that are stored: record id and message id.
fn stored(deployment: &Deployment) -> BTreeMap<String, String> {
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    let messages = deployment.messages();
    let ids: BTreeSet<String> = messages.iter().map(|one| text(&one["record_id"])).collect();
    assert_eq!(
        ids.len(),
        messages.len(),
        "each record id is of one message"
    );
    messages
        .iter()
        .filter(|message| message["action"] == "Heartbeat")
        .map(|message| (text(&message["record_id"]), text(&message["message_id"])))
        .collect()
}

fn message_ids(stored: &BTreeMap<String, String>) -> Vec<String> {
    let mut ids: Vec<String> = stored.values().cloned().collect();
    ids.sort();
    ids
}

fn numbers(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("h{number:02}")).collect()
}

/// Runs a command that must fail; returns its error.
fn refused(command: &mut Command) -> String {
    let output = command.output().expect("run wattpost");
    assert!(!output.status.success(), "it succeeds");
    String::from_utf8(output.stderr).expect("UTF-8")
}

fn wattpost(arguments: &[&str], paths: &[&Path]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wattpost"));
    command.args(arguments).args(paths);
    command
}

fn flip_a_bit(file: &Path) {
    let mut bytes = std::fs::read(file).expect("read a file of the backup");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file, bytes).expect("write the file");
}

#[test]
fn what_was_acknowledged_before_a_backup_is_restored_once_and_no_record_id_is_used_twice() {
    let outside = tempfile::tempdir().expect("create a temporary directory");
    let (backup, data) = (outside.path().join("backup"), outside.path().join("data"));
    let mut deployment = Deployment::start("");
    heartbeats(&deployment, 0..5);
    let lock = deployment.lock_database();
    // These are acknowledged, and in the journal only.
    heartbeats(&deployment, 5..10);
    // One that was killed left this.
    std::fs::create_dir(outside.path().join("backup.partial")).expect("create a directory");
    let said = deployment.run("backup", &[backup.to_str().expect("UTF-8")]);
    assert!(said.contains("everything acknowledged until"), "{said}");
    drop(lock);
    heartbeats(&deployment, 10..15);
    deployment.stop_when_stored();
    let original = stored(&deployment);
    assert_eq!(message_ids(&original), numbers(0..15));
    let gateway = |data: &Path| std::fs::read_to_string(data.join("gateway-id")).ok();
    let first_gateway = gateway(deployment.data_dir());

    let used = refused(deployment.command("restore").arg(&backup));
    assert!(
        used.contains("not empty") && used.contains("stop Wattpost"),
        "{used}"
    );
    let again = refused(deployment.command("backup").arg(&backup));
    assert!(again.contains("exists"), "{again}");

    // A restore that was killed is repeated, and nothing starts before.
    std::fs::create_dir(&data).expect("create a directory");
    let marker = data.join("restore-unfinished");
    std::fs::write(&marker, "/elsewhere/wattpost.db\n").expect("write a file");
    let other = refused(&mut wattpost(&["restore", "--data-dir"], &[&data, &backup]));
    assert!(
        other.contains("made another database, /elsewhere/wattpost.db"),
        "{other}"
    );
    let database = format!("{}\n", data.join("wattpost.db").display());
    std::fs::write(&marker, database).expect("write a file");
    std::fs::write(data.join("wattpost.db.restoring"), "half").expect("write a file");
    let unfinished = refused(wattpost(&["serve", "--data-dir"], &[&data]).args(FREE_PORTS));
    assert!(unfinished.contains("wattpost restore"), "{unfinished}");
    let restored = wattpost(&["restore", "--data-dir"], &[&data, &backup]).output();
    let restored = restored.expect("run wattpost restore");
    let error = String::from_utf8_lossy(&restored.stderr);
    assert!(restored.status.success(), "{error}");

    drop(deployment);
    let dir = tempfile::tempdir().expect("create a temporary directory");
    let mut deployment = Deployment::start_in(dir, data.clone(), "");
    assert_eq!(message_ids(&stored(&deployment)), numbers(0..10));
    heartbeats(&deployment, 20..25);
    deployment.stop_when_stored();
    let now = stored(&deployment);
    let mut expected = numbers(0..10);
    expected.extend(numbers(20..25));
    assert_eq!(message_ids(&now), expected);
    for (record, message) in &now {
        let before = original.get(record);
        assert!(before.is_none_or(|before| before == message), "{record}");
    }
    assert_ne!(gateway(&data), first_gateway);
    unusable_backups_are_refused(&backup, outside.path());
}

/// Spoils the backup in one way after the other.
fn unusable_backups_are_refused(backup: &Path, outside: &Path) {
    let verify = || wattpost(&["backup", "verify"], &[backup]);
    assert!(verify().status().expect("run wattpost").success());
    let empty = outside.join("empty");
    let restore = || wattpost(&["restore", "--data-dir"], &[&empty, backup]);
    let manifest = backup.join("manifest.json");
    let whole = std::fs::read_to_string(&manifest).expect("read the manifest");
    for (spoil, words) in [
        ("\"format\": 1", ["\"format\": 2", "newer"]),
        ("\"schema\": ", ["\"schema\": 9", "newer"]),
        ("\"files\"", ["\"flies\"", "manifest.json"]),
    ] {
        std::fs::write(&manifest, whole.replace(spoil, words[0])).expect("write the manifest");
        for mut command in [verify(), restore()] {
            let error = refused(&mut command);
            assert!(error.contains(words[1]), "{spoil}: {error}");
        }
    }
    std::fs::write(&manifest, whole).expect("write the manifest");
    for name in ["records", "wattpost.db"] {
        let file = backup.join(name);
        flip_a_bit(&file);
        for mut command in [verify(), restore()] {
            let error = refused(&mut command);
            let is_named = error.contains(&file.display().to_string());
            assert!(is_named && error.contains("damaged"), "{error}");
        }
        flip_a_bit(&file);
    }
    assert!(verify().status().expect("run wattpost").success());
    std::fs::remove_file(&manifest).expect("remove the manifest");
    let error = refused(&mut restore());
    assert!(error.contains("not completed"), "{error}");
    assert!(!empty.exists(), "nothing was written");
}
