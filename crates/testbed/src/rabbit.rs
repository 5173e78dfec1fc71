//! One RabbitMQ node of one's own.
//!
//! Everything that tells one node from another is private: its name, its cookie, its name server, its ports, its
//! directory. It listens on 127.0.0.1 only, also for Erlang distribution, and runs no plugins.

use crate::epmd::Epmd;
use crate::process::{Process, mortal};
use crate::{ports, programs, rabbit_home, ready};
use anyhow::{Context as _, bail};
use rustix::process::Signal;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const USER: &str = "wattpost";
const PASSWORD: &str = "wattpost";
/// RabbitMQ's own default, a share of the machine's memory.
const MEMORY_HIGH_WATERMARK: &str = "0.4";
/// A cold start takes 4 to 8 s on two idle cores; tests run beside other tests.
const START_S_MAX: u64 = 120;
const STOP_S_MAX: u64 = 30;

/// A private RabbitMQ node. Dropping it kills it; its directory stays with the caller.
///
/// It runs as the current user, also when that is root. The user `wattpost` (password the same) may do everything on
/// the virtual host `/`; others can be made with [`RabbitMq::ctl`].
#[derive(Debug)]
pub struct RabbitMq {
    place: Place,
    process: Process,
    /// Of nodes that were killed.
    spent_s: f64,
}

/// What stays the same over restarts.
#[derive(Debug, Clone)]
struct Place {
    dir: PathBuf,
    name: String,
    port: u16,
    distribution_port: u16,
    epmd: Arc<Epmd>,
}

impl RabbitMq {
    /// Starts a node with its data and logs in `dir`, which is created, and waits until it takes AMQP connections:
    /// some seconds.
    ///
    /// # Errors
    ///
    /// A program is not installed (the error names the Debian package), or the server does not come up within two
    /// minutes (the error shows the end of its log).
    pub fn start(dir: &Path) -> anyhow::Result<Self> {
        Self::start_with(dir, &[])
    }

    /// As [`RabbitMq::start`], with further lines for its configuration file.
    ///
    /// # Errors
    ///
    /// As [`RabbitMq::start`].
    pub fn start_with(dir: &Path, settings: &[String]) -> anyhow::Result<Self> {
        let cookie: String = std::iter::repeat_with(fastrand::alphanumeric)
            .take(20)
            .collect();
        fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        let node = Self::spawn(dir, Arc::new(Epmd::start(dir)?), &cookie, settings)?;
        node.wait_ready(soon())?;
        Ok(node)
    }

    /// Starts a node that shares name server and cookie with others, with further lines for its configuration; does
    /// not wait.
    pub(crate) fn spawn(
        dir: &Path,
        epmd: Arc<Epmd>,
        cookie: &str,
        settings: &[String],
    ) -> anyhow::Result<Self> {
        let port = ports::spare_port().context("find a port for RabbitMQ")?;
        let distribution_port = ports::spare_port().context("find a port for RabbitMQ")?;
        let name = format!("wattpost-{port}@localhost");
        fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        let dir = fs::canonicalize(dir)?;
        let place = Place {
            dir,
            name,
            port,
            distribution_port,
            epmd,
        };
        place.prepare(cookie, settings)?;
        let process = place.spawn()?;
        Ok(Self {
            place,
            process,
            spent_s: 0.0,
        })
    }

    /// Where to connect: `amqp://wattpost:wattpost@127.0.0.1:PORT/%2f`.
    pub fn url(&self) -> String {
        self.url_as(USER, PASSWORD, "/")
    }

    /// The same for another user and virtual host, who need not exist.
    pub fn url_as(&self, user: &str, password: &str, virtual_host: &str) -> String {
        let virtual_host = virtual_host.replace('/', "%2f");
        format!(
            "amqp://{user}:{password}@127.0.0.1:{}/{virtual_host}",
            self.place.port
        )
    }

    /// The port on 127.0.0.1 where it takes AMQP; the same after a restart.
    pub fn port(&self) -> u16 {
        self.place.port
    }

    /// Process id of the Erlang virtual machine.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The name of the Erlang node.
    pub fn name(&self) -> &str {
        &self.place.name
    }

    /// Is the process there? (Not: does it take connections.)
    pub fn is_running(&self) -> bool {
        self.process.is_running()
    }

    /// SIGKILL to the Erlang virtual machine and its helpers. Connections break, what was not synced is not.
    ///
    /// # Errors
    ///
    /// The kernel does not bury it in time.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill()
    }

    /// Ends it in good order (SIGTERM), or kills it after half a minute. A second call does nothing.
    pub fn stop(&mut self) {
        if let Err(error) = self
            .process
            .stop(Signal::TERM, Duration::from_secs(STOP_S_MAX))
        {
            tracing::warn!(%error, "RabbitMQ did not stop");
        }
    }

    /// Starts it again, with the same data on the same port, and waits until it takes connections. Killed first if it
    /// still runs.
    ///
    /// # Errors
    ///
    /// As [`RabbitMq::start`].
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.start_again()?;
        self.wait_ready(soon())
    }

    /// As [`RabbitMq::restart`], but returns at once.
    ///
    /// # Errors
    ///
    /// The process cannot be started.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        self.process.kill()?;
        self.spent_s += self.process.cpu_seconds();
        self.process = self.place.spawn()?;
        Ok(())
    }

    /// Waits until it takes connections.
    ///
    /// # Errors
    ///
    /// The process ended or `deadline` passed; with the end of its log.
    pub fn wait_ready(&self, deadline: Instant) -> anyhow::Result<()> {
        let log = self.place.log();
        self.process
            .wait_until(deadline, Some(&log), || ready::speaks_amqp(self.place.port))
    }

    /// Raises the memory alarm, which blocks every publisher, or ends it. A restart ends it too.
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

    /// `rabbitmqctl` on this node; what it printed. Takes about a second.
    ///
    /// # Errors
    ///
    /// It ended with a failure; with what it printed.
    pub fn ctl(&self, args: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(programs::RABBITMQCTL.path()?);
        self.place.environment(&mut command);
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

    /// CPU time, user and system, that this node has spent so far, restarts included, in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        self.spent_s + self.process.cpu_seconds()
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(START_S_MAX)
}

impl Place {
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
            format!("log.file = {}", self.log().display()),
            "log.file.level = info".to_owned(),
        ];
        conf.extend_from_slice(settings);
        conf.push(String::new());
        fs::write(self.dir.join("rabbitmq.conf"), conf.join("\n"))?;
        fs::write(self.dir.join("enabled_plugins"), "[].\n")?;
        Ok(())
    }

    fn spawn(&self) -> anyhow::Result<Process> {
        let server = programs::RABBITMQ_SERVER.path()?;
        let mut command = mortal(&server, None)?;
        self.environment(&mut command);
        if let Some(scripts) = rabbit_home::slim(&server, &self.dir.join("server")) {
            command.env("RABBITMQ_SCRIPTS_DIR", scripts);
        }
        // Makes the start script become the Erlang VM instead of watching over it; it does so itself for `-detached`.
        // So what we kill is the VM.
        command.env("detached", "1");
        Process::start(command, "rabbitmq-server", &self.dir.join("console.log"))
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

    fn log(&self) -> PathBuf {
        self.dir.join("rabbit.log")
    }
}
