//! The audit log: each entry is inserted in the transaction of its change.

use super::event_log;
use crate::audit::AuditColumns;
use crate::event_log::{Change, Queued};
use crate::refusal::Refusal;
use central::model::{AUDIT_ENTRIES_MAX, AuditEntry, EventType, TraceParent};
use rusqlite::{Connection, params};

/// Inserts an entry, inside the caller's transaction, and deletes the entry that is one too many.
pub(crate) fn insert(connection: &Connection, entry: &AuditEntry) -> Result<(), Refusal> {
    let columns = AuditColumns::of(entry)?;
    let origin = &entry.origin;
    connection.execute(
        "INSERT INTO audit_log
            (at, actor_kind, actor_name, origin, request_id, action, subject, before, after, traceparent)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            origin.at.0,
            columns.actor_kind,
            origin.by.name,
            origin.from,
            origin.request_id,
            entry.action,
            entry.subject,
            columns.before,
            columns.after,
            origin.traceparent.as_ref().map(TraceParent::as_str),
        ],
    )?;
    let last = connection.last_insert_rowid();
    if EventType::of_audit(&entry.action).is_some() {
        let queued = Queued::numbered(Change::Audit, last, origin.at.0);
        event_log::push(connection, [queued])?;
    }
    connection.execute(
        "DELETE FROM audit_log WHERE no <= ?1",
        [last - AUDIT_ENTRIES_MAX],
    )?;
    Ok(())
}
