//! Delivery behind the journal: through RabbitMQ, and directly to the database while RabbitMQ is
//! unavailable for long, so that the database stays current.
//!
//! ```text
//!            unavailable for longer than the grace period
//!   RabbitMQ ────────────────────────────────────────────▶ direct
//!            ◀────────────────────────────────────────────
//!                     it has accepted a small batch
//! ```
//! *Which route.* One route is used at a time; it is chosen when a delivery begins. Within the grace period
//! RabbitMQ's refusal is returned and the records wait in the journal. While delivery is direct, RabbitMQ is
//! probed about once a second with a copy of the batch's first records, in a task beside the delivery: a
//! RabbitMQ that does not answer delays no delivery, and the longer a probe takes, the longer the pause until
//! the next one. The first probe that succeeds switches back. Records that took both routes are recognised by
//! the database's inbox; the order in which the two routes deliver does not matter, because projections commute.
//!
//! *A full queue is not an outage.* If RabbitMQ refuses because a queue is at its bound ([`UnavailableKind::Full`])
//! while consumers are working, the database is slower than the chargers. Direct delivery writes to the same
//! database and would compete with those consumers. So the records wait in the journal, and chargers are
//! paced as in any other overload. A full queue without a working consumer is an outage: after the grace period
//! delivery is direct. So is a RabbitMQ that refuses because of an alarm: it accepts nothing however short its
//! queues become, and their lengths cannot be read meanwhile. Only lengths read within the last
//! [`QUEUED_FRESH`] count.

use central::model::RouteReport;
use central::ports::{
    Batch, BoxFuture, Health, HealthProbe, Queued, Sink, Unavailable, UnavailableKind,
};
use common::lock::lock;
use metrics::{Counter, Gauge, counter, gauge};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// Shortest pause between two probes of RabbitMQ.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// The pause after a probe is this many times as long as the probe took, at most [`PROBE_EVERY_MAX`].
const PAUSE_PER_PROBE: u32 = 4;
const PROBE_EVERY_MAX: Duration = Duration::from_secs(10);
/// Most records in one probe.
const PROBE_RECORDS: usize = 32;

/// Queue lengths read longer ago than this count as unknown. They are read every second, and a connection
/// that does not answer is given up after ten seconds.
pub(crate) const QUEUED_FRESH: Duration = Duration::from_secs(15);

/// Records waiting in `sink` while consumers work on them, if that was read within [`QUEUED_FRESH`]; `None` if
/// it is not known.
pub(crate) fn queued_now(sink: &dyn Sink) -> Option<u64> {
    sink.queued()?
        .within(QUEUED_FRESH, Instant::now().into_std())
}

/// A sink made of two: RabbitMQ first; once it has been unavailable for longer than the grace period, the
/// database directly, until RabbitMQ accepts records again. A delivery fails only when the sink in use fails.
pub struct FailoverSink {
    broker: Arc<dyn Sink>,
    direct: Option<Arc<dyn Sink>>,
    grace: Duration,
    state: Arc<Mutex<State>>,
    metrics: Arc<RouteMetrics>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Broker,
    Direct,
}

struct State {
    route: Route,
    /// Since when this route is used.
    since: Instant,
    /// Since when RabbitMQ has refused every delivery.
    broker_failing_since: Option<Instant>,
    /// RabbitMQ's last result, if it was a refusal.
    broker_refusal: Option<Unavailable>,
    /// The last result of direct delivery, if it was a refusal.
    direct_refusal: Option<Unavailable>,
    next_probe: Instant,
    is_probing: bool,
}

struct RouteMetrics {
    /// Records delivered since the start, by [`Route`].
    delivered: [AtomicU64; 2],
    direct: Gauge,
    /// By [`Route`].
    records: [Counter; 2],
    changes: Counter,
}

