//! The actions of OCPP 1.6, with the messages of the security whitepaper.

mod authorize;
mod boot_notification;
mod id_tag;
mod meter_values;
pub(crate) mod start_transaction;
mod status_notification;
mod stop_transaction;

use super::{
    Action, Row, data_transfer, firmware_status_notification, heartbeat, sign_certificate, table,
};
use crate::model::Boot;
use ocpp::Version;

/// What the payload of a BootNotification says of the charger.
pub(super) fn boot(payload: &str) -> Boot {
    boot_notification::read(payload)
}

/// Sorted by name.
pub(super) static TABLE: [Row; 14] = table(
    Version::V16,
    [
        authorize::ACTION,
        boot_notification::ACTION,
        data_transfer::ACTION,
        Action::plain("DiagnosticsStatusNotification"),
        firmware_status_notification::ACTION,
        heartbeat::ACTION,
        Action::plain("LogStatusNotification"),
        meter_values::ACTION,
        Action::by_content("SecurityEventNotification"),
        sign_certificate::ACTION,
        firmware_status_notification::SIGNED,
        start_transaction::ACTION,
        status_notification::ACTION,
        stop_transaction::ACTION,
    ],
);
