//! Rows of the audit log, the same for both databases.

use crate::directory::to_text;
use crate::refusal::Refusal;
use central::model::AuditEntry;
use serde::Serialize;
use serde_json::Value;

/// The columns of an entry that are not texts of it already.
pub(crate) struct AuditColumns {
    pub(crate) actor_kind: String,
    pub(crate) before: Option<String>,
    pub(crate) after: Option<String>,
}

impl AuditColumns {
    /// The columns of `entry`.
    pub(crate) fn of(entry: &AuditEntry) -> Result<Self, Refusal> {
        Ok(Self {
            actor_kind: to_text(entry.origin.by.kind)?,
            before: entry.before.as_ref().map(Value::to_string),
            after: entry.after.as_ref().map(Value::to_string),
        })
    }
}

/// What the audit log shows of a subject.
pub(crate) fn shown(subject: &impl Serialize) -> Result<Value, Refusal> {
    serde_json::to_value(subject)
        .map_err(|error| Refusal::Poison(format!("cannot write the audit entry as JSON: {error}")))
}
