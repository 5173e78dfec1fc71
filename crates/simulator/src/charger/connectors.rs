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
}

#[derive(Debug, Default)]
enum Phase {
    /// The charger has not been accepted yet.
    #[default]
    Inoperative,
    /// No vehicle. The next one arrives at `until`; `None` = none arrives.
    Available { until: Option<TimestampUs> },
    /// Authorize is sent or queued.
    Authorizing { token: String },
    /// A transaction runs.
    Charging(Session),
    /// The transaction has ended; the vehicle leaves at `at`.
    Finishing { at: TimestampUs },
}

/// The part of a running transaction that is lost in a power cut.
#[derive(Debug)]
struct Session {
    vehicle: Vehicle,
    ends_at: Option<TimestampUs>,
    next_value_at: TimestampUs,
    metered_at: TimestampUs,
    values: u64,
}

impl Connector {
    pub(super) const fn is_charging(&self) -> bool {
        matches!(self.phase, Phase::Charging(_))
    }

    const fn status(&self) -> Status {
        match self.phase {
            Phase::Inoperative | Phase::Available { .. } => Status::Available,
            Phase::Authorizing { .. } => Status::Preparing,
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
            Phase::Authorizing { .. } if draining => self.make_available(connector, now),
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
                Phase::Available { .. } if connector == 0 && !done => {
                    let token = self.random_token();
                    self.begin(connector, token, None, now);
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
            Phase::Inoperative | Phase::Authorizing { .. } => None,
        });
        due.min()
    }

    /// A vehicle arrives, and its driver presents a token.
    fn plug_in(&mut self, connector: usize, now: TimestampUs) {
        if self.is_queue_full() {
            self.make_available(connector, now);
            return;
        }
        let token = self.random_token();
        if !self.is_ready() {
            // Offline, every token is accepted.
            self.begin(connector, token, None, now);
            return;
        }
        let text = payload::authorize(self.version, &token);
        self.connectors[connector].phase = Phase::Authorizing { token };
        self.send_status(connector, now);
        self.push_pending(Action::Authorize, text, number(connector), now);
    }

    /// Handles the answer to Authorize at `connector` (from 1).
    pub(super) fn token_answered(&mut self, connector: u8, is_accepted: bool, now: TimestampUs) {
        let connector = usize::from(connector).saturating_sub(1);
        let Phase::Authorizing { token } = &mut self.connectors[connector].phase else {
            return;
        };
        let token = std::mem::take(token);
        if is_accepted {
            self.begin(connector, token, None, now);
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

    /// The index of the connector at which a remote start is possible. `connector` counts from 1.
    pub(super) fn can_start(&self, connector: Option<u8>) -> Option<usize> {
        if !self.is_operative || self.draining || self.is_queue_full() {
            return None;
        }
        let is_free = |one: &Connector| matches!(one.phase, Phase::Available { .. });
        match connector {
            None => self.connectors.iter().position(is_free),
            Some(number) => {
                let index = usize::from(number).checked_sub(1)?;
                self.connectors.get(index).filter(|one| is_free(one))?;
                Some(index)
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

    /// Starts a transaction.
    pub(super) fn begin(
        &mut self,
        connector: usize,
        token: String,
        remote_start_id: Option<i64>,
        now: TimestampUs,
    ) {
        self.state.last_transaction += 1;
        let id = match self.version {
            Version::V16 => String::new(),
            _ => self.transaction_id(),
        };
        self.state.connectors[connector].transaction = Some(OpenTransaction {
            number: self.state.last_transaction,
            id,
            token,
            next_seq_no: 0,
            remote_start_id,
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

    /// Queues a meter value, unless the queue is full.
    pub(super) fn meter(&mut self, connector: usize, now: TimestampUs) {
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
            self.transaction_message(connector, &session.vehicle, EventKind::Update, now);
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

    /// Ends all running transactions for a reset.
    pub(super) fn stop_for_reset(&mut self, now: TimestampUs) {
        for connector in 0..self.connectors.len() {
            self.stop(connector, StopReason::SoftReset, now);
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
            EventKind::Update => (event.update(), Step::Within, Action::MeterValues),
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

    /// Sends a connector's status, if it differs from the last one sent.
    pub(super) fn send_status(&mut self, connector: usize, now: TimestampUs) {
        let status = self.connectors[connector].status();
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
    Stop(StopReason),
}

/// The number of a connector in OCPP: from 1.
fn number(connector: usize) -> u8 {
    u8::try_from(connector + 1).unwrap_or(u8::MAX)
}
