//! `/api/v1/transactions/{key}/close`: transactions that a person closes, because their stop will not come.

use crate::change::{self, Change};
use crate::error::ApiError;
use crate::links::HasLinks;
use crate::path::{InPath, TransactionKey};
use crate::state::AppState;
use crate::{page, schema};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use central::model::truncate;
use central::ports::{CLOSING_REASON_CHARS_MAX, CloseRequest, Once};
use central::query::{PageRequest, parameters};
use std::sync::Arc;

/// `POST /api/v1/transactions/{key}/close`
#[utoipa::path(
    post,
    path = "/api/v1/transactions/{key}/close",
    params(
        ("key" = Uuid, Path, description = "The `key` of the transaction"),
        ("Idempotency-Key" = Option<String>, Header, description = "A text of the client, unique for this request: its repeat within 72 hours closes nothing again"),
    ),
    request_body = schema::CloseTransaction,
    responses((status = 200, description = "The transaction, closed", body = schema::Transaction))
)]
pub(crate) async fn close(
    State(state): State<Arc<AppState>>,
    InPath(TransactionKey(key)): InPath<TransactionKey>,
    change: Change,
) -> Result<Response, ApiError> {
    change.query(&[])?;
    let request = change.request()?;
    let mut members = change.members()?;
    let expected = format!(
        "a text of 1 to {CLOSING_REASON_CHARS_MAX} characters without line ends and control characters"
    );
    let reason = members.required("reason", &expected, |reason: &String| is_reason(reason));
    let at: Option<String> = members
        .take_if("at", "a time in RFC 3339, or null", |text: &String| {
            parameters::time(text).is_some()
        })
        .value();
    let force = members.take("force", "true, false or null").value();
    members.finish(&["reason", "at", "force"])?;
    // Without it, a fault was reported.
    let reason = reason.ok_or_else(ApiError::internal)?;
    let wanted = CloseRequest {
        key,
        ended_at: at.as_deref().and_then(parameters::time),
        who: request.requested_by().to_owned(),
        reason: reason.trim().to_owned(),
        is_forced: force.unwrap_or(false),
        request,
    };
    let closings = state.closings()?;
    let view = state
        .run(move |store| {
            let closed = closings.close_session(&wanted);
            let closed = match closed.map_err(|error| ApiError::unavailable(&error))? {
                Once::Done(closed) | Once::Repeated(closed) => closed,
                Once::Refused(refused) => return Err(ApiError::not_closed(&refused)),
                Once::Mismatch => return Err(ApiError::idempotency_mismatch()),
                Once::InUse => return Err(ApiError::idempotency_in_use()),
            };
            let found = store.transaction(closed.key);
            let found = found.map_err(|error| page::query_error(error, &PageRequest::default()))?;
            let mut found = found.ok_or_else(|| ApiError::unknown_transaction(closed.key))?;
            truncate::transaction(&mut found);
            Ok(found.linked())
        })
        .await?;
    change::object(StatusCode::OK, &view, None)
}

fn is_reason(text: &str) -> bool {
    let text = text.trim();
    (1..=CLOSING_REASON_CHARS_MAX).contains(&text.chars().count())
        && !text.contains(char::is_control)
}
