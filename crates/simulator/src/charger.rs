//! One charger without I/O and clock, so that tests run it in virtual time: it queues and resends messages (rules Q-1
//! to Q-11), registers (rules B-1 to B-6) and reconnects (rules H-5, H-8). [`crate::Fleet`] runs it on a real connection.

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
pub use output::{Count, EndedMessage, Gauge, Output, ReceivedCommand};

#[cfg(test)]
pub(crate) use message::sample as sample_message;

use crate::ledger::Class;
use crate::settings::Settings;
use crate::timestamp::TimestampUs;
use back_off::BackOff;
use command::{BootReason, Kept};
use connection::{ConnectionState, Registration};
use connectors::Connector;
use fastrand::Rng;
use ocpp::Version;
use send::Outstanding;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// A simulated charger.
///
/// *Events*: [`handle_connected`](Self::handle_connected),
/// [`handle_refused`](Self::handle_refused), [`handle_text`](Self::handle_text),
/// [`handle_ping_or_pong`](Self::handle_ping_or_pong), [`handle_closed`](Self::handle_closed),
/// [`handle_timeout`](Self::handle_timeout), and at the end of a run
/// [`handle_drain`](Self::handle_drain) and [`handle_stop`](Self::handle_stop).
///
/// *Outputs*: after each event, call [`poll_output`](Self::poll_output) until it is empty, then
/// [`poll_timeout`](Self::poll_timeout) for the time of the next [`handle_timeout`](Self::handle_timeout). `now` must
/// not go back.
///
/// *Getters*: [`gauge`](Self::gauge), [`is_drained`](Self::is_drained).
#[derive(Debug)]
pub struct Charger {
    id: Arc<str>,
    version: Version,
    settings: Arc<Settings>,
    rng: Rng,
    /// For message ids (rule F-21) and transaction ids (rule Q-23), which must differ also between runs with equal
    /// seeds.
    id_rng: Rng,

    connection: ConnectionState,
    back_off: BackOff,
    offline_since: TimestampUs,
    ping_at: Option<TimestampUs>,
    pong_by: Option<TimestampUs>,

    registration: Registration,
    /// Accepted at least once since power-up. From then on the charger charges, also offline.
    is_operative: bool,
    boot_reason: BootReason,
    heartbeat: Duration,
    heartbeat_at: Option<TimestampUs>,

    /// Messages of class T, first in, first out. The front may be the unanswered call.
    queue: VecDeque<Message>,
    /// Messages of class N that are not sent yet.
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

    /// The number of connections since power-up.
    connections: u64,
    /// What commands made the charger keep; `None` before the first command.
    kept: Option<Box<Kept>>,
    /// The password that a command set.
    password: Option<Arc<str>>,

    draining: bool,
    outputs: VecDeque<Output>,
}

/// The settings that the central system may change.
#[derive(Debug, Clone, Copy)]
struct Tunables {
    attempts: u32,
    retry_interval: Duration,
    meter_interval: Duration,
}

impl Charger {
    /// A charger that powers up at `now`. `saved` is its queue at the last power cut; a transaction that was running then
    /// ends with reason `PowerLoss`. Equal seeds give equal behaviour; ids also depend on `now`.
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
            boot_reason: BootReason::PowerUp,
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
            connections: 0,
            kept: None,
            password: None,
            draining: false,
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

    /// The connection of [`Output::Connect`] is open.
    pub fn handle_connected(&mut self, now: TimestampUs) {
        self.connections += 1;
        self.connection_opened(now);
        self.drive(now);
    }

    /// The connection of [`Output::Connect`] could not be opened.
    pub fn handle_refused(&mut self, refusal: Refusal, now: TimestampUs) {
        self.connection_refused(refusal, now);
        self.drive(now);
    }

    /// A text frame was received.
    pub fn handle_text(&mut self, text: &str, now: TimestampUs) {
        self.pong_by = None;
        self.handle_frame(text, now);
        self.drive(now);
    }

    /// A ping or a pong was received.
    pub fn handle_ping_or_pong(&mut self, now: TimestampUs) {
        self.pong_by = None;
        self.drive(now);
    }

    /// The connection was lost.
    pub fn handle_closed(&mut self, now: TimestampUs) {
        if self.connection == ConnectionState::Open {
            self.connection_lost(now);
        }
        self.drive(now);
    }

    /// The time of [`Charger::poll_timeout`] has come. An earlier call is harmless.
    pub fn handle_timeout(&mut self, now: TimestampUs) {
        self.drive(now);
    }

    /// Ends the running transactions and starts no new ones.
    pub fn handle_drain(&mut self, now: TimestampUs) {
        self.draining = true;
        self.drive(now);
    }

    /// Ends the run: closes the connection, and gives the ledger entries of all messages without an answer.
    pub fn handle_stop(&mut self, now: TimestampUs) {
        self.stop_all(now);
    }

    /// The next output.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The time at which to call [`Charger::handle_timeout`] unless an event comes before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<TimestampUs> {
        let due = [
            self.connection_deadline(),
            self.send_deadline(),
            self.connectors_deadline(),
            self.commands_deadline(),
        ];
        due.into_iter().flatten().min()
    }

    /// Whether there is neither a queued nor an unanswered message.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.queue.is_empty() && self.pending.is_empty() && self.outstanding.is_none()
    }

    /// The charger's part of the fleet's gauges.
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

    /// The password that a command set; `None` = the one of the settings.
    #[must_use]
    pub fn password(&self) -> Option<Arc<str>> {
        self.password.clone()
    }

    /// Does what is due, in this order: the connection, the connectors (which only queue messages), what commands have
    /// begun, the next message.
    fn drive(&mut self, now: TimestampUs) {
        self.drive_connection(now);
        if self.is_operative {
            self.drive_connectors(now);
        }
        self.drive_commands(now);
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

/// A random prefix of message ids, which must differ over all connections of a charger (rule F-21), also after a
/// restart.
fn id_prefix(rng: &mut Rng) -> String {
    let mut prefix: String = (0..7).map(|_| rng.alphanumeric()).collect();
    prefix.push('-');
    prefix
}
