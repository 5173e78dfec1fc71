//! Chargers and their connectors.

use crate::directory::profile;
use crate::paging::cut;
use crate::refusal::Refusal;
use crate::sqlite::charger_settings::{one_profile, profile_row};
use crate::state::{Gateways, Unreadable, last_spelling, or_leave_out, read_with, readable};
use central::model::{
    Actor, ChargerKey, ChargerProfile, ChargerSettings, ChargerState, ChargerView, ConnectorState,
    ConnectorView, GatewayState,
};
use central::query::{ChargerDetail, ChargerFilter, Page, Place};
use central::{GatewayId, Timestamp};
use rusqlite::{Connection, OptionalExtension, params_from_iter};
use std::collections::HashMap;

pub(super) fn page(
    connection: &Connection,
    filter: &ChargerFilter,
    after: &str,
    limit: usize,
) -> Result<Page<ChargerDetail>, Refusal> {
    let gateways = gateways(connection)?;
    let search = filter.search.as_deref().map(ChargerKey::of);
    let search = search.map(|key| key.as_str().to_owned());
    let mut values = vec![Some(after.to_owned()), search, filter.label_search()];
    // Each part is read in the order of an index, so rows come without sorting. A site or a group has its own query, so that
    // its chargers are found by its index; other chargers than those that were added are in none.
    let mut sql = "SELECT key FROM charger_profiles
         WHERE key > ?1 AND (?2 IS NULL OR instr(key, ?2) > 0 OR instr(label_key, ?3) > 0)"
        .to_owned();
    for (column, text) in [("site", &filter.site), ("charger_group", &filter.group)] {
        if let Some(text) = text.as_deref().filter(|text| !text.is_empty()) {
            values.push(Some(text.to_owned()));
            sql.push_str(&format!(" AND {column} = ?{}", values.len()));
        }
    }
    if !filter.needs_settings() {
        sql.push_str(
            " UNION SELECT key FROM chargers
             WHERE key > ?1 AND state IS NOT NULL AND (?2 IS NULL OR instr(key, ?2) > 0)",
        );
    }
    sql.push_str(" ORDER BY key");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut found = Vec::new();
    while found.len() <= limit
        && let Some(row) = rows.next()?
    {
        let key = ChargerKey::of(&row.get::<_, String>(0)?);
        let settings = profile_row(connection, &key)?.map(profile).transpose();
        let Some(settings) = or_leave_out(settings, &format_args!("charger {key}")) else {
            continue;
        };
        let settings = settings.map(|(_, profile, version)| (profile, version));
        let stored = stored(connection, &gateways, &key, settings, Unreadable::IsNone)?;
        let Some(stored) = stored else {
            continue;
        };
        let is_online = stored.charger.online;
        if !filter.has(&stored.charger, stored.settings.as_ref())
            || !filter.has_removal(stored.removal.is_some(), is_online)
        {
            continue;
        }
        let detail = stored.with_connectors(connection, Unreadable::IsNone)?;
        if filter.has_status(&detail.connectors) {
            found.push((Place::Charger(key), detail));
        }
    }
    Ok(cut(found, limit))
}

pub(super) fn one(connection: &Connection, id: &str) -> Result<Option<ChargerDetail>, Refusal> {
    let (gateways, key) = (gateways(connection)?, ChargerKey::of(id));
    let settings = one_profile(connection, &key)?;
    let stored = stored(connection, &gateways, &key, settings, Unreadable::IsNone)?;
    stored
        .map(|stored| stored.with_connectors(connection, Unreadable::IsNone))
        .transpose()
}

/// A charger without its connectors.
struct Stored {
    /// Its number; `None` if it has never connected.
    no: Option<i64>,
    charger: ChargerView,
    settings: Option<ChargerSettings>,
    /// When it was removed, and by whom.
    removal: Option<(Timestamp, Actor)>,
}

impl Stored {
    fn with_connectors(
        self,
        connection: &Connection,
        unreadable: Unreadable,
    ) -> Result<ChargerDetail, Refusal> {
        let connectors = match self.no {
            None => Vec::new(),
            Some(no) => connectors(connection, no, &self.charger, unreadable)?,
        };
        let (removed_at, removed_by) = self.removal.unzip();
        Ok(ChargerDetail {
            removed_at,
            removed_by,
            charger: self.charger,
            settings: self.settings,
            connectors,
        })
    }
}

