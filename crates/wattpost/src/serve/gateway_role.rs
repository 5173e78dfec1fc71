//! The role `gateway`: the journal, the sink and the listeners.

use super::events::Events;
use super::reporting::GatewaySources;
use super::{alive, status_requests};
use crate::config::Settings;
use crate::consistency_check::{self, Comparison};
use crate::data_dir::DataDir;
use crate::database::Database;
use anyhow::{Context, Result};
use broker::Broker;
use central::ports::{HealthProbe, Sink};
use central::{GatewayId, Seq};
use consumer::Applier;
use gateway::{FailoverSink, Gateway, GatewayDeps, HandOver, TakenOver};
use journal::Journal;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Records that were in RabbitMQ's queues at the last stop may arrive during this time, before they count as missing.
const SETTLE: Duration = Duration::from_secs(10);

/// How long the batch that is being applied may take at a stop.
const APPLIER_CLOSED: Duration = Duration::from_secs(5);
/// The same at a take-over, while chargers wait. The new process delivers the batch again.
const APPLIER_HANDED: Duration = Duration::from_millis(500);

/// How long a connection may take to be between two messages, before it is closed at a take-over.
const FREEZE: Duration = Duration::from_secs(1);

/// The open journal and the gateway's identity.
pub(crate) struct Opened {
    journal: Journal,
    id: GatewayId,
}

/// Opens the data directory. Blocks during the journal's recovery.
///
/// # Errors
/// When another process uses it, or the journal is damaged.
///
/// `closed_at` is the record at which the process before has just closed the journal.
pub(crate) fn open(settings: &Settings, closed_at: Option<Seq>) -> Result<Opened> {
    let data = DataDir::prepare(&settings.data_dir)?;
    data.remove_identity_without_journal()?;
    let (dir, options) = (data.journal(), settings.journal.options());
    let opened = match closed_at {
        Some(last) => Journal::open_closed_at(&dir, options, last.0),
        None => Journal::open(&dir, options),
    };
    let (journal, recovery) =
        opened.with_context(|| format!("open the journal in {}", data.journal().display()))?;
    let truncated = recovery.truncated_tail.as_ref();
    tracing::info!(
        records_waiting = recovery.durable_seq - recovery.cursor,
        took_ms = u64::try_from(recovery.took.as_millis()).unwrap_or(u64::MAX),
        truncated_file = truncated.map(|tail| tail.file.display().to_string()),
        truncated_at = truncated.map(|tail| tail.offset),
        truncated_bytes = truncated.map(|tail| tail.bytes),
        "journal opened"
    );
    let id = data.gateway_id()?;
    Ok(Opened { journal, id })
}

/// A running gateway with its journal and its applier.
pub(crate) struct GatewayRole {
    journal: Journal,
    id: GatewayId,
    gateway: Arc<Gateway>,
    /// Until [`GatewayRole::go`], if it has taken over.
    taken: Option<TakenOver>,
    /// Writes to the database: the only sink, or the bypass if there is RabbitMQ.
    applier: Arc<Applier>,
    failover: Option<Arc<FailoverSink>>,
    /// [`consistency_check::deliver_missing`].
    comparing: JoinHandle<()>,
    /// [`alive::report`].
    reporting: JoinHandle<()>,
    /// [`status_requests::start`].
    asking: status_requests::StatusRequests,
}

impl GatewayRole {
    /// Starts the gateway and accepts chargers. With `from` it takes over, and does nothing until [`GatewayRole::go`].
    ///
    /// # Errors
    /// When it cannot listen, or the journal is older than the database ([`consistency_check::check`]).
    pub(crate) async fn start(
        settings: &Settings,
        opened: Opened,
        database: &Database,
        broker: Option<&Arc<Broker>>,
        events: &Arc<Events>,
        from: Option<HandOver>,
    ) -> Result<Self> {
        let Opened { journal, id } = opened;
        let applier = Arc::new(Applier::start(
            Arc::clone(&database.store),
            settings.consumer.clone(),
        )?);
        let failover = broker.map(|broker| {
            Arc::new(FailoverSink::new(
                Arc::clone(broker) as _,
                Some(Arc::clone(&applier) as _),
                settings.gateway.broker_grace(),
            ))
        });
        let disregard = Seq(settings.journal.disregard_seq);
        if from.is_none() {
            // Another process has just worked with both.
            consistency_check::check(&journal, id, &database.maintenance, disregard).await?;
        }
        let comparison = Comparison {
            journal: journal.clone(),
            gateway_id: id,
            database: Arc::clone(&database.maintenance),
            sink: Arc::clone(&applier) as _,
            settle: failover.as_ref().map_or(Duration::ZERO, |_| SETTLE),
            retain_days: settings.database.retain_days,
        };
        let sink: Arc<dyn Sink> = match &failover {
            Some(failover) => Arc::clone(failover) as _,
            None => Arc::clone(&applier) as _,
        };
        // Before chargers connect.
        let asking =
            status_requests::start(id, database, events, settings.gateway.ask_status_after());
        let deps = GatewayDeps {
            journal: journal.clone(),
            gateway_id: id,
            sink,
            directory: Arc::clone(&database.directory),
            policy: Arc::new(settings.policy.clone()),
            data_dir: settings.data_dir.clone(),
            cluster_events: Some(Arc::clone(events) as _),
            commands: Some(Arc::clone(&database.command_queue)),
            rotations: Some(Arc::clone(&database.rotations)),
            disconnects: Some(Arc::clone(&database.disconnects)),
            handshakes: Some(Arc::clone(&database.handshakes)),
        };
        let config = settings.gateway.clone();
        let (gateway, taken) = match from {
            None => (
                Gateway::start(config, deps)
                    .await
                    .context("start the gateway")?,
                None,
            ),
            Some(from) => {
                let taken = Gateway::take_over(config, deps, from).await;
                let (gateway, taken) = taken.context("start the gateway")?;
                (gateway, Some(taken))
            }
        };
        let comparing = tokio::spawn(consistency_check::deliver_missing(comparison));
        Ok(Self {
            journal,
            id,
            gateway: Arc::new(gateway),
            taken,
            applier,
            failover,
            comparing,
            reporting: alive::report(id, database),
            asking,
        })
    }

