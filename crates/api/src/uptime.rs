//! `/api/v1/chargers/{id}/uptime` and `/api/v1/uptime`: for how much of a time one charger, and several ones, were connected.

use crate::commands::{known_charger, now};
use crate::error::ApiError;
use crate::page::ListRequest;
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

/// The parameters of the route of one charger.
pub(crate) const PARAMETERS: &[&str] = &["from", "to", "exclude"];
/// The parameters of the route of several ones.
pub(crate) const LIST_PARAMETERS: &[&str] = &["chargers", "from", "to", "exclude", "fields"];

/// Chargers of one request at most.
const CHARGERS_MAX: usize = 100;
/// Connections that are read of each of several chargers at most, so that one that connects again all the time does not keep
/// the others waiting.
const CONNECTIONS_EACH_MAX: usize = 500;
/// What is between two identities: the only printable character that none can have.
const SEPARATOR: char = '/';

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
            let connected = connections(store, &charger, &range, now, UPTIME_CONNECTIONS_MAX)?;
            if connected.is_cut {
                return Err(ApiError::range_too_long(&format!(
                    "the charger connected more than {UPTIME_CONNECTIONS_MAX} times in it"
                )));
            }
            let runs = gateway_runs(store, connected.gateways(), &range)?;
            Ok(view(charger, &connected, &runs, &range, now))
        })
        .await
}

/// `GET /api/v1/uptime`
#[utoipa::path(
    get,
    path = "/api/v1/uptime",
    params(
        ("chargers" = String, Query, description = "The identities of 1 to 100 chargers with `/` between them; letter case is ignored"),
        ("from" = Option<String>, Query, description = "The begin of the range; default 30 days before `to`"),
        ("to" = Option<String>, Query, description = "The end of the range, not included; default and at most now; at most 366 days after `from`"),
        ("exclude" = Option<String>, Query, description = "Times that do not count, such as maintenance: up to 100 of the form `FROM/TO`, with commas between them"),
        ("fields" = Option<String>, Query, description = "Only these members of each item, with commas between them"),
    ),
    responses((status = 200, description = "The uptime of each, in the order of the request; there are no further pages", body = schema::Page<schema::Uptime>))
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    request: ListRequest,
) -> Result<Response, ApiError> {
    let query = request.query(LIST_PARAMETERS)?;
    let wanted = request.wanted(&query, "Uptime")?;
    let ids = identities(&query)?;
    let now = now();
    let range = range(&query, now)?;
    state
        .answer_list(move |store| {
            let mut found = Vec::with_capacity(ids.len());
            for id in &ids {
                let charger = store.charger(id);
                let charger =
                    charger.map_err(|error| page::query_error(error, &PageRequest::default()))?;
                // One that was never there must not hide the others.
                let Some(charger) = charger else { continue };
                let connected =
                    connections(store, &charger.charger, &range, now, CONNECTIONS_EACH_MAX)?;
                found.push((charger.charger, connected));
            }
            let gateways = found.iter().flat_map(|(_, connected)| connected.gateways());
            let runs = gateway_runs(store, gateways.collect(), &range)?;
            let views = found.into_iter().map(|(charger, connected)| {
                let own = connected.gateways();
                let runs = runs.iter().filter(|run| own.contains(&run.gateway));
                let runs: Vec<GatewayRun> = runs.copied().collect();
                view(charger, &connected, &runs, &connected.covered(&range), now)
            });
            page::whole(wanted, &views.collect::<Vec<View>>())
        })
        .await
}

fn identities(query: &Query) -> Result<Vec<String>, ApiError> {
    let text = query.raw("chargers").unwrap_or_default();
    let ids: Vec<&str> = text.split(SEPARATOR).take(CHARGERS_MAX + 1).collect();
    if ids.len() > CHARGERS_MAX || ids.contains(&"") {
        let right = format!(
            "the identities of 1 to {CHARGERS_MAX} chargers with {SEPARATOR} between them, such as CP-1{SEPARATOR}CP-2"
        );
        return Err(ApiError::bad_parameter("chargers", text, &right));
    }
    Ok(ids.into_iter().map(str::to_owned).collect())
}

/// The times in which these gateways ran.
fn gateway_runs(
    store: &dyn QueryStore,
    gateways: BTreeSet<GatewayId>,
    range: &UptimeRange,
) -> Result<Vec<GatewayRun>, ApiError> {
    let gateways: Vec<GatewayId> = gateways.into_iter().collect();
    let runs = store.gateway_runs(&gateways, range.from, range.to, UPTIME_STARTS_MAX);
    let runs = runs.map_err(|error| page::query_error(error, &PageRequest::default()))?;
    runs.ok_or_else(|| {
        ApiError::range_too_long(&format!(
            "gateways started more than {UPTIME_STARTS_MAX} times in it"
        ))
    })
}

/// The result for one charger. `runs` are those of its gateways.
fn view(
    charger: ChargerView,
    connected: &Connected,
    runs: &[GatewayRun],
    range: &UptimeRange,
    now: Timestamp,
) -> View {
    let runs = since_known(runs.to_vec(), &charger, &connected.connections, range.from);
    View {
        charger_id: charger.charger_id,
        uptime: uptime(&connected.connections, &runs, range, now),
    }
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

/// Connections of a charger.
struct Connected {
    /// Those that overlap the range, and the one before it, the newest first.
    connections: Vec<ConnectionView>,
    /// Whether the range has earlier ones, which were not read.
    is_cut: bool,
}

impl Connected {
    fn gateways(&self) -> BTreeSet<GatewayId> {
        self.connections.iter().map(|one| one.gateway_id).collect()
    }

    /// The part of the range of which the connections were read.
    fn covered(&self, range: &UptimeRange) -> UptimeRange {
        let oldest = self.connections.last().filter(|_| self.is_cut);
        let from = oldest.map_or(range.from, |one| {
            one.connected_at.clamp(range.from, range.to)
        });
        UptimeRange {
            from,
            ..range.clone()
        }
    }
}

/// The connections of the range, about `max` at most.
fn connections(
    store: &dyn QueryStore,
    charger: &ChargerView,
    range: &UptimeRange,
    now: Timestamp,
    max: usize,
) -> Result<Connected, ApiError> {
    let of = |connections: Vec<ConnectionView>, is_cut: bool| Connected {
        connections,
        is_cut,
    };
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
            limit: PAGE_MAX.min(max),
        };
        let page = store.connections(&charger.charger_id, &request);
        let page = page.map_err(|error| page::query_error(error, &PageRequest::default()))?;
        for row in page.items {
            let began = row.began_at();
            found.push(row.view(charger, now));
            if began < range.from {
                return Ok(of(found, false));
            }
        }
        if page.next.is_none() {
            return Ok(of(found, false));
        }
        if found.len() >= max {
            return Ok(of(found, true));
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
