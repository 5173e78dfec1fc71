//! MeterValues (2.x): outside transactions.

use crate::actions::Action;
use crate::project::meter;
use crate::project::place::Place;
use crate::project::{Changes, Source};
use ocpp::v2;

pub(super) const ACTION: Action = Action {
    project,
    // J01.FR.18: no check of the values may prevent the answer.
    is_never_refused: true,
    ..Action::plain("MeterValues")
};

fn project(changes: &mut Changes, source: &Source<'_>) {
    let Ok(view) = v2::MeterValues::read(source.record.payload) else {
        return;
    };
    let place = Place {
        evse: view.evse_id,
        connector: None,
    };
    meter::rows(
        changes,
        source,
        "meterValue",
        &view.meter_value,
        place,
        None,
    );
}
