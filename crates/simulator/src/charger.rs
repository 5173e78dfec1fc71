//! One charger, without socket, clock, rng and disk: the station side of ocpp-rules 2.1 and 2.6.
//!
//! [`Charger`] is what a simulated charger *is*; a thin loop hands it a real line
//! ([`crate::Fleet`]), a test hands it virtual time.

mod answer;
mod back_off;
mod command;
mod connection;
mod connectors;
mod message;
mod output;
mod payload;
mod send;
#[cfg(test)]
mod tests;
mod vehicle;

pub use back_off::Refusal;
pub use message::{
    Action, ConnectorState, Message, OpenTransaction, PersistentState, QueueEdit, SavedQueue, Step,
};
pub use output::{Count, EndedMessage, Gauge, Output};

#[cfg(test)]
pub(crate) use message::sample as sample_message;

use crate::ledger::Class;
use crate::settings::Settings;
use crate::timestamp::TimestampUs;
use back_off::BackOff;
use connection::{ConnectionState, Registration};
use connectors::Connector;
use fastrand::Rng;
use ocpp::Version;
use send::Outstanding;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// A charger.
///
/// *The world comes in*: [`handle_connected`](Self::handle_connected),
/// [`handle_refused`](Self::handle_refused), [`handle_text`](Self::handle_text),
/// [`handle_ping_or_pong`](Self::handle_ping_or_pong), [`handle_closed`](Self::handle_closed),
/// [`handle_timeout`](Self::handle_timeout), and from its owner
/// [`handle_finish`](Self::handle_finish) and [`handle_stop`](Self::handle_stop).
///
/// *Decisions go out*: [`poll_output`](Self::poll_output) until it is empty, after each of the
/// above; then [`poll_timeout`](Self::poll_timeout) says when to call
/// [`handle_timeout`](Self::handle_timeout). `now` never goes back.
///
/// *Getters*: [`gauge`](Self::gauge), [`is_drained`](Self::is_drained).
#[derive(Debug)]
pub struct Charger {
    id: Arc<str>,
    version: Version,
    settings: Arc<Settings>,
    rng: Rng,
    /// For what must never come again, equal seeds or not: message ids (rule F-21) and transaction
    /// ids (rule Q-23).
    id_rng: Rng,

    connection: ConnectionState,
    back_off: BackOff,
    offline_since: TimestampUs,
    ping_at: Option<TimestampUs>,
    pong_by: Option<TimestampUs>,

    registration: Registration,
    /// Accepted at least once since power-up: a charger charges, also offline.
    is_operative: bool,
    was_reset: bool,
    heartbeat: Duration,
    heartbeat_at: Option<TimestampUs>,

    /// Class T, strictly first in, first out. The front may be outstanding.
    queue: VecDeque<Message>,
    /// Class N, waiting for its turn.
    pending: VecDeque<Message>,
    outstanding: Option<Outstanding>,
    /// When the front of the queue may be sent again after a failure (rule Q-6).
    retry_at: Option<TimestampUs>,
    id_prefix: String,
    ids: u64,

    state: PersistentState,
    connectors: Vec<Connector>,
    flood_left: Option<u64>,
    tunables: Tunables,

    finishing: bool,
    outputs: VecDeque<Output>,
}

/// EventKind the central system may configure.
#[derive(Debug, Clone, Copy)]
struct Tunables {
    attempts: u32,
    retry_interval: Duration,
    meter_interval: Duration,
}

