//! `/api/v1/transactions`: charging transactions.

use crate::error::ApiError;
use crate::links::{self, HasLinks};
use crate::page::ListRequest;
use crate::path::{InPath, TransactionKey};
use crate::query::Query;
use crate::state::AppState;
use crate::{page, schema};
use axum::extract::{RawQuery, State};
use axum::response::Response;
use central::model::truncate;
use central::query::{PageRequest, TransactionFilter};
use std::sync::Arc;

/// The parameters of the list of transactions.
pub(crate) const PARAMETERS: &[&str] = &[
    "charger", "state", "from", "to", "cursor", "limit", "fields",
];

/// `GET /api/v1/transactions`
#[utoipa::path(
    get,
    path = "/api/v1/transactions",
    params(
        ("charger" = Option<String>, Query, description = "Only those of this charger; letter case is ignored"),
        ("state" = Option<String>, Query, description = "`open` (no stop has arrived, and it was not closed) or `ended`"),
        ("from" = Option<String>, Query, description = "Only at this time or later: RFC 3339, or milliseconds since 1970-01-01 UTC"),
        ("to" = Option<String>, Query, description = "Only before this time"),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before, unchanged"),
        ("limit" = Option<i32>, Query, description = "Items on the page: 1 to 1000; default 100", minimum = 1, maximum = 1000),
        ("fields" = Option<String>, Query, description = "Only these members of each item, with commas between them"),
    ),
    responses((status = 200, description = "A page", body = schema::Page<schema::Transaction>))
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    request: ListRequest,
) -> Result<Response, ApiError> {
    let query = request.query(PARAMETERS)?;
    let (from, to) = query.span()?;
    let filter = TransactionFilter {
        charger: query.text("charger")?.map(str::to_owned),
        open: query.one_of("state", &[("open", true), ("ended", false)])?,
        from,
        to,
    };
    let wanted = request.wanted(&query, "Transaction")?;
    state
        .answer_list(move |store| {
            let query = |page: &PageRequest| {
                let found = store.transactions(&filter, page)?;
                Ok(links::page(found, truncate::transaction))
            };
            page::collected(wanted, |_| {}, query)?.into_answer()
        })
        .await
}

/// `GET /api/v1/transactions/{key}`
#[utoipa::path(
    get,
    path = "/api/v1/transactions/{key}",
    params(
        ("key" = Uuid, Path, description = "The `key` of the transaction"),
    ),
    responses((status = 200, description = "The transaction", body = schema::Transaction))
)]
pub(crate) async fn one(
    State(state): State<Arc<AppState>>,
    InPath(TransactionKey(key)): InPath<TransactionKey>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    Query::read(query.as_deref(), &[])?;
    state
        .answer(move |store| {
            let found = store.transaction(key);
            let found = found.map_err(|error| page::query_error(error, &PageRequest::default()))?;
            let mut found = found.ok_or_else(|| ApiError::unknown_transaction(key))?;
            truncate::transaction(&mut found);
            Ok(found.linked())
        })
        .await
}
