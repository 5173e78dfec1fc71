//! The device model: the settings and facts that a central system may read, and partly change, as configuration keys in
//! 1.6 and as variables of components in 2.x.

use crate::charger::payload::{FIRMWARE, MODEL, VENDOR};
use crate::charger::{Charger, payload::Status};
use crate::timestamp::TimestampUs;
use ocpp::Version;
use std::time::Duration;

/// Who may change a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    ReadOnly,
    ReadWrite,
    /// As read-write, but a new value takes effect at the next reboot.
    AfterReboot,
    /// A secret.
    WriteOnly,
}

/// The values of a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Integer(i64, i64),
    Boolean,
    /// At most this many characters.
    Text(usize),
    Time,
    /// One of these.
    Option(&'static str),
    /// Some of any names, separated by commas.
    List,
}

/// Where a variable's value is, unless a command changed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Fixed(&'static str),
    Heartbeat,
    MeterInterval,
    Attempts,
    RetryInterval,
    PingInterval,
    AnswerTimeout,
    BackOffMinimum,
    BackOffRange,
    BackOffDoublings,
    Connectors,
    Clock,
    ListEntries,
    Profiles,
    Displays,
    Certificates,
    MonitoringBase,
    MonitoringLevel,
    /// The availability of the charger.
    Availability,
}

/// A variable.
#[derive(Debug, Clone, Copy)]
pub(super) struct Variable {
    /// The configuration key of 1.6; empty if there is none.
    pub(super) key: &'static str,
    /// The component of 2.x; empty if the variable exists in 1.6 only.
    pub(super) component: &'static str,
    pub(super) name: &'static str,
    pub(super) instance: &'static str,
    pub(super) access: Access,
    pub(super) kind: Kind,
    pub(super) source: Source,
}

