//! `StatusNotification` (2.x; deprecated in 2.1, N-4).

use crate::json::{Raw, ReadError};
use jiff::Timestamp;
use std::borrow::Cow;

/// `StatusNotificationRequest`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatusNotification<'a> {
    /// Since when; `None` when missing or unreadable.
    pub timestamp: Option<Timestamp>,
    /// `Available`, `Occupied`, …; unknown ones are kept as text.
    pub connector_status: Option<Cow<'a, str>>,
    /// The EVSE.
    pub evse_id: Option<i64>,
    /// The connector of that EVSE.
    pub connector_id: Option<i64>,
}

impl<'a> StatusNotification<'a> {
    /// Reads the request's payload as leniently as [`crate::v2`] says.
    ///
    /// # Errors
    /// When it is not a JSON object.
    pub fn read(payload: &'a str) -> Result<Self, ReadError> {
        let mut view = Self::default();
        Raw::new(payload).members(|name, value| match name {
            "timestamp" => view.timestamp = value.timestamp(),
            "connectorStatus" => view.connector_status = value.text(),
            "evseId" => view.evse_id = value.integer(),
            "connectorId" => view.connector_id = value.integer(),
            _ => {}
        })?;
        Ok(view)
    }
}
