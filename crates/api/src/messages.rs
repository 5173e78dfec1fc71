//! `/api/v1/messages`: all messages of chargers with their answers.

use crate::error::ApiError;
use crate::page::ListRequest;
use crate::path::InPath;
use crate::query::Query;
use crate::state::AppState;
use crate::{page, schema};
use axum::extract::{RawQuery, State};
use axum::response::Response;
use central::model::{Deviation, ShownMessage};
use central::query::{
    MessageFilter, MessageRow, MessageWithPair, Page, PageRequest, Place, with_pairs,
    without_answered_calls,
};
use central::{RecordId, RecordKind};
use serde::Serialize;
use std::sync::Arc;

/// The parameters of the list of messages.
pub(crate) const PARAMETERS: &[&str] = &[
    "charger", "action", "kind", "from", "to", "pairs", "after", "cursor", "limit", "fields",
];

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
        ("pairs" = Option<bool>, Query, description = "`true`: each item with its `pair`, its command and its transaction; a call to a charger whose reply is in the list too is only the `pair` of that reply"),
        ("after" = Option<String>, Query, description = "The page begins after this record, `GATEWAY/NUMBER`; not together with `cursor`"),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before, unchanged"),
        ("limit" = Option<i32>, Query, description = "Items on the page: 1 to 1000; default 100", minimum = 1, maximum = 1000),
        ("fields" = Option<String>, Query, description = "Only these members of each item, with commas between them"),
    ),
    responses((status = 200, description = "A page", body = schema::Page<schema::ListedMessage>))
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
    let pairs = query.boolean("pairs")?.unwrap_or(false);
    let mut wanted = request.wanted(&query, "ListedMessage")?;
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
            let items = match pairs {
                false => page::collected(
                    wanted,
                    |_| {},
                    |page| Ok(shown(store.messages(&filter, page)?)),
                ),
                true => page::collected(
                    wanted,
                    |_| {},
                    |page| {
                        let page = store.messages(&filter, page)?;
                        let rows = without_answered_calls(store, &filter, page.items)?;
                        Ok(Page {
                            items: with_pairs(store, rows)?,
                            next: page.next,
                        })
                    },
                ),
            };
            items?.into_answer()
        })
        .await
}

/// One message, with what belongs to it and where it deviates from its schemas.
#[derive(Serialize)]
struct Explained {
    #[serde(flatten)]
    message: MessageWithPair,
    deviations: Vec<Deviation>,
}

/// `GET /api/v1/messages/{gateway_id}/{seq}`
#[utoipa::path(
    get,
    path = "/api/v1/messages/{gateway_id}/{seq}",
    params(
        ("gateway_id" = Uuid, Path, description = "The `gateway_id` of the message: the first part of its `record_id`"),
        ("seq" = u64, Path, description = "The `seq` of the message: the second part of its `record_id`"),
    ),
    responses((status = 200, description = "The message", body = schema::MessageWithPair))
)]
pub(crate) async fn one(
    State(state): State<Arc<AppState>>,
    InPath(id): InPath<RecordId>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    Query::read(query.as_deref(), &[])?;
    state
        .answer(move |store| {
            let found = || {
                let row = store.message(id)?;
                with_pairs(store, row.into_iter().collect())
            };
            let mut found =
                found().map_err(|error| page::query_error(error, &PageRequest::default()))?;
            let message = found.pop().ok_or_else(|| ApiError::unknown_message(id))?;
            Ok(Explained {
                deviations: message.message.deviations(),
                message,
            })
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
