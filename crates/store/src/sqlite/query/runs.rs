//! The times in which gateways ran: an index scan over the records of their starts, and one seek for each.

use super::gateways;
use crate::paging::at_most;
use crate::refusal::Refusal;
use crate::runs::{Start, runs_of};
use crate::sqlite::numbers::{SEQ_MAX, message_no, split_message_no};
use crate::state::gateway_alive_at;
use central::query::GatewayRun;
use central::{GatewayId, Seq, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

/// `None`: more than `max` starts.
pub(super) fn runs(
    connection: &Connection,
    wanted: &[GatewayId],
    from: Timestamp,
    to: Timestamp,
    max: usize,
) -> Result<Option<Vec<GatewayRun>>, Refusal> {
    let known = gateways(connection)?;
    let mut found = Vec::new();
    let mut find_starts = connection.prepare_cached(
        "SELECT id, received_at FROM messages INDEXED BY messages_connections
         WHERE charger_no = 0 AND kind IN (7, 8, 9) AND epoch >= ?1 AND epoch < ?2
         ORDER BY epoch LIMIT ?3",
    )?;
    let starts: Vec<(i64, i64)> = find_starts
        .query_map(
            params![from.0, to.0, at_most(max.saturating_add(1))],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?
        .collect::<Result<_, _>>()?;
    if starts.len() > max {
        return Ok(None);
    }
    let mut first_record = connection.prepare_cached(
        "SELECT received_at FROM messages WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT 1",
    )?;
    let mut last_record = connection.prepare_cached(
        "SELECT received_at FROM messages WHERE id >= ?1 AND id < ?2 ORDER BY id DESC LIMIT 1",
    )?;
    let mut state = connection
        .prepare_cached("SELECT state FROM gateways WHERE no = ?1 AND state IS NOT NULL")?;
    // The last run ends before the next start, also where that is after the range.
    let mut next_start = connection.prepare_cached(
        "SELECT id FROM messages INDEXED BY messages_connections
         WHERE charger_no = 0 AND kind IN (7, 8, 9) AND epoch >= ?1 AND id BETWEEN ?2 AND ?3
         ORDER BY epoch LIMIT 1",
    )?;
    for (&no, &gateway) in known.iter().filter(|(_, id)| wanted.contains(id)) {
        let (first, end) = (message_no(no, Seq(0))?, message_no(no, SEQ_MAX)?);
        let begun: Option<i64> = first_record
            .query_row([first, end], |row| row.get(0))
            .optional()?;
        let Some(begun) = begun else {
            continue;
        };
        let ids: Vec<(i64, i64)> = starts
            .iter()
            .copied()
            .filter(|(id, _)| split_message_no(*id).0 == no)
            .collect();
        let mut last_before = |id: i64| -> Result<Option<Timestamp>, Refusal> {
            let at: Option<i64> = last_record
                .query_row([first, id], |row| row.get(0))
                .optional()?;
            Ok(at.map(Timestamp))
        };
        let mut of_gateway = Vec::with_capacity(ids.len());
        for (id, at) in &ids {
            of_gateway.push(Start {
                at: Timestamp(*at),
                last_before: last_before(*id)?,
            });
        }
        let json: Option<String> = state.query_row([no], |row| row.get(0)).optional()?;
        let next: Option<i64> = next_start
            .query_row(params![to.0, first, end], |row| row.get(0))
            .optional()?;
        let last = match next {
            Some(next) => last_before(next)?,
            None => last_before(end)?.max(gateway_alive_at(json.as_deref())),
        };
        found.extend(runs_of(gateway, Timestamp(begun), &of_gateway, last));
    }
    Ok(Some(found))
}
