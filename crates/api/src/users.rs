//! `/api/v1/users`: the local users, who sign in to the dashboard with a password. A password is in no answer and no log.

use crate::change::{self, Change, no_content, with_location};
use crate::error::ApiError;
use crate::etag;
use crate::page::{self, ListRequest};
use crate::path::InPath;
use crate::query::Query;
use crate::schema;
use crate::state::AppState;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use central::Timestamp;
use central::model::{
    Scope, USER_NAME_EXPECTED, USER_PASSWORD_EXPECTED, User, UserPasswordHash, is_user_password,
    user_name,
};
use central::ports::{UserChange, UserNotAdded, UserNotChanged};
use serde::Serialize;
use std::sync::Arc;
use uuid::Uuid;

/// The parameters of a change and of the removal of a user.
const ONE_PARAMETERS: &[&str] = &["force"];

const SCOPE_EXPECTED: &str = "\"read\", \"operate\" or \"admin\"";

/// A user as it is shown.
#[derive(Serialize)]
struct View {
    id: Uuid,
    name: String,
    scope: Scope,
    created_at: String,
    disabled_at: Option<String>,
    password_changed_at: String,
    last_sign_in_at: Option<String>,
}

impl From<User> for View {
    fn from(user: User) -> Self {
        let text = |at: Timestamp| at.to_string();
        Self {
            id: user.id,
            name: user.name,
            scope: user.scope,
            created_at: text(user.created_at),
            disabled_at: user.disabled_at.map(text),
            password_changed_at: text(user.password_changed_at),
            last_sign_in_at: user.last_sign_in_at.map(text),
        }
    }
}

/// `GET /api/v1/users`
#[utoipa::path(
    get,
    path = "/api/v1/users",
    params(("fields" = Option<String>, Query, description = "Only these members of each item, with commas between them")),
    responses((status = 200, description = "All users, by name", body = schema::Page<schema::User>))
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    request: ListRequest,
) -> Result<Response, ApiError> {
    let query = request.query(page::WHOLE_PARAMETERS)?;
    let wanted = request.wanted(&query, "User")?;
    let users = state.user_source()?;
    let found = state
        .run(move |_| {
            let found = users.users();
            found.map_err(|error| ApiError::unavailable(&error))
        })
        .await?;
    let items: Vec<View> = found.into_iter().map(|(user, _)| user.into()).collect();
    Ok(page::whole(wanted, &items)?.into_response())
}

/// `POST /api/v1/users`
#[utoipa::path(
    post,
    path = "/api/v1/users",
    request_body = schema::NewUser,
    responses((status = 201, description = "The user", body = schema::User))
)]
pub(crate) async fn create(
    State(state): State<Arc<AppState>>,
    change: Change,
) -> Result<Response, ApiError> {
    change.query(&[])?;
    let origin = change.request()?.origin;
    let mut members = change.members()?;
    let name = members.required("name", USER_NAME_EXPECTED, |name: &String| {
        user_name(name).is_some()
    });
    let scope = members.required("scope", SCOPE_EXPECTED, |_: &Scope| true);
    let password = members.required("password", USER_PASSWORD_EXPECTED, |password: &String| {
        is_user_password(password)
    });
    members.finish(&["name", "scope", "password"])?;
    // Without them, a fault was reported.
    let (Some(name), Some(scope), Some(password)) =
        (name.as_deref().and_then(user_name), scope, password)
    else {
        return Err(ApiError::internal());
    };
    let hash = state.hash_password(password).await?;
    let user = User {
        id: common::id::new_v7(),
        name,
        scope,
        created_at: origin.at,
        disabled_at: None,
        password_changed_at: origin.at,
        last_sign_in_at: None,
    };
    let (users, added, password) = (state.user_source()?, user.clone(), hash.clone());
    state
        .run(move |_| {
            let outcome = users.add_user(&added, &hash, &origin);
            match outcome.map_err(|error| ApiError::unavailable(&error))? {
                Ok(()) => Ok(()),
                Err(UserNotAdded::NameTaken) => Err(ApiError::user_exists(&added.name)),
                Err(UserNotAdded::TooMany) => Err(ApiError::too_many_users()),
            }
        })
        .await?;
    state.reread_keys().await;
    let location = format!("/api/v1/users/{}", change::encoded(&user.name));
    let response = shown(StatusCode::CREATED, user, &password)?;
    Ok(with_location(response, &location))
}

