//! `wattpost serve`, `gateway`, `consumer`, `api`: the roles, all in one process or one alone. The same
//! settings mean the same in each.
//!
//! ```text
//! start:  identity → journal → database → RabbitMQ → gateway → consumer → API   ("bind early")
//! stop:   accept → connections (1001, in slices) → forwarder → consumer → journal (drain, sync) → API
//! ```
//! HTTP stops last, so that `/health/live` answers while the rest winds down. What is away at the start
//! (the database, RabbitMQ) does not stop it: chargers come first. What is wrong does.

mod consumer_role;
mod gateway_role;
mod notify;

use crate::config::{DatabaseAt, Settings};
use crate::database::{self, Database, Use};
use crate::migrate::Late;
use crate::{SettingsArgs, check, open_files, telemetry};
use anyhow::{Context, Result};
use broker::Broker;
use central::ports::HealthProbe;
use clap::Args;
use consumer::MaintenanceTask;
use consumer_role::ConsumerRole;
use gateway_role::GatewayRole;
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Flags of `wattpost serve`, `gateway`, `consumer` and `api`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Which roles a process plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Roles {
    /// Every role.
    All,
    /// The door for chargers, with journal and forwarder.
    Gateway,
    /// From RabbitMQ into the database.
    Consumer,
    /// Shows the database.
    Api,
}

impl Roles {
    const fn name(self) -> &'static str {
        match self {
            Self::All => "serve",
            Self::Gateway => "gateway",
            Self::Consumer => "consumer",
            Self::Api => "api",
        }
    }

    pub(crate) const fn has_gateway(self) -> bool {
        matches!(self, Self::All | Self::Gateway)
    }

    const fn has_consumer(self) -> bool {
        matches!(self, Self::All | Self::Consumer)
    }

    const fn has_api(self) -> bool {
        matches!(self, Self::All | Self::Api)
    }

    /// Where this process tells how it is, and the name of that setting.
    const fn http_listen(self, settings: &Settings) -> (SocketAddr, &'static str) {
        match self {
            Self::All | Self::Api => (settings.http.listen, "http.listen"),
            Self::Gateway => (settings.health.gateway_listen, "health.gateway_listen"),
            Self::Consumer => (settings.health.consumer_listen, "health.consumer_listen"),
        }
    }
}

/// Runs until a signal or until the journal can keep no promise any more.
pub(crate) fn run(args: &ServeArgs, roles: Roles) -> Result<ExitCode> {
    let mut settings = args.settings.load()?;
    if let Some(listen) = args.settings.http_listen {
        // The flag means whatever this process listens on for HTTP.
        settings.health.gateway_listen = listen;
        settings.health.consumer_listen = listen;
    }
    telemetry::start_logging(&settings.log)?;
    open_files::fit(&mut settings, roles)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("wattpost")
        .build()
        .context("start the runtime")?;
    let code = runtime.block_on(serve(&settings, roles));
    // Whatever still blocks (a database that hangs) is not waited for: all that matters is synced.
    runtime.shutdown_timeout(Duration::from_secs(1));
    code
}

async fn serve(settings: &Settings, roles: Roles) -> Result<ExitCode> {
    let mut stop = StopSignals::listen()?;
    let metrics = telemetry::start_metrics(settings, roles)?;
    tokio::spawn(telemetry::keep_metrics_small(metrics.clone()));

    // The journal first: it says at once when another process has this data directory.
    let opened = match roles.has_gateway() {
        true => Some(gateway_role::open(settings)?),
        false => None,
    };
    // What hangs at the other end must not make a stop wait.
    let (database, late) = tokio::select! {
        opened = open_database(settings, roles) => opened?,
        () = stop.recv() => return Ok(stopped_early(roles)),
    };
    if settings.has_broker() && roles != Roles::Api {
        tokio::select! {
            looked = look_at_broker(settings) => looked?,
            () = stop.recv() => return Ok(stopped_early(roles)),
        }
    }
    // One connection each: while RabbitMQ holds back who publishes, it must go on taking acknowledgements.
    let connect = |name: &str, wanted: bool| {
        (wanted && settings.has_broker()).then(|| Broker::start(settings.broker.clone(), name))
    };
    let out = connect("gateway", roles.has_gateway());
    let back = connect("consumer", roles.has_consumer());
    if roles == Roles::Consumer && back.is_none() {
        anyhow::bail!(
            "broker.url is empty, so there is nothing to consume; name RabbitMQ there, such as \
             \"amqp://USER:PASSWORD@HOST:5672/%2f\" (without RabbitMQ, `wattpost gateway` and `serve` write to \
             the database themselves)"
        );
    }

    let mut probes: Vec<Arc<dyn HealthProbe>> = Vec::new();
    let gateway = match opened {
        Some(opened) => {
            let gateway = GatewayRole::start(settings, opened, &database, out.as_ref()).await?;
            probes.extend(gateway.probes());
            Some(gateway)
        }
        None => None,
    };
    let consumer = match &back {
        Some(broker) => {
            let consumer = ConsumerRole::start(settings, &database, broker, roles.has_gateway())?;
            probes.extend(consumer.probes());
            Some(consumer)
        }
        None => None,
    };
    let maintenance = maintenance(settings, roles, &database, late)?;
    probes.extend(maintenance.iter().map(MaintenanceTask::probe));
    let brokers = [out, back];
    for broker in brokers.iter().flatten() {
        probes.push(Arc::clone(broker) as _);
    }

    let (listen, listen_key) = roles.http_listen(settings);
    let journal = gateway.as_ref().map(GatewayRole::journal);
    let api = api::Api::start(
        api::ApiConfig {
            listen,
            ..settings.http.clone()
        },
        api::ApiDeps {
            store: roles.has_api().then(|| Arc::clone(&database.queries)),
            probes,
            metrics: Arc::new(move || {
                if let Some(journal) = &journal {
                    telemetry::show_journal(&journal.status());
                }
                metrics.render()
            }),
            version: env!("CARGO_PKG_VERSION"),
        },
    )
    .await
    .with_context(|| format!("start HTTP on {listen_key}"))?;

    announce(&greeting(settings, roles, gateway.as_ref(), &api));
    let heart = notify::ready(gateway.as_ref().map(GatewayRole::journal));

    let failure = tokio::select! {
        () = stop.recv() => None,
        why = failed(gateway.as_ref()) => Some(why),
    };
    notify::stopping();
    match &failure {
        None => tracing::info!("stopping"),
        Some(why) => tracing::error!(%why, "stopping: no promise can be kept any more"),
    }
    drop(maintenance);
    let stopping = async {
        if let Some(gateway) = &gateway {
            gateway.shutdown(settings.gateway.shutdown_grace()).await;
        }
        if let Some(consumer) = &consumer {
            consumer.shutdown().await;
        }
    };
    tokio::select! {
        () = stopping => {}
        () = stop.recv() => tracing::warn!("second signal: stopping at once"),
    }
    for broker in brokers.iter().flatten() {
        let _ = tokio::time::timeout(Duration::from_secs(2), broker.close()).await;
    }
    let left = match gateway {
        Some(gateway) => Some(gateway.close().await),
        None => None,
    };
    drop(heart);
    api.shutdown(Duration::from_secs(1)).await;

    if let Some(why) = failure {
        anyhow::bail!("{why}; start again once the cause is gone, nothing acknowledged is lost");
    }
    match left.transpose()? {
        Some(records) => announce(&format!(
            "wattpost {} stopped; {records} records wait in the journal for the next start\n",
            roles.name()
        )),
        None => announce(&format!("wattpost {} stopped\n", roles.name())),
    }
    Ok(ExitCode::SUCCESS)
}

