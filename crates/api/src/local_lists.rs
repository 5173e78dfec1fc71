//! `/api/v1/local-lists`: which tokens the chargers' local authorization lists hold, and the progress of each list.

use crate::change::{self, Change, Given, no_content};
use crate::error::ApiError;
use crate::page::{self, ListRequest};
use crate::path::InPath;
use crate::query::Query;
use crate::schema;
use crate::state::AppState;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use central::local_list::{LocalList, Phase, Wish};
use central::model::{CHARGER_ID_EXPECTED, Token, is_charger_id};
use central::ports::LocalListFilter;
use central::token_fields;
use std::sync::Arc;

/// The parameters of the list.
pub(crate) const PARAMETERS: &[&str] = &["state", "q", "cursor", "limit", "fields"];
/// The members of a wish.
const KNOWN: [&str; 2] = ["tokens", "group"];

/// `GET /api/v1/local-lists`
#[utoipa::path(
    get,
    path = "/api/v1/local-lists",
    params(
        ("state" = Option<String>, Query, description = "Only those in this state, such as `in_sync` or `rejected`"),
        ("q" = Option<String>, Query, description = "Only those of chargers whose identity contains this text; letter case is ignored"),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before, unchanged"),
        ("limit" = Option<i32>, Query, description = "Items on the page: 1 to 1000; default 100", minimum = 1, maximum = 1000),
        ("fields" = Option<String>, Query, description = "Only these members of each item, with commas between them"),
    ),
    responses((status = 200, description = "A page", body = schema::Page<schema::LocalList>))
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    request: ListRequest,
) -> Result<Response, ApiError> {
    let query = request.query(PARAMETERS)?;
    let filter = LocalListFilter {
        phase: query.one_of("state", &Phase::ALL.map(|phase| (phase.as_str(), phase)))?,
        search: query.text("q")?.map(str::to_owned),
    };
    let wanted = request.wanted(&query, "LocalList")?;
    let lists = state.local_lists()?;
    state
        .answer_list(move |_| {
            let query = |page: &_| {
                let page = lists.local_list_page(&filter, page)?;
                Ok(central::query::Page {
                    items: page.items.iter().map(LocalList::view).collect(),
                    next: page.next,
                })
            };
            page::collected(wanted, |_| {}, query)?.into_answer()
        })
        .await
}

/// `GET /api/v1/local-lists/{charger}`
#[utoipa::path(
    get,
    path = "/api/v1/local-lists/{charger}",
    params(("charger" = String, Path, description = "The identity, percent-encoded; letter case is ignored")),
    responses((status = 200, description = "The list of this charger", body = schema::LocalList))
)]
pub(crate) async fn one(
    State(state): State<Arc<AppState>>,
    InPath(charger): InPath<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    Query::read(query.as_deref(), &[])?;
    let lists = state.local_lists()?;
    state
        .answer(move |_| {
            let found = lists.local_list(&charger);
            let found = found.map_err(|error| ApiError::unavailable(&error))?;
            let found = found.ok_or_else(|| ApiError::unknown_local_list(&charger))?;
            Ok(found.view())
        })
        .await
}

/// `PUT /api/v1/local-lists/{charger}`
#[utoipa::path(
    put,
    path = "/api/v1/local-lists/{charger}",
    params(("charger" = String, Path, description = "The identity, percent-encoded; letter case is ignored")),
    request_body = schema::LocalListWish,
    responses((status = 200, description = "The wish; the list is brought to the charger", body = schema::LocalListWish))
)]
pub(crate) async fn set(
    State(state): State<Arc<AppState>>,
    InPath(charger): InPath<String>,
    change: Change,
) -> Result<Response, ApiError> {
    if !is_charger_id(&charger) {
        let right = format!("the identity of a charger: {CHARGER_ID_EXPECTED}");
        return Err(ApiError::bad_parameter("charger", &charger, &right));
    }
    set_wish(&state, Some(charger), change).await
}

