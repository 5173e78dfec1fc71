//! `MeterValues` (2.x): outside transactions.

use crate::json::{Raw, ReadError};
use crate::meter::MeterValue;

/// `MeterValuesRequest`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MeterValues<'a> {
    /// The EVSE; 0 is the charger's main meter.
    pub evse_id: Option<i64>,
    /// The values, by the time at which they were measured.
    pub meter_value: Vec<MeterValue<'a>>,
}

impl<'a> MeterValues<'a> {
    /// Reads the request's payload as leniently as [`crate::v2`] says.
    ///
    /// # Errors
    /// When it is not a JSON object.
    pub fn read(payload: &'a str) -> Result<Self, ReadError> {
        let mut view = Self::default();
        Raw::new(payload).members(|name, value| match name {
            "evseId" => view.evse_id = value.integer(),
            "meterValue" => view.meter_value = MeterValue::read_list(value),
            _ => {}
        })?;
        Ok(view)
    }
}
