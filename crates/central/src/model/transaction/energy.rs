//! The energy of a session, decided in one place for all versions of OCPP.
//!
//! Chargers write 0 or -1 where they do not know a register, restart their meters, mix kWh and Wh, and send registers of
//! the session beside registers of the meter's life. The result may be billed, so it says which registers it used, what
//! is doubtful, and how far it can be trusted. A known energy never becomes unknown because of further messages.

use super::readings::{Readings, is_placeholder};
use crate::Timestamp;
use serde::Serialize;
use std::borrow::Cow;

/// No connector delivers more on average, in watts. A register that rises faster is wrong.
const POWER_MAX_W: f64 = 1_000_000.0;
/// A rise of at most this many watt-hours is accepted even between two readings of the same time.
const JUMP_FREE_WH: f64 = 1_000.0;
/// If a register was 0 at the start of a session, its first reading is below this, in watt-hours.
const FIRST_READING_MAX_WH: f64 = 100_000.0;
/// Two registers that differ by less are equal, in watt-hours: chargers round to 10 or 100 Wh.
const ROUNDING_WH: f64 = 100.0;
/// Readings are converted from kWh only if the start's register is at least this, in watt-hours.
const UNIT_TRIED_FROM_WH: f64 = 10_000.0;
const MILLIS_PER_HOUR: f64 = 3_600_000.0;
/// Watt-hours in a kilowatt-hour.
const KILO: f64 = 1_000.0;

/// Where a register of a session comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RegisterSource {
    /// The message that starts the session: `meterStart` (1.6), the readings of `Started` (2.x).
    Start,
    /// The message that ends the session: `meterStop` (1.6), the readings of `Ended` (2.x).
    Stop,
    /// A reading with context `Transaction.Begin`.
    TransactionBegin,
    /// A reading with context `Transaction.End`.
    TransactionEnd,
    /// The first reading of the session.
    FirstReading,
    /// The last reading of the session.
    LastReading,
    /// The highest reading of the session.
    HighestReading,
    /// The register counts the session itself, so it begins at 0.
    SessionRegister,
}

/// What is doubtful about a session's energy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EnergyCheck {
    /// No register of the start is known: what was charged before the first reading is not counted.
    MissingStart,
    /// The register of the end is missing or cannot be used; a reading took its place.
    MissingStop,
    /// A register is 0, less, or the largest number of 32 bits because the charger did not know it.
    PlaceholderZero,
    /// A register is lower than an earlier one.
    WentBackwards,
    /// The register rose faster than any connector delivers.
    ImplausibleJump,
    /// The readings count from 0 in each session, and the start has the meter's register.
    SessionRegister,
    /// One register is written in kWh and declared as Wh.
    UnitMixed,
    /// Only signed registers arrived, which are kept and not read.
    SignedOnly,
    /// The session ended without any register.
    NoReadings,
    /// The session has no stop; it was closed by a rule or by a person.
    ClosedWithoutStop,
}

impl EnergyCheck {
    /// All checks.
    pub const ALL: [Self; 10] = [
        Self::MissingStart,
        Self::MissingStop,
        Self::PlaceholderZero,
        Self::WentBackwards,
        Self::ImplausibleJump,
        Self::SessionRegister,
        Self::UnitMixed,
        Self::SignedOnly,
        Self::NoReadings,
        Self::ClosedWithoutStop,
    ];