/// `DELETE /api/v1/local-lists/{charger}`
#[utoipa::path(
    delete,
    path = "/api/v1/local-lists/{charger}",
    params(("charger" = String, Path, description = "The identity, percent-encoded; letter case is ignored")),
    responses((status = 204, description = "The charger's own wish is removed; the list at the charger stays"))
)]
pub(crate) async fn remove(
    State(state): State<Arc<AppState>>,
    InPath(charger): InPath<String>,
    change: Change,
) -> Result<Response, ApiError> {
    remove_wish(&state, Some(charger), change).await
}

/// `GET /api/v1/local-list-default`
#[utoipa::path(
    get,
    path = "/api/v1/local-list-default",
    responses((status = 200, description = "The wish for all chargers without one of their own", body = schema::LocalListDefault))
)]
pub(crate) async fn default_wish(
    State(state): State<Arc<AppState>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    Query::read(query.as_deref(), &[])?;
    let lists = state.local_lists()?;
    state
        .answer(move |_| {
            let wish = lists.list_wish(None);
            let wish = wish.map_err(|error| ApiError::unavailable(&error))?;
            Ok(serde_json::json!({"wish": wish}))
        })
        .await
}

/// `PUT /api/v1/local-list-default`
#[utoipa::path(
    put,
    path = "/api/v1/local-list-default",
    request_body = schema::LocalListWish,
    responses((status = 200, description = "The wish for all chargers without one of their own", body = schema::LocalListWish))
)]
pub(crate) async fn set_default(
    State(state): State<Arc<AppState>>,
    change: Change,
) -> Result<Response, ApiError> {
    set_wish(&state, None, change).await
}

/// `DELETE /api/v1/local-list-default`
#[utoipa::path(
    delete,
    path = "/api/v1/local-list-default",
    responses((status = 204, description = "The wish is removed; the lists at chargers stay"))
)]
pub(crate) async fn remove_default(
    State(state): State<Arc<AppState>>,
    change: Change,
) -> Result<Response, ApiError> {
    remove_wish(&state, None, change).await
}

async fn set_wish(
    state: &AppState,
    charger: Option<String>,
    change: Change,
) -> Result<Response, ApiError> {
    change.query(&[])?;
    let origin = change.request()?.origin;
    let wish = wish_of(&change)?;
    let lists = state.local_lists()?;
    let set = wish.clone();
    state
        .run(move |_| {
            let set = lists.set_list_wish(charger.as_deref(), Some(&set), &origin);
            set.map_err(|error| ApiError::unavailable(&error))
        })
        .await?;
    change::object(StatusCode::OK, &wish, None)
}

async fn remove_wish(
    state: &AppState,
    charger: Option<String>,
    change: Change,
) -> Result<Response, ApiError> {
    change.query(&[])?;
    let origin = change.request()?.origin;
    let lists = state.local_lists()?;
    state
        .run(move |_| {
            let removed = lists.set_list_wish(charger.as_deref(), None, &origin);
            let existed = removed.map_err(|error| ApiError::unavailable(&error))?;
            match charger {
                Some(charger) if !existed => Err(ApiError::unknown_local_list(&charger)),
                _ => Ok(()),
            }
        })
        .await?;
    Ok(no_content())
}

fn wish_of(change: &Change) -> Result<Wish, ApiError> {
    let mut members = change.members()?;
    let right = "\"all\", \"group\" or \"none\"";
    let tokens = members.required("tokens", right, |tokens: &String| {
        matches!(tokens.as_str(), "all" | "group" | "none")
    });
    let is_group = tokens.as_deref() == Some("group");
    let group = match members.take::<String>("group", "the id of a group") {
        Given::Value(group) => Some(group),
        Given::Null | Given::Absent => None,
    };
    match (&group, is_group) {
        (Some(group), true) => {
            let checked = token_fields::set(&mut Token::accepted(""), "group", Some(group));
            if let Err(error) = checked {
                members.fault("group", error.to_string());
            }
        }
        (None, true) => members.fault("group", "group is missing; give the id of a group".into()),
        (Some(_), false) => {
            members.fault("group", "group is only for \"tokens\": \"group\"".into());
        }
        (None, false) => {}
    }
    members.finish(&KNOWN)?;
    Ok(match (tokens.as_deref(), group) {
        (Some("group"), Some(group)) => Wish::Group(group),
        (Some("all"), _) => Wish::All,
        _ => Wish::None,
    })
}
