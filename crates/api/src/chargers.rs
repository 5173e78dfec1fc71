//! `/api/v1/chargers`: the chargers and their connectors.

use crate::change;
use crate::error::ApiError;
use crate::etag;
use crate::links::{self, HasLinks, Linked};
use crate::page::ListRequest;
use crate::path::InPath;
use crate::query::Query;
use crate::state::AppState;
use crate::{page, schema};
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use central::Timestamp;
use central::model::truncate;
use central::model::{QuirkView, Registration};
use central::query::{
    ChargerDetail, ChargerFilter, Page, PageRequest, QueryStore, RemovedChargers, TransactionFilter,
};
use common::clock::now_ms;
use ocpp::Version;
use serde::Serialize;
use serde_json::value::RawValue;
use std::sync::Arc;

/// The parameters of the list of chargers.
pub(crate) const PARAMETERS: &[&str] = &[
    "online",
    "q",
    "status",
    "version",
    "vendor",
    "model",
    "firmware",
    "admission",
    "site",
    "group",
    "removed",
    "cursor",
    "limit",
    "fields",
];

/// The statuses that a connector can be shown with.
const STATUSES: [&str; 11] = [
    "Available",
    "Preparing",
    "Charging",
    "SuspendedEVSE",
    "SuspendedEV",
    "Finishing",
    "Reserved",
    "Unavailable",
    "Faulted",
    "Occupied",
    "Unknown",
];

/// The values of the parameter `removed`.
const REMOVED: [(&str, RemovedChargers); 2] = [
    ("true", RemovedChargers::Only),
    ("all", RemovedChargers::Shown),
];

/// The values of the parameter `admission`.
const ADMISSIONS: [(&str, Option<Registration>); 4] = [
    ("accepted", Some(Registration::Accepted)),
    ("pending", Some(Registration::Pending)),
    ("rejected", Some(Registration::Rejected)),
    ("not_added", None),
];

/// `GET /api/v1/chargers`
#[utoipa::path(
    get,
    path = "/api/v1/chargers",
    params(
        ("online" = Option<bool>, Query, description = "Only those that are, or are not, known to be connected"),
        ("q" = Option<String>, Query, description = "Only those whose identity or label contains this text; letter case is ignored"),
        ("status" = Option<String>, Query, description = "Only those with a connector of this `status`"),
        ("version" = Option<schema::OcppVersion>, Query, description = "Only those whose latest record has this version of OCPP"),
        ("vendor" = Option<String>, Query, description = "Only those of this vendor, exactly as the answer shows it; empty: those that have not reported it"),
        ("model" = Option<String>, Query, description = "Only those of this model, likewise"),
        ("firmware" = Option<String>, Query, description = "Only those with this firmware, likewise"),
        ("admission" = Option<String>, Query, description = "`accepted`, `pending`, `rejected` or `not_added`"),
        ("site" = Option<String>, Query, description = "Only those of the site with this id; empty: those of none"),
        ("group" = Option<String>, Query, description = "Only those of this group, exactly as the answer shows it; empty: those of none"),
        ("removed" = Option<String>, Query, description = "`true`: only those that an operator has removed; `all`: these too. Without it, a removed charger is listed only while it is connected"),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before, unchanged"),
        ("limit" = Option<i32>, Query, description = "Items on the page: 1 to 1000; default 100", minimum = 1, maximum = 1000),
        ("fields" = Option<String>, Query, description = "Only these members of each item, with commas between them"),
    ),
    responses((status = 200, description = "A page", body = schema::Page<schema::Charger>))
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    request: ListRequest,
) -> Result<Response, ApiError> {
    let query = request.query(PARAMETERS)?;
    let filter = ChargerFilter {
        online: query.boolean("online")?,
        search: query.text("q")?.map(str::to_owned),
        searches_labels: true,
        site: query.raw("site").map(str::to_owned),
        group: query.raw("group").map(str::to_owned),
        version: query.one_of(
            "version",
            &[
                ("1.6", Version::V16),
                ("2.0.1", Version::V201),
                ("2.1", Version::V21),
            ],
        )?,
        vendor: query.raw("vendor").map(str::to_owned),
        model: query.raw("model").map(str::to_owned),
        firmware: query.raw("firmware").map(str::to_owned),
        status: query
            .one_of("status", &STATUSES.map(|status| (status, status)))?
            .map(str::to_owned),
        admission: query.one_of("admission", &ADMISSIONS)?,
        removed: query
            .one_of("removed", &REMOVED)?
            .unwrap_or(RemovedChargers::Hidden),
    };
    let wanted = request.wanted(&query, "Charger")?;
    state
        .answer_list(move |store| {
            let query = |page: &PageRequest| {
                let found = store.chargers(&filter, page)?;
                Ok(links::page(found, truncate::charger))
            };
            page::collected(wanted, |_| {}, query)?.into_answer()
        })
        .await
}

#[derive(Serialize)]
struct Detail {
    #[serde(flatten)]
    charger: Linked<ChargerDetail>,
    quirks: Vec<QuirkView>,
    open_transactions: Box<RawValue>,
}