/// A stop that was asked for before anything ran.
fn stopped_early(roles: Roles) -> ExitCode {
    announce(&format!(
        "wattpost {} stopped before it ran\n",
        roles.name()
    ));
    ExitCode::SUCCESS
}

/// Opens the database; one that is away is found again later, one that is wrong stops the start.
/// What is left to do of the set-up comes second.
async fn open_database(settings: &Settings, roles: Roles) -> Result<(Database, Late)> {
    let settings = settings.clone();
    let opened = tokio::task::spawn_blocking(move || {
        // All in one process is one command for one person: it does its own set-up.
        let is_done = roles != Roles::All || crate::migrate::at_start(&settings)?;
        let database = database::open(&settings, Use::Serve)?;
        Ok((database, Late::new(&settings, is_done)))
    });
    opened.await.context("open the database")?
}

/// What PostgreSQL wants done now and then, in every process that writes to it.
fn maintenance(
    settings: &Settings,
    roles: Roles,
    database: &Database,
    late: Late,
) -> Result<Option<MaintenanceTask>> {
    if roles == Roles::Api || matches!(settings.database_at()?, DatabaseAt::Sqlite(_)) {
        return Ok(None);
    }
    let database = Arc::clone(&database.maintenance);
    Ok(Some(MaintenanceTask::start(Arc::new(move || {
        late.catch_up(&*database)?;
        database.maintain(database::now())
    }))))
}

/// Looks at RabbitMQ once; one that is away is found again later, one that refuses us stops the start.
async fn look_at_broker(settings: &Settings) -> Result<()> {
    let looked =
        tokio::time::timeout(Duration::from_secs(5), Broker::check(&settings.broker)).await;
    match looked {
        Ok(Ok(_)) => {}
        Ok(Err(error)) if check::passes(&error) => {
            tracing::warn!(%error, "going on without RabbitMQ for now");
        }
        Ok(Err(error)) => return Err(error.into()),
        Err(_) => tracing::warn!("RabbitMQ does not answer; going on without it for now"),
    }
    Ok(())
}

/// Why the gateway can keep no promise any more; never ready where there is none.
async fn failed(gateway: Option<&GatewayRole>) -> String {
    match gateway {
        Some(gateway) => gateway.failed().await,
        None => std::future::pending().await,
    }
}

fn greeting(
    settings: &Settings,
    roles: Roles,
    gateway: Option<&GatewayRole>,
    api: &api::Api,
) -> String {
    let mut text = format!(
        "wattpost {} {} runs\n",
        roles.name(),
        env!("CARGO_PKG_VERSION")
    );
    let mut line = |name: &str, value: &str| text.push_str(&format!("  {name:<9} {value}\n"));
    if let Some(gateway) = gateway {
        for address in gateway.local_addrs() {
            line("chargers", &format!("ws://{address}/ocpp/IDENTITY"));
        }
    }
    let what = if roles.has_api() { "API" } else { "health" };
    line(what, &format!("http://{}", api.local_addr()));
    if let Some(gateway) = gateway {
        let data = settings.data_dir.display();
        line("data", &format!("{data} (gateway {})", gateway.id()));
    }
    line("database", &settings.database_shown());
    if settings.has_broker() && roles != Roles::Api {
        line(
            "RabbitMQ",
            &crate::config::without_password(&settings.broker.url),
        );
    }
    text
}

/// Says something to the person at the terminal, or to the script that reads stdout. A reader that
/// went away is no reason to stop serving.
fn announce(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// SIGINT and SIGTERM.
pub(crate) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    pub(crate) fn listen() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("listen for SIGINT")?,
            terminate: signal(SignalKind::terminate()).context("listen for SIGTERM")?,
        })
    }

    pub(crate) async fn recv(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
