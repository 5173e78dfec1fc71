//! The servers, and the systems that are measured on them.

use crate::process::Server;
use anyhow::{Context, Result, ensure};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use testbed::{Servers, Tenant};

/// Private RabbitMQ and PostgreSQL servers. Each started system gets its own virtual host and database on them.
pub(crate) struct Deployment {
    dir: TempDir,
    pub(crate) servers: Servers,
    launched: u32,
}

/// A measured system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum System {
    /// Gateway, consumer and API; answers after the journal's sync.
    Journal,
    /// The same; answers after RabbitMQ's confirm.
    Broker,
    /// The Node.js baseline; answers before RabbitMQ's confirm.
    NodeEarly,
    /// The Node.js baseline; answers after RabbitMQ's confirm.
    NodeConfirmed,
}

impl System {
    pub(crate) const ALL: [Self; 4] = [
        Self::Journal,
        Self::Broker,
        Self::NodeEarly,
        Self::NodeConfirmed,
    ];

    const fn is_node(self) -> bool {
        matches!(self, Self::NodeEarly | Self::NodeConfirmed)
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Journal => "Wattpost, `journal`",
            Self::Broker => "Wattpost, `broker`",
            Self::NodeEarly => "Node.js, reply early",
            Self::NodeConfirmed => "Node.js, reply after confirm",
        })
    }
}

/// CPU seconds by process.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cpu {
    gateway: f64,
    consumer: f64,
    node: f64,
    rabbit: f64,
    postgres: f64,
    pub(crate) load: f64,
}

/// Mean numbers of records per step; 0 for a system without these steps.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BatchSizes {
    /// Records per sync of the journal.
    pub(crate) sync: f64,
    /// Records per batch to RabbitMQ.
    pub(crate) batch: f64,
}

impl Cpu {
    pub(crate) const NAMES: &str = "gateway + consumer (or Node.js) / RabbitMQ / PostgreSQL / load";

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            gateway: self.gateway - before.gateway,
            consumer: self.consumer - before.consumer,
            node: self.node - before.node,
            rabbit: self.rabbit - before.rabbit,
            postgres: self.postgres - before.postgres,
            load: self.load,
        }
    }

    pub(crate) fn per_message(self, messages: f64) -> String {
        let us = |seconds: f64| format!("{:.0}", seconds * 1e6 / messages);
        let ours = if self.node > 0.0 {
            us(self.node)
        } else {
            format!("{} + {}", us(self.gateway), us(self.consumer))
        };
        let (rabbit, postgres, load) = (us(self.rabbit), us(self.postgres), us(self.load));
        format!("{ours} / {rabbit} / {postgres} / {load}")
    }
}

impl Deployment {
    pub(crate) fn start() -> Result<Self> {
        testbed::installed().map_err(anyhow::Error::msg)?;
        let dir = TempDir::new()?;
        Ok(Self {
            servers: Servers::start(dir.path())?,
            dir,
            launched: 0,
        })
    }

    /// A fresh virtual host, database and data directory.
    pub(crate) fn environment(&mut self) -> Result<Environment> {
        self.launched += 1;
        let name = format!("bench{}", self.launched);
        Ok(Environment {
            data_dir: self.dir.path().join(&name),
            tenant: self.servers.add_tenant(&name)?,
        })
    }

    /// Deletes an environment, so that its backlog does not slow the next cell.
    pub(crate) fn clear(&self, environment: &Environment) -> Result<()> {
        self.remove(&environment.tenant.name)
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.servers.remove_tenant(name)?;
        self.servers.postgres.superuser_psql("CHECKPOINT")?;
        let _ = std::fs::remove_dir_all(self.dir.path().join(name));
        Ok(())
    }

    /// Deletes the environment of the last system, then starts a system and waits until it accepts chargers.
    pub(crate) fn launch(&mut self, system: System) -> Result<Running> {
        if let Some(last) = self.last_environment()? {
            self.remove(&last)?;
        }
        let environment = self.environment()?;
        if system.is_node() {
            let node = node(&environment, system)?;
            return Ok(Running {
                environment,
                gateway: None,
                consumer: None,
                node: Some(node),
            });
        }
        let wattpost = Wattpost::of(&environment, system);
        wattpost.migrate()?;
        let consumer = wattpost.start("consumer")?;
        let gateway = wattpost.start("gateway")?;
        Ok(Running {
            environment,
            gateway: Some(gateway),
            consumer: Some(consumer),
            node: None,
        })
    }

    /// The name of the last environment, if it was not deleted.
    fn last_environment(&self) -> Result<Option<String>> {
        if self.launched == 0 {
            return Ok(None);
        }
        let name = format!("bench{}", self.launched);
        let names = self.servers.rabbit.ctl(&["list_vhosts", "name"])?;
        Ok(names
            .lines()
            .any(|line| line.trim() == name)
            .then_some(name))
    }

    /// Runs SQL in the database of an environment.
    pub(crate) fn sql(&self, environment: &Environment, sql: &str) -> Result<String> {
        testbed::psql(&environment.tenant.database_url, sql)
    }
}