    /// The code in JSON and CSV.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::MissingStart => "missing_start",
            Self::MissingStop => "missing_stop",
            Self::PlaceholderZero => "placeholder_zero",
            Self::WentBackwards => "went_backwards",
            Self::ImplausibleJump => "implausible_jump",
            Self::SessionRegister => "session_register",
            Self::UnitMixed => "unit_mixed",
            Self::SignedOnly => "signed_only",
            Self::NoReadings => "no_readings",
            Self::ClosedWithoutStop => "closed_without_stop",
        }
    }

    /// What an operator can do about it.
    #[must_use]
    pub const fn cure(self) -> &'static str {
        match self {
            Self::MissingStart => {
                "The energy counts from the first reading. Wait for the start message, which may still be in the charger's queue, or let the charger send Transaction.Begin readings."
            }
            Self::MissingStop => {
                "The energy counts up to the last usable reading. Compare it with the register on the charger's meter."
            }
            Self::PlaceholderZero => {
                "The charger wrote a placeholder (0, less, or the largest number of 32 bits) instead of its register, and a reading took its place. Compare with the meter, and report it to the vendor."
            }
            Self::WentBackwards => {
                "The register fell during the session. Compare with the meter before billing."
            }
            Self::ImplausibleJump => {
                "The register rose faster than a connector can deliver. Compare with the meter; do not bill this figure unchecked."
            }
            Self::SessionRegister => {
                "The readings count from 0 for each session while the start has the meter's register. Set the charger to send one of the two."
            }
            Self::UnitMixed => {
                "One register is in kWh and declared as Wh; it was converted. Correct the unit in the charger's configuration."
            }
            Self::SignedOnly => {
                "Read the signed values with a transparency tool, or let the charger send Raw readings beside them."
            }
            Self::NoReadings => {
                "Let the charger send Energy.Active.Import.Register at the start and the end of a transaction."
            }
            Self::ClosedWithoutStop => {
                "The charger has not reported the end; the energy counts up to its last reading. Compare it with the meter. If the stop still arrives, it replaces this figure."
            }
        }
    }
}

impl Serialize for EnergyCheck {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut check = serializer.serialize_struct("EnergyCheck", 2)?;
        check.serialize_field("code", self.code())?;
        check.serialize_field("cure", self.cure())?;
        check.end()
    }
}

/// How far a session's energy can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// It has ended, and the registers of its start and end agree with its readings.
    Final,
    /// It is open, and nothing is doubtful so far.
    Running,
    /// At least one check applies.
    Doubtful,
}

/// One end of a session, as its message reports it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct SessionEnd {
    /// The charger's time, if its clock was set.
    pub(crate) at: Option<Timestamp>,
    /// The register, in watt-hours.
    pub(crate) register_wh: Option<f64>,
}

impl SessionEnd {
    /// With the one placeholder -1 for all registers that are not known.
    fn known(self) -> Self {
        let register_wh = self
            .register_wh
            .map(|wh| if is_placeholder(wh) { -1.0 } else { wh });
        Self {
            register_wh,
            ..self
        }
    }
}

/// The energy of a session and how it was derived.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Energy {
    /// The register at the start, in watt-hours.
    pub(crate) start_wh: Option<f64>,
    /// The register at the end or, while the session is open, the last one; in watt-hours.
    pub(crate) end_wh: Option<f64>,
    /// What was charged, in watt-hours; never negative.
    pub(crate) energy_wh: Option<f64>,
    /// Where the register of the start comes from.
    pub(crate) from: Option<RegisterSource>,
    /// Where the register of the end comes from.
    pub(crate) to: Option<RegisterSource>,
    /// What is doubtful, sorted, each once.
    pub(crate) checks: Vec<EnergyCheck>,
    /// `None` = the energy is unknown.
    pub(crate) confidence: Option<Confidence>,
}

/// A register with its origin.
#[derive(Debug, Clone, Copy)]
struct Register {
    wh: f64,
    at: Option<Timestamp>,
    source: RegisterSource,
}

impl Energy {
    /// Derives the energy. `start` and `stop` are `None` while their messages have not arrived; `is_closed`: the session
    /// counts as ended although its stop has not arrived.
    pub(crate) fn derive(
        start: Option<SessionEnd>,
        stop: Option<SessionEnd>,
        readings: &Readings,
        is_closed: bool,
    ) -> Self {
        let (start, stop) = (start.map(SessionEnd::known), stop.map(SessionEnd::known));
        let is_closed = is_closed && stop.is_none();
        let mut derivation = Derivation {
            start,
            stop,
            readings: Cow::Borrowed(readings),
            is_dated: start.is_none_or(|start| start.at.is_some())
                && stop.is_none_or(|stop| stop.at.is_some()),
            checks: Vec::new(),
        };
        let mut energy = derivation.run();
        let mut checks = derivation.checks;
        if (stop.is_some() || is_closed) && energy.energy_wh.is_none() {
            checks.push(EnergyCheck::NoReadings);
        }
        if is_closed {
            checks.push(EnergyCheck::ClosedWithoutStop);
        }
        let is_signed_only = !readings.signed.is_empty() && readings.has_no_register();
        if is_signed_only && energy.energy_wh.is_none() {
            checks.push(EnergyCheck::SignedOnly);
        }
        checks.sort_unstable();
        checks.dedup();
        energy.confidence = energy.energy_wh.map(|_| {
            if !checks.is_empty() {
                Confidence::Doubtful
            } else if stop.is_some() {
                Confidence::Final
            } else {
                Confidence::Running
            }
        });
        energy.checks = checks;
        energy
    }
}

