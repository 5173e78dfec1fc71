//! Queries for messages: a scan over blocks that skips those without matching rows.

use super::{NO_GATEWAY, gateways};
use crate::codes::{answer_kind, kind, version};
use crate::filter;
use crate::paging::{at_most, empty};
use crate::refusal::Refusal;
use crate::sqlite::blocks::{action_bit, kind_bit};
use crate::sqlite::numbers::{self, BLOCK_BITS, message_no, split_message_no};
use central::query::{MessageFilter, MessageRow, Page, Place};
use central::record::Notes;
use central::{Epoch, GatewayId, RecordId, Timestamp};
use rusqlite::{Connection, Row, named_params};
use std::collections::HashMap;

/// Upper bound of the blocks that one page scans when no index leads to the rows (half a million rows).
const BLOCKS_SCANNED_MAX: usize = 32;

/// Upper bound of the blocks that one page looks up when the charger is given: one seek each.
const BLOCKS_SOUGHT_MAX: usize = 4_096;

/// `None` = the cursor names a gateway that is not in the database.
pub(super) fn page(
    connection: &Connection,
    filter: &MessageFilter,
    after: Option<RecordId>,
    limit: usize,
) -> Result<Option<Page<MessageRow>>, Refusal> {
    let gateways = gateways(connection)?;
    let after = match after {
        None => -1,
        Some(id) => match numbers::gateway_no(connection, id.gateway)? {
            None => return Ok(None),
            Some(no) => message_no(no, id.seq)?,
        },
    };
    let Some(matching) = resolve(connection, filter)? else {
        return Ok(Some(empty()));
    };
    let blocks_max = match matching.charger_no {
        Some(_) => BLOCKS_SOUGHT_MAX,
        None => BLOCKS_SCANNED_MAX,
    };
    let mut items = Vec::new();
    let mut reached = after;
    for (visited, block) in (0..).zip(matching.blocks(connection, after, blocks_max + 1)?) {
        if items.len() > limit {
            break;
        }
        if visited == blocks_max {
            // The page has read as many rows as it may; the next one continues after the last block.
            let next = Some(Place::Message(record_id(&gateways, reached)).to_cursor());
            return Ok(Some(Page { items, next }));
        }
        let wanted = limit + 1 - items.len();
        matching.read(connection, block, after, wanted, &gateways, &mut items)?;
        reached = (block << BLOCK_BITS) | ((1 << BLOCK_BITS) - 1);
    }
    let more = items.len() > limit;
    items.truncate(limit);
    let last = items.last().filter(|_| more);
    let next = last.map(|row| Place::Message(row.id).to_cursor());
    Ok(Some(Page { items, next }))
}

/// The number of the charger's rows in the blocks that may contain matching rows; without a charger, of all rows in
/// these blocks.
pub(super) fn count(connection: &Connection, filter: &MessageFilter) -> Result<u64, Refusal> {
    let Some(matching) = resolve(connection, filter)? else {
        return Ok(0);
    };
    let Some(charger_no) = matching.charger_no else {
        return matching.rows_of_blocks(connection);
    };
    let mut statement = connection.prepare_cached(
        "SELECT count(*) FROM messages m INDEXED BY messages_by_charger
         WHERE (m.id >> 14) = ?1 AND m.charger_no = ?2",
    )?;
    let mut count = 0;
    for block in matching.blocks(connection, -1, usize::MAX)? {
        count += statement.query_row([block, charger_no], |row| row.get::<_, i64>(0))?;
    }
    Ok(count.cast_unsigned())
}

/// Whether a block may contain matching rows.
const BLOCK_MAY_MATCH: &str = "b.last_at >= :from AND b.first_at < :to
    AND (b.actions & :actions) = :actions AND (b.kinds & :kinds) = :kinds";

type Filter<'a> = filter::Messages<'a, i64>;

/// `None` = nothing can match, because the charger is unknown.
fn resolve<'a>(
    connection: &Connection,
    filter: &'a MessageFilter,
) -> Result<Option<Filter<'a>>, Refusal> {
    let charger_no = match &filter.charger {
        None => None,
        Some(id) => match numbers::charger_no(connection, id)? {
            None => return Ok(None),
            no => no,
        },
    };
    Ok(Some(Filter::of(filter, charger_no)))
}

