//! BootNotification (2.x): what the charger reports about itself.

use crate::actions::{Action, boot_notification};
use crate::model::Boot;
use crate::project::charger::owned;
use crate::project::{Changes, Source};
use ocpp::v2;

pub(super) const ACTION: Action = boot_notification::action(project);

fn project(changes: &mut Changes, source: &Source<'_>) {
    boot_notification::project(changes, source, read(source.record.payload));
}

pub(super) fn read(payload: &str) -> Boot {
    let view = v2::BootNotification::read(payload).unwrap_or_default();
    Boot {
        vendor: owned(view.vendor_name),
        model: owned(view.model),
        serial: owned(view.serial_number),
        firmware: owned(view.firmware_version),
        iccid: owned(view.iccid),
        imsi: owned(view.imsi),
        meter_type: None,
        meter_serial: None,
        reason: owned(view.reason),
        answered: None,
    }
}
