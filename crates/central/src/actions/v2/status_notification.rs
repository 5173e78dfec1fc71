//! StatusNotification (2.x): the status of a connector.

use crate::actions::Action;
use crate::model::ConnectorStatus;
use crate::project::charger::owned;
use crate::project::place::Place;
use crate::project::{Changes, Source, status};
use ocpp::v2;

pub(super) const ACTION: Action = Action {
    project,
    ..Action::plain("StatusNotification")
};

fn project(changes: &mut Changes, source: &Source<'_>) {
    let Ok(view) = v2::StatusNotification::read(source.record.payload) else {
        return;
    };
    let (Some(evse), Some(status)) = (view.evse_id, owned(view.connector_status)) else {
        return;
    };
    let status = ConnectorStatus {
        status,
        ..ConnectorStatus::default()
    };
    let place = (evse, view.connector_id.unwrap_or(0));
    if !Place::of_evse_and_connector(place).is_in_range() {
        return;
    }
    status::set(changes, source, place, view.timestamp, 0, status);
}
