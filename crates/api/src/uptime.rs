//! `/api/v1/chargers/{id}/uptime`: for how much of a time a charger was connected.

use crate::commands::{known_charger, now};
use crate::error::ApiError;
use crate::path::InPath;
use crate::query::Query;
use crate::state::AppState;
use crate::{page, schema};
use axum::extract::{RawQuery, State};
use axum::response::Response;
use central::model::ChargerView;
use central::query::{
    ConnectionView, GatewayRun, PAGE_MAX, PageRequest, Place, QueryStore, UPTIME_CONNECTIONS_MAX,
    UPTIME_DAYS_MAX, UPTIME_EXCLUDED_MAX, UPTIME_STARTS_MAX, Uptime, UptimeRange, parameters,
    uptime,
};
use central::{Epoch, GatewayId, Timestamp};
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The parameters of the route.
pub(crate) const PARAMETERS: &[&str] = &["from", "to", "exclude"];

const DAY_MS: i64 = 86_400_000;
/// Days of the range that is not given.
const DAYS_DEFAULT: i64 = 30;

/// `GET /api/v1/chargers/{id}/uptime`
#[utoipa::path(
    get,
    path = "/api/v1/chargers/{id}/uptime",
    params(
        ("id" = String, Path, description = "The identity, percent-encoded; letter case is ignored"),
        ("from" = Option<String>, Query, description = "The begin of the range; default 30 days before `to`"),
        ("to" = Option<String>, Query, description = "The end of the range, not included; default and at most now; at most 366 days after `from`"),
        ("exclude" = Option<String>, Query, description = "Times that do not count, such as maintenance: up to 100 of the form `FROM/TO`, with commas between them"),
    ),
    responses((status = 200, description = "Its uptime, and how it is computed", body = schema::Uptime))
)]
pub(crate) async fn one(
    State(state): State<Arc<AppState>>,
    RawQuery(query): RawQuery,
    InPath(id): InPath<String>,
) -> Result<Response, ApiError> {
    let query = Query::read(query.as_deref(), PARAMETERS)?;
    let now = now();
    let range = range(&query, now)?;
    state
        .answer(move |store| {
            let charger = known_charger(store, &id)?.charger;
            let connections = connections(store, &charger, &range, now)?;
            let gateways: BTreeSet<GatewayId> =
                connections.iter().map(|one| one.gateway_id).collect();
            let gateways: Vec<GatewayId> = gateways.into_iter().collect();
            let runs = store.gateway_runs(&gateways, range.from, range.to, UPTIME_STARTS_MAX);
            let runs = runs.map_err(|error| page::query_error(error, &PageRequest::default()))?;
            let runs = runs.ok_or_else(|| {
                ApiError::range_too_long(&format!(
                    "gateways started more than {UPTIME_STARTS_MAX} times in it"
                ))
            })?;
            let runs = since_known(runs, &charger, &connections, range.from);
            Ok(View {
                charger_id: charger.charger_id,
                uptime: uptime(&connections, &runs, &range, now),
            })
        })
        .await
}

/// The runs from the first sign of life of the charger on: before, it may not have existed. Where no connection is kept that
/// began before the range, they begin with the first one: an earlier one may have been open, and the retention has deleted
/// its begin.
fn since_known(
    mut runs: Vec<GatewayRun>,
    charger: &ChargerView,
    connections: &[ConnectionView],
    from: Timestamp,
) -> Vec<GatewayRun> {
    let oldest = connections.iter().map(|one| one.connected_at).min();
    let kept = oldest.map_or(Timestamp(i64::MAX), |oldest| match oldest <= from {
        true => Timestamp(i64::MIN),
        false => oldest,
    });
    let first = charger.first_seen_at.unwrap_or(Timestamp(i64::MAX));
    let first = first.max(kept);
    for run in &mut runs {
        run.from = run.from.max(first);
    }
    runs
}

/// The result, as the API shows it.
#[derive(Serialize)]
struct View {
    charger_id: String,
    #[serde(flatten)]
    uptime: Uptime,
}