struct Derivation<'a> {
    start: Option<SessionEnd>,
    stop: Option<SessionEnd>,
    readings: Cow<'a, Readings>,
    /// Whether the time between readings is known: the charger's clock was set.
    is_dated: bool,
    checks: Vec<EnergyCheck>,
}

impl Derivation<'_> {
    fn run(&mut self) -> Energy {
        let Some(start) = self.start_register() else {
            return Energy {
                end_wh: self.stop.and_then(|stop| positive(stop.register_wh)),
                ..Energy::default()
            };
        };
        let start = self.in_one_unit(start);
        let (start, end) = match self.end_register(start) {
            Some(end) => (start, Some(end)),
            None => self.session_register(start),
        };
        if let Some(end) = end
            && self.is_too_fast(start, end)
        {
            self.checks.push(EnergyCheck::ImplausibleJump);
        }
        let stop_wh = || self.stop.and_then(|stop| positive(stop.register_wh));
        Energy {
            start_wh: Some(start.wh),
            end_wh: end.map(|end| end.wh).or_else(stop_wh),
            energy_wh: end.map(|end| end.wh - start.wh),
            from: Some(start.source),
            to: end.map(|end| end.source),
            checks: Vec::new(),
            confidence: None,
        }
    }

    /// The register at the start: the start's own, else `Transaction.Begin`, else the first reading.
    fn start_register(&mut self) -> Option<Register> {
        let at = self.start.and_then(|start| start.at);
        let own = self.start.and_then(|start| start.register_wh);
        let begin = self.reading(&self.readings.begin, RegisterSource::TransactionBegin);
        let first = self.reading(&self.readings.first, RegisterSource::FirstReading);
        if let Some(wh) = positive(own) {
            return Some(Register {
                wh,
                at,
                source: RegisterSource::Start,
            });
        }
        if begin.is_some() {
            if own.is_some() {
                self.checks.push(EnergyCheck::PlaceholderZero);
            }
            return begin;
        }
        let zero = match (own, self.readings.first_zero.stamp()) {
            (Some(0.0), _) => Some(Register {
                wh: 0.0,
                at,
                source: RegisterSource::Start,
            }),
            (_, Some(stamp)) if self.is_before_first(stamp.at) => Some(Register {
                wh: 0.0,
                at: Some(stamp.at),
                source: RegisterSource::FirstReading,
            }),
            _ => None,
        };
        if own.is_some_and(|own| own < 0.0) {
            self.checks.push(EnergyCheck::PlaceholderZero);
        }
        let is_placeholder = |zero: Register| {
            first.is_some_and(|first| {
                first.wh >= FIRST_READING_MAX_WH || self.is_too_fast(zero, first)
            })
        };
        match zero {
            Some(zero) if !is_placeholder(zero) => {
                if zero.source == RegisterSource::FirstReading {
                    self.checks.push(EnergyCheck::MissingStart);
                }
                Some(zero)
            }
            Some(_) => {
                self.checks.push(EnergyCheck::PlaceholderZero);
                first
            }
            None => {
                if first.is_some() {
                    self.checks.push(EnergyCheck::MissingStart);
                }
                first
            }
        }
    }

    /// The stop's own register, if it is above 0.
    fn stop_register(&self) -> Option<Register> {
        let stop = self.stop?;
        Some(Register {
            wh: positive(stop.register_wh)?,
            at: stop.at,
            source: RegisterSource::Stop,
        })
    }

    fn is_before_first(&self, at: Timestamp) -> bool {
        self.readings
            .first
            .stamp()
            .is_none_or(|first| at <= first.at)
    }

    /// Converts kWh that were declared as Wh: the start's register if the first reading is far above it, the readings if
    /// the first one is far below it. It does so only if the two are close to each other after the conversion.
    fn in_one_unit(&mut self, start: Register) -> Register {
        if start.source != RegisterSource::Start {
            return start;
        }
        let first = self.reading(&self.readings.first, RegisterSource::FirstReading);
        let Some(later) = first.or_else(|| self.stop_register()) else {
            return start;
        };
        let converted = start.wh * KILO;
        let rises_too_much = first.is_some_and(|first| first.wh - start.wh >= FIRST_READING_MAX_WH)
            || self.is_too_fast(start, later);
        if start.wh > 0.0 && rises_too_much && can_be_one_meter(converted, later.wh) {
            self.checks.push(EnergyCheck::UnitMixed);
            return Register {
                // It was rounded to whole kWh, so it may be above the later register by less than 1 kWh.
                wh: converted.min(later.wh),
                ..start
            };
        }
        let Some(first) = first else {
            return start;
        };
        let is_small = start.wh >= UNIT_TRIED_FROM_WH && first.wh < start.wh / 100.0;
        if is_small && can_be_one_meter(start.wh, first.wh * KILO) {
            self.checks.push(EnergyCheck::UnitMixed);
            self.readings = Cow::Owned(self.readings.scaled(KILO));
            return Register {
                wh: start.wh.min(first.wh * KILO),
                ..start
            };
        }
        start
    }

    /// The register at the end, at or above `start`: the stop's own, else `Transaction.End`, else
    /// [`Self::best_reading`].
    fn end_register(&mut self, start: Register) -> Option<Register> {
        let own = self.stop.and_then(|stop| stop.register_wh);
        let highest = self.readings.highest_wh();
        let is_at_or_above = |wh: f64| wh >= start.wh;
        let fell = self
            .readings
            .last
            .get()
            .zip(highest)
            .is_some_and(|(last, highest)| *last + ROUNDING_WH < highest)
            || self.fell_to_zero();
        if fell {
            self.checks.push(EnergyCheck::WentBackwards);
        }
        if let Some(wh) = own {
            let is_zero_start_and_end = wh == 0.0
                && start.wh == 0.0
                && start.source == RegisterSource::Start
                && highest.is_none();
            if (wh > 0.0 && is_at_or_above(wh)) || is_zero_start_and_end {
                if highest.is_some_and(|highest| highest > wh + ROUNDING_WH) {
                    self.checks.push(EnergyCheck::WentBackwards);
                }
                return Some(Register {
                    wh,
                    at: self.stop.and_then(|stop| stop.at),
                    source: RegisterSource::Stop,
                });
            }
            let counts_session = highest.is_some_and(|wh| !is_at_or_above(wh))
                || !self.readings.first_zero.is_empty();
            if let Some(wh) = stop_in_kwh(start, wh).filter(|_| !counts_session) {
                self.checks.push(EnergyCheck::UnitMixed);
                return Some(Register {
                    wh,
                    at: self.stop.and_then(|stop| stop.at),
                    source: RegisterSource::Stop,
                });
            }
            self.checks.push(if wh <= 0.0 {
                EnergyCheck::PlaceholderZero
            } else {
                EnergyCheck::WentBackwards
            });
        }
        let end = self.reading(&self.readings.end, RegisterSource::TransactionEnd);
        if let Some(end) = end.filter(|end| is_at_or_above(end.wh)) {
            return Some(end);
        }
        let reading = self.best_reading(start)?;
        if self.stop.is_some() {
            self.checks.push(EnergyCheck::MissingStop);
        }
        Some(reading)
    }

    /// The last reading at or above `start`. If the highest one is above the last and did not rise too fast, the highest.
    fn best_reading(&self, start: Register) -> Option<Register> {
        let last = self.reading(&self.readings.last, RegisterSource::LastReading);
        let highest = self.readings.highest_wh().map(|wh| Register {
            wh,
            at: self.readings.highest_at(),
            source: RegisterSource::HighestReading,
        });
        let usable = |register: &Register| register.wh >= start.wh;
        let (last, highest) = (last.filter(usable), highest.filter(usable));
        match (last, highest) {
            (Some(last), Some(highest))
                if highest.wh > last.wh && !self.is_too_fast(start, highest) =>
            {
                Some(highest)
            }
            (Some(last), _) => Some(last),
            (None, highest) => highest,
        }
    }

    /// The registers of start and end where every register after the start is below it: these registers count the
    /// session, or the meter was exchanged.
    fn session_register(&mut self, start: Register) -> (Register, Option<Register>) {
        let stop_wh = positive(self.stop.and_then(|stop| stop.register_wh));
        let has_zero = !self.readings.first_zero.is_empty();
        let highest = self.readings.highest_wh();
        let Some(end_wh) = (match (highest, stop_wh) {
            (Some(highest), Some(stop_wh)) => Some(stop_wh.max(highest)),
            (Some(highest), None) => Some(highest),
            (None, stop_wh) => stop_wh.filter(|_| has_zero),
        }) else {
            return (start, None);
        };
        let first_wh = self.readings.first.get().copied().unwrap_or(end_wh);
        let counts_session = end_wh < FIRST_READING_MAX_WH && end_wh < start.wh - end_wh;
        self.checks.push(EnergyCheck::SessionRegister);
        let (begin_wh, source) = if counts_session || has_zero {
            (0.0, RegisterSource::SessionRegister)
        } else {
            (first_wh.min(end_wh), RegisterSource::FirstReading)
        };
        let begin = Register {
            wh: begin_wh,
            source,
            ..start
        };
        let source = if stop_wh == Some(end_wh) {
            RegisterSource::Stop
        } else {
            RegisterSource::HighestReading
        };
        let end = Register {
            wh: end_wh,
            at: self.readings.highest_at(),
            source,
        };
        (begin, Some(end))
    }

    /// Whether a register of 0 came after the last one above 0.
    fn fell_to_zero(&self) -> bool {
        let zero = self.readings.last_zero.stamp();
        zero.zip(self.readings.last.stamp())
            .is_some_and(|(zero, last)| zero > last)
    }

    /// Whether more lies between two registers than a connector can deliver. Never where the time is unknown:
    /// the clock was not set, or it was put back in between.
    fn is_too_fast(&self, from: Register, to: Register) -> bool {
        let (Some(from_at), Some(to_at), true) = (from.at, to.at, self.is_dated) else {
            return false;
        };
        let millis = to_at.as_millis().saturating_sub(from_at.as_millis());
        millis >= 0 && to.wh - from.wh > JUMP_FREE_WH + POWER_MAX_W * hours(millis)
    }

    fn reading<R: Held>(&self, register: &R, source: RegisterSource) -> Option<Register> {
        register.held().map(|(at, wh)| Register {
            wh,
            at: Some(at),
            source,
        })
    }
}

