//! The log of events.

use serde::Serialize;
use utoipa::ToSchema;

/// A page of the log of events.
#[derive(Serialize, ToSchema)]
pub(crate) struct EventPage {
    items: Vec<Event>,
    /// The `after` of the next page; null at the end of the log.
    next: Option<String>,
    /// All events up to this id were considered: the `after` of the next request, now or later.
    last_id: String,
}

/// An event.
#[derive(Serialize, ToSchema)]
pub(crate) struct Event {
    /// `POSITION-MILLISECONDS`: its position in the log, and when it was recorded.
    id: String,
    /// Such as `transaction.started`; docs/events.md lists the types.
    r#type: String,
    /// When it occurred: the charger's time where the charger reported one.
    #[schema(format = DateTime)]
    occurred_at: String,
    /// When it got its place in the log.
    #[schema(format = DateTime)]
    recorded_at: String,
    /// Whether it was recorded more than 60 seconds after it occurred.
    late: bool,
    /// Null for an event that concerns no charger.
    charger_id: Option<String>,
    /// The object after the change, as the API shows it.
    data: serde_json::Value,
    /// The addresses of what the event is about: the charger, the transaction, the command, the dead letter, the alert, the pipeline.
    links: serde_json::Value,
}
