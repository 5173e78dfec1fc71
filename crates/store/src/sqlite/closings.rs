//! Sessions that a person closed.

use super::idempotency::once;
use super::listing::uuid_of;
use super::query::transactions;
use super::{SqliteStore, audit, event_log};
use crate::audit::closing_entry;
use crate::event_log::Queued;
use crate::refusal::Refusal;
use central::Timestamp;
use central::ports::{CloseRequest, Closing, Closings, NotClosed, Once, Unavailable};
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

impl Closings for SqliteStore {
    fn close_session(
        &self,
        wanted: &CloseRequest,
    ) -> Result<Once<Closing, NotClosed>, Unavailable> {
        self.transact(|connection, _| {
            once(connection, &wanted.request, |connection| {
                close(connection, wanted)
            })
        })
    }
}

fn close(
    connection: &Connection,
    wanted: &CloseRequest,
) -> Result<Result<Closing, NotClosed>, Refusal> {
    let Some(view) = transactions::one(connection, wanted.key)? else {
        return Ok(Err(NotClosed::Unknown { key: wanted.key }));
    };
    let closing = match wanted.closing(&view) {
        Ok(closing) => closing,
        Err(refused) => return Ok(Err(refused)),
    };
    let closed: Vec<i64> = connection
        .prepare_cached(
            "UPDATE transaction_views SET closed = 1, open = 0 WHERE key = ?1 AND open AND NOT hidden
             RETURNING transaction_no",
        )?
        .query_map([closing.key.as_bytes()], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    if closed.is_empty() {
        return Ok(Err(NotClosed::Ended { key: closing.key }));
    }
    event_log::push(connection, closed.into_iter().map(Queued::transaction))?;
    connection.execute(
        "INSERT INTO transaction_closings (key, ended_at, who, reason, noted_at)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            closing.key.as_bytes(),
            closing.ended_at.0,
            closing.who,
            closing.reason,
            closing.noted_at.0,
        ],
    )?;
    audit::insert(
        connection,
        &closing_entry(&view, &closing, &wanted.request.origin)?,
    )?;
    Ok(Ok(closing))
}

/// The entry of a person who closed the session of this key.
pub(crate) fn read(connection: &Connection, key: Uuid) -> Result<Option<Closing>, Refusal> {
    let found = connection
        .prepare_cached(
            "SELECT key, ended_at, who, reason, noted_at FROM transaction_closings WHERE key = ?1",
        )?
        .query_row([key.as_bytes()], |row| {
            Ok(Closing {
                key: uuid_of(row, 0)?,
                ended_at: Timestamp(row.get(1)?),
                who: row.get(2)?,
                reason: row.get(3)?,
                noted_at: Timestamp(row.get(4)?),
            })
        })
        .optional()?;
    Ok(found)
}
