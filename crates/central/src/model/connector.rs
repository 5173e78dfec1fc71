//! The status of a connector.

use super::{Merge, Stamp};
use crate::Timestamp;
use crate::record::Epoch;
use serde::{Deserialize, Serialize};

/// The status from StatusNotification, or from `NotifyEvent` with `AvailabilityState` (rule N-4).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ConnectorStatus {
    /// The status as the charger wrote it; it may be one that OCPP does not define.
    pub status: String,
    /// errorCode (1.6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// info (1.6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<String>,
    /// vendorErrorCode (1.6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor_error_code: Option<String>,
}

/// The order in which one status replaces another: first by connection, then live after queued, then by time.
///
/// A charger that connects sends the statuses that it queued while offline, possibly after its current one (rule Q-11).
/// So a queued status never replaces a live one of the same connection. Live statuses are ordered by reception only,
/// because a charger's clock may be wrong or be set at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StatusOrder {
    epoch: Epoch,
    is_live: bool,
    /// For a live status the time of reception, for a queued one the charger's time.
    place: Timestamp,
    stamp: Stamp,
}

/// A status received this long after its connection began is live, whatever its time, because chargers empty their queues
/// first. In milliseconds.
const QUEUE_EMPTIED_AFTER_MS: i64 = 10 * 60_000;

/// A status whose time is further before its connection, in milliseconds, has the time of a wrong clock: chargers queue
/// no status this long.
const QUEUED_MAX_MS: i64 = 7 * 24 * 3_600_000;

impl StatusOrder {
    /// For a status with the charger's time `reported`, received on the connection that began at `epoch` (milliseconds).
    #[must_use]
    pub fn new(epoch: Epoch, reported: Option<Timestamp>, stamp: Stamp) -> Self {
        let began = Timestamp(i64::try_from(epoch.0).unwrap_or(i64::MAX));
        let received = stamp.received_at;
        let is_queued = |reported: Timestamp| {
            reported < began
                && reported >= began.plus_millis(-QUEUED_MAX_MS)
                && received < began.plus_millis(QUEUE_EMPTIED_AFTER_MS)
        };
        let queued = reported.filter(|reported| is_queued(*reported));
        Self {
            epoch,
            is_live: queued.is_none(),
            place: queued.unwrap_or(received),
            stamp,
        }
    }
}

/// What is known of a connector. Connector 0 of EVSE 0 is the whole charger (1.6); connector 0 of
/// another EVSE is that EVSE (2.x).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ConnectorState {
    /// The latest status of the newest connection.
    #[serde(default)]
    status: Option<(StatusOrder, ConnectorStatus)>,
}

impl Merge for ConnectorState {
    fn merge(&mut self, other: Self) {
        if let Some((order, status)) = other.status {
            self.set(order, status);
        }
    }
}

impl ConnectorState {
    /// Sets the status, unless the one that is held is later in the order.
    pub fn set(&mut self, order: StatusOrder, status: ConnectorStatus) {
        if self.status.as_ref().is_none_or(|(held, _)| order > *held) {
            self.status = Some((order, status));
        }
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> Option<&ConnectorStatus> {
        self.status.as_ref().map(|(_, status)| status)
    }

    /// The view of this state.
    #[must_use]
    pub fn view(&self, charger: &str, evse: i64, connector: i64) -> ConnectorView {
        let status = self.status();
        ConnectorView {
            charger_id: charger.to_owned(),
            evse,
            connector,
            status: status.map(|status| status.status.clone()),
            error_code: status.and_then(|status| status.error_code.clone()),
            info: status.and_then(|status| status.info.clone()),
            vendor_error_code: status.and_then(|status| status.vendor_error_code.clone()),
            since: self.status.as_ref().map(|(order, _)| order.stamp.at),
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
