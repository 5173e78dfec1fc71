//! The deployment under test: private RabbitMQ and PostgreSQL, and the roles of Wattpost as processes of the binary that
//! runs the drill.
//!
//! The gateway connects to RabbitMQ through a proxy that can be broken; the consumer connects directly.

use super::supervisor::{Role, Supervisor};
use super::watch::Control;
use super::{Access, DrillArgs};
use anyhow::{Context, Result, bail};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;
use testbed::{Proxy, Servers, http};

/// RabbitMQ 3.10 forgets a new quorum queue, with all confirmed messages, if it is killed within the first seconds.
/// That can happen only once in the life of a deployment and is not what the drill tests.
const QUEUES_SETTLE: Duration = Duration::from_secs(5);
/// The gateway must accept connections within this time after its start.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(60);
/// Long enough for a slow start of RabbitMQ and the back-off of its clients.
const READY_TIMEOUT: Duration = Duration::from_secs(180);

/// What [`Deployment::start_second_roles`] starts.
const SECOND_ROLES: [Role; 2] = [Role::SecondGateway, Role::SecondConsumer];

/// The setting `gateway.durability`.
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

/// RabbitMQ and PostgreSQL, each with a proxy.
pub(super) struct Backend {
    pub(super) servers: Servers,
    /// Between gateway and RabbitMQ.
    pub(super) broker_proxy: Proxy,
    /// Between all roles and PostgreSQL, if [`ScenarioSettings::database_through_proxy`] is set.
    pub(super) database_proxy: Proxy,
}

/// Settings that differ between scenarios.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ScenarioSettings {
    /// `broker.prefetch`; none = the default.
    pub(super) prefetch: Option<u16>,
    /// All roles connect to PostgreSQL through [`Backend::database_proxy`].
    pub(super) database_through_proxy: bool,
}

/// Everything that runs. Dropping it kills everything.
pub(super) struct Deployment {
    pub(super) supervisor: Supervisor,
    /// None with `--embedded`.
    pub(super) backend: Option<Backend>,
    pub(super) ocpp: SocketAddr,
    /// Where chargers connect to [`Role::SecondGateway`].
    pub(super) second_ocpp: SocketAddr,
    /// A proxy before the gateway, for the chargers of the depot.
    pub(super) depot_proxy: Proxy,
    files: testbed::Deployment,
    durability: Durability,
    /// The gateway's data directory; some scenarios change it.
    data_dir: PathBuf,
    ports: Ports,
    pub(super) broker_grace: Duration,
    settings: ScenarioSettings,
    pub(super) access: Access,
}

struct Ports {
    api: u16,
    gateway_health: u16,
    consumer_health: u16,
    second_gateway_health: u16,
    second_consumer_health: u16,
}

impl Deployment {
    /// Starts everything, with all files below `dir`.
    pub(super) fn start(
        dir: &Path,
        args: &DrillArgs,
        access: Access,
        durability: Durability,
        control: &Control,
    ) -> Result<Self> {
        let backend = if args.embedded {
            None
        } else {
            testbed::installed().map_err(anyhow::Error::msg)?;
            control.print("starting a private RabbitMQ and a private PostgreSQL");
            let servers = Servers::start(dir)?;
            Some(Backend {
                broker_proxy: Proxy::start(local(servers.rabbit.port()))?,
                database_proxy: Proxy::start(local(servers.postgres.port()))?,
                servers,
            })
        };
        let ocpp = local(testbed::spare_port()?);
        // A link, which an upgrade replaces.
        let program = dir.join("wattpost");
        link_to(&this_program()?, &program)?;
        let deployment = Self {
            supervisor: Supervisor::new(dir),
            backend,
            ocpp,
            second_ocpp: local(testbed::spare_port()?),
            depot_proxy: Proxy::start(ocpp)?,
            files: testbed::Deployment::new(&program, dir, "")?,
            durability,
            data_dir: dir.join("data"),
            ports: Ports {
                api: testbed::spare_port()?,
                gateway_health: testbed::spare_port()?,
                consumer_health: testbed::spare_port()?,
                second_gateway_health: testbed::spare_port()?,
                second_consumer_health: testbed::spare_port()?,
            },
            broker_grace: args.broker_grace(),
            settings: ScenarioSettings::default(),
            access,
        };
        deployment.write_settings(None)?;
        let names: Vec<&str> = deployment.roles().iter().map(|role| role.name()).collect();
        control.print(&format!("starting {}", names.join(", ")));
        if deployment.backend.is_some() {
            deployment.run("migrate", &[])?;
        }
        deployment.start_roles(control)?;
        if deployment.backend.is_some() {
            control.pause(QUEUES_SETTLE)?;
        }
        Ok(deployment)
    }

