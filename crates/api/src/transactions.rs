//! `/api/v1/transactions`: what was charged.

use crate::desk::Desk;
use crate::error::ApiError;
use crate::page::{self, Answer};
use crate::query::Query;
use axum::extract::rejection::PathRejection;
use axum::extract::{OriginalUri, Path, RawQuery, State};
use axum::response::Response;
use central::ledger::{PageRequest, TransactionFilter};
use std::sync::Arc;
use uuid::Uuid;

/// `GET /api/v1/transactions`
pub(crate) async fn list(
    State(desk): State<Arc<Desk>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let known = &["charger", "state", "from", "to", "cursor", "limit"];
    let query = Query::read(query.as_deref(), known)?;
    let (from, to) = query.span()?;
    let filter = TransactionFilter {
        charger: query.text("charger")?.map(str::to_owned),
        open: query.one_of("state", &[("open", true), ("ended", false)])?,
        from,
        to,
    };
    let page = page::requested(&query)?;
    desk.answer(move |ledger| {
        let found = ledger.transactions(&filter, &page);
        found
            .map(Answer::from)
            .map_err(|error| page::refused(error, &page))
    })
    .await
}

/// `GET /api/v1/transactions/{key}`
pub(crate) async fn one(
    State(desk): State<Arc<Desk>>,
    OriginalUri(uri): OriginalUri,
    key: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let Path(key) = key.map_err(|_| ApiError::undecodable("path", uri.path()))?;
    Query::read(query.as_deref(), &[])?;
    let Ok(key) = Uuid::try_parse(&key) else {
        return Err(ApiError::bad_transaction_key(&key));
    };
    desk.answer(move |ledger| {
        let found = ledger.transaction(key);
        let found = found.map_err(|error| page::refused(error, &PageRequest::default()))?;
        found.ok_or_else(|| ApiError::unknown_transaction(key))
    })
    .await
}
