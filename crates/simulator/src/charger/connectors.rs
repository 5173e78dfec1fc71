//! The connectors: vehicles arrive, charge and leave, or in `meter-flood` one vehicle charges all the time. This module
//! only creates messages; [`super::send`] decides when they are sent.

use super::Charger;
use super::message::{Action, OpenTransaction, Step};
use super::payload::{self, Event, Status, StopReason};
use super::vehicle::Vehicle;
use crate::config::Scenario;
use crate::timestamp::TimestampUs;
use ocpp::Version;
use std::fmt::Write as _;
use std::time::Duration;

/// A connector.
#[derive(Debug, Default)]
pub(super) struct Connector {
    phase: Phase,
    /// The status of the last StatusNotification.
    pub(super) status_sent: Option<&'static str>,
    /// Whether it becomes inoperative at the end of its transaction, because of a command.
    pub(super) becomes_inoperative: bool,
}

/// What starts a transaction.
#[derive(Debug, Default)]
pub(super) struct Start {
    pub(super) token: String,
    pub(super) remote_start_id: Option<i64>,
    pub(super) reservation_id: Option<i64>,
}

impl Start {
    fn local(token: String) -> Self {
        Self {
            token,
            ..Self::default()
        }
    }
}

#[derive(Debug, Default)]
enum Phase {
    /// The charger has not been accepted yet.
    #[default]
    Inoperative,
    /// No vehicle. The next one arrives at `until`; `None` = none arrives.
    Available { until: Option<TimestampUs> },
    /// Authorize is sent or queued.
    Authorizing(Start),
    /// A transaction runs.
    Charging(Session),
    /// The transaction has ended; the vehicle leaves at `at`.
    Finishing { at: TimestampUs },
}

/// The part of a running transaction that is lost in a power cut.
#[derive(Debug)]
struct Session {
    vehicle: Vehicle,
    started_at: TimestampUs,
    ends_at: Option<TimestampUs>,
    next_value_at: TimestampUs,
    metered_at: TimestampUs,
    values: u64,
}

impl Connector {
    pub(super) const fn is_charging(&self) -> bool {
        matches!(self.phase, Phase::Charging(_))
    }

    /// Whether there is no vehicle.
    pub(super) const fn is_free(&self) -> bool {
        matches!(self.phase, Phase::Available { .. })
    }

    /// When the running transaction started.
    pub(super) const fn charging_since(&self) -> Option<TimestampUs> {
        match &self.phase {
            Phase::Charging(session) => Some(session.started_at),
            _ => None,
        }
    }

    const fn status(&self) -> Status {
        match self.phase {
            Phase::Inoperative | Phase::Available { .. } => Status::Available,
            Phase::Authorizing(_) => Status::Preparing,
            Phase::Charging(_) => Status::Charging,
            Phase::Finishing { .. } => Status::Finishing,
        }
    }
}

/// Seconds that a vehicle stays after its transaction.
const FINISHING_S: f64 = 60.0;

impl Charger {
    /// Makes all connectors available, when the charger is first accepted after power-up.
    pub(super) fn start_connectors(&mut self, now: TimestampUs) {
        for connector in 0..self.connectors.len() {
            let until = self.next_arrival(now);
            self.connectors[connector].phase = Phase::Available { until };
            self.send_status(connector, now);
        }
    }

    /// Does what is due at the connectors.
    pub(super) fn drive_connectors(&mut self, now: TimestampUs) {
        if self.settings.scenario == Scenario::MeterFlood {
            self.flood(now);
        }
        for connector in 0..self.connectors.len() {
            self.drive_connector(connector, now);
        }
    }

    fn drive_connector(&mut self, connector: usize, now: TimestampUs) {
        let is_flood = self.settings.scenario == Scenario::MeterFlood;
        let draining = self.draining;
        match &mut self.connectors[connector].phase {
            Phase::Available { until: Some(at) } if *at <= now && !draining => {
                self.plug_in(connector, now);
            }
            Phase::Authorizing(_) if draining => self.make_available(connector, now),
            Phase::Charging(_) if draining => self.stop(connector, StopReason::Local, now),
            Phase::Charging(session) if !is_flood => {
                if session.vehicle.is_full() {
                    self.stop(connector, StopReason::EvDisconnected, now);
                } else if session.ends_at.is_some_and(|at| at <= now) {
                    self.stop(connector, StopReason::Local, now);
                } else if session.next_value_at <= now {
                    self.meter(connector, now);
                }
            }
            Phase::Finishing { at } if *at <= now || draining => {
                self.make_available(connector, now)
            }
            _ => {}
        }
    }

