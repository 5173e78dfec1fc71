//! One charger, without socket, clock, dice and disk: the station side of ocpp-rules 2.1 and 2.6.
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
pub use message::{Action, ConnectorMemory, Edit, Memory, Message, OpenTransaction, Saved, Step};
pub use output::{Count, Entry, Gauge, Output};

#[cfg(test)]
pub(crate) use message::sample as sample_message;

use crate::ledger::Class;
use crate::settings::Settings;
use crate::timestamp::Moment;
use back_off::BackOff;
use connection::{Line, Registration};
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
/// [`handle_sign_of_life`](Self::handle_sign_of_life), [`handle_closed`](Self::handle_closed),
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
    dice: Rng,
    /// For what must never come again, equal seeds or not: message ids (rule F-21) and transaction
    /// ids (rule Q-23).
    id_dice: Rng,

    line: Line,
    back_off: BackOff,
    offline_since: Moment,
    ping_at: Option<Moment>,
    pong_by: Option<Moment>,

    registration: Registration,
    /// Accepted at least once since power-up: a charger charges, also offline.
    living: bool,
    was_reset: bool,
    heartbeat: Duration,
    heartbeat_at: Option<Moment>,

    /// Class T, strictly first in, first out. The front may be outstanding.
    queue: VecDeque<Message>,
    /// Class N, waiting for its turn.
    pending: VecDeque<Message>,
    outstanding: Option<Outstanding>,
    /// When the front of the queue may be sent again after a failure (rule Q-6).
    retry_at: Option<Moment>,
    id_prefix: String,
    ids: u64,

    memory: Memory,
    connectors: Vec<Connector>,
    flood_left: Option<u64>,
    tunables: Tunables,

    finishing: bool,
    outputs: VecDeque<Output>,
}

/// What the central system may configure.
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
        saved: Saved,
        seed: u64,
        now: Moment,
    ) -> Self {
        let mut dice = Rng::with_seed(seed);
        let mut id_dice = Rng::with_seed(seed ^ now.0.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let Saved { queue, mut memory } = saved;
        let connectors = usize::from(settings.connectors);
        memory
            .connectors
            .resize(connectors, ConnectorMemory::default());
        for connector in &mut memory.connectors {
            if connector.register_wh == 0 {
                connector.register_wh = dice.u64(1_000..500_000);
            }
        }
        let mut charger = Self {
            id: id.into(),
            version,
            line: Line::Waiting(now),
            back_off: BackOff::default(),
            offline_since: now,
            ping_at: None,
            pong_by: None,
            registration: Registration::Due(now),
            living: false,
            was_reset: false,
            heartbeat: settings.hurried(300.0),
            heartbeat_at: None,
            queue: queue.into(),
            pending: VecDeque::new(),
            outstanding: None,
            retry_at: None,
            id_prefix: id_prefix(&mut id_dice),
            ids: 0,
            memory,
            connectors: (0..connectors).map(|_| Connector::default()).collect(),
            flood_left: settings.flood_values,
            tunables: Tunables {
                attempts: settings.attempts,
                retry_interval: settings.retry_interval,
                meter_interval: settings.meter_interval,
            },
            finishing: false,
            outputs: VecDeque::new(),
            dice,
            id_dice,
            settings,
        };
        for message in charger
            .queue
            .iter_mut()
            .filter(|one| one.transmissions == 0)
        {
            message.was_offline = true;
        }
        charger.end_transactions_of_before(now);
        charger.drive(now);
        charger
    }

    /// The connection that [`Output::Connect`] asked for is open.
    pub fn handle_connected(&mut self, now: Moment) {
        self.line_opened(now);
        self.drive(now);
    }

    /// The connection that [`Output::Connect`] asked for could not be opened.
    pub fn handle_refused(&mut self, refusal: Refusal, now: Moment) {
        self.line_refused(refusal, now);
        self.drive(now);
    }

    /// A text came in.
    pub fn handle_text(&mut self, text: &str, now: Moment) {
        self.pong_by = None;
        self.hear(text, now);
        self.drive(now);
    }

    /// A ping or pong came in.
    pub fn handle_sign_of_life(&mut self, now: Moment) {
        self.pong_by = None;
        self.drive(now);
    }

    /// The connection ended.
    pub fn handle_closed(&mut self, now: Moment) {
        if self.line == Line::Open {
            self.line_lost(now);
        }
        self.drive(now);
    }

    /// The time of [`Charger::poll_timeout`] has come. Coming early does no harm.
    pub fn handle_timeout(&mut self, now: Moment) {
        self.drive(now);
    }

    /// Begin no new transactions, end the running ones.
    pub fn handle_finish(&mut self, now: Moment) {
        self.finishing = true;
        self.drive(now);
    }

    /// The run is over: closes the line and tells the ledger what is left unanswered.
    pub fn handle_stop(&mut self, now: Moment) {
        self.stop_all(now);
    }

    /// The next decision.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Charger::handle_timeout`], if nothing else happens before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Moment> {
        let due = [self.line_due(), self.send_due(), self.life_due()];
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
            online: u64::from(self.line == Line::Open),
            charging: charging.count() as u64,
            queued: self.queue.len() as u64,
            finished: u64::from(flooded && !self.connectors.iter().any(Connector::is_charging)),
        }
    }

    /// Everything that is due, in this order: the line, then life (which only queues), then whatever
    /// may be sent.
    fn drive(&mut self, now: Moment) {
        self.drive_line(now);
        if self.living {
            self.live(now);
        }
        self.send_next(now);
    }

    fn is_ready(&self) -> bool {
        self.line == Line::Open && self.registration == Registration::Accepted
    }

    fn count(&mut self, count: Count) {
        self.outputs.push_back(Output::Count(count));
    }

    fn class(&self, action: Action) -> Class {
        action.class(self.version)
    }
}

/// Message ids must differ over all connections of an identity (rule F-21), also after a restart.
fn id_prefix(dice: &mut Rng) -> String {
    let mut prefix: String = (0..7).map(|_| dice.alphanumeric()).collect();
    prefix.push('-');
    prefix
}
