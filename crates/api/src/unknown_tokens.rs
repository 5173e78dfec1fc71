//! `/api/v1/unknown-tokens`: tokens that chargers presented and that the directory does not have.

use crate::change::{Change, no_content};
use crate::error::ApiError;
use crate::page::ListRequest;
use crate::path::{InPath, UnknownTokenKey};
use crate::state::AppState;
use crate::{page, schema};
use axum::extract::State;
use axum::response::Response;
use central::query::UnknownTokenFilter;
use std::sync::Arc;

/// The parameters of the list.
pub(crate) const PARAMETERS: &[&str] = &["charger", "q", "cursor", "limit", "fields"];

/// `GET /api/v1/unknown-tokens`
#[utoipa::path(
    get,
    path = "/api/v1/unknown-tokens",
    params(
        ("charger" = Option<String>, Query, description = "Only those at this charger; letter case is ignored"),
        ("q" = Option<String>, Query, description = "Only those whose id contains this text; letter case is ignored"),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before, unchanged"),
        ("limit" = Option<i32>, Query, description = "Items on the page: 1 to 1000; default 100", minimum = 1, maximum = 1000),
        ("fields" = Option<String>, Query, description = "Only these members of each item, with commas between them"),
    ),
    responses((status = 200, description = "A page", body = schema::Page<schema::UnknownToken>))
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    request: ListRequest,
) -> Result<Response, ApiError> {
    let query = request.query(PARAMETERS)?;
    let filter = UnknownTokenFilter {
        charger: query.text("charger")?.map(str::to_owned),
        search: query.text("q")?.map(str::to_owned),
    };
    let wanted = request.wanted(&query, "UnknownToken")?;
    let tokens = state.tokens()?;
    state
        .answer_list(move |_| {
            page::collected(wanted, |_| {}, |page| tokens.unknown_tokens(&filter, page))?
                .into_answer()
        })
        .await
}

/// `DELETE /api/v1/unknown-tokens/{key}`
#[utoipa::path(
    delete,
    path = "/api/v1/unknown-tokens/{key}",
    params(("key" = uuid::Uuid, Path, description = "The `key` of the item")),
    responses((status = 204, description = "It is not listed any more, at no charger; it comes back at a charger that presents it later"))
)]
pub(crate) async fn dismiss(
    State(state): State<Arc<AppState>>,
    InPath(UnknownTokenKey(key)): InPath<UnknownTokenKey>,
    change: Change,
) -> Result<Response, ApiError> {
    change.query(&[])?;
    let origin = change.request()?.origin;
    let tokens = state.tokens()?;
    state
        .run(move |_| {
            let dismissed = tokens.dismiss_unknown_token(key, &origin);
            match dismissed.map_err(|error| ApiError::unavailable(&error))? {
                true => Ok(()),
                false => Err(ApiError::not_listed_token(&key.to_string())),
            }
        })
        .await?;
    Ok(no_content())
}
