//! `/api/v1/messages/{gateway_id}/{seq}/trace`: where one message is now, and when it passed each station.

use crate::error::ApiError;
use crate::path::InPath;
use crate::query::Query;
use crate::schema;
use crate::state::AppState;
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use central::query::DeadLetterState;
use central::trace::{InDatabase, trace};
use central::{RecordId, Timestamp};
use common::clock::now_ms;
use std::sync::Arc;

/// `GET /api/v1/messages/{gateway_id}/{seq}/trace`
#[utoipa::path(
    get,
    path = "/api/v1/messages/{gateway_id}/{seq}/trace",
    params(
        ("gateway_id" = Uuid, Path, description = "The first part of the `record_id`"),
        ("seq" = u64, Path, description = "The second part of the `record_id`"),
    ),
    responses((status = 200, description = "Where the record is, as far as it is known, also while the database is unavailable", body = schema::Trace))
)]
pub(crate) async fn one(
    State(state): State<Arc<AppState>>,
    InPath(id): InPath<RecordId>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    Query::read(query.as_deref(), &[])?;
    // A process without a store has no such route.
    let overview = state.pipeline.as_ref().ok_or_else(ApiError::internal)?;
    let found = state
        .run(move |store| {
            let found = || {
                if let Some(row) = store.message(id)? {
                    return Ok(InDatabase::Message(Box::new(row)));
                }
                // A discarded one is deleted.
                let letter = store.dead_letter_row(id)?;
                let letter = letter.filter(|letter| letter.state == DeadLetterState::Waiting);
                Ok(letter.map_or(InDatabase::Nothing, InDatabase::DeadLetter))
            };
            Ok(found().unwrap_or_else(|error: central::query::QueryError| {
                InDatabase::Unknown(error.to_string())
            }))
        })
        .await;
    let found = match found {
        Ok(found) => found,
        Err(error) if error.is_retryable() => InDatabase::Unknown(error.detail().to_owned()),
        Err(error) => return Err(error),
    };
    let gateway = overview.gateway(id.gateway);
    let answer = trace(
        Timestamp(now_ms()),
        id,
        overview.has_broker(),
        &found,
        gateway.as_ref(),
    );
    Ok(Json(answer).into_response())
}
