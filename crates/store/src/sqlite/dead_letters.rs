//! Dead letters: inserted with a batch, and read or discarded by the operator.

use super::event_log;
use crate::dead_letters::set_aside_name;
use crate::event_log::{Change, Queued};
use crate::refusal::Refusal;
use crate::sqlite::writer::Cache;
use crate::sqlite::{SqliteStore, numbers};
use central::RecordId;
use central::ports::{DeadLetter, DeadLetters, Unavailable};
use common::clock::now_ms;
use rusqlite::{Connection, OptionalExtension, params};

impl DeadLetters for SqliteStore {
    fn dead_letter(&self, id: RecordId) -> Result<Option<DeadLetter>, Unavailable> {
        self.readers
            .read(|connection| {
                let letter = connection
                    .prepare_cached(
                        "SELECT d.bytes, d.reason FROM gateways g JOIN dead_letters d ON d.gateway_no = g.no
                         WHERE g.id = ?1 AND d.seq = ?2",
                    )?
                    .query_row(
                        params![id.gateway.0.as_bytes(), id.seq.0.cast_signed()],
                        |row| {
                            Ok(DeadLetter {
                                id,
                                bytes: row.get(0)?,
                                reason: row.get(1)?,
                            })
                        },
                    )
                    .optional()?;
                Ok(letter)
            })
            .map_err(Refusal::into_unavailable)
    }

    fn discard_dead_letter(&self, id: RecordId) -> Result<bool, Unavailable> {
        self.transact(|connection, _| {
            let Some(gateway_no) = numbers::gateway_no(connection, id.gateway)? else {
                return Ok(false);
            };
            let removed = connection
                .prepare_cached("DELETE FROM dead_letters WHERE gateway_no = ?1 AND seq = ?2")?
                .execute(params![gateway_no, id.seq.0.cast_signed()])?;
            Ok(removed > 0)
        })
    }
}

/// Inserts each dead letter once. When a different one with the same id exists, it goes to `set_aside`, so that
/// no data is lost.
pub(crate) fn insert(
    connection: &Connection,
    cache: &mut Cache,
    letters: &[DeadLetter],
) -> Result<(), Refusal> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO dead_letters (gateway_no, seq, bytes, reason, at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (gateway_no, seq) DO NOTHING",
    )?;
    let mut is_kept = connection.prepare_cached(
        "SELECT 1 FROM dead_letters WHERE gateway_no = ?1 AND seq = ?2 AND bytes = ?3
         UNION ALL SELECT 1 FROM set_aside WHERE what = ?4 AND state = ?3",
    )?;
    let mut set_aside = connection.prepare_cached(
        "INSERT INTO set_aside (what, state, reason, at) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for letter in letters {
        let gateway_no = cache.numbers.gateway(connection, letter.id.gateway)?;
        let seq = letter.id.seq.0.cast_signed();
        let at = now_ms();
        let kept = insert.execute(params![gateway_no, seq, letter.bytes, letter.reason, at])?;
        if kept > 0 {
            let no = connection.last_insert_rowid();
            let queued = Queued::numbered(Change::DeadLetter, no, at);
            event_log::push(connection, [queued])?;
            continue;
        }
        let what = set_aside_name(letter.id);
        if !is_kept.exists(params![gateway_no, seq, letter.bytes, what])? {
            set_aside.execute(params![what, letter.bytes, letter.reason, at])?;
        }
    }
    Ok(())
}
