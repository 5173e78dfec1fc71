//! A whole installation on this machine: private RabbitMQ and PostgreSQL, and the roles of Wattpost as processes of
//! the very binary that runs now.
//!
//! The gateway reaches RabbitMQ through a proxy that can be broken; the consumer goes there directly.

use super::http;
use super::supervisor::{Role, Supervisor};
use super::watch::Patience;
use super::{Access, DrillArgs};
use anyhow::{Context, Result, bail};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use testbed::{Postgres, Proxy, RabbitMq};

/// A RabbitMQ that is killed within the first seconds of a new quorum queue forgets the queue with all that it
/// confirmed (seen with 3.10). That happens once in the life of an installation, and is not what is tried here.
const QUEUES_SETTLE: Duration = Duration::from_secs(5);
const READY_MAX: Duration = Duration::from_secs(60);
/// A broker that is slow to come up, and the back-off of those who look for it.
const WHOLE_MAX: Duration = Duration::from_secs(180);

/// What answers may wait for: a setting of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    Journal,
    Broker,
}

impl Durability {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Journal => "journal",
            Self::Broker => "broker",
        }
    }
}

/// RabbitMQ, PostgreSQL and the network between.
pub(super) struct Neighbours {
    pub(super) rabbit: RabbitMq,
    pub(super) postgres: Postgres,
    pub(super) network: Proxy,
    /// Before PostgreSQL, for scenarios that want it there ([`Tuning::through_proxy`]).
    pub(super) database_network: Proxy,
}

/// Settings that a scenario needs otherwise than the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tuning {
    /// `broker.prefetch`; none = the default.
    pub(super) prefetch: Option<u16>,
    /// All roles reach PostgreSQL through [`Neighbours::database_network`].
    pub(super) through_proxy: bool,
}

/// Everything that runs. Dropping it kills everything.
pub(super) struct Deployment {
    pub(super) supervisor: Supervisor,
    /// None when embedded.
    pub(super) neighbours: Option<Neighbours>,
    pub(super) ocpp: SocketAddr,
    /// A way to the gateway that can be cut: the line of a depot.
    pub(super) depot_line: Proxy,
    dir: PathBuf,
    durability: Durability,
    /// Where the gateway lives now; a scenario may move it.
    data_dir: PathBuf,
    ports: Ports,
    pub(super) broker_grace: Duration,
    tuning: Tuning,
    pub(super) access: Access,
}

struct Ports {
    api: u16,
    gateway_health: u16,
    consumer_health: u16,
}

impl Deployment {
    /// Starts everything below `dir`.
    pub(super) fn start(
        dir: &Path,
        args: &DrillArgs,
        access: Access,
        durability: Durability,
        patience: &Patience,
    ) -> Result<Self> {
        let neighbours = if args.embedded {
            None
        } else {
            testbed::installed().map_err(anyhow::Error::msg)?;
            patience.say("starting a private RabbitMQ and a private PostgreSQL");
            let postgres = Postgres::start(&dir.join("postgres"))?;
            let rabbit = RabbitMq::start(&dir.join("rabbitmq"))?;
            let network = Proxy::start(local(rabbit.port()))?;
            let database_network = Proxy::start(local(postgres.port()))?;
            Some(Neighbours {
                rabbit,
                postgres,
                network,
                database_network,
            })
        };
        let ocpp = local(testbed::spare_port()?);
        let deployment = Self {
            supervisor: Supervisor::new(dir),
            neighbours,
            ocpp,
            depot_line: Proxy::start(ocpp)?,
            dir: dir.to_owned(),
            durability,
            data_dir: dir.join("data"),
            ports: Ports {
                api: testbed::spare_port()?,
                gateway_health: testbed::spare_port()?,
                consumer_health: testbed::spare_port()?,
            },
            broker_grace: args.broker_grace(),
            tuning: Tuning::default(),
            access,
        };
        deployment.write_settings(None)?;
        patience.say(&format!(
            "starting {}",
            deployment
                .roles()
                .iter()
                .map(|role| role.name())
                .collect::<Vec<_>>()
                .join(", ")
        ));
        if deployment.neighbours.is_some() {
            deployment.run(&["migrate"])?;
        }
        for role in deployment.roles() {
            deployment
                .supervisor
                .run(*role, deployment.arguments(*role))?;
        }
        deployment.wait_ready(patience)?;
        deployment.wait_whole(patience)?;
        if deployment.neighbours.is_some() {
            patience.pause(QUEUES_SETTLE)?;
        }
        Ok(deployment)
    }

