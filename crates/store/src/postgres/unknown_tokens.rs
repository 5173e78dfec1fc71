//! The tables `unknown_tokens`, `dismissed_tokens` and `token_refusals`.

use super::numbers::{Numbers, clean};
use super::{PostgresStore, audit, error};
use crate::event_log::Queued;
use crate::paging::{at_most, before_unknown_token};
use crate::quirks::NewRecords;
use crate::refusal::Refusal;
use crate::unknown_tokens::{
    UnknownRow, added, announced, dismissed, hour_of, last_read_sql, page, page_sql, refused,
};
use central::Timestamp;
use central::model::{
    ChargerKey, Origin, PresentedToken, Token, UNKNOWN_TOKENS_PER_DAY_MAX, UnknownTokenView,
    unknown_tokens_kept_from,
};
use central::ports::{QueryError, Unavailable};
use central::query::{Page, PageRequest, UnknownTokenFilter};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use std::collections::BTreeMap;
use uuid::Uuid;

const DAY_MILLIS: i64 = 86_400_000;

/// Counts the unknown tokens of new records, and returns the events of those that were refused. The rows of the chargers are
/// locked by the caller's transaction, so that writers with the same rows wait for each other.
pub(crate) async fn write(
    connection: &mut PgConnection,
    numbers: &Numbers,
    presented: &[(ChargerKey, PresentedToken)],
    new: &NewRecords,
) -> Result<Vec<Queued>, Refusal> {
    if presented.is_empty() {
        return Ok(Vec::new());
    }
    let mut rows = Vec::new();
    for ((charger, day, key), count) in added(presented, new) {
        rows.push((numbers.charger_with_key(charger)?, day, key, count));
    }
    if !rows.is_empty() {
        let charger_nos: Vec<i32> = rows.iter().map(|row| row.0).collect();
        let days: Vec<i64> = rows.iter().map(|row| row.1).collect();
        sqlx::query(
            "INSERT INTO unknown_tokens AS u
                 (key, charger_no, day, token_key, latest, first_at, last_at, count)
             SELECT * FROM unnest($1::uuid[], $2::int[], $3::bigint[], $4::text[], $5::text[], $6::bigint[],
                 $7::bigint[], $8::bigint[])
             ON CONFLICT (key, charger_no, day) DO UPDATE SET count = u.count + excluded.count,
                first_at = least(u.first_at, excluded.first_at),
                last_at = greatest(u.last_at, excluded.last_at),
                latest = CASE WHEN (excluded.last_at, excluded.latest) > (u.last_at, u.latest)
                    THEN excluded.latest ELSE u.latest END",
        )
        .bind(rows.iter().map(|row| row.2).collect::<Vec<Uuid>>())
        .bind(&charger_nos)
        .bind(&days)
        .bind(rows.iter().map(|row| row.3.token_key.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.3.latest.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.3.first_at.0).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.3.last_at.0).collect::<Vec<_>>())
        .bind(
            rows.iter()
                .map(|row| row.3.count.cast_signed())
                .collect::<Vec<_>>(),
        )
        .execute(&mut *connection)
        .await
        .map_err(error::refusal)?;
        sqlx::query(
            "DELETE FROM unknown_tokens u USING (SELECT DISTINCT * FROM unnest($1::int[], $2::bigint[])) k (no, day)
             WHERE u.charger_no = k.no AND u.day = k.day AND u.key >
                (SELECT b.key FROM unknown_tokens b WHERE b.charger_no = k.no AND b.day = k.day
                 ORDER BY b.key LIMIT 1 OFFSET $3)",
        )
        .bind(&charger_nos)
        .bind(&days)
        .bind(at_most(UNKNOWN_TOKENS_PER_DAY_MAX - 1))
        .execute(&mut *connection)
        .await
        .map_err(error::refusal)?;
    }
    let mut refused_by_no = BTreeMap::new();
    for (charger, refused) in refused(presented, new) {
        refused_by_no.insert(numbers.charger_with_key(charger)?, refused);
    }
    if refused_by_no.is_empty() {
        return Ok(Vec::new());
    }
    let counted: Vec<(i32, i64)> = sqlx::query_as(
        "INSERT INTO token_refusals AS t (charger_no, hour, count)
         SELECT * FROM unnest($1::int[], $2::bigint[], $3::bigint[])
         ON CONFLICT (charger_no) DO UPDATE SET hour = greatest(t.hour, excluded.hour),
            count = excluded.count + CASE WHEN t.hour >= excluded.hour THEN t.count ELSE 0 END
         RETURNING charger_no, count",
    )
    .bind(refused_by_no.keys().copied().collect::<Vec<i32>>())
    .bind(
        refused_by_no
            .values()
            .map(|refused| hour_of(refused))
            .collect::<Vec<i64>>(),
    )
    .bind(
        refused_by_no
            .values()
            .map(|refused| at_most(refused.len()))
            .collect::<Vec<i64>>(),
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(error::refusal)?;
    let mut queued = Vec::new();
    for (charger_no, count) in counted {
        let refused = refused_by_no.remove(&charger_no).unwrap_or_default();
        let announced = announced(refused, count);
        queued.extend(
            announced.map(|token| Queued::token_refused(charger_no.into(), token.record, token.at)),
        );
    }
    Ok(queued)
}

