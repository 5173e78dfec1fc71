//! Rows of the directory: chargers that the operator has set. Enums are stored as their JSON strings.

use crate::refusal::Refusal;
use crate::state::or_leave_out;
use central::Timestamp;
use central::model::{AuditEntry, ChargerKey, CheckMode, CloseStyle, Origin, Registration};
use central::ports::ChargerProfile;
use central::running::RunningTransaction;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Display;

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
    let key = ChargerKey::of(&row.0);
    let columns = Columns::of(&row);
    let (charger_id, password_hash, version) = (row.1, row.3, row.7.cast_unsigned());
    let profile = ChargerProfile {
        charger_id,
        registration: columns.registration?,
        password_hash,
        check: columns.check?,
        frame_bytes_max: columns.frame_bytes_max?,
        close_style: columns.close_style?,
        label: row.8,
        site: row.9,
        group: row.10,
    };
    Ok((key, profile, version))
}

/// As [`profile`], with others: `None` and a line in the log if it cannot be read.
pub(crate) fn readable_profile(row: ProfileRow) -> Option<(ChargerKey, ChargerProfile)> {
    let whose = of_charger(&row.1);
    let (key, profile, _) = or_leave_out(profile(row), &whose)?;
    Some((key, profile))
}

/// A profile for a gateway, as far as it can be read. It is never left out, because a charger without one is one that
/// nobody has added, which `policy.unknown_charger` may admit without a password. A charger whose registration cannot be
/// read is pending: it keeps its connection and its messages, and nobody can charge.
pub(crate) fn gateway_profile(row: ProfileRow) -> (ChargerKey, ChargerProfile) {
    let whose = of_charger(&row.1);
    let columns = Columns::of(&row);
    let profile = ChargerProfile {
        registration: or_leave_out(columns.registration, &whose).unwrap_or(Registration::Pending),
        check: or_leave_out(columns.check, &whose).flatten(),
        frame_bytes_max: or_leave_out(columns.frame_bytes_max, &whose).flatten(),
        close_style: or_leave_out(columns.close_style, &whose).flatten(),
        charger_id: row.1,
        password_hash: row.3,
        label: row.8,
        site: row.9,
        group: row.10,
    };
    (ChargerKey::of(&row.0), profile)
}

fn of_charger(id: &str) -> String {
    format!("charger {id}")
}

/// The columns of a profile that are not stored as they are used.
struct Columns {
    registration: Result<Registration, Refusal>,
    check: Result<Option<CheckMode>, Refusal>,
    frame_bytes_max: Result<Option<u32>, Refusal>,
    close_style: Result<Option<CloseStyle>, Refusal>,
}

impl Columns {
    fn of((_, id, registration, _, check, frame_bytes_max, close_style, ..): &ProfileRow) -> Self {
        let whose = of_charger(id);
        let bytes = |bytes: i64| {
            u32::try_from(bytes).map_err(|_| {
                Refusal::corrupt(format!(
                    "the column frame_bytes_max of {whose} cannot be read: {bytes}"
                ))
            })
        };
        Self {
            registration: from_text(registration, "registration", &whose),
            check: optional(check.as_deref(), "check_mode", &whose),
            frame_bytes_max: frame_bytes_max.map(bytes).transpose(),
            close_style: optional(close_style.as_deref(), "close_style", &whose),
        }
    }
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

/// An enum from its JSON string, in this column of `whose`.
pub(crate) fn from_text<T: DeserializeOwned>(
    text: &str,
    column: &str,
    whose: &dyn Display,
) -> Result<T, Refusal> {
    serde_json::from_value(Value::String(text.to_owned())).map_err(|error| {
        Refusal::corrupt(format!(
            "the column {column} of {whose} cannot be read: {error}"
        ))
    })
}

/// As [`from_text`], of a column that may be empty.
pub(crate) fn optional<T: DeserializeOwned>(
    text: Option<&str>,
    column: &str,
    whose: &dyn Display,
) -> Result<Option<T>, Refusal> {
    text.map(|text| from_text(text, column, whose)).transpose()
}