const fn row(
    key: &'static str,
    (component, name, instance): (&'static str, &'static str, &'static str),
    access: Access,
    kind: Kind,
    source: Source,
) -> Variable {
    Variable {
        key,
        component,
        name,
        instance,
        access,
        kind,
        source,
    }
}

use Access::{AfterReboot, ReadOnly, ReadWrite, WriteOnly};
use Kind::{Boolean, Integer, List, Text, Time};
use Source::Fixed;

const SECONDS: Kind = Integer(0, 86_400);
const POSITIVE: Kind = Integer(1, 86_400);
const MEASURANDS: &str =
    "Energy.Active.Import.Register,Power.Active.Import,Voltage,Current.Import,SoC";
/// No counterpart in 2.x.
const NONE: (&str, &str, &str) = ("", "", "");

/// All variables that belong to the charger as a whole.
#[rustfmt::skip]
pub(super) const VARIABLES: &[Variable] = &[
    row("AdditionalRootCertificateCheck", ("SecurityCtrlr", "AdditionalRootCertificateCheck", ""), ReadOnly, Boolean, Fixed("false")),
    row("AllowOfflineTxForUnknownId", ("AuthCtrlr", "OfflineTxForUnknownIdEnabled", ""), ReadWrite, Boolean, Fixed("true")),
    row("AuthorizationCacheEnabled", ("AuthCacheCtrlr", "Enabled", ""), ReadWrite, Boolean, Fixed("false")),
    row("AuthorizationKey", ("SecurityCtrlr", "BasicAuthPassword", ""), WriteOnly, Text(64), Fixed("")),
    row("AuthorizeRemoteTxRequests", ("AuthCtrlr", "AuthorizeRemoteStart", ""), ReadWrite, Boolean, Fixed("false")),
    row("CertificateStoreMaxLength", NONE, ReadOnly, Integer(0, 1000), Fixed("20")),
    row("ChargeProfileMaxStackLevel", ("SmartChargingCtrlr", "ProfileStackLevel", ""), ReadOnly, Integer(0, 100), Fixed("10")),
    row("ChargingScheduleAllowedChargingRateUnit", NONE, ReadOnly, List, Fixed("Current,Power")),
    row("ChargingScheduleMaxPeriods", ("SmartChargingCtrlr", "PeriodsPerSchedule", ""), ReadOnly, Integer(1, 1024), Fixed("24")),
    row("ClockAlignedDataInterval", ("AlignedDataCtrlr", "Interval", ""), ReadWrite, SECONDS, Fixed("0")),
    row("ConnectionTimeOut", ("TxCtrlr", "EVConnectionTimeOut", ""), ReadWrite, SECONDS, Fixed("60")),
    row("ConnectorPhaseRotation", NONE, AfterReboot, List, Fixed("1.RST")),
    row("CpoName", ("SecurityCtrlr", "OrganizationName", ""), ReadWrite, Text(50), Fixed("Wattpost")),
    row("GetConfigurationMaxKeys", NONE, ReadOnly, Integer(1, 1000), Fixed("50")),
    row("HeartbeatInterval", ("OCPPCommCtrlr", "HeartbeatInterval", ""), ReadWrite, POSITIVE, Source::Heartbeat),
    row("LocalAuthListEnabled", ("LocalAuthListCtrlr", "Enabled", ""), ReadWrite, Boolean, Fixed("true")),
    row("LocalAuthListMaxLength", NONE, ReadOnly, Integer(1, 100_000), Fixed("200")),
    row("LocalAuthorizeOffline", ("AuthCtrlr", "LocalAuthorizeOffline", ""), ReadWrite, Boolean, Fixed("true")),
    row("LocalPreAuthorize", ("AuthCtrlr", "LocalPreAuthorize", ""), ReadWrite, Boolean, Fixed("false")),
    row("MaxChargingProfilesInstalled", NONE, ReadOnly, Integer(0, 1000), Fixed("20")),
    row("MeterValueSampleInterval", ("SampledDataCtrlr", "TxUpdatedInterval", ""), ReadWrite, POSITIVE, Source::MeterInterval),
    row("MeterValuesAlignedData", ("AlignedDataCtrlr", "Measurands", ""), ReadWrite, List, Fixed(MEASURANDS)),
    row("MeterValuesSampledData", ("SampledDataCtrlr", "TxUpdatedMeasurands", ""), ReadWrite, List, Fixed(MEASURANDS)),
    row("NumberOfConnectors", NONE, ReadOnly, Integer(1, 255), Source::Connectors),
    row("ReserveConnectorZeroSupported", ("ReservationCtrlr", "NonEvseSpecific", ""), ReadOnly, Boolean, Fixed("true")),
    row("ResetRetries", ("OCPPCommCtrlr", "ResetRetries", ""), ReadWrite, Integer(0, 10), Fixed("1")),
    row("SecurityProfile", ("SecurityCtrlr", "SecurityProfile", ""), ReadOnly, Integer(0, 3), Fixed("1")),
    row("SendLocalListMaxLength", ("LocalAuthListCtrlr", "ItemsPerMessage", ""), ReadOnly, Integer(1, 100_000), Fixed("200")),
    row("StopTransactionOnEVSideDisconnect", ("TxCtrlr", "StopTxOnEVSideDisconnect", ""), ReadWrite, Boolean, Fixed("true")),
    row("StopTransactionOnInvalidId", ("TxCtrlr", "StopTxOnInvalidId", ""), ReadOnly, Boolean, Fixed("true")),
    row("StopTxnAlignedData", ("AlignedDataCtrlr", "TxEndedMeasurands", ""), ReadWrite, List, Fixed("")),
    row("StopTxnSampledData", ("SampledDataCtrlr", "TxEndedMeasurands", ""), ReadWrite, List, Fixed("Energy.Active.Import.Register")),
    row("SupportedFeatureProfiles", NONE, ReadOnly, List, Fixed("Core,FirmwareManagement,LocalAuthListManagement,Reservation,SmartCharging,RemoteTrigger")),
    row("TransactionMessageAttempts", ("OCPPCommCtrlr", "MessageAttempts", "TransactionEvent"), ReadWrite, Integer(1, 1000), Source::Attempts),
    row("TransactionMessageRetryInterval", ("OCPPCommCtrlr", "MessageAttemptInterval", "TransactionEvent"), ReadWrite, SECONDS, Source::RetryInterval),
    row("UnlockConnectorOnEVSideDisconnect", NONE, ReadWrite, Boolean, Fixed("true")),
    row("WebSocketPingInterval", ("OCPPCommCtrlr", "WebSocketPingInterval", ""), ReadOnly, SECONDS, Source::PingInterval),
    row("", ("AlignedDataCtrlr", "TxEndedInterval", ""), ReadWrite, SECONDS, Fixed("0")),
    row("", ("AuthCtrlr", "MasterPassGroupId", ""), ReadWrite, Text(36), Fixed("")),
    row("", ("ChargingStation", "AvailabilityState", ""), ReadOnly, Kind::Option("Available,Occupied,Reserved,Unavailable,Faulted"), Source::Availability),
    row("", ("ChargingStation", "FirmwareVersion", ""), ReadOnly, Text(50), Fixed(FIRMWARE)),
    row("", ("ChargingStation", "Model", ""), ReadOnly, Text(20), Fixed(MODEL)),
    row("", ("ChargingStation", "VendorName", ""), ReadOnly, Text(50), Fixed(VENDOR)),
    row("", ("ClockCtrlr", "DateTime", ""), ReadOnly, Time, Source::Clock),
    row("", ("ClockCtrlr", "TimeSource", ""), ReadWrite, List, Fixed("Heartbeat")),
    row("", ("DeviceDataCtrlr", "ItemsPerMessage", "GetReport"), ReadOnly, Integer(1, 1000), Fixed("50")),
    row("", ("DeviceDataCtrlr", "ItemsPerMessage", "GetVariables"), ReadOnly, Integer(1, 1000), Fixed("50")),
    row("", ("DeviceDataCtrlr", "ItemsPerMessage", "SetVariables"), ReadOnly, Integer(1, 1000), Fixed("50")),
    row("", ("DisplayMessageCtrlr", "DisplayMessages", ""), ReadOnly, Integer(0, 1000), Source::Displays),
    row("", ("LocalAuthListCtrlr", "Entries", ""), ReadOnly, Integer(0, 100_000), Source::ListEntries),
    row("", ("MonitoringCtrlr", "ActiveMonitoringBase", ""), ReadOnly, Kind::Option("All,FactoryDefault,HardWiredOnly"), Source::MonitoringBase),
    row("", ("MonitoringCtrlr", "ActiveMonitoringLevel", ""), ReadOnly, Integer(0, 9), Source::MonitoringLevel),
    row("", ("OCPPCommCtrlr", "FileTransferProtocols", ""), ReadOnly, List, Fixed("HTTPS")),
    row("", ("OCPPCommCtrlr", "MessageTimeout", "Default"), ReadOnly, SECONDS, Source::AnswerTimeout),
    row("", ("OCPPCommCtrlr", "NetworkConfigurationPriority", ""), AfterReboot, List, Fixed("1")),
    row("", ("OCPPCommCtrlr", "OfflineThreshold", ""), ReadOnly, SECONDS, Fixed("60")),
    row("", ("OCPPCommCtrlr", "RetryBackOffRandomRange", ""), ReadOnly, SECONDS, Source::BackOffRange),
    row("", ("OCPPCommCtrlr", "RetryBackOffRepeatTimes", ""), ReadOnly, Integer(0, 20), Source::BackOffDoublings),
    row("", ("OCPPCommCtrlr", "RetryBackOffWaitMinimum", ""), ReadOnly, SECONDS, Source::BackOffMinimum),
    row("", ("SecurityCtrlr", "CertificateEntries", ""), ReadOnly, Integer(0, 1000), Source::Certificates),
    row("", ("SmartChargingCtrlr", "Enabled", ""), ReadOnly, Boolean, Fixed("true")),
    row("", ("SmartChargingCtrlr", "Entries", "ChargingProfiles"), ReadOnly, Integer(0, 1000), Source::Profiles),
    row("", ("SmartChargingCtrlr", "RateUnit", ""), ReadOnly, List, Fixed("A,W")),
    row("", ("TxCtrlr", "TxStartPoint", ""), ReadOnly, List, Fixed("Authorized")),
    row("", ("TxCtrlr", "TxStopPoint", ""), ReadOnly, List, Fixed("Authorized,EVConnected")),
];

/// The result of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Done,
    AfterReboot,
    ReadOnly,
    Invalid,
}

