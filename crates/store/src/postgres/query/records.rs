//! Single messages, by their ids and by the calls that they belong to; and messages of one charger by time.

use super::charger_no;
use super::messages::{Found, Key, Names, key_of};
use crate::commands::records_of;
use crate::paging::{DAYS_PER_PAGE, at_most, empty};
use crate::postgres::error;
use crate::postgres::inbox::{BLOCK_BITS, DAY_MILLIS};
use crate::postgres::numbers::clean;
use crate::refusal::Refusal;
use central::model::CommandId;
use central::query::{MentionFilter, MessageRow, Page, Place};
use central::{RecordId, Timestamp};
use sqlx::postgres::PgConnection;
use std::collections::HashMap;
use uuid::Uuid;

pub(super) async fn one(
    connection: &mut PgConnection,
    id: RecordId,
) -> Result<Option<MessageRow>, Refusal> {
    Ok(by_ids(connection, &[id]).await?.pop())
}

pub(super) async fn of_calls(
    connection: &mut PgConnection,
    calls: &[CommandId],
) -> Result<Vec<MessageRow>, Refusal> {
    let states: Vec<(Uuid, String)> =
        sqlx::query_as("SELECT id, state FROM command_progress WHERE id = ANY($1)")
            .bind(calls.iter().map(|call| call.0).collect::<Vec<_>>())
            .fetch_all(&mut *connection)
            .await
            .map_err(error::refusal)?;
    let mut ids = Vec::new();
    for (id, state) in states {
        ids.extend(records_of(&id, &state));
    }
    by_ids(connection, &ids).await
}

