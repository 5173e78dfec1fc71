//! `/api/v1/messages`: all messages of chargers with their answers; `/api/v1/dead-letters`: records that could not be
//! applied.

use crate::error::ApiError;
use crate::page::ListRequest;
use crate::state::AppState;
use crate::{page, schema};
use axum::extract::State;
use axum::response::Response;
use central::RecordKind;
use central::model::ShownMessage;
use central::query::{MessageFilter, MessageRow, Page, Place};
use std::sync::Arc;

/// The parameters of the list of messages.
pub(crate) const PARAMETERS: &[&str] = &[
    "charger", "action", "kind", "from", "to", "after", "cursor", "limit", "fields",
];

/// The parameters of the list of dead letters.
pub(crate) const DEAD_LETTER_PARAMETERS: &[&str] = &["cursor", "limit", "fields"];

/// `GET /api/v1/messages`
#[utoipa::path(
    get,
    path = "/api/v1/messages",
    params(
        ("charger" = Option<String>, Query, description = "Only those of this charger; letter case is ignored"),
        ("action" = Option<String>, Query, description = "Only this action of OCPP; letter case is ignored"),
        ("kind" = Option<String>, Query, description = "Only this kind of record"),
        ("from" = Option<String>, Query, description = "Only at this time or later: RFC 3339, or milliseconds since 1970-01-01 UTC"),
        ("to" = Option<String>, Query, description = "Only before this time"),
        ("after" = Option<String>, Query, description = "The page begins after this record, `GATEWAY/NUMBER`; not together with `cursor`"),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before, unchanged"),
        ("limit" = Option<i32>, Query, description = "Items on the page: 1 to 1000; default 100", minimum = 1, maximum = 1000),
        ("fields" = Option<String>, Query, description = "Only these members of each item, with commas between them"),
    ),
    responses((status = 200, description = "A page", body = schema::Page<schema::Message>))
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    request: ListRequest,
) -> Result<Response, ApiError> {
    let query = request.query(PARAMETERS)?;
    let (from, to) = query.span()?;
    let filter = MessageFilter {
        charger: query.text("charger")?.map(str::to_owned),
        action: query.action("action")?.map(str::to_owned),
        kind: query.one_of("kind", &RecordKind::ALL.map(|kind| (kind.as_str(), kind)))?,
        from,
        to,
    };
    let mut wanted = request.wanted(&query, "Message")?;
    if let Some(after) = query.record_id("after")? {
        if wanted.page.after.is_some() {
            return Err(ApiError::bad_parameter(
                "after",
                &after.to_string(),
                "omitted if cursor is given",
            ));
        }
        wanted.page.after = Some(Place::Message(after).to_cursor());
    }
    state
        .answer_list(move |store| {
            page::collected(
                wanted,
                |_| {},
                |page| Ok(shown(store.messages(&filter, page)?)),
            )?
            .into_answer()
        })
        .await
}

/// The messages without the secrets in them.
pub(crate) fn shown(page: Page<MessageRow>) -> Page<ShownMessage> {
    Page {
        items: page.items.into_iter().map(ShownMessage::from).collect(),
        next: page.next,
    }
}

/// `GET /api/v1/dead-letters`
#[utoipa::path(
    get,
    path = "/api/v1/dead-letters",
    params(
        ("cursor" = Option<String>, Query, description = "The `next` of the page before, unchanged"),
        ("limit" = Option<i32>, Query, description = "Items on the page: 1 to 1000; default 100", minimum = 1, maximum = 1000),
        ("fields" = Option<String>, Query, description = "Only these members of each item, with commas between them"),
    ),
    responses((status = 200, description = "A page", body = schema::Page<schema::DeadLetter>))
)]
pub(crate) async fn dead_letters(
    State(state): State<Arc<AppState>>,
    request: ListRequest,
) -> Result<Response, ApiError> {
    let query = request.query(DEAD_LETTER_PARAMETERS)?;
    let wanted = request.wanted(&query, "DeadLetter")?;
    state
        .answer_list(move |store| {
            page::collected(wanted, |_| {}, |page| store.dead_letters(page))?.into_answer()
        })
        .await
}
