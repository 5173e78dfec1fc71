//! A bit rots in the journal before its record is delivered.

use crate::charger::Charger;
use crate::deployment::{Deployment, until};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const MESSAGES: usize = 400;
const SETTINGS: &str = "[journal]\nmax_bytes = \"16 MiB\"\nsegment_bytes = \"64 KiB\"\n\
    [gateway]\nresend_replay_max_bytes = 65536\n";

/// `wattpost journal …`: its exit code and what it says.
fn journal(deployment: &Deployment, arguments: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_wattpost"))
        .arg("journal")
        .args(arguments)
        .arg("--data-dir")
        .arg(deployment.data_dir())
        .output()
        .expect("run wattpost journal");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().expect("an exit code"), said)
}

fn stored(deployment: &Deployment) -> usize {
    let messages = deployment.messages();
    let is_ours = |message: &&serde_json::Value| message["action"] == "DataTransfer";
    messages.iter().filter(is_ours).count()
}

#[test]
fn a_rotten_record_is_told_at_once_and_costs_nothing_but_itself() {
    let mut deployment = Deployment::start(SETTINGS);
    let mut charger = Charger::connect(deployment.ocpp, "CP-1", "ocpp1.6");
    charger.call(
        "boot",
        "BootNotification",
        r#"{"chargePointVendor":"V","chargePointModel":"M"}"#,
    );
    let first = || deployment.messages().len() >= 3;
    assert!(until(Duration::from_secs(20), first), "nothing is stored");
    let lock = rusqlite::Connection::open(deployment.data_dir().join("wattpost.db"))
        .expect("open the database");
    lock.busy_timeout(Duration::from_secs(10))
        .expect("set the timeout");
    lock.execute_batch("BEGIN EXCLUSIVE")
        .expect("lock the database");
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

    // A bit in the middle of a segment that is sealed and not delivered.
    let (code, said) = journal(&deployment, &["inspect", "--json"]);
    assert_eq!(code, 0, "{said}");
    let found: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert!(
        found["waiting_records"].as_u64() >= Some(MESSAGES as u64),
        "{said}"
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
    let told = || {
        let (status, body) = deployment.get("/health/ready");
        status == 503 && body.contains(&name) && body.contains("wattpost journal salvage")
    };
    assert!(
        until(Duration::from_secs(30), told),
        "{:?}; log:\n{}",
        deployment.get("/health/ready"),
        deployment.log_tail()
    );
    let counted = || {
        deployment.metric("wattpost_gateway_journal_damaged_places") == 1.0
            && deployment.metric("wattpost_gateway_journal_unreadable_total") > 0.0
    };
    assert!(until(Duration::from_secs(30), counted));
    // Chargers are served meanwhile, and what lies before the damage is stored.
    let mut other = Charger::connect(deployment.ocpp, "CP-2", "ocpp1.6");
    let answer = other.call("late", "DataTransfer", r#"{"vendorId":"v"}"#);
    assert_eq!(answer[0], 3, "{answer}");
    let before = stored(&deployment);
    assert!((1..MESSAGES).contains(&before), "{before} are stored");
    let (code, said) = journal(&deployment, &["inspect"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("the gateway runs; stop it first"), "{said}");

    deployment.kill();
    for looking in [&["inspect"][..], &["salvage"]] {
        let (code, said) = journal(&deployment, looking);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(&name), "{said}");
    }
    let (code, said) = journal(&deployment, &["salvage", "--yes"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("salvaged: 1 records"), "{said}");
    assert_eq!(journal(&deployment, &["inspect"]).0, 0);

    deployment.restart();
    let whole = || deployment.get("/health/ready").0 == 200 && stored(&deployment) == MESSAGES;
    assert!(
        until(Duration::from_secs(30), whole),
        "{} are stored; {:?}",
        stored(&deployment),
        deployment.get("/health/ready")
    );
    let letters = deployment.run("deadletters list", &["--json"]);
    let letters: Vec<serde_json::Value> = letters
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(letters.len(), 1, "{letters:?}");
    let content = letters[0]["content"].as_str().expect("a text");
    assert!(content.contains("xxxxxxxx"), "{content}");
    assert!(
        letters[0]["reason"]
            .as_str()
            .expect("a text")
            .contains("damaged")
    );
}
