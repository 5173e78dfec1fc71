//! Batches. SQLite has one writer at a time, so each call is exclusive.

use crate::batches::{
    BatchRow, COLUMNS, IS_FINISHED, QUEUE_FULL, SET_COUNTS, changed, changed_entry, created,
    created_entry, item_state, plan_text,
};
use crate::idempotency::OtherRequest;
use crate::paging::{at_most, batch_before, cut_readable, item_after};
use crate::refusal::Refusal;
use crate::sqlite::idempotency::{known, once};
use crate::sqlite::listing::uuid_of;
use crate::sqlite::{SqliteStore, audit, commands};
use crate::state::Unreadable;
use central::Timestamp;
use central::model::{
    BATCHES_KEPT, BATCHES_OPEN_MAX, BatchChange, BatchId, BatchState, BatchView, CommandId,
    ItemState, ItemView,
};
use central::ports::{
    BatchNotChanged, BatchNotCreated, Batches, ChangeRequest, Created, ItemEnd, NewBatch,
    NewCommand, Once, QueryError, Unavailable,
};
use central::query::{Page, PageRequest, Place};
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

impl Batches for SqliteStore {
    fn create_batch(
        &self,
        new: &NewBatch,
    ) -> Result<Once<BatchView, BatchNotCreated>, Unavailable> {
        self.transact(|connection, _| {
            let once = once(connection, &new.request, |connection| {
                create(connection, new)
            })?;
            answered(connection, once)
        })
    }

    fn batch_created_before(
        &self,
        request: &ChangeRequest,
    ) -> Result<Option<Once<BatchView, BatchNotCreated>>, Unavailable> {
        let before = self.readers.read(|connection| {
            let once = match known(connection, request)? {
                None => return Ok(None),
                Some(Ok(id)) => Once::Repeated(id),
                Some(Err(OtherRequest)) => Once::Mismatch,
            };
            answered(connection, once).map(Some)
        });
        before.map_err(Refusal::into_unavailable)
    }

    fn change_batch(
        &self,
        id: BatchId,
        change: BatchChange,
        request: &ChangeRequest,
    ) -> Result<Once<BatchView, BatchNotChanged>, Unavailable> {
        self.transact(|connection, _| {
            let once = once(connection, request, |connection| {
                let Some(before) = find(connection, id)? else {
                    return Ok(Err(BatchNotChanged::Unknown));
                };
                if !change.is_possible(before.state) {
                    return Ok(Err(BatchNotChanged::Ended(before.state)));
                }
                if before.state != change.to() {
                    set_state(connection, id, change.to(), "")?;
                    let entry = changed_entry(&before, change, &request.origin);
                    audit::insert(connection, &entry)?;
                }
                Ok(Ok(()))
            })?;
            Ok(changed(once, find(connection, id)?))
        })
    }

    fn batch(&self, id: BatchId) -> Result<Option<BatchView>, Unavailable> {
        let found = self.readers.read(|connection| find(connection, id));
        found.map_err(Refusal::into_unavailable)
    }

    fn batches(&self, page: &PageRequest) -> Result<Page<BatchView>, QueryError> {
        let before = batch_before(page)?;
        let limit = page.rows();
        let found = self.readers.read(|connection| {
            let sql =
                format!("SELECT {COLUMNS} FROM batches WHERE no < ?1 ORDER BY no DESC LIMIT ?2");
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(params![before, at_most(limit + 1)], row)?;
            let mut found = Vec::new();
            for row in rows {
                let row = row?;
                found.push(row.listed());
            }
            Ok(found)
        });
        let found = found.map_err(Refusal::into_unavailable)?;
        Ok(cut_readable(found, limit))
    }

