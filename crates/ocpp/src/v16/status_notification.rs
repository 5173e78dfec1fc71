//! A connector tells how it is (1.6).

use crate::json::{Raw, ReadError};
use jiff::Timestamp;
use std::borrow::Cow;

/// `StatusNotification.req`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatusNotification<'a> {
    /// Which; 0 is the charger as a whole.
    pub connector_id: Option<i64>,
    /// `Available`, `Charging`, …; unknown ones are kept as they are.
    pub status: Option<Cow<'a, str>>,
    /// `NoError`, …; unknown ones are kept as they are (quirk 14).
    pub error_code: Option<Cow<'a, str>>,
    /// For people.
    pub info: Option<Cow<'a, str>>,
    /// Since when; `None` when missing or unreadable.
    pub timestamp: Option<Timestamp>,
    /// Whose vendor error code it is.
    pub vendor_id: Option<Cow<'a, str>>,
    /// The vendor's own error code.
    pub vendor_error_code: Option<Cow<'a, str>>,
}

impl<'a> StatusNotification<'a> {
    /// Reads the request's payload; see [`crate::v16`] for how leniently.
    ///
    /// # Errors
    /// When it is not a JSON object.
    pub fn read(payload: &'a str) -> Result<Self, ReadError> {
        let mut view = Self::default();
        Raw::new(payload).members(|name, value| match name {
            "connectorId" => view.connector_id = value.integer(),
            "status" => view.status = value.text(),
            "errorCode" => view.error_code = value.text(),
            "info" => view.info = value.text(),
            "timestamp" => view.timestamp = value.timestamp(),
            "vendorId" => view.vendor_id = value.text(),
            "vendorErrorCode" => view.vendor_error_code = value.text(),
            _ => {}
        })?;
        Ok(view)
    }
}
