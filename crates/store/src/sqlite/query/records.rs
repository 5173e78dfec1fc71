//! Single messages, by their ids and by the calls that they belong to; and messages of one charger by time.

use super::gateways;
use super::messages::{COLUMNS, message, record_id};
use crate::commands::records_of;
use crate::paging::{DAYS_PER_PAGE, at_most, empty};
use crate::refusal::Refusal;
use crate::sqlite::numbers::{self, message_no};
use central::model::CommandId;
use central::query::{MentionFilter, MessageRow, Page, Place};
use central::{RecordId, Seq, Timestamp};
use rusqlite::{Connection, OptionalExtension, named_params};

const DAY_MILLIS: i64 = 86_400_000;

pub(crate) fn one(connection: &Connection, id: RecordId) -> Result<Option<MessageRow>, Refusal> {
    Ok(by_ids(connection, &[id])?.pop())
}

pub(super) fn of_calls(
    connection: &Connection,
    calls: &[CommandId],
) -> Result<Vec<MessageRow>, Refusal> {
    let mut find = connection.prepare_cached("SELECT state FROM command_progress WHERE id = ?1")?;
    let mut ids = Vec::new();
    for call in calls {
        let state: Option<String> = find
            .query_row([call.0.as_bytes()], |row| row.get(0))
            .optional()?;
        if let Some(state) = state {
            ids.extend(records_of(&call.0, &state));
        }
    }
    by_ids(connection, &ids)
}

fn by_ids(connection: &Connection, ids: &[RecordId]) -> Result<Vec<MessageRow>, Refusal> {
    let gateways = gateways(connection)?;
    let mut find = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM messages m LEFT JOIN chargers c ON c.no = m.charger_no WHERE m.id = ?1"
    ))?;
    let mut rows = Vec::with_capacity(ids.len());
    for id in ids {
        let Some(gateway_no) = numbers::gateway_no(connection, id.gateway)? else {
            continue;
        };
        // A number that does not fit is the number of no stored record.
        let Ok(no) = message_no(gateway_no, id.seq) else {
            continue;
        };
        let mut found = find.query([no])?;
        if let Some(row) = found.next()? {
            rows.push(message(row, &gateways)?);
        }
    }
    Ok(rows)
}

/// `None` = the cursor names a gateway that is not in the database.
pub(super) fn by_time(
    connection: &Connection,
    filter: &MentionFilter,
    after: Option<(i64, RecordId)>,
    limit: usize,
) -> Result<Option<Page<MessageRow>>, Refusal> {
    let Some(charger) = numbers::charger_no(connection, &filter.charger)? else {
        return Ok(Some(empty()));
    };
    let mut after = match after {
        None => (i64::MIN, 0),
        Some((at, id)) => match numbers::gateway_no(connection, id.gateway)? {
            None => return Ok(None),
            Some(no) => (at, message_no(no, id.seq)?),
        },
    };
    let gateways = gateways(connection)?;
    // Days before the first message and after the last one have no page: the clock of a charger can be wrong by decades.
    let times = connection.query_row(
        "SELECT min(first_at), max(last_at) FROM message_blocks",
        [],
        |row| Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?)),
    )?;
    let (Some(first), Some(last)) = times else {
        return Ok(Some(empty()));
    };
    let from = filter.from.as_millis().max(after.0).max(first);
    let to = filter.to.as_millis().min(last.saturating_add(1));
    if from >= to {
        return Ok(Some(empty()));
    }
    let end = to.min((from.div_euclid(DAY_MILLIS) + DAYS_PER_PAGE) * DAY_MILLIS);
    let at: Vec<i64> = filter.at.iter().map(|at| at.as_millis()).collect();
    // The blocks lead, so that the charger's rows are found with one seek into each block of the time.
    let mut find = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM message_blocks b
         CROSS JOIN messages m INDEXED BY messages_by_charger ON (m.id >> 14) = b.block AND m.charger_no = :charger
         LEFT JOIN chargers c ON c.no = m.charger_no
         WHERE b.last_at >= :from AND b.first_at < :end AND m.received_at >= :from AND m.received_at < :end
             AND (m.received_at, m.id) > (:at, :id)
             AND (instr(m.payload, :text) > 0 OR instr(m.answer, :text) > 0 OR m.received_at IN (:at1, :at2))
         ORDER BY m.received_at, m.id LIMIT :limit"
    ))?;
    let mut found = find.query(named_params! {
        ":charger": charger,
        ":from": from,
        ":end": end,
        ":at": after.0,
        ":id": after.1,
        ":text": filter.text,
        ":at1": at.first(),
        ":at2": at.get(1),
        ":limit": at_most(limit + 1),
    })?;
    let mut items: Vec<MessageRow> = Vec::new();
    let mut has_more = false;
    while let Some(row) = found.next()? {
        if items.len() == limit {
            has_more = true;
            break;
        }
        after = (row.get(9)?, row.get(0)?);
        items.push(message(row, &gateways)?);
    }
    let goes_on = has_more || end < to;
    if !has_more {
        // The next page begins with the next day: no record has the number 0, so none is at this position.
        after = (end, 0);
    }
    let first = gateways.iter().min_by_key(|(no, _)| **no);
    let id = match (has_more, first) {
        (true, _) => record_id(&gateways, after.1),
        (false, Some((_, gateway))) => RecordId {
            gateway: *gateway,
            seq: Seq(0),
        },
        // Without a gateway there is no message.
        (false, None) => return Ok(Some(empty())),
    };
    Ok(Some(Page {
        items,
        next: goes_on.then(|| Place::Received(Timestamp(after.0), id).to_cursor()),
    }))
}
