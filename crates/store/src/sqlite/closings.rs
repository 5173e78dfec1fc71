//! Sessions that a person closed.

use super::listing::uuid_of;
use super::{SqliteStore, event_log};
use crate::event_log::Queued;
use crate::refusal::Refusal;
use central::Timestamp;
use central::ports::{Closing, ClosingOutcome, Closings, Unavailable};
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

impl Closings for SqliteStore {
    fn close_session(&self, closing: &Closing) -> Result<ClosingOutcome, Unavailable> {
        self.transact(|connection, _| close(connection, closing))
    }
}

fn close(connection: &Connection, closing: &Closing) -> Result<ClosingOutcome, Refusal> {
    let closed: Vec<i64> = connection
        .prepare_cached(
            "UPDATE transaction_views SET closed = 1, open = 0 WHERE key = ?1 AND open AND NOT hidden
             RETURNING transaction_no",
        )?
        .query_map([closing.key.as_bytes()], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    if closed.is_empty() {
        return Ok(ClosingOutcome::NotOpen);
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
    Ok(ClosingOutcome::Closed)
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
