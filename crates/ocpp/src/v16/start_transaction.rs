//! `StartTransaction` (1.6).

use crate::json::{Raw, ReadError};
use jiff::Timestamp;
use std::borrow::Cow;

/// `StartTransaction.req`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StartTransaction<'a> {
    /// The connector.
    pub connector_id: Option<i64>,
    /// The token.
    pub id_tag: Option<Cow<'a, str>>,
    /// The meter reading at the start, in Wh; a fraction is cut off.
    pub meter_start: Option<i64>,
    /// When it started; `None` when missing or unreadable.
    pub timestamp: Option<Timestamp>,
    /// The reservation that it uses.
    pub reservation_id: Option<i64>,
}

impl<'a> StartTransaction<'a> {
    /// Reads the request's payload as leniently as [`crate::v16`] says.
    ///
    /// # Errors
    /// When it is not a JSON object.
    pub fn read(payload: &'a str) -> Result<Self, ReadError> {
        let mut view = Self::default();
        Raw::new(payload).members(|name, value| match name {
            "connectorId" => view.connector_id = value.integer(),
            "idTag" => view.id_tag = value.text(),
            "meterStart" => view.meter_start = value.whole_wh(),
            "reservationId" => view.reservation_id = value.integer(),
            "timestamp" => view.timestamp = value.timestamp(),
            _ => {}
        })?;
        Ok(view)
    }
}
