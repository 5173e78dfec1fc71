//! The road that records take behind the journal: RabbitMQ, and straight to the database while RabbitMQ
//! is away for long, so that the ledger does not stand still with it.
//!
//! ```text
//!            away for longer than the grace
//!   RabbitMQ ─────────────────────────────▶ direct
//!            ◀─────────────────────────────
//!              it has taken a small batch
//! ```
//! *Which one.* One road is taken at a time, decided when a delivery begins. Within the grace a refusal is
//! handed on and the records wait in the journal. On the direct road RabbitMQ is tried about once a second,
//! beside the delivery and never instead of it, with a copy of the batch's first records: so a RabbitMQ that
//! is black-holed delays nobody, and the longer a try takes the rarer it is made. The first try that is taken
//! brings the road back. What went both ways is recognised by the ledger's inbox; what the direct road
//! overtook changes nothing, because projections commute.
//!
//! *A full queue is no outage.* RabbitMQ that refuses because a queue is at its bound ([`AwayKind::Full`])
//! while consumers are at work says that the database is slower than the chargers. The direct road ends at
//! the same database: taking it would put one more writer in the way of those who catch up. So the records
//! wait in the journal and the pace slows the chargers down, as for any other overload. A full queue with
//! nobody at work on it is an outage like any other: after the grace the direct road is taken. So is a
//! RabbitMQ that refuses because of an alarm: it takes nothing however short its queues become, and how long
//! they are cannot be asked meanwhile. Only what was looked at within the last [`QUEUED_FRESH`] counts.

use central::ports::{Away, AwayKind, Batch, BoxFuture, Health, HealthProbe, Queued, Sink};
use metrics::{Counter, Gauge, counter, gauge};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Least time between two tries whether RabbitMQ is back.
const TRY_EVERY: Duration = Duration::from_secs(1);
/// A try that took long is followed by a pause of so many times as long.
const PAUSE_PER_TRY: u32 = 4;
const TRY_EVERY_MAX: Duration = Duration::from_secs(10);
/// Records of a try at most.
const TRY_RECORDS: usize = 32;

/// What was seen in RabbitMQ's queues longer ago than this is not known any more. A look is due every second,
/// and a connection that does not answer one is given up after ten.
pub(crate) const QUEUED_FRESH: Duration = Duration::from_secs(15);

/// Records that wait in `sink` while somebody is at work on them, by a look that is fresh; `None` = not
/// known.
pub(crate) fn queued_now(sink: &dyn Sink) -> Option<u64> {
    sink.queued()?
        .within(QUEUED_FRESH, Instant::now().into_std())
}

/// A sink made of two: RabbitMQ first; when it has been away for longer than the grace, the direct road
/// to the database until it is back, which is noticed by itself. Away only when the road that is to be
/// taken is.
pub struct Road {
    broker: Arc<dyn Sink>,
    direct: Option<Arc<dyn Sink>>,
    grace: Duration,
    state: Arc<Mutex<State>>,
    figures: Arc<Figures>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Broker,
    Direct,
}

struct State {
    way: Way,
    /// Since when this way is taken.
    since: Instant,
    /// Since when RabbitMQ has refused everything.
    broker_away_since: Option<Instant>,
    /// What it said last, if that was a refusal.
    broker_away: Option<Away>,
    /// What the direct road said last, if that was a refusal.
    direct_away: Option<Away>,
    next_try: Instant,
    is_trying: bool,
}

struct Figures {
    direct: Gauge,
    records: [Counter; 2],
    changes: Counter,
}

impl Road {
    /// `direct` is the road to the database past RabbitMQ, if there is one; `grace` is how long RabbitMQ
    /// must have been away until it is taken.
    #[must_use]
    pub fn new(broker: Arc<dyn Sink>, direct: Option<Arc<dyn Sink>>, grace: Duration) -> Self {
        let now = Instant::now();
        let records =
            |road: &'static str| counter!("wattpost_gateway_road_records_total", "road" => road);
        let figures = Figures {
            direct: gauge!("wattpost_gateway_road_direct"),
            records: [records("broker"), records("direct")],
            changes: counter!("wattpost_gateway_road_changes_total"),
        };
        figures.direct.set(0.0);
        Self {
            broker,
            direct,
            grace,
            state: Arc::new(Mutex::new(State {
                way: Way::Broker,
                since: now,
                broker_away_since: None,
                broker_away: None,
                direct_away: None,
                next_try: now,
                is_trying: false,
            })),
            figures: Arc::new(figures),
        }
    }

    /// Which road a delivery takes that begins now.
    fn choose(&self) -> Way {
        hold(&self.state).choose(self.grace, &self.figures)
    }

    async fn through_broker(&self, batch: &Arc<Batch>) -> Result<(), Away> {
        let result = self.broker.deliver(Arc::clone(batch)).await;
        let mut state = hold(&self.state);
        match &result {
            Ok(()) => {
                state.broker_is_back(&self.figures);
                self.figures.records[0].increment(batch.len() as u64);
            }
            // The database is slower than the chargers: see the module.
            Err(away) if away.kind == AwayKind::Full && self.is_worked_on() => {
                state.broker_away_since = None;
                state.broker_away = Some(away.clone());
            }
            Err(away) => {
                state.broker_away_since.get_or_insert_with(Instant::now);
                state.broker_away = Some(away.clone());
            }
        }
        result
    }

