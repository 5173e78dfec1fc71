//! `wattpost serve` as a process of the real binary.

use crate::role::Role;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;
use tempfile::TempDir;
use testbed::Process;
pub(crate) use testbed::until;

/// Held for writing by a test that measures, so that no other test of this program uses the machine meanwhile.
static MACHINE: RwLock<()> = RwLock::new(());

/// The use of the machine, with other tests or alone.
struct Share {
    _shared: Option<RwLockReadGuard<'static, ()>>,
    _alone: Option<RwLockWriteGuard<'static, ()>>,
}

impl Share {
    fn shared() -> Self {
        Self {
            _shared: Some(MACHINE.read().unwrap_or_else(PoisonError::into_inner)),
            _alone: None,
        }
    }

    fn alone() -> Self {
        Self {
            _shared: None,
            _alone: Some(MACHINE.write().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

/// `wattpost serve` with its own data directory. Dropping it kills the process. A test must not have two of them at the
/// same time.
pub(crate) struct Deployment {
    serve: Role,
    files: testbed::Deployment,
    data_dir: PathBuf,
    dir: TempDir,
    _share: Share,
}

impl Deployment {
    /// Starts with these settings (TOML) and waits until it is ready.
    pub(crate) fn start(settings: &str) -> Self {
        let dir = tempfile::tempdir().expect("create a temporary directory");
        let data_dir = dir.path().join("data");
        Self::start_in(dir, data_dir, settings)
    }

    /// As [`Deployment::start`], but while no other test of this program has a deployment.
    pub(crate) fn start_alone(settings: &str) -> Self {
        let share = Share::alone();
        let dir = tempfile::tempdir().expect("create a temporary directory");
        let data_dir = dir.path().join("data");
        Self::start_as(share, dir, data_dir, settings, |command| command)
    }

    /// As [`Deployment::start`], with a limit of open files that the process cannot raise.
    pub(crate) fn start_with_files(settings: &str, files_max: u32) -> Self {
        let dir = tempfile::tempdir().expect("create a temporary directory");
        let data_dir = dir.path().join("data");
        Self::start_as(Share::shared(), dir, data_dir, settings, |command| {
            limit_files(files_max, command)
        })
    }

    /// As [`Deployment::start`], with the program at another path, such as a symbolic link in this directory.
    pub(crate) fn start_program(dir: TempDir, program: &Path, settings: &str) -> Self {
        let data_dir = dir.path().join("data");
        let files = testbed::Deployment::new(program, dir.path(), settings);
        let files = files.expect("write the settings");
        let command = command(&files, "serve", &data_dir);
        Self {
            serve: Role::start(command, "serve", &dir.path().join("serve.log")),
            files,
            data_dir,
            dir,
            _share: Share::shared(),
        }
    }

    /// As [`Deployment::start`], with another data directory.
    pub(crate) fn start_in(dir: TempDir, data_dir: PathBuf, settings: &str) -> Self {
        Self::start_as(Share::shared(), dir, data_dir, settings, |command| command)
    }

    fn start_as(
        share: Share,
        dir: TempDir,
        data_dir: PathBuf,
        settings: &str,
        wrap: impl FnOnce(Command) -> Command,
    ) -> Self {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_wattpost"));
        let files = testbed::Deployment::new(&program, dir.path(), settings);
        let files = files.expect("write the settings");
        let command = wrap(command(&files, "serve", &data_dir));
        Self {
            serve: Role::start(command, "serve", &dir.path().join("serve.log")),
            files,
            data_dir,
            dir,
            _share: share,
        }
    }

    /// Replaces the settings; they apply after the next start.
    pub(crate) fn write_settings(&self, settings: &str) {
        let written = self.files.write_settings(settings);
        written.expect("write the settings");
    }

    /// Waits until every record in the journal is delivered, then stops.
    pub(crate) fn stop_when_stored(&mut self) {
        let is_stored = until(Duration::from_secs(120), || {
            self.metric("wattpost_journal_waiting_records") == 0.0
        });
        assert!(
            is_stored,
            "records stay in the journal; log:\n{}",
            self.log_tail()
        );
        self.stop();
    }

    /// A command of the binary with the same settings and data directory.
    pub(crate) fn command(&self, subcommand: &str) -> Command {
        command(&self.files, subcommand, &self.data_dir)
    }

    /// Runs a command that must succeed, and returns what it printed to stdout.
    pub(crate) fn run(&self, subcommand: &str, arguments: &[&str]) -> String {
        let output = self
            .command(subcommand)
            .args(arguments)
            .output()
            .expect("run wattpost");
        assert!(
            output.status.success(),
            "wattpost {subcommand} failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Starts simulated chargers that send meter values, and continue until [`Fleet::end`].
    pub(crate) fn meter_flood(&self, ledger: &Path, chargers: u32, more: &[&str]) -> Fleet {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wattpost"));
        command
            .args(["simulate", "--scenario", "meter-flood", "--quiet"])
            .args(["--url", &format!("ws://{}/ocpp", self.ocpp)])
            .args(["--chargers", &chargers.to_string()])
            .args(["--retry-interval", "1", "--drain", "90", "--ledger"])
            .arg(ledger)
            .args(more);
        Fleet::start(&command, self.path("fleet.log"))
    }

    /// Waits until this process has answered that many messages since its start.
    pub(crate) fn wait_for_answers(&self, at_least: f64) {
        let is_reached = until(Duration::from_secs(60), || {
            self.metric("wattpost_gateway_answer_seconds_count") >= at_least
        });
        assert!(
            is_reached,
            "chargers get no answers; log:\n{}",
            self.log_tail()
        );
    }

    /// The export of messages.
    pub(crate) fn messages(&self) -> Vec<serde_json::Value> {
        self.export("messages")
    }

    /// The export of transactions.
    pub(crate) fn transactions(&self) -> Vec<serde_json::Value> {
        self.export("transactions")
    }

    fn export(&self, what: &str) -> Vec<serde_json::Value> {
        self.run(&format!("export {what}"), &[])
            .lines()
            .map(|line| serde_json::from_str(line).expect("a line of NDJSON"))
            .collect()
    }

    /// Compares a fleet's ledger file with the database. Fails with the report if anything is wrong.
    pub(crate) fn audit(&self, ledger: &Path) -> String {
        let output: Output = self
            .command("audit")
            .arg("--ledger")
            .arg(ledger)
            .output()
            .expect("run wattpost audit");
        let report = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{report}\n{}\nthe log of serve:\n{}",
            String::from_utf8_lossy(&output.stderr),
            self.log_tail()
        );
        report
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The SQLite file.
    pub(crate) fn database_file(&self) -> PathBuf {
        self.data_dir.join("wattpost.db")
    }

    /// Locks the SQLite file, as another program might, until the result is dropped.
    pub(crate) fn lock_database(&self) -> rusqlite::Connection {
        let lock = rusqlite::Connection::open(self.database_file()).expect("open the database");
        lock.busy_timeout(Duration::from_secs(10))
            .expect("set the timeout");
        lock.execute_batch("BEGIN EXCLUSIVE")
            .expect("lock the database");
        lock
    }
}

impl Deref for Deployment {
    type Target = Role;

    fn deref(&self) -> &Role {
        &self.serve
    }
}

impl DerefMut for Deployment {
    fn deref_mut(&mut self) -> &mut Role {
        &mut self.serve
    }
}

fn command(files: &testbed::Deployment, subcommand: &str, data_dir: &Path) -> Command {
    let mut command = files.command(subcommand);
    command.arg("--data-dir").arg(data_dir);
    command
}

/// Arguments of a `serve` that does not use the ports of another one.
pub(crate) const FREE_PORTS: [&str; 4] = [
    "--ocpp-listen",
    "127.0.0.1:0",
    "--http-listen",
    "127.0.0.1:0",
];

/// Simulated chargers in another process. Dropping it kills the process.
pub(crate) struct Fleet {
    process: Process,
    log: PathBuf,
}

impl Fleet {
    fn start(command: &Command, log: PathBuf) -> Self {
        let command = Process::wrap(command).expect("setpriv is installed");
        let process = Process::start(command, "wattpost simulate", &log);
        Self {
            process: process.expect("start the fleet"),
            log,
        }
    }

    /// SIGTERM; the fleet must deliver all queued messages. Returns its report.
    pub(crate) fn end(mut self) -> String {
        self.process.ask_to_stop();
        let status = self.process.wait(Duration::from_secs(120));
        let report = std::fs::read_to_string(&self.log).expect("read the report");
        match status.expect("ask for the exit status") {
            Some(status) => assert!(status.success(), "messages stay in queues:\n{report}"),
            None => panic!("the fleet does not end:\n{report}"),
        }
        report
    }
}

/// The same command in a shell that limits its open files first.
fn limit_files(files_max: u32, command: Command) -> Command {
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -n \"$0\" && exec \"$@\""])
        .arg(files_max.to_string())
        .arg(command.get_program())
        .args(command.get_args())
        .env_remove("RUST_LOG");
    limited
}