    pub(super) const fn is_embedded(&self) -> bool {
        self.neighbours.is_none()
    }

    /// All processes of ours.
    pub(super) const fn roles(&self) -> &'static [Role] {
        match self.is_embedded() {
            true => &[Role::Serve],
            false => &[Role::Gateway, Role::Consumer, Role::Api],
        }
    }

    /// The one that chargers talk to.
    pub(super) const fn door(&self) -> Role {
        match self.is_embedded() {
            true => Role::Serve,
            false => Role::Gateway,
        }
    }

    /// Starts the gateway anew with another durability, another data directory, or another bound of its journal.
    pub(super) fn reopen(
        &mut self,
        durability: Durability,
        data_dir: Option<&Path>,
        journal: Option<&str>,
        patience: &Patience,
    ) -> Result<()> {
        let data_dir = data_dir.map_or_else(|| self.dir.join("data"), Path::to_owned);
        self.supervisor.stop(self.door())?;
        self.durability = durability;
        self.data_dir = data_dir;
        self.write_settings(journal)?;
        self.supervisor
            .run(self.door(), self.arguments(self.door()))?;
        self.wait_ready(patience)
    }

    /// Stops the process that chargers talk to, does something, and starts it again.
    pub(super) fn with_door_closed<T>(
        &mut self,
        patience: &Patience,
        work: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let door = self.door();
        self.supervisor.stop(door)?;
        let done = work(self)?;
        self.supervisor.run(door, self.arguments(door))?;
        self.wait_ready(patience)?;
        Ok(done)
    }

    /// Starts every role anew with other settings, if they are other ones.
    pub(super) fn retune(
        &mut self,
        durability: Durability,
        tuning: Tuning,
        patience: &Patience,
    ) -> Result<()> {
        if (self.durability, self.tuning) == (durability, tuning) {
            return Ok(());
        }
        for role in self.roles() {
            self.supervisor.stop(*role)?;
        }
        (self.durability, self.tuning) = (durability, tuning);
        self.write_settings(None)?;
        for role in self.roles() {
            self.supervisor.run(*role, self.arguments(*role))?;
        }
        self.wait_ready(patience)?;
        self.wait_whole(patience)?;
        Ok(())
    }

    /// A figure of the gateway, by its whole name; none while it cannot be asked.
    pub(super) fn figure(&self, name: &str) -> Option<f64> {
        let port = match self.is_embedded() {
            true => self.ports.api,
            false => self.ports.gateway_health,
        };
        let (_, figures) = http::get(port, "/metrics").ok()?;
        let line = figures.lines().find_map(|line| line.strip_prefix(name))?;
        line.strip_prefix(' ')?.trim().parse().ok()
    }

    /// Everything of a list of the API, page after page.
    pub(super) fn api_list(&self, path: &str) -> Result<Vec<serde_json::Value>> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let (status, body) = http::get(self.ports.api, &format!("{path}&limit=1000{cursor}"))?;
            let mut page: serde_json::Value = serde_json::from_str(&body)
                .with_context(|| format!("the API answered {status}: {body}"))?;
            let serde_json::Value::Array(some) = page["items"].take() else {
                bail!("the API answered {status}: {body}");
            };
            items.extend(some);
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(items),
            }
        }
    }

    pub(super) fn settings_file(&self) -> PathBuf {
        self.dir.join("wattpost.toml")
    }

    /// The SQLite file, where there is one.
    pub(super) fn database_file(&self) -> PathBuf {
        self.data_dir.join("wattpost.db")
    }

    /// Waits until chargers are let in.
    pub(super) fn wait_ready(&self, patience: &Patience) -> Result<()> {
        let deadline = Instant::now() + READY_MAX;
        while TcpStream::connect_timeout(&self.ocpp, Duration::from_millis(200)).is_err() {
            if Instant::now() > deadline {
                let log = self.supervisor.log(self.door());
                bail!(
                    "{} does not come up; its log is {}, and ends with:\n{}",
                    self.door().name(),
                    log.display(),
                    tail(&log)
                );
            }
            patience.pause(Duration::from_millis(50))?;
        }
        Ok(())
    }

    /// Waits until every part says that it can do its work (`/health/ready`): connected, consuming, on the usual road.
    /// Whether all did in time.
    pub(super) fn wait_whole(&self, patience: &Patience) -> Result<bool> {
        let deadline = Instant::now() + WHOLE_MAX;
        let ports: &[u16] = match self.is_embedded() {
            true => &[self.ports.api],
            false => &[
                self.ports.gateway_health,
                self.ports.consumer_health,
                self.ports.api,
            ],
        };
        while !ports.iter().all(|port| is_ready(*port)) {
            if Instant::now() > deadline {
                return Ok(false);
            }
            patience.pause(Duration::from_millis(100))?;
        }
        Ok(true)
    }

    /// Runs another subcommand with the settings of this installation; what it printed. Its exit code is not looked at
    /// when it printed anything.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<String> {
        let program = std::env::current_exe().context("find the program that runs now")?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .arg("--config")
            .arg(self.settings_file())
            .env_remove("RUST_LOG")
            .stdin(Stdio::null());
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().context("run a subcommand")?;
        if !status.success() && stdout.is_empty() {
            bail!(
                "wattpost {} failed: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&stdout).into_owned())
    }

    fn arguments(&self, role: Role) -> Vec<String> {
        let mut arguments = vec![
            "--config".to_owned(),
            self.settings_file().display().to_string(),
        ];
        if let (Role::Gateway, Some(neighbours)) = (role, &self.neighbours) {
            // Through the network that can be broken.
            let direct = format!("127.0.0.1:{}", neighbours.rabbit.port());
            let through = neighbours.network.addr().to_string();
            arguments.push("--broker-url".to_owned());
            arguments.push(neighbours.rabbit.url().replace(&direct, &through));
        }
        arguments
    }

    fn write_settings(&self, journal_max: Option<&str>) -> Result<()> {
        let mut text = format!(
            "data_dir = {:?}\n\n[gateway]\nlisteners = [{{ address = \"{}\" }}]\nretry_after_s = 1\n",
            self.data_dir, self.ocpp
        );
        if let Some(neighbours) = &self.neighbours {
            text.push_str(&format!(
                "durability = \"{}\"\nbroker_grace_s = {}\n\n[broker]\nurl = \"{}\"\n\n[database]\nurl = \"{}\"\n",
                self.durability.name(),
                self.broker_grace.as_secs(),
                neighbours.rabbit.url(),
                database_url(neighbours, self.tuning)
            ));
            if let Some(prefetch) = self.tuning.prefetch {
                text = text.replace(
                    "\n[broker]\n",
                    &format!("\n[broker]\nprefetch = {prefetch}\n"),
                );
            }
        }
        let Ports {
            api,
            gateway_health,
            consumer_health,
        } = self.ports;
        text.push_str(&format!(
            "\n[http]\nlisten = \"127.0.0.1:{api}\"\n\n[health]\ngateway_listen = \"127.0.0.1:{gateway_health}\"\n\
             consumer_listen = \"127.0.0.1:{consumer_health}\"\n"
        ));
        if let Some(bytes) = journal_max {
            text.push_str(&format!("\n[journal]\n{bytes}\n"));
        }
        fs::write(self.settings_file(), text).context("write the settings")
    }
}

/// `GET /health/ready`, and whether it was answered with 200.
fn is_ready(port: u16) -> bool {
    http::get(port, "/health/ready").is_ok_and(|(status, _)| status == 200)
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn database_url(neighbours: &Neighbours, tuning: Tuning) -> String {
    let url = neighbours.postgres.url();
    if !tuning.through_proxy {
        return url;
    }
    let direct = local(neighbours.postgres.port()).to_string();
    url.replace(&direct, &neighbours.database_network.addr().to_string())
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
