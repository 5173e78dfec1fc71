//! `NotifyEvent` (2.x): events of the device model; in 2.1 also the status of connectors (N-4).

use super::EventData;
use crate::json::{Raw, ReadError};
use jiff::Timestamp;

/// `NotifyEventRequest`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NotifyEvent<'a> {
    /// When the message was generated.
    pub generated_at: Option<Timestamp>,
    /// The events.
    pub event_data: Vec<EventData<'a>>,
}

impl<'a> NotifyEvent<'a> {
    /// Reads the request's payload as leniently as [`crate::v2`] says.
    ///
    /// # Errors
    /// When it is not a JSON object.
    pub fn read(payload: &'a str) -> Result<Self, ReadError> {
        let mut view = Self::default();
        Raw::new(payload).members(|name, value| match name {
            "generatedAt" => view.generated_at = value.timestamp(),
            "eventData" => {
                let _ = value.items(|item| view.event_data.push(EventData::read(item)));
            }
            _ => {}
        })?;
        Ok(view)
    }
}
