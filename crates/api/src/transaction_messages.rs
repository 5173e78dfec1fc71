//! `/api/v1/transactions/{key}/messages`: every message about one transaction, in the order of reception.

use crate::error::ApiError;
use crate::page::{self, ListRequest};
use crate::path::{InPath, TransactionKey};
use crate::schema;
use crate::state::AppState;
use axum::extract::State;
use axum::response::Response;
use central::Timestamp;
use central::query::{Page, PageRequest, SessionMessages, with_pairs};
use common::clock::now_ms;
use std::sync::Arc;

/// The parameters of the list.
pub(crate) const PARAMETERS: &[&str] = &["cursor", "limit", "fields"];

/// `GET /api/v1/transactions/{key}/messages`
#[utoipa::path(
    get,
    path = "/api/v1/transactions/{key}/messages",
    params(
        ("key" = Uuid, Path, description = "The `key` of the transaction"),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before, unchanged"),
        ("limit" = Option<i32>, Query, description = "Items on the page: 1 to 1000; default 100", minimum = 1, maximum = 1000),
        ("fields" = Option<String>, Query, description = "Only these members of each item, with commas between them"),
    ),
    responses((status = 200, description = "Messages that name the transaction, by the time of their reception", body = schema::Page<schema::ListedMessage>))
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    InPath(TransactionKey(key)): InPath<TransactionKey>,
    request: ListRequest,
) -> Result<Response, ApiError> {
    let query = request.query(PARAMETERS)?;
    let wanted = request.wanted(&query, "ListedMessage")?;
    state
        .answer_list(move |store| {
            let failed = |error| page::query_error(error, &PageRequest::default());
            let view = store.transaction(key).map_err(failed)?;
            let view = view.ok_or_else(|| ApiError::unknown_transaction(key))?;
            let of_session = SessionMessages::of(store, &view, Timestamp(now_ms()));
            let of_session = of_session.map_err(failed)?;
            let items = page::collected(
                wanted,
                |_| {},
                |step| {
                    let page = store.messages_by_time(&of_session.filter, step)?;
                    let mut rows = page.items;
                    rows.retain(|row| of_session.has(row));
                    Ok(Page {
                        items: with_pairs(store, rows)?,
                        next: page.next,
                    })
                },
            );
            items?.into_answer()
        })
        .await
}
