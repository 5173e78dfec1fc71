//! Events: security events, monitor events, reports, and the status messages of uploads and installations.

use super::charger::owned;
use super::place::Place;
use super::{Changes, Source};
use crate::Timestamp;
use crate::model::EventRow;
use crate::natural_key::StableHasher;
use ocpp::json::Raw;

/// Where a row's hash comes from; never change, the hashes are stored.
const ROW_DOMAIN: &str = "wattpost event 1";

/// A message without a projection of its own: one row, with the members that most of these messages share.
pub(crate) fn other(changes: &mut Changes, source: &Source<'_>) {
    let (told, at) = read(source);
    push(changes, source, at, told, source.record.payload);
}

/// What a message says in the members that most of these messages share, and when.
pub(crate) fn read(source: &Source<'_>) -> (Told, Timestamp) {
    let mut told = Told::default();
    let mut at = None;
    let _ = Raw::new(source.record.payload).members(|name, value| match name {
        "type" | "status" | "eventType" | "reservationUpdateStatus" | "controlType" => {
            told.name = owned(value.text());
        }
        "techInfo" | "info" => {
            told.value = owned(value.text());
        }
        "timestamp" | "generatedAt" => at = value.timestamp(),
        "evseId" => told.place.evse = value.integer(),
        "connectorId" => told.place.connector = value.integer(),
        _ => {}
    });
    let at = source.effective(at);
    (told, at)
}

#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) name: Option<String>,
    pub(crate) value: Option<String>,
    pub(crate) place: Place,
}

/// Adds a row.
pub(crate) fn push(
    changes: &mut Changes,
    source: &Source<'_>,
    at: Timestamp,
    told: Told,
    data: &str,
) {
    let kind = source.record.action;
    let mut hasher = StableHasher::new(ROW_DOMAIN);
    hasher.add(kind).add(data);
    changes.events.push(EventRow {
        charger: source.charger.clone(),
        at,
        key_hash: hasher.finish_u64().cast_signed(),
        kind: kind.to_owned(),
        name: told.name,
        value: told.value,
        evse: told.place.evse,
        connector: told.place.connector,
        data: data.to_owned(),
    });
}