fn range(query: &Query, now: Timestamp) -> Result<UptimeRange, ApiError> {
    let (from, to) = query.span()?;
    let to = to.unwrap_or(now).min(now);
    let from = from.unwrap_or_else(|| to.plus_millis(-DAYS_DEFAULT * DAY_MS));
    let is_valid = from < to && to.0.saturating_sub(from.0) <= UPTIME_DAYS_MAX * DAY_MS;
    if !is_valid {
        let right = format!("before `to` and before now, by {UPTIME_DAYS_MAX} days at most");
        return Err(ApiError::bad_parameter("from", &from.to_string(), &right));
    }
    let excluded = match query.text("exclude")? {
        None => Vec::new(),
        Some(text) => excluded(text).ok_or_else(|| {
            let right = format!(
                "up to {UPTIME_EXCLUDED_MAX} times of the form FROM/TO with commas between them, such as \
                 2026-01-31T12:00:00Z/2026-01-31T14:00:00Z, FROM before TO"
            );
            ApiError::bad_parameter("exclude", text, &right)
        })?,
    };
    Ok(UptimeRange { from, to, excluded })
}

fn excluded(text: &str) -> Option<Vec<(Timestamp, Timestamp)>> {
    let parts: Vec<&str> = text.split(',').take(UPTIME_EXCLUDED_MAX + 1).collect();
    if parts.len() > UPTIME_EXCLUDED_MAX {
        return None;
    }
    let window = |part: &&str| {
        let (from, to) = part.trim().split_once('/')?;
        let (from, to) = (parameters::time(from)?, parameters::time(to)?);
        (from < to).then_some((from, to))
    };
    parts.iter().map(window).collect()
}

/// The connections that overlap the range, and the one before it, the newest first.
fn connections(
    store: &dyn QueryStore,
    charger: &ChargerView,
    range: &UptimeRange,
    now: Timestamp,
) -> Result<Vec<ConnectionView>, ApiError> {
    let mut found = Vec::new();
    // Later ones are skipped, where there are some: an epoch is the time of the begin.
    let newest_began = charger.connected_at.unwrap_or_default();
    let mut after = match charger.gateway_id {
        Some(gateway) if newest_began > range.to => {
            let epoch = u64::try_from(range.to.0).unwrap_or_default();
            Some(Place::Connection(Epoch(epoch), gateway).to_cursor())
        }
        _ => None,
    };
    loop {
        let request = PageRequest {
            after,
            limit: PAGE_MAX,
        };
        let page = store.connections(&charger.charger_id, &request);
        let page = page.map_err(|error| page::query_error(error, &PageRequest::default()))?;
        for row in page.items {
            let began = row.began_at();
            found.push(row.view(charger, now));
            if began < range.from {
                return Ok(found);
            }
        }
        if page.next.is_none() {
            return Ok(found);
        }
        if found.len() >= UPTIME_CONNECTIONS_MAX {
            return Err(ApiError::range_too_long(&format!(
                "the charger connected more than {UPTIME_CONNECTIONS_MAX} times in it"
            )));
        }
        after = page.next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excluded_times_are_pairs_in_order() {
        let read = |text: &str| excluded(text);
        let of = |from, to| (Timestamp(from), Timestamp(to));
        assert_eq!(read("5/9"), Some(vec![of(5, 9)]));
        assert_eq!(
            read("1970-01-01T00:00:00Z/1970-01-01T00:00:01Z, 7/9"),
            Some(vec![of(0, 1_000), of(7, 9)])
        );
        for text in ["", "5", "9/5", "5/5", "5/9,", "5/x", "5/9/11"] {
            assert_eq!(read(text), None, "{text}");
        }
        let many = |count: usize| vec!["5/9"; count].join(",");
        assert_eq!(read(&many(100)).map(|all| all.len()), Some(100));
        assert_eq!(read(&many(101)), None);
    }
}
