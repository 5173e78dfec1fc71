//! The actions of OCPP 2.0.1 and 2.1.

mod authorize;
mod boot_notification;
mod certificates;
mod meter_values;
mod notify_event;
mod presented_token;
mod status_notification;
mod transaction_event;
mod vat_number_validation;

use super::{
    Action, Row, data_transfer, firmware_status_notification, heartbeat, sign_certificate, table,
};
use crate::answer::{Decision, Scene};
use crate::model::Boot;
use crate::project;
use certificates::{
    GET_15118_EV_CERTIFICATE, GET_CERTIFICATE_CHAIN_STATUS, GET_CERTIFICATE_STATUS,
};
use ocpp::Version;

/// What the payload of a BootNotification says of the charger.
pub(super) fn boot(payload: &str) -> Boot {
    boot_notification::read(payload)
}

/// OCPP 2.0.1, sorted by name.
pub(super) static TABLE_201: [Row; 25] = table(
    Version::V201,
    [
        authorize::ACTION,
        boot_notification::ACTION,
        Action::plain("ClearedChargingLimit"),
        data_transfer::ACTION,
        firmware_status_notification::ACTION,
        GET_15118_EV_CERTIFICATE,
        GET_CERTIFICATE_STATUS,
        heartbeat::ACTION,
        Action::plain("LogStatusNotification"),
        meter_values::ACTION,
        Action::plain("NotifyChargingLimit"),
        Action::by_content("NotifyCustomerInformation"),
        Action::by_content("NotifyDisplayMessages"),
        Action::refused("NotifyEVChargingNeeds", rejected),
        Action::answered("NotifyEVChargingSchedule", accepted),
        notify_event::ACTION,
        Action::by_content("NotifyMonitoringReport"),
        Action::by_content("NotifyReport"),
        Action::plain("PublishFirmwareStatusNotification"),
        Action::by_content("ReportChargingProfiles"),
        Action::plain("ReservationStatusUpdate"),
        Action::by_content("SecurityEventNotification"),
        sign_certificate::ACTION,
        status_notification::ACTION,
        transaction_event::ACTION,
    ],
);

/// OCPP 2.1, sorted by name.
pub(super) static TABLE_21: [Row; 37] = table(
    Version::V21,
    [
        authorize::ACTION,
        Action::plain("BatterySwap"),
        boot_notification::ACTION,
        Action::plain("ClearedChargingLimit"),
        Action::plain("ClosePeriodicEventStream"),
        data_transfer::ACTION,
        firmware_status_notification::ACTION,
        GET_15118_EV_CERTIFICATE,
        GET_CERTIFICATE_CHAIN_STATUS,
        GET_CERTIFICATE_STATUS,
        heartbeat::ACTION,
        Action::plain("LogStatusNotification"),
        meter_values::ACTION,
        Action::plain("NotifyChargingLimit"),
        Action::by_content("NotifyCustomerInformation"),
        Action::plain("NotifyDERAlarm"),
        Action::plain("NotifyDERStartStop"),
        Action::by_content("NotifyDisplayMessages"),
        Action::refused("NotifyEVChargingNeeds", no_charging_profile),
        Action::answered("NotifyEVChargingSchedule", accepted),
        notify_event::ACTION,
        Action::by_content("NotifyMonitoringReport"),
        Action::plain("NotifyPeriodicEventStream"),
        Action::plain("NotifyPriorityCharging"),
        Action::by_content("NotifyReport"),
        Action::plain("NotifySettlement"),
        Action::answered("OpenPeriodicEventStream", accepted),
        Action::plain("PublishFirmwareStatusNotification"),
        Action {
            project: project::nothing,
            ..Action::refused("PullDynamicScheduleUpdate", rejected)
        },
        Action::by_content("ReportChargingProfiles"),
        Action::by_content("ReportDERControl"),
        Action::plain("ReservationStatusUpdate"),
        Action::by_content("SecurityEventNotification"),
        sign_certificate::ACTION,
        status_notification::ACTION,
        transaction_event::ACTION,
        vat_number_validation::ACTION,
    ],
);

/// The message is recorded. `Accepted` promises no more: it says that the message was processed, and approves no schedule
/// (K15); the values of a stream are recorded as they come.
fn accepted(_: &Scene<'_>) -> Decision {
    Decision::Answer(r#"{"status":"Accepted"}"#.into())
}

/// The central system makes no charging schedules.
fn rejected(_: &Scene<'_>) -> Decision {
    Decision::Answer(r#"{"status":"Rejected"}"#.into())
}

/// The central system makes no charging schedules; 2.1 has a status for that.
fn no_charging_profile(_: &Scene<'_>) -> Decision {
    Decision::Answer(r#"{"status":"NoChargingProfile"}"#.into())
}
