//! `wattpost serve`, `gateway`, `consumer`, `api`: the roles, all in one process or each in its own. A setting means the
//! same in each of them.
//!
//! ```text
//! start:  identity → journal → database → RabbitMQ → gateway → consumer → API
//! stop:   listeners → connections (1001, in slices) → forwarder → consumer → journal (sync) → API
//! ```
//! HTTP stops last, so that `/health/live` answers during the stop. A database or RabbitMQ that is unavailable does not
//! prevent a start, so that chargers can connect; a wrong setting does.

mod alive;
mod consumer_role;
mod events;
mod expiring;
mod gateway_role;
mod notify;
mod reporting;
mod status_requests;

use crate::config::{DatabaseAt, Settings};
use crate::database::{self, Database, Use};
use crate::migrate::PendingMigration;
use crate::{SettingsArgs, check, open_files, telemetry};
use anyhow::{Context, Result};
use broker::Broker;
use central::model::ProcessRole;
use central::ports::HealthProbe;
use clap::Args;
use consumer::{EventTask, LocalListDeps, LocalListTask, MaintenanceTask};
use consumer_role::ConsumerRole;
use events::{Events, NotifyingStore};
use gateway_role::GatewayRole;
use reporting::{Reporter, Sources};
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

/// The roles of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Roles {
    /// Every role.
    All,
    /// Holds chargers' connections; with journal and forwarder.
    Gateway,
    /// Stores records from RabbitMQ in the database.
    Consumer,
    /// Serves the HTTP API.
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

    const fn reported(self) -> ProcessRole {
        match self {
            Self::All => ProcessRole::Serve,
            Self::Gateway => ProcessRole::Gateway,
            Self::Consumer => ProcessRole::Consumer,
            Self::Api => ProcessRole::Api,
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

    /// The address for HTTP, and the name of its setting.
    const fn http_listen(self, settings: &Settings) -> (SocketAddr, &'static str) {
        match self {
            Self::All | Self::Api => (settings.http.listen, "http.listen"),
            Self::Gateway => (settings.health.gateway_listen, "health.gateway_listen"),
            Self::Consumer => (settings.health.consumer_listen, "health.consumer_listen"),
        }
    }
}

/// Runs until a signal, or until the journal fails.
pub(crate) fn run(args: &ServeArgs, roles: Roles) -> Result<ExitCode> {
    let mut settings = args.settings.load()?;
    if let Some(listen) = args.settings.http_listen {
        // The flag sets the HTTP address of whichever role runs.
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
    // Blocking calls, such as to a database that hangs, are abandoned: the journal is synced already.
    runtime.shutdown_timeout(Duration::from_secs(1));
    code
}

async fn serve(settings: &Settings, roles: Roles) -> Result<ExitCode> {
    let mut stop = StopSignals::listen()?;
    let metrics = telemetry::start_metrics(settings, roles)?;
    let data_dir = roles.has_gateway().then(|| settings.data_dir.clone());
    tokio::spawn(telemetry::run_upkeep(metrics.clone(), data_dir));

    // The journal is opened first: that fails at once if another process uses this data directory.
    let opened = match roles.has_gateway() {
        true => Some(gateway_role::open(settings)?),
        false => None,
    };
    // A server that does not answer must not delay a stop.
    let (mut database, pending_migration) = tokio::select! {
        opened = open_database(settings, roles) => opened?,
        () = stop.recv() => return Ok(stopped_early(roles)),
    };
    if settings.has_broker() {
        tokio::select! {
            checked = check_broker(settings) => checked?,
            () = stop.recv() => return Ok(stopped_early(roles)),
        }
    }
    // One connection for publishing and one for consuming: RabbitMQ blocks a connection that publishes during an alarm,
    // and then its acknowledgements would be blocked too.
    let connect = |name: &str, wanted: bool| {
        (wanted && settings.has_broker()).then(|| Broker::start(settings.broker.clone(), name))
    };
    let publishing = connect("gateway", roles.has_gateway());
    let consuming = connect("consumer", roles.has_consumer());
    // An API process has no records to deliver: it sends and receives events only.
    let hinting = connect("api", roles == Roles::Api);
    if roles == Roles::Consumer && consuming.is_none() {
        anyhow::bail!(
            "broker.url is empty, so there is nothing to consume; set it to RabbitMQ's URL, such as \
             \"amqp://USER:PASSWORD@HOST:5672/%2f\" (without RabbitMQ, `wattpost gateway` and `serve` write to \
             the database directly)"
        );
    }

    let carrier = publishing.as_ref().or(consuming.as_ref());
    let events = Events::new(carrier.or(hinting.as_ref()).map(Arc::clone));
    database.store = Arc::new(NotifyingStore::new(database.store, Arc::clone(&events)));

    let mut probes: Vec<Arc<dyn HealthProbe>> = Vec::new();
    let gateway = match opened {
        Some(opened) => {
            let gateway =
                GatewayRole::start(settings, opened, &database, publishing.as_ref(), &events)
                    .await?;
            probes.extend(gateway.probes());
            Some(gateway)
        }
        None => None,
    };
    let consumer = match &consuming {
        Some(broker) => {
            let consumer = ConsumerRole::start(settings, &database, broker, roles.has_gateway())?;
            probes.extend(consumer.probes());
            Some(consumer)
        }
        None => None,
    };
    let maintenance = maintenance(settings, roles, &database, pending_migration)?;
    probes.extend(maintenance.iter().map(MaintenanceTask::probe));
    let local_lists = local_lists(settings, roles, &database, &events)?;
    let event_task = EventTask::start(Arc::clone(&database.event_log), settings.events.retain_days);
    for broker in [&publishing, &consuming].into_iter().flatten() {
        probes.push(Arc::clone(broker) as _);
    }
    let brokers = [publishing, consuming, hinting];
    // Gateways do the same; without any running, a request must end nevertheless.
    let expiring = (!roles.has_gateway()).then(|| expiring::start(&database));

    let (listen, listen_key) = roles.http_listen(settings);
    let journal = gateway.as_ref().map(GatewayRole::journal);
    let mut reported_probes = probes.clone();
    if let Some(broker) = &brokers[2] {
        // Not on the health page: the API works without RabbitMQ.
        reported_probes.push(Arc::clone(broker) as _);
    }
    let reporter = Reporter::new(Sources::of(
        roles.reported(),
        reported_probes,
        gateway.as_ref(),
        consumer.as_ref(),
        brokers.iter().flatten().next(),
    ));
    let reporting = reporter.start(&database, &events);
    let pipeline = roles.has_api().then(|| {
        let reporter = Arc::clone(&reporter);
        api::PipelineDeps {
            processes: Arc::clone(&database.processes),
            own: Arc::new(move || reporter.report()),
            has_broker: settings.has_broker(),
        }
    });
    let webhooks = match roles.has_api() {
        true => Some(webhooks(settings, &database)?),
        false => None,
    };
    let api = api::Api::start(
        api::ApiConfig {
            listen,
            ..settings.http.clone()
        },
        api::ApiDeps {
            store: roles.has_api().then(|| Arc::clone(&database.queries)),
            chargers: roles.has_api().then(|| Arc::clone(&database.chargers)),
            tokens: roles.has_api().then(|| Arc::clone(&database.tokens)),
            local_lists: roles.has_api().then(|| Arc::clone(&database.local_lists)),
            rotations: roles.has_api().then(|| Arc::clone(&database.rotations)),
            handshakes: roles.has_api().then(|| Arc::clone(&database.handshakes)),
            closings: roles.has_api().then(|| Arc::clone(&database.closings)),
            dead_letters: roles.has_api().then(|| Arc::clone(&database.dead_letters)),
            letter_retries: roles.has_api().then(|| database.letter_retries()),
            commands: roles.has_api().then(|| Arc::clone(&database.commands)),
            batches: roles.has_api().then(|| Arc::clone(&database.batches)),
            event_log: roles.has_api().then(|| Arc::clone(&database.event_log)),
            events: roles.has_api().then(|| Arc::clone(&events) as _),
            webhooks,
            keys: roles.has_api().then(|| Arc::clone(&database.api_keys)),
            users: roles.has_api().then(|| Arc::clone(&database.users)),
            probes,
            process: Some({
                let reporter = Arc::clone(&reporter);
                Arc::new(move || reporter.report())
            }),
            pipeline,
            metrics: Arc::new(move || {
                if let Some(journal) = &journal {
                    telemetry::set_journal_metrics(&journal.status());
                }
                metrics.render()
            }),
            version: env!("CARGO_PKG_VERSION"),
            build: api::Build {
                commit: option_env!("WATTPOST_COMMIT").filter(|commit| !commit.is_empty()),
                schema_version: store::SCHEMA_VERSION,
            },
        },
    )
    .await
    .with_context(|| format!("start HTTP on {listen_key}"))?;

    print(&start_message(settings, roles, gateway.as_ref(), &api));
    let watchdog = notify::ready(gateway.as_ref().map(GatewayRole::journal));

    let failure = tokio::select! {
        () = stop.recv() => None,
        why = failed(gateway.as_ref()) => Some(why),
    };
    notify::stopping();
    match &failure {
        None => tracing::info!("stopping"),
        Some(why) => tracing::error!(%why, "stopping: records can no longer be made durable"),
    }
    drop(maintenance);
    drop(local_lists);
    if let Some(expiring) = expiring {
        expiring.abort();
    }
    drop(event_task);
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
    reporting.abort();
    if gateway.is_none() {
        reporter.stopped(&database, &events).await;
    }
    for broker in brokers.iter().flatten() {
        let _ = tokio::time::timeout(Duration::from_secs(2), broker.close()).await;
    }
    let left = match gateway {
        Some(gateway) => {
            let left = gateway.close().await;
            // With the final position of the journal.
            reporter.stopped(&database, &events).await;
            Some(left)
        }
        None => None,
    };
    drop(watchdog);
    api.shutdown(Duration::from_secs(1)).await;

    if let Some(why) = failure {
        anyhow::bail!(
            "{why}; start again once the cause is fixed: no acknowledged message is lost"
        );
    }
    match left.transpose()? {
        Some(records) => print(&format!(
            "wattpost {} stopped; {records} records wait in the journal for the next start\n",
            roles.name()
        )),
        None => print(&format!("wattpost {} stopped\n", roles.name())),
    }
    Ok(ExitCode::SUCCESS)
}

/// The result of a stop during the start.
fn stopped_early(roles: Roles) -> ExitCode {
    print(&format!(
        "wattpost {} stopped before it was ready\n",
        roles.name()
    ));
    ExitCode::SUCCESS
}

/// Opens the database, and for `serve` migrates it. A database that is unavailable is used once it is available again.
///
/// # Errors
/// When waiting cannot help: a wrong password, a missing database, missing tables.
async fn open_database(settings: &Settings, roles: Roles) -> Result<(Database, PendingMigration)> {
    let settings = settings.clone();
    let opened = tokio::task::spawn_blocking(move || {
        let is_done = roles != Roles::All || crate::migrate::at_start(&settings)?;
        let database = database::open(&settings, Use::Serve)?;
        Ok((database, PendingMigration::new(&settings, is_done)))
    });
    opened.await.context("open the database")?
}

/// Starts the regular maintenance of PostgreSQL, in every process that writes to it.
fn maintenance(
    settings: &Settings,
    roles: Roles,
    database: &Database,
    pending_migration: PendingMigration,
) -> Result<Option<MaintenanceTask>> {
    if roles == Roles::Api || matches!(settings.database_at()?, DatabaseAt::Sqlite(_)) {
        return Ok(None);
    }
    let database = Arc::clone(&database.maintenance);
    Ok(Some(MaintenanceTask::start(Arc::new(move || {
        pending_migration.finish(&*database)?;
        database.maintain(database::now())
    }))))
}

/// Brings local lists to chargers. Where consumers run, one of them is enough; else gateways do it.
fn local_lists(
    settings: &Settings,
    roles: Roles,
    database: &Database,
    events: &Arc<Events>,
) -> Result<Option<LocalListTask>> {
    let is_needed = match settings.has_broker() {
        true => roles.has_consumer(),
        false => roles.has_gateway(),
    };
    if !is_needed {
        return Ok(None);
    }
    let task = LocalListTask::start(LocalListDeps {
        lists: Arc::clone(&database.local_lists),
        directory: Arc::clone(&database.directory),
        queries: Arc::clone(&database.queries),
        commands: Arc::clone(&database.commands),
        events: Some(Arc::clone(events) as _),
    });
    task.map(Some).context("start the thread of local lists")
}

/// What sends the messages of webhooks.
fn webhooks(settings: &Settings, database: &Database) -> Result<api::WebhookDeps> {
    let client = api::webhooks::client::Client::new(settings.webhooks.client());
    Ok(api::WebhookDeps {
        webhooks: Arc::clone(&database.webhooks),
        log: Arc::clone(&database.event_log),
        client: Arc::new(client.map_err(anyhow::Error::msg)?),
    })
}

/// Connects to RabbitMQ once. One that is unavailable is connected to later.
///
/// # Errors
/// When waiting cannot help: a wrong password, a missing virtual host or permission.
async fn check_broker(settings: &Settings) -> Result<()> {
    let checked =
        tokio::time::timeout(Duration::from_secs(5), Broker::check(&settings.broker)).await;
    match checked {
        Ok(Ok(_)) => {}
        Ok(Err(error)) if check::is_temporary(&error) => {
            tracing::warn!(%error, "starting without RabbitMQ");
        }
        Ok(Err(error)) => return Err(error.into()),
        Err(_) => tracing::warn!("RabbitMQ does not answer; starting without it"),
    }
    Ok(())
}

/// Ends, with the reason, when the gateway can no longer make records durable. Never ends without a gateway.
async fn failed(gateway: Option<&GatewayRole>) -> String {
    match gateway {
        Some(gateway) => gateway.failed().await,
        None => std::future::pending().await,
    }
}

fn start_message(
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
    line("database", &settings.redacted_database());
    if settings.has_broker() {
        line(
            "RabbitMQ",
            &crate::config::without_password(&settings.broker.url),
        );
    }
    text
}

/// Prints to stdout. An error, such as a closed pipe, is ignored.
fn print(text: &str) {
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
