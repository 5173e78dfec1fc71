//! The audit log: each entry is inserted in the transaction of its change.

use super::error;
use super::numbers::clean;
use crate::audit::AuditColumns;
use crate::refusal::Refusal;
use central::model::{AUDIT_ENTRIES_MAX, AuditEntry};
use sqlx::postgres::PgConnection;

/// Inserts an entry, inside the caller's transaction, and deletes the entry that is one too many.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    entry: &AuditEntry,
) -> Result<(), Refusal> {
    let columns = AuditColumns::of(entry)?;
    let origin = &entry.origin;
    let text = |text: &str| clean(text).into_owned();
    let last: i64 = sqlx::query_scalar(
        "INSERT INTO audit_log
            (at, actor_kind, actor_name, origin, request_id, action, subject, before, after)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING no",
    )
    .bind(origin.at.0)
    .bind(columns.actor_kind)
    .bind(origin.by.name.as_deref().map(text))
    .bind(text(&origin.from))
    .bind(origin.request_id.as_deref().map(text))
    .bind(&entry.action)
    .bind(text(&entry.subject))
    .bind(columns.before)
    .bind(columns.after)
    .fetch_one(&mut *connection)
    .await
    .map_err(error::refusal)?;
    sqlx::query("DELETE FROM audit_log WHERE no <= $1")
        .bind(last - AUDIT_ENTRIES_MAX)
        .execute(connection)
        .await
        .map_err(error::refusal)?;
    Ok(())
}