/// A charger that has connected or that the operator has added.
fn stored(
    connection: &Connection,
    gateways: &Gateways,
    key: &ChargerKey,
    settings: Option<(ChargerProfile, u64)>,
    unreadable: Unreadable,
) -> Result<Option<Stored>, Refusal> {
    let found: Option<(i64, String)> = connection
        .prepare_cached("SELECT no, state FROM chargers WHERE key = ?1 AND state IS NOT NULL")?
        .query_row([key.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let settings = settings.map(|(profile, version)| ChargerSettings::of(&profile, version));
    let (no, state) = match (found, &settings) {
        (Some((no, json)), _) => (Some(no), read_with(&json, key, unreadable)?),
        (None, Some(_)) => (None, ChargerState::default()),
        (None, None) => return Ok(None),
    };
    let removal = match settings {
        Some(_) => None,
        None => connection
            .prepare_cached("SELECT at, actor FROM removed_chargers WHERE key = ?1")?
            .query_row([key.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?,
    };
    let (at, actor): (Option<i64>, Option<String>) = removal.unzip();
    let spelling = settings.as_ref();
    let spelling = spelling.map_or(key.as_str(), |settings| &settings.charger_id);
    Ok(Some(Stored {
        no,
        charger: gateways.view(spelling, &state),
        settings,
        removal: crate::removed::removal(key.as_str(), at, actor.as_deref()),
    }))
}

/// The charger with this number; `None` if nothing is known of it. One that cannot be read is an error.
pub(in crate::sqlite) fn numbered(
    connection: &Connection,
    gateways: &Gateways,
    no: i64,
) -> Result<Option<ChargerDetail>, Refusal> {
    let key: Option<String> = connection
        .prepare_cached("SELECT key FROM chargers WHERE no = ?1 AND state IS NOT NULL")?
        .query_row([no], |row| row.get(0))
        .optional()?;
    let Some(key) = key else {
        return Ok(None);
    };
    let key = ChargerKey::of(&key);
    let settings = one_profile(connection, &key)?;
    let stored = stored(connection, gateways, &key, settings, Unreadable::Fails)?;
    stored
        .map(|stored| stored.with_connectors(connection, Unreadable::Fails))
        .transpose()
}

fn connectors(
    connection: &Connection,
    no: i64,
    charger: &ChargerView,
    unreadable: Unreadable,
) -> Result<Vec<ConnectorView>, Refusal> {
    let mut statement = connection.prepare_cached(
        "SELECT evse, connector, state FROM connectors WHERE charger_no = ?1
         ORDER BY evse, connector",
    )?;
    let mut rows = statement.query([no])?;
    let mut connectors = Vec::new();
    while let Some(row) = rows.next()? {
        let json: String = row.get(2)?;
        let state: ConnectorState = read_with(&json, &charger.charger_id, unreadable)?;
        connectors.push(state.view(charger, row.get(0)?, row.get(1)?));
    }
    Ok(connectors)
}

/// The identity of a charger as it was spelled last.
pub(super) fn spelling(connection: &Connection, no: i64) -> Result<String, Refusal> {
    let (id, json): (String, Option<String>) = connection
        .prepare_cached("SELECT id, state FROM chargers WHERE no = ?1")?
        .query_row([no], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(last_spelling(id, json.as_deref()))
}

/// Whether this charger is shown as connected; not if its state cannot be read.
pub(in crate::sqlite) fn is_online(
    connection: &Connection,
    key: &ChargerKey,
) -> Result<bool, Refusal> {
    let json: Option<String> = connection
        .prepare_cached("SELECT state FROM chargers WHERE key = ?1 AND state IS NOT NULL")?
        .query_row([key.as_str()], |row| row.get(0))
        .optional()?;
    let Some(json) = json else {
        return Ok(false);
    };
    let Some(state) = readable::<ChargerState>(&json, key) else {
        return Ok(false);
    };
    Ok(gateways(connection)?.view(key.as_str(), &state).online)
}

pub(in crate::sqlite) fn gateways(connection: &Connection) -> Result<Gateways, Refusal> {
    let mut statement =
        connection.prepare_cached("SELECT id, state FROM gateways WHERE state IS NOT NULL")?;
    let mut rows = statement.query([])?;
    let mut states = HashMap::new();
    while let Some(row) = rows.next()? {
        let id = GatewayId(crate::sqlite::listing::uuid_of(row, 0)?);
        let json: String = row.get(1)?;
        let state: Option<GatewayState> = readable(&json, &format_args!("gateway {id}"));
        states.extend(state.map(|state| (id, state)));
    }
    Ok(Gateways {
        states,
        now: Timestamp(common::clock::now_ms()),
    })
}
