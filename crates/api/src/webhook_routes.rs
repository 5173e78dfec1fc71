//! `/api/v1/webhooks`: where events are sent. A secret is shown once, in the answer that makes it.

use crate::change::{self, Change, Members, done, no_content, not_changed, with_location};
use crate::commands::now;
use crate::error::ApiError;
use crate::etag;
use crate::page::{self, ListRequest};
use crate::path::InPath;
use crate::query::Query;
use crate::schema;
use crate::state::AppState;
use crate::webhooks::address::Reach;
use crate::webhooks::send_test;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use central::model::{
    CHARGER_ID_EXPECTED, WEBHOOK_SECRET_EXPECTED, Webhook, WebhookId, WebhookPatch, WebhookSecret,
    WebhookView, is_charger_id,
};
use central::ports::{NewWebhook, NotRedelivered, Once, WebhookNotAdded};
use central::webhook_fields::{self, SINCE_EXPECTED};
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The parameters of the list of attempts.
pub(crate) const DELIVERY_PARAMETERS: &[&str] = &["cursor", "limit", "fields"];

/// The members of a webhook that a client can change.
const KNOWN: [&str; 5] = ["url", "types", "charger_id", "description", "enabled"];
/// Test messages that are sent at once at most; more wait.
static TESTS: Semaphore = Semaphore::const_new(4);

/// The answer that shows a secret.
#[derive(Serialize)]
struct WithSecret {
    #[serde(flatten)]
    webhook: WebhookView,
    /// `None` in the answer to a repeat.
    secret: Option<String>,
}

/// `GET /api/v1/webhooks`
#[utoipa::path(
    get,
    path = "/api/v1/webhooks",
    params(("fields" = Option<String>, Query, description = "Only these members of each item, with commas between them")),
    responses((status = 200, description = "All webhooks, the oldest first", body = schema::Page<schema::Webhook>))
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    request: ListRequest,
) -> Result<Response, ApiError> {
    let query = request.query(page::WHOLE_PARAMETERS)?;
    let wanted = request.wanted(&query, "Webhook")?;
    let webhooks = state.webhooks()?.webhooks;
    let found = state.run(move |_| {
        let found = webhooks.webhooks();
        found.map_err(|error| ApiError::unavailable(&error))
    });
    let at = now();
    let items: Vec<WebhookView> = found.await?.iter().map(|one| one.view(at)).collect();
    Ok(page::whole(wanted, &items)?.into_response())
}

/// `POST /api/v1/webhooks`
#[utoipa::path(
    post,
    path = "/api/v1/webhooks",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "A text of the client, unique for this request: its repeat within 72 hours adds no second webhook, and does not show the secret again"),
    ),
    request_body = schema::NewWebhook,
    responses((status = 201, description = "The webhook with its secret, which is shown only now; `Location` is its address", body = schema::WebhookWithSecret))
)]
pub(crate) async fn create(
    State(state): State<Arc<AppState>>,
    change: Change,
) -> Result<Response, ApiError> {
    change.query(&[])?;
    let request = change.request()?;
    let deps = state.webhooks()?;
    let mut members = change.members()?;
    let given = patch(&mut members, deps.client.reach());
    if given.url.is_none() {
        members.missing("url", "the URL to which events are sent");
    }
    let secret = secret(&mut members);
    let known: Vec<&str> = KNOWN.into_iter().chain(["secret"]).collect();
    members.finish(&known)?;
    let secret = secret.map_or_else(new_secret, Ok)?;
    // Without a URL, a fault was reported.
    let settings = given.into_settings().ok_or_else(ApiError::internal)?;
    let shown = secret.expose();
    let new = NewWebhook {
        id: WebhookId(common::id::new_v7()),
        settings,
        secret,
        request,
    };
    let added = state.run(move |_| {
        let added = deps.webhooks.add_webhook(&new);
        added.map_err(|error| ApiError::unavailable(&error))
    });
    let (webhook, secret) = match added.await? {
        Once::Done(webhook) => (webhook, Some(shown)),
        Once::Repeated(webhook) => (webhook, None),
        Once::Refused(WebhookNotAdded::TooMany) => return Err(ApiError::too_many_webhooks()),
        Once::Refused(WebhookNotAdded::Removed(id)) => return Err(ApiError::webhook_removed(id)),
        Once::Mismatch => return Err(ApiError::idempotency_mismatch()),
        Once::InUse => return Err(ApiError::idempotency_in_use()),
    };
    let location = format!("/api/v1/webhooks/{}", webhook.id);
    let response = with_secret(StatusCode::CREATED, &webhook, secret)?;
    Ok(with_location(response, &location))
}

