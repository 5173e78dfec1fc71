//! A log of events in memory.

use central::Timestamp;
use central::model::{Event, EventId, EventType};
use central::ports::{
    EventBounds, EventFilter, EventLog, EventPage, EventsFound, Sequenced, Unavailable,
};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

/// A log of events in memory, which counts the queries.
#[derive(Default)]
pub(crate) struct MemoryEvents {
    events: Mutex<Vec<Event>>,
    /// How often the log was restored from an older copy.
    restored: AtomicU64,
    pub(crate) queries: AtomicU64,
}

impl MemoryEvents {
    fn lock(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().expect("not poisoned")
    }

    /// Adds an event of a charger; returns its id.
    pub(crate) fn add(&self, kind: EventType, charger: &str, subject: &str) -> EventId {
        let later = self.restored.load(Ordering::SeqCst) * 1_000_000;
        let mut events = self.lock();
        let position = events.last().map_or(1, |event| event.id.position + 1);
        let id = EventId {
            position,
            recorded_at: Timestamp(1_767_225_600_000 + position as i64 + later as i64),
        };
        events.push(Event {
            id,
            kind,
            occurred_at: Timestamp(1_767_225_600_000),
            charger_id: Some(charger.to_owned()),
            subject: subject.to_owned(),
            data: format!("{{\"position\":\n{position}}}"),
        });
        id
    }

    /// Restores an older copy: drops all events after this position. Events that are added later have later times.
    pub(crate) fn restore(&self, position: u64) {
        self.restored.fetch_add(1, Ordering::SeqCst);
        self.lock().retain(|event| event.id.position <= position);
    }

    /// Drops all events up to this position.
    pub(crate) fn expire(&self, position: u64) {
        self.lock().retain(|event| event.id.position > position);
    }
}

impl EventLog for MemoryEvents {
    fn sequence_events(&self, _: Timestamp) -> Result<Sequenced, Unavailable> {
        Ok(Sequenced::Elsewhere)
    }

    fn queued_events(&self) -> Result<u64, Unavailable> {
        Ok(0)
    }

    fn event_bounds(&self) -> Result<EventBounds, Unavailable> {
        let events = self.lock();
        Ok(EventBounds {
            first: events.first().map(|event| event.id),
            last: events.last().map_or(EventId::START, |event| event.id),
        })
    }

    fn events_after(
        &self,
        after: EventId,
        filter: &EventFilter,
        limit: usize,
    ) -> Result<EventsFound, Unavailable> {
        self.queries.fetch_add(1, Ordering::SeqCst);
        let bounds = self.event_bounds()?;
        let events = self.lock();
        let has = || events.iter().any(|event| event.id == after);
        if !bounds.knows(after).unwrap_or_else(has) {
            return Ok(EventsFound::Expired(bounds));
        }
        let newer = events.iter().filter(|event| event.id > after);
        let page: Vec<Event> = newer
            .filter(|event| filter.has(event))
            .take(limit)
            .cloned()
            .collect();
        let reached = match page.last() {
            Some(last) if page.len() == limit => last.id,
            _ => bounds.last,
        };
        Ok(EventsFound::Page(EventPage {
            events: page,
            is_end: reached == bounds.last,
            reached,
        }))
    }

    fn event_before(&self, at: Timestamp) -> Result<EventId, Unavailable> {
        let events = self.lock();
        let earlier = events.iter().rev().find(|event| event.id.recorded_at < at);
        Ok(earlier.map_or(EventId::START, |event| event.id))
    }

    fn expire_events(&self, _: Timestamp) -> Result<u64, Unavailable> {
        Ok(0)
    }
}
