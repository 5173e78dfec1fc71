//! The gateway: holds the WebSocket connection of each charger and loses no message.
//!
//! `admission` reads the handshake and decides which charger it is and whether it may connect. The registry hands over
//! what the charger's older connection remembers. A task for each connection (`connection`) passes messages to its
//! [`central::station::Station`], appends records to the journal, and sends each answer once its record is durable.
//! `delivery` takes the records from the journal to a [`Sink`], which may be a [`FailoverSink`]; its acknowledgement
//! gate says which answers may be sent. `flow` sets the pace, and closes all connections when no record can be made
//! durable. `commands` passes commands from their queue to connections. `cluster` closes connections that are older than one at another gateway. This crate knows no rule of OCPP,
//! no database and no broker.
//!
//! ```text
//! cluster::ownership                         ┌── ack_gate ◀──┐ confirmed
//!      │                             durable ▼               │
//! admission ─▶ connection (one per charger) ─▶ journal ─▶ forwarder ─▶ sink
//!   │             │    ▲                       ▲
//! directory     station┘                  flow::watch ─▶ controller ─▶ pace
//! ```

mod admission;
mod clock;
mod cluster;
mod commands;
mod config;
mod connection;
mod delivery;
mod directory;
mod flow;
mod hand_over;
mod health;
mod metrics;
mod parts;
mod resume;
mod running;

#[cfg(test)]
extern crate self as gateway;
#[cfg(test)]
mod world_tests;

pub use self::metrics::METRICS;
pub use config::{
    AssumeVersion, Durability, ForwardedHeader, GatewayConfig, ListenerConfig, TlsConfig,
    TrustedProxy,
};
pub use delivery::failover::FailoverSink;
pub use hand_over::{HandOver, HandedConnection, TakenOver};

use crate::admission::refused::RefusedHandshakes;
use crate::admission::{Admission, Starts, accept};
use crate::clock::ClockCheck;
use crate::cluster::ownership::Ownership;
use crate::commands::Commands;
use crate::connection::control::Stop;
use crate::connection::frames::{FrameOptions, MessageLimit, MessageLimits};
use crate::connection::registry::Registry;
use crate::delivery::ack_gate::AckGate;
use crate::delivery::status::DeliveryStatus;
use crate::delivery::verify::Verified;
use crate::delivery::{Delivery, ack_gate, forwarder, verify};
use crate::directory::{Change, Directory, FirstLoad};
use crate::flow::{Flow, pace, watch};
use crate::metrics::Metrics;
use crate::parts::Parts;
use crate::running::Running;
use central::model::ChargerKey;
use central::policy::Policy;
use central::ports::{
    ClusterEvents, CommandQueue, DirectorySource, Disconnects, Handshakes, HealthProbe,
    PasswordRotations, Sink,
};
use central::resend::ResendMemory;
use central::station::SizeLimit;
use central::{Epoch, GatewayId};
use common::lock::lock;
use common::restart;
use common::settings::SettingError;
use journal::Journal;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Most bytes of a record besides its payload: header, identity, id, action, answer, reason.
const RECORD_OVERHEAD: usize = 8 << 10;
/// Pause between two groups of connections that are closed at a stop.
const GROUP_PAUSE: Duration = Duration::from_millis(50);

