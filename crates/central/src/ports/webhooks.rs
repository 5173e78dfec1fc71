//! Webhooks: what people set, how far each is in the log of events, and the lease under which one process sends.
//!
//! The log itself is read with [`EventLog`](super::EventLog). A sender claims webhooks that are due, sends the next events
//! of each, and records the attempts together with the new cursor.

use super::{ChangeRequest, NotChanged, Once, QueryError, Unavailable};
use crate::model::{
    EventId, Webhook, WebhookAttempt, WebhookAttemptView, WebhookId, WebhookPatch, WebhookProgress,
    WebhookSecret, WebhookSecrets, WebhookSettings,
};
use crate::query::{Page, PageRequest};
use crate::time::Timestamp;
use uuid::Uuid;

/// A webhook to be added. Its first event is the next one of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct NewWebhook {
    /// Its id.
    pub id: WebhookId,
    /// What the request sets.
    pub settings: WebhookSettings,
    /// Its secret.
    pub secret: WebhookSecret,
    /// Who requests it, when, and under which idempotency key. The condition is not used.
    pub request: ChangeRequest,
}

/// Why a webhook was not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookNotAdded {
    /// [`WEBHOOKS_MAX`](crate::model::WEBHOOKS_MAX) webhooks exist.
    TooMany,
    /// The same request added this webhook before, and it was removed since.
    Removed(WebhookId),
}

/// Where a redelivery begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedeliverFrom {
    /// With this event.
    Event(EventId),
    /// With the first event that was recorded at this time or later.
    Time(Timestamp),
}

/// Why nothing is delivered again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotRedelivered {
    /// The webhook was not changed.
    Webhook(NotChanged),
    /// The event is not of the log, or no longer kept.
    UnknownEvent,
}

/// A webhook that is claimed: what its sender needs.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimedWebhook {
    /// Its id.
    pub id: WebhookId,
    /// Its version when it was claimed.
    pub version: u64,
    /// What people set.
    pub settings: WebhookSettings,
    /// Its secrets.
    pub secrets: WebhookSecrets,
    /// How far it is.
    pub progress: WebhookProgress,
}

/// What a sender has done for a webhook since it was claimed, or since its last step.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookStep {
    /// The version of the webhook when it was claimed.
    pub version: u64,
    /// How far it is now. A cursor never moves past a selected event that was not delivered.
    pub progress: WebhookProgress,
    /// The attempts, oldest first.
    pub attempts: Vec<WebhookAttempt>,
    /// Why the webhook is switched off; `None`: it is not.
    pub switch_off: Option<String>,
    /// Until when the lease is extended; `None` gives it back.
    pub hold_until: Option<Timestamp>,
}

/// What became of a [`WebhookStep`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepRecorded {
    /// It is recorded, and the sender has the lease if it wanted to keep it.
    Recorded,
    /// A person has changed the webhook since: only the attempts are recorded, and the lease is given back. Whoever
    /// claims the webhook next sends events after the last recorded cursor, or after that of a redelivery.
    Changed,
    /// Somebody else has the lease, or the webhook was removed: nothing is recorded.
    Lost,
}

