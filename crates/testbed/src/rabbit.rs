//! One private RabbitMQ node.
//!
//! Everything that identifies a node is private: its name, its cookie, its epmd, its ports, its directory. It listens on
//! 127.0.0.1 only, for Erlang distribution too, and runs no plugins.

use crate::epmd::Epmd;
use crate::process::{Process, child_command};
use crate::server::{Kind, Server};
use crate::{ports, programs, rabbit_home, ready};
use anyhow::{Context as _, bail};
use rustix::process::Signal;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

const USER: &str = "wattpost";
const PASSWORD: &str = "wattpost";
/// RabbitMQ's default, as a share of the machine's memory.
const MEMORY_HIGH_WATERMARK: &str = "0.4";

/// A private RabbitMQ node. Dropping it kills it; its directory stays.
///
/// It runs as the current user, even if that is root. The user `wattpost` (password the same) has all permissions on the
/// virtual host `/`; [`RabbitMq::ctl`] can add others.
pub type RabbitMq = Server<Node>;

/// The directory, name and ports of one node.
#[derive(Debug)]
pub struct Node {
    dir: PathBuf,
    name: String,
    port: u16,
    distribution_port: u16,
    epmd: Arc<Epmd>,
}

impl Kind for Node {
    const NAME: &'static str = "RabbitMQ";
    /// A cold start takes 4 to 8 s on two idle cores; other tests may run at the same time.
    const START_TIMEOUT: Duration = Duration::from_secs(120);
    const STOP_SIGNAL: Signal = Signal::TERM;

    fn port(&self) -> u16 {
        self.port
    }

    fn spawn(&self) -> anyhow::Result<Process> {
        let server = programs::RABBITMQ_SERVER.path()?;
        let mut command = child_command(&server, None)?;
        self.environment(&mut command);
        if let Some(scripts) = rabbit_home::slim(&server, &self.dir.join("server")) {
            command.env("RABBITMQ_SCRIPTS_DIR", scripts);
        }
        // With this variable, which it sets itself for `-detached`, the start script execs the Erlang VM instead of
        // starting it as a child. So the process that is killed is the VM.
        command.env("detached", "1");
        Process::start(command, "rabbitmq-server", &self.dir.join("console.log"))
    }

    fn is_ready(&self) -> bool {
        ready::speaks_amqp(self.port)
    }

    fn log(&self) -> Option<PathBuf> {
        Some(self.log_file())
    }
}

impl RabbitMq {
    /// Starts a node with its data and logs in `dir`, which is created, and waits until it accepts AMQP connections:
    /// some seconds.
    ///
    /// # Errors
    ///
    /// A program is not installed (the error names the Debian package), or the server is not ready within two minutes
    /// (the error contains the end of its log).
    pub fn start(dir: &Path) -> anyhow::Result<Self> {
        Self::start_with(dir, &[])
    }

    /// As [`RabbitMq::start`], with additional lines for its configuration file.
    ///
    /// # Errors
    ///
    /// As [`RabbitMq::start`].
    pub fn start_with(dir: &Path, settings: &[String]) -> anyhow::Result<Self> {
        let cookie: String = std::iter::repeat_with(fastrand::alphanumeric)
            .take(20)
            .collect();
        fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        let node = Self::spawn_node(dir, Arc::new(Epmd::start(dir)?), &cookie, settings)?;
        node.wait_started()?;
        Ok(node)
    }

    /// Starts a node that shares epmd and cookie with others, with additional lines for its configuration file; does
    /// not wait.
    pub(crate) fn spawn_node(
        dir: &Path,
        epmd: Arc<Epmd>,
        cookie: &str,
        settings: &[String],
    ) -> anyhow::Result<Self> {
        let port = ports::spare_port().context("find a port for RabbitMQ")?;
        let distribution_port = ports::spare_port().context("find a port for RabbitMQ")?;
        let name = format!("wattpost-{port}@localhost");
        fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        let node = Node {
            dir: fs::canonicalize(dir)?,
            name,
            port,
            distribution_port,
            epmd,
        };
        node.prepare(cookie, settings)?;
        Self::spawn(node)
    }

