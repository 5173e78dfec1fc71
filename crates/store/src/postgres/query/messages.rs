//! Queries for messages: an index scan over the partitions that may hold matching rows.
//!
//! A page reads a bounded number of rows and then ends, with the rows found and the position reached. No index
//! spans the partitions, so one id may be on two days; such rows are never split between pages, because a
//! position is an id.

use super::charger_no;
use crate::codes::{answer_kind, kind, unknown, version};
use crate::filter;
use crate::paging::empty;
use crate::postgres::error;
use crate::postgres::inbox::DAY_MILLIS;
use crate::postgres::numbers::clean;
use crate::refusal::Refusal;
use central::query::{MessageFilter, MessageRow, Page, Place};
use central::record::Notes;
use central::{Epoch, GatewayId, Record, RecordId, Seq, Timestamp};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row};
use std::collections::HashMap;
use uuid::Uuid;

/// Upper bound of the rows that one page reads.
const ROWS_READ_MAX: usize = 20_000;

/// Above this number rows are estimated and not counted.
const COUNTED_MAX: usize = 500_000;

/// The position of a row: gateway number and sequence.
pub(super) type Key = (i32, i64);

/// `None` = the cursor names a gateway that is not in the database.
pub(super) async fn page(
    connection: &mut PgConnection,
    filter: &MessageFilter,
    after: Option<RecordId>,
    limit: usize,
) -> Result<Option<Page<MessageRow>>, Refusal> {
    let after = match after {
        None => (0, 0),
        Some(id) => match key_of(connection, id).await? {
            None => return Ok(None),
            Some(key) => key,
        },
    };
    let Some(matching) = resolve(connection, filter).await? else {
        return Ok(Some(empty()));
    };
    let mut rows = matching.read(connection, after, limit + 1).await?;
    let next = if rows.len() > limit {
        Some(end(&mut rows))
    } else {
        matching.reached(connection, after).await?
    };
    let names = Names::of(connection, &rows, next).await?;
    let next = next.map(|key| Place::Message(names.id(key)).to_cursor());
    let items = rows.iter().map(|row| row.message(&names));
    Ok(Some(Page {
        items: items.collect::<Result<_, _>>()?,
        next,
    }))
}

/// Removes the last row and those that share its id, and returns the position after which the rest begins. When
/// all rows share one id they stay: the page is then slightly too long.
fn end(rows: &mut Vec<Found>) -> Key {
    let last = rows.last().map_or((0, 0), |row| row.key);
    if rows.iter().any(|row| row.key != last) {
        rows.retain(|row| row.key != last);
    }
    rows.last().map_or(last, |row| row.key)
}

/// The number of rows of the charger and the time range: counted up to a limit, above it the planner's estimate.
pub(super) async fn count(
    connection: &mut PgConnection,
    filter: &MessageFilter,
) -> Result<u64, Refusal> {
    let Some(matching) = resolve(connection, filter).await? else {
        return Ok(0);
    };
    let rows = matching.all_rows();
    let counted: i64 = sqlx::query_scalar(AssertSqlSafe(format!(
        "SELECT count(*) FROM (SELECT 1 {rows} LIMIT {COUNTED_MAX}) few"
    )))
    .persistent(false)
    .fetch_one(&mut *connection)
    .await
    .map_err(error::refusal)?;
    let counted = counted.cast_unsigned();
    if counted < COUNTED_MAX as u64 {
        return Ok(counted);
    }
    let plan: String = sqlx::query_scalar(AssertSqlSafe(format!("EXPLAIN SELECT 1 {rows}")))
        .persistent(false)
        .fetch_one(connection)
        .await
        .map_err(error::refusal)?;
    Ok(planned_rows(&plan).unwrap_or_default().max(counted))
}

/// The number of rows in the first line of a plan.
fn planned_rows(plan: &str) -> Option<u64> {
    let (_, rest) = plan.split_once("rows=")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit())?;
    rest.get(..digits)?.parse().ok()
}

pub(super) async fn key_of(
    connection: &mut PgConnection,
    id: RecordId,
) -> Result<Option<Key>, Refusal> {
    let no: Option<i32> = sqlx::query_scalar("SELECT no FROM gateways WHERE id = $1")
        .bind(id.gateway.0)
        .fetch_optional(connection)
        .await
        .map_err(error::refusal)?;
    Ok(no.zip(i64::try_from(id.seq.0).ok()))
}