impl Charger {
    /// The value of a variable.
    pub(super) fn value_of(&self, number: usize, now: TimestampUs) -> String {
        let variable = &VARIABLES[number];
        let kept = self.kept.as_deref();
        let changed = kept.and_then(|kept| kept.values.get(&number));
        // Seconds of the standard are simulated ones.
        let seconds = |duration: Duration| {
            let simulated = duration.as_secs_f64() * self.settings.speed_up;
            simulated.round().min(86_400.0).to_string()
        };
        match variable.source {
            Fixed(text) => changed.map_or_else(|| text.to_owned(), Clone::clone),
            Source::Heartbeat => seconds(self.heartbeat),
            Source::MeterInterval => seconds(self.tunables.meter_interval),
            Source::Attempts => self.tunables.attempts.to_string(),
            Source::RetryInterval => seconds(self.tunables.retry_interval),
            Source::PingInterval => {
                let ping = self.settings.ping.unwrap_or_default();
                ping.as_secs().to_string()
            }
            Source::AnswerTimeout => self.settings.answer_timeout.as_secs().to_string(),
            Source::BackOffMinimum => seconds(self.settings.backoff_minimum),
            Source::BackOffRange => seconds(self.settings.backoff_range),
            Source::BackOffDoublings => self.settings.backoff_doublings.to_string(),
            Source::Connectors => self.connectors.len().to_string(),
            Source::Clock => now.to_string(),
            Source::ListEntries => kept.map_or(0, |kept| kept.list.len()).to_string(),
            Source::Profiles => kept.map_or(0, |kept| kept.profiles.len()).to_string(),
            Source::Displays => kept.map_or(0, |kept| kept.displays.len()).to_string(),
            Source::Certificates => kept.map_or(0, |kept| kept.certificates.len()).to_string(),
            Source::MonitoringBase => kept
                .and_then(|kept| kept.monitoring_base.clone())
                .unwrap_or_else(|| "All".to_owned()),
            Source::MonitoringLevel => kept
                .and_then(|kept| kept.monitoring_level)
                .unwrap_or(9)
                .to_string(),
            Source::Availability => {
                let all_inoperative = self.state.connectors.iter().all(|one| one.inoperative);
                let status = if all_inoperative {
                    Status::Unavailable
                } else {
                    Status::Available
                };
                status.as_str(self.version).to_owned()
            }
        }
    }

