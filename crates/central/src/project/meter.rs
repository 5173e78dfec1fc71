//! Meter values: one row per element of a `meterValue` list, with energy, power and state of charge in one unit each.

use super::place::Place;
use super::{Changes, Source};
use crate::Timestamp;
use crate::model::{MeterValueRow, ReadingContext, Readings, Stamp};
use crate::natural_key::StableHasher;
use crate::record::Seq;
use crate::{GatewayId, RecordId};
use ocpp::Version;
use ocpp::json::Raw;
use ocpp::meter::{MeterValue, SampledValue};
use ocpp::{v2, v16};
use uuid::Uuid;

/// Domain of a row's hash; never change it, the hashes are stored.
const ROW_DOMAIN: &str = "wattpost meter value 1";

/// Energy, power and state of charge at one time.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Reading {
    pub(crate) at: Timestamp,
    /// The imported energy register by context, in watt-hours, in the order of [`CONTEXTS`].
    registers_wh: [Option<f64>; CONTEXTS.len()],
    /// Whether there is a signed register.
    is_signed: bool,
    power_w: Option<f64>,
    soc_percent: Option<f64>,
}

/// In the order in which they happen if one message has all of them with one time.
const CONTEXTS: [ReadingContext; 3] = [
    ReadingContext::Begin,
    ReadingContext::Sample,
    ReadingContext::End,
];

impl Reading {
    /// The register, in watt-hours: of the end, else a sample, else of the beginning.
    pub(crate) fn energy_wh(&self) -> Option<f64> {
        self.registers_wh.iter().rev().copied().flatten().next()
    }

    /// The first register, in watt-hours: of the beginning, else a sample, else of the end.
    pub(crate) fn first_energy_wh(&self) -> Option<f64> {
        self.registers_wh.iter().copied().flatten().next()
    }
}

/// Adds the readings of a message to those of its session.
pub(crate) fn add(readings: &mut Readings, source: &Source<'_>, list: &[Reading]) {
    for (at, reading) in (0..).zip(list) {
        let stamp = |part| Stamp {
            part,
            ..source.stamp(reading.at, 0)
        };
        add_one(readings, stamp, at, reading);
    }
}

/// Adds the reading that is number `at` in its message; `stamp` gives the stamp of a part of it.
fn add_one(readings: &mut Readings, stamp: impl Fn(u32) -> Stamp, at: u32, reading: &Reading) {
    for (place, (context, wh)) in (0..).zip(CONTEXTS.into_iter().zip(reading.registers_wh)) {
        if let Some(wh) = wh {
            // Of registers with one time that of the beginning is first, wherever it is in the message.
            let part = place * PARTS_PER_CONTEXT + at.min(PARTS_PER_CONTEXT - 1);
            readings.add_register(stamp(part), context, wh);
        }
    }
    let stamp = stamp(at);
    if reading.is_signed {
        readings.signed.set(stamp, ());
    }
    if let Some(power_w) = reading.power_w {
        readings.power_w.set(stamp, power_w);
    }
    if let Some(soc_percent) = reading.soc_percent {
        readings.soc_percent.set(stamp, soc_percent);
    }
}