    /// The URL for the user `wattpost`: `amqp://wattpost:wattpost@127.0.0.1:PORT/%2f`.
    pub fn url(&self) -> String {
        self.url_as(USER, PASSWORD, "/")
    }

    /// The URL for another user and virtual host; neither needs to exist.
    pub fn url_as(&self, user: &str, password: &str, virtual_host: &str) -> String {
        let (port, virtual_host) = (self.port(), virtual_host.replace('/', "%2f"));
        format!("amqp://{user}:{password}@127.0.0.1:{port}/{virtual_host}")
    }

    /// The name of the Erlang node.
    pub fn name(&self) -> &str {
        &self.kind.name
    }

    /// Raises the memory alarm, which blocks every publisher, or clears it. A restart clears it too.
    ///
    /// # Errors
    ///
    /// As [`RabbitMq::ctl`].
    pub fn set_memory_alarm(&self, on: bool) -> anyhow::Result<()> {
        self.ctl(&[
            "set_vm_memory_high_watermark",
            if on { "0" } else { MEMORY_HIGH_WATERMARK },
        ])
        .map(drop)
    }

    /// Runs `rabbitmqctl` on this node and returns what it printed. Takes about a second.
    ///
    /// # Errors
    ///
    /// It failed; with what it printed.
    pub fn ctl(&self, args: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(programs::RABBITMQCTL.path()?);
        self.kind.environment(&mut command);
        let output = command
            .arg("--quiet")
            .args(args)
            .stdin(Stdio::null())
            .output()
            .context("run rabbitmqctl")?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!(
                "rabbitmqctl {} failed: {printed}{}",
                args.join(" "),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(printed)
    }
}

impl Node {
    fn prepare(&self, cookie: &str, settings: &[String]) -> anyhow::Result<()> {
        fs::create_dir_all(self.home())?;
        // Erlang refuses a cookie that others may read.
        fs::OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(self.home().join(".erlang.cookie"))?
            .write_all(cookie.as_bytes())?;
        let mut conf = vec![
            format!("listeners.tcp.1 = 127.0.0.1:{}", self.port),
            format!("default_user = {USER}"),
            format!("default_pass = {PASSWORD}"),
            "disk_free_limit.absolute = 50MB".to_owned(),
            "log.console = false".to_owned(),
            format!("log.file = {}", self.log_file().display()),
            "log.file.level = info".to_owned(),
        ];
        conf.extend_from_slice(settings);
        conf.push(String::new());
        fs::write(self.dir.join("rabbitmq.conf"), conf.join("\n"))?;
        fs::write(self.dir.join("enabled_plugins"), "[].\n")?;
        Ok(())
    }

    fn environment(&self, command: &mut Command) {
        command
            .current_dir(&self.dir)
            .env_remove("NOTIFY_SOCKET")
            .env("HOME", self.home())
            .env("LANG", "C.UTF-8")
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", self.epmd.port.to_string())
            .env("ERL_CRASH_DUMP_BYTES", "0")
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_CONFIG_FILE", self.dir.join("rabbitmq.conf"))
            .env("RABBITMQ_DIST_PORT", self.distribution_port.to_string())
            .env(
                "RABBITMQ_ENABLED_PLUGINS_FILE",
                self.dir.join("enabled_plugins"),
            )
            .env("RABBITMQ_LOG_BASE", &self.dir)
            .env("RABBITMQ_MNESIA_BASE", self.dir.join("data"))
            .env("RABBITMQ_NODENAME", &self.name)
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1}",
            );
    }

    fn home(&self) -> PathBuf {
        self.dir.join("home")
    }

    fn log_file(&self) -> PathBuf {
        self.dir.join("rabbit.log")
    }
}