    fn batch_items(
        &self,
        id: BatchId,
        state: Option<ItemState>,
        page: &PageRequest,
        now: Timestamp,
    ) -> Result<Page<ItemView>, QueryError> {
        let after = item_after(page)?;
        let limit = page.rows();
        let found = self.readers.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT i.place, i.charger_id, i.state, i.detail, i.command FROM batch_items i
                 JOIN batches b ON b.no = i.batch
                 WHERE b.id = ?1 AND i.place > ?2 AND (?3 IS NULL OR i.state = ?3) ORDER BY i.place LIMIT ?4",
            )?;
            let wanted = state.map(ItemState::number);
            let rows = statement.query_map(
                params![id.0.as_bytes(), after, wanted, at_most(limit + 1)],
                |row| {
                    let command: Option<[u8; 16]> = row.get(4)?;
                    Ok((
                        row.get::<_, i64>(0)?,
                        row.get::<_, String>(1)?,
                        row.get::<_, i64>(2)?,
                        row.get::<_, String>(3)?,
                        command.map(Uuid::from_bytes),
                    ))
                },
            )?;
            let mut found = Vec::new();
            for row in rows {
                let (place, charger_id, state, detail, command) = row?;
                let command = match command {
                    None => None,
                    Some(id) => commands::shown(connection, CommandId(id), Unreadable::IsNone)?,
                };
                let view = item_state(&charger_id, state).map(|state| ItemView {
                    place: u32::try_from(place).unwrap_or(u32::MAX),
                    charger_id,
                    state,
                    detail,
                    command: command.map(|command| command.view(now)),
                });
                found.push((Place::BatchItem(place), view));
            }
            Ok(found)
        });
        let found = found.map_err(Refusal::into_unavailable)?;
        Ok(cut_readable(found, limit))
    }

    fn set_batch_state(
        &self,
        id: BatchId,
        from: &[BatchState],
        to: BatchState,
        detail: &str,
    ) -> Result<Option<(bool, BatchView)>, Unavailable> {
        self.transact(|connection, _| {
            let Some(view) = find(connection, id)? else {
                return Ok(None);
            };
            if !from.contains(&view.state) {
                return Ok(Some((false, view)));
            }
            set_state(connection, id, to, detail)?;
            Ok(find(connection, id)?.map(|view| (true, view)))
        })
    }

    fn lease_batches(
        &self,
        holder: Uuid,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<BatchView>, Unavailable> {
        // Without a batch there is nothing to write.
        let sql = format!("SELECT EXISTS (SELECT 1 FROM batches WHERE NOT ({IS_FINISHED}))");
        let has_some = self.readers.read(|connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            Ok(statement.query_row([], |row| row.get::<_, bool>(0))?)
        });
        if !has_some.map_err(Refusal::into_unavailable)? {
            return Ok(Vec::new());
        }
        self.transact(|connection, _| {
            let sql = format!(
                "UPDATE batches SET holder = ?1, held_until = ?3
                 WHERE NOT ({IS_FINISHED}) AND (holder IS NULL OR holder = ?1 OR held_until <= ?2)
                 RETURNING {COLUMNS}"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(params![holder.as_bytes(), now.0, until.0], row)?;
            let mut rows = rows.collect::<Result<Vec<_>, _>>()?;
            rows.sort_unstable_by_key(|row| row.no);
            Ok(rows.into_iter().filter_map(BatchRow::readable).collect())
        })
    }

    fn start_items(
        &self,
        id: BatchId,
        holder: Uuid,
        commands: &[(u32, NewCommand)],
        now: Timestamp,
    ) -> Result<Vec<u32>, Unavailable> {
        self.transact(|connection, _| {
            let Some(no) = held(connection, id, holder, now, true)? else {
                return Ok(Vec::new());
            };
            let mut started = Vec::new();
            for (place, new) in commands {
                let is_pending = connection
                    .prepare_cached(
                        "SELECT 1 FROM batch_items WHERE batch = ?1 AND place = ?2 AND state = 0",
                    )?
                    .exists(params![no, place])?;
                if !is_pending {
                    continue;
                }
                let (state, detail, command) = match commands::create(connection, new)? {
                    Created::QueueFull | Created::Mismatch => (ItemState::Failed, QUEUE_FULL, None),
                    Created::New(_) | Created::Repeated(_) => {
                        started.push(*place);
                        (ItemState::Started, "", Some(new.command.id.0))
                    }
                };
                connection
                    .prepare_cached(
                        "UPDATE batch_items SET state = ?3, detail = ?4, command = ?5
                         WHERE batch = ?1 AND place = ?2",
                    )?
                    .execute(params![
                        no,
                        place,
                        state.number(),
                        detail,
                        command.as_ref().map(Uuid::as_bytes)
                    ])?;
            }
            connection.prepare_cached(SET_COUNTS)?.execute([no])?;
            Ok(started)
        })
    }

    fn end_items(
        &self,
        id: BatchId,
        holder: Uuid,
        ends: &[ItemEnd],
        now: Timestamp,
    ) -> Result<(), Unavailable> {
        self.transact(|connection, _| {
            let Some(no) = held(connection, id, holder, now, false)? else {
                return Ok(());
            };
            let mut update = connection.prepare_cached(
                "UPDATE batch_items SET state = ?3, detail = ?4
                 WHERE batch = ?1 AND place = ?2 AND state IN (0, 1)",
            )?;
            for end in ends {
                update.execute(params![no, end.place, end.state.number(), end.detail])?;
            }
            connection.prepare_cached(SET_COUNTS)?.execute([no])?;
            Ok(())
        })
    }
}

