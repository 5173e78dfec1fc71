//! A charger tells how its firmware update goes (2.x).

use crate::json::{Raw, ReadError};
use std::borrow::Cow;

/// `FirmwareStatusNotificationRequest`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FirmwareStatusNotification<'a> {
    /// How it goes.
    pub status: Option<Cow<'a, str>>,
    /// Which request of ours it is about.
    pub request_id: Option<i64>,
}

impl<'a> FirmwareStatusNotification<'a> {
    /// Reads the request's payload; see [`crate::v2`] for how leniently.
    ///
    /// # Errors
    /// When it is not a JSON object.
    pub fn read(payload: &'a str) -> Result<Self, ReadError> {
        let mut view = Self::default();
        Raw::new(payload).members(|name, value| match name {
            "status" => view.status = value.text(),
            "requestId" => view.request_id = value.integer(),
            _ => {}
        })?;
        Ok(view)
    }
}
