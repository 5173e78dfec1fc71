//! `/api/v1/tokens`: tokens of drivers, their changes and their import.

use crate::change::{self, Change, Given, Members, no_content};
use crate::error::{ApiError, Fault};
use crate::import::{self, Import};
use crate::page::{self, ListRequest};
use crate::path::InPath;
use crate::query::Query;
use crate::state::AppState;
use crate::{etag, schema};
use axum::extract::{RawQuery, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use central::model::{ListedToken, Token, TokenStatus};
use central::ports::{ChangeRequest, TokenChange};
use central::query::TokenFilter;
use central::token_fields;
use central::token_import;
use serde::de::IgnoredAny;
use std::sync::Arc;

/// The parameters of the list of tokens.
pub(crate) const PARAMETERS: &[&str] = &["status", "group", "q", "cursor", "limit", "fields"];

/// `GET /api/v1/tokens`
#[utoipa::path(
    get,
    path = "/api/v1/tokens",
    params(
        ("status" = Option<String>, Query, description = "Only those with this status: `Accepted`, `Blocked`, `Expired` or `Invalid`"),
        ("group" = Option<String>, Query, description = "Only those of this group; letter case is ignored"),
        ("q" = Option<String>, Query, description = "Only those whose id contains this text; letter case is ignored"),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before, unchanged"),
        ("limit" = Option<i32>, Query, description = "Items on the page: 1 to 1000; default 100", minimum = 1, maximum = 1000),
        ("fields" = Option<String>, Query, description = "Only these members of each item, with commas between them"),
    ),
    responses((status = 200, description = "A page", body = schema::Page<schema::Token>))
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    request: ListRequest,
) -> Result<Response, ApiError> {
    let query = request.query(PARAMETERS)?;
    let filter = TokenFilter {
        status: query.one_of(
            "status",
            &TokenStatus::ALL.map(|status| (status.as_str(), status)),
        )?,
        group: query.text("group")?.map(str::to_owned),
        search: query.text("q")?.map(str::to_owned),
    };
    let wanted = request.wanted(&query, "Token")?;
    let tokens = state.tokens()?;
    state
        .answer_list(move |_| {
            let query = |page: &_| {
                let page = tokens.token_page(&filter, page)?;
                Ok(central::query::Page {
                    items: page.items.iter().map(ListedToken::view).collect(),
                    next: page.next,
                })
            };
            page::collected(wanted, |_| {}, query)?.into_answer()
        })
        .await
}

/// `GET /api/v1/tokens/{id}`
#[utoipa::path(
    get,
    path = "/api/v1/tokens/{id}",
    params(("id" = String, Path, description = "The id, percent-encoded; letter case is ignored")),
    responses((status = 200, description = "The token", body = schema::Token))
)]
pub(crate) async fn one(
    State(state): State<Arc<AppState>>,
    InPath(id): InPath<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    Query::read(query.as_deref(), &[])?;
    let tokens = state.tokens()?;
    let token = state
        .run(move |_| {
            let unavailable = |error| ApiError::unavailable(&error);
            let found = tokens.stored_token(&id).map_err(unavailable)?;
            let token = found.ok_or_else(|| ApiError::unknown_token(&id))?;
            let last_use = tokens.last_use(&id).map_err(unavailable)?;
            Ok(ListedToken { token, last_use })
        })
        .await?;
    written(StatusCode::OK, &token)
}

/// `PUT /api/v1/tokens/{id}`
#[utoipa::path(
    put,
    path = "/api/v1/tokens/{id}",
    params(
        ("id" = String, Path, description = "The id, percent-encoded; letter case is ignored"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the token as you know it; without it any token is replaced"),
    ),
    request_body = schema::TokenSettings,
    responses(
        (status = 200, description = "The token, which existed before", body = schema::Token),
        (status = 201, description = "The token, which is new", body = schema::Token),
    )
)]
pub(crate) async fn put(
    State(state): State<Arc<AppState>>,
    InPath(id): InPath<String>,
    change: Change,
) -> Result<Response, ApiError> {
    change.query(&[])?;
    let request = change.request()?;
    let settings = settings(&id, change.members()?)?;
    apply(&state, id, request, settings, true).await
}

/// `PATCH /api/v1/tokens/{id}`
#[utoipa::path(
    patch,
    path = "/api/v1/tokens/{id}",
    params(
        ("id" = String, Path, description = "The id, percent-encoded; letter case is ignored"),
        ("If-Match" = String, Header, description = "The `ETag` of the token as you know it; `*` for any"),
    ),
    request_body(content = schema::TokenSettings, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "The token", body = schema::Token))
)]
pub(crate) async fn patch(
    State(state): State<Arc<AppState>>,
    InPath(id): InPath<String>,
    change: Change,
) -> Result<Response, ApiError> {
    change.query(&[])?;
    let request = change.conditional_request()?;
    let settings = settings(&id, change.merge_patch()?)?;
    apply(&state, id, request, settings, false).await
}

