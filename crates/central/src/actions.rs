//! What the central system does with each action that a charger may send: one row per action and version.
//!
//! The stages (answer, projection) look their part up here; a new meaning of an action begins with its row.

use crate::answer::{self, Decision, Scene, registration, v2, v16};
use crate::project::{self, Changes, Source, charger, event, meter, status, transaction};
use ocpp::Version;

/// One action of one version.
pub(crate) struct Action {
    /// The name on the wire, case-sensitive (F-4).
    name: &'static str,
    /// The answer to a call. Unused for a SEND, which has none.
    pub(crate) answer: fn(&Scene<'_>) -> Decision,
    /// What an accepted message changes in the projections.
    pub(crate) project: fn(&mut Changes, &Source<'_>),
}

const fn row(
    name: &'static str,
    answer: fn(&Scene<'_>) -> Decision,
    project: fn(&mut Changes, &Source<'_>),
) -> Action {
    Action {
        name,
        answer,
        project,
    }
}

/// The row of this action; `None` when a charger may not send it in this version.
pub(crate) fn find(version: Version, name: &str) -> Option<&'static Action> {
    let rows = all(version);
    let found = rows.binary_search_by(|row| row.name.cmp(name)).ok()?;
    rows.get(found)
}

/// All rows of a version, sorted by name.
fn all(version: Version) -> &'static [Action] {
    match version {
        Version::V16 => &V16,
        Version::V201 => &V201,
        Version::V21 => &V21,
    }
}

/// OCPP 1.6 with the messages of the security whitepaper.
static V16: [Action; 14] = [
    row("Authorize", v16::authorize, project::nothing),
    row(
        "BootNotification",
        registration::boot_notification,
        charger::boot,
    ),
    row("DataTransfer", answer::data_transfer, project::nothing),
    row("DiagnosticsStatusNotification", answer::empty, event::other),
    row("FirmwareStatusNotification", answer::empty, event::other),
    row("Heartbeat", registration::heartbeat, project::nothing),
    row("LogStatusNotification", answer::empty, event::other),
    row("MeterValues", answer::empty, transaction::meter_values),
    row("SecurityEventNotification", answer::empty, event::other),
    row(
        "SignCertificate",
        answer::sign_certificate,
        project::nothing,
    ),
    row(
        "SignedFirmwareStatusNotification",
        answer::empty,
        event::other,
    ),
    row(
        "StartTransaction",
        v16::start_transaction,
        transaction::start,
    ),
    row("StatusNotification", answer::empty, status::v16),
    row("StopTransaction", answer::empty, transaction::stop),
];

/// OCPP 2.0.1.
static V201: [Action; 25] = [
    row("Authorize", v2::authorize, project::nothing),
    row(
        "BootNotification",
        registration::boot_notification,
        charger::boot,
    ),
    row("ClearedChargingLimit", answer::empty, event::other),
    row("DataTransfer", answer::data_transfer, project::nothing),
    row("FirmwareStatusNotification", answer::empty, event::other),
    row(
        "Get15118EVCertificate",
        v2::get_15118_ev_certificate,
        project::nothing,
    ),
    row(
        "GetCertificateStatus",
        v2::get_certificate_status,
        project::nothing,
    ),
    row("Heartbeat", registration::heartbeat, project::nothing),
    row("LogStatusNotification", answer::empty, event::other),
    row("MeterValues", answer::empty, meter::v2),
    row("NotifyChargingLimit", answer::empty, event::other),
    row("NotifyCustomerInformation", answer::empty, event::other),
    row("NotifyDisplayMessages", answer::empty, event::other),
    row("NotifyEVChargingNeeds", v2::rejected, event::other),
    row("NotifyEVChargingSchedule", v2::accepted, event::other),
    row("NotifyEvent", answer::empty, event::notify_event),
    row("NotifyMonitoringReport", answer::empty, event::other),
    row("NotifyReport", answer::empty, event::other),
    row(
        "PublishFirmwareStatusNotification",
        answer::empty,
        event::other,
    ),
    row("ReportChargingProfiles", answer::empty, event::other),
    row("ReservationStatusUpdate", answer::empty, event::other),
    row("SecurityEventNotification", answer::empty, event::other),
    row(
        "SignCertificate",
        answer::sign_certificate,
        project::nothing,
    ),
    row("StatusNotification", answer::empty, status::v2),
    row(
        "TransactionEvent",
        v2::transaction_event,
        transaction::event,
    ),
];

/// OCPP 2.1.
static V21: [Action; 37] = [
    row("Authorize", v2::authorize, project::nothing),
    row("BatterySwap", answer::empty, event::other),
    row(
        "BootNotification",
        registration::boot_notification,
        charger::boot,
    ),
    row("ClearedChargingLimit", answer::empty, event::other),
    row("ClosePeriodicEventStream", answer::empty, event::other),
    row("DataTransfer", answer::data_transfer, project::nothing),
    row("FirmwareStatusNotification", answer::empty, event::other),
    row(
        "Get15118EVCertificate",
        v2::get_15118_ev_certificate,
        project::nothing,
    ),
    row(
        "GetCertificateChainStatus",
        v2::get_certificate_chain_status,
        project::nothing,
    ),
    row(
        "GetCertificateStatus",
        v2::get_certificate_status,
        project::nothing,
    ),
    row("Heartbeat", registration::heartbeat, project::nothing),
    row("LogStatusNotification", answer::empty, event::other),
    row("MeterValues", answer::empty, meter::v2),
    row("NotifyChargingLimit", answer::empty, event::other),
    row("NotifyCustomerInformation", answer::empty, event::other),
    row("NotifyDERAlarm", answer::empty, event::other),
    row("NotifyDERStartStop", answer::empty, event::other),
    row("NotifyDisplayMessages", answer::empty, event::other),
    row(
        "NotifyEVChargingNeeds",
        v2::no_charging_profile,
        event::other,
    ),
    row("NotifyEVChargingSchedule", v2::accepted, event::other),
    row("NotifyEvent", answer::empty, event::notify_event),
    row("NotifyMonitoringReport", answer::empty, event::other),
    row("NotifyPeriodicEventStream", answer::empty, event::other),
    row("NotifyPriorityCharging", answer::empty, event::other),
    row("NotifyReport", answer::empty, event::other),
    row("NotifySettlement", answer::empty, event::other),
    row("OpenPeriodicEventStream", v2::accepted, event::other),
    row(
        "PublishFirmwareStatusNotification",
        answer::empty,
        event::other,
    ),
    row("PullDynamicScheduleUpdate", v2::rejected, project::nothing),
    row("ReportChargingProfiles", answer::empty, event::other),
    row("ReportDERControl", answer::empty, event::other),
    row("ReservationStatusUpdate", answer::empty, event::other),
    row("SecurityEventNotification", answer::empty, event::other),
    row(
        "SignCertificate",
        answer::sign_certificate,
        project::nothing,
    ),
    row("StatusNotification", answer::empty, status::v2),
    row(
        "TransactionEvent",
        v2::transaction_event,
        transaction::event,
    ),
    row(
        "VatNumberValidation",
        v2::vat_number_validation,
        project::nothing,
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_action_that_a_charger_may_send_has_one_row_and_no_row_is_without_action() {
        for version in Version::ALL {
            let rows: Vec<_> = all(version).iter().map(|row| row.name).collect();
            let sent: Vec<_> = ocpp::action::all(version)
                .iter()
                .filter(|info| info.is_to_central())
                .map(|info| info.name)
                .collect();
            assert_eq!(rows, sent, "{version}");
        }
    }
}
