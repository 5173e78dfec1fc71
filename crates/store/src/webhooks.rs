//! Rows of webhooks, the same for both databases, and what a change or a step does with them.

use crate::refusal::Refusal;
use crate::state::or_leave_out;
use central::Timestamp;
use central::model::{
    Actor, ActorKind, AuditEntry, EventId, Origin, WEBHOOK_ANSWER_BYTES_MAX,
    WEBHOOK_CLOCK_AHEAD_MS_MAX, WEBHOOK_DUE_IN_MS_MAX, WEBHOOK_IDLE_MS_MAX, WEBHOOK_LEASE_MS_MAX,
    Webhook, WebhookAttemptView, WebhookId, WebhookPatch, WebhookProgress, WebhookRetry,
    WebhookSecrets, WebhookSettings,
};
use central::ports::{
    ChangeRequest, ClaimedWebhook, NotChanged, Once, StepRecorded, WebhookNotAdded, WebhookStep,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

/// The columns of a [`WebhookRow`], of the table `webhooks`.
pub(crate) const COLUMNS: &str = "id, url, types, charger_id, description, enabled, version, created_at, secrets, \
     cursor_position, cursor_at, retry_position, retry_at, retry_attempts, retry_since, due_at, last_success_at, \
     last_error_at, last_error, switched_off_at, switched_off, \
     (SELECT h.position FROM event_head h) - cursor_position AS waiting";

/// The condition of webhooks that can be claimed at the time of this parameter. A time that was recorded before the clock was
/// set back is not waited for: it lies too far ahead, or what it waits after does.
pub(crate) fn is_due(now: &str) -> String {
    format!(
        "enabled AND NOT (due_at > {now} AND CASE WHEN retry_position IS NULL
                 THEN due_at <= {now} + {WEBHOOK_IDLE_MS_MAX}
                 ELSE due_at <= {now} + {WEBHOOK_DUE_IN_MS_MAX}
                     AND COALESCE(last_error_at, 0) <= {now} + {WEBHOOK_CLOCK_AHEAD_MS_MAX} END)
             AND (holder IS NULL OR held_until NOT BETWEEN {now} + 1 AND {now} + {WEBHOOK_LEASE_MS_MAX}) AND NOT EXISTS
             (SELECT 1 FROM event_head h WHERE h.position = cursor_position AND h.recorded_at = cursor_at)"
    )
}

/// The columns of an attempt, of the table `webhook_attempts`.
pub(crate) const ATTEMPT_COLUMNS: &str =
    "no, at, position, recorded_at, type, attempt, delivered, status, duration_ms, answer";

/// The row of a webhook.
#[derive(Debug)]
pub(crate) struct WebhookRow {
    pub(crate) id: Uuid,
    pub(crate) url: String,
    pub(crate) types: String,
    pub(crate) charger_id: Option<String>,
    pub(crate) description: String,
    pub(crate) enabled: bool,
    pub(crate) version: i64,
    pub(crate) created_at: i64,
    pub(crate) secrets: String,
    pub(crate) cursor: (i64, i64),
    /// Position and time of the event, attempts, time of the first one.
    pub(crate) retry: [Option<i64>; 4],
    pub(crate) due_at: i64,
    pub(crate) last_success_at: Option<i64>,
    pub(crate) last_error_at: Option<i64>,
    pub(crate) last_error: Option<String>,
    pub(crate) switched_off_at: Option<i64>,
    pub(crate) switched_off: Option<String>,
    pub(crate) waiting: i64,
}

impl WebhookRow {
    /// The webhook and its secrets.
    pub(crate) fn read(self) -> Result<(Webhook, WebhookSecrets), Refusal> {
        let types = self.column("types", &self.types)?;
        let secrets: WebhookSecrets = self.column("secrets", &self.secrets)?;
        let former_until = secrets.former.as_ref().map(|(_, until)| *until);
        Ok((self.webhook(types, former_until), secrets))
    }

    /// As [`WebhookRow::read`], with others: `None` and a line in the log if it cannot be read.
    pub(crate) fn readable(self) -> Option<(Webhook, WebhookSecrets)> {
        let whose = format!("webhook {}", self.id);
        or_leave_out(self.read(), &whose)
    }

    /// The webhook as far as it can be read, so that every one can be removed.
    pub(crate) fn removable(self) -> (Webhook, ()) {
        let types = self.column("types", &self.types);
        let types = or_leave_out(types, &format_args!("webhook {}", self.id));
        (self.webhook(types.unwrap_or_default(), None), ())
    }

    fn column<T: DeserializeOwned>(&self, column: &str, text: &str) -> Result<T, Refusal> {
        // The error says where a text is wrong, and not what it is.
        serde_json::from_str(text).map_err(|error| {
            let (id, line, at) = (WebhookId(self.id), error.line(), error.column());
            Refusal::corrupt(format!(
                "the column {column} of webhook {id} cannot be read (line {line}, column {at})"
            ))
        })
    }

