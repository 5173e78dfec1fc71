//! BootNotification (1.6): what the charger reports about itself.

use crate::actions::{Action, boot_notification};
use crate::model::Boot;
use crate::project::charger::owned;
use crate::project::{Changes, Source};
use ocpp::v16;

pub(super) const ACTION: Action = boot_notification::action(project);

fn project(changes: &mut Changes, source: &Source<'_>) {
    boot_notification::project(changes, source, read(source.record.payload));
}

pub(super) fn read(payload: &str) -> Boot {
    let view = v16::BootNotification::read(payload).unwrap_or_default();
    Boot {
        vendor: owned(view.charge_point_vendor),
        model: owned(view.charge_point_model),
        serial: owned(
            view.charge_point_serial_number
                .or(view.charge_box_serial_number),
        ),
        firmware: owned(view.firmware_version),
        iccid: owned(view.iccid),
        imsi: owned(view.imsi),
        meter_type: owned(view.meter_type),
        meter_serial: owned(view.meter_serial_number),
        reason: None,
        answered: None,
    }
}
