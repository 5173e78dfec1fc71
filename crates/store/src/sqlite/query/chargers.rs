//! Chargers and their connectors.

use super::cut;
use crate::refusal::Refusal;
use crate::state::{Gateways, last_spelling, read};
use central::model::{
    ChargerKey, ChargerState, ChargerView, ConnectorState, ConnectorView, GatewayState,
};
use central::query::{ChargerDetail, ChargerFilter, Page, Place};
use central::{GatewayId, Timestamp};
use rusqlite::{Connection, OptionalExtension};
use std::collections::HashMap;

pub(super) fn page(
    connection: &Connection,
    filter: &ChargerFilter,
    after: &str,
    limit: usize,
) -> Result<Page<ChargerDetail>, Refusal> {
    let gateways = gateways(connection)?;
    let search = filter.search.as_deref().map(ChargerKey::of);
    let mut statement = connection.prepare_cached(
        "SELECT no, key, state FROM chargers
         WHERE key > ?1 AND state IS NOT NULL AND (?2 IS NULL OR instr(key, ?2) > 0)
         ORDER BY key",
    )?;
    let mut rows = statement.query((after, search.as_ref().map(ChargerKey::as_str)))?;
    let mut found = Vec::new();
    while found.len() <= limit
        && let Some(row) = rows.next()?
    {
        let key: String = row.get(1)?;
        let state: ChargerState = read(&row.get::<_, String>(2)?, &key)?;
        let charger = gateways.view(&key, &state);
        if filter.online.is_none_or(|online| online == charger.online) {
            let connectors = connectors(connection, row.get(0)?, &charger)?;
            let detail = ChargerDetail {
                charger,
                connectors,
            };
            found.push((Place::Charger(ChargerKey::of(&key)), detail));
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
    let charger = gateways(connection)?.view(key.as_str(), &state);
    let connectors = connectors(connection, no, &charger)?;
    Ok(Some(ChargerDetail {
        charger,
        connectors,
    }))
}

fn connectors(
    connection: &Connection,
    no: i64,
    charger: &ChargerView,
) -> Result<Vec<ConnectorView>, Refusal> {
    let mut statement = connection.prepare_cached(
        "SELECT evse, connector, state FROM connectors WHERE charger_no = ?1
         ORDER BY evse, connector",
    )?;
    let mut rows = statement.query([no])?;
    let mut connectors = Vec::new();
    while let Some(row) = rows.next()? {
        let state: ConnectorState = read(&row.get::<_, String>(2)?, &charger.charger_id)?;
        connectors.push(state.view(charger, row.get(0)?, row.get(1)?));
    }
    Ok(connectors)
}

/// The identity of a charger as it was spelled last.
pub(super) fn spelling(connection: &Connection, no: i64) -> Result<String, Refusal> {
    let (id, json): (String, Option<String>) = connection
        .prepare_cached("SELECT id, state FROM chargers WHERE no = ?1")?
        .query_row([no], |row| Ok((row.get(0)?, row.get(1)?)))?;
    last_spelling(id, json.as_deref())
}

fn gateways(connection: &Connection) -> Result<Gateways, Refusal> {
    let mut statement =
        connection.prepare_cached("SELECT id, state FROM gateways WHERE state IS NOT NULL")?;
    let mut rows = statement.query([])?;
    let mut states = HashMap::new();
    while let Some(row) = rows.next()? {
        let id = GatewayId(crate::sqlite::listing::uuid_of(row, 0)?);
        let state: GatewayState = read(&row.get::<_, String>(1)?, &id)?;
        states.insert(id, state);
    }
    Ok(Gateways {
        states,
        now: Timestamp(common::clock::now_ms()),
    })
}
