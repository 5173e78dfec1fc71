//! A charger tells of a security event (1.6, security whitepaper).

use crate::json::{Raw, ReadError};
use jiff::Timestamp;
use std::borrow::Cow;

/// `SecurityEventNotification.req`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SecurityEventNotification<'a> {
    /// What: an open list (ocpp-rules 3.3).
    pub event_type: Option<Cow<'a, str>>,
    /// When; `None` when missing or unreadable.
    pub timestamp: Option<Timestamp>,
    /// Details.
    pub tech_info: Option<Cow<'a, str>>,
}

impl<'a> SecurityEventNotification<'a> {
    /// Reads the request's payload; see [`crate::v16`] for how leniently.
    ///
    /// # Errors
    /// When it is not a JSON object.
    pub fn read(payload: &'a str) -> Result<Self, ReadError> {
        let mut view = Self::default();
        Raw::new(payload).members(|name, value| match name {
            "type" => view.event_type = value.text(),
            "timestamp" => view.timestamp = value.timestamp(),
            "techInfo" => view.tech_info = value.text(),
            _ => {}
        })?;
        Ok(view)
    }
}
