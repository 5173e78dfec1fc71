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
mod restarts;
mod status_requests;
mod take_over;

use crate::config::{LogFormat, Settings};
use crate::database::{self, Database, Use};
use crate::disk::DiskWatch;
use crate::migrate::PendingMigration;
use crate::{SettingsArgs, check, open_files, telemetry};
use anyhow::{Context, Result};
use broker::Broker;
use central::model::ProcessRole;
use central::ports::HealthProbe;
use clap::Args;
use consumer::{EventTask, LocalListDeps, LocalListTask, MaintenanceTask, RoundDone};
use consumer_role::ConsumerRole;
use events::{Events, NotifyingStore};
use gateway_role::GatewayRole;
use reporting::{Reporter, Sources};
use restarts::Restarts;
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use take_over::Carried;
use take_over::giving::{Given, Successor, Successors};
use take_over::reload::Reload;
use take_over::taking::Predecessor;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Flags of `wattpost serve`, `gateway`, `consumer` and `api`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Take over from the process that runs with the same data directory: no charger's connection is closed. Only for
    /// `serve` and `gateway`; SIGUSR2 to the running process does the same
    #[arg(long)]
    take_over: bool,
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
    let ended = run_with(&mut settings, args.take_over, roles);
    match (ended, settings.log.format) {
        // Where the log has no errors it must be said nevertheless.
        (Err(error), LogFormat::Json) if tracing::enabled!(tracing::Level::ERROR) => {
            tracing::error!(error = format!("{error:#}"), "the process ends");
            Ok(ExitCode::FAILURE)
        }
        (ended, _) => ended,
    }
}

fn run_with(settings: &mut Settings, take_over: bool, roles: Roles) -> Result<ExitCode> {
    without_huge_pages();
    open_files::fit(settings, roles)?;
    anyhow::ensure!(
        !take_over || roles.has_gateway(),
        "--take-over is for processes with chargers, `wattpost serve` and `gateway`; restart the others"
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("wattpost")
        .build()
        .context("start the runtime")?;
    // Threads of its own: while thousands of chargers come back, their tasks fill the queue of the other runtime, and a health
    // check or Prometheus would wait behind all of them.
    let for_http = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(HTTP_THREADS)
        .enable_all()
        .thread_name("wattpost-http")
        .build()
        .context("start the runtime for HTTP")?;
    let serving = run_all(settings, roles, take_over, for_http.handle());
    let code = runtime.block_on(serving);
    for_http.shutdown_background();
    // Blocking calls, such as to a database that hangs, are abandoned: the journal is synced already.
    runtime.shutdown_timeout(Duration::from_secs(1));
    code
}

/// From here on the kernel gives this process small pages only. The allocator asks for transparent huge pages of 2 MiB, and one
/// of them stays in memory as long as one buffer in it is used: with them, a process with thousands of chargers takes two to
/// four times the memory. Programs that it starts inherit that.
fn without_huge_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "the kernel cannot turn off huge pages, so this process takes more memory");
    }
}

/// Threads that serve HTTP.
const HTTP_THREADS: usize = 2;

/// What lasts as long as the process.
struct Running {
    /// Where HTTP is served.
    http: tokio::runtime::Handle,
    stop: StopSignals,
    metrics: metrics_exporter_prometheus::PrometheusHandle,
    /// Only where there is a gateway, and so a data directory.
    disk: Option<Arc<DiskWatch>>,
    /// Only where there is a gateway. SIGUSR2 ends other processes.
    reload: Option<Reload>,
}

/// How the roles begin.
enum Start {
    Usual,
    /// The running process gives everything, later.
    From(Arc<Predecessor>),
    /// The process that should have taken over from this one has failed.
    Again(Carried),
}

/// How the roles end.
enum Ended {
    Exit(ExitCode),
    /// The process that should have taken over has failed, and everything is ours again.
    Again(Carried),
}

async fn run_all(
    settings: &Settings,
    roles: Roles,
    takes_over: bool,
    http: &tokio::runtime::Handle,
) -> Result<ExitCode> {
    let metrics = telemetry::start_metrics(settings, roles)?;
    let disk = roles
        .has_gateway()
        .then(|| Arc::new(DiskWatch::new(&settings.data_dir)));
    tokio::spawn(telemetry::run_upkeep(metrics.clone(), disk.clone()));
    let mut running = Running {
        http: http.clone(),
        stop: StopSignals::listen()?,
        metrics,
        disk,
        reload: match roles.has_gateway() {
            true => Some(Reload::listen()?),
            false => None,
        },
    };
    let mut start = Start::Usual;
    if takes_over {
        let (data_dir, role) = (settings.data_dir.clone(), roles.name());
        let asking = move || Predecessor::connect(&data_dir, role);
        let predecessor = tokio::task::spawn_blocking(asking).await??;
        start = Start::From(Arc::new(predecessor));
    }
    loop {
        match serve(settings, roles, &mut running, start).await? {
            Ended::Exit(code) => return Ok(code),
            Ended::Again(carried) => start = Start::Again(carried),
        }
    }
}