    /// Goes on with what another process had; that one does nothing any more. Does nothing after a usual start.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub(crate) fn go(&mut self) -> Result<()> {
        let Some(taken) = self.taken.take() else {
            return Ok(());
        };
        let connections = taken.connections();
        for (charger_id, epoch) in taken.younger_than(self.asking.age_max()) {
            self.asking.take_over(charger_id, epoch);
        }
        taken.go().context("go on as the gateway")?;
        tracing::info!(connections, "took over from the process before");
        Ok(())
    }

    /// Stops for another process, and closes the journal, which that one opens. Also returns its last record.
    ///
    /// # Errors
    /// When a socket is not given up, or the journal cannot be synced.
    pub(crate) async fn hand_over(self) -> Result<(HandOver, Seq)> {
        let gateway = Arc::clone(&self.gateway);
        let handed = gateway
            .hand_over(FREEZE)
            .await
            .context("stop for another process")?;
        let journal = self.journal.clone();
        self.close_within(APPLIER_HANDED).await?;
        Ok((handed, Seq(journal.durable_seq())))
    }

    pub(crate) fn probes(&self) -> Vec<Arc<dyn HealthProbe>> {
        let mut probes: Vec<Arc<dyn HealthProbe>> = vec![self.gateway.probe()];
        match &self.failover {
            Some(failover) => probes.push(Arc::clone(failover) as _),
            None => probes.push(Arc::clone(&self.applier) as _),
        }
        probes
    }

    pub(crate) fn sources(&self) -> GatewaySources {
        GatewaySources {
            id: self.id,
            gateway: Arc::clone(&self.gateway),
            journal: self.journal.clone(),
            failover: self.failover.as_ref().map(Arc::clone),
        }
    }

    pub(crate) fn journal(&self) -> Journal {
        self.journal.clone()
    }

    pub(crate) const fn id(&self) -> GatewayId {
        self.id
    }

    pub(crate) fn local_addrs(&self) -> &[SocketAddr] {
        self.gateway.local_addrs()
    }

    pub(crate) async fn failed(&self) -> String {
        self.gateway.failed().await
    }

    pub(crate) async fn shutdown(&self, grace: Duration) {
        self.gateway.shutdown(grace).await;
    }

    /// Finishes the current batch and closes the journal. Returns how many records wait in it.
    ///
    /// # Errors
    /// When the journal cannot be synced.
    pub(crate) async fn close(self) -> Result<u64> {
        self.close_within(APPLIER_CLOSED).await
    }

    async fn close_within(self, patience: Duration) -> Result<u64> {
        self.comparing.abort();
        self.reporting.abort();
        self.asking.abort();
        close_applier_within(self.applier, patience).await;
        let status = self.journal.status();
        let journal = self.journal;
        let closed = tokio::task::spawn_blocking(move || journal.close()).await;
        closed
            .context("close the journal")?
            .context("close the journal")?;
        Ok(status.durable_seq.saturating_sub(status.cursor))
    }
}

/// Closes the applier, but does not wait long for a database that hangs: records that are not applied are still in the
/// journal or in RabbitMQ.
pub(crate) async fn close_applier(applier: Arc<Applier>) {
    close_applier_within(applier, APPLIER_CLOSED).await;
}

async fn close_applier_within(applier: Arc<Applier>, patience: Duration) {
    let closing = tokio::task::spawn_blocking(move || applier.close());
    if tokio::time::timeout(patience, closing).await.is_err() {
        tracing::warn!(
            "the database does not answer; records that are not applied are kept for the next start"
        );
    }
}
