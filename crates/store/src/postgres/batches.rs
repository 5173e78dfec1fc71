//! Batches. A row lock of the batch decides between its driver, a change of its state, and another driver.

use super::idempotency::{known, once};
use super::numbers::clean;
use super::{PostgresStore, audit, commands, error};
use crate::batches::{
    BatchRow, COLUMNS, IS_FINISHED, QUEUE_FULL, SET_COUNTS, changed, changed_entry, created,
    created_entry, item_state, plan_text,
};
use crate::idempotency::OtherRequest;
use crate::paging::{at_most, batch_before, cut_readable, item_after};
use crate::refusal::Refusal;
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
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

/// Place, charger, state, detail, command.
type ItemRow = (i64, String, i16, String, Option<Uuid>);

impl Batches for PostgresStore {
    fn create_batch(
        &self,
        new: &NewBatch,
    ) -> Result<Once<BatchView, BatchNotCreated>, Unavailable> {
        self.change(async |connection| {
            let once = once(connection, &new.request, async |connection| {
                create(connection, new).await
            });
            let once = once.await?;
            answered(connection, once).await
        })
    }

    fn batch_created_before(
        &self,
        request: &ChangeRequest,
    ) -> Result<Option<Once<BatchView, BatchNotCreated>>, Unavailable> {
        self.read(async |connection| {
            let once = match known(connection, request).await? {
                None => return Ok(None),
                Some(Ok(id)) => Once::Repeated(id),
                Some(Err(OtherRequest)) => Once::Mismatch,
            };
            answered(connection, once).await.map(Some)
        })
    }

    fn change_batch(
        &self,
        id: BatchId,
        change: BatchChange,
        request: &ChangeRequest,
    ) -> Result<Once<BatchView, BatchNotChanged>, Unavailable> {
        self.change(async |connection| {
            let once = once(connection, request, async |connection| {
                // The batch's driver, and another request, wait for this transaction.
                sqlx::query("SELECT 1 FROM batches WHERE id = $1 FOR NO KEY UPDATE")
                    .bind(id.0)
                    .execute(&mut *connection)
                    .await
                    .map_err(error::refusal)?;
                let Some(before) = find(connection, id).await? else {
                    return Ok(Err(BatchNotChanged::Unknown));
                };
                if !change.is_possible(before.state) {
                    return Ok(Err(BatchNotChanged::Ended(before.state)));
                }
                if before.state != change.to() {
                    set_state(connection, id, &[before.state], change.to(), "").await?;
                    let entry = changed_entry(&before, change, &request.origin);
                    audit::insert(connection, &entry).await?;
                }
                Ok(Ok(()))
            });
            let once = once.await?;
            let stored = find(connection, id).await?;
            Ok(changed(once, stored))
        })
    }

    fn batch(&self, id: BatchId) -> Result<Option<BatchView>, Unavailable> {
        self.read(async |connection| find(connection, id).await)
    }

    fn batches(&self, page: &PageRequest) -> Result<Page<BatchView>, QueryError> {
        let before = batch_before(page)?;
        let limit = page.rows();
        let found = self.read(async |connection| {
            let sql =
                format!("SELECT {COLUMNS} FROM batches WHERE no < $1 ORDER BY no DESC LIMIT $2");
            let rows = sqlx::query(AssertSqlSafe(sql))
                .bind(before)
                .bind(at_most(limit + 1))
                .fetch_all(connection)
                .await
                .map_err(error::refusal)?;
            let rows = rows.iter().map(|found| {
                let row = row(found).map_err(error::refusal)?;
                Ok(row.listed())
            });
            rows.collect::<Result<Vec<_>, Refusal>>()
        })?;
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
        let found = self.read(async |connection| {
            let wanted = state.map(|state| i16::try_from(state.number()).unwrap_or_default());
            let sql = format!(
                "SELECT i.place, i.charger_id, i.state, i.detail, i.command FROM batch_items i
                 WHERE i.batch = (SELECT no FROM batches WHERE id = $1) AND i.place > $2 AND {}
                 ORDER BY i.place LIMIT $4",
                match state {
                    Some(_) => "i.state = $3",
                    None => "$3::smallint IS NULL",
                }
            );
            let rows: Vec<ItemRow> = sqlx::query_as(AssertSqlSafe(sql))
                .bind(id.0)
                .bind(after)
                .bind(wanted)
                .bind(at_most(limit + 1))
                .fetch_all(&mut *connection)
                .await
                .map_err(error::refusal)?;
            let ids: Vec<Uuid> = rows.iter().filter_map(|row| row.4).collect();
            let mut commands = commands::all_shown(connection, &ids).await?;
            let mut found = Vec::with_capacity(rows.len());
            for (place, charger_id, state, detail, command) in rows {
                let command = command.and_then(|id| commands.remove(&CommandId(id)));
                let view = item_state(&charger_id, state.into()).map(|state| ItemView {
                    place: u32::try_from(place).unwrap_or(u32::MAX),
                    charger_id,
                    state,
                    detail,
                    command: command.map(|command| command.view(now)),
                });
                found.push((Place::BatchItem(place), view));
            }
            Ok(found)
        })?;
        Ok(cut_readable(found, limit))
    }

