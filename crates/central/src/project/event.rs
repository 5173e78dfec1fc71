//! Events: security events, monitor events, reports, and the status messages of uploads and installations.

use super::charger::owned;
use super::place::Place;
use super::{Changes, Source};
use crate::Timestamp;
use crate::model::EventRow;
use crate::natural_key::StableHasher;
use ocpp::json::Raw;

/// Domain of a row's hash; never change it, the hashes are stored.
const ROW_DOMAIN: &str = "wattpost event 1";

/// A message without a projection of its own: one row, with the members that most of these messages share.
pub(crate) fn other(changes: &mut Changes, source: &Source<'_>) {
    let (fields, at) = read(source);
    push(changes, source, at, fields, source.record.payload);
}

/// The members that most of these messages share, and the time of the event.
pub(crate) fn read(source: &Source<'_>) -> (EventFields, Timestamp) {
    let mut fields = EventFields::default();
    let mut at = None;
    let _ = Raw::new(source.record.payload).members(|name, value| match name {
        "type" | "status" | "eventType" | "reservationUpdateStatus" | "controlType" => {
            fields.name = owned(value.text());
        }
        "techInfo" | "info" => {
            fields.value = owned(value.text());
        }
        "timestamp" | "generatedAt" => at = value.timestamp(),
        "evseId" => fields.place.evse = value.integer(),
        "connectorId" => fields.place.connector = value.integer(),
        _ => {}
    });
    let at = source.effective(at);
    (fields, at)
}

#[derive(Debug, Default)]
pub(crate) struct EventFields {
    pub(crate) name: Option<String>,
    pub(crate) value: Option<String>,
    pub(crate) place: Place,
}

/// Adds a row.
pub(crate) fn push(
    changes: &mut Changes,
    source: &Source<'_>,
    at: Timestamp,
    fields: EventFields,
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
        name: fields.name,
        value: fields.value,
        evse: fields.place.evse,
        connector: fields.place.connector,
        data: data.to_owned(),
    });
}