    /// The next step of the closed loop, once all messages are answered. The first connector charges by itself, the
    /// others after a remote start.
    fn flood(&mut self, now: TimestampUs) {
        for connector in 0..self.connectors.len() {
            if !self.queue.is_empty() || self.draining {
                return;
            }
            let done = self.flood_left == Some(0);
            match &self.connectors[connector].phase {
                Phase::Available { .. } if connector == 0 && !done && self.is_usable(0) => {
                    let start = Start::local(self.random_token());
                    self.begin(connector, start, now);
                }
                Phase::Charging(session) => {
                    let limit = self.settings.values_per_transaction;
                    if done || limit > 0 && session.values >= limit {
                        self.stop(connector, StopReason::Local, now);
                    } else if session.next_value_at <= now {
                        self.meter(connector, now);
                        self.flood_left = self.flood_left.map(|left| left.saturating_sub(1));
                    }
                }
                _ => {}
            }
        }
    }

    pub(super) fn connectors_deadline(&self) -> Option<TimestampUs> {
        if !self.is_operative || self.draining {
            return None;
        }
        let flood_waits = self.settings.scenario == Scenario::MeterFlood && !self.queue.is_empty();
        let due = self.connectors.iter().filter_map(|one| match &one.phase {
            Phase::Available { until } => *until,
            Phase::Charging(_) if flood_waits => None,
            Phase::Charging(session) => {
                let end = session.ends_at.unwrap_or(session.next_value_at);
                Some(end.min(session.next_value_at))
            }
            Phase::Finishing { at } => Some(*at),
            Phase::Inoperative | Phase::Authorizing(_) => None,
        });
        due.min()
    }

    /// A vehicle arrives, and its driver presents a token.
    fn plug_in(&mut self, connector: usize, now: TimestampUs) {
        if self.is_queue_full() || !self.is_usable(connector) {
            self.make_available(connector, now);
            return;
        }
        let start = Start::local(self.random_token());
        if !self.is_ready() {
            // Offline, every token is accepted.
            self.begin(connector, start, now);
            return;
        }
        self.authorize(connector, start, now);
    }

    /// Whether any driver may charge at the connector.
    fn is_usable(&self, connector: usize) -> bool {
        !self.state.connectors[connector].inoperative && !self.is_reserved(connector)
    }

    /// Asks the central system whether a token is accepted, before its transaction begins.
    pub(super) fn authorize(&mut self, connector: usize, start: Start, now: TimestampUs) {
        let text = payload::authorize(self.version, &start.token);
        self.connectors[connector].phase = Phase::Authorizing(start);
        self.send_status(connector, now);
        self.push_pending(Action::Authorize, text, number(connector), now);
    }

    /// Handles the answer to Authorize at `connector` (from 1).
    pub(super) fn token_answered(&mut self, connector: u8, is_accepted: bool, now: TimestampUs) {
        let connector = usize::from(connector).saturating_sub(1);
        let Phase::Authorizing(start) = &mut self.connectors[connector].phase else {
            return;
        };
        let start = std::mem::take(start);
        if is_accepted {
            self.begin(connector, start, now);
        } else {
            self.make_available(connector, now);
        }
    }

    /// Handles a missing answer to Authorize: the token is accepted if the connection was lost, else refused.
    pub(super) fn token_unanswered(
        &mut self,
        connector: u8,
        connection_lost: bool,
        now: TimestampUs,
    ) {
        let allowed = connection_lost && !self.draining && !self.is_queue_full();
        self.token_answered(connector, allowed, now);
    }

    /// Ends a transaction whose token was refused in the answer to its start.
    pub(super) fn token_refused(&mut self, transaction: u64, now: TimestampUs) {
        if let Some(connector) = self.connector_of(|open| open.number == transaction) {
            self.stop(connector, StopReason::DeAuthorized, now);
        }
    }

    /// The index of the connector at which a remote start with this token is possible. `connector` counts from 1.
    pub(super) fn can_start(&self, connector: Option<u8>, token: &str) -> Option<usize> {
        if !self.is_operative || self.draining || self.is_queue_full() {
            return None;
        }
        let is_possible = |index: usize| {
            self.connectors.get(index).is_some_and(Connector::is_free)
                && !self.state.connectors[index].inoperative
                && !self.is_reserved_for_other(index, token)
        };
        match connector {
            None => (0..self.connectors.len()).find(|&index| is_possible(index)),
            Some(number) => {
                let index = usize::from(number).checked_sub(1)?;
                is_possible(index).then_some(index)
            }
        }
    }

    /// The connector whose running transaction is `wanted`.
    pub(super) fn connector_of(&self, wanted: impl Fn(&OpenTransaction) -> bool) -> Option<usize> {
        (0..self.connectors.len()).find(|&connector| {
            let open = self.state.connectors[connector].transaction.as_ref();
            self.connectors[connector].is_charging() && open.is_some_and(&wanted)
        })
    }