/// The number of the batch, if the holder has its lease, and it is running where that is needed.
fn held(
    connection: &Connection,
    id: BatchId,
    holder: Uuid,
    now: Timestamp,
    needs_running: bool,
) -> Result<Option<i64>, Refusal> {
    let found = connection
        .prepare_cached(
            "SELECT no FROM batches
             WHERE id = ?1 AND holder = ?2 AND held_until > ?3 AND (state = 0 OR NOT ?4)",
        )?
        .query_row(
            params![id.0.as_bytes(), holder.as_bytes(), now.0, needs_running],
            |row| row.get(0),
        )
        .optional()?;
    Ok(found)
}

fn set_state(
    connection: &Connection,
    id: BatchId,
    to: BatchState,
    detail: &str,
) -> Result<(), Refusal> {
    connection.execute(
        "UPDATE batches SET
             ignored_succeeded = iif(state = 2 AND ?2 = 0, succeeded, ignored_succeeded),
             ignored_failed = iif(state = 2 AND ?2 = 0, failed, ignored_failed),
             state = ?2, detail = ?3 WHERE id = ?1",
        params![id.0.as_bytes(), to.number(), detail],
    )?;
    Ok(())
}

fn answered(
    connection: &Connection,
    once: Once<BatchId, BatchNotCreated>,
) -> Result<Once<BatchView, BatchNotCreated>, Refusal> {
    let stored = match &once {
        Once::Done(id) | Once::Repeated(id) => find(connection, *id)?,
        Once::Refused(_) | Once::Mismatch | Once::InUse => None,
    };
    created(once, stored)
}

fn create(
    connection: &Connection,
    new: &NewBatch,
) -> Result<Result<BatchId, BatchNotCreated>, Refusal> {
    if find(connection, new.id)?.is_some() {
        return Ok(Ok(new.id));
    }
    let open: i64 = connection.query_row(
        &format!("SELECT count(*) FROM batches WHERE NOT ({IS_FINISHED})"),
        [],
        |row| row.get(0),
    )?;
    if open.unsigned_abs() >= BATCHES_OPEN_MAX as u64 {
        return Ok(Err(BatchNotCreated::TooMany));
    }
    let total = at_most(new.chargers.len());
    connection.execute(
        "INSERT INTO batches (id, created_at, requested_by, plan, state, detail, total, pending, started, succeeded,
             failed, not_started)
         VALUES (?1, ?2, ?3, ?4, 0, '', ?5, ?5, 0, 0, 0, 0)",
        params![
            new.id.0.as_bytes(),
            new.request.origin.at.0,
            new.request.requested_by(),
            plan_text(&new.plan)?,
            total
        ],
    )?;
    let no = connection.last_insert_rowid();
    let mut insert = connection.prepare_cached(
        "INSERT INTO batch_items (batch, place, charger_id, state, detail) VALUES (?1, ?2, ?3, 0, '')",
    )?;
    for (place, charger) in (0_i64..).zip(&new.chargers) {
        insert.execute(params![no, place, charger])?;
    }
    // The oldest finished ones beyond those that are kept.
    let old = format!(
        "SELECT no FROM batches WHERE {IS_FINISHED}
             AND no <= (SELECT no FROM batches ORDER BY no DESC LIMIT 1 OFFSET {BATCHES_KEPT})"
    );
    connection.execute(
        &format!("DELETE FROM batch_items WHERE batch IN ({old})"),
        [],
    )?;
    connection.execute(&format!("DELETE FROM batches WHERE no IN ({old})"), [])?;
    if let Some(view) = find(connection, new.id)? {
        let entry = created_entry(&view, &new.request.origin)?;
        audit::insert(connection, &entry)?;
    }
    Ok(Ok(new.id))
}

fn find(connection: &Connection, id: BatchId) -> Result<Option<BatchView>, Refusal> {
    let sql = format!("SELECT {COLUMNS} FROM batches WHERE id = ?1");
    connection
        .prepare_cached(&sql)?
        .query_row([id.0.as_bytes().as_slice()], row)
        .optional()?
        .map(BatchRow::view)
        .transpose()
}

fn row(row: &Row<'_>) -> rusqlite::Result<BatchRow> {
    let mut counts = [0; 8];
    for (at, count) in counts.iter_mut().enumerate() {
        *count = row.get(7 + at)?;
    }
    Ok(BatchRow {
        no: row.get(0)?,
        id: uuid_of(row, 1)?,
        created_at: row.get(2)?,
        requested_by: row.get(3)?,
        plan: row.get(4)?,
        state: row.get(5)?,
        detail: row.get(6)?,
        counts,
    })
}
