//! `/api/v1/version`: what runs here, so that a report of a fault or a client can name it.

use crate::error::ApiError;
use crate::query::Query;
use crate::schema;
use crate::state::AppState;
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::sync::Arc;

/// `GET /api/v1/version`
#[utoipa::path(
    get,
    path = "/api/v1/version",
    responses((status = 200, description = "What this process was built from", body = schema::Version))
)]
pub(crate) async fn show(
    State(state): State<Arc<AppState>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    Query::read(query.as_deref(), &[])?;
    Ok(Json(json!({
        "version": state.version,
        "commit": state.build.commit,
        "schema_version": state.build.schema_version,
    }))
    .into_response())
}