/// What the gateway works with.
pub struct GatewayDeps {
    /// Where records become durable. The gateway never closes it.
    pub journal: Journal,
    /// Whose journal it is.
    pub gateway_id: GatewayId,
    /// Where durable records go.
    pub sink: Arc<dyn Sink>,
    /// Where chargers and tokens are read from.
    pub directory: Arc<dyn DirectorySource>,
    /// The operator's decisions.
    pub policy: Arc<Policy>,
    /// Where the directory is kept between starts; the gateway writes `directory.json` there.
    pub data_dir: PathBuf,
    /// Events between gateways, if there may be several: the newest connection of a charger wins everywhere.
    pub cluster_events: Option<Arc<dyn ClusterEvents>>,
    /// The queue of commands to chargers; without one no commands are sent.
    pub commands: Option<Arc<dyn CommandQueue>>,
    /// Where changes of passwords at chargers are decided; without it the gateway reports no log-in with a new password.
    pub rotations: Option<Arc<dyn PasswordRotations>>,
    /// Requests to close connections; without it, and without a queue of commands, no operator closes one.
    pub disconnects: Option<Arc<dyn Disconnects>>,
    /// Where refused handshakes are stored for the operator's list; without it they are only logged.
    pub handshakes: Option<Arc<dyn Handshakes>>,
}

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting cannot work.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The address cannot be listened on.
    #[error("listen for chargers on {address}: {source}; {cure}")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// The operating system's error.
        source: std::io::Error,
        /// What to do about it.
        cure: &'static str,
    },
    /// The journal cannot be read or written.
    #[error("read the journal's newest records: {0}")]
    Journal(String),
    /// What another process gave cannot be used.
    #[error("take over from the process before: {0}; restart the gateway instead")]
    HandOver(String),
    /// The operating system starts no thread.
    #[error(
        "start the thread for commands: {0}; raise the limit of threads of this user or container"
    )]
    Thread(String),
}

/// Starts the tasks of a gateway.
type Begin = Box<dyn FnOnce() -> Result<(), StartError> + Send>;

/// A running gateway. Dropping it stops nothing; call [`Gateway::shutdown`].
pub struct Gateway {
    parts: Arc<Parts>,
    local_addrs: Vec<SocketAddr>,
    /// Second handles of the listeners, for [`Gateway::hand_over`].
    listeners: Mutex<Vec<std::net::TcpListener>>,
    accepting: CancellationToken,
    tasks: Arc<Mutex<Vec<JoinHandle<()>>>>,
    failed: tokio::sync::watch::Receiver<Option<String>>,
}

