//! For each action that the central system sends: whether sending it again does harm.
//!
//! No rule of OCPP repeats a command whose answer is missing, because the charger may have executed it. This table
//! says whether a client may send a command with an uncertain outcome again (rules of OCPP on follow-ups, 4.3).

use ocpp::json::Raw;

/// Whether sending a command again does harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeat {
    /// The second one has no effect, or the same.
    Safe,
    /// The second one can start, stop or transfer something once more.
    Unsafe,
    /// Safe if the payload has this text in this member.
    SafeIf(&'static str, &'static str),
    /// Unsafe if the text of this member begins so.
    UnsafeIf(&'static str, &'static str),
}

use Repeat::{Safe, SafeIf, Unsafe, UnsafeIf};

/// Every action that the central system may send, in any version, sorted by name.
const TABLE: [(&str, Repeat); 62] = [
    ("AFRRSignal", Unsafe),
    ("AdjustPeriodicEventStream", Safe),
    ("CancelReservation", Safe),
    ("CertificateSigned", Unsafe),
    ("ChangeAvailability", Safe),
    ("ChangeConfiguration", Safe),
    ("ChangeTransactionTariff", Unsafe),
    ("ClearCache", Safe),
    ("ClearChargingProfile", Safe),
    ("ClearDERControl", Safe),
    ("ClearDisplayMessage", Safe),
    ("ClearTariffs", Safe),
    ("ClearVariableMonitoring", Safe),
    ("CostUpdated", Safe),
    ("CustomerInformation", Safe),
    ("DataTransfer", Unsafe),
    ("DeleteCertificate", Safe),
    (
        "ExtendedTriggerMessage",
        UnsafeIf("requestedMessage", "Sign"),
    ),
    ("GetBaseReport", Safe),
    ("GetChargingProfiles", Safe),
    ("GetCompositeSchedule", Safe),
    ("GetConfiguration", Safe),
    ("GetDERControl", Safe),
    ("GetDiagnostics", Safe),
    ("GetDisplayMessages", Safe),
    ("GetInstalledCertificateIds", Safe),
    ("GetLocalListVersion", Safe),
    ("GetLog", Safe),
    ("GetMonitoringReport", Safe),
    ("GetPeriodicEventStream", Safe),
    ("GetReport", Safe),
    ("GetTariffs", Safe),
    ("GetTransactionStatus", Safe),
    ("GetVariables", Safe),
    ("InstallCertificate", Unsafe),
    ("NotifyAllowedEnergyTransfer", Safe),
    ("NotifyWebPaymentStarted", Unsafe),
    ("PublishFirmware", Unsafe),
    ("RemoteStartTransaction", Unsafe),
    ("RemoteStopTransaction", Safe),
    ("RequestBatterySwap", Unsafe),
    ("RequestStartTransaction", Unsafe),
    ("RequestStopTransaction", Safe),
    ("ReserveNow", Safe),
    ("Reset", Unsafe),
    ("SendLocalList", SafeIf("updateType", "Full")),
    ("SetChargingProfile", Safe),
    ("SetDERControl", Safe),
    ("SetDefaultTariff", Safe),
    ("SetDisplayMessage", Safe),
    ("SetMonitoringBase", Safe),
    ("SetMonitoringLevel", Safe),
    ("SetNetworkProfile", Safe),
    ("SetVariableMonitoring", Unsafe),
    ("SetVariables", Safe),
    ("SignedUpdateFirmware", Unsafe),
    ("TriggerMessage", UnsafeIf("requestedMessage", "Sign")),
    ("UnlockConnector", Unsafe),
    ("UnpublishFirmware", Unsafe),
    ("UpdateDynamicSchedule", Safe),
    ("UpdateFirmware", Unsafe),
    ("UsePriorityCharging", Safe),
];

/// Whether sending this command again does no harm. An action that is not known can do harm.
pub(crate) fn is_safe_to_repeat(action: &str, payload: &str) -> bool {
    let Ok(found) = TABLE.binary_search_by(|(name, _)| (*name).cmp(action)) else {
        return false;
    };
    match TABLE[found].1 {
        Safe => true,
        Unsafe => false,
        SafeIf(member, text) => member_of(payload, member).as_deref() == Some(text),
        UnsafeIf(member, start) => {
            !member_of(payload, member).is_none_or(|text| text.starts_with(start))
        }
    }
}

/// Whether sending the action again does no harm: `always`, `never`, or `by_payload`.
pub(crate) fn repeat_of(action: &str) -> &'static str {
    let found = TABLE.binary_search_by(|(name, _)| (*name).cmp(action));
    match found.map(|at| TABLE[at].1) {
        Ok(Safe) => "always",
        Ok(Unsafe) | Err(_) => "never",
        Ok(SafeIf(..) | UnsafeIf(..)) => "by_payload",
    }
}

/// Whether a pending charger must not receive it: it starts or stops charging (B-5).
pub(crate) fn needs_accepted_charger(action: &str) -> bool {
    matches!(
        action,
        "RemoteStartTransaction"
            | "RemoteStopTransaction"
            | "RequestStartTransaction"
            | "RequestStopTransaction"
    )
}

/// The text of a member of the payload; `None` if it has none.
fn member_of(payload: &str, wanted: &str) -> Option<String> {
    let mut found = None;
    let _ = Raw::new(payload).members(|name, value| {
        if name == wanted {
            found = value.text().map(|text| text.into_owned());
        }
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use ocpp::Version;
    use std::collections::BTreeSet;

    #[test]
    fn each_action_that_a_charger_may_receive_has_one_row() {
        let listed: Vec<_> = TABLE.iter().map(|(name, _)| *name).collect();
        let sent: BTreeSet<_> = Version::ALL
            .into_iter()
            .flat_map(ocpp::action::all)
            .filter(|info| info.is_to_charger())
            .map(|info| info.name)
            .collect();
        assert_eq!(listed, sent.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn what_starts_or_restarts_something_is_not_safe_to_repeat() {
        for action in [
            "RemoteStartTransaction",
            "RequestStartTransaction",
            "Reset",
            "UnlockConnector",
            "UpdateFirmware",
            "SignedUpdateFirmware",
            "DataTransfer",
            "Unknown",
        ] {
            assert!(!is_safe_to_repeat(action, "{}"), "{action}");
        }
        for action in ["GetConfiguration", "SetVariables", "ChangeAvailability"] {
            assert!(is_safe_to_repeat(action, "{}"), "{action}");
        }
    }

    #[test]
    fn some_actions_are_safe_to_repeat_depending_on_their_payload() {
        for (action, payload, safe) in [
            (
                "SendLocalList",
                r#"{"listVersion":7,"updateType":"Full"}"#,
                true,
            ),
            (
                "SendLocalList",
                r#"{"listVersion":7,"updateType":"Differential"}"#,
                false,
            ),
            ("SendLocalList", "{}", false),
            (
                "TriggerMessage",
                r#"{"requestedMessage":"StatusNotification"}"#,
                true,
            ),
            (
                "TriggerMessage",
                r#"{"requestedMessage":"SignV2GCertificate"}"#,
                false,
            ),
            (
                "ExtendedTriggerMessage",
                r#"{"requestedMessage":"SignChargePointCertificate"}"#,
                false,
            ),
            ("TriggerMessage", "{}", false),
        ] {
            assert_eq!(
                is_safe_to_repeat(action, payload),
                safe,
                "{action} {payload}"
            );
        }
    }
}
