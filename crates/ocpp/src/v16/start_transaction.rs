//! A charger has begun a transaction (1.6).

use crate::json::{Raw, ReadError};
use jiff::Timestamp;
use std::borrow::Cow;

/// `StartTransaction.req`. A resend is known by all of these together (ocpp-rules 2.3).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StartTransaction<'a> {
    /// Where.
    pub connector_id: Option<i64>,
    /// Whose token.
    pub id_tag: Option<Cow<'a, str>>,
    /// The meter's reading at the start, in Wh; a fraction is cut off.
    pub meter_start: Option<i64>,
    /// When it happened; `None` when missing or unreadable.
    pub timestamp: Option<Timestamp>,
    /// The moment as it was written, to recognise a resend by.
    pub timestamp_text: Option<Cow<'a, str>>,
    /// The reservation that it uses up.
    pub reservation_id: Option<i64>,
}

impl<'a> StartTransaction<'a> {
    /// Reads the request's payload; see [`crate::v16`] for how leniently.
    ///
    /// # Errors
    /// When it is not a JSON object.
    pub fn read(payload: &'a str) -> Result<Self, ReadError> {
        let mut view = Self::default();
        Raw::new(payload).members(|name, value| match name {
            "connectorId" => view.connector_id = value.integer(),
            "idTag" => view.id_tag = value.text(),
            "meterStart" => view.meter_start = value.integer(),
            "reservationId" => view.reservation_id = value.integer(),
            "timestamp" => {
                view.timestamp = value.timestamp();
                view.timestamp_text = value.text();
            }
            _ => {}
        })?;
        Ok(view)
    }
}
