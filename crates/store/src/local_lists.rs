//! Rows of local lists. Wishes, progress and contents are stored as JSON.

use crate::directory::entry;
use crate::refusal::Refusal;
use crate::state::or_leave_out;
use central::local_list::{LocalList, Wish};
use central::model::{AuditEntry, ChargerKey, Origin};
use central::query::Place;
use central::{Record, RecordId, RecordKind, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::to_value;
use std::collections::BTreeMap;
use std::fmt::Display;

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
    let whose = format!("the local list of charger {charger_id}");
    Ok(LocalList {
        charger: ChargerKey::of(&key),
        charger_id,
        wish: from_json(&wish, &format_args!("the wish for {whose}"))?,
        wished_at: Timestamp(wished_at),
        progress: from_json(&progress, &format_args!("the progress of {whose}"))?,
        revision: revision.cast_unsigned(),
    })
}

/// As [`list`], with others: its place, and `None` and a line in the log if it cannot be read.
pub(crate) fn listed(row: ListRow) -> (Place, Option<LocalList>) {
    let place = Place::Charger(ChargerKey::of(&row.0));
    let whose = format!("local list of charger {}", row.1);
    (place, or_leave_out(list(row), &whose))
}

pub(crate) fn to_json<T: Serialize>(value: &T) -> Result<String, Refusal> {
    serde_json::to_string(value).map_err(|error| Refusal::unreachable(error.to_string()))
}

fn from_json<T: DeserializeOwned>(text: &str, what: &dyn Display) -> Result<T, Refusal> {
    serde_json::from_str(text)
        .map_err(|error| Refusal::corrupt(format!("{what} cannot be read: {error}")))
}

/// The wish of this key.
pub(crate) fn read_wish(key: &str, text: &str) -> Result<Wish, Refusal> {
    from_json(text, &wish_of_key(key))
}

/// As [`read_wish`], to remove it: `None` and a line in the log if it cannot be read.
pub(crate) fn removable_wish(key: &str, text: &str) -> Option<Wish> {
    or_leave_out(read_wish(key, text), &wish_of_key(key))
}

fn wish_of_key(key: &str) -> String {
    match key {
        EVERY => "the wish for the local lists of all chargers".to_owned(),
        key => format!("the wish for the local list of charger {key}"),
    }
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
