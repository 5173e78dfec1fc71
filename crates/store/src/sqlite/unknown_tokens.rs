//! The tables `unknown_tokens`, `dismissed_tokens` and `token_refusals`.

use super::listing::uuid_of;
use super::writer::Cache;
use super::{SqliteStore, audit};
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
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::BTreeSet;
use uuid::Uuid;

const DAY_MILLIS: i64 = 86_400_000;

/// Counts the unknown tokens of new records, and returns the events of those that were refused.
pub(crate) fn write(
    connection: &Connection,
    cache: &mut Cache,
    presented: &[(ChargerKey, PresentedToken)],
    new: &NewRecords,
) -> Result<Vec<Queued>, Refusal> {
    if presented.is_empty() {
        return Ok(Vec::new());
    }
    let mut add = connection.prepare_cached(
        "INSERT INTO unknown_tokens (key, charger_no, day, token_key, latest, first_at, last_at, count)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (key, charger_no, day) DO UPDATE SET count = count + excluded.count,
            first_at = min(first_at, excluded.first_at), last_at = max(last_at, excluded.last_at),
            latest = CASE WHEN (excluded.last_at, excluded.latest) > (last_at, latest)
                THEN excluded.latest ELSE latest END",
    )?;
    let mut days = BTreeSet::new();
    for ((charger, day, key), count) in added(presented, new) {
        let charger_no = cache.numbers.charger_with_key(connection, charger)?;
        days.insert((charger_no, day));
        add.execute(params![
            key.as_bytes(),
            charger_no,
            day,
            count.token_key,
            count.latest,
            count.first_at.0,
            count.last_at.0,
            count.count.cast_signed(),
        ])?;
    }
    let mut bound = connection.prepare_cached(
        "DELETE FROM unknown_tokens WHERE charger_no = ?1 AND day = ?2 AND key >
            (SELECT key FROM unknown_tokens WHERE charger_no = ?1 AND day = ?2 ORDER BY key LIMIT 1 OFFSET ?3)",
    )?;
    for (charger_no, day) in days {
        bound.execute(params![
            charger_no,
            day,
            at_most(UNKNOWN_TOKENS_PER_DAY_MAX - 1)
        ])?;
    }
    let mut count = connection.prepare_cached(
        "INSERT INTO token_refusals (charger_no, hour, count) VALUES (?1, ?2, ?3)
         ON CONFLICT (charger_no) DO UPDATE SET hour = max(hour, excluded.hour),
            count = excluded.count + CASE WHEN hour >= excluded.hour THEN count ELSE 0 END
         RETURNING count",
    )?;
    let mut queued = Vec::new();
    for (charger, refused) in refused(presented, new) {
        let charger_no = cache.numbers.charger_with_key(connection, charger)?;
        let all = params![charger_no, hour_of(&refused), at_most(refused.len())];
        let counted = count.query_row(all, |row| row.get(0))?;
        let announced = announced(refused, counted);
        queued.extend(
            announced.map(|token| Queued::token_refused(charger_no, token.record, token.at)),
        );
    }
    Ok(queued)
}

impl SqliteStore {
    pub(super) fn unknown_page(
        &self,
        filter: &UnknownTokenFilter,
        wanted: &PageRequest,
    ) -> Result<Page<UnknownTokenView>, QueryError> {
        let (at, key, no) = before_unknown_token(wanted)?;
        let limit = wanted.rows();
        let charger = filter.charger.as_deref().map(ChargerKey::of);
        let charger = charger.as_ref().map_or("", ChargerKey::as_str);
        let search = filter.search.as_deref().map(Token::key_of);
        let found = self.readers.read(|connection| {
            let of_charger = filter.charger.is_some();
            let sql = page_sql('?', "instr", of_charger);
            let mut statement = connection.prepare_cached(&sql)?;
            let search = search.unwrap_or_default();
            let bound = params![at, key.as_bytes(), no, charger, search, at_most(limit + 1)];
            let rows = statement.query_map(bound, row)?;
            let rows = rows.collect::<Result<Vec<_>, _>>()?;
            let last_read = match rows.len() > limit {
                true => None,
                false => connection
                    .prepare_cached(&last_read_sql('?', of_charger))?
                    .query_row(params![at, key.as_bytes(), no, charger], |row| {
                        Ok((row.get(0)?, uuid_of(row, 1)?, row.get(2)?))
                    })
                    .optional()?,
            };
            Ok(page(rows, limit, last_read))
        });
        Ok(found.map_err(Refusal::into_unavailable)?)
    }

    pub(super) fn dismiss_unknown(&self, key: Uuid, origin: &Origin) -> Result<bool, Unavailable> {
        self.transact(|connection, _| {
            let latest: Option<(String, i64)> = connection
                .prepare_cached(
                    "SELECT latest, last_at FROM unknown_tokens u WHERE key = ?1
                         AND NOT EXISTS (SELECT 1 FROM tokens t WHERE t.key = u.token_key)
                     ORDER BY last_at DESC, latest DESC LIMIT 1",
                )?
                .query_row([key.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let Some((latest, last_at)) = latest else {
                return Ok(false);
            };
            let done = connection
                .prepare_cached(
                    "INSERT INTO dismissed_tokens (key, last_at) VALUES (?1, ?2)
                     ON CONFLICT (key) DO UPDATE SET last_at = excluded.last_at
                         WHERE last_at < excluded.last_at",
                )?
                .execute(params![key.as_bytes(), last_at])?;
            if done == 0 {
                return Ok(false);
            }
            audit::insert(connection, &dismissed(key, &latest, last_at, origin)?)?;
            Ok(true)
        })
    }

    /// Deletes the rows of days that are no longer kept; returns how many.
    pub(super) fn expire_unknown(&self, now: Timestamp) -> Result<u64, Unavailable> {
        let before = unknown_tokens_kept_from(now).saturating_mul(DAY_MILLIS);
        let mut all = 0;
        loop {
            // A query alone needs no write lock.
            let is_due = self.readers.read(|connection| {
                let sql = "SELECT EXISTS (SELECT 1 FROM unknown_tokens WHERE last_at < ?1)
                        OR EXISTS (SELECT 1 FROM dismissed_tokens WHERE last_at < ?1)";
                Ok(connection.query_row(sql, [before], |row| row.get(0))?)
            });
            if !is_due.map_err(Refusal::into_unavailable)? {
                return Ok(all);
            }
            all += self.transact(|connection, _| {
                let done = connection.execute(
                    "DELETE FROM unknown_tokens WHERE (key, charger_no, day) IN
                         (SELECT key, charger_no, day FROM unknown_tokens WHERE last_at < ?1
                          ORDER BY last_at LIMIT ?2)",
                    params![before, EXPIRED_ROWS],
                )?;
                if done == 0 {
                    connection
                        .execute("DELETE FROM dismissed_tokens WHERE last_at < ?1", [before])?;
                }
                Ok(done as u64)
            })?;
        }
    }
}

/// Rows that one transaction of the retention deletes at most.
const EXPIRED_ROWS: i64 = 500;

fn row(row: &Row<'_>) -> rusqlite::Result<UnknownRow> {
    Ok(UnknownRow {
        last_at: row.get(0)?,
        key: uuid_of(row, 1)?,
        charger_no: row.get(2)?,
        token_key: row.get(3)?,
        latest: row.get(4)?,
        first_at: row.get(5)?,
        count: row.get(6)?,
        charger: row.get(7)?,
        state: row.get(8)?,
    })
}