impl Charger {
    /// A charger that is powered up now; `saved` is what its queue held when the power was cut (a
    /// transaction that was running then ends with reason `PowerLoss`). Equal seeds give equal lives;
    /// ids depend on `now` too.
    #[must_use]
    pub fn new(
        id: impl Into<Arc<str>>,
        version: Version,
        settings: Arc<Settings>,
        saved: SavedQueue,
        seed: u64,
        now: TimestampUs,
    ) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut id_rng = Rng::with_seed(seed ^ now.0.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let SavedQueue { queue, mut state } = saved;
        let connectors = usize::from(settings.connectors);
        state
            .connectors
            .resize(connectors, ConnectorState::default());
        for connector in &mut state.connectors {
            if connector.register_wh == 0 {
                connector.register_wh = rng.u64(1_000..500_000);
            }
        }
        let mut charger = Self {
            id: id.into(),
            version,
            connection: ConnectionState::Waiting(now),
            back_off: BackOff::default(),
            offline_since: now,
            ping_at: None,
            pong_by: None,
            registration: Registration::Due(now),
            is_operative: false,
            was_reset: false,
            heartbeat: settings.scaled(300.0),
            heartbeat_at: None,
            queue: queue.into(),
            pending: VecDeque::new(),
            outstanding: None,
            retry_at: None,
            id_prefix: id_prefix(&mut id_rng),
            ids: 0,
            state,
            connectors: (0..connectors).map(|_| Connector::default()).collect(),
            flood_left: settings.flood_values,
            tunables: Tunables {
                attempts: settings.attempts,
                retry_interval: settings.retry_interval,
                meter_interval: settings.meter_interval,
            },
            finishing: false,
            outputs: VecDeque::new(),
            rng,
            id_rng,
            settings,
        };
        for message in charger
            .queue
            .iter_mut()
            .filter(|one| one.transmissions == 0)
        {
            message.was_offline = true;
        }
        charger.end_interrupted_transactions(now);
        charger.drive(now);
        charger
    }

    /// The connection that [`Output::Connect`] asked for is open.
    pub fn handle_connected(&mut self, now: TimestampUs) {
        self.connection_opened(now);
        self.drive(now);
    }

    /// The connection that [`Output::Connect`] asked for could not be opened.
    pub fn handle_refused(&mut self, refusal: Refusal, now: TimestampUs) {
        self.connection_refused(refusal, now);
        self.drive(now);
    }

    /// A text came in.
    pub fn handle_text(&mut self, text: &str, now: TimestampUs) {
        self.pong_by = None;
        self.handle_frame(text, now);
        self.drive(now);
    }

    /// A ping or pong came in.
    pub fn handle_ping_or_pong(&mut self, now: TimestampUs) {
        self.pong_by = None;
        self.drive(now);
    }

    /// The connection ended.
    pub fn handle_closed(&mut self, now: TimestampUs) {
        if self.connection == ConnectionState::Open {
            self.connection_lost(now);
        }
        self.drive(now);
    }

    /// The time of [`Charger::poll_timeout`] has come. Coming early does no harm.
    pub fn handle_timeout(&mut self, now: TimestampUs) {
        self.drive(now);
    }

    /// Begin no new transactions, end the running ones.
    pub fn handle_finish(&mut self, now: TimestampUs) {
        self.finishing = true;
        self.drive(now);
    }

    /// The run is over: closes the line and tells the ledger what is left unanswered.
    pub fn handle_stop(&mut self, now: TimestampUs) {
        self.stop_all(now);
    }

    /// The next decision.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Charger::handle_timeout`], if nothing else happens before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<TimestampUs> {
        let due = [
            self.connection_deadline(),
            self.send_deadline(),
            self.connectors_deadline(),
        ];
        due.into_iter().flatten().min()
    }

    /// Whether nothing waits for an answer.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.queue.is_empty() && self.pending.is_empty() && self.outstanding.is_none()
    }

    /// How it is.
    #[must_use]
    pub fn gauge(&self) -> Gauge {
        let charging = self.connectors.iter().filter(|one| one.is_charging());
        let flooded = self.flood_left == Some(0) && self.queue.is_empty();
        Gauge {
            online: u64::from(self.connection == ConnectionState::Open),
            charging: charging.count() as u64,
            queued: self.queue.len() as u64,
            finished: u64::from(flooded && !self.connectors.iter().any(Connector::is_charging)),
        }
    }

    /// Everything that is due, in this order: the line, then life (which only queues), then whatever
    /// may be sent.
    fn drive(&mut self, now: TimestampUs) {
        self.drive_connection(now);
        if self.is_operative {
            self.drive_connectors(now);
        }
        self.send_next(now);
    }

    fn is_ready(&self) -> bool {
        self.connection == ConnectionState::Open && self.registration == Registration::Accepted
    }

    fn count(&mut self, count: Count) {
        self.outputs.push_back(Output::Count(count));
    }

    fn class(&self, action: Action) -> Class {
        action.class(self.version)
    }
}

/// Message ids must differ over all connections of an identity (rule F-21), also after a restart.
fn id_prefix(rng: &mut Rng) -> String {
    let mut prefix: String = (0..7).map(|_| rng.alphanumeric()).collect();
    prefix.push('-');
    prefix
}