/// `GET /api/v1/webhooks/{id}`
#[utoipa::path(
    get,
    path = "/api/v1/webhooks/{id}",
    params(("id" = Uuid, Path, description = "The `id` of the webhook")),
    responses((status = 200, description = "The webhook", body = schema::Webhook))
)]
pub(crate) async fn one(
    State(state): State<Arc<AppState>>,
    InPath(id): InPath<WebhookId>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    Query::read(query.as_deref(), &[])?;
    let webhooks = state.webhooks()?.webhooks;
    let found = state.run(move |_| {
        let found = webhooks.webhook(id);
        let found = found.map_err(|error| ApiError::unavailable(&error))?;
        found.ok_or_else(|| ApiError::unknown_webhook(&id.to_string()))
    });
    shown(&found.await?)
}

/// `PATCH /api/v1/webhooks/{id}`
#[utoipa::path(
    patch,
    path = "/api/v1/webhooks/{id}",
    params(
        ("id" = Uuid, Path, description = "The `id` of the webhook"),
        ("If-Match" = String, Header, description = "The `ETag` of the webhook as you know it; `*` for any"),
    ),
    request_body(content = schema::WebhookPatch, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "The webhook", body = schema::Webhook))
)]
pub(crate) async fn change(
    State(state): State<Arc<AppState>>,
    InPath(id): InPath<WebhookId>,
    change: Change,
) -> Result<Response, ApiError> {
    change.query(&[])?;
    let request = change.conditional_request()?;
    let deps = state.webhooks()?;
    let mut members = change.merge_patch()?;
    let patch = patch(&mut members, deps.client.reach());
    members.finish(&KNOWN)?;
    let changed = state.run(move |_| {
        let changed = deps.webhooks.change_webhook(id, &patch, &request);
        done(
            changed.map_err(|error| ApiError::unavailable(&error))?,
            ApiError::internal,
            || ApiError::unknown_webhook(&id.to_string()),
        )
    });
    shown(&changed.await?)
}

/// `DELETE /api/v1/webhooks/{id}`
#[utoipa::path(
    delete,
    path = "/api/v1/webhooks/{id}",
    params(
        ("id" = Uuid, Path, description = "The `id` of the webhook"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the webhook as you know it"),
    ),
    responses((status = 204, description = "The webhook and its attempts are removed"))
)]
pub(crate) async fn remove(
    State(state): State<Arc<AppState>>,
    InPath(id): InPath<WebhookId>,
    change: Change,
) -> Result<Response, ApiError> {
    change.query(&[])?;
    let request = change.request()?;
    let webhooks = state.webhooks()?.webhooks;
    state
        .run(move |_| {
            let removed = webhooks.remove_webhook(id, &request);
            let removed = removed.map_err(|error| ApiError::unavailable(&error))?;
            let unknown = || ApiError::unknown_webhook(&id.to_string());
            removed.map_err(|refused| not_changed(refused, ApiError::internal, unknown))
        })
        .await?;
    Ok(no_content())
}

