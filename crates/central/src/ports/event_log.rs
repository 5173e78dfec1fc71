//! The log of events. A change and its entry in the queue of the log are one database transaction; one process at a time
//! moves the queue into the log.
//!
//! Several processes store changes at the same time, so numbers that they assign become visible out of order, and a reader
//! that follows such numbers misses some. Positions of the log are assigned by [`EventLog::sequence_events`] only, which
//! excludes itself: a position is visible only when all positions before it are.

use super::Unavailable;
use crate::model::{Event, EventId, EventType};
use crate::time::Timestamp;

/// Distinct objects in one round of [`EventLog::sequence_events`] at most.
pub const SEQUENCED_MAX: usize = 500;

/// Selects events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventFilter {
    /// Only those of this charger, in any letter case.
    pub charger: Option<String>,
    /// Only these types; empty for all.
    pub types: Vec<EventType>,
}

impl EventFilter {
    /// Whether it selects this event.
    #[must_use]
    pub fn has(&self, event: &Event) -> bool {
        let is_wanted = self.types.is_empty() || self.types.contains(&event.kind);
        let is_of = |wanted: &String| {
            event.charger_id.as_ref().is_some_and(|id| {
                crate::model::ChargerKey::of(id) == crate::model::ChargerKey::of(wanted)
            })
        };
        is_wanted && self.charger.as_ref().is_none_or(is_of)
    }
}

/// What a round of [`EventLog::sequence_events`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sequenced {
    /// Another process does it now.
    Elsewhere,
    /// It was done.
    Done {
        /// Events that were added to the log.
        events: usize,
        /// Whether more is queued.
        has_more: bool,
    },
}

/// The ends of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventBounds {
    /// The oldest event that is kept; `None` if there is none.
    pub first: Option<EventId>,
    /// The newest event; [`EventId::START`] if there never was one.
    pub last: EventId,
}

impl EventBounds {
    /// Whether all events after this one are kept; `None` if only the event at its position shows whether it is of this log.
    #[must_use]
    pub fn knows(&self, after: EventId) -> Option<bool> {
        let last = self.last;
        if after == EventId::START || after == last {
            return Some(true);
        }
        if after.position >= last.position {
            return Some(false);
        }
        let before_first = self.first.map(|first| first.position.saturating_sub(1));
        match before_first {
            None => Some(false),
            Some(before) if after.position < before => Some(false),
            Some(before) if after.position == before => Some(true),
            Some(_) => None,
        }
    }
}

/// A part of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPage {
    /// The selected events, oldest first.
    pub events: Vec<Event>,
    /// All events up to this position were considered.
    pub reached: EventId,
    /// Whether that is the end of the log.
    pub is_end: bool,
}

/// What [`EventLog::events_after`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventsFound {
    /// A part of the log.
    Page(EventPage),
    /// Events after the given one are no longer kept, or the given one is not of this log, because the database was
    /// restored from an older copy.
    Expired(EventBounds),
}

/// The log of events. Calls block.
///
/// Laws: a change that is stored is queued in the same database transaction. An event of the log never changes and keeps its
/// position until it expires. Positions are dense and start at 1. Whoever reads events after the last one that they have,
/// again and again, gets each event once, in one order that is the same for all readers, whatever processes write
/// meanwhile. The events of one charger are in the order in which its changes were stored. Storing the same records again
/// adds no event.
pub trait EventLog: Send + Sync + 'static {
    /// Moves what is queued into the log, oldest first, at most [`SEQUENCED_MAX`] distinct objects. Several changes of one
    /// transaction become one event if they are queued together; its start, end and closing are never left out.
    ///
    /// # Errors
    /// When the database refuses; nothing has changed.
    fn sequence_events(&self, now: Timestamp) -> Result<Sequenced, Unavailable>;

    /// Changes that wait in the queue, counted up to 10,000.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn queued_events(&self) -> Result<u64, Unavailable>;

    /// The ends of the log.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn event_bounds(&self) -> Result<EventBounds, Unavailable>;

    /// Events after `after` that the filter selects, oldest first, at most `limit`. It reads a bounded part of the log, so
    /// there may be none although more follow.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn events_after(
        &self,
        after: EventId,
        filter: &EventFilter,
        limit: usize,
    ) -> Result<EventsFound, Unavailable>;

    /// The last event that was recorded before `at`: a reader that begins after it gets all events since then.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn event_before(&self, at: Timestamp) -> Result<EventId, Unavailable>;

    /// Deletes the oldest events that were recorded before `before`, some thousand at most. Returns how many.
    ///
    /// # Errors
    /// When the database refuses.
    fn expire_events(&self, before: Timestamp) -> Result<u64, Unavailable>;
}
