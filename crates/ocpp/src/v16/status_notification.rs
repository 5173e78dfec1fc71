//! `StatusNotification` (1.6).

use crate::json::{Raw, ReadError};
use jiff::Timestamp;
use std::borrow::Cow;

/// `StatusNotification.req`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatusNotification<'a> {
    /// The connector; 0 is the charger as a whole.
    pub connector_id: Option<i64>,
    /// `Available`, `Charging`, …; unknown ones are kept as text.
    pub status: Option<Cow<'a, str>>,
    /// `NoError`, …; unknown ones are kept as text (quirk 14).
    pub error_code: Option<Cow<'a, str>>,
    /// A description for people.
    pub info: Option<Cow<'a, str>>,
    /// Since when; `None` when missing or unreadable.
    pub timestamp: Option<Timestamp>,
    /// The vendor's own error code.
    pub vendor_error_code: Option<Cow<'a, str>>,
}

impl<'a> StatusNotification<'a> {
    /// Reads the request's payload as leniently as [`crate::v16`] says.
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
            "vendorErrorCode" => view.vendor_error_code = value.text(),
            _ => {}
        })?;
        Ok(view)
    }
}
