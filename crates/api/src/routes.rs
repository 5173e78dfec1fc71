//! The routing table, and what every answer gets: headers and metrics.

use crate::error::ApiError;
use crate::query::Query;
use crate::state::AppState;
use crate::{chargers, health, messages, transactions};
use axum::extract::{MatchedPath, OriginalUri, RawQuery, Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use std::sync::Arc;
use std::time::Instant;

/// The index that `/` returns.
const ENDPOINTS: [(&str, &str); 9] = [
    ("/health/live", "whether the process runs"),
    (
        "/health/ready",
        "whether every part works, and which does not",
    ),
    ("/metrics", "metrics for Prometheus"),
    ("/api/v1/chargers", "chargers; online, q, cursor, limit"),
    (
        "/api/v1/chargers/{id}",
        "one charger with its connectors and open transactions",
    ),
    (
        "/api/v1/transactions",
        "transactions, latest first; charger, state, from, to, cursor, limit",
    ),
    ("/api/v1/transactions/{key}", "one transaction"),
    (
        "/api/v1/messages",
        "messages as they were spoken; charger, action, kind, from, to, after, cursor, limit",
    ),
    (
        "/api/v1/dead-letters",
        "records that could not be applied; cursor, limit",
    ),
];

pub(crate) fn router(state: Arc<AppState>) -> Router {
    let router = health_routes()
        .route("/", get(index))
        .route("/api/v1/chargers", get(chargers::list))
        .route("/api/v1/chargers/{id}", get(chargers::one))
        .route("/api/v1/transactions", get(transactions::list))
        .route("/api/v1/transactions/{key}", get(transactions::one))
        .route("/api/v1/messages", get(messages::list))
        .route("/api/v1/dead-letters", get(messages::dead_letters))
        .fallback(no_such_path);
    finish(router, state)
}

/// The router of a process without a store: health and metrics.
pub(crate) fn health_router(state: Arc<AppState>) -> Router {
    finish(health_routes().fallback(no_such_path), state)
}

/// The router while all connections are in use: health and metrics only.
pub(crate) fn watch_router(state: Arc<AppState>) -> Router {
    finish(health_routes().fallback(too_many_connections), state)
}

fn health_routes() -> Router<Arc<AppState>> {
    Router::new()
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(health::metrics))
}

fn finish(router: Router<Arc<AppState>>, state: Arc<AppState>) -> Router {
    router
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn(finished))
        .with_state(state)
}

async fn too_many_connections() -> ApiError {
    ApiError::too_many_connections()
}

/// `GET /`
async fn index(
    State(state): State<Arc<AppState>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    Query::read(query.as_deref(), &[])?;
    let endpoints = ENDPOINTS.map(|(path, what)| json!({"path": path, "what": what}));
    let body = json!({"name": "Wattpost", "version": state.version, "endpoints": endpoints});
    Ok(Json(body).into_response())
}

async fn no_such_path(OriginalUri(uri): OriginalUri) -> ApiError {
    ApiError::no_such_path(&uri)
}

async fn method_not_allowed(method: Method, OriginalUri(uri): OriginalUri) -> ApiError {
    ApiError::method_not_allowed(&method, &uri)
}

/// Adds the headers of every answer and counts it. The metrics use the route's pattern, never the path of the
/// request: that would let a client create any number of series.
async fn finished(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let route = match request.extensions().get::<MatchedPath>() {
        Some(path) => path.as_str().to_owned(),
        None => "none".to_owned(),
    };
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let status = response.status().as_u16().to_string();
    metrics::counter!("wattpost_api_requests_total", "route" => route.clone(), "status" => status)
        .increment(1);
    metrics::histogram!("wattpost_api_request_duration_seconds", "route" => route)
        .record(began.elapsed().as_secs_f64());
    response
}
