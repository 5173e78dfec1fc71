//! Roles as processes of the real binary, with one settings file that names RabbitMQ and PostgreSQL.

pub(crate) use crate::role::Role;
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;
pub(crate) use testbed::until;
use testbed::{Proxy, Servers};

/// The deadline for conditions that come true within a second on an idle machine.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

/// The servers that all tests share. The kernel kills them when the test process ends.
pub(crate) fn servers() -> &'static Servers {
    static SERVERS: OnceLock<Servers> = OnceLock::new();
    SERVERS.get_or_init(|| {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("parts");
        let _ = std::fs::remove_dir_all(&dir);
        Servers::start(&dir).expect("start RabbitMQ and PostgreSQL")
    })
}

/// A proxy before the server of this URL, and the URL that leads through it.
fn behind_proxy(url: &str) -> (String, Proxy) {
    let server = url.split('@').nth(1);
    let server = server.and_then(|rest| rest.split('/').next());
    let server = server.expect("a server in the URL");
    let proxy = Proxy::start(server.parse().expect("an address")).expect("a free port");
    (url.replace(server, &proxy.addr().to_string()), proxy)
}

fn unused_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("test{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Settings with a virtual host and a database of their own.
pub(crate) struct Deployment {
    dir: TempDir,
    files: testbed::Deployment,
    pub(crate) broker_url: String,
    pub(crate) database_url: String,
    /// The name of the virtual host and of the database.
    pub(crate) name: String,
}

impl Deployment {
    /// With a migrated database. `settings` is TOML without `[broker]` and `[database]`.
    pub(crate) fn new(settings: &str) -> Self {
        let deployment = Self::unmigrated(settings);
        deployment.run("migrate", &[]);
        deployment
    }

    /// With a database without tables.
    pub(crate) fn unmigrated(settings: &str) -> Self {
        let tenant = servers().add_tenant(&unused_name());
        let tenant = tenant.expect("create a virtual host and a database");
        Self::with(
            settings,
            tenant.name,
            tenant.broker_url,
            tenant.database_url,
        )
    }

    /// With another RabbitMQ (none if `broker_url` is empty), and a database without tables.
    pub(crate) fn with_broker(settings: &str, broker_url: &str) -> Self {
        let name = unused_name();
        let database_url = servers().add_database(&name).expect("create a database");
        Self::with(settings, name, broker_url.to_owned(), database_url)
    }

    /// As [`Deployment::through_proxy`], with another RabbitMQ.
    pub(crate) fn through_proxy_to(broker_url: &str, settings: &str) -> (Self, Proxy) {
        let (broker_url, proxy) = behind_proxy(broker_url);
        let deployment = Self::with_broker(settings, &broker_url);
        deployment.run("migrate", &[]);
        (deployment, proxy)
    }

    /// As [`Deployment::new`], with RabbitMQ behind the first proxy, and PostgreSQL behind the second.
    pub(crate) fn through_proxies(settings: &str) -> (Self, Proxy, Proxy) {
        let tenant = servers().add_tenant(&unused_name());
        let tenant = tenant.expect("create a virtual host and a database");
        let (broker_url, rabbit) = behind_proxy(&tenant.broker_url);
        let (database_url, postgres) = behind_proxy(&tenant.database_url);
        let deployment = Self::with(settings, tenant.name, broker_url, database_url);
        deployment.run("migrate", &[]);
        (deployment, rabbit, postgres)
    }

    /// As [`Deployment::new`], with PostgreSQL behind a proxy.
    pub(crate) fn through_proxy_of_database(settings: &str) -> (Self, Proxy) {
        let (deployment, _, proxy) = Self::through_proxies(settings);
        (deployment, proxy)
    }

    /// As [`Deployment::new`], with RabbitMQ behind a proxy.
    pub(crate) fn through_proxy(settings: &str) -> (Self, Proxy) {
        let tenant = servers().add_tenant(&unused_name());
        let tenant = tenant.expect("create a virtual host and a database");
        let (broker_url, proxy) = behind_proxy(&tenant.broker_url);
        let deployment = Self::with(settings, tenant.name, broker_url, tenant.database_url);
        deployment.run("migrate", &[]);
        (deployment, proxy)
    }

    fn with(settings: &str, name: String, broker_url: String, database_url: String) -> Self {
        let dir = tempfile::tempdir().expect("create a temporary directory");
        let settings = format!(
            "{settings}\n[broker]\nurl = {broker_url:?}\n[database]\nurl = {database_url:?}\n"
        );
        let program = PathBuf::from(env!("CARGO_BIN_EXE_wattpost"));
        let files = testbed::Deployment::new(&program, dir.path(), &settings);
        Self {
            files: files.expect("write the settings"),
            dir,
            broker_url,
            database_url,
            name,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A command of the binary with these settings and the data directory `data_dir`.
    pub(crate) fn command(&self, subcommand: &str, data_dir: &str) -> Command {
        let mut command = self.files.command(subcommand);
        command.arg("--data-dir").arg(self.path(data_dir));
        command
    }

    /// Runs a command that must succeed, and returns what it printed to stdout.
    pub(crate) fn run(&self, subcommand: &str, arguments: &[&str]) -> String {
        let (is_ok, stdout, stderr) = self.try_run(subcommand, arguments);
        assert!(is_ok, "wattpost {subcommand} failed: {stdout}{stderr}");
        stdout
    }

    /// Runs a command: whether it succeeded, its stdout, its stderr.
    pub(crate) fn try_run(&self, subcommand: &str, arguments: &[&str]) -> (bool, String, String) {
        let output = self
            .command(subcommand, "command")
            .args(arguments)
            .output()
            .expect("run wattpost");
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    }

    /// Starts a role with the data directory `data_dir` and waits until it is ready.
    pub(crate) fn start(&self, role: &str, data_dir: &str) -> Role {
        self.start_command(self.command(role, data_dir), data_dir)
    }

    /// Starts a command that [`Deployment::command`] made.
    pub(crate) fn start_command(&self, command: Command, name: &str) -> Role {
        Role::start(command, name, &self.path(&format!("{name}.log")))
    }

    /// The export of `messages` or `transactions`.
    pub(crate) fn export(&self, what: &str) -> Vec<Value> {
        self.run(&format!("export {what}"), &["--quiet"])
            .lines()
            .map(|line| serde_json::from_str(line).expect("a line of NDJSON"))
            .collect()
    }

    /// Waits until `count` messages with this action are stored, and not more.
    pub(crate) fn wait_for_stored(&self, action: &str, count: usize) {
        let stored = || {
            let messages = self.export("messages");
            let of_action = messages
                .iter()
                .filter(|message| message["action"] == action);
            of_action.count()
        };
        let mut seen = 0;
        let is_reached = until(TIMEOUT, || {
            seen = stored();
            seen >= count
        });
        assert!(
            is_reached && seen == count,
            "{seen} {action} are stored, not {count}"
        );
    }
}
