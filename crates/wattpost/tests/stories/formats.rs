//! A data directory that each earlier release has written is upgraded with everything in it.
//!
//! `scripts/fixtures.sh` makes the files of a release (CONTRIBUTING.md). Their journal has records that were acknowledged and
//! not stored, and the expected rows are what the release itself made of them.

use crate::deployment::{Deployment, until};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The directories of all releases.
fn releases() -> Vec<PathBuf> {
    let formats = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats");
    let entries = std::fs::read_dir(formats).expect("the formats");
    let mut releases: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    releases.sort();
    assert!(!releases.is_empty());
    releases
}

fn output_of(program: &str, arguments: &[&str], path: &Path) -> String {
    let output = Command::new(program).args(arguments).arg(path).output();
    let output = output.expect("run a program");
    assert!(output.status.success(), "{program} {}", path.display());
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn by<'a>(rows: &'a [Value], key: &str) -> BTreeMap<&'a str, &'a Value> {
    rows.iter()
        .map(|row| (row[key].as_str().expect("a text"), row))
        .collect()
}

/// The members of a row that a release has written and this program must give back.
fn assert_kept(expected: &[Value], found: &[Value], key: &str, members: &[&str]) {
    let found = by(found, key);
    for (id, row) in by(expected, key) {
        let kept = found
            .get(id)
            .unwrap_or_else(|| panic!("{key} {id} is missing"));
        for member in members {
            assert!(row.get(member).is_some(), "{member}");
            assert_eq!(row[member], kept[member], "{member} of {key} {id}");
        }
    }
}

#[test]
fn data_directory_of_each_release_is_upgraded_and_its_journal_is_delivered() {
    for release in releases() {
        let dir = tempfile::tempdir().expect("create a temporary directory");
        let data = dir.path().join("data");
        std::fs::create_dir(&data).expect("create a directory");
        let archive = release.join("data.tar.gz");
        let directory = data.to_str().expect("UTF-8");
        output_of("tar", &["-C", directory, "-xzf"], &archive);
        let expected = |name: &str| -> Vec<Value> {
            output_of("gzip", &["-dc"], &release.join(name))
                .lines()
                .map(|line| serde_json::from_str(line).expect("a line of NDJSON"))
                .collect()
        };
        let (messages, transactions) = (
            expected("messages.ndjson.gz"),
            expected("transactions.ndjson.gz"),
        );
        let inspected = output_of(
            env!("CARGO_BIN_EXE_wattpost"),
            &["journal", "inspect", "--data-dir"],
            &data,
        );
        assert!(inspected.contains("no damage"), "{inspected}");
        assert!(!inspected.contains(", 0 records wait"), "{inspected}");

        let deployment = Deployment::start_in(dir, data, "");
        let is_delivered = until(Duration::from_secs(60), || {
            deployment.metric("wattpost_journal_waiting_records") == 0.0
        });
        assert!(is_delivered, "{}", deployment.log_tail());
        let found = deployment.messages();
        // Connections and starts that the release has recorded after the files were copied are not in them.
        let messages: Vec<Value> = messages
            .into_iter()
            .filter(|row| row["kind"] == "call")
            .collect();
        assert!(messages.len() > 50, "{}", messages.len());
        let members = [
            "charger_id",
            "ocpp_version",
            "kind",
            "message_id",
            "action",
            "payload",
            "answer",
            "received_at",
            "gateway_id",
            "seq",
        ];
        assert_kept(&messages, &found, "record_id", &members);
        let calls = found.iter().filter(|row| row["kind"] == "call").count();
        assert_eq!(messages.len(), calls, "none is there twice");
        let members = ["charger_id", "started_at", "ended_at", "energy_wh"];
        assert_kept(&transactions, &deployment.transactions(), "key", &members);
    }
}