impl Filter<'_> {
    fn actions(&self) -> i64 {
        self.action.map_or(0, action_bit)
    }

    fn kinds(&self) -> i64 {
        self.kind.map_or(0, kind_bit)
    }

    /// The blocks after `after` that may contain matching rows, in order.
    fn blocks(
        &self,
        connection: &Connection,
        after: i64,
        limit: usize,
    ) -> Result<Vec<i64>, Refusal> {
        let sql = format!(
            "SELECT b.block FROM message_blocks b WHERE b.block >= :first AND {BLOCK_MAY_MATCH}
             ORDER BY b.block LIMIT :limit"
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let blocks = statement.query_map(
            named_params! {
                ":first": after.max(0) >> BLOCK_BITS,
                ":from": self.received.from,
                ":to": self.received.to,
                ":actions": self.actions(),
                ":kinds": self.kinds(),
                ":limit": at_most(limit),
            },
            |row| row.get(0),
        )?;
        Ok(blocks.collect::<Result<_, _>>()?)
    }

    /// The number of rows in those blocks.
    fn rows_of_blocks(&self, connection: &Connection) -> Result<u64, Refusal> {
        let sql = format!(
            "SELECT coalesce(sum(b.rows), 0) FROM message_blocks b WHERE {BLOCK_MAY_MATCH}"
        );
        let rows: i64 = connection.prepare_cached(&sql)?.query_row(
            named_params! {
                ":from": self.received.from,
                ":to": self.received.to,
                ":actions": self.actions(),
                ":kinds": self.kinds(),
            },
            |row| row.get(0),
        )?;
        Ok(rows.cast_unsigned())
    }

    /// Adds up to `limit` rows of one block that come after `after`.
    fn read(
        &self,
        connection: &Connection,
        block: i64,
        after: i64,
        limit: usize,
        gateways: &HashMap<i64, GatewayId>,
        rows: &mut Vec<MessageRow>,
    ) -> Result<(), Refusal> {
        let range = match self.charger_no {
            Some(_) => {
                "INDEXED BY messages_by_charger LEFT JOIN chargers c ON c.no = m.charger_no
                 WHERE (m.id >> 14) = :block AND m.charger_no = :charger AND m.id > :after"
            }
            None => {
                "LEFT JOIN chargers c ON c.no = m.charger_no
                 WHERE m.id > max(:after, (:block << 14) - 1) AND m.id < (:block + 1) << 14
                    AND :charger IS NULL"
            }
        };
        let sql = format!(
            "SELECT {COLUMNS}
             FROM messages m {range}
                AND (:action IS NULL OR m.action = :action)
                AND (:kind IS NULL OR m.kind = :kind)
                AND m.received_at >= :from AND m.received_at < :to
             ORDER BY m.id LIMIT :limit"
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let mut found = statement.query(named_params! {
            ":block": block,
            ":after": after,
            ":charger": self.charger_no,
            ":action": self.action,
            ":kind": self.kind.map(|kind| kind as u8),
            ":from": self.received.from,
            ":to": self.received.to,
            ":limit": at_most(limit),
        })?;
        while let Some(row) = found.next()? {
            rows.push(message(row, gateways)?);
        }
        Ok(())
    }
}

/// The columns of messages `m` and chargers `c` that [`message`] reads.
pub(super) const COLUMNS: &str =
    "m.id, coalesce(m.charger_id, c.id, ''), m.version, m.kind, m.message_id, m.action,
    m.payload, m.answer_kind, m.answer, m.received_at, m.epoch, m.notes, m.reason";

pub(super) fn message(
    row: &Row<'_>,
    gateways: &HashMap<i64, GatewayId>,
) -> Result<MessageRow, Refusal> {
    Ok(MessageRow {
        id: record_id(gateways, row.get(0)?),
        charger_id: row.get(1)?,
        ocpp_version: version(row.get::<_, u8>(2)?)?,
        kind: kind(row.get::<_, u8>(3)?)?,
        message_id: row.get(4)?,
        action: row.get(5)?,
        payload: row.get(6)?,
        answer_kind: answer_kind(row.get::<_, u8>(7)?)?,
        answer: row.get(8)?,
        received_at: Timestamp(row.get(9)?),
        epoch: Epoch(row.get::<_, i64>(10)?.cast_unsigned()),
        notes: Notes(row.get(11)?),
        reason: row.get(12)?,
    })
}

pub(super) fn record_id(gateways: &HashMap<i64, GatewayId>, message_no: i64) -> RecordId {
    let (gateway, seq) = split_message_no(message_no);
    RecordId {
        gateway: gateways.get(&gateway).copied().unwrap_or(NO_GATEWAY),
        seq,
    }
}
