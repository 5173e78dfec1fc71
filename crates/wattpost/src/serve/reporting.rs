//! Reports what this process does, for `GET /api/v1/pipeline`: to the database, and over RabbitMQ to all API processes,
//! so that each of the two may be unavailable.
//!
//! A report is made each second and sent every [`PROCESS_REPORT_EVERY_MS`], and at once when a part begins or ceases to
//! work. The database is written by one call at a time: while it hangs, one thread waits.

use super::consumer_role::ConsumerRole;
use super::events::Events;
use super::gateway_role::GatewayRole;
use super::restarts::Restarts;
use crate::database::{self, Database};
use broker::Broker;
use central::Timestamp;
use central::model::{
    GatewayReport, PROCESS_REPORT_EVERY_MS, PartError, PartReport, ProcessReport, ProcessRole,
    QueuesReport, report_text,
};
use central::ports::{ClusterEvent, ClusterEvents, Health, HealthProbe};
use common::lock::lock;
use consumer::Applier;
use gateway::{FailoverSink, Gateway};
use journal::Journal;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use uuid::Uuid;

/// How often the parts are read.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// A sample of RabbitMQ's queues that is older counts as unknown.
const QUEUES_FRESH: Duration = Duration::from_secs(15);
/// A stop waits no longer for the last report.
const LAST_REPORT_TIMEOUT: Duration = Duration::from_secs(2);

/// What a report is made of.
pub(super) struct Sources {
    pub(super) role: ProcessRole,
    pub(super) probes: Vec<Arc<dyn HealthProbe>>,
    pub(super) gateway: Option<GatewaySources>,
    pub(super) applier: Option<Arc<Applier>>,
    pub(super) broker: Option<Arc<Broker>>,
    /// When this process was restarted after an end that was not in order.
    pub(super) restarts: Vec<Timestamp>,
    /// All metrics, in the Prometheus text format.
    pub(super) metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

/// What the figures of a gateway are made of.
pub(super) struct GatewaySources {
    pub(super) id: central::GatewayId,
    pub(super) gateway: Arc<Gateway>,
    pub(super) journal: Journal,
    pub(super) failover: Option<Arc<FailoverSink>>,
}

/// Makes the reports of this process.
pub(super) struct Reporter {
    id: Uuid,
    host: String,
    started_at: Timestamp,
    sources: Sources,
    /// The parts as they were last seen.
    parts: Mutex<Vec<PartReport>>,
    /// The figures as they were last read.
    figures_milli: Mutex<BTreeMap<String, i64>>,
    has_stopped: AtomicBool,
}

impl Sources {
    pub(super) fn of(
        role: ProcessRole,
        probes: Vec<Arc<dyn HealthProbe>>,
        gateway: Option<&GatewayRole>,
        consumer: Option<&ConsumerRole>,
        broker: Option<&Arc<Broker>>,
        restarts: Option<&Restarts>,
        metrics: Arc<dyn Fn() -> String + Send + Sync>,
    ) -> Self {
        Self {
            role,
            probes,
            gateway: gateway.map(GatewayRole::sources),
            applier: consumer.map(ConsumerRole::applier),
            broker: broker.map(Arc::clone),
            restarts: restarts.map_or_else(Vec::new, |restarts| restarts.times().to_vec()),
            metrics,
        }
    }
}

impl Reporter {
    pub(super) fn new(sources: Sources) -> Arc<Self> {
        let gateway = sources.gateway.as_ref();
        Arc::new(Self {
            id: gateway.map_or_else(Uuid::new_v4, |gateway| gateway.id.0),
            host: crate::origin::machine(),
            started_at: database::now(),
            sources,
            parts: Mutex::default(),
            figures_milli: Mutex::default(),
            has_stopped: AtomicBool::new(false),
        })
    }

    /// The report now, from what is known: it waits for nothing.
    pub(super) fn report(&self) -> ProcessReport {
        let now = database::now();
        ProcessReport {
            id: self.id,
            role: self.sources.role,
            host: report_text(&self.host),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.started_at,
            at: now,
            has_stopped: self.has_stopped.load(Ordering::SeqCst),
            parts: self.look(now).0,
            gateway: self.sources.gateway.as_ref().map(GatewaySources::report),
            consumed_records: self
                .sources
                .applier
                .as_ref()
                .map(|applier| applier.applied_records()),
            queues: self.queues(now),
            figures_milli: lock(&self.figures_milli).clone(),
            restarts: self.sources.restarts.clone(),
        }
    }

