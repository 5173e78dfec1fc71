//! `/api/v1/handshakes`: chargers that tried to connect and were refused.

use crate::change::{Change, no_content};
use crate::error::ApiError;
use crate::page::ListRequest;
use crate::path::{HandshakeNo, InPath};
use crate::state::AppState;
use crate::{page, schema};
use axum::extract::State;
use axum::response::Response;
use central::query::HandshakeFilter;
use std::sync::Arc;

/// The parameters of the list.
pub(crate) const PARAMETERS: &[&str] = &["outcome", "charger", "cursor", "limit", "fields"];

/// `GET /api/v1/handshakes`
#[utoipa::path(
    get,
    path = "/api/v1/handshakes",
    params(
        ("outcome" = Option<String>, Query, description = "`refused`, which is the only one: accepted handshakes are the records `connected` of /api/v1/messages"),
        ("charger" = Option<String>, Query, description = "Only those of this identity; letter case is ignored"),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before, unchanged"),
        ("limit" = Option<i32>, Query, description = "Items on the page: 1 to 1000; default 100", minimum = 1, maximum = 1000),
        ("fields" = Option<String>, Query, description = "Only these members of each item, with commas between them"),
    ),
    responses((status = 200, description = "A page", body = schema::Page<schema::RefusedHandshake>))
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    request: ListRequest,
) -> Result<Response, ApiError> {
    let query = request.query(PARAMETERS)?;
    query.one_of("outcome", &[("refused", ())])?;
    let filter = HandshakeFilter {
        charger: query.text("charger")?.map(str::to_owned),
    };
    let wanted = request.wanted(&query, "RefusedHandshake")?;
    let handshakes = state.handshakes()?;
    state
        .answer_list(move |_| {
            page::collected(wanted, |_| {}, |page| handshakes.refused(&filter, page))?.into_answer()
        })
        .await
}

/// `DELETE /api/v1/handshakes/{no}`
#[utoipa::path(
    delete,
    path = "/api/v1/handshakes/{no}",
    params(("no" = i64, Path, description = "The `no` of the item")),
    responses((status = 204, description = "It is no longer listed; it comes back when the charger is refused again"))
)]
pub(crate) async fn dismiss(
    State(state): State<Arc<AppState>>,
    InPath(HandshakeNo(no)): InPath<HandshakeNo>,
    change: Change,
) -> Result<Response, ApiError> {
    change.query(&[])?;
    let origin = change.request()?.origin;
    let handshakes = state.handshakes()?;
    state
        .run(move |_| {
            let dismissed = handshakes.dismiss_refused(no, &origin);
            match dismissed.map_err(|error| ApiError::unavailable(&error))? {
                true => Ok(()),
                false => Err(ApiError::unknown_handshake(&no.to_string())),
            }
        })
        .await?;
    Ok(no_content())
}