/// `DELETE /api/v1/tokens/{id}`
#[utoipa::path(
    delete,
    path = "/api/v1/tokens/{id}",
    params(
        ("id" = String, Path, description = "The id, percent-encoded; letter case is ignored"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the token as you know it"),
    ),
    responses((status = 204, description = "The token is removed; `policy.unknown_token` holds for its id"))
)]
pub(crate) async fn remove(
    State(state): State<Arc<AppState>>,
    InPath(id): InPath<String>,
    change: Change,
) -> Result<Response, ApiError> {
    change.query(&[])?;
    let request = change.request()?;
    let tokens = state.tokens()?;
    state
        .run(move |_| {
            let mut refused = None;
            let removed = tokens.change_token(&id, &request.origin, &mut |stored| {
                refused = refusal(&id, &request, stored, false);
                match refused {
                    None => TokenChange::Remove,
                    Some(_) => TokenChange::Keep,
                }
            });
            removed.map_err(|error| ApiError::unavailable(&error))?;
            refused.map_or(Ok(()), Err)
        })
        .await?;
    Ok(no_content())
}

/// The members of a body, as texts; each is valid.
type Settings = Vec<(&'static str, Option<String>)>;

fn settings(id: &str, mut members: Members) -> Result<Settings, ApiError> {
    let mut settings = Vec::new();
    let mut scratch = Token::accepted(id);
    if let Err(error) = token_fields::set(&mut scratch, "id", Some(id)) {
        members.fault("id", format!("the id in the path: {error}"));
    }
    for name in token_fields::NAMES {
        let value = match members.take::<String>(name, "a text or null") {
            Given::Absent => continue,
            Given::Null => None,
            Given::Value(text) => Some(text),
        };
        if let Err(error) = token_fields::set(&mut scratch, name, value.as_deref()) {
            members.fault(name, error.to_string());
        }
        settings.push((name, value));
    }
    // What was read can be sent back.
    for name in token_fields::READ_ONLY {
        let _: Given<IgnoredAny> = members.take(name, "what was read");
    }
    if scratch.key() != Token::key_of(id) {
        let detail = "it is another token than that of the path; only letter case may differ";
        members.fault("id", detail.to_owned());
    }
    members.finish(&token_fields::NAMES)?;
    Ok(settings)
}

/// Why the change of the stored token is not made.
fn refusal(
    id: &str,
    request: &ChangeRequest,
    stored: Option<&Token>,
    may_create: bool,
) -> Option<ApiError> {
    if stored.is_none() && !may_create {
        return Some(ApiError::unknown_token(id));
    }
    let holds = request.condition.holds(stored.map(Token::version));
    (!holds).then(ApiError::etag_mismatch)
}

/// Creates or changes a token. A token that `replaces` is set as a whole.
async fn apply(
    state: &AppState,
    id: String,
    request: ChangeRequest,
    settings: Settings,
    replaces: bool,
) -> Result<Response, ApiError> {
    let tokens = state.tokens()?;
    let (status, token) = state
        .run(move |_| {
            // Before the change: afterwards an error could only say that it may have been made.
            let last_use = tokens.last_use(&id);
            let last_use = last_use.map_err(|error| ApiError::unavailable(&error))?;
            let mut outcome = Err(ApiError::internal());
            let changed = tokens.change_token(&id, &request.origin, &mut |stored| {
                if let Some(error) = refusal(&id, &request, stored, replaces) {
                    outcome = Err(error);
                    return TokenChange::Keep;
                }
                let status = match stored {
                    Some(_) => StatusCode::OK,
                    None => StatusCode::CREATED,
                };
                let mut token = match stored {
                    Some(token) if !replaces => token.clone(),
                    _ => Token::accepted(&*id),
                };
                for (name, value) in &settings {
                    // It was valid for another token with this id.
                    if let Err(error) = token_fields::set(&mut token, name, value.as_deref()) {
                        let fault = Fault::of_member(name, error.to_string());
                        outcome = Err(ApiError::bad_members(vec![fault]));
                        return TokenChange::Keep;
                    }
                }
                outcome = Ok((status, token.clone()));
                TokenChange::Put(token)
            });
            changed.map_err(|error| ApiError::unavailable(&error))?;
            outcome.map(|(status, token)| (status, ListedToken { token, last_use }))
        })
        .await?;
    written(status, &token)
}

/// The entity tag is that of what the operator has set: a use changes none.
fn written(status: StatusCode, token: &ListedToken) -> Result<Response, ApiError> {
    change::object(
        status,
        &token.view(),
        Some(&etag::of_version(token.token.version())),
    )
}

/// `POST /api/v1/tokens/import`
#[utoipa::path(
    post,
    path = "/api/v1/tokens/import",
    params(
        ("dry_run" = Option<bool>, Query, description = "`true`: only the verdicts; nothing is changed"),
        ("Idempotency-Key" = Option<String>, Header, description = "A text of the client, unique for this request: its repeat within 72 hours changes nothing again; not used with `dry_run`"),
    ),
    request_body(content = String, content_type = "text/csv"),
    responses((status = 200, description = "A verdict per line. Without `dry_run` every line is applied", body = schema::Import))
)]
pub(crate) async fn import(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Result<Response, ApiError> {
    let import = Import::read(request, &state).await?;
    let tokens = state.tokens()?;
    let is_dry_run = import.is_dry_run;
    let verdicts = state
        .run(move |_| {
            let lines = import.lines(token_import::read)?;
            let verdicts = tokens.import_tokens_once(&lines, is_dry_run, &import.request);
            verdicts.map_err(|error| ApiError::unavailable(&error))
        })
        .await?;
    import::answered(is_dry_run, verdicts)
}
