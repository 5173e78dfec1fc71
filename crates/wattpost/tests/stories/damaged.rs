//! A bit of the journal flips on disk before its record is delivered.

use crate::charger::Charger;
use crate::deployment::{Deployment, until};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const MESSAGES: usize = 400;
const SETTINGS: &str = "[journal]\nbytes_max = \"16 MiB\"\nsegment_bytes = \"64 KiB\"\n\
    [gateway]\nresend_replay_bytes_max = 65536\n\
    [alerts]\ninterval_ms = 500\n[alerts.rules]\nkeep_firing_s = { JournalDamaged = 0 }\n";

/// Runs `wattpost journal …`; returns exit code and output.
fn journal(deployment: &Deployment, arguments: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_wattpost"))
        .arg("journal")
        .args(arguments)
        .arg("--data-dir")
        .arg(deployment.data_dir())
        .output()
        .expect("run wattpost journal");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().expect("an exit code"), printed)
}

/// Whether there is an alert `JournalDamaged` in this state.
fn is_alert(deployment: &Deployment, state: &str) -> bool {
    let path = format!("/api/v1/alerts?name=JournalDamaged&state={state}");
    let (_, body) = deployment.get(&path);
    let page: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    page["items"].as_array().is_some_and(|all| !all.is_empty())
}

fn stored(deployment: &Deployment) -> usize {
    let messages = deployment.messages();
    let is_ours = |message: &&serde_json::Value| message["action"] == "DataTransfer";
    messages.iter().filter(is_ours).count()
}

#[test]
fn damaged_record_is_reported_at_once_and_all_others_are_delivered() {
    let mut deployment = Deployment::start(SETTINGS);
    let mut charger = Charger::connect(deployment.ocpp, "CP-1", "ocpp1.6");
    charger.call(
        "boot",
        "BootNotification",
        r#"{"chargePointVendor":"V","chargePointModel":"M"}"#,
    );
    let first = || deployment.messages().len() >= 3;
    assert!(until(Duration::from_secs(60), first), "nothing is stored");
    let lock = deployment.lock_database();
    let filler = "x".repeat(1_000);
    for n in 0..MESSAGES {
        let answer = charger.call(
            &n.to_string(),
            "DataTransfer",
            &format!(r#"{{"vendorId":"v","data":"{filler}"}}"#),
        );
        assert_eq!(answer[0], 3, "{answer}");
    }
    deployment.kill();
    drop(lock);

    // Flips a bit in the middle of a sealed segment that is not delivered.
    let (code, printed) = journal(&deployment, &["inspect", "--json"]);
    assert_eq!(code, 0, "{printed}");
    let found: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
    assert!(
        found["waiting_records"].as_u64() >= Some(MESSAGES as u64),
        "{printed}"
    );
    let segment = &found["segments"][2];
    let path = PathBuf::from(segment["file"].as_str().expect("a path"));
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(&path)
        .expect("open the segment");
    let middle = file.metadata().expect("a length").len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, middle).expect("read");
    file.write_all_at(&[byte[0] ^ 1], middle).expect("write");

    deployment.restart();
    let name = path
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    let is_reported = || {
        let (_, body) = deployment.get("/health");
        deployment.health_status() == "degraded"
            && body.contains(&name)
            && body.contains("wattpost journal salvage")
    };
    assert!(
        until(Duration::from_secs(60), is_reported),
        "{:?}; log:\n{}",
        deployment.get("/health"),
        deployment.log_tail()
    );
    let is_counted = || {
        deployment.metric("wattpost_gateway_journal_damaged_places") == 1.0
            && deployment.metric("wattpost_gateway_journal_unreadable_total") > 0.0
    };
    assert!(until(Duration::from_secs(60), is_counted));
    let fires = || is_alert(&deployment, "firing");
    assert!(until(Duration::from_secs(60), fires), "no JournalDamaged");
    // Chargers are served meanwhile, and the records before the damage are stored.
    let mut other = Charger::connect(deployment.ocpp, "CP-2", "ocpp1.6");
    let answer = other.call("late", "DataTransfer", r#"{"vendorId":"v"}"#);
    assert_eq!(answer[0], 3, "{answer}");
    let before = stored(&deployment);
    assert!((1..MESSAGES).contains(&before), "{before} are stored");
    let (code, printed) = journal(&deployment, &["inspect"]);
    assert_eq!(code, 1, "{printed}");
    assert!(
        printed.contains("the gateway runs; stop it first"),
        "{printed}"
    );

    deployment.kill();
    for arguments in [&["inspect"][..], &["salvage"]] {
        let (code, printed) = journal(&deployment, arguments);
        assert_eq!(code, 1, "{printed}");
        assert!(printed.contains(&name), "{printed}");
    }
    let left = deployment.path("left.ndjson");
    let out = ["salvage", "--out", left.to_str().expect("UTF-8")];
    assert_eq!(journal(&deployment, &out).0, 1, "nothing was changed");
    let text = std::fs::read_to_string(&left).expect("read the file");
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let waiting = lines.iter().filter(|line| line["action"] == "DataTransfer");
    let readable = waiting.count();
    assert!(
        readable >= MESSAGES - before && readable <= MESSAGES,
        "{readable}"
    );
    let damaged: Vec<_> = lines
        .iter()
        .filter(|line| line["damaged"].is_object())
        .collect();
    assert_eq!(damaged.len(), 1, "{damaged:?}");
    let (from, bytes) = (
        &damaged[0]["damaged"]["byte"],
        &damaged[0]["damaged"]["length"],
    );
    let from = from.as_u64().expect("a number");
    assert!((from..from + bytes.as_u64().expect("a number")).contains(&middle));
    assert_eq!(lines.last().expect("a line")["end"]["damaged"], 1);
    let (code, printed) = journal(&deployment, &out);
    assert!(code == 1 && printed.contains("which exists"), "{printed}");
    let (code, printed) = journal(&deployment, &["salvage", "--yes"]);
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("salvaged: 1 records"), "{printed}");
    assert_eq!(journal(&deployment, &["inspect"]).0, 0);

    deployment.restart();
    let is_complete = || deployment.health_status() == "works" && stored(&deployment) == MESSAGES;
    assert!(
        until(Duration::from_secs(60), is_complete),
        "{} are stored; {:?}",
        stored(&deployment),
        deployment.get("/health")
    );
    let has_ended = || is_alert(&deployment, "resolved");
    let has_ended = until(Duration::from_secs(60), has_ended);
    assert!(has_ended, "JournalDamaged has not ended");
    let dead_letters = deployment.run("deadletters list", &["--json"]);
    let dead_letters: Vec<serde_json::Value> = dead_letters
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(dead_letters.len(), 1, "{dead_letters:?}");
    let content = dead_letters[0]["content"].as_str().expect("a text");
    assert!(content.contains("xxxxxxxx"), "{content}");
    assert!(
        dead_letters[0]["reason"]
            .as_str()
            .expect("a text")
            .contains("damaged")
    );
}