/// Whether two registers of one session can be of one meter after a conversion; one of them may be rounded to whole kWh.
fn can_be_one_meter(wh: f64, later_wh: f64) -> bool {
    (-KILO..=FIRST_READING_MAX_WH.min(later_wh / 10.0)).contains(&(later_wh - wh))
}

/// The stop's register `wh` in watt-hours, at or above the start's, if it is written in kWh and declared as Wh.
fn stop_in_kwh(start: Register, wh: f64) -> Option<f64> {
    let is_small = wh > 0.0 && start.wh >= UNIT_TRIED_FROM_WH && wh < start.wh / 100.0;
    let converted = wh * KILO;
    (is_small && can_be_one_meter(start.wh, converted)).then_some(converted.max(start.wh))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a duration needs no more than 53 bits"
)]
fn hours(millis: i64) -> f64 {
    millis as f64 / MILLIS_PER_HOUR
}

fn positive(wh: Option<f64>) -> Option<f64> {
    wh.filter(|wh| *wh > 0.0)
}

/// A value that merges ([`First`](crate::model::First) or [`Latest`](crate::model::Latest)) and holds a reading.
trait Held {
    fn held(&self) -> Option<(Timestamp, f64)>;
}

impl Held for crate::model::First<f64> {
    fn held(&self) -> Option<(Timestamp, f64)> {
        Some((self.stamp()?.at, *self.get()?))
    }
}