    /// Reads the figures for alerts. It takes as long as a request for `/metrics`, so it is done with each report that is
    /// sent, and not with each that is made.
    fn read_figures(&self) {
        let figures = central::alert::figures::read(&(self.sources.metrics)());
        *lock(&self.figures_milli) = ProcessReport::in_milli(&figures);
    }

    /// The parts now, and whether one of them has begun or ceased to work.
    fn look(&self, now: Timestamp) -> (Vec<PartReport>, bool) {
        let found: Vec<Health> = self
            .sources
            .probes
            .iter()
            .flat_map(|probe| probe.health())
            .collect();
        let mut known = lock(&self.parts);
        let mut parts: Vec<PartReport> = Vec::with_capacity(found.len());
        let mut has_changed = found.len() != known.len();
        for health in found {
            // The connections for publishing and for consuming are one part, which works if both do.
            if let Some(same) = parts.iter_mut().find(|part| part.part == health.part) {
                if same.up && !health.up {
                    (same.up, same.detail) = (false, report_text(&health.detail));
                }
                continue;
            }
            parts.push(PartReport {
                part: health.part.to_owned(),
                up: health.up,
                detail: report_text(&health.detail),
                since: now,
                last_error: None,
            });
        }
        for part in &mut parts {
            let before = known.iter().find(|before| before.part == part.part);
            match before {
                Some(before) if before.up == part.up => part.since = before.since,
                Some(_) => has_changed = true,
                None => {}
            }
            part.last_error = match part.up {
                true => before.and_then(|before| before.last_error.clone()),
                false => Some(PartError {
                    at: now,
                    detail: part.detail.clone(),
                }),
            };
        }
        known.clone_from(&parts);
        (parts, has_changed)
    }

    fn queues(&self, now: Timestamp) -> Option<QueuesReport> {
        let (waiting, is_consumed, at) = self.sources.broker.as_ref()?.queues()?;
        let age = at.elapsed();
        (age <= QUEUES_FRESH).then(|| QueuesReport {
            waiting,
            is_consumed,
            at: now.plus_millis(-i64::try_from(age.as_millis()).unwrap_or(0)),
        })
    }

    /// Reports until it is aborted.
    pub(super) fn start(
        self: &Arc<Self>,
        database: &Database,
        events: &Arc<Events>,
    ) -> JoinHandle<()> {
        let (reporter, database, events) = (Arc::clone(self), database.clone(), Arc::clone(events));
        tokio::spawn(async move {
            let every = Duration::from_millis(PROCESS_REPORT_EVERY_MS);
            let mut interval = tokio::time::interval(SAMPLE_EVERY);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut last: Option<Instant> = None;
            let mut storing: Option<JoinHandle<()>> = None;
            loop {
                interval.tick().await;
                let has_changed = reporter.look(database::now()).1;
                if !has_changed && last.is_some_and(|last| last.elapsed() < every) {
                    continue;
                }
                last = Some(Instant::now());
                reporter.read_figures();
                let report = reporter.report();
                events.publish(reported(&report));
                if storing.as_ref().is_none_or(JoinHandle::is_finished) {
                    storing = Some(store(report, &database));
                }
            }
        })
    }

    /// Reports that this process has stopped.
    pub(super) async fn stopped(&self, database: &Database, events: &Events) {
        self.has_stopped.store(true, Ordering::SeqCst);
        let report = self.report();
        events.publish(reported(&report));
        let storing = store(report, database);
        if tokio::time::timeout(LAST_REPORT_TIMEOUT, storing)
            .await
            .is_err()
        {
            tracing::debug!("the database does not take the last report of this process");
        }
    }
}

fn reported(report: &ProcessReport) -> ClusterEvent {
    ClusterEvent::ProcessReported {
        report: Box::new(report.clone()),
    }
}

fn store(report: ProcessReport, database: &Database) -> JoinHandle<()> {
    let processes = Arc::clone(&database.processes);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = processes.report_process(&report) {
            tracing::debug!(%error, "cannot report to the database what this process does");
        }
    })
}

impl GatewaySources {
    fn report(&self) -> GatewayReport {
        // The route first: what is delivered meanwhile is missing in it, rather than counted without being durable.
        let route = self.failover.as_ref().map(|failover| failover.route());
        let status = self.journal.status();
        GatewayReport {
            id: self.id,
            connected: self.gateway.connected() as u64,
            written: status.written_seq,
            durable: status.durable_seq,
            delivered: status.cursor,
            undelivered_bytes: status.used_bytes,
            bytes_max: status.bytes_max,
            oldest_age_ms: status
                .oldest_age
                .map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
            route,
            listeners: self
                .gateway
                .local_addrs()
                .iter()
                .map(ToString::to_string)
                .collect(),
        }
    }
}
