//! A charger has ended a transaction (1.6).

use crate::json::{Raw, ReadError};
use crate::meter::MeterValue;
use jiff::Timestamp;
use std::borrow::Cow;

/// `StopTransaction.req`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StopTransaction<'a> {
    /// The id that we gave; -1 when the charger never heard one; anything in 64 bits (quirk
    /// 11).
    pub transaction_id: Option<i64>,
    /// Whose token ended it, if one did.
    pub id_tag: Option<Cow<'a, str>>,
    /// The meter's reading at the end, in Wh; a fraction is cut off.
    pub meter_stop: Option<i64>,
    /// When it happened; `None` when missing or unreadable.
    pub timestamp: Option<Timestamp>,
    /// The moment as it was written, to recognise a resend by.
    pub timestamp_text: Option<Cow<'a, str>>,
    /// Why it ended; absent means `Local` (F-12).
    pub reason: Option<Cow<'a, str>>,
    /// What was measured during the transaction.
    pub transaction_data: Vec<MeterValue<'a>>,
}

impl<'a> StopTransaction<'a> {
    /// Reads the request's payload; see [`crate::v16`] for how leniently.
    ///
    /// # Errors
    /// When it is not a JSON object.
    pub fn read(payload: &'a str) -> Result<Self, ReadError> {
        let mut view = Self::default();
        Raw::new(payload).members(|name, value| match name {
            "transactionId" => view.transaction_id = value.integer(),
            "idTag" => view.id_tag = value.text(),
            "meterStop" => view.meter_stop = value.integer(),
            "reason" => view.reason = value.text(),
            "transactionData" => view.transaction_data = MeterValue::read_list(value),
            "timestamp" => {
                view.timestamp = value.timestamp();
                view.timestamp_text = value.text();
            }
            _ => {}
        })?;
        Ok(view)
    }
}
