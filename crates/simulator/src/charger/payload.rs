//! Payloads according to the standard: compact JSON, times in UTC with three decimals, no empty optional members.

use super::command::BootReason;
use super::message::OpenTransaction;
use super::vehicle::MeterReading;
use crate::timestamp::TimestampUs;
use ocpp::Version;
use ocpp::json::write_string;
use std::fmt::Write as _;

pub(super) const VENDOR: &str = "Wattpost";
pub(super) const MODEL: &str = "Simulator";
pub(super) const FIRMWARE: &str = env!("CARGO_PKG_VERSION");

/// A payload in which values may be missing that are known at the first transmission only.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) payload: String,
    pub(super) transaction_id_at: Option<usize>,
    pub(super) offline_at: Option<usize>,
}

impl From<String> for Draft {
    fn from(payload: String) -> Self {
        Self {
            payload,
            ..Self::default()
        }
    }
}

/// Why a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopReason {
    /// The driver ends it.
    Local,
    /// The vehicle leaves or is full.
    EvDisconnected,
    /// The central system requests it.
    Remote,
    /// The central system does not accept the token.
    DeAuthorized,
    /// The charger is reset.
    SoftReset,
    /// 1.6: the charger is reset at once.
    HardReset,
    /// The charger restarts by itself.
    Reboot,
    /// 1.6: the central system unlocks the connector.
    UnlockCommand,
    /// The power was cut.
    PowerLoss,
}

impl StopReason {
    const fn v16(self) -> &'static str {
        match self {
            Self::Local => "Local",
            Self::EvDisconnected => "EVDisconnected",
            Self::Remote => "Remote",
            Self::DeAuthorized => "DeAuthorized",
            Self::SoftReset => "SoftReset",
            Self::HardReset => "HardReset",
            Self::Reboot => "Reboot",
            Self::UnlockCommand => "UnlockCommand",
            Self::PowerLoss => "PowerLoss",
        }
    }

    /// `stoppedReason` and `triggerReason`.
    const fn v2(self) -> (&'static str, &'static str) {
        match self {
            Self::Local => ("Local", "StopAuthorized"),
            Self::EvDisconnected => ("EVDisconnected", "EVDeparted"),
            Self::Remote => ("Remote", "RemoteStop"),
            Self::DeAuthorized => ("DeAuthorized", "Deauthorized"),
            Self::SoftReset | Self::HardReset => ("ImmediateReset", "ResetCommand"),
            Self::Reboot => ("Reboot", "ResetCommand"),
            Self::UnlockCommand => ("Other", "UnlockCommand"),
            Self::PowerLoss => ("PowerLoss", "AbnormalCondition"),
        }
    }
}

/// The statuses of a simulated connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Available,
    Preparing,
    Charging,
    Finishing,
    Reserved,
    Unavailable,
}

impl Status {
    /// The name in OCPP. In 2.x preparing, charging and finishing are all `Occupied`.
    pub(super) const fn as_str(self, version: Version) -> &'static str {
        match (version, self) {
            (_, Self::Available) => "Available",
            (_, Self::Reserved) => "Reserved",
            (_, Self::Unavailable) => "Unavailable",
            (Version::V16, Self::Preparing) => "Preparing",
            (Version::V16, Self::Charging) => "Charging",
            (Version::V16, Self::Finishing) => "Finishing",
            _ => "Occupied",
        }
    }
}

