//! Dead letters: inserted with a batch; read, tried again or discarded by the operator.

use super::idempotency::{known, once};
use super::listing::uuid_of;
use super::{audit, event_log};
use crate::dead_letters::{
    APPLIED, Columns, DISCARDED, Described, GONE, Gone, Removed, WAITING, Waiting, check_number,
    gone, record_id, retried, set_aside_name, unreadable, waiting,
};
use crate::event_log::{Change, Queued};
use crate::paging::{at_most, cut};
use crate::refusal::Refusal;
use crate::sqlite::writer::Cache;
use crate::sqlite::{SqliteStore, numbers};
use central::RecordId;
use central::ports::{
    ChangeRequest, DeadLetter, DeadLetters, DiscardRequest, LETTERS_CHANGED_MAX, LetterSelection,
    NotSelected, Once, Retried, Unavailable,
};
use central::query::{DeadLetterFilter, DeadLetterRow, DeadLetterState, Page, Place};
use common::clock::now_ms;
use rusqlite::{Connection, OptionalExtension, Row, params};
use sha2::{Digest, Sha256};

/// The conditions of a filter; its values are parameters 1 to 5, in the order of [`Columns`].
const MATCHES: &str = "(?1 IS NULL OR d.charger_key = ?1) AND (?2 IS NULL OR d.action = ?2)
     AND (?3 IS NULL OR instr(d.reason, ?3) > 0) AND d.at >= ?4 AND d.at < ?5";

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

    fn letter_row(&self, id: RecordId) -> Result<Option<DeadLetterRow>, Unavailable> {
        self.readers
            .read(|connection| one(connection, id))
            .map_err(Refusal::into_unavailable)
    }

    fn select_letters(
        &self,
        selection: &LetterSelection,
    ) -> Result<Result<Vec<RecordId>, NotSelected>, Unavailable> {
        self.readers
            .read(|connection| select(connection, selection))
            .map_err(Refusal::into_unavailable)
    }

    fn discard_letters(
        &self,
        wanted: &DiscardRequest,
    ) -> Result<Once<Vec<String>, NotSelected>, Unavailable> {
        self.transact(|connection, _| {
            once(connection, &wanted.request, |connection| {
                let ids = match select(connection, &wanted.selection)? {
                    Ok(ids) => ids,
                    Err(refused) => return Ok(Err(refused)),
                };
                event_log::keep_letters(connection, &ids)?;
                for id in &ids {
                    discard(connection, *id, wanted)?;
                }
                Ok(Ok(ids.iter().map(RecordId::to_string).collect()))
            })
        })
    }

    fn retried_before(
        &self,
        request: &ChangeRequest,
    ) -> Result<Option<Once<Retried, NotSelected>>, Unavailable> {
        let before = self.readers.read(|connection| known(connection, request));
        Ok(before.map_err(Refusal::into_unavailable)?.map(retried))
    }

    fn settle_retry(
        &self,
        retried: &Retried,
        request: &ChangeRequest,
    ) -> Result<Once<Retried, NotSelected>, Unavailable> {
        self.transact(|connection, _| {
            once(connection, request, |connection| {
                let applied = retried.applied.iter();
                let applied: Vec<RecordId> = applied
                    .map(|id| id.parse().map_err(|()| unreadable(id)))
                    .collect::<Result<_, _>>()?;
                event_log::keep_letters(connection, &applied)?;
                for id in applied {
                    // Another retry may have removed it.
                    if let Some((_, removed)) = remove(connection, id)? {
                        let entry = removed.entry(APPLIED, None, &request.origin);
                        audit::insert(connection, &entry)?;
                    }
                }
                Ok(Ok(retried.clone()))
            })
        })
    }
}

/// The dead letter of this record, which waits or was discarded.
pub(super) fn one(connection: &Connection, id: RecordId) -> Result<Option<DeadLetterRow>, Refusal> {
    let found = connection
        .prepare_cached(&format!(
            "SELECT {WAITING} FROM dead_letters d JOIN gateways g ON g.no = d.gateway_no
             WHERE g.id = ?1 AND d.seq = ?2"
        ))?
        .query_row(
            params![id.gateway.0.as_bytes(), id.seq.0.cast_signed()],
            waiting_row,
        )
        .optional()?;
    match found {
        Some(found) => Ok(Some(waiting(found))),
        None => discarded(connection, id),
    }
}

