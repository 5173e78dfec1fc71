//! `/api/v1/chargers`: who is there.

use crate::desk::Desk;
use crate::error::ApiError;
use crate::query::Query;
use crate::{page, shown};
use axum::extract::rejection::PathRejection;
use axum::extract::{OriginalUri, Path, RawQuery, State};
use axum::response::Response;
use central::query::{ChargerDetail, ChargerFilter, PageRequest, TransactionFilter};
use serde::Serialize;
use serde_json::value::RawValue;
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
    let wanted = page::requested(&query)?;
    desk.answer_json(move |ledger| {
        page::collected(wanted, shown::charger, |page| {
            ledger.chargers(&filter, page)
        })?
        .into_answer()
    })
    .await
}

#[derive(Serialize)]
struct Detail {
    #[serde(flatten)]
    charger: ChargerDetail,
    open_transactions: Box<RawValue>,
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
        let found = ledger.charger(&id);
        let found = found.map_err(|error| page::refused(error, &whole))?;
        let Some(mut charger) = found else {
            return Err(ApiError::unknown_charger(&id));
        };
        let open = TransactionFilter {
            charger: Some(id),
            open: Some(true),
            ..TransactionFilter::default()
        };
        shown::charger(&mut charger.charger);
        charger.connectors.iter_mut().for_each(shown::connector);
        let ask = |page: &PageRequest| ledger.transactions(&open, page);
        let open = page::collected(whole, shown::transaction, ask)?;
        let open_transactions = open.into_raw()?;
        Ok(Detail {
            charger,
            open_transactions,
        })
    })
    .await
}
