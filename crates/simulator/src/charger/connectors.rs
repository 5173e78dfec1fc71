//! What happens at a charger's connectors: cars come, charge and leave (or, in a flood, one car
//! charges for ever). Life only makes messages; when they are sent is decided elsewhere.

use super::Charger;
use super::message::{Action, OpenTransaction, Step};
use super::payload::{self, Event, Status, StopReason};
use super::vehicle::Car;
use crate::config::Scenario;
use crate::timestamp::Moment;
use ocpp::Version;
use std::fmt::Write as _;
use std::time::Duration;

/// A place to charge.
#[derive(Debug, Default)]
pub(super) struct Connector {
    phase: Phase,
    /// The status that the central system was told last.
    pub(super) status_told: Option<&'static str>,
}

#[derive(Debug, Default)]
enum Phase {
    /// Not in operation before the charger is accepted.
    #[default]
    Closed,
    /// Nobody is here until then; `None` = nobody comes by itself.
    Free { until: Option<Moment> },
    /// The central system is asked about a token.
    Asking { token: String },
    /// A transaction runs.
    Charging(Session),
    /// The car leaves then.
    Leaving { at: Moment },
}

/// The part of a running transaction that a power cut forgets.
#[derive(Debug)]
struct Session {
    car: Car,
    ends_at: Option<Moment>,
    next_value_at: Moment,
    metered_at: Moment,
    values: u64,
}

impl Connector {
    pub(super) const fn is_charging(&self) -> bool {
        matches!(self.phase, Phase::Charging(_))
    }

    const fn status(&self) -> Status {
        match self.phase {
            Phase::Closed | Phase::Free { .. } => Status::Available,
            Phase::Asking { .. } => Status::Preparing,
            Phase::Charging(_) => Status::Charging,
            Phase::Leaving { .. } => Status::Finishing,
        }
    }
}

/// How long a car stays after its transaction.
const LEAVING_S: f64 = 60.0;

impl Charger {
    /// Accepted for the first time since power-up.
    pub(super) fn begin_life(&mut self, now: Moment) {
        for connector in 0..self.connectors.len() {
            let until = self.next_car(now);
            self.connectors[connector].phase = Phase::Free { until };
            self.tell_status(connector, now);
        }
    }

    /// Everything that is due at the connectors.
    pub(super) fn live(&mut self, now: Moment) {
        if self.settings.scenario == Scenario::MeterFlood {
            self.flood(now);
        }
        for connector in 0..self.connectors.len() {
            self.live_at(connector, now);
        }
    }

    fn live_at(&mut self, connector: usize, now: Moment) {
        let is_flood = self.settings.scenario == Scenario::MeterFlood;
        let finishing = self.finishing;
        match &mut self.connectors[connector].phase {
            Phase::Free { until: Some(at) } if *at <= now && !finishing => {
                self.car_comes(connector, now);
            }
            Phase::Asking { .. } if finishing => self.set_free(connector, now),
            Phase::Charging(_) if finishing => self.stop(connector, StopReason::Local, now),
            Phase::Charging(session) if !is_flood => {
                if session.car.is_full() {
                    self.stop(connector, StopReason::EvDisconnected, now);
                } else if session.ends_at.is_some_and(|at| at <= now) {
                    self.stop(connector, StopReason::Local, now);
                } else if session.next_value_at <= now {
                    self.meter(connector, now);
                }
            }
            Phase::Leaving { at } if *at <= now || finishing => self.set_free(connector, now),
            _ => {}
        }
    }

