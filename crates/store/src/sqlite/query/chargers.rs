//! Chargers and their connectors.

use super::cut;
use crate::refusal::Refusal;
use crate::state::{gateway_start, last_spelling, read};
use central::model::{ChargerKey, ChargerState, ChargerView, ConnectorState, GatewayState};
use central::query::{ChargerDetail, ChargerFilter, Page, Place};
use central::{Epoch, GatewayId};
use rusqlite::{Connection, OptionalExtension};
use std::collections::HashMap;

pub(super) fn page(
    connection: &Connection,
    filter: &ChargerFilter,
    after: &str,
    limit: usize,
) -> Result<Page<ChargerView>, Refusal> {
    let started = gateway_starts(connection)?;
    let search = filter.search.as_deref().map(ChargerKey::of);
    let mut statement = connection.prepare_cached(
        "SELECT key, state FROM chargers
         WHERE key > ?1 AND state IS NOT NULL AND (?2 IS NULL OR instr(key, ?2) > 0)
         ORDER BY key",
    )?;
    let mut rows = statement.query((after, search.as_ref().map(ChargerKey::as_str)))?;
    let mut found = Vec::new();
    while found.len() <= limit
        && let Some(row) = rows.next()?
    {
        let key: String = row.get(0)?;
        let state: ChargerState = read(&row.get::<_, String>(1)?, &key)?;
        let view = state.view(&key, gateway_start(&started, &state));
        if filter.online.is_none_or(|online| online == view.online) {
            found.push((Place::Charger(ChargerKey::of(&key)), view));
        }
    }
    Ok(cut(found, limit))
}

pub(super) fn one(connection: &Connection, id: &str) -> Result<Option<ChargerDetail>, Refusal> {
    let key = ChargerKey::of(id);
    let found: Option<(i64, String)> = connection
        .prepare_cached("SELECT no, state FROM chargers WHERE key = ?1 AND state IS NOT NULL")?
        .query_row([key.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((no, json)) = found else {
        return Ok(None);
    };
    let state: ChargerState = read(&json, &key)?;
    let started = gateway_starts(connection)?;
    let charger = state.view(key.as_str(), gateway_start(&started, &state));
    let mut statement = connection.prepare_cached(
        "SELECT evse, connector, state FROM connectors WHERE charger_no = ?1
         ORDER BY evse, connector",
    )?;
    let mut rows = statement.query([no])?;
    let mut connectors = Vec::new();
    while let Some(row) = rows.next()? {
        let state: ConnectorState = read(&row.get::<_, String>(2)?, &key)?;
        connectors.push(state.view(&charger.charger_id, row.get(0)?, row.get(1)?));
    }
    Ok(Some(ChargerDetail {
        charger,
        connectors,
    }))
}

/// The identity of a charger as it was spelled last.
pub(super) fn spelling(connection: &Connection, no: i64) -> Result<String, Refusal> {
    let (id, json): (String, Option<String>) = connection
        .prepare_cached("SELECT id, state FROM chargers WHERE no = ?1")?
        .query_row([no], |row| Ok((row.get(0)?, row.get(1)?)))?;
    last_spelling(id, json.as_deref())
}

/// When each gateway last started.
fn gateway_starts(connection: &Connection) -> Result<HashMap<GatewayId, Epoch>, Refusal> {
    let mut statement =
        connection.prepare_cached("SELECT id, state FROM gateways WHERE state IS NOT NULL")?;
    let mut rows = statement.query([])?;
    let mut starts = HashMap::new();
    while let Some(row) = rows.next()? {
        let id = GatewayId(crate::sqlite::listing::uuid_of(row, 0)?);
        let state: GatewayState = read(&row.get::<_, String>(1)?, &id)?;
        starts.insert(id, state.started_epoch);
    }
    Ok(starts)
}
