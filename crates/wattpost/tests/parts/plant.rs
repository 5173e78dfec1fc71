//! A plant: settings that name RabbitMQ and PostgreSQL, and the roles that run with them.

use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;
pub(crate) use testbed::until;
use testbed::{Postgres, Process, RabbitMq, address_after};

/// How long anything may take that takes well below a second on a quiet machine.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

/// The servers that all stories share. They die with the test process.
pub(crate) struct Servers {
    pub(crate) rabbit: RabbitMq,
    pub(crate) postgres: Postgres,
}

pub(crate) fn servers() -> &'static Servers {
    static SERVERS: OnceLock<Servers> = OnceLock::new();
    SERVERS.get_or_init(|| {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("parts");
        let _ = std::fs::remove_dir_all(&dir);
        Servers {
            rabbit: RabbitMq::start(&dir.join("rabbitmq")).expect("start RabbitMQ"),
            postgres: Postgres::start(&dir.join("postgres")).expect("start PostgreSQL"),
        }
    })
}

fn next_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("plant{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A virtual host and a database of one's own, and the settings that name them.
pub(crate) struct Plant {
    dir: TempDir,
    pub(crate) broker_url: String,
    pub(crate) database_url: String,
    pub(crate) virtual_host: String,
}

impl Plant {
    /// With an empty database, migrated. `settings` is TOML without `[broker]` and `[database]`.
    pub(crate) fn new(settings: &str) -> Self {
        let plant = Self::unmigrated(settings);
        plant.run("migrate", &[]);
        plant
    }

    /// With a database without any table.
    pub(crate) fn unmigrated(settings: &str) -> Self {
        let name = next_name();
        let rabbit = &servers().rabbit;
        let ctl = |args: &[&str]| rabbit.ctl(args).expect("rabbitmqctl");
        ctl(&["add_vhost", &name]);
        ctl(&["set_permissions", "-p", &name, "wattpost", ".*", ".*", ".*"]);
        let url = rabbit.url_as("wattpost", "wattpost", &name);
        Self::of(settings, &url, name)
    }

    /// The same with a RabbitMQ of the story's own.
    pub(crate) fn behind(settings: &str, broker_url: &str) -> Self {
        Self::of(settings, broker_url, next_name())
    }

    fn of(settings: &str, broker_url: &str, name: String) -> Self {
        let servers = servers();
        servers
            .postgres
            .superuser_psql(&format!("CREATE DATABASE {name} OWNER wattpost"))
            .expect("create a database");
        let dir = tempfile::tempdir().expect("make a temporary directory");
        let plant = Self {
            dir,
            broker_url: broker_url.to_owned(),
            database_url: servers.postgres.url_as("wattpost", "wattpost", &name),
            virtual_host: name,
        };
        let text = format!(
            "{settings}\n[broker]\nurl = {:?}\n[database]\nurl = {:?}\n",
            plant.broker_url, plant.database_url
        );
        std::fs::write(plant.settings(), text).expect("write the settings");
        plant
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn settings(&self) -> PathBuf {
        self.path("wattpost.toml")
    }

    /// A command of the binary with these settings and a data directory named after `who`.
    pub(crate) fn command(&self, subcommand: &str, who: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wattpost"));
        command
            .args(subcommand.split_whitespace())
            .arg("--config")
            .arg(self.settings())
            .arg("--data-dir")
            .arg(self.path(who))
            .env_remove("RUST_LOG");
        command
    }

    /// Runs a command that must succeed, and returns what it wrote to stdout.
    pub(crate) fn run(&self, subcommand: &str, arguments: &[&str]) -> String {
        let (ok, said, error) = self.try_run(subcommand, arguments);
        assert!(ok, "wattpost {subcommand} failed: {said}{error}");
        said
    }

    /// Runs a command: whether it succeeded, stdout, stderr.
    pub(crate) fn try_run(&self, subcommand: &str, arguments: &[&str]) -> (bool, String, String) {
        let output = self
            .command(subcommand, "nobody")
            .args(arguments)
            .output()
            .expect("run wattpost");
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    }

    /// Starts a role and waits until it says that it runs.
    pub(crate) fn start(&self, role: &str, who: &str) -> Role {
        self.start_command(self.command(role, who), who)
    }

    /// The same with a command of the story's own making.
    pub(crate) fn start_command(&self, command: Command, who: &str) -> Role {
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let mut role = Role {
            command,
            log: self.path(&format!("{who}.log")),
            process: None,
            ocpp: any,
            http: any,
        };
        role.restart();
        role
    }

    /// Everything of one kind that is stored: `messages` or `transactions`.
    pub(crate) fn export(&self, what: &str) -> Vec<Value> {
        self.run(&format!("export {what}"), &["--quiet"])
            .lines()
            .map(|line| serde_json::from_str(line).expect("a line of NDJSON"))
            .collect()
    }

    /// Waits until exactly so many messages of this action are stored.
    pub(crate) fn wait_for_stored(&self, action: &str, count: usize) {
        let stored = || {
            let messages = self.export("messages");
            let of_action = messages
                .iter()
                .filter(|message| message["action"] == action);
            of_action.count()
        };
        let mut seen = 0;
        let reached = until(TIMEOUT, || {
            seen = stored();
            seen >= count
        });
        assert!(
            reached && seen == count,
            "{seen} {action} are stored, not {count}"
        );
    }
}

/// One process of ours. Dropping it kills it.
pub(crate) struct Role {
    command: Command,
    log: PathBuf,
    process: Option<Process>,
    /// Where chargers connect, for a gateway.
    pub(crate) ocpp: SocketAddr,
    pub(crate) http: SocketAddr,
}

impl Role {
    /// Starts it (again, on the same ports) and waits until it runs.
    pub(crate) fn restart(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        // Flags would pile up over restarts; the environment is replaced.
        self.command
            .env(
                "WATTPOST__GATEWAY__LISTENERS",
                format!("[{{address=\"{}\"}}]", self.ocpp),
            )
            .env("WATTPOST__HTTP__LISTEN", self.http.to_string())
            .env("WATTPOST__HEALTH__GATEWAY_LISTEN", self.http.to_string())
            .env("WATTPOST__HEALTH__CONSUMER_LISTEN", self.http.to_string());
        let (ocpp, http) = (&mut self.ocpp, &mut self.http);
        let process = Process::start_until_ready(
            Process::wrap(&self.command).expect("setpriv is installed"),
            "wattpost",
            &self.log,
            TIMEOUT,
            |line| {
                if let Some(address) = address_after(line, "ws://") {
                    *ocpp = address;
                }
                let Some(address) = address_after(line, "http://") else {
                    return false;
                };
                *http = address;
                true
            },
        );
        self.process = Some(process.unwrap_or_else(|error| panic!("{error:#}")));
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().expect("kill it");
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.ask_to_stop();
        let ended = process.wait(TIMEOUT).expect("ask for the exit status");
        let ended = ended.unwrap_or_else(|| panic!("it did not stop; its log:\n{}", self.log()));
        assert!(ended.success(), "{}", self.log());
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The parts that `/health/ready` tells, by name.
    pub(crate) fn part(&self, name: &str) -> Option<Value> {
        let (_, body) = crate::http::get(self.http, "/health/ready");
        let body: Value = serde_json::from_str(&body).expect("JSON");
        let parts = body["parts"].as_array().expect("a list");
        parts.iter().find(|part| part["part"] == name).cloned()
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        self.process = None;
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!(
                "the end of {}:\n{}",
                Path::new(&self.log).display(),
                lines[lines.len().saturating_sub(20)..].join("\n")
            );
        }
    }
}