/// A page of dead letters, the oldest first.
pub(super) fn page(
    connection: &Connection,
    filter: &DeadLetterFilter,
    after: i64,
    limit: usize,
) -> Result<Page<DeadLetterRow>, Refusal> {
    let (columns, table) = match filter.state {
        DeadLetterState::Waiting => (WAITING, "dead_letters"),
        DeadLetterState::Discarded => (GONE, "discarded_letters"),
    };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {columns} FROM {table} d JOIN gateways g ON g.no = d.gateway_no
         WHERE {MATCHES} AND d.no > ?6 ORDER BY d.no LIMIT ?7"
    ))?;
    let wanted = Columns::of(filter);
    let wanted = params![
        wanted.charger_key,
        wanted.action,
        wanted.reason,
        wanted.from,
        wanted.to,
        after,
        at_most(limit + 1),
    ];
    let rows = statement.query_map(wanted, |row| {
        Ok(match filter.state {
            DeadLetterState::Waiting => {
                let row = waiting_row(row)?;
                (Place::DeadLetter(row.0), waiting(row))
            }
            DeadLetterState::Discarded => {
                let row = gone_row(row)?;
                (Place::DeadLetter(row.0), gone(row))
            }
        })
    })?;
    Ok(cut(rows.collect::<Result<_, _>>()?, limit))
}

/// The columns [`WAITING`].
pub(super) fn waiting_row(row: &Row<'_>) -> rusqlite::Result<Waiting> {
    Ok((
        row.get(0)?,
        uuid_of(row, 1)?,
        row.get(2)?,
        row.get(3)?,
        row.get(4)?,
        row.get(5)?,
        row.get(6)?,
        row.get(7)?,
    ))
}

fn gone_row(row: &Row<'_>) -> rusqlite::Result<Gone> {
    Ok((
        row.get(0)?,
        uuid_of(row, 1)?,
        row.get(2)?,
        row.get(3)?,
        row.get(4)?,
        row.get(5)?,
        row.get(6)?,
        row.get(7)?,
        row.get(8)?,
        row.get(9)?,
        row.get(10)?,
    ))
}

fn discarded(connection: &Connection, id: RecordId) -> Result<Option<DeadLetterRow>, Refusal> {
    let found = connection
        .prepare_cached(&format!(
            "SELECT {GONE} FROM discarded_letters d JOIN gateways g ON g.no = d.gateway_no
             WHERE g.id = ?1 AND d.seq = ?2 ORDER BY d.no DESC LIMIT 1"
        ))?
        .query_row(
            params![id.gateway.0.as_bytes(), id.seq.0.cast_signed()],
            gone_row,
        )
        .optional()?;
    Ok(found.map(gone))
}

fn select(
    connection: &Connection,
    selection: &LetterSelection,
) -> Result<Result<Vec<RecordId>, NotSelected>, Refusal> {
    let (filter, expected) = match selection {
        LetterSelection::Ids(ids) => return select_ids(connection, ids),
        LetterSelection::Matching { filter, expected } => (filter, *expected),
    };
    let wanted = Columns::of(filter);
    // Counted in the same query, so that the number is that of the rows.
    let rows: Vec<(RecordId, i64)> = connection
        .prepare_cached(&format!(
            "SELECT g.id, d.seq, count(*) OVER () FROM dead_letters d JOIN gateways g ON g.no = d.gateway_no
             WHERE {MATCHES} ORDER BY d.no LIMIT ?6"
        ))?
        .query_map(
            params![
                wanted.charger_key,
                wanted.action,
                wanted.reason,
                wanted.from,
                wanted.to,
                at_most(LETTERS_CHANGED_MAX),
            ],
            |row| Ok((record_id(uuid_of(row, 0)?, row.get(1)?), row.get(2)?)),
        )?
        .collect::<Result<_, _>>()?;
    let found = rows.first().map_or(0, |row| row.1.unsigned_abs());
    let ids = rows.into_iter().map(|(id, _)| id);
    Ok(check_number(found, expected).map(|()| ids.collect()))
}

fn select_ids(
    connection: &Connection,
    ids: &[RecordId],
) -> Result<Result<Vec<RecordId>, NotSelected>, Refusal> {
    if let Err(refused) = check_number(ids.len() as u64, None) {
        return Ok(Err(refused));
    }
    let mut waiting = connection.prepare_cached(
        "SELECT 1 FROM dead_letters d JOIN gateways g ON g.no = d.gateway_no WHERE g.id = ?1 AND d.seq = ?2",
    )?;
    for id in ids {
        if waiting.exists(params![id.gateway.0.as_bytes(), id.seq.0.cast_signed()])? {
            continue;
        }
        let row = discarded(connection, *id)?;
        let discarded = row.and_then(|row| row.discarded);
        return Ok(Err(discarded.map_or(
            NotSelected::Unknown { id: *id },
            |discarded| NotSelected::Discarded {
                id: *id,
                at: discarded.at,
                by: discarded.by,
            },
        )));
    }
    Ok(Ok(ids.to_vec()))
}