type Filter<'a> = filter::Messages<'a, i32>;

/// `None` = nothing can match, because the charger is unknown.
async fn resolve<'a>(
    connection: &mut PgConnection,
    filter: &'a MessageFilter,
) -> Result<Option<Filter<'a>>, Refusal> {
    let charger_no = match &filter.charger {
        None => None,
        Some(id) => match charger_no(connection, id).await? {
            None => return Ok(None),
            no => no,
        },
    };
    Ok(Some(Filter::of(filter, charger_no)))
}

impl Filter<'_> {
    /// The rows to read after `after`, and their order. It contains numbers only.
    ///
    /// Times are those of whole partitions, so that rows which the filter skips count as read. The charger is
    /// part of the order and of a range, although there is only one: no index but the one by charger fits then,
    /// and a wrong estimate of the charger's share of rows does no harm.
    fn scan(&self, (gateway_no, seq): Key) -> (String, &'static str) {
        let from = self
            .received
            .from
            .div_euclid(DAY_MILLIS)
            .saturating_mul(DAY_MILLIS);
        let to = self.received.to.div_euclid(DAY_MILLIS).saturating_add(1);
        let to = to.saturating_mul(DAY_MILLIS);
        let days = times(from, to);
        match self.charger_no {
            Some(no) => (
                format!(
                    "FROM messages m WHERE (m.charger_no, m.gateway_no, m.seq) > ({no}, {gateway_no}, {seq})
                        AND m.charger_no <= {no} AND {days}"
                ),
                "charger_no, gateway_no, seq",
            ),
            None => (
                format!(
                    "FROM messages m WHERE (m.gateway_no, m.seq) > ({gateway_no}, {seq}) AND {days}"
                ),
                "gateway_no, seq",
            ),
        }
    }

    fn all_rows(&self) -> String {
        let charger = self
            .charger_no
            .map_or_else(String::new, |no| format!("AND m.charger_no = {no}"));
        format!(
            "FROM messages m WHERE {} {charger}",
            times(self.received.from, self.received.to)
        )
    }

    /// The first `limit` rows after `after` among those that a page reads, with all that share the id of the
    /// last one.
    async fn read(
        &self,
        connection: &mut PgConnection,
        after: Key,
        limit: usize,
    ) -> Result<Vec<Found>, Refusal> {
        let (scan, order) = self.scan(after);
        // Planned anew each time, because the partitions and the range depend on the numbers.
        let sql = format!(
            "SELECT w.* FROM (
                SELECT m.* {scan}
                ORDER BY {order} FETCH FIRST {ROWS_READ_MAX} ROWS WITH TIES) w
             WHERE ($1::text IS NULL OR w.action = $1) AND ($2::smallint IS NULL OR w.kind = $2)
                AND w.received_at >= $3 AND w.received_at < $4
             ORDER BY {order} FETCH FIRST {limit} ROWS WITH TIES"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .persistent(false)
            .bind(self.action.map(clean))
            .bind(self.kind.map(|kind| kind as i16))
            .bind(self.received.from)
            .bind(self.received.to)
            .fetch_all(connection)
            .await
            .map_err(error::refusal)?;
        let mut rows = rows
            .iter()
            .map(Found::read)
            .collect::<Result<Vec<_>, _>>()
            .map_err(error::refusal)?;
        rows.sort_by_key(|row| (row.key, row.received_at));
        Ok(rows)
    }

    /// The last row that a page after `after` reads, if there are that many.
    async fn reached(
        &self,
        connection: &mut PgConnection,
        after: Key,
    ) -> Result<Option<Key>, Refusal> {
        let (scan, order) = self.scan(after);
        let sql = format!(
            "SELECT m.gateway_no, m.seq {scan} ORDER BY {order} OFFSET {} LIMIT 1",
            ROWS_READ_MAX - 1
        );
        sqlx::query_as(AssertSqlSafe(sql))
            .persistent(false)
            .fetch_optional(connection)
            .await
            .map_err(error::refusal)
    }
}

/// The condition on times. PostgreSQL cannot parse the smallest number without its sign, hence the quotes.
fn times(from: i64, to: i64) -> String {
    format!("m.received_at >= '{from}'::bigint AND m.received_at < '{to}'::bigint")
}