    fn webhook(self, types: Vec<String>, former_secret_until: Option<Timestamp>) -> Webhook {
        let retry = match self.retry {
            [Some(position), Some(at), Some(attempts), Some(since)] => Some(WebhookRetry {
                event: event_id((position, at)),
                attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
                since: Timestamp(since),
            }),
            _ => None,
        };
        Webhook {
            id: WebhookId(self.id),
            settings: WebhookSettings {
                url: self.url,
                types,
                charger_id: self.charger_id,
                description: self.description,
                enabled: self.enabled,
            },
            version: self.version.cast_unsigned(),
            created_at: Timestamp(self.created_at),
            former_secret_until,
            progress: WebhookProgress {
                cursor: event_id(self.cursor),
                retry,
                due_at: Timestamp(self.due_at),
                last_success_at: self.last_success_at.map(Timestamp),
                last_error: noted(self.last_error_at, self.last_error),
            },
            switched_off: noted(self.switched_off_at, self.switched_off),
            waiting: u64::try_from(self.waiting).unwrap_or(0),
        }
    }
}

/// A stored webhook as its sender needs it.
pub(crate) fn claimed((webhook, secrets): (Webhook, WebhookSecrets)) -> ClaimedWebhook {
    ClaimedWebhook {
        id: webhook.id,
        version: webhook.version,
        settings: webhook.settings,
        secrets,
        progress: webhook.progress,
    }
}

/// The row of an attempt.
#[derive(Debug)]
pub(crate) struct AttemptRow {
    pub(crate) no: i64,
    pub(crate) at: i64,
    pub(crate) event: (i64, i64),
    pub(crate) kind: String,
    pub(crate) attempt: i64,
    pub(crate) delivered: bool,
    pub(crate) status: Option<i64>,
    pub(crate) duration_ms: i64,
    pub(crate) answer: String,
}

impl AttemptRow {
    /// The attempt as the port returns it.
    pub(crate) fn view(self) -> WebhookAttemptView {
        WebhookAttemptView {
            at: Timestamp(self.at),
            event_id: event_id(self.event).to_string(),
            event_type: self.kind,
            attempt: u32::try_from(self.attempt).unwrap_or(u32::MAX),
            delivered: self.delivered,
            status: self.status.and_then(|status| u16::try_from(status).ok()),
            duration_ms: self.duration_ms.unsigned_abs(),
            answer: self.answer,
        }
    }
}

fn noted(at: Option<i64>, text: Option<String>) -> Option<(Timestamp, String)> {
    at.map(Timestamp).zip(text)
}

pub(crate) fn event_id((position, at): (i64, i64)) -> EventId {
    EventId {
        position: position.cast_unsigned(),
        recorded_at: Timestamp(at),
    }
}

/// An answer of a receiver, cut at its bound.
pub(crate) fn cut_answer(answer: &str) -> &str {
    let end = answer.floor_char_boundary(WEBHOOK_ANSWER_BYTES_MAX);
    answer.get(..end).unwrap_or_default()
}

/// What is stored as JSON.
pub(crate) fn text(value: &impl serde::Serialize) -> Result<String, Refusal> {
    serde_json::to_string(value)
        .map_err(|error| Refusal::Poison(format!("cannot write a webhook as JSON: {error}")))
}

/// The webhook that a change applies to.
pub(crate) fn expected<T>(
    stored: Option<(Webhook, T)>,
    request: &ChangeRequest,
) -> Result<(Webhook, T), NotChanged> {
    let (before, rest) = stored.ok_or(NotChanged::Unknown)?;
    if !request.condition.holds(Some(before.version)) {
        return Err(NotChanged::OtherVersion);
    }
    Ok((before, rest))
}

/// The webhook after a person has changed it, at this time.
pub(crate) fn patched(before: &Webhook, patch: &WebhookPatch, now: Timestamp) -> Webhook {
    let mut after = touched(before, now);
    patch.apply(&mut after.settings);
    if after.settings.enabled || before.settings.enabled {
        after.switched_off = None;
    }
    after
}

/// The webhook after any change: a new version, due now, without failed attempts.
pub(crate) fn touched(before: &Webhook, now: Timestamp) -> Webhook {
    let mut after = before.clone();
    after.version += 1;
    after.progress.retry = None;
    after.progress.due_at = now;
    after
}

