//! Webhooks.

use super::kinds::{TOO_MANY_WEBHOOKS, UNKNOWN_EVENT, UNKNOWN_WEBHOOK};
use super::{ApiError, quoted};
use central::model::{WEBHOOKS_MAX, WebhookId};

impl ApiError {
    pub(crate) fn unknown_webhook(id: &str) -> Self {
        Self::new(
            &UNKNOWN_WEBHOOK,
            format!("No webhook is known by the id {}.", quoted(id)),
        )
    }

    pub(crate) fn webhook_removed(id: WebhookId) -> Self {
        Self::new(
            &UNKNOWN_WEBHOOK,
            format!(
                "The same request added the webhook {id} before, which was removed since; use another Idempotency-Key \
                 for a new webhook."
            ),
        )
    }

    pub(crate) fn unknown_event(id: &str) -> Self {
        Self::new(
            &UNKNOWN_EVENT,
            format!(
                "The event {} is not in the log, or no longer kept; give another event, or a time.",
                quoted(id)
            ),
        )
    }

    pub(crate) fn too_many_webhooks() -> Self {
        Self::new(
            &TOO_MANY_WEBHOOKS,
            format!("There are {WEBHOOKS_MAX} webhooks, which is the maximum; remove some."),
        )
    }
}
