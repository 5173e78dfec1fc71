//! A summary of a session's meter readings, of fixed size, that merges in any order.

use crate::Timestamp;
use crate::model::{First, Latest, Merge, Stamp};
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// The `context` of a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadingContext {
    /// `Transaction.Begin`.
    Begin,
    /// `Transaction.End`.
    End,
    /// Every other context, or none.
    Sample,
}

/// The readings of the imported energy register, of power and of state of charge.
///
/// Registers of 0 are kept apart: many chargers write 0 when they do not know the register, so only the derivation of
/// energy can distinguish a real 0 from a placeholder. What is a placeholder for certain is no reading.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(from = "WireReadings", into = "WireReadings")]
pub struct Readings {
    /// The first register with context `Transaction.Begin`, in watt-hours, above 0.
    pub begin: First<f64>,
    /// The last register with context `Transaction.End`, in watt-hours, above 0.
    pub end: Latest<f64>,
    /// The first register of any context, in watt-hours, above 0.
    pub first: First<f64>,
    /// The last register of any context, in watt-hours, above 0.
    pub last: Latest<f64>,
    /// The highest register, in watt-hours; of equal ones the latest.
    highest: Option<(Stamp, f64)>,
    /// The first register of 0.
    pub first_zero: First<()>,
    /// The last register of 0.
    pub last_zero: Latest<()>,
    /// The last signed register, also where a plain number is beside it.
    pub signed: Latest<()>,
    /// The last power, in watts.
    pub power_w: Latest<f64>,
    /// The last state of charge, in percent.
    pub soc_percent: Latest<f64>,
}

impl Readings {
    /// Adds a register reading, in watt-hours; one that is not finite or a placeholder is ignored.
    pub fn add_register(&mut self, stamp: Stamp, context: ReadingContext, wh: f64) {
        if !wh.is_finite() || is_placeholder(wh) {
            return;
        }
        if wh == 0.0 {
            self.first_zero.set(stamp, ());
            self.last_zero.set(stamp, ());
            return;
        }
        match context {
            ReadingContext::Begin => self.begin.set(stamp, wh),
            ReadingContext::End => self.end.set(stamp, wh),
            ReadingContext::Sample => {}
        }
        self.first.set(stamp, wh);
        self.last.set(stamp, wh);
        self.raise(stamp, wh);
    }

    /// The highest register, in watt-hours, above 0.
    #[must_use]
    pub fn highest_wh(&self) -> Option<f64> {
        self.highest.map(|(_, wh)| wh)
    }

    /// When the highest register was read.
    #[must_use]
    pub fn highest_at(&self) -> Option<Timestamp> {
        self.highest.map(|(stamp, _)| stamp.at)
    }

    /// Whether no register was read, not even one of 0.
    #[must_use]
    pub const fn has_no_register(&self) -> bool {
        self.first.is_empty() && self.first_zero.is_empty()
    }

    /// The readings of a row of meter values that names no transaction, whose `sampledValue` list is `sampled`.
    #[must_use]
    pub fn of_row(at: Timestamp, key_hash: i64, has_evse: bool, sampled: &str) -> Self {
        crate::project::meter::readings_of_row(at, key_hash, has_evse, sampled)
    }

    /// The times of the earliest and the latest reading that is kept; `None` without any.
    #[must_use]
    pub fn times(&self) -> Option<(Timestamp, Timestamp)> {
        let stamps = [
            self.begin.stamp(),
            self.end.stamp(),
            self.first.stamp(),
            self.last.stamp(),
            self.first_zero.stamp(),
            self.last_zero.stamp(),
            self.signed.stamp(),
            self.power_w.stamp(),
            self.soc_percent.stamp(),
        ];
        let times = stamps.into_iter().flatten().map(|stamp| stamp.at);
        times.clone().min().zip(times.max())
    }

    /// Whether there is no reading.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The readings of these times, both included. A member is empty if the kept value is outside these times (an
    /// earlier first, a later last), although another value was within.
    #[must_use]
    pub fn within(&self, times: &RangeInclusive<Timestamp>) -> Self {
        let is_within = |stamp: &Stamp| times.contains(&stamp.at);
        Self {
            begin: self.begin.clone().filter(is_within),
            end: self.end.clone().filter(is_within),
            first: self.first.clone().filter(is_within),
            last: self.last.clone().filter(is_within),
            highest: self.highest.filter(|(stamp, _)| is_within(stamp)),
            first_zero: self.first_zero.clone().filter(is_within),
            last_zero: self.last_zero.clone().filter(is_within),
            signed: self.signed.clone().filter(is_within),
            power_w: self.power_w.clone().filter(is_within),
            soc_percent: self.soc_percent.clone().filter(is_within),
        }
    }

