//! A page of the log: which rows it reads, so that a rare event does not make it read the whole log, and where it ends.

use central::Timestamp;
use central::model::{Event, EventId, EventType};
use central::ports::{EventBounds, EventFilter};

/// Rows of the log that a page reads at most.
pub(crate) const LOG_ROWS_READ: usize = 10_000;

/// Bytes of data on a page of the log, after which it ends.
pub(crate) const PAGE_BYTES: usize = 4 << 20;

/// Rows of the log that are deleted at once.
pub(crate) const EXPIRED_ROWS: i64 = 5_000;

/// The last position that a page after `after` reads, so that it reads a bounded number of rows. With a charger that is
/// `of_charger`, the position of the charger's last row that may be read, or the end of the log without one; else a part
/// of the log.
pub(crate) fn read_until(
    bounds: &EventBounds,
    after: EventId,
    filter: &EventFilter,
    of_charger: Option<u64>,
) -> u64 {
    let last = bounds.last.position;
    if filter.charger.is_some() {
        return of_charger.map_or(last, |position| last.min(position));
    }
    let before_first = bounds.first.map_or(0, |first| first.position - 1);
    let from = after.position.max(before_first);
    last.min(from.saturating_add(LOG_ROWS_READ as u64))
}

/// The events in these rows, up to [`PAGE_BYTES`], and the last row's id if the page ends with it because it is full.
pub(crate) fn page_of(
    rows: impl IntoIterator<Item = EventColumns>,
    limit: usize,
) -> (Vec<Event>, Option<EventId>) {
    let (mut events, mut last, mut bytes, mut count) = (Vec::new(), None, 0, 0);
    for row in rows {
        bytes += row.6.len();
        if bytes > PAGE_BYTES && last.is_some() {
            return (events, last);
        }
        let (id, event) = event(row);
        last = Some(id);
        count += 1;
        events.extend(event);
        if count >= limit {
            return (events, last);
        }
    }
    (events, last.filter(|_| bytes > PAGE_BYTES))
}

/// Columns of a stored event: position, recorded at, type, occurred at, charger, subject, data.
pub(crate) type EventColumns = (i64, i64, String, i64, Option<String>, String, String);

/// An event from its columns; `None` if its type is of a newer version.
pub(crate) fn event(columns: EventColumns) -> (EventId, Option<Event>) {
    let (position, recorded_at, kind, occurred_at, charger_id, subject, data) = columns;
    let id = EventId {
        position: position.cast_unsigned(),
        recorded_at: Timestamp(recorded_at),
    };
    let event = EventType::from_name(&kind).map(|kind| Event {
        id,
        kind,
        occurred_at: Timestamp(occurred_at),
        charger_id,
        subject,
        data,
    });
    (id, event)
}