    /// Changes a variable.
    pub(super) fn change_value(&mut self, number: usize, value: &str) -> Change {
        let variable = &VARIABLES[number];
        if variable.access == ReadOnly {
            return Change::ReadOnly;
        }
        let value = value.trim();
        if !variable.kind.allows(value) {
            return Change::Invalid;
        }
        let whole = value.parse::<u32>().unwrap_or(0);
        let seconds = self.settings.scaled(f64::from(whole));
        match variable.source {
            Source::Attempts => self.tunables.attempts = whole,
            Source::Heartbeat => self.heartbeat = seconds,
            Source::MeterInterval => self.tunables.meter_interval = seconds,
            Source::RetryInterval => self.tunables.retry_interval = seconds,
            _ if variable.access == WriteOnly => return self.change_password(value),
            _ => {
                let kept = self.kept();
                if !kept.has_room(0, 1, value.len()) {
                    return Change::Invalid;
                }
                let after_reboot = variable.access == AfterReboot;
                let values = match after_reboot {
                    true => &mut kept.values_after_reboot,
                    false => &mut kept.values,
                };
                values.insert(number, value.to_owned());
                if after_reboot {
                    return Change::AfterReboot;
                }
            }
        }
        Change::Done
    }

    /// The password is used for the next connection, which the charger opens at once (1.6: in hexadecimal digits).
    fn change_password(&mut self, value: &str) -> Change {
        let password = match self.version {
            Version::V16 => from_hexadecimal(value),
            _ => Some(value.to_owned()),
        };
        let Some(password) = password.filter(|one| one.len() >= 16) else {
            return Change::Invalid;
        };
        self.password = Some(password.into());
        self.kept().reset = Some(super::reset::ResetPlan::Reconnect);
        Change::Done
    }

