//! Rows of the directory: chargers that the operator has set. Enums are stored as their JSON strings.

use crate::refusal::Refusal;
use central::Timestamp;
use central::model::{AuditEntry, ChargerKey, Origin};
use central::ports::ChargerProfile;
use central::running::RunningTransaction;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Key, identity, registration, password hash, check mode, bytes of a message at most, close style, version, label, site, group.
pub(crate) type ProfileRow = (
    String,
    String,
    String,
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<String>,
    i64,
    Option<String>,
    Option<String>,
    Option<String>,
);

/// The columns of a [`ProfileRow`].
pub(crate) const PROFILE_COLUMNS: &str = "key, id, registration, password_hash, check_mode, frame_bytes_max, close_style, version, label, site, charger_group";
/// The same for a gateway, which has no use for label, site and group.
pub(crate) const GATEWAY_COLUMNS: &str = "key, id, registration, password_hash, check_mode, frame_bytes_max, close_style, version, NULL, NULL, NULL";

/// A profile with its key and its version.
pub(crate) fn profile(row: ProfileRow) -> Result<(ChargerKey, ChargerProfile, u64), Refusal> {
    let (
        key,
        charger_id,
        registration,
        password_hash,
        check,
        frame_bytes_max,
        close_style,
        version,
        label,
        site,
        group,
    ) = row;
    let profile = ChargerProfile {
        charger_id,
        registration: from_text(registration)?,
        password_hash,
        check: check.map(from_text).transpose()?,
        frame_bytes_max: frame_bytes_max
            .map(|bytes| u32::try_from(bytes).map_err(|error| Refusal::corrupt(error.to_string())))
            .transpose()?,
        close_style: close_style.map(from_text).transpose()?,
        label,
        site,
        group,
    };
    Ok((ChargerKey::of(&key), profile, version.cast_unsigned()))
}

/// Token key, charger key, id on the wire, place, milliseconds of the start of an open transaction.
pub(crate) type RunningRow = (String, String, String, Option<i64>, i64);

/// An open transaction of a token that may be in one only.
pub(crate) fn running(
    (token, charger, transaction_id, place, began_at): RunningRow,
) -> RunningTransaction {
    RunningTransaction {
        token,
        charger: ChargerKey::of(&charger),
        transaction_id,
        place,
        began_at: Timestamp(began_at),
    }
}

/// The audit entry of a charger whose settings were set or removed. It never has the password, nor its hash.
pub(crate) fn charger_entry(
    before: Option<&ChargerProfile>,
    after: Option<&ChargerProfile>,
    origin: &Origin,
) -> AuditEntry {
    let has_new_password = match (before, after) {
        (Some(before), Some(after)) => before.password_hash != after.password_hash,
        (None, Some(after)) => after.password_hash.is_some(),
        (_, None) => false,
    };
    let shown = |profile: &ChargerProfile| {
        json!({
            "charger_id": profile.charger_id,
            "admission": profile.registration,
            "has_password": profile.password_hash.is_some(),
            "check": profile.check,
            "frame_bytes_max": profile.frame_bytes_max,
            "close_style": profile.close_style,
            "label": profile.label,
            "site": profile.site,
            "group": profile.group,
        })
    };
    let mut after_shown = after.map(shown);
    if let Some(shown) = &mut after_shown {
        shown["password_changed"] = json!(has_new_password);
    }
    entry(
        "charger",
        after.or(before).map(|profile| profile.charger_id.as_str()),
        before.map(shown),
        after_shown,
        origin,
    )
}

/// The audit entry of something that was set or removed.
pub(crate) fn entry(
    kind: &str,
    subject: Option<&str>,
    before: Option<Value>,
    after: Option<Value>,
    origin: &Origin,
) -> AuditEntry {
    let done = if after.is_some() { "set" } else { "removed" };
    AuditEntry {
        origin: origin.clone(),
        action: format!("{kind}.{done}"),
        subject: subject.unwrap_or_default().to_owned(),
        before,
        after,
    }
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
