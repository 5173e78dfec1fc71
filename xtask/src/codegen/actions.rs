//! What the schemas do not hold of an action: who sends it, and what its sender does when it is not delivered.
//!
//! The only part of the tables that is written by hand. Sources: the messages' directions in OCPP 1.6 chapters 4
//! and 5, its security whitepaper, and part 2 of 2.0.1 and 2.1; the delivery classes by rules and F-3
//! of `docs/ocpp-rules.md`.

use super::facts::{Class, Direction, Facts};
use anyhow::{Result, ensure};
use std::collections::BTreeSet;

use Class::{N, Q, S, T};
use Direction::{Both, ToCentral, ToCharger};

/// Each action's direction and delivery class, in all versions that have the action.
const ACTIONS: &[(&str, Direction, Class)] = &[
    ("AFRRSignal", ToCharger, N),
    ("AdjustPeriodicEventStream", ToCharger, N),
    ("Authorize", ToCentral, N),
    ("BatterySwap", ToCentral, N),
    ("BootNotification", ToCentral, N),
    ("CancelReservation", ToCharger, N),
    ("CertificateSigned", ToCharger, N),
    ("ChangeAvailability", ToCharger, N),
    ("ChangeConfiguration", ToCharger, N),
    ("ChangeTransactionTariff", ToCharger, N),
    ("ClearCache", ToCharger, N),
    ("ClearChargingProfile", ToCharger, N),
    ("ClearDERControl", ToCharger, N),
    ("ClearDisplayMessage", ToCharger, N),
    ("ClearTariffs", ToCharger, N),
    ("ClearVariableMonitoring", ToCharger, N),
    ("ClearedChargingLimit", ToCentral, N),
    ("ClosePeriodicEventStream", ToCentral, N),
    ("CostUpdated", ToCharger, N),
    ("CustomerInformation", ToCharger, N),
    ("DataTransfer", Both, N),
    ("DeleteCertificate", ToCharger, N),
    ("DiagnosticsStatusNotification", ToCentral, N),
    ("ExtendedTriggerMessage", ToCharger, N),
    ("FirmwareStatusNotification", ToCentral, N),
    ("Get15118EVCertificate", ToCentral, N),
    ("GetBaseReport", ToCharger, N),
    ("GetCertificateChainStatus", ToCentral, N),
    ("GetCertificateStatus", ToCentral, N),
    ("GetChargingProfiles", ToCharger, N),
    ("GetCompositeSchedule", ToCharger, N),
    ("GetConfiguration", ToCharger, N),
    ("GetDERControl", ToCharger, N),
    ("GetDiagnostics", ToCharger, N),
    ("GetDisplayMessages", ToCharger, N),
    ("GetInstalledCertificateIds", ToCharger, N),
    ("GetLocalListVersion", ToCharger, N),
    ("GetLog", ToCharger, N),
    ("GetMonitoringReport", ToCharger, N),
    ("GetPeriodicEventStream", ToCharger, N),
    ("GetReport", ToCharger, N),
    ("GetTariffs", ToCharger, N),
    ("GetTransactionStatus", ToCharger, N),
    ("GetVariables", ToCharger, N),
    ("Heartbeat", ToCentral, N),
    ("InstallCertificate", ToCharger, N),
    ("LogStatusNotification", ToCentral, N),
    ("MeterValues", ToCentral, N),
    ("NotifyAllowedEnergyTransfer", ToCharger, N),
    ("NotifyChargingLimit", ToCentral, N),
    ("NotifyCustomerInformation", ToCentral, N),
    ("NotifyDERAlarm", ToCentral, N),
    ("NotifyDERStartStop", ToCentral, N),
    ("NotifyDisplayMessages", ToCentral, N),
    ("NotifyEVChargingNeeds", ToCentral, N),
    ("NotifyEVChargingSchedule", ToCentral, N),
    ("NotifyEvent", ToCentral, Q),
    ("NotifyMonitoringReport", ToCentral, N),
    ("NotifyPeriodicEventStream", ToCentral, S),
    ("NotifyPriorityCharging", ToCentral, N),
    ("NotifyReport", ToCentral, N),
    ("NotifySettlement", ToCentral, N),
    ("NotifyWebPaymentStarted", ToCharger, N),
    ("OpenPeriodicEventStream", ToCentral, N),
    ("PublishFirmware", ToCharger, N),
    ("PublishFirmwareStatusNotification", ToCentral, N),
    ("PullDynamicScheduleUpdate", ToCentral, N),
    ("RemoteStartTransaction", ToCharger, N),
    ("RemoteStopTransaction", ToCharger, N),
    ("ReportChargingProfiles", ToCentral, N),
    ("ReportDERControl", ToCentral, N),
    ("RequestBatterySwap", ToCharger, N),
    ("RequestStartTransaction", ToCharger, N),
    ("RequestStopTransaction", ToCharger, N),
    ("ReservationStatusUpdate", ToCentral, N),
    ("ReserveNow", ToCharger, N),
    ("Reset", ToCharger, N),
    ("SecurityEventNotification", ToCentral, Q),
    ("SendLocalList", ToCharger, N),
    ("SetChargingProfile", ToCharger, N),
    ("SetDERControl", ToCharger, N),
    ("SetDefaultTariff", ToCharger, N),
    ("SetDisplayMessage", ToCharger, N),
    ("SetMonitoringBase", ToCharger, N),
    ("SetMonitoringLevel", ToCharger, N),
    ("SetNetworkProfile", ToCharger, N),
    ("SetVariableMonitoring", ToCharger, N),
    ("SetVariables", ToCharger, N),
    ("SignCertificate", ToCentral, N),
    ("SignedFirmwareStatusNotification", ToCentral, N),
    ("SignedUpdateFirmware", ToCharger, N),
    ("StartTransaction", ToCentral, T),
    ("StatusNotification", ToCentral, N),
    ("StopTransaction", ToCentral, T),
    ("TransactionEvent", ToCentral, T),
    ("TriggerMessage", ToCharger, N),
    ("UnlockConnector", ToCharger, N),
    ("UnpublishFirmware", ToCharger, N),
    ("UpdateDynamicSchedule", ToCharger, N),
    ("UpdateFirmware", ToCharger, N),
    ("UsePriorityCharging", ToCharger, N),
    ("VatNumberValidation", ToCentral, N),
];

