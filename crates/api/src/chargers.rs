//! `/api/v1/chargers`: who is there.

use crate::desk::Desk;
use crate::error::ApiError;
use crate::page::{self, Answer};
use crate::query::Query;
use axum::extract::rejection::PathRejection;
use axum::extract::{OriginalUri, Path, RawQuery, State};
use axum::response::Response;
use central::ledger::{ChargerDetail, ChargerFilter, PageRequest, TransactionFilter};
use central::model::TransactionView;
use serde::Serialize;
use std::sync::Arc;

/// `GET /api/v1/chargers`
pub(crate) async fn list(
    State(desk): State<Arc<Desk>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let query = Query::read(query.as_deref(), &["online", "q", "cursor", "limit"])?;
    let filter = ChargerFilter {
        online: query.boolean("online")?,
        search: query.text("q")?.map(str::to_owned),
    };
    let page = page::requested(&query)?;
    desk.answer(move |ledger| {
        let found = ledger.chargers(&filter, &page);
        found
            .map(Answer::from)
            .map_err(|error| page::refused(error, &page))
    })
    .await
}

#[derive(Serialize)]
struct Detail {
    #[serde(flatten)]
    charger: ChargerDetail,
    open_transactions: Vec<TransactionView>,
}

/// `GET /api/v1/chargers/{id}`
pub(crate) async fn one(
    State(desk): State<Arc<Desk>>,
    OriginalUri(uri): OriginalUri,
    id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let Path(id) = id.map_err(|_| ApiError::undecodable("path", uri.path()))?;
    Query::read(query.as_deref(), &[])?;
    desk.answer(move |ledger| {
        let whole = PageRequest::default();
        let refused = |error| page::refused(error, &whole);
        let Some(charger) = ledger.charger(&id).map_err(refused)? else {
            return Err(ApiError::unknown_charger(&id));
        };
        let open = TransactionFilter {
            charger: Some(id),
            open: Some(true),
            ..TransactionFilter::default()
        };
        let open_transactions = ledger.transactions(&open, &whole).map_err(refused)?.items;
        Ok(Detail {
            charger,
            open_transactions,
        })
    })
    .await
}
