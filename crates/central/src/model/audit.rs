//! The audit log: who changed what. An entry never contains a password or the secret of a key.

use super::TraceParent;
use crate::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Entries that are kept; an older one is deleted with the insertion of a new one.
pub const AUDIT_ENTRIES_MAX: i64 = 100_000;

/// Who makes a change, when, and from where: the part of an audit entry that is known before the change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: Actor,
    /// From where: a client's address, or the name of the machine on which a command ran.
    pub from: String,
    /// The `X-Request-Id` of the request; `None` for the command line.
    pub request_id: Option<String>,
    /// The `traceparent` of the request (W3C Trace Context); `None` if it has none.
    pub traceparent: Option<TraceParent>,
}

/// Who makes a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// Through what they made it.
    pub kind: ActorKind,
    /// The name of the key or of the user; `None` for a request without a key.
    pub name: Option<String>,
}

/// Through what a change was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A request with a key.
    ApiKey,
    /// A request of a user who has signed in.
    User,
    /// A request without a key, possible while there are neither keys nor users.
    WithoutKey,
    /// A command of `wattpost`.
    CommandLine,
    /// Wattpost itself, without a request.
    Wattpost,
}

/// An entry as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditView {
    /// Its number; a later entry has a larger one.
    pub no: i64,
    /// When.
    #[serde(serialize_with = "super::rfc3339::always")]
    pub at: Timestamp,
    /// Who.
    pub by: Actor,
    /// From where: a client's address, or the name of the machine on which a command ran.
    pub from: String,
    /// The id of the request; `None` for the command line.
    pub request_id: Option<String>,
    /// The `traceparent` of the request (W3C Trace Context).
    pub traceparent: Option<TraceParent>,
    /// What was done.
    pub action: String,
    /// To what.
    pub subject: String,
    /// The subject before the change; `None` if it did not exist.
    pub before: Option<Value>,
    /// The subject after the change; `None` if it no longer exists.
    pub after: Option<Value>,
}

/// A change without who made it: what an event shows, whose readers may not read the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditedChange<'a> {
    /// The number of the entry of the audit log.
    pub no: i64,
    /// When.
    #[serde(serialize_with = "super::rfc3339::always")]
    pub at: Timestamp,
    /// What was done.
    pub action: &'a str,
    /// To what.
    pub subject: &'a str,
    /// The subject before the change; `None` if it did not exist.
    pub before: Option<&'a Value>,
    /// The subject after the change; `None` if it no longer exists.
    pub after: Option<&'a Value>,
}

impl AuditView {
    /// What was changed, without who changed it.
    #[must_use]
    pub const fn change(&self) -> AuditedChange<'_> {
        AuditedChange {
            no: self.no,
            at: self.at,
            action: self.action.as_str(),
            subject: self.subject.as_str(),
            before: self.before.as_ref(),
            after: self.after.as_ref(),
        }
    }
}

/// Every [`AuditEntry::action`], by name.
pub const AUDIT_ACTIONS: &[&str] = &[
    "alert.acknowledged",
    "alert_silence.added",
    "alert_silence.removed",
    "api_key.added",
    "api_key.revoked",
    "batch.cancelled",
    "batch.created",
    "batch.paused",
    "batch.resumed",
    "charger.disconnect_requested",
    "charger.password_rotation_ended",
    "charger.password_rotation_started",
    "charger.removed",
    "charger.set",
    "command.unchecked",
    "dead_letter.applied",
    "dead_letter.discarded",
    "gateway.retired",
    "handshake.dismissed",
    "local_list.removed",
    "local_list.set",
    "site.removed",
    "site.set",
    "token.removed",
    "token.set",
    "transaction.closed",
    "unknown_token.dismissed",
    "user.added",
    "user.changed",
    "user.removed",
    "webhook.redelivered",
    "webhook.removed",
    "webhook.secret_rotated",
    "webhook.set",
    "webhook.switched_off",
];

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Who, when, from where.
    pub origin: Origin,
    /// What was done: one of [`AUDIT_ACTIONS`].
    pub action: String,
    /// To what: the name of the key, the identity of the charger, …
    pub subject: String,
    /// The subject before the change; `None` if it did not exist.
    pub before: Option<Value>,
    /// The subject after the change; `None` if it no longer exists.
    pub after: Option<Value>,
}
