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
use central::model::ProcessRole;
use central::ports::{Figures, Health};
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::Semaphore;
use uuid::Uuid;

#[derive(Serialize)]
struct Ready {
    ready: bool,
    parts: Vec<Health>,
}

#[derive(Serialize)]
struct Detailed {
    status: &'static str,
    ready: bool,
    process: Option<Process>,
    parts: Vec<DetailedPart>,
}

#[derive(Serialize)]
struct Process {
    id: Uuid,
    role: ProcessRole,
    host: String,
    version: String,
    started_at: String,
}

#[derive(Serialize)]
struct DetailedPart {
    #[serde(flatten)]
    health: Health,
    since: Option<String>,
    last_error: Option<LastError>,
    #[serde(skip_serializing_if = "Figures::is_empty")]
    figures: Figures,
}

#[derive(Serialize)]
struct LastError {
    at: String,
    detail: String,
}

/// All parts of this process, from what they know: nothing is asked.
fn parts(state: &AppState) -> Vec<Health> {
    let mut parts: Vec<Health> = state
        .probes
        .iter()
        .flat_map(|probe| probe.health())
        .collect();
    if let Some(overview) = &state.pipeline {
        let own = overview.database_health();
        match parts.iter_mut().find(|part| part.part == "database") {
            // What writes to the database knows its state best; the lag is known here only.
            Some(part) => part.figures.extend(own.figures),
            // A process with the API alone has no other part that uses the database.
            None => parts.push(own),
        }
    }
    parts
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
    responses((status = 200, description = "The process can do new work", body = schema::Ready), (status = 503, description = "It should get no new work", body = schema::Ready))
)]
pub(crate) async fn ready(
    State(state): State<Arc<AppState>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    Query::read(query.as_deref(), &[])?;
    let parts = parts(&state);
    let ready = parts.iter().all(|part| part.ready);
    let status = match ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    Ok((status, Json(Ready { ready, parts })).into_response())
}

/// `GET /health`
#[utoipa::path(
    get,
    path = "/health",
    responses((status = 200, description = "The process, its parts and their figures", body = schema::Health))
)]
pub(crate) async fn detailed(
    State(state): State<Arc<AppState>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    Query::read(query.as_deref(), &[])?;
    Ok(Json(report(&state)).into_response())
}

/// What `GET /health` answers.
pub(crate) fn report(state: &AppState) -> impl Serialize + use<> {
    let parts = parts(state);
    let ready = parts.iter().all(|part| part.ready);
    let status = match ready {
        false => "not_ready",
        true if parts.iter().all(|part| part.up) => "works",
        true => "degraded",
    };
    let report = state.process.as_ref().map(|report| report());
    let known = |name: &str| {
        let report = report.as_ref()?;
        report.parts.iter().find(|part| part.part == name)
    };
    let parts = parts.into_iter().map(|mut health| {
        let figures = std::mem::take(&mut health.figures);
        let known = known(health.part);
        DetailedPart {
            // Another probe may have changed since.
            since: known
                .filter(|part| part.up == health.up)
                .map(|part| part.since.to_string()),
            last_error: known.and_then(|part| {
                let error = part.last_error.as_ref()?;
                Some(LastError {
                    at: error.at.to_string(),
                    detail: error.detail.clone(),
                })
            }),
            health,
            figures,
        }
    });
    let parts = parts.collect();
    let process = report.as_ref().map(|report| Process {
        id: report.id,
        role: report.role,
        host: report.host.clone(),
        version: report.version.clone(),
        started_at: report.started_at.to_string(),
    });
    Detailed {
        status,
        ready,
        process,
        parts,
    }
}

/// `GET /metrics`, in the Prometheus text format 0.0.4. Query parameters are ignored here, because
/// scrapers add their own.
#[utoipa::path(
    get,
    path = "/metrics",
    responses((status = 200, description = "The metrics", content_type = "text/plain", body = String))
)]
pub(crate) async fn metrics(State(state): State<Arc<AppState>>) -> Result<Response, ApiError> {
    const TEXT_FORMAT: HeaderValue =
        HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    /// The text takes milliseconds to write, so it is written one at a time and on no thread that answers health checks:
    /// a client that asks for it without end then delays only others that ask for it.
    static TURN: Semaphore = Semaphore::const_new(1);
    let turn = TURN.acquire().await.map_err(|_| ApiError::internal())?;
    let write = Arc::clone(&state);
    let text = tokio::task::spawn_blocking(move || {
        // The turn ends with the work, also if the client is gone.
        let _turn = turn;
        (write.metrics)()
    });
    let text = text.await.map_err(|panic| {
        tracing::error!(%panic, "writing the metrics panicked");
        ApiError::internal()
    })?;
    Ok(([(header::CONTENT_TYPE, TEXT_FORMAT)], text).into_response())
}
