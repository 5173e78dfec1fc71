//! `/api/v1/api-keys`: the keys of this API. A key is shown once, in the answer that adds it.

use crate::change::{self, Change, no_content, with_location};
use crate::error::ApiError;
use crate::page::{self, ListRequest};
use crate::path::InPath;
use crate::schema;
use crate::state::AppState;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use central::Timestamp;
use central::model::{API_KEY_NAME_EXPECTED, ApiKey, ApiSecret, Scope, is_api_key_name};
use central::ports::{KeyNotAdded, KeyNotRevoked, Once};
use central::query::parameters;
use serde::Serialize;
use std::sync::Arc;
use uuid::Uuid;

/// The parameters of the removal of a key.
pub(crate) const ONE_PARAMETERS: &[&str] = &["force"];

/// A key as it is shown.
#[derive(Serialize)]
struct View {
    id: Uuid,
    name: String,
    scope: Scope,
    created_at: String,
    expires_at: Option<String>,
    last_used_at: Option<String>,
}

impl From<ApiKey> for View {
    fn from(key: ApiKey) -> Self {
        let text = |at: Timestamp| at.to_string();
        Self {
            id: key.id,
            name: key.name,
            scope: key.scope,
            created_at: text(key.created_at),
            expires_at: key.expires_at.map(text),
            last_used_at: key.last_used_at.map(text),
        }
    }
}

/// The answer to the addition of a key.
#[derive(Serialize)]
struct Added {
    #[serde(flatten)]
    key: View,
    /// `None` in the answer to a repeat.
    secret: Option<String>,
}

/// `GET /api/v1/api-keys`
#[utoipa::path(
    get,
    path = "/api/v1/api-keys",
    params(("fields" = Option<String>, Query, description = "Only these members of each item, with commas between them")),
    responses((status = 200, description = "All keys, by name", body = schema::Page<schema::ApiKey>))
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    request: ListRequest,
) -> Result<Response, ApiError> {
    let query = request.query(page::WHOLE_PARAMETERS)?;
    let wanted = request.wanted(&query, "ApiKey")?;
    let source = state.key_source()?;
    let keys = state
        .run(move |_| {
            let keys = source.api_keys();
            keys.map_err(|error| ApiError::unavailable(&error))
        })
        .await?;
    let items: Vec<View> = keys.into_iter().map(|(key, _)| key.into()).collect();
    Ok(page::whole(wanted, &items)?.into_response())
}

/// `POST /api/v1/api-keys`
#[utoipa::path(
    post,
    path = "/api/v1/api-keys",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "A text of the client, unique for this request: its repeat within 72 hours adds no second key, and does not show the secret again"),
    ),
    request_body = schema::NewApiKey,
    responses((status = 201, description = "The key with its secret, which is shown only now", body = schema::AddedApiKey))
)]
pub(crate) async fn create(
    State(state): State<Arc<AppState>>,
    change: Change,
) -> Result<Response, ApiError> {
    change.query(&[])?;
    let request = change.request()?;
    let now = request.origin.at;
    let mut members = change.members()?;
    let name = members.required("name", API_KEY_NAME_EXPECTED, |name: &String| {
        is_api_key_name(name)
    });
    let scope = members.required(
        "scope",
        "\"read\", \"operate\" or \"admin\"",
        |_: &Scope| true,
    );
    let expires_at: Option<String> = members
        .take_if(
            "expires_at",
            "a later time in RFC 3339, or null",
            |text: &String| parameters::time(text).is_some_and(|at| at > now),
        )
        .value();
    members.finish(&["name", "scope", "expires_at"])?;
    // Without them, a fault was reported.
    let (Some(name), Some(scope)) = (name, scope) else {
        return Err(ApiError::internal());
    };
    let secret = new_secret()?;
    let key = ApiKey {
        id: common::id::new_v7(),
        name,
        scope,
        created_at: now,
        expires_at: expires_at.as_deref().and_then(parameters::time),
        last_used_at: None,
    };
    let (source, hash) = (state.key_source()?, secret.hash());
    let name = key.name.clone();
    let added = state
        .run(move |_| {
            let added = source.add_api_key(&key, &hash, &request);
            added.map_err(|error| ApiError::unavailable(&error))
        })
        .await?;
    let (key, secret) = match added {
        Once::Done(key) => (key, Some(secret.expose().to_owned())),
        Once::Repeated(key) => (key, None),
        Once::Refused(KeyNotAdded::NameTaken) => return Err(ApiError::api_key_exists(&name)),
        Once::Refused(KeyNotAdded::TooMany) => return Err(ApiError::too_many_api_keys()),
        Once::Mismatch => return Err(ApiError::idempotency_mismatch()),
        Once::InUse => return Err(ApiError::idempotency_in_use()),
    };
    state.reread_keys().await;
    let location = format!("/api/v1/api-keys/{}", change::encoded(&name));
    let added = Added {
        key: key.into(),
        secret,
    };
    let response = change::object(StatusCode::CREATED, &added, None)?;
    Ok(with_location(response, &location))
}

/// `DELETE /api/v1/api-keys/{name}`
#[utoipa::path(
    delete,
    path = "/api/v1/api-keys/{name}",
    params(
        ("name" = String, Path, description = "The name, percent-encoded"),
        ("force" = Option<bool>, Query, description = "`true`: also if it is the last valid key with the scope `admin`"),
    ),
    responses((status = 204, description = "The key is revoked"))
)]
pub(crate) async fn revoke(
    State(state): State<Arc<AppState>>,
    InPath(name): InPath<String>,
    change: Change,
) -> Result<Response, ApiError> {
    let query = change.query(ONE_PARAMETERS)?;
    let is_forced = query.boolean("force")? == Some(true);
    let origin = change.request()?.origin;
    let source = state.key_source()?;
    state
        .run(move |_| {
            let revoked = source.revoke_api_key(&name, !is_forced, &origin);
            match revoked.map_err(|error| ApiError::unavailable(&error))? {
                Ok(()) => Ok(()),
                Err(KeyNotRevoked::Unknown) => Err(ApiError::unknown_api_key(&name)),
                Err(KeyNotRevoked::LastAdmin) => Err(ApiError::last_admin_key(&name)),
            }
        })
        .await?;
    state.reread_keys().await;
    Ok(no_content())
}

fn new_secret() -> Result<ApiSecret, ApiError> {
    let mut random = [0_u8; 32];
    getrandom::fill(&mut random).map_err(|error| {
        tracing::error!(%error, "the operating system gives no random bytes for an API key");
        ApiError::internal()
    })?;
    Ok(ApiSecret::from_random(random))
}
