//! Dead letters: inserted with a batch; read, tried again or discarded by the operator.

use super::idempotency::{known, once};
use super::numbers::clean;
use super::writer::Cache;
use super::{PostgresStore, audit, error, event_log};
use crate::dead_letters::{
    APPLIED, Columns, DISCARDED, Described, GONE, Gone, Removed, WAITING, Waiting, check_number,
    gone, record_id, retried, set_aside_name, unreadable, waiting,
};
use crate::event_log::{Change, Queued};
use crate::paging::{at_most, cut};
use crate::refusal::Refusal;
use central::RecordId;
use central::model::AuditEntry;
use central::ports::{
    ChangeRequest, DeadLetter, DeadLetters, DiscardRequest, LETTERS_CHANGED_MAX, LetterSelection,
    NotSelected, Once, Retried, Unavailable,
};
use central::query::{DeadLetterFilter, DeadLetterRow, DeadLetterState, Page, Place};
use common::clock::now_ms;
use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgConnection, PgRow};
use std::collections::HashSet;
use uuid::Uuid;

/// Advisory lock of those who remove dead letters, so that each is removed once. The bytes `WATL`.
const REMOVAL_LOCK: i64 = 0x5741_544C;

/// The conditions of a filter; its values are parameters 1 to 5, in the order of [`Columns`].
const MATCHES: &str =
    "($1::text IS NULL OR d.charger_key = $1) AND ($2::text IS NULL OR d.action = $2)
     AND ($3::text IS NULL OR position($3 IN d.reason) > 0) AND d.at >= $4 AND d.at < $5";

/// The columns of a [`Removed`].
type RemovedRow = (Uuid, i64, Option<String>, Option<String>, String, i64, i64);

impl DeadLetters for PostgresStore {
    fn dead_letter(&self, id: RecordId) -> Result<Option<DeadLetter>, Unavailable> {
        self.read(async |connection| {
            let found: Option<(Vec<u8>, String)> = sqlx::query_as(
                "SELECT d.bytes, d.reason FROM dead_letters d JOIN gateways g ON g.no = d.gateway_no
                 WHERE g.id = $1 AND d.seq = $2",
            )
            .bind(id.gateway.0)
            .bind(id.seq.0.cast_signed())
            .fetch_optional(connection)
            .await
            .map_err(error::refusal)?;
            Ok(found.map(|(bytes, reason)| DeadLetter { id, bytes, reason }))
        })
    }

    fn letter_row(&self, id: RecordId) -> Result<Option<DeadLetterRow>, Unavailable> {
        self.read(async |connection| one(connection, id).await)
    }

    fn select_letters(
        &self,
        selection: &LetterSelection,
    ) -> Result<Result<Vec<RecordId>, NotSelected>, Unavailable> {
        self.read(async |connection| select(connection, selection).await)
    }

    fn discard_letters(
        &self,
        wanted: &DiscardRequest,
    ) -> Result<Once<Vec<String>, NotSelected>, Unavailable> {
        self.write(async |connection| {
            once(connection, &wanted.request, async |connection| {
                lock(connection).await?;
                let ids = match select(connection, &wanted.selection).await? {
                    Ok(ids) => ids,
                    Err(refused) => return Ok(Err(refused)),
                };
                Ok(Ok(discard(connection, &ids, wanted).await?))
            })
            .await
        })
    }

    fn retried_before(
        &self,
        request: &ChangeRequest,
    ) -> Result<Option<Once<Retried, NotSelected>>, Unavailable> {
        let before = self.read(async |connection| known(connection, request).await)?;
        Ok(before.map(retried))
    }

    fn settle_retry(
        &self,
        retried: &Retried,
        request: &ChangeRequest,
    ) -> Result<Once<Retried, NotSelected>, Unavailable> {
        self.write(async |connection| {
            once(connection, request, async |connection| {
                lock(connection).await?;
                let ids = retried.applied.iter();
                let ids = ids.map(|id| id.parse().map_err(|()| unreadable(id)));
                let ids = ids.collect::<Result<Vec<RecordId>, _>>()?;
                let removed = remove(connection, &ids).await?;
                let entries = removed.iter();
                let entries = entries.map(|letter| letter.entry(APPLIED, None, &request.origin));
                audit::insert_all(connection, &entries.collect::<Vec<AuditEntry>>()).await?;
                Ok(Ok(retried.clone()))
            })
            .await
        })
    }
}