impl Gateway {
    /// Rebuilds what is remembered of the chargers from the journal, listens, and starts the tasks. Must be called
    /// within a Tokio runtime, in which everything runs.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(config: GatewayConfig, deps: GatewayDeps) -> Result<Self, StartError> {
        let (gateway, begin, memories) = Self::build(config, deps, Vec::new(), None).await?;
        hand_over::remember(&gateway.parts, memories);
        begin()?;
        Ok(gateway)
    }

    /// A gateway that does nothing until the returned function is called, and what the journal says of chargers. With
    /// the state of another process it uses that one's listeners and records no start.
    async fn build(
        config: GatewayConfig,
        deps: GatewayDeps,
        mut inherited: Vec<std::net::TcpListener>,
        before: Option<hand_over::Before>,
    ) -> Result<(Self, Begin, HashMap<ChargerKey, ResendMemory>), StartError> {
        config.check()?;
        // Before anything is written, so that a second gateway on a port fails without effect.
        let mut listeners = Vec::with_capacity(config.listeners.len());
        let mut local_addrs = Vec::with_capacity(config.listeners.len());
        let mut kept = Vec::with_capacity(config.listeners.len());
        for settings in &config.listeners {
            let failed = |error| refused(settings.address, error);
            let listener = match hand_over::inherited(&mut inherited, settings.address) {
                Some(listener) => {
                    listener.set_nonblocking(true).map_err(failed)?;
                    listener
                }
                None => accept::listen(settings.address)
                    .and_then(tokio::net::TcpListener::into_std)
                    .map_err(failed)?,
            };
            local_addrs.push(listener.local_addr().map_err(failed)?);
            kept.push(listener.try_clone().map_err(failed)?);
            let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
            listeners.push((listener, Arc::new(settings.clone())));
        }
        let began = Instant::now();
        let directory_source = Arc::clone(&deps.directory);
        let running_source = Arc::clone(&deps.directory);
        let events = deps.cluster_events.clone();
        let prepared = tokio::task::spawn_blocking(move || prepare(config, deps, before)).await;
        let prepared = prepared.map_err(|error| StartError::Journal(error.to_string()))?;
        let (parts, memories) = prepared?;
        let parts = Arc::new(parts);
        let accepting = CancellationToken::new();
        let (failing, failed) = tokio::sync::watch::channel(None);
        let tasks = Arc::new(Mutex::new(Vec::new()));
        let gateway = Self {
            parts: Arc::clone(&parts),
            local_addrs: local_addrs.clone(),
            listeners: Mutex::new(kept),
            accepting: accepting.clone(),
            tasks: Arc::clone(&tasks),
            failed,
        };
        let begin = move || {
            parts.ownership.subscribe();
            parts
                .commands
                .start(events.as_ref())
                .map_err(|error| StartError::Thread(error.to_string()))?;
            let delivery = &parts.delivery;
            let refresh = Duration::from_secs(parts.config.directory_refresh_s);
            let mut started = vec![
                tokio::spawn(restart::task("forwarder", {
                    let delivery = Arc::clone(delivery);
                    move || forwarder::run(Arc::clone(&delivery))
                })),
                tokio::spawn(restart::task("watch", {
                    let parts = Arc::clone(&parts);
                    move || watch::run(Arc::clone(&parts), failing.clone())
                })),
                tokio::spawn(restart::task("check of the journal", {
                    let delivery = Arc::clone(delivery);
                    move || verify::run(Arc::clone(&delivery))
                })),
                tokio::spawn(restart::task("fallback", {
                    let delivery = Arc::clone(delivery);
                    move || ack_gate::run(Arc::clone(&delivery))
                })),
                tokio::spawn(restart::task("clock", {
                    let parts = Arc::clone(&parts);
                    move || {
                        clock::watch(
                            Arc::clone(&directory_source),
                            Arc::clone(&parts.admission.clock),
                            Arc::clone(&parts.registry),
                            Arc::clone(&parts.metrics),
                            refresh,
                        )
                    }
                })),
                tokio::spawn(restart::task("directory", {
                    let parts = Arc::clone(&parts);
                    move || {
                        let (registry, directory) =
                            (Arc::clone(&parts.registry), Arc::clone(&parts.directory));
                        let of_connections = Arc::clone(&directory);
                        directory.keep_fresh(move |change| {
                            apply_change(&registry, &of_connections, change);
                        })
                    }
                })),
                tokio::spawn(restart::task("running transactions", {
                    let parts = Arc::clone(&parts);
                    move || {
                        let (source, directory) =
                            (Arc::clone(&running_source), Arc::clone(&parts.directory));
                        Arc::clone(&parts.running).keep_fresh(source, directory, refresh)
                    }
                })),
                tokio::spawn(restart::task("summary of log lines", {
                    let log = Arc::clone(&parts.admission.log);
                    move || Arc::clone(&log).summarise()
                })),
                tokio::spawn(restart::task("refused handshakes", {
                    let refused = Arc::clone(&parts.admission.refused);
                    move || Arc::clone(&refused).keep_written()
                })),
            ];
            for (listener, settings) in listeners {
                let (parts, stop) = (Arc::clone(&parts), accepting.clone());
                let listener = Arc::new(listener);
                started.push(tokio::spawn(restart::task("accept", move || {
                    let (listener, settings) = (Arc::clone(&listener), Arc::clone(&settings));
                    accept::run(listener, settings, Arc::clone(&parts), stop.clone())
                })));
            }
            lock(&tasks).append(&mut started);
            let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(addresses = ?local_addrs, took_ms, "listening for chargers");
            Ok(())
        };
        Ok((gateway, Box::new(begin), memories))
    }

    /// Where chargers connect, in the order of the settings; with the port that was assigned for port 0.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }

    /// The first of [`Gateway::local_addrs`].
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        // There is at least one listener: `GatewayConfig::check` refuses settings without.
        self.local_addrs[0]
    }

    /// The number of chargers that are connected.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.parts.registry.connected()
    }

    /// Waits until the journal has failed for good, and returns the reason. By then all connections are closed. Never
    /// ready otherwise.
    pub async fn failed(&self) -> String {
        let mut failed = self.failed.clone();
        let why = failed
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|why| why.clone());
        match why {
            Some(why) => why,
            None => std::future::pending().await,
        }
    }

    /// Stops: closes the listeners, sends the answers that are due, and closes all connections with 1001, in groups
    /// over `grace`. Returns when all are closed, or a little after `grace`. Does not close the journal.
    pub async fn shutdown(&self, grace: Duration) {
        let admission = &self.parts.admission;
        let end = Instant::now() + grace;
        admission.stopping.store(true, Ordering::SeqCst);
        self.accepting.cancel();
        lock(&self.listeners).clear();
        self.parts.commands.stop_claiming();
        admission.connections.close();
        let stopping = async {
            self.close_in_groups(grace).await;
            admission.connections.wait().await;
        };
        if tokio::time::timeout(grace, stopping).await.is_err() {
            tracing::warn!(
                connections = admission.connections.len(),
                "connections left at the end of the grace period"
            );
        }
        admission.log.summarise_at_stop();
        let commands = Arc::clone(&self.parts.commands);
        let _ = tokio::task::spawn_blocking(move || commands.wait_stopped()).await;
        self.deliver_backlog(end).await;
        let tasks = std::mem::take(&mut *lock(&self.tasks));
        for task in tasks {
            task.abort();
        }
    }

    /// Waits for the backlog while the sink accepts records: what stays in the journal is safe, but is not stored until
    /// the next start.
    async fn deliver_backlog(&self, end: Instant) {
        let delivery = &self.parts.delivery;
        while delivery.backlog() > 0 && delivery.status.healthy(pace::STUCK) && Instant::now() < end
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Closes all connections over the first half of `grace`, so that the last ones have time to finish.
    async fn close_in_groups(&self, grace: Duration) {
        let all = self.parts.registry.all();
        let groups = (grace / 2).as_millis() / GROUP_PAUSE.as_millis();
        let size = all
            .len()
            .div_ceil(usize::try_from(groups).unwrap_or(1).max(1));
        // A few connections need no spreading.
        for group in all.chunks(size.max(32)) {
            for control in group {
                control.stop(Stop::Shutdown);
            }
            tokio::time::sleep(GROUP_PAUSE).await;
        }
        // Those that were accepted meanwhile.
        for control in self.parts.registry.all() {
            control.stop(Stop::Shutdown);
        }
    }

    /// Reports the health of the gateway, its journal and its delivery.
    #[must_use]
    pub fn probe(&self) -> Arc<dyn HealthProbe> {
        Arc::new(health::GatewayHealth::new(
            Arc::clone(&self.parts.admission),
            Arc::clone(&self.parts.delivery),
            Arc::clone(&self.parts.directory),
            Arc::clone(&self.parts.registry),
        ))
    }
}

