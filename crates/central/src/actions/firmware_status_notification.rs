//! `FirmwareStatusNotification`, and its signed form in 1.6: an event, and the charger's firmware status.

use super::Action;
use crate::project::{Changes, Source, charger, event};

pub(super) const ACTION: Action = action("FirmwareStatusNotification");
/// Of the security whitepaper (1.6).
pub(super) const SIGNED: Action = action("SignedFirmwareStatusNotification");

const fn action(name: &'static str) -> Action {
    Action {
        project,
        ..Action::plain(name)
    }
}

fn project(changes: &mut Changes, source: &Source<'_>) {
    let (fields, at) = event::read(source);
    if let Some(status) = &fields.name {
        charger::firmware_status(changes, source, at, status);
    }
    event::push(changes, source, at, fields, source.record.payload);
}
