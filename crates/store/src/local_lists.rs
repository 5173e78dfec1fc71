//! Rows of local lists. Wishes, progress and contents are stored as JSON.

use crate::directory::entry;
use crate::refusal::Refusal;
use central::local_list::{LocalList, Wish};
use central::model::{AuditEntry, ChargerKey, Origin};
use central::{Record, RecordId, RecordKind, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::to_value;
use std::collections::BTreeMap;

/// Key, id, wish, when it was made, progress, revision.
pub(crate) type ListRow = (String, String, String, i64, String, i64);

/// The columns of a [`ListRow`], from [`FROM`].
pub(crate) const COLUMNS: &str = "l.charger_key, l.charger_id, coalesce(w.wish, d.wish), \
     coalesce(w.wished_at, d.wished_at), l.progress, l.revision";

/// Lists with the wish of the charger (`w`) and the wish of all chargers without one (`d`).
pub(crate) const FROM: &str = "local_lists l \
     LEFT JOIN local_list_wishes w ON w.charger_key = l.charger_key \
     LEFT JOIN local_list_wishes d ON d.charger_key = ''";

/// Lists for which a wish holds.
pub(crate) const WISHED: &str = "coalesce(w.wish, d.wish) IS NOT NULL";

/// The key of the wish of all chargers without one of their own. No charger has an empty identity.
pub(crate) const EVERY: &str = "";

pub(crate) fn list(row: ListRow) -> Result<LocalList, Refusal> {
    let (key, charger_id, wish, wished_at, progress, revision) = row;
    Ok(LocalList {
        charger: ChargerKey::of(&key),
        charger_id,
        wish: from_json(&wish)?,
        wished_at: Timestamp(wished_at),
        progress: from_json(&progress)?,
        revision: revision.cast_unsigned(),
    })
}

pub(crate) fn to_json<T: Serialize>(value: &T) -> Result<String, Refusal> {
    serde_json::to_string(value).map_err(|error| Refusal::unreachable(error.to_string()))
}

pub(crate) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, Refusal> {
    serde_json::from_str(text).map_err(|error| Refusal::corrupt(error.to_string()))
}

/// The phase as it is stored.
pub(crate) fn phase_text(list: &LocalList) -> &'static str {
    list.progress.phase.as_str()
}

/// The audit entry of a wish that was set or removed. The subject of the wish of all chargers is `*`.
pub(crate) fn wish_entry(
    charger_id: Option<&str>,
    before: Option<&Wish>,
    after: Option<&Wish>,
    origin: &Origin,
) -> Result<AuditEntry, Refusal> {
    let shown = |wish: Option<&Wish>| {
        wish.map(to_value)
            .transpose()
            .map_err(|error| Refusal::unreachable(error.to_string()))
    };
    Ok(entry(
        "local_list",
        Some(charger_id.unwrap_or("*")),
        shown(before)?,
        shown(after)?,
        origin,
    ))
}

/// The states in which a list waits for a change of the tokens.
pub(crate) const WAITS_FOR_TOKENS: &str = "('in_sync', 'rejected', 'too_long')";

/// Chargers that these records say have connected, each with the earliest time, in the order of their keys: two writers
/// then lock rows in the same order.
pub(crate) fn connected(records: &[(RecordId, Record<'_>)]) -> BTreeMap<String, Timestamp> {
    let mut connected = BTreeMap::new();
    for (_, record) in records {
        if record.kind == RecordKind::Connected && !record.charger_id.is_empty() {
            let key = ChargerKey::of(record.charger_id);
            let at = connected
                .entry(key.as_str().to_owned())
                .or_insert(record.received_at);
            *at = record.received_at.min(*at);
        }
    }
    connected
}
