//! StatusNotification (1.6): the status of a connector, with its error.

use crate::actions::Action;
use crate::model::ConnectorStatus;
use crate::project::charger::owned;
use crate::project::place::Place;
use crate::project::{Changes, Source, status};
use ocpp::v16;

pub(super) const ACTION: Action = Action {
    project,
    ..Action::plain("StatusNotification")
};

fn project(changes: &mut Changes, source: &Source<'_>) {
    let Ok(view) = v16::StatusNotification::read(source.record.payload) else {
        return;
    };
    let (Some(connector), Some(status)) = (view.connector_id, owned(view.status)) else {
        return;
    };
    if !Place::of_connector(Some(connector)).is_in_range() {
        return;
    }
    let status = ConnectorStatus {
        status,
        error_code: owned(view.error_code),
        info: owned(view.info),
        vendor_error_code: owned(view.vendor_error_code),
    };
    status::set(changes, source, (0, connector), view.timestamp, 0, status);
}