    fn set_batch_state(
        &self,
        id: BatchId,
        from: &[BatchState],
        to: BatchState,
        detail: &str,
    ) -> Result<Option<(bool, BatchView)>, Unavailable> {
        self.change(async |connection| {
            let is_changed = set_state(connection, id, from, to, detail).await?;
            let found = find(connection, id).await?;
            Ok(found.map(|view| (is_changed, view)))
        })
    }

    fn lease_batches(
        &self,
        holder: Uuid,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<BatchView>, Unavailable> {
        // Without a batch there is nothing to write.
        let has_some: bool = self.read(async |connection| {
            let sql = format!("SELECT EXISTS (SELECT 1 FROM batches WHERE NOT ({IS_FINISHED}))");
            sqlx::query_scalar(AssertSqlSafe(sql))
                .fetch_one(connection)
                .await
                .map_err(error::refusal)
        })?;
        if !has_some {
            return Ok(Vec::new());
        }
        self.change(async |connection| {
            let sql = format!(
                "UPDATE batches SET holder = $1, held_until = $3
                 WHERE NOT ({IS_FINISHED}) AND (holder IS NULL OR holder = $1 OR held_until <= $2)
                 RETURNING {COLUMNS}"
            );
            let rows = sqlx::query(AssertSqlSafe(sql))
                .bind(holder)
                .bind(now.0)
                .bind(until.0)
                .fetch_all(connection)
                .await
                .map_err(error::refusal)?;
            let rows: Result<Vec<BatchRow>, sqlx::Error> = rows.iter().map(row).collect();
            let mut rows = rows.map_err(error::refusal)?;
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
        self.change(async |connection| {
            let Some(no) = held(connection, id, holder, now, true).await? else {
                return Ok(Vec::new());
            };
            let places: Vec<i64> = commands
                .iter()
                .map(|(place, _)| i64::from(*place))
                .collect();
            let pending: Vec<i64> = sqlx::query_scalar(
                "SELECT place FROM batch_items WHERE batch = $1 AND place = ANY ($2) AND state = 0",
            )
            .bind(no)
            .bind(&places)
            .fetch_all(&mut *connection)
            .await
            .map_err(error::refusal)?;
            let mut started = Vec::new();
            for (place, new) in commands {
                if !pending.contains(&i64::from(*place)) {
                    continue;
                }
                let created = commands::create(connection, new).await?;
                let (state, detail, command) = match created {
                    Created::QueueFull | Created::Mismatch => (ItemState::Failed, QUEUE_FULL, None),
                    Created::New(_) | Created::Repeated(_) => {
                        started.push(*place);
                        (ItemState::Started, "", Some(new.command.id.0))
                    }
                };
                sqlx::query(
                    "UPDATE batch_items SET state = $3, detail = $4, command = $5
                     WHERE batch = $1 AND place = $2",
                )
                .bind(no)
                .bind(i64::from(*place))
                .bind(i16::try_from(state.number()).unwrap_or_default())
                .bind(detail)
                .bind(command)
                .execute(&mut *connection)
                .await
                .map_err(error::refusal)?;
            }
            set_counts(connection, no).await?;
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
        self.change(async |connection| {
            let Some(no) = held(connection, id, holder, now, false).await? else {
                return Ok(());
            };
            let places: Vec<i64> = ends.iter().map(|end| i64::from(end.place)).collect();
            let states: Vec<i16> = ends
                .iter()
                .map(|end| i16::try_from(end.state.number()).unwrap_or_default())
                .collect();
            let details: Vec<String> = ends
                .iter()
                .map(|end| clean(&end.detail).into_owned())
                .collect();
            sqlx::query(
                "UPDATE batch_items i SET state = e.state, detail = e.detail
                 FROM unnest($2::bigint[], $3::smallint[], $4::text[]) AS e (place, state, detail)
                 WHERE i.batch = $1 AND i.place = e.place AND i.state IN (0, 1)",
            )
            .bind(no)
            .bind(places)
            .bind(states)
            .bind(details)
            .execute(&mut *connection)
            .await
            .map_err(error::refusal)?;
            set_counts(connection, no).await
        })
    }
}

/// The number of the batch, whose row is then locked, if the holder has its lease, and it is running where that is
/// needed.
async fn held(
    connection: &mut PgConnection,
    id: BatchId,
    holder: Uuid,
    now: Timestamp,
    needs_running: bool,
) -> Result<Option<i64>, Refusal> {
    sqlx::query_scalar(
        "SELECT no FROM batches
         WHERE id = $1 AND holder = $2 AND held_until > $3 AND (state = 0 OR NOT $4) FOR NO KEY UPDATE",
    )
    .bind(id.0)
    .bind(holder)
    .bind(now.0)
    .bind(needs_running)
    .fetch_optional(connection)
    .await
    .map_err(error::refusal)
}

async fn set_counts(connection: &mut PgConnection, no: i64) -> Result<(), Refusal> {
    sqlx::query(SET_COUNTS)
        .bind(no)
        .execute(connection)
        .await
        .map_err(error::refusal)?;
    Ok(())
}

async fn set_state(
    connection: &mut PgConnection,
    id: BatchId,
    from: &[BatchState],
    to: BatchState,
    detail: &str,
) -> Result<bool, Refusal> {
    let number = |state: BatchState| i16::try_from(state.number()).unwrap_or_default();
    let from: Vec<i16> = from.iter().copied().map(number).collect();
    let done = sqlx::query(
        "UPDATE batches SET state = $2, detail = $3,
             ignored_succeeded = CASE WHEN state = 2 AND $2 = 0 THEN succeeded ELSE ignored_succeeded END,
             ignored_failed = CASE WHEN state = 2 AND $2 = 0 THEN failed ELSE ignored_failed END
         WHERE id = $1 AND state = ANY ($4)",
    )
    .bind(id.0)
    .bind(number(to))
    .bind(clean(detail).into_owned())
    .bind(&from)
    .execute(connection)
    .await
    .map_err(error::refusal)?;
    Ok(done.rows_affected() > 0)
}

async fn answered(
    connection: &mut PgConnection,
    once: Once<BatchId, BatchNotCreated>,
) -> Result<Once<BatchView, BatchNotCreated>, Refusal> {
    let stored = match &once {
        Once::Done(id) | Once::Repeated(id) => find(connection, *id).await?,
        Once::Refused(_) | Once::Mismatch | Once::InUse => None,
    };
    created(once, stored)
}

async fn create(
    connection: &mut PgConnection,
    new: &NewBatch,
) -> Result<Result<BatchId, BatchNotCreated>, Refusal> {
    if find(connection, new.id).await?.is_some() {
        return Ok(Ok(new.id));
    }
    let sql = format!("SELECT count(*) FROM batches WHERE NOT ({IS_FINISHED})");
    let open: i64 = sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_one(&mut *connection)
        .await
        .map_err(error::refusal)?;
    if open.unsigned_abs() >= BATCHES_OPEN_MAX as u64 {
        return Ok(Err(BatchNotCreated::TooMany));
    }
    let no: i64 = sqlx::query_scalar(
        "INSERT INTO batches (id, created_at, requested_by, plan, state, detail, total, pending, started, succeeded,
             failed, not_started)
         VALUES ($1, $2, $3, $4, 0, '', $5, $5, 0, 0, 0, 0) RETURNING no",
    )
    .bind(new.id.0)
    .bind(new.request.origin.at.0)
    .bind(clean(new.request.requested_by()).into_owned())
    .bind(clean(&plan_text(&new.plan)?).into_owned())
    .bind(at_most(new.chargers.len()))
    .fetch_one(&mut *connection)
    .await
    .map_err(error::refusal)?;
    let chargers: Vec<String> = new
        .chargers
        .iter()
        .map(|charger| clean(charger).into_owned())
        .collect();
    sqlx::query(
        "INSERT INTO batch_items (batch, place, charger_id, state, detail)
         SELECT $1, place - 1, charger, 0, '' FROM unnest($2::text[]) WITH ORDINALITY AS u (charger, place)",
    )
    .bind(no)
    .bind(chargers)
    .execute(&mut *connection)
    .await
    .map_err(error::refusal)?;
    // The oldest finished ones beyond those that are kept.
    let sql = format!(
        "WITH old AS (
             DELETE FROM batches WHERE {IS_FINISHED}
                 AND no <= (SELECT no FROM batches ORDER BY no DESC LIMIT 1 OFFSET {BATCHES_KEPT}) RETURNING no)
         DELETE FROM batch_items WHERE batch IN (SELECT no FROM old)"
    );
    sqlx::query(AssertSqlSafe(sql))
        .execute(&mut *connection)
        .await
        .map_err(error::refusal)?;
    if let Some(view) = find(connection, new.id).await? {
        let entry = created_entry(&view, &new.request.origin)?;
        audit::insert(connection, &entry).await?;
    }
    Ok(Ok(new.id))
}

async fn find(connection: &mut PgConnection, id: BatchId) -> Result<Option<BatchView>, Refusal> {
    let sql = format!("SELECT {COLUMNS} FROM batches WHERE id = $1");
    let found = sqlx::query(AssertSqlSafe(sql))
        .bind(id.0)
        .fetch_optional(connection)
        .await
        .map_err(error::refusal)?;
    let found = found.as_ref().map(row).transpose();
    found
        .map_err(error::refusal)?
        .map(BatchRow::view)
        .transpose()
}

fn row(row: &PgRow) -> Result<BatchRow, sqlx::Error> {
    let mut counts = [0; 8];
    for (at, count) in counts.iter_mut().enumerate() {
        *count = row.try_get(7 + at)?;
    }
    Ok(BatchRow {
        no: row.try_get(0)?,
        id: row.try_get(1)?,
        created_at: row.try_get(2)?,
        requested_by: row.try_get(3)?,
        plan: row.try_get(4)?,
        state: row.try_get::<i16, _>(5)?.into(),
        detail: row.try_get(6)?,
        counts,
    })
}
