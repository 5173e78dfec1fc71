//! The table of the actions that a central system may send: one row per action and version.

use super::Answer;
use crate::charger::Charger;
use crate::timestamp::TimestampUs;
use ocpp::Version;
use serde_json::Value;

/// Carries a command out and gives its answer. The payload conforms to the request's schema.
pub(super) type Handler = fn(&mut Charger, &Value, TimestampUs) -> Answer;

type Row = (&'static str, Handler);

/// The row of an action; `None` if it is not one that a central system sends.
pub(super) fn handler(version: Version, action: &str) -> Option<Handler> {
    let tables: [&[Row]; 2] = match version {
        Version::V16 => [&V16, &[]],
        Version::V201 => [&V2, &[]],
        Version::V21 => [&V2, &V21],
    };
    let rows = tables.into_iter().flatten();
    rows.into_iter()
        .find(|(name, _)| *name == action)
        .map(|(_, handler)| *handler)
}

/// OCPP 1.6.
const V16: [Row; 26] = [
    ("CancelReservation", Charger::cancel_reservation),
    ("CertificateSigned", Charger::certificate_signed),
    ("ChangeAvailability", Charger::change_availability_16),
    ("ChangeConfiguration", Charger::change_configuration),
    ("ClearCache", Charger::clear_cache),
    ("ClearChargingProfile", Charger::clear_charging_profile_16),
    ("DataTransfer", Charger::data_transfer),
    ("DeleteCertificate", Charger::delete_certificate),
    ("ExtendedTriggerMessage", Charger::trigger_message_16),
    ("GetCompositeSchedule", Charger::composite_schedule_16),
    ("GetConfiguration", Charger::get_configuration),
    ("GetDiagnostics", Charger::get_diagnostics),
    (
        "GetInstalledCertificateIds",
        Charger::installed_certificate_ids_16,
    ),
    ("GetLocalListVersion", Charger::local_list_version_16),
    ("GetLog", Charger::get_log),
    ("InstallCertificate", Charger::install_certificate),
    ("RemoteStartTransaction", Charger::remote_start_16),
    ("RemoteStopTransaction", Charger::remote_stop_16),
    ("ReserveNow", Charger::reserve_now_16),
    ("Reset", Charger::reset_16),
    ("SendLocalList", Charger::send_local_list_16),
    ("SetChargingProfile", Charger::set_charging_profile_16),
    ("SignedUpdateFirmware", Charger::update_signed_firmware),
    ("TriggerMessage", Charger::trigger_message_16),
    ("UnlockConnector", Charger::unlock_connector_16),
    ("UpdateFirmware", Charger::update_firmware_16),
];

/// OCPP 2.0.1, and 2.1 too.
const V2: [Row; 40] = [
    ("CancelReservation", Charger::cancel_reservation),
    ("CertificateSigned", Charger::certificate_signed),
    ("ChangeAvailability", Charger::change_availability_2),
    ("ClearCache", Charger::clear_cache),
    ("ClearChargingProfile", Charger::clear_charging_profile_2),
    ("ClearDisplayMessage", Charger::clear_display_message),
    (
        "ClearVariableMonitoring",
        Charger::clear_variable_monitoring,
    ),
    ("CostUpdated", Charger::cost_updated),
    ("CustomerInformation", Charger::customer_information),
    ("DataTransfer", Charger::data_transfer),
    ("DeleteCertificate", Charger::delete_certificate),
    ("GetBaseReport", Charger::get_base_report),
    ("GetChargingProfiles", Charger::get_charging_profiles),
    ("GetCompositeSchedule", Charger::composite_schedule_2),
    ("GetDisplayMessages", Charger::get_display_messages),
    (
        "GetInstalledCertificateIds",
        Charger::installed_certificate_ids_2,
    ),
    ("GetLocalListVersion", Charger::local_list_version_2),
    ("GetLog", Charger::get_log),
    ("GetMonitoringReport", Charger::get_monitoring_report),
    ("GetReport", Charger::get_report),
    ("GetTransactionStatus", Charger::transaction_status),
    ("GetVariables", Charger::get_variables),
    ("InstallCertificate", Charger::install_certificate),
    ("PublishFirmware", Charger::publish_firmware),
    ("RequestStartTransaction", Charger::request_start),
    ("RequestStopTransaction", Charger::request_stop),
    ("ReserveNow", Charger::reserve_now_2),
    ("Reset", Charger::reset_2),
    ("SendLocalList", Charger::send_local_list_2),
    ("SetChargingProfile", Charger::set_charging_profile_2),
    ("SetDisplayMessage", Charger::set_display_message),
    ("SetMonitoringBase", Charger::set_monitoring_base),
    ("SetMonitoringLevel", Charger::set_monitoring_level),
    ("SetNetworkProfile", Charger::set_network_profile),
    ("SetVariableMonitoring", Charger::set_variable_monitoring),
    ("SetVariables", Charger::set_variables),
    ("TriggerMessage", Charger::trigger_message_2),
    ("UnlockConnector", Charger::unlock_connector_2),
    ("UnpublishFirmware", Charger::unpublish_firmware),
    ("UpdateFirmware", Charger::update_firmware_2),
];

/// The actions that are new in OCPP 2.1.
const V21: [Row; 15] = [
    ("AFRRSignal", Charger::afrr_signal),
    (
        "AdjustPeriodicEventStream",
        Charger::adjust_periodic_event_stream,
    ),
    (
        "ChangeTransactionTariff",
        Charger::change_transaction_tariff,
    ),
    ("ClearDERControl", Charger::clear_der_control),
    ("ClearTariffs", Charger::clear_tariffs),
    ("GetDERControl", Charger::get_der_control),
    ("GetPeriodicEventStream", Charger::get_periodic_event_stream),
    ("GetTariffs", Charger::get_tariffs),
    (
        "NotifyAllowedEnergyTransfer",
        Charger::notify_allowed_energy_transfer,
    ),
    (
        "NotifyWebPaymentStarted",
        Charger::notify_web_payment_started,
    ),
    ("RequestBatterySwap", Charger::request_battery_swap),
    ("SetDERControl", Charger::set_der_control),
    ("SetDefaultTariff", Charger::set_default_tariff),
    ("UpdateDynamicSchedule", Charger::update_dynamic_schedule),
    ("UsePriorityCharging", Charger::use_priority_charging),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_of_the_central_system_has_a_row_and_no_other_action_has_one() {
        for version in Version::ALL {
            let mut rows = 0;
            for info in ocpp::action::all(version) {
                let found = handler(version, info.name).is_some();
                assert_eq!(found, info.is_to_charger(), "{version} {}", info.name);
                rows += usize::from(found);
            }
            let expected = match version {
                Version::V16 => V16.len(),
                Version::V201 => V2.len(),
                Version::V21 => V2.len() + V21.len(),
            };
            assert_eq!(rows, expected, "{version}");
        }
    }
}