    /// Makes the changes that wait for a reboot.
    pub(in crate::charger) fn values_after_reboot(&mut self) {
        if let Some(kept) = &mut self.kept {
            let values = std::mem::take(&mut kept.values_after_reboot);
            kept.values.extend(values);
        }
    }

    /// Whether a remote start first asks whether the token is accepted.
    pub(super) fn authorizes_remote_starts(&self) -> bool {
        let is_it = |variable: &Variable| variable.key == "AuthorizeRemoteTxRequests";
        let number = VARIABLES.iter().position(is_it);
        let values = self.kept.as_deref().map(|kept| &kept.values);
        values
            .zip(number)
            .and_then(|(values, number)| values.get(&number))
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }
}

impl Kind {
    fn allows(self, value: &str) -> bool {
        match self {
            Integer(min, max) => value
                .parse::<i64>()
                .is_ok_and(|number| (min..=max).contains(&number)),
            Boolean => ["true", "false"]
                .iter()
                .any(|one| value.eq_ignore_ascii_case(one)),
            Text(max) => value.chars().count() <= max,
            Time => value.parse::<jiff::Timestamp>().is_ok(),
            Kind::Option(options) => options.split(',').any(|one| one == value),
            List => value.len() <= 500 && !value.contains(char::is_control),
        }
    }

    /// `dataType` of 2.x.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Integer(..) => "integer",
            Boolean => "boolean",
            Text(_) => "string",
            Time => "dateTime",
            Kind::Option(_) => "OptionList",
            List => "MemberList",
        }
    }
}

/// A text from pairs of hexadecimal digits; `None` if it is not one.
fn from_hexadecimal(text: &str) -> Option<String> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| u8::try_from(digit.to_digit(16)?).ok())
        .collect();
    let digits = digits?;
    if digits.len() % 2 != 0 {
        return None;
    }
    let bytes = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]);
    String::from_utf8(bytes.collect()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_has_a_name_of_its_own_and_a_valid_first_value() {
        for (number, one) in VARIABLES.iter().enumerate() {
            assert!(!(one.key.is_empty() && one.component.is_empty()), "{one:?}");
            for other in &VARIABLES[..number] {
                assert!(one.key.is_empty() || one.key != other.key, "{one:?}");
                let name = |one: &Variable| (one.component, one.name, one.instance);
                assert!(
                    one.component.is_empty() || name(one) != name(other),
                    "{one:?}"
                );
            }
            if let Fixed(text) = one.source {
                assert!(one.kind.allows(text), "{one:?}");
            }
        }
    }

    #[test]
    fn hexadecimal_digits_become_a_text() {
        assert_eq!(from_hexadecimal("41c3A9").as_deref(), Some("Aé"));
        for text in ["4", "4g", "ff"] {
            assert_eq!(from_hexadecimal(text), None, "{text}");
        }
    }
}