    /// Starts a transaction. It uses the connector's reservation.
    pub(super) fn begin(&mut self, connector: usize, start: Start, now: TimestampUs) {
        let reservation_id = self.use_reservation(connector).or(start.reservation_id);
        self.state.last_transaction += 1;
        let id = match self.version {
            Version::V16 => String::new(),
            _ => self.transaction_id(),
        };
        self.state.connectors[connector].transaction = Some(OpenTransaction {
            number: self.state.last_transaction,
            id,
            token: start.token,
            next_seq_no: 0,
            remote_start_id: start.remote_start_id,
            reservation_id,
        });
        let is_flood = self.settings.scenario == Scenario::MeterFlood;
        let (ends_at, next_value_at) = if is_flood {
            (None, now.plus(self.settings.flood_gap))
        } else {
            // Uniform from 0.5 to 1.5 times the mean.
            let part = 0.5 + self.rng.f64();
            let length = self.settings.transaction_mean.mul_f64(part);
            (
                Some(now.plus(length)),
                now.plus(self.tunables.meter_interval),
            )
        };
        let session = Session {
            vehicle: Vehicle::random(&mut self.rng),
            started_at: now,
            ends_at,
            next_value_at,
            metered_at: now,
            values: 0,
        };
        self.transaction_message(connector, &session.vehicle, EventKind::Start, now);
        self.connectors[connector].phase = Phase::Charging(session);
        if !is_flood {
            self.send_status(connector, now);
        }
    }

    /// Queues a periodic meter value, unless the queue is full.
    fn meter(&mut self, connector: usize, now: TimestampUs) {
        self.queue_meter_value(connector, EventKind::Update, now);
    }

    /// Queues a meter value for a command that asks for it.
    pub(super) fn meter_triggered(&mut self, connector: usize, now: TimestampUs) {
        self.queue_meter_value(connector, EventKind::Triggered, now);
    }

    /// Queues the meter value of a connector for a command, outside of a transaction. Class T in 1.6, N in 2.x.
    pub(super) fn meter_idle(&mut self, connector: usize, now: TimestampUs) {
        let register_wh = self.state.connectors[connector].register_wh;
        let text = payload::idle_meter_values(self.version, number(connector), register_wh, now);
        match self.version {
            Version::V16 if self.is_queue_full() => {}
            Version::V16 => {
                let action = Action::MeterValues;
                let message =
                    self.message(action, text.into(), number(connector), None, Step::Within);
                self.enqueue(message);
            }
            _ => self.push_pending(Action::MeterValues, text, number(connector), now),
        }
    }

    fn queue_meter_value(&mut self, connector: usize, kind: EventKind, now: TimestampUs) {
        let gap = match self.settings.scenario {
            Scenario::MeterFlood => self.settings.flood_gap,
            Scenario::Steady | Scenario::Idle => self.tunables.meter_interval,
        };
        let is_full = self.is_queue_full();
        let Some(mut session) = self.take_session(connector) else {
            return;
        };
        session.next_value_at = now.plus(gap);
        if !is_full {
            session.values += 1;
            self.charge(connector, &mut session, now);
            self.transaction_message(connector, &session.vehicle, kind, now);
        }
        self.connectors[connector].phase = Phase::Charging(session);
    }

    /// Ends a transaction. Its end is queued even if the queue is full.
    pub(super) fn stop(&mut self, connector: usize, reason: StopReason, now: TimestampUs) {
        let Some(mut session) = self.take_session(connector) else {
            return;
        };
        self.charge(connector, &mut session, now);
        self.transaction_message(connector, &session.vehicle, EventKind::Stop(reason), now);
        self.forget_transaction_profiles(connector);
        if std::mem::take(&mut self.connectors[connector].becomes_inoperative) {
            self.state.connectors[connector].inoperative = true;
        }
        if self.settings.scenario == Scenario::MeterFlood {
            self.connectors[connector].phase = Phase::Available { until: None };
            return;
        }
        let at = now.plus(self.settings.scaled(FINISHING_S));
        self.connectors[connector].phase = Phase::Finishing { at };
        self.send_status(connector, now);
    }

    /// Ends the transactions that were running at the last power cut.
    pub(super) fn end_interrupted_transactions(&mut self, now: TimestampUs) {
        for connector in 0..self.connectors.len() {
            if self.state.connectors[connector].transaction.is_some() {
                let vehicle = Vehicle::random(&mut self.rng);
                self.transaction_message(
                    connector,
                    &vehicle,
                    EventKind::Stop(StopReason::PowerLoss),
                    now,
                );
            }
        }
    }

    /// Ends all running transactions.
    pub(super) fn stop_all_transactions(&mut self, reason: StopReason, now: TimestampUs) {
        for connector in 0..self.connectors.len() {
            self.stop(connector, reason, now);
        }
    }

