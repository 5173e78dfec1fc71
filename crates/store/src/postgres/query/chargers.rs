//! Chargers and their connectors.

use crate::paging::{at_most, cut};
use crate::postgres::error;
use crate::postgres::numbers::clean;
use crate::refusal::Refusal;
use crate::state::{gateway_start, last_spelling, read};
use central::model::{ChargerKey, ChargerState, ChargerView, ConnectorState, GatewayState};
use central::query::{ChargerDetail, ChargerFilter, Page, Place};
use central::{Epoch, GatewayId};
use sqlx::postgres::PgConnection;
use std::collections::HashMap;
use uuid::Uuid;

/// Rows fetched at a time, because only the state tells whether a row matches.
const CHUNK: usize = 1_000;

/// Upper bound of the rows that one page reads.
const ROWS_READ_MAX: usize = 20_000;

pub(super) async fn page(
    connection: &mut PgConnection,
    filter: &ChargerFilter,
    after: &str,
    limit: usize,
) -> Result<Page<ChargerView>, Refusal> {
    let started = gateway_starts(connection).await?;
    let search = filter.search.as_deref().map(ChargerKey::of);
    let search = search.map(|text| clean(text.as_str()).into_owned());
    let mut reached = clean(after).into_owned();
    let mut found = Vec::new();
    for _ in 0..ROWS_READ_MAX / CHUNK {
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT key, state FROM chargers
             WHERE key > $1 AND state IS NOT NULL AND ($2::text IS NULL OR strpos(key, $2) > 0)
             ORDER BY key LIMIT $3",
        )
        .bind(&reached)
        .bind(&search)
        .bind(at_most(CHUNK.min(limit + 1)))
        .fetch_all(&mut *connection)
        .await
        .map_err(error::refusal)?;
        let is_last = rows.len() < CHUNK.min(limit + 1);
        for (key, json) in rows {
            let state: ChargerState = read(&json, &key)?;
            let view = state.view(&key, gateway_start(&started, &state));
            reached.clone_from(&key);
            if filter.online.is_none_or(|online| online == view.online) {
                found.push((Place::Charger(ChargerKey::of(&key)), view));
            }
        }
        if is_last || found.len() > limit {
            return Ok(cut(found, limit));
        }
    }
    // The page has read as many rows as it may.
    Ok(Page {
        items: found.into_iter().map(|(_, view)| view).collect(),
        next: Some(Place::Charger(ChargerKey::of(&reached)).to_cursor()),
    })
}

pub(super) async fn one(
    connection: &mut PgConnection,
    id: &str,
) -> Result<Option<ChargerDetail>, Refusal> {
    let key = ChargerKey::of(id);
    let found: Option<(i32, String)> =
        sqlx::query_as("SELECT no, state FROM chargers WHERE key = $1 AND state IS NOT NULL")
            .bind(clean(key.as_str()).into_owned())
            .fetch_optional(&mut *connection)
            .await
            .map_err(error::refusal)?;
    let Some((no, json)) = found else {
        return Ok(None);
    };
    let state: ChargerState = read(&json, &key)?;
    let started = gateway_starts(connection).await?;
    let charger = state.view(key.as_str(), gateway_start(&started, &state));
    let rows: Vec<(i64, i64, String)> = sqlx::query_as(
        "SELECT evse, connector, state FROM connectors WHERE charger_no = $1
         ORDER BY evse, connector",
    )
    .bind(no)
    .fetch_all(connection)
    .await
    .map_err(error::refusal)?;
    let mut connectors = Vec::with_capacity(rows.len());
    for (evse, connector, json) in rows {
        let state: ConnectorState = read(&json, &key)?;
        connectors.push(state.view(&charger.charger_id, evse, connector));
    }
    Ok(Some(ChargerDetail {
        charger,
        connectors,
    }))
}

/// The identities of chargers as they were spelled last.
pub(super) async fn spellings(
    connection: &mut PgConnection,
    numbers: &[i32],
) -> Result<HashMap<i32, String>, Refusal> {
    let rows: Vec<(i32, String, Option<String>)> =
        sqlx::query_as("SELECT no, id, state FROM chargers WHERE no = ANY($1)")
            .bind(numbers)
            .fetch_all(connection)
            .await
            .map_err(error::refusal)?;
    let mut spellings = HashMap::with_capacity(rows.len());
    for (no, id, json) in rows {
        spellings.insert(no, last_spelling(id, json.as_deref())?);
    }
    Ok(spellings)
}

/// When each gateway last started.
async fn gateway_starts(
    connection: &mut PgConnection,
) -> Result<HashMap<GatewayId, Epoch>, Refusal> {
    let rows: Vec<(Uuid, String)> =
        sqlx::query_as("SELECT id, state FROM gateways WHERE state IS NOT NULL")
            .fetch_all(connection)
            .await
            .map_err(error::refusal)?;
    let mut starts = HashMap::with_capacity(rows.len());
    for (id, json) in rows {
        let state: GatewayState = read(&json, &id)?;
        starts.insert(GatewayId(id), state.started_epoch);
    }
    Ok(starts)
}
