//! `NotifyEvent` (2.x): a row per event; the availability of a connector is its status (N-4).

use crate::actions::{Action, Repeats};
use crate::model::ConnectorStatus;
use crate::project::charger::owned;
use crate::project::event::{EventFields, push};
use crate::project::place::Place;
use crate::project::{Changes, Source, status};
use ocpp::json::Raw;
use ocpp::v2;

pub(super) const ACTION: Action = Action {
    project,
    repeats: Repeats::Content,
    ..Action::plain("NotifyEvent")
};

fn project(changes: &mut Changes, source: &Source<'_>) {
    let payload = source.record.payload;
    let Ok(view) = v2::NotifyEvent::read(payload) else {
        return;
    };
    let texts = event_texts(payload);
    for (part, (event, data)) in view.event_data.iter().zip(texts).enumerate() {
        let reported = event.timestamp.or(view.generated_at);
        let at = source.effective(reported);
        let place = Place::of_evse(event.evse);
        let component = event.component.as_deref().unwrap_or("");
        let variable = event.variable.as_deref().unwrap_or("");
        let value = owned(event.actual_value.clone());
        if variable.eq_ignore_ascii_case("AvailabilityState")
            && place.is_in_range()
            && let Some(place) = available_place(component, place)
            && let Some(state) = &value
        {
            let state = ConnectorStatus {
                status: state.clone(),
                ..ConnectorStatus::default()
            };
            status::set(changes, source, place, reported, part, state);
        }
        let name = match (component, variable) {
            ("", "") => None,
            (component, variable) => Some(format!("{component}.{variable}")),
        };
        push(
            changes,
            source,
            at,
            EventFields { name, value, place },
            data,
        );
    }
}

/// The (EVSE, connector) whose availability is reported. Names of components and variables are of the type
/// identifierString, which ignores letter case.
fn available_place(component: &str, place: Place) -> Option<(i64, i64)> {
    if component.eq_ignore_ascii_case("ChargingStation") {
        Some((0, 0))
    } else if component.eq_ignore_ascii_case("EVSE") {
        place.evse.map(|evse| (evse, 0))
    } else if component.eq_ignore_ascii_case("Connector") {
        place.evse.map(|evse| (evse, place.connector.unwrap_or(0)))
    } else {
        None
    }
}

/// The raw text of each event, in the order of the typed view.
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