    /// The next turn of a closed loop: only when everything before is answered. The first connector
    /// charges by itself, others if asked from afar.
    fn flood(&mut self, now: Moment) {
        for connector in 0..self.connectors.len() {
            if !self.queue.is_empty() || self.finishing {
                return;
            }
            let done = self.flood_left == Some(0);
            match &self.connectors[connector].phase {
                Phase::Free { .. } if connector == 0 && !done => {
                    let token = self.some_token();
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

    pub(super) fn life_due(&self) -> Option<Moment> {
        if !self.living || self.finishing {
            return None;
        }
        let flood_waits = self.settings.scenario == Scenario::MeterFlood && !self.queue.is_empty();
        let due = self.connectors.iter().filter_map(|one| match &one.phase {
            Phase::Free { until } => *until,
            Phase::Charging(_) if flood_waits => None,
            Phase::Charging(session) => {
                let end = session.ends_at.unwrap_or(session.next_value_at);
                Some(end.min(session.next_value_at))
            }
            Phase::Leaving { at } => Some(*at),
            Phase::Closed | Phase::Asking { .. } => None,
        });
        due.min()
    }

    /// A car arrives; its driver presents a token.
    fn car_comes(&mut self, connector: usize, now: Moment) {
        if self.is_queue_full() {
            self.set_free(connector, now);
            return;
        }
        let token = self.some_token();
        if !self.is_ready() {
            // Offline: the charger trusts what it cannot ask about.
            self.begin(connector, token, None, now);
            return;
        }
        let text = payload::authorize(self.version, &token);
        self.connectors[connector].phase = Phase::Asking { token };
        self.tell_status(connector, now);
        self.say(Action::Authorize, text, number(connector), now);
    }

    /// The central system has answered about the token at `connector` (from 1).
    pub(super) fn token_answered(&mut self, connector: u8, is_accepted: bool, now: Moment) {
        let connector = usize::from(connector).saturating_sub(1);
        let Phase::Asking { token } = &mut self.connectors[connector].phase else {
            return;
        };
        let token = std::mem::take(token);
        if is_accepted {
            self.begin(connector, token, None, now);
        } else {
            self.set_free(connector, now);
        }
    }

    /// No answer about a token: with the line closed the charger decides alone, with the line open
    /// the driver is refused.
    pub(super) fn token_unanswered(&mut self, connector: u8, line_lost: bool, now: Moment) {
        let allowed = line_lost && !self.finishing && !self.is_queue_full();
        self.token_answered(connector, allowed, now);
    }

    /// The answer to a transaction's start does not accept its token: it ends.
    pub(super) fn token_refused(&mut self, transaction: u64, now: Moment) {
        if let Some(connector) = self.connector_of(|open| open.number == transaction) {
            self.stop(connector, StopReason::DeAuthorized, now);
        }
    }

    /// Asked from afar to begin; `connector` counts from 1. Returns whether it will.
    pub(super) fn can_start(&self, connector: Option<u8>) -> Option<usize> {
        if !self.living || self.finishing || self.is_queue_full() {
            return None;
        }
        let is_free = |one: &Connector| matches!(one.phase, Phase::Free { .. });
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
            let open = self.memory.connectors[connector].transaction.as_ref();
            self.connectors[connector].is_charging() && open.is_some_and(&wanted)
        })
    }

    /// A transaction begins.
    pub(super) fn begin(
        &mut self,
        connector: usize,
        token: String,
        remote_start_id: Option<i64>,
        now: Moment,
    ) {
        self.memory.last_transaction += 1;
        let id = match self.version {
            Version::V16 => String::new(),
            _ => self.transaction_id(),
        };
        self.memory.connectors[connector].transaction = Some(OpenTransaction {
            number: self.memory.last_transaction,
            id,
            token,
            next_seq_no: 0,
            remote_start_id,
        });
        let is_flood = self.settings.scenario == Scenario::MeterFlood;
        let (ends_at, next_value_at) = if is_flood {
            (None, now.plus(self.settings.flood_gap))
        } else {
            // Between a half and one and a half of the mean.
            let part = 0.5 + self.dice.f64();
            let length = self.settings.transaction_mean.mul_f64(part);
            (
                Some(now.plus(length)),
                now.plus(self.tunables.meter_interval),
            )
        };
        let session = Session {
            car: Car::roll(&mut self.dice),
            ends_at,
            next_value_at,
            metered_at: now,
            values: 0,
        };
        self.transaction_message(connector, &session.car, What::Start, now);
        self.connectors[connector].phase = Phase::Charging(session);
        if !is_flood {
            self.tell_status(connector, now);
        }
    }

    /// A meter value is taken, unless the queue is full.
    pub(super) fn meter(&mut self, connector: usize, now: Moment) {
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
            self.transaction_message(connector, &session.car, What::Update, now);
        }
        self.connectors[connector].phase = Phase::Charging(session);
    }

    /// A transaction ends. A full queue does not keep it from being told.
    pub(super) fn stop(&mut self, connector: usize, reason: StopReason, now: Moment) {
        let Some(mut session) = self.take_session(connector) else {
            return;
        };
        self.charge(connector, &mut session, now);
        self.transaction_message(connector, &session.car, What::Stop(reason), now);
        if self.settings.scenario == Scenario::MeterFlood {
            self.connectors[connector].phase = Phase::Free { until: None };
            return;
        }
        let at = now.plus(self.settings.hurried(LEAVING_S));
        self.connectors[connector].phase = Phase::Leaving { at };
        self.tell_status(connector, now);
    }

    /// The transactions that ran when the power was cut end now.
    pub(super) fn end_transactions_of_before(&mut self, now: Moment) {
        for connector in 0..self.connectors.len() {
            if self.memory.connectors[connector].transaction.is_some() {
                let car = Car::roll(&mut self.dice);
                self.transaction_message(connector, &car, What::Stop(StopReason::PowerLoss), now);
            }
        }
    }

    /// All running transactions end, because the charger is reset.
    pub(super) fn stop_for_reset(&mut self, now: Moment) {
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

    fn charge(&mut self, connector: usize, session: &mut Session, now: Moment) {
        let seconds = now.since(session.metered_at).as_secs_f64() * self.settings.speed_up;
        session.metered_at = now;
        self.memory.connectors[connector].register_wh += session.car.charge(seconds);
    }

    fn transaction_message(&mut self, connector: usize, car: &Car, what: What, now: Moment) {
        let memory = &mut self.memory.connectors[connector];
        let reading = car.read(memory.register_wh, &mut self.dice);
        let Some(mut transaction) = memory.transaction.take() else {
            return;
        };
        let event = Event {
            version: self.version,
            connector: number(connector),
            transaction: &transaction,
            reading: &reading,
            at: now,
        };
        let (draft, step, action) = match what {
            What::Start => (event.start(), Step::Start, Action::StartTransaction),
            What::Update => (event.update(), Step::Within, Action::MeterValues),
            What::Stop(reason) => (event.stop(reason), Step::Stop, Action::StopTransaction),
        };
        let action = match self.version {
            Version::V16 => action,
            _ => Action::TransactionEvent,
        };
        let transaction_number = transaction.number;
        transaction.next_seq_no += 1;
        if step != Step::Stop {
            memory.transaction = Some(transaction);
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

    fn set_free(&mut self, connector: usize, now: Moment) {
        let until = self.next_car(now);
        self.connectors[connector].phase = Phase::Free { until };
        self.tell_status(connector, now);
    }

    /// Tells the central system a connector's status, if it has changed since it was told.
    pub(super) fn tell_status(&mut self, connector: usize, now: Moment) {
        let status = self.connectors[connector].status();
        let name = status.as_str(self.version);
        let can_tell = self.is_ready() || self.settings.status_overtakes;
        if self.connectors[connector].status_told == Some(name) || !can_tell {
            return;
        }
        self.connectors[connector].status_told = Some(name);
        let text = payload::status(self.version, number(connector), status, now);
        self.say(Action::StatusNotification, text, number(connector), now);
    }

    /// A status never arrived, so far as we know; `connector` counts from 1.
    pub(super) fn status_lost(&mut self, connector: u8) {
        let index = usize::from(connector).checked_sub(1);
        if let Some(one) = index.and_then(|index| self.connectors.get_mut(index)) {
            one.status_told = None;
        }
    }

    fn next_car(&mut self, now: Moment) -> Option<Moment> {
        let mean = self.settings.arrivals_mean?;
        // Exponential, but not so short that a connector never rests.
        let draw = -(1.0 - self.dice.f64()).ln();
        let wait = mean.mul_f64(draw.clamp(0.01, 20.0));
        Some(now.plus(wait.max(Duration::from_millis(1))))
    }

    fn some_token(&mut self) -> String {
        let tokens = &self.settings.tokens;
        tokens[self.dice.usize(..tokens.len())].clone()
    }

    /// A version-4 UUID, from our own dice (rule Q-23: unique for the life of the charger).
    fn transaction_id(&mut self) -> String {
        let bits = self.id_dice.u128(..);
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
enum What {
    Start,
    Update,
    Stop(StopReason),
}

/// Connectors are numbered from 1.
fn number(connector: usize) -> u8 {
    u8::try_from(connector + 1).unwrap_or(u8::MAX)
}