/// Moves a letter to `discarded_letters`, without its content.
fn discard(connection: &Connection, id: RecordId, wanted: &DiscardRequest) -> Result<(), Refusal> {
    let Some((bytes, removed)) = remove(connection, id)? else {
        return Ok(());
    };
    let charger_key = Described::of(&bytes, str::to_owned).charger_key;
    connection
        .prepare_cached(
            "INSERT INTO discarded_letters (gateway_no, seq, digest, size_bytes, charger_id, charger_key, action,
                 reason, at, discarded_at, discarded_by, discard_reason)
             VALUES ((SELECT no FROM gateways WHERE id = ?1), ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute(params![
            id.gateway.0.as_bytes(),
            id.seq.0.cast_signed(),
            digest(&bytes),
            removed.size_bytes,
            removed.charger_id,
            charger_key,
            removed.action,
            removed.reason,
            removed.at,
            wanted.request.origin.at.0,
            wanted.request.requested_by(),
            wanted.reason,
        ])?;
    let entry = removed.entry(DISCARDED, Some(&wanted.reason), &wanted.request.origin);
    audit::insert(connection, &entry)
}

/// Deletes a letter; `None` if it does not wait.
fn remove(connection: &Connection, id: RecordId) -> Result<Option<(Vec<u8>, Removed)>, Refusal> {
    let Some(gateway_no) = numbers::gateway_no(connection, id.gateway)? else {
        return Ok(None);
    };
    let removed = connection
        .prepare_cached(
            "DELETE FROM dead_letters WHERE gateway_no = ?1 AND seq = ?2
             RETURNING bytes, charger_id, action, reason, at",
        )?
        .query_row(params![gateway_no, id.seq.0.cast_signed()], |row| {
            let bytes: Vec<u8> = row.get(0)?;
            let removed = Removed {
                id,
                charger_id: row.get(1)?,
                action: row.get(2)?,
                reason: row.get(3)?,
                at: row.get(4)?,
                size_bytes: i64::try_from(bytes.len()).unwrap_or(i64::MAX),
            };
            Ok((bytes, removed))
        })
        .optional()?;
    Ok(removed)
}

fn digest(bytes: &[u8]) -> Vec<u8> {
    Sha256::digest(bytes).to_vec()
}

/// Inserts each dead letter once, unless a person has discarded it. When a different one with the same id exists, it goes to
/// `set_aside`, so that no data is lost.
pub(crate) fn insert(
    connection: &Connection,
    cache: &mut Cache,
    letters: &[DeadLetter],
) -> Result<(), Refusal> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO dead_letters (gateway_no, seq, bytes, reason, at, charger_id, charger_key, action)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (gateway_no, seq) DO NOTHING",
    )?;
    let mut is_discarded = connection.prepare_cached(
        "SELECT 1 FROM discarded_letters WHERE gateway_no = ?1 AND seq = ?2 AND digest = ?3",
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
        if is_discarded.exists(params![gateway_no, seq, digest(&letter.bytes)])? {
            continue;
        }
        let described = Described::of(&letter.bytes, str::to_owned);
        let kept = insert.execute(params![
            gateway_no,
            seq,
            letter.bytes,
            letter.reason,
            at,
            described.charger_id,
            described.charger_key,
            described.action,
        ])?;
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

/// Fills the columns that say what a dead letter is about, after the migration that adds them.
pub(super) fn describe_all(connection: &Connection) -> Result<(), Refusal> {
    let mut next = connection
        .prepare("SELECT no, bytes FROM dead_letters WHERE no > ?1 ORDER BY no LIMIT 1")?;
    let mut after = i64::MIN;
    while let Some((no, bytes)) = next
        .query_row([after], |row| Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)?)))
        .optional()?
    {
        let described = Described::of(&bytes, str::to_owned);
        connection.execute(
            "UPDATE dead_letters SET charger_id = ?2, charger_key = ?3, action = ?4 WHERE no = ?1",
            params![
                no,
                described.charger_id,
                described.charger_key,
                described.action
            ],
        )?;
        after = no;
    }
    Ok(())
}