/// The readings of a row that names no transaction. They depend on the row alone, not on the record that it came in, so
/// that a database can read them from the row again.
pub(crate) fn readings_of_row(
    at: Timestamp,
    key_hash: i64,
    has_evse: bool,
    sampled: &str,
) -> Readings {
    let payload = format!(r#"{{"meterValue":[{{"sampledValue":{sampled}}}]}}"#);
    let of = |values: &[MeterValue<'_>]| {
        values
            .first()
            .map(|value| read(at, &value.sampled_values))
            .unwrap_or_default()
    };
    let reading = if has_evse {
        v2::MeterValues::read(&payload).map(|view| of(&view.meter_value))
    } else {
        v16::MeterValues::read(&payload).map(|view| of(&view.meter_value))
    };
    let stamp = |part| Stamp {
        at,
        received_at: at,
        record: RecordId {
            gateway: GatewayId(Uuid::nil()),
            seq: Seq(key_hash.cast_unsigned()),
        },
        part,
    };
    let mut readings = Readings::default();
    if let Ok(reading) = reading {
        add_one(&mut readings, stamp, 0, &reading);
    }
    readings
}

/// Larger than the number of elements of any message.
const PARTS_PER_CONTEXT: u32 = 1 << 24;

/// Adds a row per element; `list` is the name of the payload's member that `values` were read from. Returns the readings
/// in order.
pub(crate) fn rows(
    changes: &mut Changes,
    source: &Source<'_>,
    list: &str,
    values: &[MeterValue<'_>],
    place: Place,
    transaction_id: Option<&str>,
) -> Vec<Reading> {
    let names_none = match source.record.ocpp_version {
        Version::V16 => {
            transaction_id.is_none_or(|id| id.parse::<i64>().is_ok_and(|number| number <= 0))
        }
        Version::V201 | Version::V21 => transaction_id.is_none(),
    };
    let unnamed_at = place
        .evse
        .or(place.connector)
        .filter(|number| names_none && *number > 0 && place.is_in_range());
    let sampled = sampled_texts(source.record.payload, list);
    let mut readings = Vec::with_capacity(values.len());
    for (value, sampled) in values.iter().zip(sampled) {
        let reading = read(source.effective(value.timestamp), &value.sampled_values);
        changes.meter_values.push(MeterValueRow {
            charger: source.charger.clone(),
            at: reading.at,
            key_hash: hash(place, transaction_id, sampled),
            evse: place.evse,
            connector: place.connector,
            unnamed_at,
            transaction_id: transaction_id.map(str::to_owned),
            energy_wh: reading.energy_wh(),
            power_w: reading.power_w,
            soc_percent: reading.soc_percent,
            sampled: sampled.to_owned(),
        });
        readings.push(reading);
    }
    readings
}

/// The raw `sampledValue` of each element, in the order of the typed view.
fn sampled_texts<'a>(payload: &'a str, list: &str) -> Vec<&'a str> {
    let mut texts = Vec::new();
    let _ = Raw::new(payload).members(|name, value| {
        if name == list {
            texts.clear();
            let _ = value.items(|item| {
                if item.is_object() {
                    let mut sampled = "[]";
                    let _ = item.members(|name, value| {
                        if name == "sampledValue" {
                            sampled = value.as_str();
                        }
                    });
                    texts.push(sampled);
                }
            });
        }
    });
    texts
}

fn hash(place: Place, transaction_id: Option<&str>, sampled: &str) -> i64 {
    let mut hasher = StableHasher::new(ROW_DOMAIN);
    for number in [place.evse, place.connector] {
        match number {
            Some(number) => hasher.add(&number.to_string()),
            None => hasher.add(""),
        };
    }
    hasher.add(transaction_id.unwrap_or("")).add(sampled);
    hasher.finish_u64().cast_signed()
}

