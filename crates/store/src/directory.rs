//! Rows of the directory: chargers and tokens that the operator has set. Enums are stored as their JSON strings.

use crate::refusal::Refusal;
use central::Timestamp;
use central::model::ChargerKey;
use central::ports::{ChargerProfile, Token};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Key, identity, registration, password hash, check mode.
pub(crate) type ProfileRow = (String, String, String, Option<String>, Option<String>);

/// Key, id, status, milliseconds at which it expires, group.
pub(crate) type TokenRow = (String, String, String, Option<i64>, Option<String>);

/// The key of a token: ids are compared without regard to case.
pub(crate) fn token_key(id: &str) -> String {
    id.to_lowercase()
}

/// A profile with its key.
pub(crate) fn profile(
    (key, charger_id, registration, password_hash, check): ProfileRow,
) -> Result<(ChargerKey, ChargerProfile), Refusal> {
    let profile = ChargerProfile {
        charger_id,
        registration: from_text(registration)?,
        password_hash,
        check: check.map(from_text).transpose()?,
    };
    Ok((ChargerKey::of(&key), profile))
}

/// A token with its key.
pub(crate) fn token(
    (key, id, status, expires_at, group_id): TokenRow,
) -> Result<(String, Token), Refusal> {
    let token = Token {
        id,
        status: from_text(status)?,
        expires_at: expires_at.map(Timestamp),
        group_id,
    };
    Ok((key, token))
}

/// An enum as its JSON string.
pub(crate) fn to_text<T: Serialize>(value: T) -> Result<String, Refusal> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => Ok(text),
        other => Err(Refusal::unreachable(format!(
            "not a JSON string: {other:?}"
        ))),
    }
}

/// An enum from its JSON string.
pub(crate) fn from_text<T: DeserializeOwned>(text: String) -> Result<T, Refusal> {
    serde_json::from_value(serde_json::Value::String(text))
        .map_err(|error| Refusal::corrupt(error.to_string()))
}