/// Where one version's delivery class differs from [`ACTIONS`]: (version, action, class).
const EXCEPTIONS: &[(&str, &str, Class)] = &[
    // 2.x sends the values of a transaction in TransactionEvent.
    ("v16", "MeterValues", T),
];

/// Gives every action that was read its direction and class.
///
/// # Errors
///
/// When an action of the schemas has no row in this file, or a row has no schema.
pub(super) fn classify(facts: &mut Facts, versions: &[&str]) -> Result<()> {
    classify_by(facts, versions, ACTIONS, EXCEPTIONS)
}

fn classify_by(
    facts: &mut Facts,
    versions: &[&str],
    rows: &[(&str, Direction, Class)],
    exceptions: &[(&str, &str, Class)],
) -> Result<()> {
    let mut unused_rows: BTreeSet<_> = rows.iter().map(|(name, ..)| *name).collect();
    let mut unused_exceptions: BTreeSet<_> = exceptions
        .iter()
        .map(|(version, name, _)| (*version, *name))
        .collect();
    let mut missing = Vec::new();
    for (version, actions) in &mut facts.actions {
        let version = versions[*version];
        for (name, action) in actions {
            let Some((row_name, direction, class)) = rows.iter().find(|(row, ..)| row == name)
            else {
                missing.push(format!("{version} {name}"));
                continue;
            };
            unused_rows.remove(row_name);
            let exception = exceptions
                .iter()
                .find(|exception| (exception.0, exception.1) == (version, name.as_str()));
            if let Some((version, name, _)) = exception {
                unused_exceptions.remove(&(*version, *name));
            }
            action.sent = Some((*direction, exception.map_or(*class, |(.., class)| *class)));
        }
    }
    ensure!(
        missing.is_empty(),
        "xtask/src/codegen/actions.rs has no row for the actions {missing:?}"
    );
    ensure!(
        unused_rows.is_empty() && unused_exceptions.is_empty(),
        "xtask/src/codegen/actions.rs has rows without a schema: {unused_rows:?} {unused_exceptions:?}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::facts::Action;
    use super::*;

    fn facts(actions: &[(usize, &str)]) -> Facts {
        let mut facts = Facts::default();
        for (version, name) in actions {
            let actions = facts.actions.entry(*version).or_default();
            actions.insert((*name).to_owned(), Action::default());
        }
        facts
    }

    #[test]
    fn an_exception_counts_only_in_its_version() {
        let mut facts = facts(&[(0, "MeterValues"), (1, "MeterValues")]);
        let rows = [("MeterValues", ToCentral, N)];
        let exceptions = [("v16", "MeterValues", T)];
        classify_by(&mut facts, &["v16", "v201"], &rows, &exceptions).expect("rows for both");
        let sent = |version| facts.actions[&version]["MeterValues"].sent;
        assert_eq!(sent(0), Some((ToCentral, T)));
        assert_eq!(sent(1), Some((ToCentral, N)));
    }

    #[test]
    fn a_schema_without_a_row_is_an_error_that_names_it() {
        let rows = [("Reset", ToCharger, N)];
        let mut facts = facts(&[(0, "Reset"), (0, "Teleport")]);
        let error = classify_by(&mut facts, &["v16"], &rows, &[]).expect_err("no row");
        assert!(error.to_string().contains("v16 Teleport"), "{error}");
    }

    #[test]
    fn a_row_without_a_schema_is_an_error_that_names_it() {
        let rows = [("Reset", ToCharger, N), ("Teleport", Both, Q)];
        let error = classify_by(&mut facts(&[(0, "Reset")]), &["v16"], &rows, &[]);
        let error = error.expect_err("no schema").to_string();
        assert!(error.contains("Teleport"), "{error}");

        let exceptions = [("v201", "Reset", S)];
        let error = classify_by(
            &mut facts(&[(0, "Reset")]),
            &["v16"],
            &rows[..1],
            &exceptions,
        );
        let error = error.expect_err("no schema").to_string();
        assert!(error.contains("v201"), "{error}");
    }
}
