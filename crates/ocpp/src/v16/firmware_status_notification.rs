//! A charger tells how its firmware update goes (1.6).

use crate::json::{Raw, ReadError};
use std::borrow::Cow;

/// `FirmwareStatusNotification.req`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FirmwareStatusNotification<'a> {
    /// How it goes.
    pub status: Option<Cow<'a, str>>,
}

impl<'a> FirmwareStatusNotification<'a> {
    /// Reads the request's payload; see [`crate::v16`] for how leniently.
    ///
    /// # Errors
    /// When it is not a JSON object.
    pub fn read(payload: &'a str) -> Result<Self, ReadError> {
        let mut view = Self::default();
        Raw::new(payload).members(|name, value| {
            if name == "status" {
                view.status = value.text();
            }
        })?;
        Ok(view)
    }
}
