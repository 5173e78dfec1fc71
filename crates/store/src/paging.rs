//! Pages of rows, the same for both databases.

use central::model::{ChargerKey, ChargerModel};
use central::query::{
    ConnectionRecord, ConnectionRow, Cursor, Page, PageRequest, Place, QueryError,
};
use central::{Epoch, GatewayId, Quirk, RecordId, Timestamp};
use uuid::Uuid;

/// The charger key after which a page of chargers begins.
pub(crate) fn after_charger(page: &PageRequest) -> Result<ChargerKey, QueryError> {
    match place(page)? {
        None => Ok(ChargerKey::of("")),
        Some(Place::Charger(key)) => Ok(key),
        Some(_) => Err(QueryError::BadCursor),
    }
}

/// The start time and the key after which a page of transactions begins. Without a cursor they are above every row.
pub(crate) fn after_transaction(page: &PageRequest) -> Result<(Timestamp, Uuid), QueryError> {
    match place(page)? {
        None => Ok((Timestamp(i64::MAX), Uuid::max())),
        Some(Place::Transaction(at, key)) => Ok((at, key)),
        Some(_) => Err(QueryError::BadCursor),
    }
}

/// The message after which a page of messages begins; `None` = at the first.
pub(crate) fn after_message(page: &PageRequest) -> Result<Option<RecordId>, QueryError> {
    match place(page)? {
        None => Ok(None),
        Some(Place::Message(id)) => Ok(Some(id)),
        Some(_) => Err(QueryError::BadCursor),
    }
}

/// The time of reception and the record after which a page of messages by time begins; `None` = at the first.
pub(crate) fn after_received(page: &PageRequest) -> Result<Option<(i64, RecordId)>, QueryError> {
    match place(page)? {
        None => Ok(None),
        Some(Place::Received(at, id)) => Ok(Some((at.as_millis(), id))),
        Some(_) => Err(QueryError::BadCursor),
    }
}

/// Days that a page of messages by time covers at most.
pub(crate) const DAYS_PER_PAGE: i64 = 31;

/// The number after which a page of dead letters begins.
pub(crate) fn after_dead_letter(page: &PageRequest) -> Result<i64, QueryError> {
    match place(page)? {
        None => Ok(i64::MIN),
        Some(Place::DeadLetter(no)) => Ok(no),
        Some(_) => Err(QueryError::BadCursor),
    }
}

/// The row after which a page of the summary of quirks begins; `None` = at the first.
pub(crate) fn after_quirk(page: &PageRequest) -> Result<Option<(Quirk, ChargerModel)>, QueryError> {
    match place(page)? {
        None => Ok(None),
        Some(Place::Quirk(quirk, model)) => Ok(Some((quirk, model))),
        Some(_) => Err(QueryError::BadCursor),
    }
}

/// The number before which a page of commands ends: the newest is first.
pub(crate) fn command_before(page: &PageRequest) -> Result<i64, QueryError> {
    match place(page)? {
        None => Ok(i64::MAX),
        Some(Place::Command(no)) => Ok(no),
        Some(_) => Err(QueryError::BadCursor),
    }
}

/// The key after which a page of tokens begins.
pub(crate) fn after_token(page: &PageRequest) -> Result<String, QueryError> {
    match place(page)? {
        None => Ok(String::new()),
        Some(Place::Token(key)) => Ok(key),
        Some(_) => Err(QueryError::BadCursor),
    }
}

/// The time, the key and the number of the charger before which a page of unknown tokens begins.
pub(crate) fn before_unknown_token(page: &PageRequest) -> Result<(i64, Uuid, i64), QueryError> {
    match place(page)? {
        None => Ok((i64::MAX, Uuid::max(), i64::MAX)),
        Some(Place::UnknownToken(at, key, charger_no)) => Ok((at.0, key, charger_no)),
        Some(_) => Err(QueryError::BadCursor),
    }
}

/// The id after which a page of sites begins.
pub(crate) fn after_site(page: &PageRequest) -> Result<String, QueryError> {
    match place(page)? {
        None => Ok(String::new()),
        Some(Place::Site(id)) => Ok(id),
        Some(_) => Err(QueryError::BadCursor),
    }
}

/// The number before which a page of batches ends: the newest is first.
pub(crate) fn batch_before(page: &PageRequest) -> Result<i64, QueryError> {
    match place(page)? {
        None => Ok(i64::MAX),
        Some(Place::Batch(no)) => Ok(no),
        Some(_) => Err(QueryError::BadCursor),
    }
}