impl FailoverSink {
    /// `direct` delivers to the database without RabbitMQ, if there is such a sink; `grace` is how long RabbitMQ
    /// must have been unavailable before it is used.
    #[must_use]
    pub fn new(broker: Arc<dyn Sink>, direct: Option<Arc<dyn Sink>>, grace: Duration) -> Self {
        let now = Instant::now();
        let records =
            |route: &'static str| counter!("wattpost_gateway_sink_records_total", "route" => route);
        let metrics = RouteMetrics {
            delivered: Default::default(),
            direct: gauge!("wattpost_gateway_sink_direct"),
            records: [records("broker"), records("direct")],
            changes: counter!("wattpost_gateway_sink_changes_total"),
        };
        metrics.direct.set(0.0);
        Self {
            broker,
            direct,
            grace,
            state: Arc::new(Mutex::new(State {
                route: Route::Broker,
                since: now,
                broker_failing_since: None,
                broker_refusal: None,
                direct_refusal: None,
                next_probe: now,
                is_probing: false,
            })),
            metrics: Arc::new(metrics),
        }
    }

    /// The route in use, and what was delivered on each.
    #[must_use]
    pub fn route(&self) -> RouteReport {
        let [broker_records, direct_records] = self
            .metrics
            .delivered
            .each_ref()
            .map(|count| count.load(Ordering::Relaxed));
        RouteReport {
            is_direct: lock(&self.state).route == Route::Direct,
            broker_records,
            direct_records,
        }
    }

    /// The route of a delivery that begins now.
    fn choose(&self) -> Route {
        lock(&self.state).choose(self.grace, &self.metrics)
    }

    async fn through_broker(&self, batch: &Arc<Batch>) -> Result<(), Unavailable> {
        let result = self.broker.deliver(Arc::clone(batch)).await;
        let mut state = lock(&self.state);
        match &result {
            Ok(()) => {
                state.broker_is_back(&self.metrics);
                self.metrics.delivered(Route::Broker, batch.len());
            }
            // The database is slower than the chargers: see the module's documentation.
            Err(unavailable) if unavailable.kind == UnavailableKind::Full && self.is_consumed() => {
                state.broker_failing_since = None;
                state.broker_refusal = Some(unavailable.clone());
            }
            Err(unavailable) => {
                state.broker_failing_since.get_or_insert_with(Instant::now);
                state.broker_refusal = Some(unavailable.clone());
            }
        }
        result
    }

    /// Whether records are known to wait in RabbitMQ while consumers work on them.
    fn is_consumed(&self) -> bool {
        queued_now(&*self.broker).is_some_and(|records| records > 0)
    }

    async fn directly(&self, direct: &dyn Sink, batch: &Arc<Batch>) -> Result<(), Unavailable> {
        self.probe_broker(batch);
        let result = direct.deliver(Arc::clone(batch)).await;
        if result.is_ok() {
            self.metrics.delivered(Route::Direct, batch.len());
        }
        lock(&self.state).direct_refusal = result.as_ref().err().cloned();
        result
    }

    /// Starts a probe of RabbitMQ, if one is due.
    fn probe_broker(&self, batch: &Batch) {
        let began = Instant::now();
        {
            let mut state = lock(&self.state);
            if state.is_probing || began < state.next_probe {
                return;
            }
            state.is_probing = true;
        }
        let (broker, state) = (Arc::clone(&self.broker), Arc::clone(&self.state));
        let (metrics, few) = (Arc::clone(&self.metrics), Arc::new(first_of(batch)));
        // In a task of its own: even if it panics, `is_probing` is reset.
        let probing = tokio::spawn(async move { broker.deliver(few).await });
        tokio::spawn(async move {
            let result = probing.await;
            let mut state = lock(&state);
            state.is_probing = false;
            let now = Instant::now();
            let pause = PROBE_EVERY.max((now - began) * PAUSE_PER_PROBE);
            state.next_probe = now + pause.min(PROBE_EVERY_MAX);
            match result {
                Ok(Ok(())) => state.broker_is_back(&metrics),
                Ok(Err(unavailable)) => state.broker_refusal = Some(unavailable),
                Err(_) => {}
            }
        });
    }
}

