//! `/api/v1/audit`: who changed what.

use crate::error::ApiError;
use crate::page::ListRequest;
use crate::state::AppState;
use crate::{page, schema};
use axum::extract::State;
use axum::response::Response;
use central::query::AuditFilter;
use std::sync::Arc;

/// The parameters of the audit log.
pub(crate) const PARAMETERS: &[&str] = &[
    "action", "subject", "from", "to", "cursor", "limit", "fields",
];

/// `GET /api/v1/audit`
#[utoipa::path(
    get,
    path = "/api/v1/audit",
    params(
        ("action" = Option<String>, Query, description = "Only this action, such as `charger.set`"),
        ("subject" = Option<String>, Query, description = "Only changes of this charger, token or key, as the entries spell it"),
        ("from" = Option<String>, Query, description = "Only at this time or later: RFC 3339, or milliseconds since 1970-01-01 UTC"),
        ("to" = Option<String>, Query, description = "Only before this time"),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before, unchanged"),
        ("limit" = Option<i32>, Query, description = "Items on the page: 1 to 1000; default 100", minimum = 1, maximum = 1000),
        ("fields" = Option<String>, Query, description = "Only these members of each item, with commas between them"),
    ),
    responses((status = 200, description = "A page", body = schema::Page<schema::AuditEntry>))
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    request: ListRequest,
) -> Result<Response, ApiError> {
    let query = request.query(PARAMETERS)?;
    let (from, to) = query.span()?;
    let filter = AuditFilter {
        action: query.text("action")?.map(str::to_owned),
        subject: query.text("subject")?.map(str::to_owned),
        from,
        to,
    };
    let wanted = request.wanted(&query, "AuditEntry")?;
    state
        .answer_list(move |store| {
            page::collected(wanted, |_| {}, |page| store.audit(&filter, page))?.into_answer()
        })
        .await
}