/// The dead letter of this record, which waits or was discarded.
pub(super) async fn one(
    connection: &mut PgConnection,
    id: RecordId,
) -> Result<Option<DeadLetterRow>, Refusal> {
    let found: Option<Waiting> = sqlx::query_as(AssertSqlSafe(format!(
        "SELECT {WAITING} FROM dead_letters d JOIN gateways g ON g.no = d.gateway_no
         WHERE g.id = $1 AND d.seq = $2"
    )))
    .bind(id.gateway.0)
    .bind(id.seq.0.cast_signed())
    .fetch_optional(&mut *connection)
    .await
    .map_err(error::refusal)?;
    match found {
        Some(found) => Ok(Some(waiting(found))),
        None => discarded(connection, id).await,
    }
}

/// A page of dead letters, the oldest first.
pub(super) async fn page(
    connection: &mut PgConnection,
    filter: &DeadLetterFilter,
    after: i64,
    limit: usize,
) -> Result<Page<DeadLetterRow>, Refusal> {
    let (columns, table) = match filter.state {
        DeadLetterState::Waiting => (WAITING, "dead_letters"),
        DeadLetterState::Discarded => (GONE, "discarded_letters"),
    };
    let sql = AssertSqlSafe(format!(
        "SELECT {columns} FROM {table} d JOIN gateways g ON g.no = d.gateway_no
         WHERE {MATCHES} AND d.no > $6 ORDER BY d.no LIMIT $7"
    ));
    let rows = match filter.state {
        DeadLetterState::Waiting => {
            let rows: Vec<Waiting> = matching(connection, sql, filter, after, limit).await?;
            let rows = rows.into_iter();
            rows.map(|row| (Place::DeadLetter(row.0), waiting(row)))
                .collect()
        }
        DeadLetterState::Discarded => {
            let rows: Vec<Gone> = matching(connection, sql, filter, after, limit).await?;
            let rows = rows.into_iter();
            rows.map(|row| (Place::DeadLetter(row.0), gone(row)))
                .collect()
        }
    };
    Ok(cut(rows, limit))
}

/// One row more than the page has, of a statement whose parameters are those of [`MATCHES`], `after` and the limit.
async fn matching<T>(
    connection: &mut PgConnection,
    sql: AssertSqlSafe<String>,
    filter: &DeadLetterFilter,
    after: i64,
    limit: usize,
) -> Result<Vec<T>, Refusal>
where
    T: for<'r> sqlx::FromRow<'r, PgRow> + Send + Unpin,
{
    let wanted = Columns::of(filter);
    let text = |text: &Option<String>| text.as_deref().map(|text| clean(text).into_owned());
    sqlx::query_as(sql)
        .bind(text(&wanted.charger_key))
        .bind(text(&wanted.action))
        .bind(text(&wanted.reason))
        .bind(wanted.from)
        .bind(wanted.to)
        .bind(after)
        .bind(at_most(limit + 1))
        .fetch_all(connection)
        .await
        .map_err(error::refusal)
}

async fn discarded(
    connection: &mut PgConnection,
    id: RecordId,
) -> Result<Option<DeadLetterRow>, Refusal> {
    let found: Option<Gone> = sqlx::query_as(AssertSqlSafe(format!(
        "SELECT {GONE} FROM discarded_letters d JOIN gateways g ON g.no = d.gateway_no
         WHERE g.id = $1 AND d.seq = $2 ORDER BY d.no DESC LIMIT 1"
    )))
    .bind(id.gateway.0)
    .bind(id.seq.0.cast_signed())
    .fetch_optional(connection)
    .await
    .map_err(error::refusal)?;
    Ok(found.map(gone))
}

async fn lock(connection: &mut PgConnection) -> Result<(), Refusal> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(REMOVAL_LOCK)
        .execute(connection)
        .await
        .map_err(error::refusal)?;
    Ok(())
}

