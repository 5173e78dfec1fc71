//! A backup of a running `serve`, and what is restored from it.

use crate::charger::Charger;
use crate::deployment::{Deployment, FREE_PORTS};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

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

/// Some megabytes, so that a copy takes long enough to be killed in its middle.
fn fill_database(deployment: &Deployment) {
    let mut charger = Charger::connect(deployment.ocpp, "CP-1", "ocpp1.6");
    for number in 0..10 {
        let text = format!("{number:07}").repeat(1 << 17);
        let data = format!(r#"{{"vendorId":"V","data":"{text}"}}"#);
        assert_eq!(
            charger.call(&format!("d{number:02}"), "DataTransfer", &data)[0],
            3
        );
    }
}

/// Starts the command until `is_there` is true while it still runs, and passes it on.
fn in_the_middle(mut command: impl FnMut() -> Command, is_there: impl Fn() -> bool) -> Child {
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        let mut child = command()
            .stderr(Stdio::piped())
            .spawn()
            .expect("run wattpost");
        while child.try_wait().expect("ask for its end").is_none() {
            if is_there() {
                let pid = Pid::from_child(&child);
                kill_process(pid, Signal::STOP).expect("stop it");
                return child;
            }
        }
    }
    panic!("it always ended before it was seen in the middle");
}

fn kill(mut child: Child) {
    child.kill().expect("kill -9");
    child.wait().expect("wait for its end");
}

#[test]
fn a_backup_and_a_restore_that_are_killed_in_the_middle_lose_nothing_and_are_repeated() {
    let outside = tempfile::tempdir().expect("create a temporary directory");
    let (backup, data) = (outside.path().join("backup"), outside.path().join("data"));
    let partial = outside.path().join("backup.partial");
    let mut deployment = Deployment::start("");
    fill_database(&deployment);
    heartbeats(&deployment, 0..5);
    let back_up = || {
        let _ = std::fs::remove_dir_all(&backup);
        let mut command = deployment.command("backup");
        command.arg(&backup);
        command
    };
    let is_written = |name: &'static str| {
        let file = partial.join(name);
        move || std::fs::metadata(&file).is_ok_and(|file| file.len() > 0)
    };
    for file in ["records", "wattpost.db"] {
        // Without a record that waits, the file is empty.
        let lock = (file == "records").then(|| {
            let lock = deployment.lock_database();
            heartbeats(&deployment, 5..7);
            lock
        });
        let killed = in_the_middle(back_up, is_written(file));
        // Another one with this name waits for nobody.
        let other = refused(&mut back_up());
        assert!(other.contains("another backup writes"), "{other}");
        kill(killed);
        drop(lock);
        assert!(!backup.exists());
        for directory in [&backup, &partial] {
            let error = refused(&mut wattpost(&["backup", "verify"], &[directory]));
            assert!(error.contains("not completed"), "{error}");
            let error = refused(&mut wattpost(
                &["restore", "--data-dir"],
                &[&data, directory],
            ));
            assert!(error.contains("not completed"), "{error}");
        }
        assert!(!data.exists(), "nothing was written");
    }
    // `serve` has noticed nothing, and the next run with this name makes the backup.
    heartbeats(&deployment, 7..10);
    let made = back_up().status().expect("run wattpost");
    assert!(made.success() && !partial.exists());
    deployment.stop_when_stored();
    assert_eq!(message_ids(&stored(&deployment)), numbers(0..10));
    drop(deployment);

    let restore = || wattpost(&["restore", "--data-dir"], &[&data, &backup]);
    let (marker, copy) = (
        data.join("restore-unfinished"),
        data.join("wattpost.db.restoring"),
    );
    // The marker has a text once it is locked.
    let is_begun = || std::fs::metadata(&marker).is_ok_and(|marker| marker.len() > 0);
    for is_copied in [false, true] {
        let fresh = || {
            let _ = std::fs::remove_dir_all(&data);
            restore()
        };
        let stopped = in_the_middle(fresh, || is_begun() && (!is_copied || copy.exists()));
        let other = refused(&mut restore());
        assert!(other.contains("another restore fills"), "{other}");
        kill(stopped);
        assert!(marker.exists());
        let unfinished = refused(wattpost(&["serve", "--data-dir"], &[&data]).args(FREE_PORTS));
        assert!(unfinished.contains("wattpost restore"), "{unfinished}");
    }
    // It is repeated over what was left.
    let repeated = restore().output().expect("run wattpost restore");
    let error = String::from_utf8_lossy(&repeated.stderr);
    assert!(repeated.status.success() && !marker.exists(), "{error}");
    let dir = tempfile::tempdir().expect("create a temporary directory");
    let deployment = Deployment::start_in(dir, data, "");
    assert_eq!(message_ids(&stored(&deployment)), numbers(0..10));
}
