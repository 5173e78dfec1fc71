//! The servers, and the two systems that are measured on them.

use crate::process::Server;
use anyhow::{Context, Result, ensure};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use testbed::{Postgres, RabbitMq};

/// RabbitMQ and PostgreSQL, and a counter that gives each system a virtual host and a database of its own.
pub(crate) struct Plant {
    dir: TempDir,
    pub(crate) rabbit: RabbitMq,
    pub(crate) postgres: Postgres,
    launched: u32,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum System {
    /// Gateway, consumer and API; answers after the journal's sync.
    Journal,
    /// The same; answers after RabbitMQ's confirm.
    Broker,
    /// The founding architecture; answers at once.
    NodeEarly,
    /// The founding architecture; answers after RabbitMQ's confirm.
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

/// CPU seconds of every process.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cpu {
    gateway: f64,
    consumer: f64,
    node: f64,
    rabbit: f64,
    postgres: f64,
    pub(crate) load: f64,
}

/// Records that one step took together, on average; 0 where there is none.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Groups {
    /// To a sync of the journal.
    pub(crate) sync: f64,
    /// To a batch for RabbitMQ.
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

impl Plant {
    pub(crate) fn start() -> Result<Self> {
        testbed::installed().map_err(anyhow::Error::msg)?;
        let dir = TempDir::new()?;
        Ok(Self {
            rabbit: RabbitMq::start(&dir.path().join("rabbitmq"))?,
            postgres: Postgres::start(&dir.path().join("postgres"))?,
            dir,
            launched: 0,
        })
    }

    /// A fresh virtual host, database and data directory.
    pub(crate) fn place(&mut self) -> Result<Place> {
        self.launched += 1;
        let name = format!("bench{}", self.launched);
        self.rabbit.ctl(&["add_vhost", &name])?;
        self.rabbit
            .ctl(&["set_permissions", "-p", &name, "wattpost", ".*", ".*", ".*"])?;
        self.postgres
            .superuser_psql(&format!("CREATE DATABASE {name} OWNER wattpost"))?;
        let data_dir = self.dir.path().join(&name);
        Ok(Place {
            broker_url: self.rabbit.url_as("wattpost", "wattpost", &name),
            database_url: self.postgres.url_as("wattpost", "wattpost", &name),
            data_dir,
            name,
        })
    }

    /// Removes what a place holds on the servers: a backlog that is left behind would burden the next cell.
    pub(crate) fn clear(&self, place: &Place) -> Result<()> {
        self.rabbit.ctl(&["delete_vhost", &place.name])?;
        self.postgres
            .superuser_psql(&format!("DROP DATABASE {} WITH (FORCE)", place.name))?;
        self.postgres.superuser_psql("CHECKPOINT")?;
        let _ = std::fs::remove_dir_all(&place.data_dir);
        Ok(())
    }

    /// Starts a system and waits until it takes messages; clears what earlier ones left.
    pub(crate) fn launch(&mut self, system: System) -> Result<Running> {
        if let Some(left) = self.left_behind()? {
            self.clear(&left)?;
        }
        let place = self.place()?;
        if system.is_node() {
            let node = node(&place, system)?;
            return Ok(Running {
                place,
                gateway: None,
                consumer: None,
                node: Some(node),
            });
        }
        let wattpost = Wattpost::of(&place, system);
        wattpost.migrate()?;
        let consumer = wattpost.start("consumer")?;
        let gateway = wattpost.start("gateway")?;
        Ok(Running {
            place,
            gateway: Some(gateway),
            consumer: Some(consumer),
            node: None,
        })
    }

    fn left_behind(&self) -> Result<Option<Place>> {
        if self.launched == 0 {
            return Ok(None);
        }
        let name = format!("bench{}", self.launched);
        let names = self.rabbit.ctl(&["list_vhosts", "name"])?;
        Ok(names
            .lines()
            .any(|line| line.trim() == name)
            .then(|| Place {
                data_dir: self.dir.path().join(&name),
                broker_url: String::new(),
                database_url: String::new(),
                name,
            }))
    }

