//! `/api/v1/commands/{id}/report`: the pages of the report that a command asked for. They are messages of the charger,
//! found by the command's request id.

use crate::commands::find;
use crate::error::ApiError;
use crate::messages;
use crate::page::{self, ListRequest};
use crate::path::InPath;
use crate::schema;
use crate::state::AppState;
use axum::extract::State;
use axum::response::Response;
use central::model::CommandId;
use central::query::{MessageFilter, Page};
use std::sync::Arc;

/// The parameters of the list of pages.
pub(crate) const PARAMETERS: &[&str] = &["cursor", "limit", "fields"];

/// `GET /api/v1/commands/{id}/report`
#[utoipa::path(
    get,
    path = "/api/v1/commands/{id}/report",
    params(
        ("id" = Uuid, Path, description = "The `id` of the command"),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before, unchanged"),
        ("limit" = Option<i32>, Query, description = "Items on the page: 1 to 1000; default 100", minimum = 1, maximum = 1000),
        ("fields" = Option<String>, Query, description = "Only these members of each item, with commas between them"),
    ),
    responses((status = 200, description = "Pages of the report, in the order in which they were recorded", body = schema::Page<schema::Message>))
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    InPath(id): InPath<CommandId>,
    request: ListRequest,
) -> Result<Response, ApiError> {
    let query = request.query(PARAMETERS)?;
    let wanted = request.wanted(&query, "Message")?;
    let view = find(&state, id).await?;
    let Some(report) = view.report_messages else {
        return Err(ApiError::no_report(&id.to_string(), &view.action));
    };
    let filter = report.received.map(|(first, last)| MessageFilter {
        charger: Some(view.charger_id),
        action: Some(report.of.action.to_owned()),
        kind: None,
        from: Some(first),
        to: Some(last.plus_millis(1)),
    });
    state
        .answer_list(move |store| {
            let pages = page::collected(
                wanted,
                |_| {},
                |step| {
                    let Some(filter) = &filter else {
                        return Ok(Page {
                            items: Vec::new(),
                            next: None,
                        });
                    };
                    let mut page = store.messages(filter, step)?;
                    page.items
                        .retain(|row| report.of.has(&row.action, &row.payload));
                    Ok(messages::shown(page))
                },
            );
            pages?.into_answer()
        })
        .await
}