/// `POST /api/v1/webhooks/{id}/rotate`
#[utoipa::path(
    post,
    path = "/api/v1/webhooks/{id}/rotate",
    params(
        ("id" = Uuid, Path, description = "The `id` of the webhook"),
        ("Idempotency-Key" = Option<String>, Header, description = "A text of the client, unique for this request: its repeat within 72 hours makes no second secret, and does not show the secret again"),
    ),
    request_body = schema::WebhookRotation,
    responses((status = 200, description = "The webhook with its new secret, which is shown only now", body = schema::WebhookWithSecret))
)]
pub(crate) async fn rotate(
    State(state): State<Arc<AppState>>,
    InPath(id): InPath<WebhookId>,
    change: Change,
) -> Result<Response, ApiError> {
    change.query(&[])?;
    let request = change.request()?;
    let mut members = change.members()?;
    let secret = secret(&mut members);
    let at = request.origin.at;
    let right = webhook_fields::former_valid_expected();
    let seconds = members.take_if("former_valid_s", &right, |seconds: &i64| {
        webhook_fields::former_until(Some(*seconds), at).is_some()
    });
    members.finish(&["secret", "former_valid_s"])?;
    let secret = secret.map_or_else(new_secret, Ok)?;
    let former_until = webhook_fields::former_until(seconds.value(), at);
    let former_until = former_until.ok_or_else(ApiError::internal)?;
    let text = secret.expose();
    let webhooks = state.webhooks()?.webhooks;
    let rotated = state.run(move |_| {
        let rotated = webhooks.rotate_webhook(id, &secret, former_until, &request);
        let rotated = rotated.map_err(|error| ApiError::unavailable(&error))?;
        let is_repeat = matches!(rotated, Once::Repeated(_));
        let unknown = || ApiError::unknown_webhook(&id.to_string());
        Ok((done(rotated, ApiError::internal, unknown)?, is_repeat))
    });
    let (webhook, is_repeat) = rotated.await?;
    with_secret(StatusCode::OK, &webhook, (!is_repeat).then_some(text))
}

/// `POST /api/v1/webhooks/{id}/test`
#[utoipa::path(
    post,
    path = "/api/v1/webhooks/{id}/test",
    params(("id" = Uuid, Path, description = "The `id` of the webhook")),
    responses((status = 200, description = "What came of one `webhook.test` message", body = schema::WebhookTested))
)]
pub(crate) async fn test(
    State(state): State<Arc<AppState>>,
    InPath(id): InPath<WebhookId>,
    change: Change,
) -> Result<Response, ApiError> {
    change.query(&[])?;
    let deps = state.webhooks()?;
    let webhooks = deps.webhooks;
    let found = state.run(move |_| {
        let found = webhooks.webhook_secrets(id);
        let found = found.map_err(|error| ApiError::unavailable(&error))?;
        found.ok_or_else(|| ApiError::unknown_webhook(&id.to_string()))
    });
    let (webhook, secrets) = found.await?;
    let _permit = TESTS.acquire().await.map_err(|_| ApiError::internal())?;
    let tested = send_test(&deps.client, &webhook, &secrets, now()).await;
    change::object(StatusCode::OK, &tested, None)
}

/// `GET /api/v1/webhooks/{id}/deliveries`
#[utoipa::path(
    get,
    path = "/api/v1/webhooks/{id}/deliveries",
    params(
        ("id" = Uuid, Path, description = "The `id` of the webhook"),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before, unchanged"),
        ("limit" = Option<i32>, Query, description = "Items on the page: 1 to 1000; default 100", minimum = 1, maximum = 1000),
        ("fields" = Option<String>, Query, description = "Only these members of each item, with commas between them"),
    ),
    responses((status = 200, description = "The latest attempts, the newest first", body = schema::Page<schema::WebhookDelivery>))
)]
pub(crate) async fn deliveries(
    State(state): State<Arc<AppState>>,
    InPath(id): InPath<WebhookId>,
    request: ListRequest,
) -> Result<Response, ApiError> {
    let query = request.query(DELIVERY_PARAMETERS)?;
    let wanted = request.wanted(&query, "WebhookDelivery")?;
    let webhooks = state.webhooks()?.webhooks;
    state
        .answer_list(move |_| {
            let found = webhooks.webhook(id);
            let found = found.map_err(|error| ApiError::unavailable(&error))?;
            found.ok_or_else(|| ApiError::unknown_webhook(&id.to_string()))?;
            let at = now();
            let page = |page: &_| webhooks.webhook_attempts(id, page, at);
            page::collected(wanted, |_| {}, page)?.into_answer()
        })
        .await
}

