//! `/api/v1/transactions`: charging transactions.

use crate::error::ApiError;
use crate::query::Query;
use crate::state::AppState;
use crate::{page, truncate};
use axum::extract::rejection::PathRejection;
use axum::extract::{OriginalUri, Path, RawQuery, State};
use axum::response::Response;
use central::query::{PageRequest, TransactionFilter};
use std::sync::Arc;
use uuid::Uuid;

/// The parameters of the list of transactions.
pub(crate) const PARAMETERS: &[&str] = &["charger", "state", "from", "to", "cursor", "limit"];

/// `GET /api/v1/transactions`
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let query = Query::read(query.as_deref(), PARAMETERS)?;
    let (from, to) = query.span()?;
    let filter = TransactionFilter {
        charger: query.text("charger")?.map(str::to_owned),
        open: query.one_of("state", &[("open", true), ("ended", false)])?,
        from,
        to,
    };
    let wanted = page::requested(&query)?;
    state
        .answer_json(move |store| {
            let query = |page: &PageRequest| store.transactions(&filter, page);
            page::collected(wanted, truncate::transaction, query)?.into_answer()
        })
        .await
}

/// `GET /api/v1/transactions/{key}`
pub(crate) async fn one(
    State(state): State<Arc<AppState>>,
    OriginalUri(uri): OriginalUri,
    key: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let Path(key) = key.map_err(|_| ApiError::undecodable("path", uri.path()))?;
    Query::read(query.as_deref(), &[])?;
    let Ok(key) = Uuid::try_parse(&key) else {
        return Err(ApiError::bad_transaction_key(&key));
    };
    state
        .answer(move |store| {
            let found = store.transaction(key);
            let found = found.map_err(|error| page::query_error(error, &PageRequest::default()))?;
            let mut found = found.ok_or_else(|| ApiError::unknown_transaction(key))?;
            truncate::transaction(&mut found);
            Ok(found)
        })
        .await
}
