//! The database is unavailable, the journal is full, the disk is full.

use crate::charger::Charger;
use crate::deployment::{Deployment, Fleet, until};
use crate::handshake::handshake_status;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use testbed::SmallDisk;

/// Alerts are judged twice a second, and fire and end at once.
const ALERTS: &str = r#"
[alerts]
interval_ms = 500
[alerts.rules]
for_s = { DatabaseLost = 0, JournalFilling = 0, DiskLow = 0, ConnectStorm = 0 }
keep_firing_s = { DatabaseLost = 0, JournalFull = 0, JournalFilling = 0, DiskLow = 0, NotDurableClosed = 0, ConnectStorm = 0 }
within_s = { NotDurableClosed = 20, ConnectStorm = 20 }
"#;

/// Waits until the log says that this alert fires: it cannot be stored now.
fn wait_for_alert(deployment: &Deployment, name: &str) {
    let name = format!("name=\"{name}\"");
    let is_told = until(Duration::from_secs(30), || {
        let log = deployment.log();
        let mut lines = log.lines();
        lines.any(|line| line.contains("an alert fires") && line.contains(&name))
    });
    assert!(is_told, "no {name}; log:\n{}", deployment.log_tail());
}

/// Waits until this alert has been stored, and has ended.
fn wait_for_end(deployment: &Deployment, name: &str) {
    // What happened within the last 20 seconds counts, and a process reports every 5 seconds.
    let items = |state: &str| -> usize {
        let (_, body) = deployment.get(&format!("/api/v1/alerts?name={name}&state={state}"));
        let page: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        page["items"].as_array().map_or(0, Vec::len)
    };
    let has_ended = until(Duration::from_secs(60), || {
        items("resolved") > 0 && items("firing") == 0
    });
    let (_, all) = deployment.get("/api/v1/alerts");
    assert!(has_ended, "{name} has not ended: {all}");
}

/// How long the database is unavailable: as long as an operator's `VACUUM` or backup may take.
const OUTAGE: Duration = Duration::from_secs(60);

#[test]
fn answers_continue_while_the_database_is_locked_for_a_minute() {
    answers_continue_during(|deployment| {
        let lock = deployment.lock_database();
        Box::new(move || drop(lock))
    });
}

#[test]
fn answers_continue_while_the_database_is_read_only_for_a_minute() {
    answers_continue_during(|deployment| {
        let files = ["wattpost.db", "wattpost.db-wal"].map(|name| deployment.data_dir().join(name));
        for file in &files {
            immutable(file, true);
        }
        Box::new(move || {
            for file in &files {
                immutable(file, false);
            }
        })
    });
}

/// Runs an outage under load. `disable` makes the database unavailable and returns the function that makes it available
/// again.
fn answers_continue_during(disable: impl FnOnce(&Deployment) -> Box<dyn FnOnce()>) {
    let mut deployment = Deployment::start("");
    let ledger = deployment.path("ledger.ndjson");
    let fleet = fleet(&deployment, &ledger, &["--rate", "5"]);
    deployment.wait_for_answers(500.0);

    let enable = disable(&deployment);
    let is_reported = until(Duration::from_secs(30), || {
        deployment.health_status() == "degraded"
    });
    assert!(
        is_reported,
        "/health does not report that the database is unavailable"
    );
    // Chargers are served, so the process stays in service.
    assert_eq!(deployment.get("/health/ready").0, 200);
    let is_named = until(Duration::from_secs(30), || !deployment.is_up("database"));
    assert!(is_named, "{:?}", deployment.get("/health"));
    let stored = deployment.metric("wattpost_consumer_records_applied_total");
    let answers = deployment.metric("wattpost_gateway_answer_seconds_count");
    let begun = Instant::now();
    until(OUTAGE, || false);
    let rate = (deployment.metric("wattpost_gateway_answer_seconds_count") - answers)
        / begun.elapsed().as_secs_f64();
    assert_eq!(
        deployment.metric("wattpost_consumer_records_applied_total"),
        stored,
        "nothing can be stored meanwhile"
    );
    enable();
    let is_ready = until(Duration::from_secs(60), || {
        deployment.health_status() == "works"
    });
    assert!(is_ready, "{:?}", deployment.get("/health"));

    let report = fleet.end();
    assert!(
        rate > 0.8 * 250.0,
        "only {rate:.0} answers a second during the outage"
    );
    assert!(
        report.contains("50 chargers, 50 connections"),
        "a connection was closed:\n{report}"
    );
    deployment.stop_when_stored();
    println!(
        "{rate:.0} answers/s during the outage\n{report}\n{}",
        deployment.audit(&ledger)
    );
}