    fn take_session(&mut self, connector: usize) -> Option<Session> {
        let phase = &mut self.connectors[connector].phase;
        match std::mem::take(phase) {
            Phase::Charging(session) => Some(session),
            other => {
                *phase = other;
                None
            }
        }
    }

    fn charge(&mut self, connector: usize, session: &mut Session, now: TimestampUs) {
        let seconds = now.since(session.metered_at).as_secs_f64() * self.settings.speed_up;
        session.metered_at = now;
        session.vehicle.allow(self.allowed_w(connector, now));
        self.state.connectors[connector].register_wh += session.vehicle.charge(seconds);
    }

    fn transaction_message(
        &mut self,
        connector: usize,
        vehicle: &Vehicle,
        kind: EventKind,
        now: TimestampUs,
    ) {
        let state = &mut self.state.connectors[connector];
        let reading = vehicle.read(state.register_wh, &mut self.rng);
        let Some(mut transaction) = state.transaction.take() else {
            return;
        };
        let event = Event {
            version: self.version,
            connector: number(connector),
            transaction: &transaction,
            reading: &reading,
            at: now,
        };
        let (draft, step, action) = match kind {
            EventKind::Start => (event.start(), Step::Start, Action::StartTransaction),
            EventKind::Update => (event.update(false), Step::Within, Action::MeterValues),
            EventKind::Triggered => (event.update(true), Step::Within, Action::MeterValues),
            EventKind::Stop(reason) => (event.stop(reason), Step::Stop, Action::StopTransaction),
        };
        let action = match self.version {
            Version::V16 => action,
            _ => Action::TransactionEvent,
        };
        let transaction_number = transaction.number;
        transaction.next_seq_no += 1;
        if step != Step::Stop {
            state.transaction = Some(transaction);
        }
        let message = self.message(
            action,
            draft,
            number(connector),
            Some(transaction_number),
            step,
        );
        self.enqueue(message);
    }

    fn make_available(&mut self, connector: usize, now: TimestampUs) {
        let until = self.next_arrival(now);
        self.connectors[connector].phase = Phase::Available { until };
        self.send_status(connector, now);
    }

    /// The status of a connector.
    pub(super) fn status_of(&self, connector: usize) -> Status {
        match self.connectors[connector].status() {
            Status::Available if self.state.connectors[connector].inoperative => {
                Status::Unavailable
            }
            Status::Available if self.is_reserved(connector) => Status::Reserved,
            status => status,
        }
    }

    /// Sends a connector's status, if it differs from the last one sent.
    pub(super) fn send_status(&mut self, connector: usize, now: TimestampUs) {
        let status = self.status_of(connector);
        let name = status.as_str(self.version);
        let can_send = self.is_ready() || self.settings.status_first;
        if self.connectors[connector].status_sent == Some(name) || !can_send {
            return;
        }
        self.connectors[connector].status_sent = Some(name);
        let text = payload::status(self.version, number(connector), status, now);
        self.push_pending(Action::StatusNotification, text, number(connector), now);
    }

    /// A StatusNotification got no answer. `connector` counts from 1.
    pub(super) fn status_lost(&mut self, connector: u8) {
        let index = usize::from(connector).checked_sub(1);
        if let Some(one) = index.and_then(|index| self.connectors.get_mut(index)) {
            one.status_sent = None;
        }
    }

    fn next_arrival(&mut self, now: TimestampUs) -> Option<TimestampUs> {
        let mean = self.settings.arrivals_mean?;
        // Exponentially distributed, with bounds.
        let factor = -(1.0 - self.rng.f64()).ln();
        let wait = mean.mul_f64(factor.clamp(0.01, 20.0));
        Some(now.plus(wait.max(Duration::from_millis(1))))
    }

    fn random_token(&mut self) -> String {
        let tokens = &self.settings.tokens;
        tokens[self.rng.usize(..tokens.len())].clone()
    }

    /// A version-4 UUID (rule Q-23: unique for the lifetime of the charger).
    fn transaction_id(&mut self) -> String {
        let bits = self.id_rng.u128(..);
        let bits = bits & !(0xf << 76) & !(0b11 << 62) | 4 << 76 | 0b10 << 62;
        let mut id = String::with_capacity(36);
        let hex = format!("{bits:032x}");
        for (i, part) in [0..8, 8..12, 12..16, 16..20, 20..32]
            .into_iter()
            .enumerate()
        {
            let dash = if i == 0 { "" } else { "-" };
            let _ = write!(id, "{dash}{}", &hex[part]);
        }
        id
    }
}

#[derive(Debug, Clone, Copy)]
enum EventKind {
    Start,
    Update,
    Triggered,
    Stop(StopReason),
}

/// The number of a connector in OCPP: from 1.
fn number(connector: usize) -> u8 {
    u8::try_from(connector + 1).unwrap_or(u8::MAX)
}
