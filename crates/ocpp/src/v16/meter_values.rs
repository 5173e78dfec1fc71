//! `MeterValues` (1.6).

use crate::json::{Raw, ReadError};
use crate::meter::MeterValue;

/// `MeterValues.req`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MeterValues<'a> {
    /// The connector; 0 is the charger's main meter (quirk 12).
    pub connector_id: Option<i64>,
    /// The transaction; often missing (quirk 12).
    pub transaction_id: Option<i64>,
    /// The values, by the time at which they were measured.
    pub meter_value: Vec<MeterValue<'a>>,
}

impl<'a> MeterValues<'a> {
    /// Reads the request's payload as leniently as [`crate::v16`] says.
    ///
    /// # Errors
    /// When it is not a JSON object.
    pub fn read(payload: &'a str) -> Result<Self, ReadError> {
        let mut view = Self::default();
        Raw::new(payload).members(|name, value| match name {
            "connectorId" => view.connector_id = value.integer(),
            "transactionId" => view.transaction_id = value.integer(),
            "meterValue" => view.meter_value = MeterValue::read_list(value),
            _ => {}
        })?;
        Ok(view)
    }
}
