//! `/api/v1/chargers/{id}/disconnect`: a person closes the connection of a charger, so that it connects again.
//!
//! The answer says what is known, and no more: the connection is closed only once the record of its end is in the database.

use crate::change::{self, Change};
use crate::commands::{known_charger, preferred_wait, prefers};
use crate::error::ApiError;
use crate::path::InPath;
use crate::state::AppState;
use crate::{page, schema};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use central::ports::{
    DISCONNECT_CODE_DEFAULT, DISCONNECT_CODE_EXPECTED, DISCONNECT_REASON_EXPECTED, Disconnect,
    DisconnectRequest, DisconnectView, Once, disconnect_seen, is_disconnect_code,
    is_disconnect_reason,
};
use central::query::PageRequest;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a request waits that does not say for how long: longer than a gateway looks for requests without a hint.
const WAIT: Duration = Duration::from_secs(5);
/// How often a waiting request looks: soon at first, as the end is usually stored within milliseconds.
const POLL_MIN: Duration = Duration::from_millis(25);
const POLL_MAX: Duration = Duration::from_millis(400);

/// `POST /api/v1/chargers/{id}/disconnect`
#[utoipa::path(
    post,
    path = "/api/v1/chargers/{id}/disconnect",
    params(
        ("id" = String, Path, description = "The identity, percent-encoded; letter case is ignored"),
        ("Idempotency-Key" = Option<String>, Header, description = "A text of the client, unique for this request: its repeat within 72 hours closes no other connection, and shows what became of the first"),
        ("Prefer" = Option<String>, Header, description = "`wait=N` waits for the end for N seconds at most, up to 60; `respond-async` does not wait. Default: 5 s"),
    ),
    request_body = schema::NewDisconnect,
    responses(
        (status = 200, description = "What became of it: `state` is `closed`, `ended` or `expired`", body = schema::Disconnect),
        (status = 202, description = "The end is not known yet: `state` is `pending` or `closing`", body = schema::Disconnect),
    )
)]
pub(crate) async fn disconnect(
    State(state): State<Arc<AppState>>,
    InPath(id): InPath<String>,
    change: Change,
) -> Result<Response, ApiError> {
    change.query(&[])?;
    let request = change.request()?;
    let mut members = change.members()?;
    let code = members.take_if("code", DISCONNECT_CODE_EXPECTED, |code: &u16| {
        is_disconnect_code(*code)
    });
    let reason = members.take_if("reason", DISCONNECT_REASON_EXPECTED, |reason: &String| {
        is_disconnect_reason(reason)
    });
    members.finish(&["code", "reason"])?;
    let wait = match preferred_wait(change.headers()) {
        Some(wait) => wait,
        None if prefers(change.headers(), "respond-async") => Duration::ZERO,
        None => WAIT,
    };
    let disconnects = state.disconnects()?;
    let done = state
        .run(move |store| {
            let charger = known_charger(store, &id)?.charger;
            let at = disconnects.time();
            let at = at.map_err(|error| ApiError::unavailable(&error))?;
            let wanted = DisconnectRequest {
                id: common::id::new_v7(),
                connection: charger.newest_connection(),
                charger_id: charger.charger_id,
                at,
                code: code.value().unwrap_or(DISCONNECT_CODE_DEFAULT),
                reason: reason.value().unwrap_or_default(),
                request,
            };
            let done = disconnects.request_disconnect(&wanted);
            match done.map_err(|error| ApiError::unavailable(&error))? {
                Once::Done(done) | Once::Repeated(done) => Ok(done),
                Once::Refused(_) => Err(ApiError::not_connected(&wanted.charger_id)),
                Once::Mismatch => Err(ApiError::idempotency_mismatch()),
                Once::InUse => Err(ApiError::idempotency_in_use()),
            }
        })
        .await?;
    state.disconnect_waits(done.gateway_id);
    let deadline = Instant::now() + wait;
    let mut pause = POLL_MIN;
    let mut view = seen(&state, done.clone()).await?;
    while !view.state.is_final() && Instant::now() < deadline {
        tokio::time::sleep_until(deadline.min(Instant::now() + pause)).await;
        pause = (pause * 2).min(POLL_MAX);
        view = seen(&state, done.clone()).await?;
    }
    let status = match view.state.is_final() {
        true => StatusCode::OK,
        false => StatusCode::ACCEPTED,
    };
    change::object(status, &view, None)
}

/// What is known of a request now.
async fn seen(state: &AppState, request: Disconnect) -> Result<DisconnectView, ApiError> {
    let disconnects = state.disconnects()?;
    state
        .run(move |store| {
            let heard = disconnects.disconnect_heard(request.id);
            let heard = heard.map_err(|error| ApiError::unavailable(&error))?;
            let now = disconnects.time();
            let now = now.map_err(|error| ApiError::unavailable(&error))?;
            disconnect_seen(store, &request, heard, now)
                .map_err(|error| page::query_error(error, &PageRequest::default()))
        })
        .await
}
