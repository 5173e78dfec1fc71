//! Meter values: one view, because 1.6 and 2.x write them almost alike.

use crate::json::Raw;
use jiff::Timestamp;
use std::borrow::Cow;

/// The values of one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MeterValue<'a> {
    /// When they were measured; `None` when missing or unreadable.
    pub timestamp: Option<Timestamp>,
    /// The measured values; may be empty (quirk 9).
    pub sampled_values: Vec<SampledValue<'a>>,
}

/// One measured value. The fields hold what was written; only [`SampledValue::measurand_or_default`] applies a default
/// of the standard.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SampledValue<'a> {
    /// The value as a number, if it is one. In 2.x without its multiplier, see [`SampledValue::scaled`].
    pub number: Option<f64>,
    /// `Transaction.Begin`, `Sample.Periodic`, …
    pub context: Option<Cow<'a, str>>,
    /// In 1.6: `Raw` or `SignedData`.
    pub format: Option<Cow<'a, str>>,
    /// `Energy.Active.Import.Register`, …
    pub measurand: Option<Cow<'a, str>>,
    /// `L1`, `L1-N`, …
    pub phase: Option<Cow<'a, str>>,
    /// `Outlet`, `EV`, …
    pub location: Option<Cow<'a, str>>,
    /// `Wh`, `kWh`, `Celsius`, … as written (F-12: also `Celcius`). In 2.x from `unitOfMeasure`.
    pub unit: Option<Cow<'a, str>>,
    /// In 2.x: the power of ten by which the number is multiplied.
    pub multiplier: Option<i64>,
    /// In 2.x: whether the value came with a signature.
    pub is_signed: bool,
}

impl<'a> SampledValue<'a> {
    /// The measurand; in both versions its default is the register of imported energy. An empty text counts as none.
    #[must_use]
    pub fn measurand_or_default(&self) -> &str {
        self.measurand
            .as_deref()
            .filter(|measurand| !measurand.is_empty())
            .unwrap_or("Energy.Active.Import.Register")
    }

    /// Whether it is of this measurand; letter case is ignored (quirk 14).
    #[must_use]
    pub fn is_of(&self, measurand: &str) -> bool {
        self.measurand_or_default().eq_ignore_ascii_case(measurand)
    }

    /// The number times its multiplier, in [`SampledValue::unit`]. A multiplier beyond ±30 is ignored.
    #[must_use]
    pub fn scaled(&self) -> Option<f64> {
        let power = self
            .multiplier
            .and_then(|power| i32::try_from(power).ok())
            .filter(|power| (-30..=30).contains(power))
            .unwrap_or(0);
        match power {
            0 => self.number,
            power => self.number.map(|number| number * 10_f64.powi(power)),
        }
    }

    fn read(raw: Raw<'a>) -> Self {
        let mut view = Self::default();
        let result = raw.members(|name, value| match name {
            "value" => view.number = value.number(),
            "context" => view.context = value.text(),
            "format" => view.format = value.text(),
            "measurand" => view.measurand = value.text(),
            "phase" => view.phase = value.text(),
            "location" => view.location = value.text(),
            "unit" => view.unit = value.text(),
            "unitOfMeasure" => view.read_unit(value),
            "signedMeterValue" => view.is_signed = value.is_object(),
            _ => {}
        });
        if result.is_err() && !raw.is_object() {
            // A value without its object.
            view.number = raw.number();
        }
        view
    }

    fn read_unit(&mut self, raw: Raw<'a>) {
        let result = raw.members(|name, value| match name {
            "unit" => self.unit = value.text(),
            "multiplier" => self.multiplier = value.integer(),
            _ => {}
        });
        if result.is_err() {
            self.unit = raw.text();
        }
    }
}

impl<'a> MeterValue<'a> {
    /// Reads a list of meter values; items that are no objects are left out.
    pub(crate) fn read_list(raw: Raw<'a>) -> Vec<Self> {
        let mut list = Vec::new();
        // On an error the items before it were read.
        let _ = raw.items(|item| {
            if item.is_object() {
                list.push(Self::read(item));
            }
        });
        list
    }

    fn read(raw: Raw<'a>) -> Self {
        let mut view = Self::default();
        let _ = raw.members(|name, value| match name {
            "timestamp" => view.timestamp = value.timestamp(),
            "sampledValue" => {
                let _ = value.items(|item| view.sampled_values.push(SampledValue::read(item)));
            }
            _ => {}
        });
        view
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_1_6_and_2_x_are_read() {
        let old = r#"[{"timestamp":"2026-01-01T00:00:00Z","sampledValue":[
            {"value":"1234.5","unit":"Wh","context":"Sample.Periodic","phase":"L1-N"},{"value":"7"}]}]"#;
        let read = MeterValue::read_list(Raw::new(old));
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].sampled_values.len(), 2);
        assert_eq!(read[0].sampled_values[0].number, Some(1234.5));
        assert_eq!(read[0].sampled_values[0].unit.as_deref(), Some("Wh"));
        assert_eq!(
            read[0].sampled_values[1].measurand_or_default(),
            "Energy.Active.Import.Register"
        );

        let new = r#"[{"timestamp":"2026-01-01T00:00:00Z","sampledValue":[{"value":12.5,
            "measurand":"Power.Active.Import","unitOfMeasure":{"unit":"W","multiplier":3},
            "signedMeterValue":{"signedMeterData":"x"}}]}]"#;
        let read = MeterValue::read_list(Raw::new(new));
        let sampled = &read[0].sampled_values[0];
        assert_eq!(sampled.scaled(), Some(12_500.0));
        assert_eq!(sampled.unit.as_deref(), Some("W"));
    }

    #[test]
    fn a_multiplier_that_no_meter_has_is_ignored() {
        for (multiplier, scaled) in [
            (30, 2e30),
            (31, 2.0),
            (-31, 2.0),
            (i64::from(i32::MIN), 2.0),
            (i64::MAX, 2.0),
        ] {
            let sampled = SampledValue {
                number: Some(2.0),
                multiplier: Some(multiplier),
                ..SampledValue::default()
            };
            assert_eq!(sampled.scaled(), Some(scaled), "{multiplier}");
        }
    }

    #[test]
    fn quirk_09_empty_sampled_value() {
        let read = MeterValue::read_list(Raw::new(r#"[{"timestamp":"x","sampledValue":[]},{}]"#));
        assert_eq!(read, [MeterValue::default(), MeterValue::default()]);
    }

    #[test]
    fn single_values_are_read_as_lists() {
        let unwrapped = r#"{"sampledValue":{"value":5}}"#;
        let read = MeterValue::read_list(Raw::new(unwrapped));
        assert_eq!(read[0].sampled_values[0].number, Some(5.0));
        let bare = r#"[{"sampledValue":["5.1"]}]"#;
        let read = MeterValue::read_list(Raw::new(bare));
        assert_eq!(read[0].sampled_values[0].number, Some(5.1));
        assert!(MeterValue::read_list(Raw::new("\"x\"")).is_empty());
        assert!(MeterValue::read_list(Raw::new("null")).is_empty());
    }
}
