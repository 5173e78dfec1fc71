//! The audit log: each entry is inserted in the transaction of its change.

use super::numbers::clean;
use super::{error, event_log};
use crate::audit::AuditColumns;
use crate::event_log::{Change, Queued};
use crate::refusal::Refusal;
use central::model::{AUDIT_ENTRIES_MAX, AuditEntry, EventType, TraceParent};
use sqlx::postgres::PgConnection;

/// Inserts an entry, inside the caller's transaction, and deletes the entry that is one too many.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    entry: &AuditEntry,
) -> Result<(), Refusal> {
    insert_all(connection, std::slice::from_ref(entry)).await
}

/// Inserts entries in their order, inside the caller's transaction, and deletes those that are too many.
pub(crate) async fn insert_all(
    connection: &mut PgConnection,
    entries: &[AuditEntry],
) -> Result<(), Refusal> {
    let columns = entries
        .iter()
        .map(AuditColumns::of)
        .collect::<Result<Vec<_>, _>>()?;
    let text = |text: &str| clean(text).into_owned();
    let texts = |member: fn(&AuditEntry) -> &str| -> Vec<String> {
        entries.iter().map(|entry| text(member(entry))).collect()
    };
    let optional = |member: fn(&AuditEntry) -> Option<&str>| -> Vec<Option<String>> {
        entries
            .iter()
            .map(|entry| member(entry).map(text))
            .collect()
    };
    let (kinds, (before, after)): (Vec<_>, (Vec<_>, Vec<_>)) = columns
        .into_iter()
        .map(|columns| (columns.actor_kind, (columns.before, columns.after)))
        .unzip();
    let added: Vec<(i64, i64, String)> = sqlx::query_as(
        "WITH added AS (
            INSERT INTO audit_log
                (at, actor_kind, actor_name, origin, request_id, action, subject, before, after, traceparent)
            SELECT at, actor_kind, actor_name, origin, request_id, action, subject, before, after, traceparent
            FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                $8::text[], $9::text[], $10::text[]) WITH ORDINALITY
                AS row (at, actor_kind, actor_name, origin, request_id, action, subject, before, after, traceparent,
                    place)
            ORDER BY place RETURNING no, at, action)
         SELECT no, at, action FROM added ORDER BY no",
    )
    .bind(entries.iter().map(|entry| entry.origin.at.0).collect::<Vec<_>>())
    .bind(kinds)
    .bind(optional(|entry| entry.origin.by.name.as_deref()))
    .bind(texts(|entry| &entry.origin.from))
    .bind(optional(|entry| entry.origin.request_id.as_deref()))
    .bind(texts(|entry| &entry.action))
    .bind(texts(|entry| &entry.subject))
    .bind(before)
    .bind(after)
    .bind(optional(|entry| entry.origin.traceparent.as_ref().map(TraceParent::as_str)))
    .fetch_all(&mut *connection)
    .await
    .map_err(error::refusal)?;
    let Some((last, ..)) = added.last() else {
        return Ok(());
    };
    let queued: Vec<Queued> = added
        .iter()
        .filter(|(.., action)| EventType::of_audit(action).is_some())
        .map(|(no, at, _)| Queued::numbered(Change::Audit, *no, *at))
        .collect();
    event_log::push(connection, &queued).await?;
    sqlx::query("DELETE FROM audit_log WHERE no <= $1")
        .bind(last - AUDIT_ENTRIES_MAX)
        .execute(connection)
        .await
        .map_err(error::refusal)?;
    Ok(())
}
