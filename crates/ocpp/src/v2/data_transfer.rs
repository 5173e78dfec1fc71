//! A charger says what only its vendor understands (2.x).

use crate::json::{Raw, ReadError};
use std::borrow::Cow;

/// `DataTransferRequest`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DataTransfer<'a> {
    /// Whose dialect.
    pub vendor_id: Option<Cow<'a, str>>,
    /// Which message of that dialect.
    pub message_id: Option<Cow<'a, str>>,
    /// Anything.
    pub data: Option<Raw<'a>>,
}

impl<'a> DataTransfer<'a> {
    /// Reads the request's payload; see [`crate::v2`] for how leniently.
    ///
    /// # Errors
    /// When it is not a JSON object.
    pub fn read(payload: &'a str) -> Result<Self, ReadError> {
        let mut view = Self::default();
        Raw::new(payload).members(|name, value| match name {
            "vendorId" => view.vendor_id = value.text(),
            "messageId" => view.message_id = value.text(),
            "data" => view.data = Some(value),
            _ => {}
        })?;
        Ok(view)
    }
}
