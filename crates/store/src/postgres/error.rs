//! Maps PostgreSQL's errors to what the caller does: wait and retry, merge again, or give this record up.

use crate::refusal::Refusal;
use central::ports::UnavailableKind;

/// Why a database cannot be used; waiting does not help. One sentence with the setting and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PostgresOpenError(pub(crate) String);

/// What to do about an error.
pub(crate) fn refusal(error: sqlx::Error) -> Refusal {
    let detail = detail(&error);
    let sqlx::Error::Database(database) = &error else {
        return match error {
            // The query cannot be encoded in PostgreSQL's protocol.
            sqlx::Error::Encode(_) | sqlx::Error::InvalidArgument(_) => Refusal::Poison(detail),
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Refusal::corrupt(detail),
            _ => Refusal::unreachable(detail),
        };
    };
    let code = database.code().unwrap_or_default().into_owned();
    match (code.get(..2), code.as_str()) {
        // A data exception, a violated constraint, an error raised by an operator's trigger, or a value too long
        // for an index: the row can never be stored.
        (Some("22" | "23"), _) | (_, "54000" | "P0001") => Refusal::Poison(detail),
        // Deadlock, serialization failure or lock timeout: a conflict with another session.
        (Some("40"), _) | (_, "55P03") => Refusal::unavailable(UnavailableKind::Locked, detail),
        // The statement ran out of time.
        (_, "57014") => Refusal::Late(detail),
        (_, "53100") => Refusal::unavailable(UnavailableKind::Full, detail),
        (_, "25006") => Refusal::unavailable(UnavailableKind::ReadOnly, detail),
        // No such table, schema or function.
        (_, "42P01" | "3F000" | "42883") => {
            Refusal::unreachable(format!("{detail}; run `wattpost migrate`"))
        }
        (_, "42501") => Refusal::unreachable(format!(
            "{detail}; grant the role what docs/database.md lists"
        )),
        (Some("XX"), _) => Refusal::corrupt(detail),
        _ => Refusal::unreachable(detail),
    }
}

/// The server's message with its SQLSTATE.
pub(crate) fn detail(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(database) => format!(
            "{} ({})",
            database.message(),
            database.code().unwrap_or_default()
        ),
        other => other.to_string(),
    }
}

/// The SQLSTATE, if the server sent one.
pub(crate) fn code(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(database) => database.code().unwrap_or_default().into_owned(),
        _ => String::new(),
    }
}