    /// Runs SQL in the database of a place.
    pub(crate) fn sql(&self, place: &Place, sql: &str) -> Result<String> {
        let output = Command::new("psql")
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
            .args([
                "--set=ON_ERROR_STOP=1",
                "--command",
                sql,
                &place.database_url,
            ])
            .output()
            .context("run psql")?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }
}

/// A virtual host, a database and a data directory.
pub(crate) struct Place {
    name: String,
    pub(crate) broker_url: String,
    pub(crate) database_url: String,
    pub(crate) data_dir: PathBuf,
}

/// How roles of Wattpost are started at a place.
pub(crate) struct Wattpost<'a> {
    place: &'a Place,
    durability: &'static str,
}

impl<'a> Wattpost<'a> {
    pub(crate) const fn of(place: &'a Place, system: System) -> Self {
        let durability = match system {
            System::Broker => "broker",
            _ => "journal",
        };
        Self { place, durability }
    }

    pub(crate) fn command(&self, subcommand: &str) -> Result<Command> {
        let binary: PathBuf = std::env::current_exe()?.with_file_name("wattpost");
        let mut command = Command::new(binary);
        command
            .arg(subcommand)
            .arg("--data-dir")
            .arg(&self.place.data_dir)
            .args(["--broker-url", &self.place.broker_url])
            .args(["--database-url", &self.place.database_url])
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

/// A system that runs. Dropping it kills its processes.
pub(crate) struct Running {
    place: Place,
    gateway: Option<Server>,
    consumer: Option<Server>,
    node: Option<Server>,
}

impl Running {
    /// Where chargers connect.
    pub(crate) fn ocpp(&self) -> SocketAddr {
        let server = self.gateway.as_ref().or(self.node.as_ref());
        server.map_or_else(
            || SocketAddr::from(([0, 0, 0, 0], 0)),
            |server| server.address,
        )
    }

    /// Whether answers went out without RabbitMQ's confirm at times.
    pub(crate) fn fell_back(&self) -> Result<bool> {
        let falls = self
            .gateway
            .as_ref()
            .map(|gateway| gateway.metric("wattpost_gateway_durability_fallbacks_total"));
        Ok(falls.transpose()?.is_some_and(|falls| falls > 0.0))
    }

    pub(crate) fn groups(&self) -> Result<Groups> {
        let Some(gateway) = &self.gateway else {
            return Ok(Groups::default());
        };
        let share = |of: &str, by: &str| -> Result<f64> {
            Ok(gateway.metric(of)? / gateway.metric(by)?.max(1.0))
        };
        Ok(Groups {
            sync: share(
                "wattpost_journal_synced_records_total",
                "wattpost_journal_syncs_total",
            )?,
            batch: share(
                "wattpost_gateway_delivered_records_total",
                "wattpost_gateway_deliveries_total",
            )?,
        })
    }

    /// Messages of chargers that are stored now.
    pub(crate) fn stored(&self, plant: &Plant) -> Result<u64> {
        let table = if self.node.is_some() {
            "SELECT count(*) FROM baseline_messages"
        } else {
            "SELECT count(*) FROM messages WHERE action = 'MeterValues'"
        };
        plant.sql(&self.place, table)?.parse().context("a count")
    }

    pub(crate) fn cpu(&self, plant: &Plant) -> Result<Cpu> {
        let of = |server: &Option<Server>| server.as_ref().map_or(Ok(0.0), Server::cpu_seconds);
        Ok(Cpu {
            gateway: of(&self.gateway)?,
            consumer: of(&self.consumer)?,
            node: of(&self.node)?,
            rabbit: plant.rabbit.cpu_seconds(),
            postgres: plant.postgres.cpu_seconds(),
            load: 0.0,
        })
    }
}

fn node(place: &Place, system: System) -> Result<Server> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/baseline-node");
    ensure!(
        home.join("node_modules").is_dir(),
        "{} has no node_modules: run `npm ci` there (`make bench` does)",
        home.display()
    );
    let mut command = Command::new("node");
    command
        .arg("server.js")
        .current_dir(home)
        .env("AMQP_URL", &place.broker_url)
        .env("DATABASE_URL", &place.database_url)
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