async fn serve(
    settings: &Settings,
    roles: Roles,
    running: &mut Running,
    start: Start,
) -> Result<Ended> {
    let Running {
        http: http_runtime,
        stop,
        metrics,
        disk,
        reload,
    } = running;
    let metrics = metrics.clone();
    let (predecessor, mut carried) = match start {
        Start::Usual => (None, None),
        Start::From(predecessor) => (Some(predecessor), None),
        Start::Again(carried) => (None, Some(carried)),
    };
    // The journal is opened first: that fails at once if another process uses this data directory. When taking over, the
    // running process still uses it.
    let mut opened = match roles.has_gateway() && predecessor.is_none() {
        true => {
            let closed_at = carried.as_ref().map(|carried| carried.closed_at);
            Some(gateway_role::open(settings, closed_at)?)
        }
        false => None,
    };
    let data_dir = &settings.data_dir;
    // This process has just served with these settings, and chargers wait.
    let is_again = carried.is_some();
    let mut restarts = opened.as_ref().map(|_| match carried {
        None => Restarts::started(data_dir, database::now()),
        Some(_) => Restarts::taken_over(data_dir, database::now()),
    });
    // A server that does not answer must not delay a stop.
    let (mut database, pending_migration) = tokio::select! {
        opened = open_database(settings, roles, is_again) => opened?,
        () = stop.recv() => {
            return Ok(Ended::Exit(stopped_early(settings, roles, restarts.as_ref())));
        }
    };
    if settings.has_broker() && !is_again {
        tokio::select! {
            checked = check_broker(settings) => checked?,
            () = stop.recv() => {
                return Ok(Ended::Exit(stopped_early(settings, roles, restarts.as_ref())));
            }
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

    if let Some(predecessor) = &predecessor {
        // From here on chargers wait.
        let giver = Arc::clone(predecessor);
        let given = tokio::task::spawn_blocking(move || giver.receive_all()).await??;
        opened = Some(gateway_role::open(settings, Some(given.closed_at))?);
        restarts = Some(Restarts::taken_over(data_dir, database::now()));
        carried = Some(given);
    }
    let (from, mut http) = match carried {
        Some(carried) => (Some(carried.gateway), Some(carried.http)),
        None => (None, None),
    };
    let mut probes: Vec<Arc<dyn HealthProbe>> =
        disk.iter().map(|disk| Arc::clone(disk) as _).collect();
    let mut gateway = match opened {
        Some(opened) => {
            let gateway = GatewayRole::start(
                settings,
                opened,
                &database,
                publishing.as_ref(),
                &events,
                from,
            )
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
    let maintenance = maintenance(roles, &database, pending_migration);
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
    let metrics: Arc<dyn Fn() -> String + Send + Sync> = Arc::new(move || {
        if let Some(journal) = &journal {
            telemetry::set_journal_metrics(&journal.status());
        }
        metrics.render()
    });
    let reporter = Reporter::new(Sources::of(
        roles.reported(),
        reported_probes,
        gateway.as_ref(),
        consumer.as_ref(),
        brokers.iter().flatten().next(),
        restarts.as_ref(),
        Arc::clone(&metrics),
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
    let alerts = match roles.has_api() {
        true => Some(api::AlertDeps {
            alerts: Arc::clone(&database.alerts),
            clock: Arc::clone(&database.clock),
            config: settings.alerts.clone(),
            mailer: api::Mailer::new(&settings.alerts.mail).map_err(anyhow::Error::msg)?,
        }),
        false => None,
    };
    let config = api::ApiConfig {
        listen,
        ..settings.http.clone()
    };
    let deps = api::ApiDeps {
        store: roles.has_api().then(|| Arc::clone(&database.queries)),
        chargers: roles.has_api().then(|| Arc::clone(&database.chargers)),
        tokens: roles.has_api().then(|| Arc::clone(&database.tokens)),
        local_lists: roles.has_api().then(|| Arc::clone(&database.local_lists)),
        rotations: roles.has_api().then(|| Arc::clone(&database.rotations)),
        handshakes: roles.has_api().then(|| Arc::clone(&database.handshakes)),
        closings: roles.has_api().then(|| Arc::clone(&database.closings)),
        disconnects: roles.has_api().then(|| Arc::clone(&database.disconnects)),
        dead_letters: roles.has_api().then(|| Arc::clone(&database.dead_letters)),
        letter_retries: roles.has_api().then(|| database.letter_retries()),
        commands: roles.has_api().then(|| Arc::clone(&database.commands)),
        batches: roles.has_api().then(|| Arc::clone(&database.batches)),
        event_log: roles.has_api().then(|| Arc::clone(&database.event_log)),
        events: roles.has_api().then(|| Arc::clone(&events) as _),
        webhooks,
        alerts,
        keys: roles.has_api().then(|| Arc::clone(&database.api_keys)),
        users: roles.has_api().then(|| Arc::clone(&database.users)),
        probes,
        process: Some({
            let reporter = Arc::clone(&reporter);
            Arc::new(move || reporter.report())
        }),
        pipeline,
        metrics,
        version: env!("CARGO_PKG_VERSION"),
        build: api::Build {
            commit: option_env!("WATTPOST_COMMIT").filter(|commit| !commit.is_empty()),
            schema_version: store::SCHEMA_VERSION,
        },
        support: Some(api::SupportDeps {
            settings: settings.without_secrets(),
            log: Arc::new(telemetry::last_lines),
        }),
    };
    let listener = http.take_if(|http| take_over::is_for(http, listen));
    // Its tasks stay where it is started.
    let starting = http_runtime.spawn(async move {
        match listener {
            Some(http) => api::Api::start_on(http, config, deps).await,
            None => api::Api::start(config, deps).await,
        }
    });
    let api = starting.await.context("start HTTP")?;
    let api = api.with_context(|| format!("start HTTP on {listen_key}"))?;

    if let Some(predecessor) = &predecessor {
        let giver = Arc::clone(predecessor);
        tokio::task::spawn_blocking(move || giver.wait_for_go()).await??;
    }
    let mut successors = None;
    if let Some(gateway) = &mut gateway {
        gateway.go()?;
        successors = Some(Successors::listen(&settings.data_dir, roles.name()));
    }
    if let Some(predecessor) = predecessor {
        let giver = Arc::clone(&predecessor);
        let _ = tokio::task::spawn_blocking(move || giver.say_serving()).await;
    }

    say_started(settings, roles, gateway.as_ref(), &api);
    let watchdog = notify::ready(gateway.as_ref().map(GatewayRole::journal));

    let end = tokio::select! {
        () = stop.recv() => End::Stop,
        why = failed(gateway.as_ref()) => End::Failed(why),
        successor = next(&mut successors) => End::Successor(successor),
        never = reloads(reload.as_mut()) => match never {},
    };
    drop(successors);
    let failure = match end {
        End::Stop => None,
        End::Failed(why) => Some(why),
        End::Successor(successor) => {
            reporting.abort();
            let given = match gateway {
                Some(gateway) => give(settings, gateway, successor, &api).await?,
                // There are successors only with a gateway.
                None => return Ok(Ended::Exit(ExitCode::FAILURE)),
            };
            drop(watchdog);
            drop(maintenance);
            drop(local_lists);
            drop(event_task);
            // Requests in progress are finished; new ones wait for whoever goes on.
            let grace = match given {
                Ended::Exit(_) => Duration::from_secs(1),
                Ended::Again(_) => Duration::from_millis(100),
            };
            api.shutdown(grace).await;
            if let Some(consumer) = &consumer {
                consumer.shutdown().await;
            }
            for broker in brokers.iter().flatten() {
                let _ = tokio::time::timeout(Duration::from_secs(2), broker.close()).await;
            }
            return Ok(given);
        }
    };
    notify::stopping();
    let mut noting_stop = None;
    match &failure {
        None => {
            tracing::info!("stopping");
            // On a thread of its own: a disk that hangs must not hold up the second signal.
            noting_stop =
                restarts.map(|restarts| tokio::task::spawn_blocking(move || restarts.stopped()));
        }
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
    if let Some(noting) = noting_stop {
        let _ = tokio::time::timeout(Duration::from_secs(1), noting).await;
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
        Some(records) => say(
            settings,
            &format!(
                "wattpost {} stopped; {records} records wait in the journal for the next start",
                roles.name()
            ),
        ),
        None => say(settings, &format!("wattpost {} stopped", roles.name())),
    }
    Ok(Ended::Exit(ExitCode::SUCCESS))
}

/// Why the roles end.
enum End {
    Stop,
    /// The journal has failed.
    Failed(String),
    /// Another process is prepared to take over.
    Successor(Successor),
}

/// Starts a new process at each SIGUSR2. Never returns.
async fn reloads(reload: Option<&mut Reload>) -> std::convert::Infallible {
    match reload {
        Some(reload) => reload.run().await,
        None => std::future::pending().await,
    }
}

/// The next process that is prepared to take over; never, where none can.
async fn next(successors: &mut Option<Successors>) -> Successor {
    match successors {
        Some(successors) => successors.next().await,
        None => std::future::pending().await,
    }
}

/// Stops the gateway, and gives it and the socket of HTTP to another process.
///
/// # Errors
/// When this process cannot give it, or the other one has died with it: then a new start serves the chargers.
async fn give(
    settings: &Settings,
    gateway: GatewayRole,
    successor: Successor,
    api: &api::Api,
) -> Result<Ended> {
    let pid = successor.pid();
    tracing::info!(
        pid,
        version = successor.version(),
        "a new process takes over"
    );
    let began = Instant::now();
    let http = api.listener().context("give the socket of HTTP away")?;
    let (gateway, closed_at) = gateway.hand_over().await?;
    let carried = Carried {
        gateway,
        closed_at,
        http,
    };
    let stopped_ms = millis(began.elapsed());
    let (connections, closed) = (carried.gateway.connections.len(), carried.gateway.closed);
    let giving = tokio::task::spawn_blocking(move || {
        let given = successor.give(&carried);
        (given, carried)
    });
    let (given, carried) = giving.await.context("give everything to the new process")?;
    let took_ms = millis(began.elapsed());
    match given {
        Given::Serving => {
            notify::replaced_by(pid);
            tracing::info!(
                pid,
                connections,
                closed,
                stopped_ms,
                took_ms,
                "the new process serves"
            );
            say(settings, &format!("wattpost: process {pid} has taken over"));
            Ok(Ended::Exit(ExitCode::SUCCESS))
        }
        Given::Failed(error) => {
            tracing::error!(
                pid,
                error = format!("{error:#}"),
                took_ms,
                "the new process could not take over; this one goes on"
            );
            Ok(Ended::Again(carried))
        }
        Given::Lost(error) => Err(error.context(format!(
            "process {pid} died right after it had taken over; no acknowledged message is lost"
        ))),
    }
}

/// The result of a stop during the start.
fn stopped_early(settings: &Settings, roles: Roles, restarts: Option<&Restarts>) -> ExitCode {
    if let Some(restarts) = restarts {
        restarts.stopped();
    }
    say(
        settings,
        &format!("wattpost {} stopped before it was ready", roles.name()),
    );
    ExitCode::SUCCESS
}

/// Opens the database, and for `serve` migrates it. A database that is unavailable is used once it is available again.
///
/// # Errors
/// When waiting cannot help: a wrong password, a missing database, missing tables.
///
/// With `is_again` this process has used it until now: it is not migrated.
async fn open_database(
    settings: &Settings,
    roles: Roles,
    is_again: bool,
) -> Result<(Database, PendingMigration)> {
    let settings = settings.clone();
    let opened = tokio::task::spawn_blocking(move || {
        let is_done = is_again || roles != Roles::All || crate::migrate::at_start(&settings)?;
        let database = database::open(&settings, Use::Serve)?;
        Ok((database, PendingMigration::new(&settings, is_done)))
    });
    opened.await.context("open the database")?
}

/// Starts the regular maintenance of the database, in every process that writes to it.
fn maintenance(
    roles: Roles,
    database: &Database,
    pending_migration: PendingMigration,
) -> Option<MaintenanceTask> {
    if roles == Roles::Api {
        return None;
    }
    let database = Arc::clone(&database.maintenance);
    Some(MaintenanceTask::start(Arc::new(move || {
        pending_migration.finish(&*database)?;
        Ok(RoundDone {
            note: database.maintain(database::now())?,
            oldest: database.oldest_message()?,
        })
    })))
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
        clock: Arc::clone(&database.clock),
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

/// Says where the process serves and what it uses.
fn say_started(settings: &Settings, roles: Roles, gateway: Option<&GatewayRole>, api: &api::Api) {
    if settings.log.format == LogFormat::Text {
        print(&start_message(settings, roles, gateway, api));
        return;
    }
    let chargers = gateway.map(|gateway| {
        let addresses = gateway.local_addrs().iter();
        let urls = addresses.map(|address| format!("ws://{address}/ocpp/IDENTITY"));
        urls.collect::<Vec<_>>().join(" ")
    });
    let broker = settings
        .has_broker()
        .then(|| crate::config::without_password(&settings.broker.url));
    tracing::info!(
        role = roles.name(),
        version = env!("CARGO_PKG_VERSION"),
        chargers,
        http = format!("http://{}", api.local_addr()),
        data_dir = gateway.map(|_| settings.data_dir.display().to_string()),
        gateway.id = gateway.map(|gateway| gateway.id().to_string()),
        database = settings.redacted_database(),
        broker,
        "the process runs"
    );
}

/// Tells the person who has started this process, on stdout. Where logs are JSON it is an event of the log, so that each line
/// of both streams is JSON.
fn say(settings: &Settings, sentence: &str) {
    match settings.log.format {
        LogFormat::Text => print(&format!("{sentence}\n")),
        LogFormat::Json => tracing::info!("{sentence}"),
    }
}

/// Whole milliseconds, as a number of the log.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
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
