//! What happened: security events, monitor events, reports, and every status of a lengthy errand.

use super::charger::{firmware_status, owned};
use super::place::Place;
use super::{Changes, Source, status};
use crate::Timestamp;
use crate::model::{ConnectorStatus, EventRow};
use crate::natural_key::StableHasher;
use ocpp::json::Raw;
use ocpp::v2;

/// Where a row's hash comes from; never change, the hashes are stored.
const ROW_DOMAIN: &str = "wattpost event 1";

/// `NotifyEvent`: a row per event; the availability of connectors is their status (N-4).
pub(crate) fn notify_event(changes: &mut Changes, source: &Source<'_>) {
    let payload = source.record.payload;
    let Ok(view) = v2::NotifyEvent::read(payload) else {
        return;
    };
    let texts = event_texts(payload);
    for (part, (event, data)) in view.event_data.iter().zip(texts).enumerate() {
        let at = source.effective(event.timestamp.or(view.generated_at));
        let place = Place::of_evse(event.evse);
        let component = event.component.as_deref().unwrap_or("");
        let variable = event.variable.as_deref().unwrap_or("");
        let value = owned(event.actual_value.clone());
        if variable == "AvailabilityState"
            && let Some(place) = available_place(component, place)
            && let Some(state) = &value
        {
            let state = ConnectorStatus {
                status: state.clone(),
                ..ConnectorStatus::default()
            };
            status::set(changes, source, place, source.stamp(at, part), state);
        }
        let name = match (component, variable) {
            ("", "") => None,
            (component, variable) => Some(format!("{component}.{variable}")),
        };
        push(changes, source, at, Told { name, value, place }, data);
    }
}

/// (EVSE, connector) whose availability is told.
fn available_place(component: &str, place: Place) -> Option<(i64, i64)> {
    match component {
        "ChargingStation" => Some((0, 0)),
        "EVSE" => place.evse.map(|evse| (evse, 0)),
        "Connector" => place.evse.map(|evse| (evse, place.connector.unwrap_or(0))),
        _ => None,
    }
}

/// The raw text of each event, in the order in which the typed view has them.
fn event_texts(payload: &str) -> Vec<&str> {
    let mut texts = Vec::new();
    let _ = Raw::new(payload).members(|name, value| {
        if name == "eventData" {
            texts.clear();
            let _ = value.items(|item| {
                if item.is_object() {
                    texts.push(item.as_str());
                }
            });
        }
    });
    texts
}

/// Everything else that chargers tell: one row, with what most of these messages have in common.
pub(crate) fn other(changes: &mut Changes, source: &Source<'_>) {
    let record = source.record;
    let mut told = Told::default();
    let mut at = None;
    let _ = Raw::new(record.payload).members(|name, value| match name {
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
    let is_firmware = matches!(
        record.action,
        "FirmwareStatusNotification" | "SignedFirmwareStatusNotification"
    );
    if is_firmware && let Some(status) = &told.name {
        firmware_status(changes, source, at, status);
    }
    push(changes, source, at, told, record.payload);
}

#[derive(Debug, Default)]
struct Told {
    name: Option<String>,
    value: Option<String>,
    place: Place,
}

fn push(changes: &mut Changes, source: &Source<'_>, at: Timestamp, told: Told, data: &str) {
    let kind = source.record.action;
    let mut hasher = StableHasher::new(ROW_DOMAIN);
    hasher.add(kind).add(data);
    changes.events.push(EventRow {
        charger: source.charger.to_owned(),
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
