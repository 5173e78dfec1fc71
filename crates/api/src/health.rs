//! Liveness, readiness and metrics. None of them queries the database: the components report their last known state, so
//! the answer is immediate even if the database hangs.

use crate::error::ApiError;
use crate::query::Query;
use crate::schema;
use crate::state::AppState;
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use central::ports::Health;
use serde::Serialize;
use std::sync::Arc;

#[derive(Serialize)]
struct Ready {
    ready: bool,
    parts: Vec<Health>,
}

/// `GET /health/live`
#[utoipa::path(
    get,
    path = "/health/live",
    responses((status = 200, description = "The process runs", body = schema::Live))
)]
pub(crate) async fn live(RawQuery(query): RawQuery) -> Result<Response, ApiError> {
    Query::read(query.as_deref(), &[])?;
    Ok(Json(serde_json::json!({"live": true})).into_response())
}

/// `GET /health/ready`
#[utoipa::path(
    get,
    path = "/health/ready",
    responses((status = 200, description = "Every part works", body = schema::Ready), (status = 503, description = "A part does not work", body = schema::Ready))
)]
pub(crate) async fn ready(
    State(state): State<Arc<AppState>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    Query::read(query.as_deref(), &[])?;
    let mut parts: Vec<Health> = state
        .probes
        .iter()
        .flat_map(|probe| probe.health())
        .collect();
    // A process with the API alone has no other part that uses the database.
    if let Some(overview) = &state.pipeline
        && !parts.iter().any(|part| part.part == "database")
    {
        parts.push(overview.database_health());
    }
    let ready = parts.iter().all(|part| part.up);
    let status = match ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    Ok((status, Json(Ready { ready, parts })).into_response())
}

/// `GET /metrics`, in the Prometheus text format 0.0.4. Query parameters are ignored here, because
/// scrapers add their own.
#[utoipa::path(
    get,
    path = "/metrics",
    responses((status = 200, description = "The metrics", content_type = "text/plain", body = String))
)]
pub(crate) async fn metrics(State(state): State<Arc<AppState>>) -> Response {
    const TEXT_FORMAT: HeaderValue =
        HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, TEXT_FORMAT)], (state.metrics)()).into_response()
}
