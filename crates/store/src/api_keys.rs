//! Rows of the keys of the API, and their entries in the audit log.

use crate::admins;
use crate::audit::shown;
use crate::directory::from_text;
use crate::refusal::Refusal;
use central::Timestamp;
use central::model::{ApiKey, ApiKeyHash, AuditEntry, Origin};
use uuid::Uuid;

/// Id, name, hash, scope, and the milliseconds of creation, expiry and latest use.
pub(crate) type KeyRow = (Uuid, String, Vec<u8>, String, i64, Option<i64>, Option<i64>);

/// A key with its hash.
pub(crate) fn key(
    (id, name, hash, scope, created_at, expires_at, last_used_at): KeyRow,
) -> Result<(ApiKey, ApiKeyHash), Refusal> {
    let hash = <[u8; 32]>::try_from(hash)
        .map_err(|_| Refusal::corrupt(format!("the hash of the API key {name:?} is damaged")))?;
    let scope = from_text(&scope, "scope", &format_args!("API key {name}"))?;
    let key = ApiKey {
        id,
        name,
        scope,
        created_at: Timestamp(created_at),
        expires_at: expires_at.map(Timestamp),
        last_used_at: last_used_at.map(Timestamp),
    };
    Ok((key, ApiKeyHash::from_bytes(hash)))
}

/// The keys of these rows. One that cannot be read is left out and permits nothing.
///
/// # Errors
/// When there are keys and none can be read.
pub(crate) fn readable(rows: Vec<KeyRow>) -> Result<Vec<(ApiKey, ApiKeyHash)>, Refusal> {
    admins::readable(rows, "API key", |row| row.1.clone(), key)
}

/// The audit entry of a key that was added.
pub(crate) fn added(key: &ApiKey, origin: &Origin) -> Result<AuditEntry, Refusal> {
    Ok(AuditEntry {
        origin: origin.clone(),
        action: "api_key.added".to_owned(),
        subject: key.name.clone(),
        before: None,
        after: Some(shown(key)?),
    })
}

/// The audit entry of a key that was revoked.
pub(crate) fn revoked(key: &ApiKey, origin: &Origin) -> Result<AuditEntry, Refusal> {
    Ok(AuditEntry {
        origin: origin.clone(),
        action: "api_key.revoked".to_owned(),
        subject: key.name.clone(),
        before: Some(shown(key)?),
        after: None,
    })
}
