//! `StopTransaction` (1.6).

use crate::json::{Raw, ReadError};
use crate::meter::MeterValue;
use jiff::Timestamp;
use std::borrow::Cow;

/// `StopTransaction.req`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StopTransaction<'a> {
    /// The id from the answer to the start; -1 if the charger got no answer; any whole number of 64 bits (quirk 11).
    /// `None` for another value, which names no transaction.
    pub transaction_id: Option<i64>,
    /// The token that ended it, if one did.
    pub id_tag: Option<Cow<'a, str>>,
    /// The meter reading at the end, in Wh; a fraction is cut off.
    pub meter_stop: Option<i64>,
    /// When it ended; `None` when missing or unreadable.
    pub timestamp: Option<Timestamp>,
    /// Why it ended; absent means `Local` (F-12).
    pub reason: Option<Cow<'a, str>>,
    /// The values measured during the transaction.
    pub transaction_data: Vec<MeterValue<'a>>,
}

impl<'a> StopTransaction<'a> {
    /// Reads the request's payload as leniently as [`crate::v16`] says.
    ///
    /// # Errors
    /// When it is not a JSON object.
    pub fn read(payload: &'a str) -> Result<Self, ReadError> {
        let mut view = Self::default();
        Raw::new(payload).members(|name, value| match name {
            "transactionId" => view.transaction_id = value.integer(),
            "idTag" => view.id_tag = value.text(),
            "meterStop" => view.meter_stop = value.whole_wh(),
            "reason" => view.reason = value.text(),
            "transactionData" => view.transaction_data = MeterValue::read_list(value),
            "timestamp" => view.timestamp = value.timestamp(),
            _ => {}
        })?;
        Ok(view)
    }
}