    /// Replaces the program of later starts; none is the program that runs now.
    pub(super) fn install(&self, program: Option<&Path>) -> Result<()> {
        let program = match program {
            Some(program) => program.to_owned(),
            None => this_program()?,
        };
        link_to(&program, &self.files.path("wattpost"))
    }

    /// A path in the directory of the drill.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.files.path(name)
    }

    pub(super) const fn is_embedded(&self) -> bool {
        self.backend.is_none()
    }

    /// All roles that run.
    pub(super) const fn roles(&self) -> &'static [Role] {
        match self.is_embedded() {
            true => &[Role::Serve],
            false => &[Role::Gateway, Role::Consumer, Role::Api],
        }
    }

    /// The role that chargers connect to.
    pub(super) const fn gateway(&self) -> Role {
        match self.is_embedded() {
            true => Role::Serve,
            false => Role::Gateway,
        }
    }

    /// Restarts the gateway with another durability and data directory (none = the usual one), and with `journal` as its
    /// section of settings.
    pub(super) fn restart_gateway(
        &mut self,
        durability: Durability,
        data_dir: Option<&Path>,
        journal: Option<&str>,
        control: &Control,
    ) -> Result<()> {
        self.supervisor.stop(self.gateway())?;
        self.durability = durability;
        self.data_dir = data_dir.map_or_else(|| self.files.path("data"), Path::to_owned);
        self.write_settings(journal)?;
        self.start_role(self.gateway())?;
        self.wait_accepting(control)
    }

    /// Stops the gateway, runs `work`, and starts the gateway again.
    pub(super) fn while_gateway_is_stopped<T>(
        &mut self,
        control: &Control,
        work: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let gateway = self.gateway();
        self.supervisor.stop(gateway)?;
        let result = work(self)?;
        self.start_role(gateway)?;
        self.wait_accepting(control)?;
        Ok(result)
    }

    /// Restarts every role with other settings, unless they are the same.
    pub(super) fn restart_all(
        &mut self,
        durability: Durability,
        settings: ScenarioSettings,
        control: &Control,
    ) -> Result<()> {
        if (self.durability, self.settings) == (durability, settings) {
            return Ok(());
        }
        for role in self.roles() {
            self.supervisor.stop(*role)?;
        }
        (self.durability, self.settings) = (durability, settings);
        self.write_settings(None)?;
        self.start_roles(control)
    }

    fn start_roles(&self, control: &Control) -> Result<()> {
        for role in self.roles() {
            self.start_role(*role)?;
        }
        self.wait_accepting(control)?;
        self.wait_ready(control)?;
        Ok(())
    }

    /// Starts a second gateway and a second consumer, and waits until they work.
    pub(super) fn start_second_roles(&self, control: &Control) -> Result<()> {
        for role in SECOND_ROLES {
            self.start_role(role)?;
        }
        for role in SECOND_ROLES {
            if !self.wait_works(role, control)? {
                bail!("{} is not ready; see its log (--keep)", role.name());
            }
        }
        Ok(())
    }

    /// Stops what [`Deployment::start_second_roles`] has started.
    pub(super) fn stop_second_roles(&self) -> Result<()> {
        SECOND_ROLES
            .into_iter()
            .try_for_each(|role| self.supervisor.stop(role))
    }

    /// Starts a role, which must not run.
    pub(super) fn start_role(&self, role: Role) -> Result<()> {
        let mut command = self.files.command(role.subcommand());
        if SECOND_ROLES.contains(&role) {
            let Ports {
                second_gateway_health,
                second_consumer_health,
                ..
            } = self.ports;
            command
                .arg("--data-dir")
                .arg(self.files.path("data-2"))
                .env(
                    "WATTPOST__GATEWAY__LISTENERS",
                    format!("[{{address=\"{}\"}}]", self.second_ocpp),
                )
                .env(
                    "WATTPOST__HEALTH__GATEWAY_LISTEN",
                    local(second_gateway_health).to_string(),
                )
                .env(
                    "WATTPOST__HEALTH__CONSUMER_LISTEN",
                    local(second_consumer_health).to_string(),
                );
        }
        if let (Role::Gateway, Some(backend)) = (role, &self.backend) {
            let rabbit = &backend.servers.rabbit;
            let through_proxy = url_through(&rabbit.url(), rabbit.port(), &backend.broker_proxy);
            command.arg("--broker-url").arg(through_proxy);
        }
        self.supervisor.run(role, command)
    }

    /// Where the gateway answers requests for health and metrics.
    pub(super) fn gateway_http(&self) -> SocketAddr {
        local(self.http_port(self.gateway()))
    }

    const fn http_port(&self, role: Role) -> u16 {
        match role {
            Role::Serve | Role::Api => self.ports.api,
            Role::Gateway => self.ports.gateway_health,
            Role::Consumer => self.ports.consumer_health,
            Role::SecondGateway => self.ports.second_gateway_health,
            Role::SecondConsumer => self.ports.second_consumer_health,
        }
    }

    /// Waits until the gateway says that it takes chargers.
    pub(super) fn wait_answering(&self, control: &Control) -> Result<()> {
        let server = self.gateway_http();
        let is_ready = || http::get(server, "/health/ready").is_ok_and(|(status, _)| status == 200);
        if !control.pause_until(ACCEPT_TIMEOUT, is_ready)? {
            bail!(
                "{} does not answer /health/ready with 200",
                self.gateway().name()
            );
        }
        Ok(())
    }

    /// Waits until all parts of `role` work, by `/health`; returns whether that happened in time.
    pub(super) fn wait_works(&self, role: Role, control: &Control) -> Result<bool> {
        let port = self.http_port(role);
        control.pause_until(READY_TIMEOUT, || works(port))
    }

    /// The value of a metric of the gateway; none while it does not answer.
    pub(super) fn metric(&self, name: &str) -> Option<f64> {
        let (_, answer) = http::get(self.gateway_http(), "/metrics").ok()?;
        http::metric(&answer, name)
    }

    /// All items of a list of the API, from all pages.
    pub(super) fn api_list(&self, path: &str) -> Result<Vec<serde_json::Value>> {
        let api = local(self.ports.api);
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let (status, body) = http::get(api, &format!("{path}&limit=1000{cursor}"))?;
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

    /// Requests a command that every charger answers; returns whether the API accepted it. `waits`: also for a charger that is
    /// offline.
    pub(super) fn request_command(&self, charger: &str, waits: bool) -> bool {
        let when_offline = if waits { "wait" } else { "fail" };
        let body = format!(
            r#"{{"action":"ClearCache","when_offline":"{when_offline}","answer_within_ms":5000}}"#
        );
        let path = format!("/api/v1/chargers/{charger}/commands");
        let key = format!("Idempotency-Key: {:032x}\r\n", fastrand::u128(..));
        let answer = http::send(local(self.ports.api), "POST", &path, &key, &body);
        answer.is_ok_and(|(status, _)| status == 200 || status == 202)
    }

    pub(super) fn settings_file(&self) -> PathBuf {
        self.files.settings_file()
    }

    /// The SQLite file, with `--embedded`.
    pub(super) fn database_file(&self) -> PathBuf {
        self.data_dir.join("wattpost.db")
    }

    /// Waits until the gateway accepts connections.
    pub(super) fn wait_accepting(&self, control: &Control) -> Result<()> {
        let accepts = || TcpStream::connect_timeout(&self.ocpp, Duration::from_millis(200)).is_ok();
        if !control.pause_until(ACCEPT_TIMEOUT, accepts)? {
            let (name, log) = (
                self.gateway().name(),
                self.supervisor.log_file(self.gateway()),
            );
            bail!(
                "{name} does not accept connections; the end of its log {}:\n{}",
                log.display(),
                testbed::tail(&log)
            );
        }
        Ok(())
    }

    /// Waits until all parts of every role work, by `/health`; returns whether that happened in time.
    pub(super) fn wait_ready(&self, control: &Control) -> Result<bool> {
        let ports: &[u16] = match self.is_embedded() {
            true => &[self.ports.api],
            false => &[
                self.ports.gateway_health,
                self.ports.consumer_health,
                self.ports.api,
            ],
        };
        control.pause_until(READY_TIMEOUT, || ports.iter().all(|port| works(*port)))
    }

    /// Runs another subcommand with the same settings and returns what it printed to stdout. Its exit code is ignored
    /// unless it printed nothing.
    pub(super) fn run(&self, subcommand: &str, arguments: &[&str]) -> Result<String> {
        let mut command = self.files.command(subcommand);
        let Output {
            status,
            stdout,
            stderr,
        } = command
            .args(arguments)
            .output()
            .context("run a subcommand")?;
        if !status.success() && stdout.is_empty() {
            bail!(
                "wattpost {subcommand} failed: {}",
                String::from_utf8_lossy(&stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&stdout).into_owned())
    }

    fn write_settings(&self, journal: Option<&str>) -> Result<()> {
        let mut text = format!(
            "data_dir = {:?}\n\n[gateway]\nlisteners = [{{ address = \"{}\" }}]\nretry_after_s = 1\n",
            self.data_dir, self.ocpp
        );
        if let Some(backend) = &self.backend {
            let (rabbit, postgres) = (&backend.servers.rabbit, &backend.servers.postgres);
            let database_url = match self.settings.database_through_proxy {
                true => url_through(&postgres.url(), postgres.port(), &backend.database_proxy),
                false => postgres.url(),
            };
            text.push_str(&format!(
                "durability = \"{}\"\nbroker_grace_s = {}\n\n[database]\nurl = \"{database_url}\"\n\n\
                 [broker]\nurl = \"{}\"\n",
                self.durability.name(),
                self.broker_grace.as_secs(),
                rabbit.url(),
            ));
            if let Some(prefetch) = self.settings.prefetch {
                text.push_str(&format!("prefetch = {prefetch}\n"));
            }
        }
        let Ports {
            api,
            gateway_health,
            consumer_health,
            ..
        } = self.ports;
        text.push_str(&format!(
            "\n[http]\nlisten = \"127.0.0.1:{api}\"\n\n[health]\ngateway_listen = \"127.0.0.1:{gateway_health}\"\n\
             consumer_listen = \"127.0.0.1:{consumer_health}\"\n"
        ));
        if let Some(journal) = journal {
            text.push_str(&format!("\n[journal]\n{journal}\n"));
        }
        self.files.write_settings(&text)
    }
}

/// Whether `GET /health` says that all parts work.
fn this_program() -> Result<PathBuf> {
    std::env::current_exe().context("find the program that runs now")
}

/// Makes `link` lead to `program`, whatever it led to before.
fn link_to(program: &Path, link: &Path) -> Result<()> {
    let new = link.with_extension("new");
    std::os::unix::fs::symlink(program, &new)
        .and_then(|()| std::fs::rename(&new, link))
        .with_context(|| format!("make {} lead to {}", link.display(), program.display()))
}

fn works(port: u16) -> bool {
    let health = http::get(local(port), "/health").ok();
    let health = health.and_then(|(_, body)| serde_json::from_str::<serde_json::Value>(&body).ok());
    health.is_some_and(|health| health["status"] == "works")
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// The URL of a server on `port` of 127.0.0.1, with the proxy's address instead.
fn url_through(url: &str, port: u16, proxy: &Proxy) -> String {
    url.replace(&local(port).to_string(), &proxy.addr().to_string())
}