async fn select(
    connection: &mut PgConnection,
    selection: &LetterSelection,
) -> Result<Result<Vec<RecordId>, NotSelected>, Refusal> {
    let (filter, expected) = match selection {
        LetterSelection::Ids(ids) => return select_ids(connection, ids).await,
        LetterSelection::Matching { filter, expected } => (filter, *expected),
    };
    let wanted = Columns::of(filter);
    let text = |text: &Option<String>| text.as_deref().map(|text| clean(text).into_owned());
    // Counted in the same query, so that the number is that of the rows.
    let rows: Vec<(Uuid, i64, i64)> = sqlx::query_as(AssertSqlSafe(format!(
        "SELECT g.id, d.seq, count(*) OVER () FROM dead_letters d JOIN gateways g ON g.no = d.gateway_no
         WHERE {MATCHES} ORDER BY d.no LIMIT $6"
    )))
    .bind(text(&wanted.charger_key))
    .bind(text(&wanted.action))
    .bind(text(&wanted.reason))
    .bind(wanted.from)
    .bind(wanted.to)
    .bind(at_most(LETTERS_CHANGED_MAX))
    .fetch_all(connection)
    .await
    .map_err(error::refusal)?;
    let found = rows.first().map_or(0, |row| row.2.unsigned_abs());
    let ids = rows
        .iter()
        .map(|(gateway, seq, _)| record_id(*gateway, *seq));
    Ok(check_number(found, expected).map(|()| ids.collect()))
}

async fn select_ids(
    connection: &mut PgConnection,
    ids: &[RecordId],
) -> Result<Result<Vec<RecordId>, NotSelected>, Refusal> {
    if let Err(refused) = check_number(ids.len() as u64, None) {
        return Ok(Err(refused));
    }
    let (gateways, seqs) = split(ids);
    let waiting: Vec<(Uuid, i64)> = sqlx::query_as(
        "SELECT g.id, d.seq FROM dead_letters d JOIN gateways g ON g.no = d.gateway_no
         JOIN unnest($1::uuid[], $2::bigint[]) AS wanted (gateway, seq)
             ON g.id = wanted.gateway AND d.seq = wanted.seq",
    )
    .bind(&gateways)
    .bind(&seqs)
    .fetch_all(&mut *connection)
    .await
    .map_err(error::refusal)?;
    let waiting: HashSet<RecordId> = waiting
        .into_iter()
        .map(|(gateway, seq)| record_id(gateway, seq))
        .collect();
    if let Some(id) = ids.iter().find(|id| !waiting.contains(id)) {
        let row = discarded(connection, *id).await?;
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

/// Moves letters to `discarded_letters`, without their content. Returns the ids of those that still waited.
async fn discard(
    connection: &mut PgConnection,
    ids: &[RecordId],
    wanted: &DiscardRequest,
) -> Result<Vec<String>, Refusal> {
    let (gateways, seqs) = split(ids);
    event_log::keep_letters(connection, &gateways, &seqs).await?;
    let rows: Vec<RemovedRow> = sqlx::query_as(
        "WITH gone AS (
            DELETE FROM dead_letters d USING gateways g, unnest($1::uuid[], $2::bigint[]) AS wanted (gateway, seq)
            WHERE g.no = d.gateway_no AND g.id = wanted.gateway AND d.seq = wanted.seq
            RETURNING d.no, g.id AS gateway, d.gateway_no, d.seq, sha256(d.bytes) AS digest,
                length(d.bytes)::bigint AS size_bytes, d.charger_id, d.charger_key, d.action, d.reason, d.at),
         kept AS (
            INSERT INTO discarded_letters (gateway_no, seq, digest, size_bytes, charger_id, charger_key, action,
                reason, at, discarded_at, discarded_by, discard_reason)
            SELECT gateway_no, seq, digest, size_bytes, charger_id, charger_key, action, reason, at, $3, $4, $5
            FROM gone ORDER BY no)
         SELECT gateway, seq, charger_id, action, reason, at, size_bytes FROM gone ORDER BY no",
    )
    .bind(&gateways)
    .bind(&seqs)
    .bind(wanted.request.origin.at.0)
    .bind(clean(wanted.request.requested_by()))
    .bind(clean(&wanted.reason))
    .fetch_all(&mut *connection)
    .await
    .map_err(error::refusal)?;
    let removed: Vec<Removed> = rows.into_iter().map(removed).collect();
    let origin = &wanted.request.origin;
    let entries = removed.iter();
    let entries = entries.map(|letter| letter.entry(DISCARDED, Some(&wanted.reason), origin));
    audit::insert_all(connection, &entries.collect::<Vec<AuditEntry>>()).await?;
    Ok(removed.iter().map(|letter| letter.id.to_string()).collect())
}

/// Deletes letters. Returns those that still waited.
async fn remove(connection: &mut PgConnection, ids: &[RecordId]) -> Result<Vec<Removed>, Refusal> {
    let (gateways, seqs) = split(ids);
    event_log::keep_letters(connection, &gateways, &seqs).await?;
    let rows: Vec<RemovedRow> = sqlx::query_as(
        "WITH gone AS (
            DELETE FROM dead_letters d USING gateways g, unnest($1::uuid[], $2::bigint[]) AS wanted (gateway, seq)
            WHERE g.no = d.gateway_no AND g.id = wanted.gateway AND d.seq = wanted.seq
            RETURNING d.no, g.id AS gateway, d.seq, length(d.bytes)::bigint AS size_bytes, d.charger_id, d.action,
                d.reason, d.at)
         SELECT gateway, seq, charger_id, action, reason, at, size_bytes FROM gone ORDER BY no",
    )
    .bind(&gateways)
    .bind(&seqs)
    .fetch_all(connection)
    .await
    .map_err(error::refusal)?;
    Ok(rows.into_iter().map(removed).collect())
}

