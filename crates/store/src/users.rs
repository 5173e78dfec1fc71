//! Rows of the local users, and their entries in the audit log.

use crate::admins;
use crate::audit::shown;
use crate::directory::from_text;
use crate::refusal::Refusal;
use central::Timestamp;
use central::model::{AuditEntry, Origin, User, UserPasswordHash};
use uuid::Uuid;

/// Id, name, hash of the password, scope, and the milliseconds of the addition, of the disabling, of the password and of the
/// latest sign-in.
pub(crate) type UserRow = (
    Uuid,
    String,
    String,
    String,
    i64,
    Option<i64>,
    i64,
    Option<i64>,
);

/// A user with the hash of the password.
pub(crate) fn user(
    (id, name, password, scope, created_at, disabled_at, changed_at, signed_in_at): UserRow,
) -> Result<(User, UserPasswordHash), Refusal> {
    let scope = from_text(&scope, "scope", &format_args!("user {name}"))?;
    let user = User {
        id,
        name,
        scope,
        created_at: Timestamp(created_at),
        disabled_at: disabled_at.map(Timestamp),
        password_changed_at: Timestamp(changed_at),
        last_sign_in_at: signed_in_at.map(Timestamp),
    };
    Ok((user, UserPasswordHash::from_text(password)))
}

/// The users of these rows. One that cannot be read is left out and cannot sign in.
///
/// # Errors
/// When there are users and none can be read.
pub(crate) fn readable(rows: Vec<UserRow>) -> Result<Vec<(User, UserPasswordHash)>, Refusal> {
    admins::readable(rows, "user", |row| row.1.clone(), user)
}

/// The entry for a change of a user: `before` and `after` are `None` where the user does not exist.
pub(crate) fn entry(
    before: Option<&User>,
    after: Option<&User>,
    origin: &Origin,
) -> Result<AuditEntry, Refusal> {
    let action = match (before, after) {
        (None, _) => "user.added",
        (_, None) => "user.removed",
        _ => "user.changed",
    };
    let subject = before.or(after).map(|user| user.name.clone());
    Ok(AuditEntry {
        origin: origin.clone(),
        action: action.to_owned(),
        subject: subject.unwrap_or_default(),
        before: before.map(shown).transpose()?,
        after: after.map(shown).transpose()?,
    })
}
