//! Webhooks.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// A webhook without its secrets.
#[derive(Serialize, ToSchema)]
pub(crate) struct Webhook {
    id: Uuid,
    /// Where its events are sent.
    url: String,
    /// The types of its events, such as `transaction.*`; empty for all.
    types: Vec<String>,
    /// Only events of this charger.
    charger_id: Option<String>,
    /// The operator's text.
    description: String,
    /// Whether events are sent.
    enabled: bool,
    /// `active`, `retrying`, `disabled` (by a person) or `switched_off` (by Wattpost).
    state: String,
    #[schema(format = DateTime)]
    created_at: String,
    /// Until when the secret before the newest one is valid; null if there is none.
    #[schema(format = DateTime)]
    former_secret_until: Option<String>,
    /// All events up to the one with this id are delivered or not selected.
    delivered_until: String,
    /// Events of the log after that one, whether they are selected or not.
    waiting: u64,
    /// The failed attempts to deliver the next event; null if there are none.
    retry: Option<WebhookRetry>,
    /// The time of its latest successful attempt.
    #[schema(format = DateTime)]
    last_success_at: Option<String>,
    /// Its latest error.
    last_error: Option<WebhookNote>,
    /// When and why Wattpost has switched it off.
    switched_off: Option<WebhookNote>,
}

/// Failed attempts.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookRetry {
    /// The event.
    event_id: String,
    /// Attempts that have failed.
    attempts: u32,
    /// When the first one was made. It is moved if the clock was set since, or no attempt was made at its time, because Wattpost was down.
    #[schema(format = DateTime)]
    since: String,
    /// When the next one is made.
    #[schema(format = DateTime)]
    next_at: String,
}

/// A text and when it was noted.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookNote {
    #[schema(format = DateTime)]
    at: String,
    text: String,
}

/// A webhook to be added.
#[derive(Serialize, ToSchema)]
pub(crate) struct NewWebhook {
    /// `https`; the settings `webhooks.allow_http` and `webhooks.allowed_networks` allow more.
    #[schema(example = "https://example.com/hook")]
    url: String,
    /// The types of its events; absent or empty for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    types: Option<Vec<String>>,
    /// Only events of this charger.
    #[serde(skip_serializing_if = "Option::is_none")]
    charger_id: Option<String>,
    /// At most 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    enabled: Option<bool>,
    /// `whsec_` followed by the Base64 text of 24 to 64 random bytes; absent for a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

/// What is changed of a webhook: an absent member stays as it is, null sets the default.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookPatch {
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    types: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    charger_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enabled: Option<bool>,
}

/// A webhook with its newest secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookWithSecret {
    #[serde(flatten)]
    webhook: Webhook,
    /// It is shown only in this answer; null in the answer to a repeat.
    secret: Option<String>,
}

/// A new secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookRotation {
    /// As of a new webhook.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    /// For how many seconds the former secret stays valid: 0 to 2,592,000; default 86,400.
    #[serde(skip_serializing_if = "Option::is_none")]
    former_valid_s: Option<u32>,
}

/// Where events are sent again from.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookRedelivery {
    /// The id of the first event, or a time: the first event that was recorded then or later.
    since: String,
}

/// What came of a test message.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookTested {
    /// Whether the status is 2xx.
    delivered: bool,
    /// The status; null without an answer.
    status: Option<u16>,
    duration_ms: u64,
    /// The first bytes of the answer.
    answer: String,
    /// Why there is no answer.
    error: Option<String>,
}

/// An attempt to deliver an event.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookDelivery {
    /// When it began.
    #[schema(format = DateTime)]
    at: String,
    event_id: String,
    event_type: String,
    /// Its number among the attempts for this event; the first is 1.
    attempt: u32,
    /// Whether the receiver has accepted the event.
    delivered: bool,
    /// The status of the response; null without one.
    status: Option<u16>,
    duration_ms: u64,
    /// The start of the response, or the error.
    answer: String,
}
