//! The connections of one charger: an index scan over the records of begins and ends, and few look-ups for each connection
//! whose end was not recorded.

use super::{NO_GATEWAY, gateways};
use crate::codes::{kind, version};
use crate::paging::{at_most, connection_records, connections_page, empty};
use crate::refusal::Refusal;
use crate::sqlite::numbers::{self, BLOCK_BITS, SEQ_MAX, message_no, split_message_no};
use central::query::{ConnectionRecord, ConnectionRow, Page};
use central::{Epoch, GatewayId, Seq, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

/// Upper bound of the blocks in which the last record of a connection is looked up, one seek each.
const BLOCKS_SOUGHT_MAX: i64 = 64;

/// `None` = the cursor names a gateway that is not in the database.
pub(super) fn page(
    connection: &Connection,
    charger: &str,
    before: Option<(Epoch, GatewayId)>,
    limit: usize,
) -> Result<Option<Page<ConnectionRow>>, Refusal> {
    let Some(charger_no) = numbers::charger_no(connection, charger)? else {
        return Ok(Some(empty()));
    };
    let from = match before {
        None => (i64::MAX, i64::MAX),
        Some((epoch, gateway)) => match numbers::gateway_no(connection, gateway)? {
            None => return Ok(None),
            Some(no) => (epoch.0.cast_signed(), message_no(no, SEQ_MAX)?),
        },
    };
    let gateways = gateways(connection)?;
    let mut find = connection.prepare_cached(
        "SELECT id, epoch, kind, version, received_at, payload, reason
         FROM messages INDEXED BY messages_connections
         WHERE charger_no = ?1 AND kind IN (7, 8, 9) AND (epoch, id) <= (?2, ?3)
         ORDER BY epoch DESC, id DESC LIMIT ?4",
    )?;
    let mut found = find.query(params![
        charger_no,
        from.0,
        from.1,
        at_most(connection_records(limit))
    ])?;
    let mut records = Vec::new();
    while let Some(row) = found.next()? {
        let (gateway_no, _) = split_message_no(row.get(0)?);
        records.push(ConnectionRecord {
            gateway: gateways.get(&gateway_no).copied().unwrap_or(NO_GATEWAY),
            epoch: Epoch(row.get::<_, i64>(1)?.cast_unsigned()),
            kind: kind(row.get::<_, u8>(2)?)?,
            ocpp_version: version(row.get::<_, u8>(3)?)?,
            received_at: Timestamp(row.get(4)?),
            payload: row.get(5)?,
            reason: row.get(6)?,
        });
    }
    let mut page = connections_page(records, before, limit);
    for row in page.items.iter_mut().filter(|row| row.ended.is_none()) {
        bound_end(connection, charger_no, row)?;
    }
    Ok(Some(page))
}

/// Adds what other records tell of an end that was not recorded.
fn bound_end(
    connection: &Connection,
    charger_no: i64,
    row: &mut ConnectionRow,
) -> Result<(), Refusal> {
    let Some(gateway_no) = numbers::gateway_no(connection, row.gateway)? else {
        return Ok(());
    };
    let (first, last) = (
        message_no(gateway_no, Seq(0))?,
        message_no(gateway_no, SEQ_MAX)?,
    );
    let epoch = row.epoch.0.cast_signed();
    let started: Option<(i64, i64)> = connection
        .prepare_cached(
            "SELECT received_at, id FROM messages INDEXED BY messages_connections
             WHERE charger_no = 0 AND kind IN (7, 8, 9) AND epoch > ?1 AND id BETWEEN ?2 AND ?3
             ORDER BY epoch LIMIT 1",
        )?
        .query_row(params![epoch, first, last], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    row.gateway_started_at = started.map(|(at, _)| Timestamp(at));
    let newest: Option<i64> = connection
        .prepare_cached("SELECT max(id) FROM messages WHERE id BETWEEN ?1 AND ?2")?
        .query_row([first, started.map_or(last, |(_, id)| id)], |row| {
            row.get(0)
        })?;
    let newest = newest.unwrap_or(first);
    // What the central system recorded of its own calls is no sign of life of the charger.
    let mut find = connection.prepare_cached(
        "SELECT received_at FROM messages INDEXED BY messages_by_charger
         WHERE (id >> 14) = ?1 AND charger_no = ?2 AND id <= ?3 AND epoch = ?4 AND kind NOT IN (10, 11)
         ORDER BY id DESC LIMIT 1",
    )?;
    row.last_record_at = row.connected_at;
    let block = newest >> BLOCK_BITS;
    for block in (block
        .saturating_sub(BLOCKS_SOUGHT_MAX)
        .max(first >> BLOCK_BITS)..=block)
        .rev()
    {
        let at: Option<i64> = find
            .query_row([block, charger_no, newest, epoch], |row| row.get(0))
            .optional()?;
        if at.is_some() {
            row.last_record_at = at.map(Timestamp);
            break;
        }
    }
    Ok(())
}