/// What a step makes of the webhook of its lease: the webhook to be stored, and the entry of the audit log. `None` for the
/// webhook if a person has changed it since: then only the attempts count.
pub(crate) fn stepped(
    before: &Webhook,
    step: &WebhookStep,
    now: Timestamp,
) -> (Option<Webhook>, Option<AuditEntry>) {
    if before.version != step.version {
        return (None, None);
    }
    let mut after = before.clone();
    after.progress = step.progress.clone();
    let Some(reason) = &step.switch_off else {
        return (Some(after), None);
    };
    after.version += 1;
    after.settings.enabled = false;
    after.switched_off = Some((now, reason.clone()));
    let origin = Origin {
        at: now,
        by: Actor {
            kind: ActorKind::Wattpost,
            name: None,
        },
        from: "wattpost".to_owned(),
        request_id: None,
        traceparent: None,
    };
    let mut entry = changed_entry("webhook.switched_off", before, &after, &origin);
    if let Some(after) = &mut entry.after {
        after["reason"] = json!(reason);
    }
    (Some(after), Some(entry))
}

/// What is reported of a step.
pub(crate) const fn recorded(after: Option<&Webhook>) -> StepRecorded {
    match after {
        Some(_) => StepRecorded::Recorded,
        None => StepRecorded::Changed,
    }
}

/// What the audit log shows of a webhook: what people set, never a secret.
fn shown(webhook: &Webhook) -> Value {
    let settings = &webhook.settings;
    json!({
        "url": settings.url,
        "types": settings.types,
        "charger_id": settings.charger_id,
        "description": settings.description,
        "enabled": settings.enabled,
    })
}

fn audited(
    action: &str,
    id: WebhookId,
    before: Option<Value>,
    after: Option<Value>,
    origin: &Origin,
) -> AuditEntry {
    AuditEntry {
        origin: origin.clone(),
        action: action.to_owned(),
        subject: id.to_string(),
        before,
        after,
    }
}

/// The audit entry of a webhook that was added.
pub(crate) fn added_entry(webhook: &Webhook, origin: &Origin) -> AuditEntry {
    audited(
        "webhook.set",
        webhook.id,
        None,
        Some(shown(webhook)),
        origin,
    )
}

/// The audit entry of a webhook that was changed.
pub(crate) fn changed_entry(
    action: &str,
    before: &Webhook,
    after: &Webhook,
    origin: &Origin,
) -> AuditEntry {
    let (old, new) = (shown(before), shown(after));
    audited(action, before.id, Some(old), Some(new), origin)
}

/// The audit entry of a webhook that was removed.
pub(crate) fn removed_entry(webhook: &Webhook, origin: &Origin) -> AuditEntry {
    let before = Some(shown(webhook));
    audited("webhook.removed", webhook.id, before, None, origin)
}

/// The audit entry of a webhook with a new secret.
pub(crate) fn rotated_entry(id: WebhookId, former_until: Timestamp, origin: &Origin) -> AuditEntry {
    let after = json!({"former_secret_until": former_until.to_string()});
    audited("webhook.secret_rotated", id, None, Some(after), origin)
}

/// The audit entry of a webhook whose cursor a person has moved.
pub(crate) fn redelivered_entry(before: &Webhook, to: EventId, origin: &Origin) -> AuditEntry {
    let shown = |id: EventId| Some(json!({"delivered_until": id.to_string()}));
    let (from, to) = (shown(before.progress.cursor), shown(to));
    audited("webhook.redelivered", before.id, from, to, origin)
}

/// What a request for a new webhook is answered with: the webhook as it is now instead of its id.
pub(crate) fn added(
    once: Once<WebhookId, WebhookNotAdded>,
    stored: Option<Webhook>,
) -> Result<Once<Webhook, WebhookNotAdded>, Refusal> {
    Ok(match (once, stored) {
        (Once::Done(_), Some(webhook)) => Once::Done(webhook),
        (Once::Done(_), None) => {
            return Err(Refusal::corrupt("a webhook that was inserted is not there"));
        }
        (Once::Repeated(_), Some(webhook)) => Once::Repeated(webhook),
        (Once::Repeated(id), None) => Once::Refused(WebhookNotAdded::Removed(id)),
        (Once::Refused(why), _) => Once::Refused(why),
        (Once::Mismatch, _) => Once::Mismatch,
        (Once::InUse, _) => Once::InUse,
    })
}

/// What a request for a change is answered with: the webhook as it is now; `unknown` if it was removed since.
pub(crate) fn changed<N>(
    once: Once<(), N>,
    stored: Option<Webhook>,
    unknown: N,
) -> Once<Webhook, N> {
    match (once, stored) {
        (Once::Done(()), Some(webhook)) => Once::Done(webhook),
        (Once::Repeated(()), Some(webhook)) => Once::Repeated(webhook),
        (Once::Done(()) | Once::Repeated(()), None) => Once::Refused(unknown),
        (Once::Refused(why), _) => Once::Refused(why),
        (Once::Mismatch, _) => Once::Mismatch,
        (Once::InUse, _) => Once::InUse,
    }
}