/// The messages with these ids. Each is looked up on the days of its block of numbers, so that few partitions are read.
pub(crate) async fn by_ids(
    connection: &mut PgConnection,
    ids: &[RecordId],
) -> Result<Vec<MessageRow>, Refusal> {
    let gateways: Vec<(Uuid, i32)> =
        sqlx::query_as("SELECT id, no FROM gateways WHERE id = ANY($1)")
            .bind(ids.iter().map(|id| id.gateway.0).collect::<Vec<_>>())
            .fetch_all(&mut *connection)
            .await
            .map_err(error::refusal)?;
    let gateways: HashMap<Uuid, i32> = gateways.into_iter().collect();
    let keys: Vec<Key> = ids
        .iter()
        .filter_map(|id| {
            let no = gateways.get(&id.gateway.0)?;
            Some((*no, i64::try_from(id.seq.0).ok()?))
        })
        .collect();
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let numbers = || keys.iter().map(|key| key.0).collect::<Vec<_>>();
    let days: Vec<i64> = sqlx::query_scalar(
        "SELECT DISTINCT d.day FROM unnest($1::int[], $2::bigint[]) AS k (gateway_no, block)
         JOIN message_days d USING (gateway_no, block) ORDER BY d.day",
    )
    .bind(numbers())
    .bind(
        keys.iter()
            .map(|key| key.1 >> BLOCK_BITS)
            .collect::<Vec<_>>(),
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(error::refusal)?;
    let mut found: HashMap<Key, Found> = HashMap::new();
    for day in days {
        // Lateral and limited, so that each key is one look into an index whatever the statistics are.
        let rows = sqlx::query(
            "SELECT m.* FROM unnest($1::int[], $2::bigint[]) AS k (gateway_no, seq)
             CROSS JOIN LATERAL (SELECT * FROM messages m
                 WHERE m.gateway_no = k.gateway_no AND m.seq = k.seq AND m.received_at >= $3 AND m.received_at < $4
                 ORDER BY m.received_at LIMIT 1) AS m",
        )
        .bind(numbers())
        .bind(keys.iter().map(|key| key.1).collect::<Vec<_>>())
        .bind(day * DAY_MILLIS)
        .bind((day + 1) * DAY_MILLIS)
        .fetch_all(&mut *connection)
        .await
        .map_err(error::refusal)?;
        for row in &rows {
            let row = Found::read(row).map_err(error::refusal)?;
            found.entry(row.key).or_insert(row);
        }
    }
    let rows: Vec<Found> = found.into_values().collect();
    let names = Names::of(connection, &rows, None).await?;
    rows.iter().map(|row| row.message(&names)).collect()
}

/// `None` = the cursor names a gateway that is not in the database.
pub(super) async fn by_time(
    connection: &mut PgConnection,
    filter: &MentionFilter,
    after: Option<(i64, RecordId)>,
    limit: usize,
) -> Result<Option<Page<MessageRow>>, Refusal> {
    let Some(charger) = charger_no(connection, &filter.charger).await? else {
        return Ok(Some(empty()));
    };
    let mut after = match after {
        None => (i64::MIN, 0, 0),
        Some((at, id)) => match key_of(connection, id).await? {
            None => return Ok(None),
            Some((gateway_no, seq)) => (at, gateway_no, seq),
        },
    };
    // Days before the first message and after the last one have no page: the clock of a charger can be wrong by decades.
    let days: (Option<i64>, Option<i64>) =
        sqlx::query_as("SELECT min(day), max(day) FROM message_days")
            .fetch_one(&mut *connection)
            .await
            .map_err(error::refusal)?;
    let (Some(first), Some(last)) = days else {
        return Ok(Some(empty()));
    };
    let from = filter.from.as_millis().max(after.0);
    let from = from.max(first * DAY_MILLIS);
    let to = filter.to.as_millis().min((last + 1) * DAY_MILLIS);
    if from >= to {
        return Ok(Some(empty()));
    }
    let mut rows: Vec<Found> = Vec::new();
    // Day by day, because a day is the part of the charger's messages that is sorted.
    let first_day = from.div_euclid(DAY_MILLIS);
    let mut day = first_day;
    while rows.len() <= limit && day < first_day + DAYS_PER_PAGE && day * DAY_MILLIS < to {
        let wanted = limit + 1 - rows.len();
        let found = sqlx::query(
            "SELECT * FROM messages m
             WHERE m.charger_no = $1 AND m.received_at >= $2 AND m.received_at < $3
                 AND (m.received_at, m.gateway_no, m.seq) > ($4, $5, $6)
                 AND (position($7 IN m.payload) > 0 OR position($7 IN m.answer) > 0 OR m.received_at = ANY($8))
             ORDER BY m.received_at, m.gateway_no, m.seq LIMIT $9",
        )
        .bind(charger)
        .bind(from.max(day * DAY_MILLIS))
        .bind(to.min((day + 1) * DAY_MILLIS))
        .bind(after.0)
        .bind(after.1)
        .bind(after.2)
        .bind(clean(&filter.text))
        .bind(filter.at.iter().map(|at| at.as_millis()).collect::<Vec<_>>())
        .bind(at_most(wanted))
        .fetch_all(&mut *connection)
        .await
        .map_err(error::refusal)?;
        for row in &found {
            rows.push(Found::read(row).map_err(error::refusal)?);
        }
        day += 1;
    }
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    if has_more {
        if let Some(last) = rows.last() {
            after = (last.received_at, last.key.0, last.key.1);
        }
    } else if day * DAY_MILLIS < to {
        // The next page begins with the next day: no record has the number 0, so none is at this position.
        let any: Option<i32> = sqlx::query_scalar("SELECT no FROM gateways ORDER BY no LIMIT 1")
            .fetch_optional(&mut *connection)
            .await
            .map_err(error::refusal)?;
        match any {
            Some(first) => after = (day * DAY_MILLIS, first, 0),
            // Without a gateway there is no message.
            None => return Ok(Some(empty())),
        }
    }
    let goes_on = has_more || day * DAY_MILLIS < to;
    let key = (after.1, after.2);
    let names = Names::of(connection, &rows, goes_on.then_some(key)).await?;
    let items = rows.iter().map(|row| row.message(&names));
    Ok(Some(Page {
        items: items.collect::<Result<_, _>>()?,
        next: goes_on.then(|| Place::Received(Timestamp(after.0), names.id(key)).to_cursor()),
    }))
}