impl RouteMetrics {
    fn delivered(&self, route: Route, records: usize) {
        let index = usize::from(route == Route::Direct);
        self.records[index].increment(records as u64);
        self.delivered[index].fetch_add(records as u64, Ordering::Relaxed);
    }
}

impl State {
    fn choose(&mut self, grace: Duration, metrics: &RouteMetrics) -> Route {
        let Some(failing_since) = self.broker_failing_since else {
            return self.route;
        };
        let now = Instant::now();
        let failing_for = now.saturating_duration_since(failing_since);
        if self.route == Route::Broker && failing_for >= grace {
            let why = self.broker_refusal.as_ref().map(ToString::to_string);
            tracing::warn!(
                why,
                unavailable_ms = u64::try_from(failing_for.as_millis()).unwrap_or(u64::MAX),
                "RabbitMQ has been unavailable for longer than gateway.broker_grace_s: records are delivered directly \
                 to the database"
            );
            self.switch(Route::Direct, now, metrics);
            self.next_probe = now + PROBE_EVERY;
        }
        self.route
    }

    fn broker_is_back(&mut self, metrics: &RouteMetrics) {
        self.broker_failing_since = None;
        self.broker_refusal = None;
        if self.route == Route::Direct {
            tracing::info!("RabbitMQ accepts records again: they are delivered through it");
            self.switch(Route::Broker, Instant::now(), metrics);
        }
    }

    fn switch(&mut self, route: Route, now: Instant, metrics: &RouteMetrics) {
        (self.route, self.since) = (route, now);
        metrics.changes.increment(1);
        metrics.direct.set(match route {
            Route::Broker => 0.0,
            Route::Direct => 1.0,
        });
    }
}

fn first_of(batch: &Batch) -> Batch {
    let mut few: Option<Batch> = None;
    for (id, bytes) in batch.iter().take(PROBE_RECORDS) {
        few.get_or_insert_with(|| Batch::new(id.gateway))
            .push_with(id, |out| out.extend_from_slice(bytes));
    }
    few.unwrap_or_else(|| batch.clone())
}

impl Sink for FailoverSink {
    fn deliver(&self, batch: Arc<Batch>) -> BoxFuture<'_, Result<(), Unavailable>> {
        Box::pin(async move {
            let Some(direct) = &self.direct else {
                return self.through_broker(&batch).await;
            };
            if self.choose() == Route::Broker {
                let result = self.through_broker(&batch).await;
                // The grace period may have ended meanwhile.
                if result.is_ok() || self.choose() == Route::Broker {
                    return result;
                }
            }
            self.directly(&**direct, &batch).await
        })
    }

    fn queued(&self) -> Option<Queued> {
        let route = lock(&self.state).route;
        match (route, &self.direct) {
            // The length of queues that are not in use says nothing about the database's speed.
            (Route::Direct, Some(direct)) => direct.queued(),
            (Route::Broker | Route::Direct, _) => self.broker.queued(),
        }
    }
}

impl HealthProbe for FailoverSink {
    /// Part `sink`. Up while the route in use accepts records, and within the grace period: then records wait in
    /// the journal, as intended.
    fn health(&self) -> Vec<Health> {
        let state = lock(&self.state);
        let seconds = state.since.elapsed().as_secs();
        let suffix = |unavailable: &Option<Unavailable>| {
            let reason = unavailable.as_ref();
            reason.map_or_else(String::new, |reason| format!("; {reason}"))
        };
        let broker = suffix(&state.broker_refusal);
        let (up, detail) = match state.route {
            Route::Broker => (
                state
                    .broker_failing_since
                    .is_none_or(|since| since.elapsed() < self.grace),
                format!("delivering through RabbitMQ for {seconds} s{broker}"),
            ),
            Route::Direct => (
                state.direct_refusal.is_none(),
                format!(
                    "delivering directly to the database for {seconds} s{broker}{}",
                    suffix(&state.direct_refusal)
                ),
            ),
        };
        vec![Health::new("sink", up, detail)]
    }
}