/// With the database available again, chargers are accepted again and nothing acknowledged is lost.
#[test]
fn full_journal_closes_connections_and_refuses_handshakes_until_there_is_space() {
    let mut deployment = Deployment::start(&format!("[journal]\nbytes_max = \"2 MiB\"\n{ALERTS}"));
    let ledger = deployment.path("ledger.ndjson");
    let fleet = fleet(&deployment, &ledger, &[]);
    deployment.wait_for_answers(500.0);
    let lock = deployment.lock_database();

    let is_refused = until(Duration::from_secs(60), || {
        handshake_status(deployment.ocpp, "NEW").0 == 503
    });
    assert!(
        is_refused,
        "handshakes are still accepted; log:\n{}",
        deployment.log_tail()
    );
    let (_, head) = handshake_status(deployment.ocpp, "NEW");
    assert!(head.to_ascii_lowercase().contains("retry-after:"), "{head}");
    let are_closed = until(Duration::from_secs(60), || {
        deployment.metric("wattpost_gateway_connections") == 0.0
    });
    assert!(
        are_closed,
        "connections stay open although nothing can be made durable"
    );
    // `DatabaseLost` explains `JournalFilling`, which is therefore not told.
    for name in [
        "DatabaseLost",
        "JournalFull",
        "NotDurableClosed",
        "ConnectStorm",
    ] {
        wait_for_alert(&deployment, name);
    }

    drop(lock);
    let is_accepted = until(Duration::from_secs(60), || {
        Charger::try_connect(deployment.ocpp, "NEW", "ocpp1.6").is_ok()
    });
    assert!(
        is_accepted,
        "chargers are not accepted again; log:\n{}",
        deployment.log_tail()
    );
    let report = fleet.end();
    for name in [
        "DatabaseLost",
        "JournalFull",
        "JournalFilling",
        "NotDurableClosed",
        "ConnectStorm",
    ] {
        wait_for_end(&deployment, name);
    }
    deployment.stop_when_stored();
    println!("{report}\n{}", deployment.audit(&ledger));
}

/// The disk is a small file system that the test fills up.
#[test]
fn full_disk_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().expect("create a temporary directory");
    let disk = SmallDisk::mount(&dir.path().join("disk"), 96)
        .expect("this test needs root to mount a tmpfs");
    let settings =
        format!("[journal]\nsegment_bytes = \"1 MiB\"\nretain_bytes = \"2 MiB\"\n{ALERTS}");
    let mut deployment = Deployment::start_in(dir, disk.path().join("data"), &settings);
    let ledger = deployment.path("ledger.ndjson");
    let fleet = fleet(&deployment, &ledger, &[]);
    deployment.wait_for_answers(500.0);

    disk.fill_up().expect("fill the disk");
    let is_refused = until(Duration::from_secs(90), || {
        disk.fill_up().expect("fill the disk");
        handshake_status(deployment.ocpp, "NEW").0 == 503
    });
    assert!(
        is_refused,
        "handshakes are still accepted; log:\n{}",
        deployment.log_tail()
    );
    assert!(
        deployment.is_running(),
        "it ended because the disk is full; log:\n{}",
        deployment.log_tail()
    );
    for name in ["DiskLow", "JournalFull"] {
        wait_for_alert(&deployment, name);
    }

    disk.free().expect("free the disk");
    let is_accepted = until(Duration::from_secs(60), || {
        Charger::try_connect(deployment.ocpp, "NEW", "ocpp1.6").is_ok()
    });
    assert!(
        is_accepted,
        "chargers are not accepted again; log:\n{}",
        deployment.log_tail()
    );
    let report = fleet.end();
    for name in ["DiskLow", "JournalFull"] {
        wait_for_end(&deployment, name);
    }
    deployment.stop_when_stored();
    println!("{report}\n{}", deployment.audit(&ledger));
    drop(deployment);
    drop(disk);
}

fn fleet(deployment: &Deployment, ledger: &Path, more: &[&str]) -> Fleet {
    let load = ["--ramp", "500", "--reconnect", "0.2", "--attempts", "1000"];
    deployment.meter_flood(ledger, 50, &[&load, more].concat())
}

/// Sets or clears the immutable flag. While it is set, even root cannot write to the file, not even through a handle
/// that was opened before.
fn immutable(file: &Path, on: bool) {
    let flag = if on { "+i" } else { "-i" };
    let status = Command::new("chattr")
        .arg(flag)
        .arg(file)
        .status()
        .expect("run chattr");
    assert!(
        status.success() || !on,
        "this test needs root for `chattr +i`"
    );
}
