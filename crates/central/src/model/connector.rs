//! The status of a connector.

use super::{Latest, Merge};
use crate::Timestamp;
use serde::{Deserialize, Serialize};

/// The status from StatusNotification, or from `NotifyEvent` with `AvailabilityState` (rule N-4).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ConnectorStatus {
    /// The status as the charger wrote it; an open list.
    pub status: String,
    /// errorCode (1.6), when it is not `NoError`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// info (1.6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<String>,
    /// vendorErrorCode (1.6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor_error_code: Option<String>,
}

/// What is known of a connector. Connector 0 of EVSE 0 is the whole charger (1.6); connector 0 of
/// another EVSE is that EVSE (2.x).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ConnectorState {
    /// The newest status, by the charger's own time.
    #[serde(default)]
    pub status: Latest<ConnectorStatus>,
}

impl Merge for ConnectorState {
    fn merge(&mut self, other: Self) {
        self.status.merge(other.status);
    }
}

impl ConnectorState {
    /// The view of this state.
    #[must_use]
    pub fn view(&self, charger: &str, evse: i64, connector: i64) -> ConnectorView {
        let status = self.status.get();
        ConnectorView {
            charger_id: charger.to_owned(),
            evse,
            connector,
            status: status.map(|status| status.status.clone()),
            error_code: status.and_then(|status| status.error_code.clone()),
            info: status.and_then(|status| status.info.clone()),
            vendor_error_code: status.and_then(|status| status.vendor_error_code.clone()),
            since: self.status.stamp().map(|stamp| stamp.at),
        }
    }
}

/// A connector, as the API and exports show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectorView {
    /// The charger's identity, as the caller spells it.
    pub charger_id: String,
    /// The EVSE; 0 for OCPP 1.6.
    pub evse: i64,
    /// The connector; 0 is the whole EVSE or charger.
    pub connector: i64,
    /// The newest status.
    pub status: Option<String>,
    /// The error code of that status.
    pub error_code: Option<String>,
    /// The charger's description of the error.
    pub info: Option<String>,
    /// The vendor's error code.
    pub vendor_error_code: Option<String>,
    /// Since when it has this status.
    #[serde(serialize_with = "super::rfc3339::option")]
    pub since: Option<Timestamp>,
}
