//! A charger tells of events in its device model (2.x); in 2.1 also how a connector is (N-4).

use super::EventData;
use crate::json::{Raw, ReadError};
use jiff::Timestamp;

/// `NotifyEventRequest`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NotifyEvent<'a> {
    /// When it was put together.
    pub generated_at: Option<Timestamp>,
    /// Which page.
    pub seq_no: Option<i64>,
    /// Whether more pages follow.
    pub tbc: Option<bool>,
    /// The events.
    pub event_data: Vec<EventData<'a>>,
}

impl<'a> NotifyEvent<'a> {
    /// Reads the request's payload; see [`crate::v2`] for how leniently.
    ///
    /// # Errors
    /// When it is not a JSON object.
    pub fn read(payload: &'a str) -> Result<Self, ReadError> {
        let mut view = Self::default();
        Raw::new(payload).members(|name, value| match name {
            "generatedAt" => view.generated_at = value.timestamp(),
            "seqNo" => view.seq_no = value.integer(),
            "tbc" => view.tbc = value.boolean(),
            "eventData" => {
                let _ = value.items(|item| view.event_data.push(EventData::read(item)));
            }
            _ => {}
        })?;
        Ok(view)
    }
}