fn refused(address: SocketAddr, source: std::io::Error) -> StartError {
    let cure = match source.kind() {
        std::io::ErrorKind::AddrInUse => {
            "another program listens there: stop it, or choose another port in gateway.listeners"
        }
        std::io::ErrorKind::PermissionDenied => {
            "ports below 1024 need a privilege: choose a higher one in gateway.listeners"
        }
        std::io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address: name one of its own in gateway.listeners, or 0.0.0.0"
        }
        _ => "name an address of this machine and a free port in gateway.listeners",
    };
    StartError::Listen {
        address,
        source,
        cure,
    }
}

/// The operator changed a charger that may be connected.
fn apply_change(registry: &Registry, directory: &Directory, change: &Change) {
    if let Some(control) = registry.find(&change.key) {
        let credentials = directory.credentials(&change.key);
        if change.is_removed || !credentials.admit(control.admitted_by) {
            control.stop(Stop::Refused);
        } else {
            control.profile_changed();
        }
    }
}

/// How long messages may be. One message holds at most half of `unfinished_bytes_max`, so that a charger whose profile
/// allows long messages leaves room for those of others.
const fn message_limits(config: &GatewayConfig, record_bytes_max: usize) -> MessageLimits {
    let record = MessageLimit {
        bytes_max: record_bytes_max,
        source: SizeLimit::Record,
    };
    let setting = MessageLimit {
        bytes_max: config.frame_bytes_max,
        source: SizeLimit::Setting,
    };
    let unfinished = MessageLimit {
        bytes_max: config.unfinished_bytes_max / 2,
        source: SizeLimit::Unfinished,
    };
    MessageLimits {
        default: setting.at_most(record),
        most: unfinished.at_most(record),
    }
}