type Columns = (
    i64,
    Uuid,
    i32,
    String,
    String,
    i64,
    i64,
    String,
    Option<String>,
);

impl PostgresStore {
    pub(super) fn unknown_page(
        &self,
        filter: &UnknownTokenFilter,
        wanted: &PageRequest,
    ) -> Result<Page<UnknownTokenView>, QueryError> {
        let (at, key, no) = before_unknown_token(wanted)?;
        let limit = wanted.rows();
        let of_charger = filter.charger.is_some();
        let charger = filter.charger.as_deref().unwrap_or_default();
        let charger = clean(ChargerKey::of(charger).as_str()).into_owned();
        let search = filter.search.as_deref().map(Token::key_of);
        let search = clean(&search.unwrap_or_default()).into_owned();
        let found = self.read(async |connection| {
            let rows: Vec<Columns> =
                sqlx::query_as(AssertSqlSafe(page_sql('$', "strpos", of_charger)))
                    .bind(at)
                    .bind(key)
                    .bind(no)
                    .bind(&charger)
                    .bind(&search)
                    .bind(at_most(limit + 1))
                    .fetch_all(&mut *connection)
                    .await
                    .map_err(error::refusal)?;
            let last_read: Option<(i64, Uuid, i32)> = match rows.len() > limit {
                true => None,
                false => sqlx::query_as(AssertSqlSafe(last_read_sql('$', of_charger)))
                    .bind(at)
                    .bind(key)
                    .bind(no)
                    .bind(&charger)
                    .fetch_optional(connection)
                    .await
                    .map_err(error::refusal)?,
            };
            let last_read = last_read.map(|(at, key, no)| (at, key, i64::from(no)));
            Ok(page(rows.into_iter().map(row).collect(), limit, last_read))
        });
        Ok(found?)
    }

    pub(super) fn dismiss_unknown(&self, key: Uuid, origin: &Origin) -> Result<bool, Unavailable> {
        self.write(async |connection| {
            let latest: Option<(String, i64)> = sqlx::query_as(
                "SELECT latest, last_at FROM unknown_tokens u WHERE key = $1
                     AND NOT EXISTS (SELECT FROM tokens t WHERE t.key = u.token_key)
                 ORDER BY last_at DESC, latest DESC LIMIT 1",
            )
            .bind(key)
            .fetch_optional(&mut *connection)
            .await
            .map_err(error::refusal)?;
            let Some((latest, last_at)) = latest else {
                return Ok(false);
            };
            let done = sqlx::query(
                "INSERT INTO dismissed_tokens AS d (key, last_at) VALUES ($1, $2)
                 ON CONFLICT (key) DO UPDATE SET last_at = excluded.last_at
                     WHERE d.last_at < excluded.last_at",
            )
            .bind(key)
            .bind(last_at)
            .execute(&mut *connection)
            .await
            .map_err(error::refusal)?;
            if done.rows_affected() == 0 {
                return Ok(false);
            }
            let entry = dismissed(key, &latest, last_at, origin)?;
            audit::insert(connection, &entry).await?;
            Ok(true)
        })
    }

    /// Deletes the rows of days that are no longer kept, by `now` or the database's clock, whichever is behind; returns how
    /// many.
    pub(super) fn expire_unknown(&self, now: Timestamp) -> Result<u64, Unavailable> {
        let mut all = 0;
        loop {
            let done = self.read(async |connection| {
                let clock: i64 = sqlx::query_scalar(
                    "SELECT least($1, floor(extract(epoch FROM now()) * 1000)::bigint)",
                )
                .bind(now.as_millis())
                .fetch_one(&mut *connection)
                .await
                .map_err(error::refusal)?;
                let before = unknown_tokens_kept_from(Timestamp(clock)).saturating_mul(DAY_MILLIS);
                let done = sqlx::query(
                    "DELETE FROM unknown_tokens WHERE ctid = ANY (ARRAY(
                         SELECT ctid FROM unknown_tokens WHERE last_at < $1 ORDER BY last_at LIMIT $2))",
                )
                .bind(before)
                .bind(EXPIRED_ROWS)
                .execute(&mut *connection)
                .await
                .map_err(error::refusal)?;
                if done.rows_affected() == 0 {
                    sqlx::query("DELETE FROM dismissed_tokens WHERE last_at < $1")
                        .bind(before)
                        .execute(connection)
                        .await
                        .map_err(error::refusal)?;
                }
                Ok(done.rows_affected())
            })?;
            if done == 0 {
                return Ok(all);
            }
            all += done;
        }
    }
}

/// Rows that one statement of the retention deletes at most.
const EXPIRED_ROWS: i64 = 5_000;

fn row(
    (last_at, key, charger_no, token_key, latest, first_at, count, charger, state): Columns,
) -> UnknownRow {
    UnknownRow {
        last_at,
        key,
        charger_no: charger_no.into(),
        token_key,
        latest,
        first_at,
        count,
        charger,
        state,
    }
}
