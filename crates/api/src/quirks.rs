//! `/api/v1/quirks`: which tolerances which kinds of chargers need.

use crate::error::ApiError;
use crate::page::ListRequest;
use crate::state::AppState;
use crate::{page, schema};
use axum::extract::State;
use axum::response::Response;
use central::Quirk;
use central::query::QuirkFilter;
use std::sync::Arc;

/// The parameters of the summary of quirks.
pub(crate) const PARAMETERS: &[&str] = &[
    "quirk", "vendor", "model", "firmware", "cursor", "limit", "fields",
];

/// `GET /api/v1/quirks`
#[utoipa::path(
    get,
    path = "/api/v1/quirks",
    params(
        ("quirk" = Option<String>, Query, description = "Only this quirk"),
        ("vendor" = Option<String>, Query, description = "Only chargers of this vendor; empty: those that have not reported it"),
        ("model" = Option<String>, Query, description = "Only chargers of this model; empty: those that have not reported it"),
        ("firmware" = Option<String>, Query, description = "Only chargers with this firmware; empty: those that have not reported it"),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before, unchanged"),
        ("limit" = Option<i32>, Query, description = "Items on the page: 1 to 1000; default 100", minimum = 1, maximum = 1000),
        ("fields" = Option<String>, Query, description = "Only these members of each item, with commas between them"),
    ),
    responses((status = 200, description = "A page", body = schema::Page<schema::QuirkSummary>))
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    request: ListRequest,
) -> Result<Response, ApiError> {
    let query = request.query(PARAMETERS)?;
    // An empty text selects chargers that have not reported it.
    let text = |name| query.raw(name).map(str::to_owned);
    let filter = QuirkFilter {
        quirk: query.one_of("quirk", &Quirk::ALL.map(|quirk| (quirk.as_str(), quirk)))?,
        vendor: text("vendor"),
        model: text("model"),
        firmware: text("firmware"),
    };
    let wanted = request.wanted(&query, "QuirkSummary")?;
    state
        .answer_list(move |store| {
            page::collected(wanted, |_| {}, |page| store.quirks(&filter, page))?.into_answer()
        })
        .await
}