/// A row as it is stored.
pub(super) struct Found {
    pub(super) key: Key,
    charger_no: i32,
    charger_id: Option<String>,
    kind: i16,
    version: i16,
    answer_kind: i16,
    notes: i64,
    pub(super) received_at: i64,
    epoch: i64,
    message_id: String,
    action: String,
    payload: String,
    answer: String,
    reason: String,
    raw: Option<Vec<u8>>,
}

impl Found {
    pub(super) fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            key: (row.try_get("gateway_no")?, row.try_get("seq")?),
            charger_no: row.try_get("charger_no")?,
            charger_id: row.try_get("charger_id")?,
            kind: row.try_get("kind")?,
            version: row.try_get("version")?,
            answer_kind: row.try_get("answer_kind")?,
            notes: row.try_get("notes")?,
            received_at: row.try_get("received_at")?,
            epoch: row.try_get("epoch")?,
            message_id: row.try_get("message_id")?,
            action: row.try_get("action")?,
            payload: row.try_get("payload")?,
            answer: row.try_get("answer")?,
            reason: row.try_get("reason")?,
            raw: row.try_get("raw")?,
        })
    }

    pub(super) fn message(&self, names: &Names) -> Result<MessageRow, Refusal> {
        let id = names.id(self.key);
        if let Some(bytes) = &self.raw {
            let record = Record::decode(bytes)
                .map_err(|error| Refusal::corrupt(format!("the message {id}: {error}")))?;
            return Ok(MessageRow::of(id, &record));
        }
        let record = Record {
            kind: kind(self.kind)?,
            charger_id: self
                .charger_id
                .as_ref()
                .or_else(|| names.chargers.get(&self.charger_no))
                .map_or("", String::as_str),
            ocpp_version: version(self.version)?,
            message_id: &self.message_id,
            action: &self.action,
            payload: &self.payload,
            answer_kind: answer_kind(self.answer_kind)?,
            answer: &self.answer,
            received_at: Timestamp(self.received_at),
            epoch: Epoch(self.epoch.cast_unsigned()),
            notes: Notes(u32::try_from(self.notes).map_err(|_| unknown("notes", self.notes))?),
            reason: &self.reason,
        };
        Ok(MessageRow::of(id, &record))
    }
}

/// Gateways and chargers by the numbers in the rows of a page.
pub(super) struct Names {
    gateways: HashMap<i32, GatewayId>,
    chargers: HashMap<i32, String>,
}

impl Names {
    pub(super) async fn of(
        connection: &mut PgConnection,
        rows: &[Found],
        next: Option<Key>,
    ) -> Result<Self, Refusal> {
        let gateways = rows.iter().map(|row| row.key).chain(next);
        let gateways: Vec<(i32, Uuid)> =
            sqlx::query_as("SELECT no, id FROM gateways WHERE no = ANY($1)")
                .bind(distinct(gateways.map(|(no, _)| no)))
                .fetch_all(&mut *connection)
                .await
                .map_err(error::refusal)?;
        let unspelled = rows.iter().filter(|row| row.charger_id.is_none());
        let chargers: Vec<(i32, String)> =
            sqlx::query_as("SELECT no, id FROM chargers WHERE no = ANY($1)")
                .bind(distinct(unspelled.map(|row| row.charger_no)))
                .fetch_all(connection)
                .await
                .map_err(error::refusal)?;
        Ok(Self {
            gateways: gateways
                .into_iter()
                .map(|(no, id)| (no, GatewayId(id)))
                .collect(),
            chargers: chargers.into_iter().collect(),
        })
    }

    pub(super) fn id(&self, (gateway_no, seq): Key) -> RecordId {
        // Every number in the tables has a gateway.
        let no_gateway = GatewayId(Uuid::nil());
        RecordId {
            gateway: self
                .gateways
                .get(&gateway_no)
                .copied()
                .unwrap_or(no_gateway),
            seq: Seq(seq.cast_unsigned()),
        }
    }
}

fn distinct(numbers: impl Iterator<Item = i32>) -> Vec<i32> {
    let mut numbers: Vec<i32> = numbers.collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_from_a_plan() {
        let plan = "Append  (cost=0.00..35.50 rows=2550 width=4)";
        assert_eq!(planned_rows(plan), Some(2_550));
        assert_eq!(planned_rows("Result"), None);
    }
}