fn read(at: Timestamp, samples: &[SampledValue<'_>]) -> Reading {
    let any = |_: &SampledValue<'_>| true;
    Reading {
        at,
        registers_wh: CONTEXTS.map(|context| {
            let of_context = |sample: &SampledValue<'_>| context_of(sample) == context;
            total(samples, REGISTER, energy_factor, of_context)
        }),
        is_signed: samples
            .iter()
            .any(|sample| sample.is_of(REGISTER) && (sample.is_signed || is_signed_data(sample))),
        power_w: total(samples, "Power.Active.Import", power_factor, any),
        soc_percent: total(samples, "SoC", percent_factor, any),
    }
}

/// The measurand that energy is derived from.
const REGISTER: &str = "Energy.Active.Import.Register";

fn context_of(sample: &SampledValue<'_>) -> ReadingContext {
    let context = sample.context.as_deref().unwrap_or("");
    if context.eq_ignore_ascii_case("Transaction.Begin") {
        ReadingContext::Begin
    } else if context.eq_ignore_ascii_case("Transaction.End") {
        ReadingContext::End
    } else {
        ReadingContext::Sample
    }
}

/// Whether the value is a signed text (1.6). Such a text may consist of digits, but it is not a number.
fn is_signed_data(sample: &SampledValue<'_>) -> bool {
    let format = sample.format.as_deref();
    format.is_some_and(|format| format.eq_ignore_ascii_case("SignedData"))
}

/// The last value of the measurand for the whole outlet; if there are only values of single phases, their sum. Values
/// inside the charger count where the outlet has none.
fn total(
    samples: &[SampledValue<'_>],
    measurand: &str,
    factor: fn(&str) -> Option<f64>,
    is_wanted: impl Fn(&SampledValue<'_>) -> bool,
) -> Option<f64> {
    let total_at = |side: Side| {
        let mut whole = None;
        let mut phases = [None; 3];
        for sample in samples {
            let counts = sample.is_of(measurand)
                && Side::of(sample) == Some(side)
                && !is_signed_data(sample)
                && is_wanted(sample);
            if !counts {
                continue;
            }
            let factor = factor(sample.unit.as_deref().unwrap_or(""));
            let (Some(number), Some(factor)) = (sample.scaled(), factor) else {
                continue;
            };
            let value = Some(number * factor);
            let phase = sample.phase.as_deref().unwrap_or("");
            match PHASES.iter().position(|names| is_one_of(phase, names)) {
                Some(at) => phases[at] = value,
                None if phase.is_empty() => whole = value,
                // Values between two phases are not added.
                None => {}
            }
        }
        let sum = || phases.into_iter().flatten().reduce(|a, b| a + b);
        whole.or_else(sum).filter(|value| value.is_finite())
    };
    total_at(Side::Outlet).or_else(|| total_at(Side::Inside))
}

/// The names of the three phases.
const PHASES: [[&str; 2]; 3] = [["L1", "L1-N"], ["L2", "L2-N"], ["L3", "L3-N"]];

/// Where a value was measured, as far as it can be billed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// At the outlet.
    Outlet,
    /// On the charger's own side: in its body, at its cable.
    Inside,
}

impl Side {
    /// `None` = elsewhere: at the grid connection, in the car. The car's own state of charge is measured in the car.
    fn of(sample: &SampledValue<'_>) -> Option<Self> {
        let location = sample.location.as_deref().unwrap_or("");
        let is_of = |names: &[&str]| is_one_of(location, names);
        if is_of(&["", "Outlet", "EVSE"]) || (is_of(&["EV"]) && sample.is_of("SoC")) {
            Some(Self::Outlet)
        } else if is_of(&["EV", "Inlet", "Upstream"]) {
            None
        } else {
            Some(Self::Inside)
        }
    }
}

/// Whether a value of an enumeration is one of these; letter case is ignored (quirk 14).
fn is_one_of(value: &str, names: &[&str]) -> bool {
    names.iter().any(|name| value.eq_ignore_ascii_case(name))
}

fn energy_factor(unit: &str) -> Option<f64> {
    match unit {
        "" => Some(1.0),
        _ if unit.eq_ignore_ascii_case("wh") => Some(1.0),
        _ if unit.eq_ignore_ascii_case("kwh") => Some(1000.0),
        _ => None,
    }
}

fn power_factor(unit: &str) -> Option<f64> {
    match unit {
        // No unit means the default Wh, which chargers also omit for power.
        "" => Some(1.0),
        _ if unit.eq_ignore_ascii_case("w") => Some(1.0),
        _ if unit.eq_ignore_ascii_case("kw") => Some(1000.0),
        _ => None,
    }
}

/// The state of charge is in percent, whatever unit the charger writes.
#[expect(clippy::unnecessary_wraps, reason = "one signature for all factors")]
const fn percent_factor(_unit: &str) -> Option<f64> {
    Some(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(samples: &str) -> Reading {
        let payload = format!(
            r#"{{"evseId":1,"meterValue":[{{"timestamp":"2026-01-01T00:00:00Z","sampledValue":{samples}}}]}}"#
        );
        let view = v2::MeterValues::read(&payload).expect("JSON");
        read(Timestamp(0), &view.meter_value[0].sampled_values)
    }

    #[test]
    fn values_are_converted_to_one_unit() {
        let read = reading(
            r#"[{"value":"1.5","unit":"kWh"},{"value":"7.4","measurand":"Power.Active.Import","unit":"kW"},
                {"value":"80","measurand":"SoC","unit":"Percent","location":"EV"}]"#,
        );
        assert_eq!(read.energy_wh(), Some(1500.0));
        assert_eq!(read.power_w, Some(7400.0));
        assert_eq!(read.soc_percent, Some(80.0));
        let scaled = r#"[{"value":1.5,"unitOfMeasure":{"unit":"Wh","multiplier":3}}]"#;
        assert_eq!(reading(scaled).energy_wh(), Some(1500.0));
    }

    #[test]
    fn quirk_14_phases_are_summed_if_there_is_no_total() {
        let phases =
            r#"{"value":"1","phase":"L1-N"},{"value":"2","phase":"L2"},{"value":"3","phase":"L3"}"#;
        assert_eq!(reading(&format!("[{phases}]")).energy_wh(), Some(6.0));
        assert_eq!(
            reading(&format!(r#"[{{"value":"9"}},{phases}]"#)).energy_wh(),
            Some(9.0)
        );
    }

    #[test]
    fn quirk_09_an_empty_or_unusable_sample_is_no_reading() {
        for samples in [
            "[]",
            "null",
            r#"[{"value":"NaN"}]"#,
            r#"[{"value":"5","unit":"kvarh"}]"#,
        ] {
            assert_eq!(reading(samples).energy_wh(), None, "{samples}");
        }
        let inlet = r#"[{"value":"5","location":"Inlet"}]"#;
        assert_eq!(reading(inlet).energy_wh(), None);
    }
}