pub(super) fn boot(version: Version, serial: &str, reason: BootReason) -> String {
    let mut out = String::with_capacity(200);
    if version == Version::V16 {
        out.push_str(r#"{"chargePointVendor":""#);
        let _ = write!(
            out,
            r#"{VENDOR}","chargePointModel":"{MODEL}","chargePointSerialNumber":"#
        );
        write_string(&mut out, clip(serial, 25));
        let _ = write!(out, r#","firmwareVersion":"{FIRMWARE}"}}"#);
    } else {
        let reason = reason.as_str();
        let _ = write!(
            out,
            r#"{{"reason":"{reason}","chargingStation":{{"model":"{MODEL}","vendorName":"{VENDOR}","serialNumber":"#
        );
        write_string(&mut out, clip(serial, 25));
        let _ = write!(out, r#","firmwareVersion":"{FIRMWARE}"}}}}"#);
    }
    out
}

/// StatusNotification. `connector` 0, the whole charger, exists in 1.6 only.
pub(super) fn status(version: Version, connector: u8, status: Status, at: TimestampUs) -> String {
    let status = status.as_str(version);
    if version == Version::V16 {
        format!(
            r#"{{"connectorId":{connector},"errorCode":"NoError","status":"{status}","timestamp":"{at}"}}"#
        )
    } else {
        format!(
            r#"{{"timestamp":"{at}","connectorStatus":"{status}","evseId":{connector},"connectorId":1}}"#
        )
    }
}

pub(super) fn authorize(version: Version, token: &str) -> String {
    let mut out = String::with_capacity(64);
    if version == Version::V16 {
        out.push_str(r#"{"idTag":"#);
        write_string(&mut out, token);
        out.push('}');
    } else {
        out.push('{');
        id_token(&mut out, token);
        out.push('}');
    }
    out
}

fn id_token(out: &mut String, token: &str) {
    out.push_str(r#""idToken":{"idToken":"#);
    write_string(out, token);
    out.push_str(r#","type":"ISO14443"}"#);
}

/// A message of a transaction, in any version.
pub(super) struct Event<'a> {
    pub(super) version: Version,
    pub(super) connector: u8,
    pub(super) transaction: &'a OpenTransaction,
    pub(super) reading: &'a MeterReading,
    pub(super) at: TimestampUs,
}

impl Event<'_> {
    /// StartTransaction, or TransactionEvent Started.
    pub(super) fn start(&self) -> Draft {
        let Self { connector, at, .. } = *self;
        if self.version == Version::V16 {
            let mut out = format!(r#"{{"connectorId":{connector},"idTag":"#);
            write_string(&mut out, &self.transaction.token);
            let _ = write!(
                out,
                r#","meterStart":{},"timestamp":"{at}""#,
                self.reading.register_wh
            );
            if let Some(id) = self.transaction.reservation_id {
                let _ = write!(out, r#","reservationId":{id}"#);
            }
            out.push('}');
            return out.into();
        }
        let trigger = match self.transaction.remote_start_id {
            Some(_) => "RemoteStart",
            None => "Authorized",
        };
        self.transaction_event("Started", trigger, "Transaction.Begin", None)
    }

    /// MeterValues, or TransactionEvent Updated. `triggered`: a command asks for it.
    pub(super) fn update(&self, triggered: bool) -> Draft {
        let context = if triggered {
            "Trigger"
        } else {
            "Sample.Periodic"
        };
        if self.version == Version::V16 {
            let mut payload = format!(r#"{{"connectorId":{},"transactionId":"#, self.connector);
            let transaction_id_at = Some(payload.len());
            payload.push_str(r#","meterValue":["#);
            self.meter_value_16(&mut payload, context);
            payload.push_str("]}");
            return Draft {
                payload,
                transaction_id_at,
                offline_at: None,
            };
        }
        let trigger = if triggered {
            "Trigger"
        } else {
            "MeterValuePeriodic"
        };
        self.transaction_event("Updated", trigger, context, None)
    }

    /// StopTransaction, or TransactionEvent Ended.
    pub(super) fn stop(&self, reason: StopReason) -> Draft {
        if self.version == Version::V16 {
            let mut payload = r#"{"transactionId":"#.to_owned();
            let transaction_id_at = Some(payload.len());
            payload.push_str(r#","idTag":"#);
            write_string(&mut payload, &self.transaction.token);
            let _ = write!(
                payload,
                r#","meterStop":{},"timestamp":"{}","reason":"{}"}}"#,
                self.reading.register_wh,
                self.at,
                reason.v16()
            );
            return Draft {
                payload,
                transaction_id_at,
                offline_at: None,
            };
        }
        let (stopped, trigger) = reason.v2();
        self.transaction_event("Ended", trigger, "Transaction.End", Some(stopped))
    }

    fn transaction_event(
        &self,
        kind: &str,
        trigger: &str,
        context: &str,
        stopped: Option<&str>,
    ) -> Draft {
        let transaction = self.transaction;
        let mut payload = String::with_capacity(900);
        let _ = write!(
            payload,
            r#"{{"eventType":"{kind}","timestamp":"{}","triggerReason":"{trigger}","seqNo":{},"#,
            self.at, transaction.next_seq_no
        );
        let offline_at = Some(payload.len());
        let state = if stopped.is_some() {
            "EVConnected"
        } else {
            "Charging"
        };
        let _ = write!(
            payload,
            r#""transactionInfo":{{"transactionId":"{}","chargingState":"{state}""#,
            transaction.id
        );
        if let Some(reason) = stopped {
            let _ = write!(payload, r#","stoppedReason":"{reason}""#);
        }
        if kind == "Started"
            && let Some(id) = transaction.remote_start_id
        {
            let _ = write!(payload, r#","remoteStartId":{id}"#);
        }
        let _ = write!(
            payload,
            r#"}},"evse":{{"id":{},"connectorId":1}},"#,
            self.connector
        );
        if kind == "Started"
            && let Some(id) = transaction.reservation_id
        {
            let _ = write!(payload, r#""reservationId":{id},"#);
        }
        if kind != "Updated" {
            id_token(&mut payload, &transaction.token);
            payload.push(',');
        }
        payload.push_str(r#""meterValue":["#);
        self.meter_value_2(&mut payload, context);
        payload.push_str("]}");
        Draft {
            payload,
            transaction_id_at: None,
            offline_at,
        }
    }

    fn meter_value_16(&self, out: &mut String, context: &str) {
        let _ = write!(out, r#"{{"timestamp":"{}","sampledValue":["#, self.at);
        each_sample(self.reading, |value, measurand, location, unit| {
            let _ = write!(
                out,
                r#"{{"value":"{value}","context":"{context}","measurand":"{measurand}","location":"{location}","unit":"{unit}"}},"#
            );
        });
        out.pop();
        out.push_str("]}");
    }

    fn meter_value_2(&self, out: &mut String, context: &str) {
        let _ = write!(out, r#"{{"timestamp":"{}","sampledValue":["#, self.at);
        each_sample(self.reading, |value, measurand, location, unit| {
            let _ = write!(
                out,
                r#"{{"value":{value},"context":"{context}","measurand":"{measurand}","location":"{location}","unitOfMeasure":{{"unit":"{unit}"}}}},"#
            );
        });
        out.pop();
        out.push_str("]}");
    }
}

/// MeterValues of a connector without a transaction, for a command that asks for it.
pub(super) fn idle_meter_values(
    version: Version,
    connector: u8,
    register_wh: u64,
    at: TimestampUs,
) -> String {
    let common =
        r#""context":"Trigger","measurand":"Energy.Active.Import.Register","location":"Outlet""#;
    match version {
        Version::V16 => format!(
            r#"{{"connectorId":{connector},"meterValue":[{{"timestamp":"{at}","sampledValue":[{{"value":"{register_wh}",{common},"unit":"Wh"}}]}}]}}"#
        ),
        _ => format!(
            r#"{{"evseId":{connector},"meterValue":[{{"timestamp":"{at}","sampledValue":[{{"value":{register_wh},{common},"unitOfMeasure":{{"unit":"Wh"}}}}]}}]}}"#
        ),
    }
}

fn clip(text: &str, chars: usize) -> &str {
    match text.char_indices().nth(chars) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// Calls `sample` with value, measurand, location and unit of everything that the meter has read.
fn each_sample(
    reading: &MeterReading,
    mut sample: impl FnMut(std::fmt::Arguments<'_>, &'static str, &'static str, &'static str),
) {
    let r = reading;
    sample(
        format_args!("{}", r.register_wh),
        "Energy.Active.Import.Register",
        "Outlet",
        "Wh",
    );
    sample(
        format_args!("{:.1}", r.power_w),
        "Power.Active.Import",
        "Outlet",
        "W",
    );
    sample(format_args!("{:.1}", r.voltage_v), "Voltage", "Outlet", "V");
    sample(
        format_args!("{:.2}", r.current_a),
        "Current.Import",
        "Outlet",
        "A",
    );
    sample(format_args!("{}", r.soc_percent), "SoC", "EV", "Percent");
}