    /// Whether records are known to wait in RabbitMQ while somebody is at work on them.
    fn is_worked_on(&self) -> bool {
        queued_now(&*self.broker).is_some_and(|records| records > 0)
    }

    async fn directly(&self, direct: &dyn Sink, batch: &Arc<Batch>) -> Result<(), Away> {
        self.try_broker(batch);
        let result = direct.deliver(Arc::clone(batch)).await;
        if result.is_ok() {
            self.figures.records[1].increment(batch.len() as u64);
        }
        hold(&self.state).direct_away = result.as_ref().err().cloned();
        result
    }

    /// Sets out to see whether RabbitMQ takes something, if that is due.
    fn try_broker(&self, batch: &Batch) {
        let began = Instant::now();
        {
            let mut state = hold(&self.state);
            if state.is_trying || began < state.next_try {
                return;
            }
            state.is_trying = true;
        }
        let (broker, state) = (Arc::clone(&self.broker), Arc::clone(&self.state));
        let (figures, few) = (Arc::clone(&self.figures), Arc::new(first_of(batch)));
        // As a task of its own: whatever becomes of it, the next one must be allowed.
        let trying = tokio::spawn(async move { broker.deliver(few).await });
        tokio::spawn(async move {
            let result = trying.await;
            let mut state = hold(&state);
            state.is_trying = false;
            let now = Instant::now();
            let pause = TRY_EVERY.max((now - began) * PAUSE_PER_TRY);
            state.next_try = now + pause.min(TRY_EVERY_MAX);
            match result {
                Ok(Ok(())) => state.broker_is_back(&figures),
                Ok(Err(away)) => state.broker_away = Some(away),
                Err(_) => {}
            }
        });
    }
}

impl State {
    fn choose(&mut self, grace: Duration, figures: &Figures) -> Way {
        let Some(away_since) = self.broker_away_since else {
            return self.way;
        };
        let now = Instant::now();
        let away_for = now.saturating_duration_since(away_since);
        if self.way == Way::Broker && away_for >= grace {
            let why = self.broker_away.as_ref().map(ToString::to_string);
            tracing::warn!(
                why,
                away_ms = away_for.as_millis(),
                "RabbitMQ is away for long: records go straight to the database"
            );
            self.turn(Way::Direct, now, figures);
            self.next_try = now + TRY_EVERY;
        }
        self.way
    }

    fn broker_is_back(&mut self, figures: &Figures) {
        self.broker_away_since = None;
        self.broker_away = None;
        if self.way == Way::Direct {
            tracing::info!("RabbitMQ takes records again: they go through it");
            self.turn(Way::Broker, Instant::now(), figures);
        }
    }

    fn turn(&mut self, way: Way, now: Instant, figures: &Figures) {
        (self.way, self.since) = (way, now);
        figures.changes.increment(1);
        figures.direct.set(match way {
            Way::Broker => 0.0,
            Way::Direct => 1.0,
        });
    }
}

fn first_of(batch: &Batch) -> Batch {
    let mut few: Option<Batch> = None;
    for (id, bytes) in batch.iter().take(TRY_RECORDS) {
        few.get_or_insert_with(|| Batch::new(id.gateway))
            .push_with(id, |out| out.extend_from_slice(bytes));
    }
    few.unwrap_or_else(|| batch.clone())
}

impl Sink for Road {
    fn deliver(&self, batch: Arc<Batch>) -> BoxFuture<'_, Result<(), Away>> {
        Box::pin(async move {
            let Some(direct) = &self.direct else {
                return self.through_broker(&batch).await;
            };
            if self.choose() == Way::Broker {
                let result = self.through_broker(&batch).await;
                // It may have been the refusal that ends the grace.
                if result.is_ok() || self.choose() == Way::Broker {
                    return result;
                }
            }
            self.directly(&**direct, &batch).await
        })
    }

    fn queued(&self) -> Option<Queued> {
        let way = hold(&self.state).way;
        match (way, &self.direct) {
            // What waits in a RabbitMQ that we do not use is not ours to wait for.
            (Way::Direct, Some(direct)) => direct.queued(),
            (Way::Broker | Way::Direct, _) => self.broker.queued(),
        }
    }
}

impl HealthProbe for Road {
    /// Part `road`. Up while the road that is taken takes records, and within the grace: then they wait in
    /// the journal, as they should.
    fn health(&self) -> Vec<Health> {
        let state = hold(&self.state);
        let seconds = state.since.elapsed().as_secs();
        let words = |away: &Option<Away>| {
            let words = away.as_ref().map(|away| format!("; {away}"));
            words.unwrap_or_default()
        };
        let broker = words(&state.broker_away);
        let (up, detail) = match state.way {
            Way::Broker => (
                state
                    .broker_away_since
                    .is_none_or(|since| since.elapsed() < self.grace),
                format!("through RabbitMQ, for {seconds} s{broker}"),
            ),
            Way::Direct => (
                state.direct_away.is_none(),
                format!(
                    "straight to the database, for {seconds} s{broker}{}",
                    words(&state.direct_away)
                ),
            ),
        };
        vec![Health {
            part: "road",
            up,
            detail,
        }]
    }
}

fn hold(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Nothing panics while it is held.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
