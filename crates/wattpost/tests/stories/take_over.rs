//! Upgrades that no charger sees: a new process of the real binary takes over from the running one.

use crate::charger::{Charger, Incoming};
use crate::deployment::{Deployment, until};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
/// Lines of the log.
const STARTED: &str = "started the process that takes over";
const DIED: &str = "has died during the take-over; this one has everything and goes on";

/// A small journal is opened fast also without optimisation.
const QUICK: &str = "[journal]\nsegment_bytes = \"1MiB\"\n";

/// `serve`, started from a symbolic link that an upgrade replaces.
struct Upgraded {
    deployment: Deployment,
    program: PathBuf,
    /// All processes so far; they are not children of this one.
    pids: Vec<Pid>,
}

impl Upgraded {
    fn start(settings: &str) -> Self {
        let dir = tempfile::tempdir().expect("create a temporary directory");
        let program = dir.path().join("wattpost");
        symlink(env!("CARGO_BIN_EXE_wattpost"), &program).expect("make a link");
        let deployment = Deployment::start_program(dir, &program, settings);
        let mut this = Self {
            deployment,
            program,
            pids: Vec::new(),
        };
        this.pids.push(this.owner().expect("runs"));
        this
    }

    /// The process that has the journal.
    fn owner(&self) -> Option<Pid> {
        let text = std::fs::read_to_string(self.deployment.data_dir().join("journal/lock")).ok()?;
        Pid::from_raw(text.trim().parse().ok()?)
    }

    fn pid(&self) -> Pid {
        *self.pids.last().expect("runs")
    }

    fn ask_to_upgrade(&self) {
        kill_process(self.pid(), Signal::USR2).expect("runs");
    }

    /// A new process receives everything and then fails in this way (see [`plays_the_new_process_if_told_so`]); it is
    /// killed, by itself or by the running process.
    fn fails_as_new_process(&self, how: &str) {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "take_over::plays_the_new_process_if_told_so"])
            .env(PLAYS, self.deployment.data_dir())
            .env(PLAYS_HOW, how)
            .stdout(Stdio::null())
            .spawn()
            .expect("start it");
        let status = child.wait().expect("ends");
        assert_eq!(status.signal(), Some(9), "{how}: {status}");
    }

    /// No process runs any more; a supervisor starts one.
    fn restart(&mut self) {
        self.deployment.restart();
        self.pids = vec![self.owner().expect("runs")];
    }

    fn install(&self, program: &Path) {
        std::fs::remove_file(&self.program).expect("remove the link");
        symlink(program, &self.program).expect("make a link");
    }

    fn install_script(&self, name: &str, text: &str) {
        let script = self.deployment.path(name);
        std::fs::write(&script, format!("#!/bin/sh\n{text}\n")).expect("write a script");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&script, mode).expect("make it executable");
        self.install(&script);
    }

    /// A new process has taken over, and the old one has ended.
    fn is_replaced(&mut self) {
        let old = self.pid();
        let is_new = until(SOON, || {
            self.owner().is_some_and(|pid| pid != old) && !self.runs(old)
        });
        assert!(
            is_new,
            "no process took over; log:\n{}",
            self.deployment.log_tail()
        );
        self.pids.push(self.owner().expect("a new one"));
    }

    fn upgrade(&mut self) {
        self.install(Path::new(env!("CARGO_BIN_EXE_wattpost")));
        self.ask_to_upgrade();
        self.is_replaced();
    }

    /// Messages that the process at the port of HTTP has answered; 0 if there is none.
    fn answers(&self) -> f64 {
        let page = testbed::http::get(self.deployment.http, "/metrics").ok();
        let metric = page.and_then(|(_, page)| {
            testbed::http::metric(&page, "wattpost_gateway_answer_seconds_count")
        });
        metric.unwrap_or(0.0)
    }

    fn logs(&self, words: &str) -> usize {
        self.deployment.log().matches(words).count()
    }

    fn wait_for_log(&self, words: &str, times: usize) {
        let is_there = until(SOON, || self.logs(words) >= times);
        assert!(
            is_there,
            "no {words:?}; log:\n{}",
            self.deployment.log_tail()
        );
    }

    /// The first process is a child of this one, the others are not.
    fn runs(&self, pid: Pid) -> bool {
        match self.pids.first() {
            Some(first) if *first == pid => self.deployment.is_running(),
            _ => test_kill_process(pid).is_ok(),
        }
    }

    fn ends(&self, pid: Pid) {
        let has_ended = until(SOON, || !self.runs(pid));
        assert!(has_ended, "{pid:?} does not end");
    }

    /// The process that the last SIGUSR2 has started.
    fn started(&self) -> Pid {
        let log = self.deployment.log();
        let line = log.lines().rev().find(|line| line.contains(STARTED));
        let pid = line.and_then(|line| line.rsplit("pid=").next());
        let pid = pid.and_then(|pid| Pid::from_raw(pid.trim().parse().ok()?));
        pid.expect("a line with its pid")
    }

    /// SIGTERM to the process that runs now.
    fn stop(&self) {
        let pid = self.pid();
        kill_process(pid, Signal::TERM).expect("runs");
        self.ends(pid);
    }

    /// Everything that the fleet got an answer to is stored once; returns the stored messages.
    fn nothing_is_lost(&self, ledger: &Path) -> Vec<serde_json::Value> {
        let waiting = "wattpost_journal_waiting_records";
        let is_stored = until(SOON, || self.deployment.metric(waiting) == 0.0);
        assert!(is_stored, "{}", self.deployment.log_tail());
        self.stop();
        println!("{}", self.deployment.audit(ledger));
        self.deployment.messages()
    }
}