    /// The same readings with each register multiplied by `factor`, which is above 0.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        Self {
            begin: self.begin.clone().map(|wh| wh * factor),
            end: self.end.clone().map(|wh| wh * factor),
            first: self.first.clone().map(|wh| wh * factor),
            last: self.last.clone().map(|wh| wh * factor),
            highest: self.highest.map(|(stamp, wh)| (stamp, wh * factor)),
            ..self.clone()
        }
    }

    fn raise(&mut self, stamp: Stamp, wh: f64) {
        let is_higher = self
            .highest
            .is_none_or(|(held_stamp, held)| (wh, stamp) > (held, held_stamp));
        if is_higher {
            self.highest = Some((stamp, wh));
        }
    }
}

/// Whether a register, in watt-hours, says only that the charger does not know it: below 0, or the largest number of 32
/// bits, with or without a sign (-1 in the wrong type).
#[expect(clippy::float_cmp, reason = "these two numbers are exact in a float")]
pub(super) fn is_placeholder(wh: f64) -> bool {
    wh < 0.0 || wh == f64::from(i32::MAX) || wh == f64::from(u32::MAX)
}

impl Merge for Readings {
    fn merge(&mut self, other: Self) {
        self.begin.merge(other.begin);
        self.end.merge(other.end);
        self.first.merge(other.first);
        self.last.merge(other.last);
        if let Some((stamp, wh)) = other.highest {
            self.raise(stamp, wh);
        }
        self.first_zero.merge(other.first_zero);
        self.last_zero.merge(other.last_zero);
        self.signed.merge(other.signed);
        self.power_w.merge(other.power_w);
        self.soc_percent.merge(other.soc_percent);
    }
}

/// The stored form. The highest register is usually the last one, and then it is not written twice.
#[derive(Serialize, Deserialize)]
struct WireReadings {
    #[serde(default, skip_serializing_if = "First::is_empty")]
    begin: First<f64>,
    #[serde(default, skip_serializing_if = "Latest::is_empty")]
    end: Latest<f64>,
    #[serde(default, skip_serializing_if = "First::is_empty")]
    first: First<f64>,
    #[serde(default, skip_serializing_if = "Latest::is_empty")]
    last: Latest<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    highest: Option<(Stamp, f64)>,
    #[serde(default, skip_serializing_if = "First::is_empty")]
    first_zero: First<()>,
    #[serde(default, skip_serializing_if = "Latest::is_empty")]
    last_zero: Latest<()>,
    #[serde(default, skip_serializing_if = "Latest::is_empty")]
    signed: Latest<()>,
    #[serde(default, skip_serializing_if = "Latest::is_empty")]
    power_w: Latest<f64>,
    #[serde(default, skip_serializing_if = "Latest::is_empty")]
    soc_percent: Latest<f64>,
}

impl From<Readings> for WireReadings {
    fn from(readings: Readings) -> Self {
        let last = readings.last.stamp().zip(readings.last.get().copied());
        Self {
            highest: readings.highest.filter(|highest| Some(*highest) != last),
            begin: readings.begin,
            end: readings.end,
            first: readings.first,
            last: readings.last,
            first_zero: readings.first_zero,
            last_zero: readings.last_zero,
            signed: readings.signed,
            power_w: readings.power_w,
            soc_percent: readings.soc_percent,
        }
    }
}

impl From<WireReadings> for Readings {
    fn from(wire: WireReadings) -> Self {
        let last = wire.last.stamp().zip(wire.last.get().copied());
        Self {
            highest: wire.highest.or(last),
            begin: wire.begin,
            end: wire.end,
            first: wire.first,
            last: wire.last,
            first_zero: wire.first_zero,
            last_zero: wire.last_zero,
            signed: wire.signed,
            power_w: wire.power_w,
            soc_percent: wire.soc_percent,
        }
    }
}
