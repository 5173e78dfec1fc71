//! Rows of tokens. Enums are stored as their JSON strings.

use crate::directory::{entry, from_text, optional};
use crate::refusal::Refusal;
use crate::state::or_leave_out;
use central::Timestamp;
use central::model::{AuditEntry, ConcurrentTransactions, Origin, Token, TokenStatus};
use serde_json::to_value;

/// Key, id, status, milliseconds at which it expires, group, type, rule for several transactions, note.
pub(crate) type TokenRow = (
    String,
    String,
    String,
    Option<i64>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
);

/// The columns of a [`TokenRow`].
pub(crate) const COLUMNS: &str =
    "key, id, status, expires_at, group_id, token_type, concurrent, note";
/// The same for a gateway, which has no use for notes.
pub(crate) const COLUMNS_WITHOUT_NOTE: &str =
    "key, id, status, expires_at, group_id, token_type, concurrent, NULL";

/// A token with its key.
pub(crate) fn token(row: TokenRow) -> Result<(String, Token), Refusal> {
    let enums = enums(&row)?;
    Ok(with(enums, row))
}

/// As [`token`], with others: `None` and a line in the log if it cannot be read.
pub(crate) fn readable(row: TokenRow) -> Option<(String, Token)> {
    let whose = of_token(&row.1);
    or_leave_out(token(row), &whose)
}

/// A token for a gateway, as far as it can be read. It is never left out, because a token without one is one that nobody has
/// added, which `policy.unknown_token` and `policy.unknown_token_offline` may accept. A token that cannot be read is blocked.
pub(crate) fn gateway_token(row: TokenRow) -> (String, Token) {
    let enums = or_leave_out(enums(&row), &of_token(&row.1));
    with(enums.unwrap_or((TokenStatus::Blocked, None)), row)
}

fn of_token(id: &str) -> String {
    format!("token {id}")
}

/// The columns of a token that are not stored as they are used: its status and its rule for several transactions.
type Enums = (TokenStatus, Option<ConcurrentTransactions>);

fn enums((_, id, status, _, _, _, concurrent, _): &TokenRow) -> Result<Enums, Refusal> {
    let whose = of_token(id);
    let status = from_text(status, "status", &whose)?;
    let concurrent = optional(concurrent.as_deref(), "concurrent", &whose)?;
    Ok((status, concurrent))
}

fn with((status, concurrent): Enums, row: TokenRow) -> (String, Token) {
    let (key, id, _, expires_at, group_id, token_type, _, note) = row;
    let token = Token {
        id,
        status,
        expires_at: expires_at.map(Timestamp),
        group_id,
        token_type,
        concurrent,
        note,
    };
    (key, token)
}

/// The audit entry of a token that was set or removed.
pub(crate) fn token_entry(
    before: Option<&Token>,
    after: Option<&Token>,
    origin: &Origin,
) -> Result<AuditEntry, Refusal> {
    let shown = |token: Option<&Token>| {
        token
            .map(|token| to_value(token.view()))
            .transpose()
            .map_err(|error| Refusal::unreachable(error.to_string()))
    };
    Ok(entry(
        "token",
        after.or(before).map(|token| token.id.as_str()),
        shown(before)?,
        shown(after)?,
        origin,
    ))
}