impl Drop for Upgraded {
    fn drop(&mut self) {
        for pid in self.owner().into_iter().chain(self.pids.iter().copied()) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// Five upgrades under load, one to a program that ends at once and one to a program that hangs: no connection ends, no
/// message is lost or stored twice.
#[test]
fn no_charger_notices_upgrades_also_to_programs_that_fail() {
    const CHARGERS: u32 = 200;
    let mut world = Upgraded::start(QUICK);
    let ledger = world.deployment.path("ledger.ndjson");
    let load = ["--rate", "2", "--ramp", "200", "--reconnect", "0.1"];
    let fleet = world.deployment.meter_flood(&ledger, CHARGERS, &load);
    world.deployment.wait_for_answers(400.0);
    for round in 0..5 {
        match round {
            1 => {
                world.install_script("broken", "exit 7");
                world.ask_to_upgrade();
                world.wait_for_log("the new process has ended before it took over", 1);
            }
            3 => {
                world.install_script("hanging", "exec sleep 600");
                world.ask_to_upgrade();
                world.wait_for_log(STARTED, 5);
            }
            _ => {}
        }
        world.upgrade();
        // Since its start, the new process has answered.
        world.deployment.wait_for_answers(400.0);
    }
    println!("{}", fleet.end());
    let messages = world.nothing_is_lost(&ledger);
    assert_eq!(count(&messages, "connected"), CHARGERS as usize);
    assert_eq!(count(&messages, "gateway_started"), 1);
    let restarts = std::fs::read_to_string(world.deployment.data_dir().join("restarts.json"));
    assert_eq!(
        restarts.expect("it is kept"),
        r#"{"runs":false,"restarts":[]}"#,
        "an upgrade is no restart"
    );
    let log = world.deployment.log();
    for line in log
        .lines()
        .filter(|line| line.contains("the new process serves"))
    {
        println!("{line}");
    }
}

fn count(messages: &[serde_json::Value], kind: &str) -> usize {
    let of_kind = |message: &&serde_json::Value| message["kind"] == kind;
    messages.iter().filter(of_kind).count()
}

/// What a newer program does to the database before it takes over: a migration that this one can go on with.
fn migrate_further(deployment: &Deployment) {
    migrate_for(deployment, 0);
}

/// A migration that is usable by programs that know `further` versions more of the schema than this one.
fn migrate_for(deployment: &Deployment, further: u32) {
    let database =
        rusqlite::Connection::open(deployment.database_file()).expect("open the database");
    database.busy_timeout(SOON).expect("set the timeout");
    let known: u32 = database
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .expect("its version");
    let sql = format!(
        "BEGIN IMMEDIATE; ALTER TABLE messages ADD COLUMN later INTEGER; CREATE TABLE later (no INTEGER);
         INSERT INTO settings (name, value) VALUES ('schema_{0}_usable_from', {1});
         PRAGMA user_version = {0}; COMMIT",
        known + 1,
        known + further
    );
    database.execute_batch(&sql).expect("migrate");
}

/// The new process fails when it has everything: the running one has closed its journal and given its sockets away, and
/// goes on nevertheless, also with a database that the new one has migrated.
#[test]
fn the_running_process_goes_on_when_the_new_one_fails_in_the_middle() {
    const CHARGERS: u32 = 30;
    let mut world = Upgraded::start(QUICK);
    let ledger = world.deployment.path("ledger.ndjson");
    let load = ["--rate", "5", "--ramp", "200", "--reconnect", "0.1"];
    let fleet = world.deployment.meter_flood(&ledger, CHARGERS, &load);
    let mut answers = 100.0;
    for (round, how) in ["dies", "says nonsense"].into_iter().enumerate() {
        world.deployment.wait_for_answers(answers);
        if round == 1 {
            migrate_further(&world.deployment);
        }
        world.fails_as_new_process(how);
        world.wait_for_log("could not take over; this one goes on", round + 1);
        answers = world.answers() + 100.0;
    }
    world.deployment.wait_for_answers(answers);
    // A take-over is still possible.
    world.upgrade();
    world.deployment.wait_for_answers(100.0);
    println!("{}", fleet.end());
    let messages = world.nothing_is_lost(&ledger);
    assert_eq!(count(&messages, "connected"), CHARGERS as usize);
    assert_eq!(count(&messages, "gateway_started"), 1);
}

/// A migration that this version cannot go on with: it stores nothing any more and says so, chargers are answered, a
/// command and a take-over fail with one sentence, and a program that knows the schema stores what waits.
#[test]
fn a_program_writes_nothing_to_a_schema_of_a_newer_one_that_it_cannot_use() {
    let world = Upgraded::start(QUICK);
    let ledger = world.deployment.path("ledger.ndjson");
    let fleet = world.deployment.meter_flood(&ledger, 5, &["--rate", "5"]);
    world.deployment.wait_for_answers(20.0);
    migrate_for(&world.deployment, 1);
    let sentence = |text: &str| text.contains("knows up to") && text.contains("newer program");
    let is_said = until(SOON, || {
        let part = world.deployment.part("database");
        part.is_some_and(|part| part["up"] == false && sentence(&part["detail"].to_string()))
    });
    assert!(is_said, "{:?}", world.deployment.get("/health"));
    let stored = world
        .deployment
        .metric("wattpost_consumer_records_applied_total");
    // A program of this version does not take over, and chargers notice neither.
    world.install(Path::new(env!("CARGO_BIN_EXE_wattpost")));
    world.ask_to_upgrade();
    world.wait_for_log("the new process has ended before it took over", 1);
    let answers = world.answers();
    world.deployment.wait_for_answers(answers + 50.0);
    assert_eq!(
        world
            .deployment
            .metric("wattpost_consumer_records_applied_total"),
        stored,
        "nothing may be stored"
    );
    let mut add = world.deployment.command("token add");
    let refused = add.arg("04A2").output().expect("run wattpost");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && sentence(&said), "{said}");
    // The database as a program that knows the schema leaves it: what waited is stored.
    let database =
        rusqlite::Connection::open(world.deployment.database_file()).expect("open the database");
    database.busy_timeout(SOON).expect("set the timeout");
    database
        .execute(
            "UPDATE settings SET value = value - 1 WHERE name =
                 (SELECT 'schema_' || user_version || '_usable_from' FROM pragma_user_version)",
            [],
        )
        .expect("note");
    let report = fleet.end();
    assert!(report.contains("5 chargers, 5 connections"), "{report}");
    world.nothing_is_lost(&ledger);
}

/// The running process has not asked yet when it stops.
#[test]
fn a_charger_that_connected_right_before_an_upgrade_is_asked_for_its_connectors() {
    let settings = format!("{QUICK}[gateway]\nask_status_after_s = 4\n");
    let mut world = Upgraded::start(&settings);
    let connect = || Charger::connect(world.deployment.ocpp, "CP-1", "ocpp1.6");
    // A connector that it does not report again.
    let status = r#"{"connectorId":1,"errorCode":"NoError","status":"Available"}"#;
    assert_eq!(connect().call("1", "StatusNotification", status)[0], 3);
    let mut charger = connect();
    assert_eq!(charger.call("2", "Heartbeat", "{}")[0], 3);
    world.upgrade();
    let asked = charger.receive();
    assert!(
        matches!(&asked, Incoming::Text(text) if text.contains("TriggerMessage")),
        "{asked:?}"
    );
    world.stop();
}

/// The data directory of the running process, for [`plays_the_new_process_if_told_so`].
const PLAYS: &str = "WATTPOST_TEST_TAKES_OVER_FROM";
const PLAYS_HOW: &str = "WATTPOST_TEST_TAKES_OVER_HOW";

/// Not a test of its own: others start it in another process, which receives everything and then fails.
#[test]
fn plays_the_new_process_if_told_so() {
    let Some(data_dir) = std::env::var_os(PLAYS) else {
        return;
    };
    let path = PathBuf::from(data_dir).join("take-over.sock");
    let mut stream = UnixStream::connect(path).expect("it listens");
    let mut send = |kind: u8, content: &[u8]| {
        let length = u32::try_from(content.len()).expect("short");
        let mut message = vec![kind, 0];
        message.extend_from_slice(&length.to_be_bytes());
        message.extend_from_slice(content);
        stream.write_all(&message).expect("sends");
    };
    send(1, br#"{"protocol":1,"role":"serve","version":"test"}"#);
    send(4, b"");
    // Welcome, the gateway, its connections.
    for kind in [2, 5, 6] {
        let mut head = [0; 6];
        stream.read_exact(&mut head).expect("a message");
        assert_eq!(head[0], kind);
        let length = u32::from_be_bytes([head[2], head[3], head[4], head[5]]);
        let mut content = vec![0; length as usize];
        stream.read_exact(&mut content).expect("its content");
    }
    let how = std::env::var(PLAYS_HOW).expect("is set");
    if how == "dies after go" {
        stream.write_all(&[7, 0, 0, 0, 0, 0]).expect("sends");
        let mut go = [0; 6];
        stream.read_exact(&mut go).expect("the word to go on");
        assert_eq!(go[0], 8);
    }
    if how.starts_with("dies") {
        kill_process(rustix::process::getpid(), Signal::KILL).expect("kills itself");
    }
    stream.write_all(&[99; 6]).expect("sends");
    // The running process kills it.
    std::thread::park_timeout(SOON);
    panic!("it lives");
}

/// `kill -9` of the running process during a take-over, when the new one has everything and before: the new process goes
/// on, or a new start does. `kill -9` of the new process right after *go*: a new start goes on. Nothing is lost.
#[test]
fn nothing_is_lost_when_either_process_is_killed_in_a_take_over() {
    const CHARGERS: u32 = 30;
    const ATTEMPTS: usize = 15;
    let mut world = Upgraded::start(QUICK);
    let ledger = world.deployment.path("ledger.ndjson");
    let load = [
        "--rate",
        "5",
        "--ramp",
        "200",
        "--reconnect",
        "0.1",
        "--attempts",
        "1000",
    ];
    let fleet = world.deployment.meter_flood(&ledger, CHARGERS, &load);
    // The first ones at the moment when the new process has everything, which is short.
    for _ in 0..ATTEMPTS {
        world.deployment.wait_for_answers(100.0);
        let opened = world.logs("journal opened");
        world.ask_to_upgrade();
        world.wait_for_log("journal opened", opened + 1);
        let (old, new) = (world.pid(), world.started());
        // It may have exited already: then this was no kill in the middle.
        let _ = kill_process(old, Signal::KILL);
        world.ends(old);
        let goes_on = until(SOON, || {
            world.owner() == Some(new) && world.answers() >= 100.0
        });
        assert!(goes_on, "{}", world.deployment.log_tail());
        world.pids.push(new);
        if world.logs(DIED) > 0 {
            break;
        }
    }
    assert!(world.logs(DIED) > 0, "the moment was never hit");
    // And once before the new process has anything: it ends too, and a new start serves.
    let started = world.logs(STARTED);
    world.ask_to_upgrade();
    world.wait_for_log(STARTED, started + 1);
    let (old, new) = (world.pid(), world.started());
    let _ = kill_process(old, Signal::KILL);
    world.ends(old);
    let is_over = until(SOON, || {
        !world.runs(new) || world.owner() == Some(new) && world.answers() >= 100.0
    });
    assert!(is_over, "{}", world.deployment.log_tail());
    if world.runs(new) {
        world.pids.push(new);
    } else {
        world.restart();
    }
    // And the new process right after it was told to go on: the running one must not touch what it gave away, so it ends.
    world.deployment.wait_for_answers(100.0);
    let old = world.pid();
    world.fails_as_new_process("dies after go");
    world.ends(old);
    world.restart();
    world.deployment.wait_for_answers(100.0);
    println!("{}", fleet.end());
    world.nothing_is_lost(&ledger);
}