/// Adds, changes, shows and claims webhooks. Calls block.
///
/// Laws: each change by a person, its entry in the audit log and its idempotency key are one database transaction. Neither
/// the audit log nor what is kept under an idempotency key contains a secret, so a repeat cannot show it. There are never
/// more than [`WEBHOOKS_MAX`](crate::model::WEBHOOKS_MAX), also when several processes add at once. One lease holds a webhook at a
/// time. A step is one database transaction, and changes nothing without the lease; a change by a person does not end
/// the lease, so no two processes send for one webhook, and the step that follows the change does not undo it.
pub trait Webhooks: Send + Sync + 'static {
    /// Adds a webhook.
    ///
    /// # Errors
    /// When the database refuses.
    fn add_webhook(&self, new: &NewWebhook) -> Result<Once<Webhook, WebhookNotAdded>, Unavailable>;

    /// Changes what people set. Afterwards the webhook is due at once, its failed attempts are forgotten, and it is not
    /// switched off if it is enabled. The cursor stays: events that were recorded while it was disabled are sent.
    ///
    /// # Errors
    /// When the database refuses.
    fn change_webhook(
        &self,
        id: WebhookId,
        patch: &WebhookPatch,
        request: &ChangeRequest,
    ) -> Result<Once<Webhook, NotChanged>, Unavailable>;

    /// Removes a webhook with its attempts. An idempotency key in the request is not used.
    ///
    /// # Errors
    /// When the database refuses.
    fn remove_webhook(
        &self,
        id: WebhookId,
        request: &ChangeRequest,
    ) -> Result<Result<(), NotChanged>, Unavailable>;

    /// Makes `secret` the newest one, and keeps the one before valid until `former_until`.
    ///
    /// # Errors
    /// When the database refuses.
    fn rotate_webhook(
        &self,
        id: WebhookId,
        secret: &WebhookSecret,
        former_until: Timestamp,
        request: &ChangeRequest,
    ) -> Result<Once<Webhook, NotChanged>, Unavailable>;

    /// Moves the cursor, so that the events since then are sent, also those that were delivered before. The failed attempts
    /// are forgotten, and the webhook is due at once.
    ///
    /// # Errors
    /// When the database refuses.
    fn redeliver_webhook(
        &self,
        id: WebhookId,
        from: RedeliverFrom,
        request: &ChangeRequest,
    ) -> Result<Once<Webhook, NotRedelivered>, Unavailable>;

    /// One webhook.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn webhook(&self, id: WebhookId) -> Result<Option<Webhook>, Unavailable>;

    /// All webhooks, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn webhooks(&self) -> Result<Vec<Webhook>, Unavailable>;

    /// One webhook with its secrets, for a test message.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn webhook_secrets(
        &self,
        id: WebhookId,
    ) -> Result<Option<(Webhook, WebhookSecrets)>, Unavailable>;

    /// The attempts of a webhook that are kept, the newest first. Empty for an unknown webhook.
    ///
    /// # Errors
    /// When the database cannot be read now, or the cursor is not one of this list.
    fn webhook_attempts(
        &self,
        id: WebhookId,
        page: &PageRequest,
        now: Timestamp,
    ) -> Result<Page<WebhookAttemptView>, QueryError>;

    /// Claims webhooks for one sender until `until`: those that are enabled, due at `now`, behind the end of the log (or
    /// not in it, because the database was restored), and held by no lease at `now`; at most `limit`, the longest due
    /// first. A webhook is due also if the time for which it waits was set by a clock that was ahead of `now`: by more than
    /// [`WEBHOOK_CLOCK_AHEAD_MS_MAX`](crate::model::WEBHOOK_CLOCK_AHEAD_MS_MAX). `lease` is a new id for each call, so that
    /// a claim after an expired one cannot be taken for it. Without such a webhook nothing is written.
    ///
    /// # Errors
    /// When the database refuses.
    fn claim_webhooks(
        &self,
        lease: Uuid,
        now: Timestamp,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<ClaimedWebhook>, Unavailable>;

    /// Whether this lease holds the webhook, and it still has this version: nobody has changed or removed it since.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn is_webhook_held(
        &self,
        id: WebhookId,
        lease: Uuid,
        version: u64,
    ) -> Result<bool, Unavailable>;

    /// Records what the holder of the lease has done for a webhook. The lease counts until another one takes the webhook,
    /// also after its time.
    ///
    /// # Errors
    /// When the database refuses; then nothing has changed, or all has and it was not reported.
    fn record_webhook(
        &self,
        id: WebhookId,
        lease: Uuid,
        step: &WebhookStep,
        now: Timestamp,
    ) -> Result<StepRecorded, Unavailable>;
}
