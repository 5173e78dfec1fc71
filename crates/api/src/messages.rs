//! `/api/v1/messages`: all messages of chargers with their answers; `/api/v1/dead-letters`: records that could not be
//! applied.

use crate::error::ApiError;
use crate::page;
use crate::query::Query;
use crate::state::AppState;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use central::RecordKind;
use central::query::{MessageFilter, Place};
use std::sync::Arc;

/// The parameters of the list of messages.
pub(crate) const PARAMETERS: &[&str] = &[
    "charger", "action", "kind", "from", "to", "after", "cursor", "limit",
];

/// The parameters of the list of dead letters.
pub(crate) const DEAD_LETTER_PARAMETERS: &[&str] = &["cursor", "limit"];

/// `GET /api/v1/messages`
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let query = Query::read(query.as_deref(), PARAMETERS)?;
    let (from, to) = query.span()?;
    let filter = MessageFilter {
        charger: query.text("charger")?.map(str::to_owned),
        action: query.action("action")?.map(str::to_owned),
        kind: query.one_of("kind", &RecordKind::ALL.map(|kind| (kind.as_str(), kind)))?,
        from,
        to,
    };
    let mut wanted = page::requested(&query)?;
    if let Some(after) = query.record_id("after")? {
        if wanted.after.is_some() {
            return Err(ApiError::bad_parameter(
                "after",
                &after.to_string(),
                "omitted if cursor is given",
            ));
        }
        wanted.after = Some(Place::Message(after).to_cursor());
    }
    state
        .answer_json(move |store| {
            page::collected(wanted, |_| {}, |page| store.messages(&filter, page))?.into_answer()
        })
        .await
}

/// `GET /api/v1/dead-letters`
pub(crate) async fn dead_letters(
    State(state): State<Arc<AppState>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let query = Query::read(query.as_deref(), DEAD_LETTER_PARAMETERS)?;
    let wanted = page::requested(&query)?;
    state
        .answer_json(move |store| {
            page::collected(wanted, |_| {}, |page| store.dead_letters(page))?.into_answer()
        })
        .await
}