fn prepare(
    config: GatewayConfig,
    deps: GatewayDeps,
    before: Option<hand_over::Before>,
) -> Result<(Parts, HashMap<ChargerKey, ResendMemory>), StartError> {
    let GatewayDeps {
        journal,
        gateway_id,
        sink,
        directory,
        policy,
        data_dir,
        cluster_events,
        commands,
        rotations,
        disconnects,
        handshakes,
    } = deps;
    let (carried, remembered) = match before {
        Some(before) => (Some(before.state), before.remembered),
        None => (None, HashSet::new()),
    };
    let resumed = resume::resume(
        &journal,
        config.resend_replay_bytes_max,
        &policy.close_styles,
        &remembered,
    )
    .map_err(|error| StartError::Journal(error.to_string()))?;
    let last_epoch = carried
        .as_ref()
        .map_or(Epoch(0), |carried| carried.last_epoch);
    let registry = Registry::new(resumed.last_epoch.max(last_epoch));
    // Before any record gets a time.
    clock::hold(resumed.newest);
    let clock = Arc::new(ClockCheck::new(config.clock_off_max(), resumed.newest));
    let is_taken_over = carried.is_some();
    if !is_taken_over {
        clock.ask(&*directory);
    }
    let chargers = resumed.memories.len();
    tracing::info!(
        records = resumed.records,
        chargers,
        "read the journal's newest records"
    );
    let starts = match carried {
        Some(carried) => carried.starts(),
        None => {
            let starts = Starts::default();
            if let Err(error) = watch::record_start(&journal, &registry, &starts) {
                // The journal is full or failed: no charger may connect before the start is recorded.
                tracing::warn!(%error, "the start of this gateway is not recorded yet");
            }
            starts
        }
    };
    // A message must fit into a record, also as Base64 and with its answer.
    let message_bytes_max = journal.record_bytes_max().saturating_sub(RECORD_OVERHEAD) / 4 * 3;
    let limits = message_limits(&config, message_bytes_max);
    let directory = Directory::open(
        directory,
        rotations.clone(),
        &data_dir,
        Duration::from_secs(config.directory_refresh_s),
        Duration::from_millis(config.token_timeout_ms),
        match is_taken_over {
            // The process before has kept it until now, and chargers wait.
            true => FirstLoad::TAKEN_OVER,
            false => FirstLoad::USUAL,
        },
    );
    let (config, metrics) = (Arc::new(config), Arc::new(Metrics::new()));
    let registry = Arc::new(registry);
    let flow = Flow::new(&config);
    let frame_options = FrameOptions::new(
        limits,
        config.compression_bytes_min,
        Arc::clone(&flow.budget),
    );
    let running = Arc::new(Running::new(Arc::clone(&policy), Arc::clone(&registry)));
    let ownership = Ownership::new(gateway_id, cluster_events, Arc::clone(&registry));
    let commands = Commands::new(
        commands,
        rotations,
        disconnects,
        gateway_id,
        journal.clone(),
        Arc::clone(&registry),
        Arc::clone(&directory),
    );
    let admission = Admission::new(
        &config,
        journal.clone(),
        Arc::clone(&directory),
        policy,
        clock,
        starts,
        Arc::new(RefusedHandshakes::new(gateway_id, handshakes)),
    );
    let delivery = Delivery {
        config: Arc::clone(&config),
        metrics: Arc::clone(&metrics),
        journal,
        gateway_id,
        sink,
        status: DeliveryStatus::default(),
        verified: Verified::default(),
        ack_gate: AckGate::new(config.durability, config.durability_wait()),
    };
    let parts = Parts {
        config,
        metrics,
        directory,
        running,
        registry,
        admission: Arc::new(admission),
        delivery: Arc::new(delivery),
        flow,
        ownership: Arc::new(ownership),
        commands: Arc::new(commands),
        frame_options,
        carried: Mutex::default(),
    };
    Ok((parts, resumed.memories))
}
