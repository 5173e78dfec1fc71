//! `/api/v1/messages`: every word that was spoken, as it was spoken; and `/api/v1/dead-letters`: what
//! could not be understood afterwards.

use crate::desk::Desk;
use crate::error::ApiError;
use crate::page;
use crate::query::Query;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use central::RecordKind;
use central::query::{MessageFilter, Place};
use std::sync::Arc;

/// The kinds by the names that exports show.
const KINDS: [(&str, RecordKind); 9] = {
    const fn named(kind: RecordKind) -> (&'static str, RecordKind) {
        (kind.as_str(), kind)
    }
    [
        named(RecordKind::Call),
        named(RecordKind::Send),
        named(RecordKind::CallResult),
        named(RecordKind::CallError),
        named(RecordKind::CallResultError),
        named(RecordKind::Unreadable),
        named(RecordKind::Connected),
        named(RecordKind::Disconnected),
        named(RecordKind::GatewayStarted),
    ]
};

/// `GET /api/v1/messages`
pub(crate) async fn list(
    State(desk): State<Arc<Desk>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let known = &[
        "charger", "action", "kind", "from", "to", "after", "cursor", "limit",
    ];
    let query = Query::read(query.as_deref(), known)?;
    let (from, to) = query.span()?;
    let filter = MessageFilter {
        charger: query.text("charger")?.map(str::to_owned),
        action: query.text("action")?.map(str::to_owned),
        kind: query.one_of("kind", &KINDS)?,
        from,
        to,
    };
    let mut wanted = page::requested(&query)?;
    if let Some(after) = query.record_id("after")? {
        if wanted.after.is_some() {
            return Err(ApiError::bad_parameter(
                "after",
                &after.to_string(),
                "left out where cursor is given",
            ));
        }
        wanted.after = Some(Place::Message(after).to_cursor());
    }
    desk.answer_json(move |ledger| {
        page::collected(wanted, |_| {}, |page| ledger.messages(&filter, page))?.into_answer()
    })
    .await
}

/// `GET /api/v1/dead-letters`
pub(crate) async fn dead_letters(
    State(desk): State<Arc<Desk>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let query = Query::read(query.as_deref(), &["cursor", "limit"])?;
    let wanted = page::requested(&query)?;
    desk.answer_json(move |ledger| {
        page::collected(wanted, |_| {}, |page| ledger.dead_letters(page))?.into_answer()
    })
    .await
}
