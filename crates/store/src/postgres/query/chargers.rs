//! Chargers and their connectors.

use crate::paging::{at_most, cut};
use crate::postgres::directory::NOW_MS;
use crate::postgres::error;
use crate::postgres::numbers::clean;
use crate::refusal::Refusal;
use crate::state::{Gateways, last_spelling, read};
use central::model::{
    ChargerKey, ChargerState, ChargerView, ConnectorState, ConnectorView, GatewayState,
};
use central::query::{ChargerDetail, ChargerFilter, Page, Place};
use central::{GatewayId, Timestamp};
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
) -> Result<Page<ChargerDetail>, Refusal> {
    let gateways = gateways(connection).await?;
    let search = filter.search.as_deref().map(ChargerKey::of);
    let search = search.map(|text| clean(text.as_str()).into_owned());
    let mut reached = clean(after).into_owned();
    let mut found = Vec::new();
    for _ in 0..ROWS_READ_MAX / CHUNK {
        let rows: Vec<(i32, String, String)> = sqlx::query_as(
            "SELECT no, key, state FROM chargers
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
        for (no, key, json) in rows {
            let state: ChargerState = read(&json, &key)?;
            let view = gateways.view(&key, &state);
            reached.clone_from(&key);
            if filter.online.is_none_or(|online| online == view.online) {
                found.push((Place::Charger(ChargerKey::of(&key)), (no, view)));
            }
        }
        if is_last || found.len() > limit {
            let page = cut(found, limit);
            return Ok(Page {
                items: with_connectors(connection, page.items).await?,
                next: page.next,
            });
        }
    }
    // The page has read as many rows as it may.
    let found = found.into_iter().map(|(_, charger)| charger).collect();
    Ok(Page {
        items: with_connectors(connection, found).await?,
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
    let charger = gateways(connection).await?.view(key.as_str(), &state);
    let mut details = with_connectors(connection, vec![(no, charger)]).await?;
    Ok(details.pop())
}

/// Reads the connectors of these chargers, which are given with their numbers.
async fn with_connectors(
    connection: &mut PgConnection,
    chargers: Vec<(i32, ChargerView)>,
) -> Result<Vec<ChargerDetail>, Refusal> {
    let numbers: Vec<i32> = chargers.iter().map(|(no, _)| *no).collect();
    let rows: Vec<(i32, i64, i64, String)> = sqlx::query_as(
        "SELECT charger_no, evse, connector, state FROM connectors WHERE charger_no = ANY($1)
         ORDER BY charger_no, evse, connector",
    )
    .bind(numbers)
    .fetch_all(connection)
    .await
    .map_err(error::refusal)?;
    let mut by_charger: HashMap<i32, Vec<(i64, i64, String)>> = HashMap::new();
    for (no, evse, connector, json) in rows {
        by_charger
            .entry(no)
            .or_default()
            .push((evse, connector, json));
    }
    let detail = |(no, charger): (i32, ChargerView)| {
        let rows = by_charger.remove(&no).unwrap_or_default();
        let view = |(evse, connector, json): (i64, i64, String)| {
            let state: ConnectorState = read(&json, &charger.charger_id)?;
            Ok(state.view(&charger, evse, connector))
        };
        let connectors: Result<Vec<ConnectorView>, Refusal> = rows.into_iter().map(view).collect();
        Ok(ChargerDetail {
            connectors: connectors?,
            charger,
        })
    };
    chargers.into_iter().map(detail).collect()
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

async fn gateways(connection: &mut PgConnection) -> Result<Gateways, Refusal> {
    let now: i64 = sqlx::query_scalar(NOW_MS)
        .fetch_one(&mut *connection)
        .await
        .map_err(error::refusal)?;
    let rows: Vec<(Uuid, String)> =
        sqlx::query_as("SELECT id, state FROM gateways WHERE state IS NOT NULL")
            .fetch_all(connection)
            .await
            .map_err(error::refusal)?;
    let mut states = HashMap::with_capacity(rows.len());
    for (id, json) in rows {
        let state: GatewayState = read(&json, &id)?;
        states.insert(GatewayId(id), state);
    }
    Ok(Gateways {
        states,
        now: Timestamp(now),
    })
}
