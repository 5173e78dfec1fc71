//! The message `webhook.test`, by which a person sees whether a receiver can be reached and accepts the signature. The API and
//! the command line send it.

use super::client::{Client, Message};
use bytes::Bytes;
use central::Timestamp;
use central::model::{Webhook, WebhookSecrets};
use serde::Serialize;
use serde_json::json;

/// What came of a test message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tested {
    /// Whether the receiver has accepted it: its status is 2xx.
    pub delivered: bool,
    /// The status of the answer; `None` without an answer.
    pub status: Option<u16>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// The start of the answer.
    pub answer: String,
    /// Why there is no answer.
    pub error: Option<String>,
}

/// Sends one `webhook.test` message, signed as events are at this time. It is neither stored nor repeated.
pub async fn send_test(
    client: &Client,
    webhook: &Webhook,
    secrets: &WebhookSecrets,
    at: Timestamp,
) -> Tested {
    let message_id = format!("test_{}", common::id::new_v7().simple());
    let body = json!({
        "id": message_id,
        "type": "webhook.test",
        "occurred_at": at.to_string(),
        "recorded_at": at.to_string(),
        "late": false,
        "charger_id": null,
        "data": {"webhook_id": webhook.id},
        "links": {},
    });
    let message = Message::new(message_id, Bytes::from(body.to_string()), secrets, at);
    let attempted = client.send(&webhook.settings.url, &message).await;
    Tested {
        delivered: attempted.is_success(),
        status: attempted.status,
        duration_ms: u64::try_from(attempted.took.as_millis()).unwrap_or(u64::MAX),
        answer: attempted.answer,
        error: attempted.error,
    }
}