/// `GET /api/v1/users/{name}`
#[utoipa::path(
    get,
    path = "/api/v1/users/{name}",
    params(("name" = String, Path, description = "The name, percent-encoded")),
    responses((status = 200, description = "The user", body = schema::User))
)]
pub(crate) async fn one(
    State(state): State<Arc<AppState>>,
    InPath(name): InPath<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    Query::read(query.as_deref(), &[])?;
    let users = state.user_source()?;
    let found = state.run(move |_| {
        let folded = user_name(&name).ok_or_else(|| ApiError::unknown_user(&name))?;
        let users = users.users();
        let mut users = users
            .map_err(|error| ApiError::unavailable(&error))?
            .into_iter();
        let found = users.find(|(user, _)| user.name == folded);
        found.ok_or_else(|| ApiError::unknown_user(&name))
    });
    let (user, password) = found.await?;
    shown(StatusCode::OK, user, &password)
}

/// `PATCH /api/v1/users/{name}`
#[utoipa::path(
    patch,
    path = "/api/v1/users/{name}",
    params(
        ("name" = String, Path, description = "The name, percent-encoded"),
        ("force" = Option<bool>, Query, description = "`true`: also if nobody else has the scope `admin`"),
        ("If-Match" = String, Header, description = "The `ETag` of the user as you know it; `*` for any"),
    ),
    request_body(content = schema::UserPatch, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "The user after the change", body = schema::User))
)]
pub(crate) async fn modify(
    State(state): State<Arc<AppState>>,
    InPath(name): InPath<String>,
    change: Change,
) -> Result<Response, ApiError> {
    let query = change.query(ONE_PARAMETERS)?;
    let is_forced = query.boolean("force")? == Some(true);
    let request = change.conditional_request()?;
    let origin = request.origin;
    let mut members = change.merge_patch()?;
    let scope = members.take("scope", SCOPE_EXPECTED).value();
    let is_disabled = members.take("disabled", "true or false").value();
    let password = members
        .take_if("password", USER_PASSWORD_EXPECTED, |password: &String| {
            is_user_password(password)
        })
        .value();
    members.finish(&["scope", "disabled", "password"])?;
    let password = match password {
        Some(password) => Some(state.hash_password(password).await?),
        None => None,
    };
    let wanted = UserChange {
        scope,
        is_disabled,
        password,
        keeps_admin: !is_forced,
        condition: request.condition,
    };
    let users = state.user_source()?;
    let (user, password) = state
        .run(move |_| {
            let folded = user_name(&name).ok_or_else(|| ApiError::unknown_user(&name))?;
            let changed = users.change_user(&folded, &wanted, &origin);
            changed
                .map_err(|error| ApiError::unavailable(&error))?
                .map_err(|why| refusal(why, &name))
        })
        .await?;
    state.reread_keys().await;
    shown(StatusCode::OK, user, &password)
}

/// `DELETE /api/v1/users/{name}`
#[utoipa::path(
    delete,
    path = "/api/v1/users/{name}",
    params(
        ("name" = String, Path, description = "The name, percent-encoded"),
        ("force" = Option<bool>, Query, description = "`true`: also if nobody else has the scope `admin`"),
    ),
    responses((status = 204, description = "The user is removed, and the sessions of the user have ended"))
)]
pub(crate) async fn remove(
    State(state): State<Arc<AppState>>,
    InPath(name): InPath<String>,
    change: Change,
) -> Result<Response, ApiError> {
    let query = change.query(ONE_PARAMETERS)?;
    let is_forced = query.boolean("force")? == Some(true);
    let origin = change.request()?.origin;
    let users = state.user_source()?;
    state
        .run(move |_| {
            let folded = user_name(&name).ok_or_else(|| ApiError::unknown_user(&name))?;
            let removed = users.remove_user(&folded, !is_forced, &origin);
            removed
                .map_err(|error| ApiError::unavailable(&error))?
                .map_err(|why| refusal(why, &name))
        })
        .await?;
    state.reread_keys().await;
    Ok(no_content())
}

/// The user, with the tag of what can be changed.
fn shown(
    status: StatusCode,
    user: User,
    password: &UserPasswordHash,
) -> Result<Response, ApiError> {
    let tag = etag::of_version(user.version(password));
    change::object(status, &View::from(user), Some(&tag))
}

fn refusal(why: UserNotChanged, name: &str) -> ApiError {
    match why {
        UserNotChanged::Unknown => ApiError::unknown_user(name),
        UserNotChanged::LastAdmin => ApiError::last_admin_user(name),
        UserNotChanged::OtherVersion => ApiError::etag_mismatch(),
    }
}
