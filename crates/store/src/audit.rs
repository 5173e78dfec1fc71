//! Rows of the audit log, the same for both databases.

use crate::directory::{from_text, to_text};
use crate::refusal::Refusal;
use crate::state::or_leave_out;
use central::Timestamp;
use central::model::{
    AUDIT_ACTIONS, Actor, AuditEntry, AuditView, Closed, Origin, TraceParent, TransactionView,
};
use central::ports::{Closing, Disconnect};
use central::query::Place;
use serde::Serialize;
use serde_json::{Value, json};

/// The columns of an entry that are not texts of it already.
pub(crate) struct AuditColumns {
    pub(crate) actor_kind: String,
    pub(crate) before: Option<String>,
    pub(crate) after: Option<String>,
}

impl AuditColumns {
    /// The columns of `entry`.
    pub(crate) fn of(entry: &AuditEntry) -> Result<Self, Refusal> {
        debug_assert!(
            AUDIT_ACTIONS.contains(&entry.action.as_str()),
            "{} is not in AUDIT_ACTIONS",
            entry.action
        );
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

/// The entry for a session that a person closed.
pub(crate) fn closing_entry(
    before: &TransactionView,
    closing: &Closing,
    origin: &Origin,
) -> Result<AuditEntry, Refusal> {
    let session = |is_open: bool, closed: Value| {
        json!({
            "charger_id": before.charger_id,
            "transaction_id": before.transaction_id,
            "open": is_open,
            "closed": closed,
        })
    };
    let closed = Closed {
        by: closing.by(),
        at: closing.ended_at,
        reconciled: false,
    };
    Ok(AuditEntry {
        origin: origin.clone(),
        action: "transaction.closed".to_owned(),
        subject: closing.key.to_string(),
        before: Some(session(true, Value::Null)),
        after: Some(session(false, shown(&closed)?)),
    })
}

/// The entry for a request to close a connection.
pub(crate) fn disconnect_entry(request: &Disconnect, origin: &Origin) -> AuditEntry {
    AuditEntry {
        origin: origin.clone(),
        action: "charger.disconnect_requested".to_owned(),
        subject: request.charger_id.clone(),
        before: None,
        after: Some(json!({
            "gateway_id": request.gateway_id,
            "epoch": request.epoch,
            "code": request.code,
            "reason": request.reason,
        })),
    }
}

/// Number, time, kind and name of who, from where, request, action, subject, before, after,
/// `traceparent`.
pub(crate) type AuditRow = (
    i64,
    i64,
    String,
    Option<String>,
    String,
    Option<String>,
    String,
    String,
    Option<String>,
    Option<String>,
    Option<String>,
);

/// The columns of an [`AuditRow`].
pub(crate) const COLUMNS: &str = "no, at, actor_kind, actor_name, origin, request_id, action, subject, before, after, traceparent";

/// An entry as it is shown.
pub(crate) fn view(row: AuditRow) -> Result<AuditView, Refusal> {
    let (no, at, kind, name, from, request_id, action, subject, before, after, traceparent) = row;
    let json = |text: Option<String>| {
        let read = text.map(|text| serde_json::from_str(&text)).transpose();
        read.map_err(|error| Refusal::corrupt(format!("audit entry {no} cannot be read: {error}")))
    };
    Ok(AuditView {
        no,
        at: Timestamp(at),
        by: Actor {
            kind: from_text(&kind, "actor_kind", &format_args!("audit entry {no}"))?,
            name,
        },
        from,
        request_id,
        traceparent: traceparent.as_deref().and_then(TraceParent::parse),
        action,
        subject,
        before: json(before)?,
        after: json(after)?,
    })
}

/// As [`view`], with others: its place in the list, and `None` and a line in the log if it cannot be read.
pub(crate) fn listed(row: AuditRow) -> (Place, Option<AuditView>) {
    let no = row.0;
    let view = or_leave_out(view(row), &format_args!("audit entry {no}"));
    (Place::Audit(no), view)
}
