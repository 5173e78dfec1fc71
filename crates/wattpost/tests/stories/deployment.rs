//! The real binary on this machine, as a person would run it: started, stopped, killed, started again.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::time::{Duration, Instant};
use tempfile::TempDir;
pub(crate) use testbed::until;
use testbed::{Process, address_after};

/// `wattpost serve` with a data directory of its own. Dropping it kills the process.
pub(crate) struct Deployment {
    dir: TempDir,
    data_dir: PathBuf,
    settings: PathBuf,
    /// How many files the process may open.
    files_max: Option<u32>,
    process: Option<Process>,
    pub(crate) ocpp: SocketAddr,
    pub(crate) http: SocketAddr,
}

impl Deployment {
    /// Starts with the settings given as TOML and waits until it serves.
    pub(crate) fn start(settings: &str) -> Self {
        let dir = tempfile::tempdir().expect("make a temporary directory");
        let data_dir = dir.path().join("data");
        Self::start_in(dir, data_dir, settings)
    }

    /// The same, with a limit of open files that the process cannot raise.
    pub(crate) fn start_with_files(settings: &str, files_max: u32) -> Self {
        let dir = tempfile::tempdir().expect("make a temporary directory");
        let data_dir = dir.path().join("data");
        Self::start_as(dir, data_dir, settings, Some(files_max))
    }

    /// The same, with the data directory at a place of the test's choice.
    pub(crate) fn start_in(dir: TempDir, data_dir: PathBuf, settings: &str) -> Self {
        Self::start_as(dir, data_dir, settings, None)
    }

    fn start_as(dir: TempDir, data_dir: PathBuf, settings: &str, files_max: Option<u32>) -> Self {
        let file = dir.path().join("wattpost.toml");
        std::fs::write(&file, settings).expect("write the settings");
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let mut deployment = Self {
            dir,
            data_dir,
            settings: file,
            files_max,
            process: None,
            ocpp: any,
            http: any,
        };
        deployment.restart();
        deployment
    }

    /// Starts the process (again, on the same ports) and returns how long it took to serve.
    pub(crate) fn restart(&mut self) -> Duration {
        assert!(self.process.is_none(), "it runs already");
        let begun = Instant::now();
        let mut command = self.command("serve");
        if let Some(files_max) = self.files_max {
            command = within(files_max, &command);
        }
        command
            .arg("--ocpp-listen")
            .arg(self.ocpp.to_string())
            .arg("--http-listen")
            .arg(self.http.to_string());
        let (mut ocpp, mut http) = (None, None);
        let process = Process::start_until_ready(
            Process::wrap(&command).expect("setpriv is installed"),
            "wattpost serve",
            &self.log_path(),
            Duration::from_secs(20),
            |line| {
                ocpp = ocpp.or_else(|| address_after(line, "ws://"));
                http = http.or_else(|| address_after(line, "http://"));
                ocpp.is_some() && http.is_some()
            },
        );
        self.process = Some(process.unwrap_or_else(|error| panic!("{error:#}")));
        self.ocpp = ocpp.expect("seen above");
        self.http = http.expect("seen above");
        begun.elapsed()
    }

    /// SIGKILL: no code of ours runs any more.
    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().expect("kill wattpost");
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        let mut process = self.process.take().expect("it runs");
        let ended = process.wait(Duration::from_secs(30));
        ended
            .expect("ask for the exit status")
            .unwrap_or_else(|| panic!("wattpost did not stop; its log:\n{}", self.log_tail()))
    }

    /// Waits until everything acknowledged is stored, then stops as [`Deployment::stop`] does.
    pub(crate) fn stop_when_stored(&mut self) {
        let stored = until(Duration::from_secs(120), || {
            self.metric("wattpost_journal_waiting_records") == 0.0
        });
        assert!(
            stored,
            "records stay in the journal; log:\n{}",
            self.log_tail()
        );
        assert!(self.stop().success());
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let status = Command::new("kill")
            .args([&format!("-{name}"), &pid])
            .status()
            .expect("run kill");
        assert!(status.success());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.process.as_ref().is_some_and(Process::is_running)
    }

    /// A command of the same binary with the same settings.
    pub(crate) fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wattpost"));
        command
            .args(subcommand.split_whitespace())
            .arg("--config")
            .arg(&self.settings)
            .arg("--data-dir")
            .arg(&self.data_dir)
            .env_remove("RUST_LOG");
        command
    }

    /// Runs a command that must succeed, and returns what it wrote to stdout.
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

    /// A simulated fleet against this deployment; the caller adds flags.
    pub(crate) fn simulate(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wattpost"));
        command
            .arg("simulate")
            .arg("--url")
            .arg(format!("ws://{}/ocpp", self.ocpp));
        command
    }

    /// Everything that is stored, one message a line.
    pub(crate) fn messages(&self) -> Vec<serde_json::Value> {
        self.export("messages")
    }

    /// All transactions.
    pub(crate) fn transactions(&self) -> Vec<serde_json::Value> {
        self.export("transactions")
    }

    fn export(&self, what: &str) -> Vec<serde_json::Value> {
        self.run(&format!("export {what}"), &[])
            .lines()
            .map(|line| serde_json::from_str(line).expect("a line of NDJSON"))
            .collect()
    }

    /// Compares a fleet's ledger with what is stored; panics with the report when anything is wrong.
    pub(crate) fn audit(&self, ledger: &Path) -> String {
        let output: Output = self
            .command("audit")
            .arg("--ledger")
            .arg(ledger)
            .output()
            .expect("run wattpost audit");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{said}\n{}\nthe log of serve:\n{}",
            String::from_utf8_lossy(&output.stderr),
            self.log_tail()
        );
        said
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("serve.log")
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    pub(crate) fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// The body of a GET, with its status.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        super::http::get(self.http, path)
    }

    /// One figure of `/metrics`, summed over its labels.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let (_, body) = self.get("/metrics");
        body.lines()
            .filter(|line| {
                line.strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with([' ', '{']))
            })
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        self.process = None;
        if std::thread::panicking() {
            eprintln!("the end of the log of serve:\n{}", self.log_tail());
        }
    }
}

/// A simulated fleet. Dropping it kills its process, so that a story that fails leaves none behind.
pub(crate) struct Fleet {
    process: Process,
    log: PathBuf,
}

impl Fleet {
    /// Starts a command that [`Deployment::simulate`] made; what it prints goes to `log`.
    pub(crate) fn start(command: &Command, log: PathBuf) -> Self {
        let command = Process::wrap(command).expect("setpriv is installed");
        let process = Process::start(command, "the fleet", &log).expect("start the fleet");
        Self { process, log }
    }

    /// SIGTERM; the fleet must deliver everything that it queued. Returns its report.
    pub(crate) fn end(mut self, timeout: Duration) -> String {
        self.process.ask_to_stop();
        let status = self.process.wait(timeout).expect("ask for the exit status");
        let said = std::fs::read_to_string(&self.log).expect("read the report");
        let status = status.unwrap_or_else(|| panic!("the fleet does not end:\n{said}"));
        assert!(status.success(), "the fleet kept messages back:\n{said}");
        said
    }
}

/// The same command by a shell that limits its open files first.
fn within(files_max: u32, command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -n \"$0\" && exec \"$@\""])
        .arg(files_max.to_string())
        .arg(command.get_program())
        .args(command.get_args())
        .env_remove("RUST_LOG");
    limited
}