/// `POST /api/v1/webhooks/{id}/redeliver`
#[utoipa::path(
    post,
    path = "/api/v1/webhooks/{id}/redeliver",
    params(
        ("id" = Uuid, Path, description = "The `id` of the webhook"),
        ("Idempotency-Key" = Option<String>, Header, description = "A text of the client, unique for this request: its repeat within 72 hours moves nothing again"),
    ),
    request_body = schema::WebhookRedelivery,
    responses((status = 200, description = "The webhook, whose events are sent from there on", body = schema::Webhook))
)]
pub(crate) async fn redeliver(
    State(state): State<Arc<AppState>>,
    InPath(id): InPath<WebhookId>,
    change: Change,
) -> Result<Response, ApiError> {
    change.query(&[])?;
    let request = change.request()?;
    let mut members = change.members()?;
    let since = members.required("since", SINCE_EXPECTED, |text: &String| {
        webhook_fields::since(text).is_some()
    });
    members.finish(&["since"])?;
    // Without it, a fault was reported.
    let from = since.as_deref().and_then(webhook_fields::since);
    let from = from.ok_or_else(ApiError::internal)?;
    let webhooks = state.webhooks()?.webhooks;
    let moved = state.run(move |_| {
        let moved = webhooks.redeliver_webhook(id, from, &request);
        match moved.map_err(|error| ApiError::unavailable(&error))? {
            Once::Done(webhook) | Once::Repeated(webhook) => Ok(webhook),
            Once::Refused(NotRedelivered::Webhook(refused)) => {
                let unknown = || ApiError::unknown_webhook(&id.to_string());
                Err(not_changed(refused, ApiError::internal, unknown))
            }
            Once::Refused(NotRedelivered::UnknownEvent) => Err(ApiError::unknown_event(
                since.as_deref().unwrap_or_default(),
            )),
            Once::Mismatch => Err(ApiError::idempotency_mismatch()),
            Once::InUse => Err(ApiError::idempotency_in_use()),
        }
    });
    shown(&moved.await?)
}

/// Reads the members that both a new webhook and a patch may have.
fn patch(members: &mut Members, reach: &Reach) -> WebhookPatch {
    let url = members.take::<String>("url", "a URL").patch();
    let url = match url {
        Some(Some(url)) => match reach.target(&url) {
            Ok(_) => Some(url),
            Err(error) => {
                members.fault("url", format!("url cannot be used: {error}"));
                None
            }
        },
        Some(None) => {
            members.fault("url", "url cannot be removed".to_owned());
            None
        }
        None => None,
    };
    let right = webhook_fields::types_expected();
    let types = members.take_if("types", &right, |types: &Vec<String>| {
        webhook_fields::are_types(types)
    });
    let charger_id = members.take_if("charger_id", CHARGER_ID_EXPECTED, |id: &String| {
        is_charger_id(id)
    });
    let right = webhook_fields::description_expected();
    let description = members.take_if("description", &right, |text: &String| {
        webhook_fields::is_description(text)
    });
    WebhookPatch {
        url,
        types: types.patch().map(Option::unwrap_or_default),
        charger_id: charger_id.patch(),
        description: description.patch().map(Option::unwrap_or_default),
        // Removing it sets the default.
        enabled: members
            .take::<bool>("enabled", "true or false")
            .patch()
            .map(|enabled| enabled.unwrap_or(true)),
    }
}

/// The secret that a request gives. A fault does not repeat it.
fn secret(members: &mut Members) -> Option<WebhookSecret> {
    let right = format!("{WEBHOOK_SECRET_EXPECTED}, or absent for a new one");
    let text = members.take_if("secret", &right, |text: &String| {
        WebhookSecret::from_text(text).is_some()
    });
    text.value().as_deref().and_then(WebhookSecret::from_text)
}

fn new_secret() -> Result<WebhookSecret, ApiError> {
    crate::webhooks::new_secret().map_err(|error| {
        tracing::error!(%error, "the operating system gives no random bytes for a secret of a webhook");
        ApiError::internal()
    })
}

fn shown(webhook: &Webhook) -> Result<Response, ApiError> {
    tagged(StatusCode::OK, webhook, &webhook.view(now()))
}

fn with_secret(
    status: StatusCode,
    webhook: &Webhook,
    secret: Option<String>,
) -> Result<Response, ApiError> {
    let shown = WithSecret {
        webhook: webhook.view(now()),
        secret,
    };
    tagged(status, webhook, &shown)
}

/// An answer shows the state of the deliveries too, so its tag has a part that follows from all of it.
fn tagged(
    status: StatusCode,
    webhook: &Webhook,
    shown: &impl Serialize,
) -> Result<Response, ApiError> {
    let json = serde_json::to_vec(shown).map_err(|_| ApiError::internal())?;
    let tag = etag::of_version_and_body(webhook.version, &json);
    Ok(change::written(status, json, Some(&tag)))
}