fn split(ids: &[RecordId]) -> (Vec<Uuid>, Vec<i64>) {
    ids.iter()
        .map(|id| (id.gateway.0, id.seq.0.cast_signed()))
        .unzip()
}

fn removed(row: RemovedRow) -> Removed {
    let (gateway, seq, charger_id, action, reason, at, size_bytes) = row;
    Removed {
        id: record_id(gateway, seq),
        charger_id,
        action,
        reason,
        at,
        size_bytes,
    }
}

/// Inserts each dead letter once, unless a person has discarded it. When a different one with the same id exists, it goes to
/// `set_aside`, so that no data is lost.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    cache: &Cache,
    letters: &[DeadLetter],
) -> Result<(), Refusal> {
    for letter in letters {
        let gateway_no = cache.numbers.gateway(letter.id.gateway)?;
        let at = now_ms();
        let described = Described::of(&letter.bytes, |text| clean(text).into_owned());
        let kept: Option<i64> = sqlx::query_scalar(
            "INSERT INTO dead_letters (gateway_no, seq, bytes, reason, at, charger_id, charger_key, action)
             SELECT $1, $2, $3, $4, $5, $6, $7, $8
             WHERE NOT EXISTS (SELECT 1 FROM discarded_letters
                 WHERE gateway_no = $1 AND seq = $2 AND digest = sha256($3))
             ON CONFLICT (gateway_no, seq) DO NOTHING RETURNING no",
        )
        .bind(gateway_no)
        .bind(letter.id.seq.0.cast_signed())
        .bind(&letter.bytes)
        .bind(clean(&letter.reason))
        .bind(at)
        .bind(&described.charger_id)
        .bind(&described.charger_key)
        .bind(&described.action)
        .fetch_optional(&mut *connection)
        .await
        .map_err(error::refusal)?;
        if let Some(no) = kept {
            let entry = Queued::numbered(Change::DeadLetter, no, at);
            event_log::push(connection, &[entry]).await?;
            continue;
        }
        sqlx::query(
            "INSERT INTO set_aside (what, state, reason, at)
             SELECT $3, $4, $5, $6
             WHERE NOT EXISTS (SELECT 1 FROM dead_letters WHERE gateway_no = $1 AND seq = $2 AND bytes = $4)
             AND NOT EXISTS (SELECT 1 FROM discarded_letters
                 WHERE gateway_no = $1 AND seq = $2 AND digest = sha256($4))
             AND NOT EXISTS (SELECT 1 FROM set_aside WHERE what = $3 AND state = $4)",
        )
        .bind(gateway_no)
        .bind(letter.id.seq.0.cast_signed())
        .bind(set_aside_name(letter.id))
        .bind(&letter.bytes)
        .bind(clean(&letter.reason))
        .bind(at)
        .execute(&mut *connection)
        .await
        .map_err(error::refusal)?;
    }
    Ok(())
}

/// Fills the columns that say what a dead letter is about, after the migration that adds them.
pub(super) async fn describe_all(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let mut after = i64::MIN;
    loop {
        let row: Option<(i64, Vec<u8>)> =
            sqlx::query_as("SELECT no, bytes FROM dead_letters WHERE no > $1 ORDER BY no LIMIT 1")
                .bind(after)
                .fetch_optional(&mut *connection)
                .await?;
        let Some((no, bytes)) = row else {
            return Ok(());
        };
        let described = Described::of(&bytes, |text| clean(text).into_owned());
        sqlx::query(
            "UPDATE dead_letters SET charger_id = $2, charger_key = $3, action = $4 WHERE no = $1",
        )
        .bind(no)
        .bind(&described.charger_id)
        .bind(&described.charger_key)
        .bind(&described.action)
        .execute(&mut *connection)
        .await?;
        after = no;
    }
}