impl Held for crate::model::Latest<f64> {
    fn held(&self) -> Option<(Timestamp, f64)> {
        Some((self.stamp()?.at, *self.get()?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::readings::ReadingContext;
    use super::*;
    use crate::model::{Merge, Stamp};
    use crate::record::Seq;
    use crate::{GatewayId, RecordId};
    use proptest::prelude::*;
    use uuid::Uuid;

    /// A start, stop or reading of a session.
    #[derive(Debug, Clone, Copy)]
    enum Input {
        Start(Option<f64>),
        Stop(Option<f64>),
        Reading(ReadingContext, f64),
    }

    /// What was received of one session.
    #[derive(Debug, Clone, Default)]
    struct SessionInputs {
        start: Option<SessionEnd>,
        stop: Option<SessionEnd>,
        readings: Readings,
    }

    impl SessionInputs {
        fn add(&mut self, (moment, input): (i64, Input)) {
            let at = Timestamp(1_767_225_600_000 + moment / 16 * 60_000);
            let end = |register_wh| SessionEnd {
                at: Some(at),
                register_wh,
            };
            match input {
                Input::Start(wh) => self.start = self.start.or(Some(end(wh))),
                Input::Stop(wh) => self.stop = self.stop.or(Some(end(wh))),
                Input::Reading(context, wh) => {
                    self.readings.add_register(stamp(at, moment), context, wh);
                }
            }
        }

        fn energy(&self) -> Energy {
            Energy::derive(self.start, self.stop, &self.readings, false)
        }
    }

    fn stamp(at: Timestamp, seq: i64) -> Stamp {
        Stamp {
            at,
            received_at: at,
            record: RecordId {
                gateway: GatewayId(Uuid::nil()),
                seq: Seq(seq.unsigned_abs()),
            },
            part: 0,
        }
    }

    fn register() -> impl Strategy<Value = f64> {
        prop_oneof![
            Just(0.0),
            Just(-1.0),
            (0..40_i32).prop_map(f64::from),
            (1_000..9_000_i32).prop_map(f64::from),
            (150_000..170_000_i32).prop_map(f64::from),
            (700_000..701_000_i32).prop_map(f64::from),
        ]
    }

    /// Inputs at different moments, counted in sixteenths of a minute; their times are whole minutes.
    fn input_lists() -> impl Strategy<Value = Vec<(i64, Input)>> {
        proptest::collection::vec(input(), 1..10).prop_map(|inputs| {
            let mut moments = std::collections::BTreeSet::new();
            inputs
                .into_iter()
                .filter(|(moment, _)| moments.insert(*moment))
                .collect()
        })
    }

    fn input() -> impl Strategy<Value = (i64, Input)> {
        let context = prop_oneof![
            Just(ReadingContext::Begin),
            Just(ReadingContext::End),
            Just(ReadingContext::Sample),
            Just(ReadingContext::Sample),
        ];
        let input = prop_oneof![
            proptest::option::of(register()).prop_map(Input::Start),
            proptest::option::of(register()).prop_map(Input::Stop),
            (context.clone(), register()).prop_map(|(context, wh)| Input::Reading(context, wh)),
            (context, register()).prop_map(|(context, wh)| Input::Reading(context, wh)),
        ];
        (0..10_000_i64, input)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_024))]

        #[test]
        fn energy_that_is_known_stays_known(inputs in input_lists()) {
            let mut session = SessionInputs::default();
            let mut known = None;
            for input in inputs {
                session.add(input);
                let energy = session.energy();
                if let Some(wh) = energy.energy_wh {
                    prop_assert!(wh.is_finite() && wh >= 0.0, "{session:?}: {energy:?}");
                    prop_assert!(energy.from.is_some() && energy.to.is_some());
                }
                prop_assert!(
                    known.is_none() || energy.energy_wh.is_some(),
                    "{session:?}: {energy:?} after {known:?}"
                );
                prop_assert_eq!(energy.confidence.is_some(), energy.energy_wh.is_some());
                known = energy.energy_wh;
            }
        }

        #[test]
        fn readings_that_are_read_back_and_merged_are_the_same(
            inputs in input_lists(), cut in 0..10_usize,
        ) {
            let readings_of = |inputs: &[(i64, Input)]| {
                let mut session = SessionInputs::default();
                for input in inputs {
                    session.add(*input);
                }
                session.readings
            };
            let all = readings_of(&inputs);
            let (left, right) = inputs.split_at(cut.min(inputs.len()));
            for (first, second) in [(left, right), (right, left)] {
                let text = serde_json::to_string(&readings_of(first)).unwrap();
                let mut merged: Readings = serde_json::from_str(&text).unwrap();
                merged.merge(readings_of(second));
                merged.merge(readings_of(second));
                prop_assert_eq!(&merged, &all);
            }
        }
    }

    #[test]
    fn every_check_has_a_code_of_its_own_and_a_cure() {
        let codes: std::collections::BTreeSet<_> =
            EnergyCheck::ALL.iter().map(|check| check.code()).collect();
        assert_eq!(codes.len(), EnergyCheck::ALL.len());
        assert!(
            EnergyCheck::ALL
                .iter()
                .all(|check| check.cure().ends_with('.'))
        );
    }
}