/// The place after which a page of a batch's chargers begins.
pub(crate) fn item_after(page: &PageRequest) -> Result<i64, QueryError> {
    match place(page)? {
        None => Ok(-1),
        Some(Place::BatchItem(at)) => Ok(at),
        Some(_) => Err(QueryError::BadCursor),
    }
}

/// The id before which a page of alerts ends: the newest is first.
pub(crate) fn alert_before(page: &PageRequest) -> Result<Uuid, QueryError> {
    match place(page)? {
        None => Ok(Uuid::max()),
        Some(Place::Alert(id)) => Ok(id),
        Some(_) => Err(QueryError::BadCursor),
    }
}

/// The number before which a page of a webhook's attempts ends: the newest is first.
pub(crate) fn attempt_before(page: &PageRequest) -> Result<i64, QueryError> {
    match place(page)? {
        None => Ok(i64::MAX),
        Some(Place::WebhookAttempt(no)) => Ok(no),
        Some(_) => Err(QueryError::BadCursor),
    }
}

/// The number after which a page of the audit log begins. Without a cursor it is above every row.
pub(crate) fn after_audit(page: &PageRequest) -> Result<i64, QueryError> {
    match place(page)? {
        None => Ok(i64::MAX),
        Some(Place::Audit(no)) => Ok(no),
        Some(_) => Err(QueryError::BadCursor),
    }
}

/// The number of the refused handshake before which the page begins.
pub(crate) fn before_handshake(page: &PageRequest) -> Result<i64, QueryError> {
    match place(page)? {
        None => Ok(i64::MAX),
        Some(Place::Handshake(no)) => Ok(no),
        Some(_) => Err(QueryError::BadCursor),
    }
}

/// The connection before which a page of a charger's connections begins; `None` = with the newest.
pub(crate) fn before_connection(
    page: &PageRequest,
) -> Result<Option<(Epoch, GatewayId)>, QueryError> {
    match place(page)? {
        None => Ok(None),
        Some(Place::Connection(epoch, gateway)) => Ok(Some((epoch, gateway))),
        Some(_) => Err(QueryError::BadCursor),
    }
}

/// Rows to read for a page of so many connections: two of each, of one more to see whether there are more, and of the one
/// before the page.
pub(crate) const fn connection_records(limit: usize) -> usize {
    2 * (limit + 2)
}

/// A page of a charger's connections from their records. `records` are those of `before` and of older connections, newest
/// first, [`connection_records`] at most.
pub(crate) fn connections_page(
    records: Vec<ConnectionRecord>,
    before: Option<(Epoch, GatewayId)>,
    limit: usize,
) -> Page<ConnectionRow> {
    let mut is_cut = records.len() >= connection_records(limit);
    let mut rows = ConnectionRow::of_records(records);
    // Not all records of the last one may have been read. It is alone only if it has more records than any can have.
    if is_cut && rows.len() > 1 {
        rows.pop();
    }
    rows.retain(|row| before != Some(row.id()));
    is_cut |= rows.len() > limit;
    rows.truncate(limit);
    let last = rows.last().filter(|_| is_cut);
    let next = last.map(|row| Place::Connection(row.epoch, row.gateway).to_cursor());
    Page { items: rows, next }
}

fn place(page: &PageRequest) -> Result<Option<Place>, QueryError> {
    page.after.as_ref().map(Place::from_cursor).transpose()
}

/// Makes a page from one row more than requested; the extra row only shows that there are more.
pub(crate) fn cut<T>(mut rows: Vec<(Place, T)>, limit: usize) -> Page<T> {
    let more = rows.len() > limit;
    rows.truncate(limit);
    let last = rows.last().filter(|_| more);
    let next: Option<Cursor> = last.map(|(place, _)| place.to_cursor());
    Page {
        items: rows.into_iter().map(|(_, row)| row).collect(),
        next,
    }
}

/// As [`cut`], of rows of which some cannot be read: they are left out, and the page after them is found all the same.
pub(crate) fn cut_readable<T>(rows: Vec<(Place, Option<T>)>, limit: usize) -> Page<T> {
    let page = cut(rows, limit);
    Page {
        items: page.items.into_iter().flatten().collect(),
        next: page.next,
    }
}

/// A page without rows, the last one.
pub(crate) const fn empty<T>() -> Page<T> {
    Page {
        items: Vec::new(),
        next: None,
    }
}

/// A number of rows in the database's type.
pub(crate) fn at_most(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
