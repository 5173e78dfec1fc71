//! Rows that never change. All values of a row follow from its charger, its time and the content that `key_hash` covers,
//! so two rows with equal identity are equal.

use super::{ChargerKey, Readings};
use crate::Timestamp;
use serde::Serialize;

/// One element of a `meterValue` list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MeterValueRow {
    /// The charger.
    pub charger: ChargerKey,
    /// When it was measured: the charger's timestamp, which may be in the future; when it was received if that is missing
    /// or implausible.
    #[serde(serialize_with = "super::rfc3339::always")]
    pub at: Timestamp,
    /// Hash of the content; signed, because SQL has no unsigned integers.
    pub key_hash: i64,
    /// The EVSE (2.x).
    pub evse: Option<i64>,
    /// The connector (1.6: 0 is the main meter).
    pub connector: Option<i64>,
    /// The EVSE (2.x) or the connector (1.6) of a value that names no transaction (rule Q-17); `None` where it names
    /// one, and for the main meter.
    pub unnamed_at: Option<i64>,
    /// The transaction's id, as the charger wrote it.
    pub transaction_id: Option<String>,
    /// Energy.Active.Import.Register of the whole outlet, in watt-hours.
    pub energy_wh: Option<f64>,
    /// Power.Active.Import of the whole outlet (the sum of its phases), in watts.
    pub power_w: Option<f64>,
    /// State of charge, in percent.
    pub soc_percent: Option<f64>,
    /// The `sampledValue` list as the charger wrote it (JSON).
    pub sampled: String,
}

impl MeterValueRow {
    /// Its readings, as they count for a session that the row does not name.
    #[must_use]
    pub fn readings(&self) -> Readings {
        Readings::of_row(self.at, self.key_hash, self.evse.is_some(), &self.sampled)
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EventRow {
    /// The charger.
    pub charger: ChargerKey,
    /// When it happened: the charger's timestamp, which may be in the future; when it was received if that is missing or
    /// implausible.
    #[serde(serialize_with = "super::rfc3339::always")]
    pub at: Timestamp,
    /// Hash of the content; signed, because SQL has no unsigned integers.
    pub key_hash: i64,
    /// The action that reported it: `SecurityEventNotification`, `NotifyEvent`, …
    pub kind: String,
    /// Its name: the security event's type, `component.variable`, a status.
    pub name: Option<String>,
    /// Its value: techInfo, the actual value, …
    pub value: Option<String>,
    /// The EVSE, if the message names one.
    pub evse: Option<i64>,
    /// The connector, if the message names one.
    pub connector: Option<i64>,
    /// The payload (of `NotifyEvent`: the one event) as the charger wrote it (JSON).
    pub data: String,
}