/// `GET /api/v1/chargers/{id}`
#[utoipa::path(
    get,
    path = "/api/v1/chargers/{id}",
    params(
        ("id" = String, Path, description = "The identity, percent-encoded; letter case is ignored"),
    ),
    responses((status = 200, description = "The charger", body = schema::ChargerWithDetails))
)]
pub(crate) async fn one(
    State(state): State<Arc<AppState>>,
    InPath(id): InPath<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    Query::read(query.as_deref(), &[])?;
    let (json, tag) = state.run(move |store| written(store, &id)).await?;
    Ok(change::written(StatusCode::OK, json, Some(&tag)))
}

/// A charger with everything that is shown of it, as JSON, and its entity tag.
pub(crate) fn written(store: &dyn QueryStore, id: &str) -> Result<(Vec<u8>, String), ApiError> {
    let detail = detail(store, id)?;
    let settings = detail.charger.object().settings.as_ref();
    let version = settings.map_or(0, |settings| settings.version);
    let json = serde_json::to_vec(&detail).map_err(|_| ApiError::internal())?;
    let tag = etag::of_version_and_body(version, &json);
    Ok((json, tag))
}

fn detail(store: &dyn QueryStore, id: &str) -> Result<Detail, ApiError> {
    let first_page = PageRequest::default();
    let found = store.charger(id);
    let found = found.map_err(|error| page::query_error(error, &first_page))?;
    let Some(mut charger) = found else {
        return Err(ApiError::unknown_charger(id));
    };
    let quirks = store.charger_quirks(id);
    let quirks = quirks.map_err(|error| page::query_error(error, &first_page))?;
    let open = TransactionFilter {
        charger: Some(id.to_owned()),
        open: Some(true),
        ..TransactionFilter::default()
    };
    truncate::charger(&mut charger);
    let query = |page: &PageRequest| {
        let found = store.transactions(&open, page)?;
        Ok(links::page(found, truncate::transaction))
    };
    let open = page::collected(first_page, |_| {}, query)?;
    Ok(Detail {
        charger: charger.linked(),
        quirks,
        open_transactions: open.into_raw()?,
    })
}

/// `GET /api/v1/chargers/{id}/connectors`
#[utoipa::path(
    get,
    path = "/api/v1/chargers/{id}/connectors",
    params(
        ("id" = String, Path, description = "The identity, percent-encoded; letter case is ignored"),
        ("fields" = Option<String>, Query, description = "Only these members of each item, with commas between them"),
    ),
    responses((status = 200, description = "All connectors, in one page", body = schema::Page<schema::Connector>))
)]
pub(crate) async fn connectors(
    State(state): State<Arc<AppState>>,
    InPath(id): InPath<String>,
    request: ListRequest,
) -> Result<Response, ApiError> {
    let query = request.query(page::WHOLE_PARAMETERS)?;
    let wanted = request.wanted(&query, "Connector")?;
    state
        .answer_list(move |store| {
            let found = store.charger(&id);
            let found = found.map_err(|error| page::query_error(error, &PageRequest::default()))?;
            let mut charger = found.ok_or_else(|| ApiError::unknown_charger(&id))?;
            truncate::charger(&mut charger);
            page::whole(wanted, &charger.connectors)
        })
        .await
}

/// The parameters of the list of connections.
pub(crate) const CONNECTIONS_PARAMETERS: &[&str] = &["cursor", "limit", "fields"];

/// `GET /api/v1/chargers/{id}/connections`
#[utoipa::path(
    get,
    path = "/api/v1/chargers/{id}/connections",
    params(
        ("id" = String, Path, description = "The identity, percent-encoded; letter case is ignored"),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before, unchanged"),
        ("limit" = Option<i32>, Query, description = "Items on the page: 1 to 1000; default 100", minimum = 1, maximum = 1000),
        ("fields" = Option<String>, Query, description = "Only these members of each item, with commas between them"),
    ),
    responses((status = 200, description = "Its connections, the newest first", body = schema::Page<schema::ChargerConnection>))
)]
pub(crate) async fn connections(
    State(state): State<Arc<AppState>>,
    InPath(id): InPath<String>,
    request: ListRequest,
) -> Result<Response, ApiError> {
    let query = request.query(CONNECTIONS_PARAMETERS)?;
    let wanted = request.wanted(&query, "ChargerConnection")?;
    state
        .answer_list(move |store| {
            let found = store.charger(&id);
            let found = found.map_err(|error| page::query_error(error, &PageRequest::default()))?;
            let charger = found.ok_or_else(|| ApiError::unknown_charger(&id))?.charger;
            let now = Timestamp(now_ms());
            page::collected(
                wanted,
                |_| {},
                |page| {
                    let page = store.connections(&id, page)?;
                    let rows = page.items.iter();
                    Ok(Page {
                        items: rows.map(|row| row.view(&charger, now)).collect(),
                        next: page.next,
                    })
                },
            )?
            .into_answer()
        })
        .await
}
