//! The database away, the journal at its bound, the disk full.

use crate::charger::Charger;
use crate::deployment::{Deployment, Fleet, until};
use crate::http::handshake_status;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long the database is away: the issue of an operator's `VACUUM` or backup, not of a disk swap.
const AWAY: Duration = Duration::from_secs(60);

#[test]
fn chargers_notice_nothing_while_the_database_is_locked_for_a_minute() {
    chargers_notice_nothing_while(|deployment| {
        let lock = rusqlite::Connection::open(database(deployment)).expect("open the database");
        lock.busy_timeout(Duration::from_secs(10))
            .expect("set the timeout");
        lock.execute_batch("BEGIN EXCLUSIVE")
            .expect("lock the database");
        Box::new(move || drop(lock))
    });
}

#[test]
fn chargers_notice_nothing_while_the_database_is_read_only_for_a_minute() {
    chargers_notice_nothing_while(|deployment| {
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

/// Plays a minute of outage under load. `take_away` makes the database refuse and returns what
/// brings it back.
fn chargers_notice_nothing_while(take_away: impl FnOnce(&Deployment) -> Box<dyn FnOnce()>) {
    let mut deployment = Deployment::start("");
    let ledger = deployment.path("ledger.ndjson");
    let fleet = fleet(&deployment, &ledger, "50", &["--rate", "5"]);
    wait_for_answers(&deployment, 500.0);

    let bring_back = take_away(&deployment);
    let seen = until(Duration::from_secs(30), || {
        deployment.get("/health/ready").0 == 503
    });
    assert!(seen, "readiness does not tell that the database is away");
    let (_, body) = deployment.get("/health/ready");
    assert!(body.contains("database"), "{body}");
    let stored = deployment.metric("wattpost_consumer_records_applied_total");
    let answers = deployment.metric("wattpost_gateway_answer_seconds_count");
    let begun = Instant::now();
    until(AWAY, || false);
    let rate = (deployment.metric("wattpost_gateway_answer_seconds_count") - answers)
        / begun.elapsed().as_secs_f64();
    assert_eq!(
        deployment.metric("wattpost_consumer_records_applied_total"),
        stored,
        "nothing can be stored meanwhile"
    );
    bring_back();
    let back = until(Duration::from_secs(30), || {
        deployment.get("/health/ready").0 == 200
    });
    assert!(back, "{:?}", deployment.get("/health/ready"));

    let said = fleet.end(Duration::from_secs(120));
    assert!(
        rate > 0.8 * 250.0,
        "only {rate:.0} answers a second while the database was away"
    );
    assert!(
        said.contains("50 chargers, 50 connections"),
        "a socket was closed:\n{said}"
    );
    deployment.stop_when_stored();
    println!(
        "{rate:.0} answers/s while away\n{said}\n{}",
        deployment.audit(&ledger)
    );
}

/// At the journal's bound sockets close and handshakes get 503; when the database is back, service
/// returns by itself and nothing that was acknowledged is lost.
#[test]
fn a_full_journal_closes_sockets_and_refuses_handshakes_until_there_is_room() {
    let mut deployment = Deployment::start("[journal]\nmax_bytes = \"2 MiB\"\n");
    let ledger = deployment.path("ledger.ndjson");
    let fleet = fleet(&deployment, &ledger, "50", &[]);
    wait_for_answers(&deployment, 500.0);
    let lock = rusqlite::Connection::open(database(&deployment)).expect("open the database");
    lock.busy_timeout(Duration::from_secs(10))
        .expect("set the timeout");
    lock.execute_batch("BEGIN EXCLUSIVE")
        .expect("lock the database");

    let refused = until(Duration::from_secs(60), || {
        handshake_status(deployment.ocpp, "NEWCOMER").0 == 503
    });
    assert!(
        refused,
        "handshakes are still accepted; log:\n{}",
        deployment.log_tail()
    );
    let (_, head) = handshake_status(deployment.ocpp, "NEWCOMER");
    assert!(head.to_ascii_lowercase().contains("retry-after:"), "{head}");
    let closed = until(Duration::from_secs(20), || {
        deployment.metric("wattpost_gateway_connections") == 0.0
    });
    assert!(
        closed,
        "sockets stay open although nothing can be made durable"
    );

    drop(lock);
    let back = until(Duration::from_secs(30), || {
        Charger::try_connect(deployment.ocpp, "NEWCOMER", "ocpp1.6").is_ok()
    });
    assert!(
        back,
        "service does not return; log:\n{}",
        deployment.log_tail()
    );
    let said = fleet.end(Duration::from_secs(120));
    deployment.stop_when_stored();
    println!("{said}\n{}", deployment.audit(&ledger));
}

/// The same with a disk that is really full: a small file system of its own, filled up by others.
#[test]
fn a_full_disk_loses_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().expect("make a temporary directory");
    let disk = SmallDisk::mount(&dir.path().join("disk"), 96);
    let settings = "[journal]\nsegment_bytes = \"1 MiB\"\nretain_bytes = \"2 MiB\"\n";
    let mut deployment = Deployment::start_in(dir, disk.path.join("data"), settings);
    let ledger = deployment.path("ledger.ndjson");
    let fleet = fleet(&deployment, &ledger, "50", &[]);
    wait_for_answers(&deployment, 500.0);

    let ballast = disk.path.join("ballast");
    fill_up(&ballast);
    let refused = until(Duration::from_secs(90), || {
        fill_up(&ballast);
        handshake_status(deployment.ocpp, "NEWCOMER").0 == 503
    });
    assert!(
        refused,
        "handshakes are still accepted; log:\n{}",
        deployment.log_tail()
    );
    assert!(
        deployment.is_running(),
        "a full disk is no reason to end; log:\n{}",
        deployment.log_tail()
    );

    std::fs::remove_file(&ballast).expect("make room");
    let back = until(Duration::from_secs(60), || {
        Charger::try_connect(deployment.ocpp, "NEWCOMER", "ocpp1.6").is_ok()
    });
    assert!(
        back,
        "service does not return; log:\n{}",
        deployment.log_tail()
    );
    let said = fleet.end(Duration::from_secs(120));
    deployment.stop_when_stored();
    println!("{said}\n{}", deployment.audit(&ledger));
    drop(deployment);
    drop(disk);
}

fn fleet(deployment: &Deployment, ledger: &Path, chargers: &str, more: &[&str]) -> Fleet {
    let mut command = deployment.simulate();
    command
        .args([
            "--chargers",
            chargers,
            "--scenario",
            "meter-flood",
            "--ramp",
            "500",
        ])
        .args([
            "--reconnect",
            "0.2",
            "--retry-interval",
            "1",
            "--attempts",
            "1000",
        ])
        .args(["--drain", "90", "--quiet", "--ledger"])
        .arg(ledger)
        .args(more);
    Fleet::start(&command, deployment.path("fleet.log"))
}

fn wait_for_answers(deployment: &Deployment, at_least: f64) {
    let enough = until(Duration::from_secs(30), || {
        deployment.metric("wattpost_gateway_answer_seconds_count") >= at_least
    });
    assert!(
        enough,
        "chargers get no answers; log:\n{}",
        deployment.log_tail()
    );
}

fn database(deployment: &Deployment) -> PathBuf {
    deployment.data_dir().join("wattpost.db")
}

/// Nobody may write an immutable file, not even the superuser through a handle opened before.
fn immutable(file: &Path, on: bool) {
    let flag = if on { "+i" } else { "-i" };
    let status = Command::new("chattr")
        .arg(flag)
        .arg(file)
        .status()
        .expect("run chattr");
    assert!(
        status.success() || !on,
        "this test needs the right to `chattr +i` (root)"
    );
}

/// Writes until nothing more fits.
fn fill_up(ballast: &Path) {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(ballast)
        .expect("open the ballast");
    let block = [7; 64 << 10];
    while file.write_all(&block).is_ok() {}
    while file.write_all(&block[..512]).is_ok() {}
}

/// A file system of some MiB in memory, unmounted when dropped.
struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    fn mount(path: &Path, mebibytes: u32) -> Self {
        std::fs::create_dir_all(path).expect("make the mount point");
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"])
            .arg(path)
            .status()
            .expect("run mount");
        assert!(
            status.success(),
            "this test needs the right to mount a tmpfs (root)"
        );
        Self {
            path: path.to_owned(),
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}