/// A virtual host, a database and a data directory.
pub(crate) struct Environment {
    tenant: Tenant,
    pub(crate) data_dir: PathBuf,
}

/// Starts roles of Wattpost in an environment.
pub(crate) struct Wattpost<'a> {
    environment: &'a Environment,
    durability: &'static str,
}

impl<'a> Wattpost<'a> {
    pub(crate) const fn of(environment: &'a Environment, system: System) -> Self {
        let durability = match system {
            System::Broker => "broker",
            _ => "journal",
        };
        Self {
            environment,
            durability,
        }
    }

    pub(crate) fn command(&self, subcommand: &str) -> Result<Command> {
        let binary: PathBuf = std::env::current_exe()?.with_file_name("wattpost");
        let mut command = Command::new(binary);
        command
            .arg(subcommand)
            .arg("--data-dir")
            .arg(&self.environment.data_dir)
            .args(["--broker-url", &self.environment.tenant.broker_url])
            .args(["--database-url", &self.environment.tenant.database_url])
            .args([
                "--ocpp-listen",
                "127.0.0.1:0",
                "--http-listen",
                "127.0.0.1:0",
            ])
            .env("WATTPOST__GATEWAY__DURABILITY", self.durability)
            .env("RUST_LOG", "warn")
            .current_dir(Path::new("/"));
        Ok(command)
    }

    pub(crate) fn migrate(&self) -> Result<()> {
        let output = self.command("migrate")?.output()?;
        ensure!(
            output.status.success(),
            "wattpost migrate: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    pub(crate) fn start(&self, role: &str) -> Result<Server> {
        let mark = if role == "gateway" { "ws://" } else { "" };
        Server::start(self.command(role)?, mark, Some("http://"))
    }
}

/// A running system. Dropping it kills its processes.
pub(crate) struct Running {
    environment: Environment,
    gateway: Option<Server>,
    consumer: Option<Server>,
    node: Option<Server>,
}

impl Running {
    /// The address for chargers.
    pub(crate) fn ocpp(&self) -> SocketAddr {
        let server = self.gateway.as_ref().or(self.node.as_ref());
        server.map_or_else(
            || SocketAddr::from(([0, 0, 0, 0], 0)),
            |server| server.address,
        )
    }

    /// Starts an API process beside the other roles.
    pub(crate) fn start_api(&self) -> Result<Server> {
        Wattpost::of(&self.environment, System::Journal).start("api")
    }

    /// Whether the gateway fell back to the journal, so that some answers did not wait for RabbitMQ's confirm.
    pub(crate) fn fell_back(&self) -> Result<bool> {
        let fallbacks = self
            .gateway
            .as_ref()
            .map(|gateway| gateway.metric("wattpost_gateway_durability_fallbacks_total"));
        Ok(fallbacks.transpose()?.is_some_and(|count| count > 0.0))
    }

    pub(crate) fn batch_sizes(&self) -> Result<BatchSizes> {
        let Some(gateway) = &self.gateway else {
            return Ok(BatchSizes::default());
        };
        let ratio = |sum: &str, count: &str| -> Result<f64> {
            Ok(gateway.metric(sum)? / gateway.metric(count)?.max(1.0))
        };
        Ok(BatchSizes {
            sync: ratio(
                "wattpost_journal_synced_records_total",
                "wattpost_journal_syncs_total",
            )?,
            batch: ratio(
                "wattpost_gateway_delivered_records_total",
                "wattpost_gateway_deliveries_total",
            )?,
        })
    }

    /// The number of stored messages of chargers.
    pub(crate) fn stored(&self, deployment: &Deployment) -> Result<u64> {
        let table = if self.node.is_some() {
            "SELECT count(*) FROM baseline_messages"
        } else {
            "SELECT count(*) FROM messages WHERE action = 'MeterValues'"
        };
        deployment
            .sql(&self.environment, table)?
            .parse()
            .context("a count")
    }

    pub(crate) fn cpu(&self, deployment: &Deployment) -> Result<Cpu> {
        let of = |server: &Option<Server>| server.as_ref().map_or(Ok(0.0), Server::cpu_seconds);
        Ok(Cpu {
            gateway: of(&self.gateway)?,
            consumer: of(&self.consumer)?,
            node: of(&self.node)?,
            rabbit: deployment.servers.rabbit.cpu_seconds(),
            postgres: deployment.servers.postgres.cpu_seconds(),
            load: 0.0,
        })
    }
}

fn node(environment: &Environment, system: System) -> Result<Server> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/baseline-node");
    ensure!(
        home.join("node_modules").is_dir(),
        "{} has no node_modules: run `npm ci` in it, as `make bench` does",
        home.display()
    );
    let mut command = Command::new("node");
    command
        .arg("server.js")
        .current_dir(home)
        .env("AMQP_URL", &environment.tenant.broker_url)
        .env("DATABASE_URL", &environment.tenant.database_url)
        .env(
            "REPLY",
            if system == System::NodeEarly {
                "early"
            } else {
                "confirmed"
            },
        );
    Server::start_with(command, |line| {
        let port = line.trim().strip_prefix("listening ")?.parse().ok()?;
        Some(SocketAddr::from(([127, 0, 0, 1], port)))
    })
}
