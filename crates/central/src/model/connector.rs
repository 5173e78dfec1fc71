//! The status of a connector.

use super::{Merge, Stamp};
use crate::Timestamp;
use crate::record::Epoch;
use serde::{Deserialize, Serialize};

/// The status from StatusNotification, or from `NotifyEvent` with `AvailabilityState` (rule N-4).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ConnectorStatus {
    /// The status as the charger wrote it; an open list.
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

/// When a status was said, in the order in which one status replaces another: first the connection, then whether it
/// speaks of the present, then the time.
///
/// A charger that connects sends the statuses that it kept while it was offline, and it may send them after its
/// present one (rule Q-11). So a status of a time before the connection yields to every status that was said live
/// on it. Between live statuses only the order of arrival counts, because a charger's clock may be wrong or be set
/// at any moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SaidAt {
    epoch: Epoch,
    is_live: bool,
    /// Of a live status when it was read, of a kept one the charger's time.
    place: Timestamp,
    stamp: Stamp,
}

/// A status that is said so long after its connection began is live, whatever its time, in milliseconds. Chargers
/// empty their queues first.
const QUEUE_EMPTIED_AFTER_MS: i64 = 10 * 60_000;

/// A status that is older than this, in milliseconds, is one of a clock that was put back. Chargers keep none so long.
const KEPT_MAX_MS: i64 = 7 * 24 * 3_600_000;

impl SaidAt {
    /// For a status that was said on the connection that began at `epoch` (milliseconds), of the time `told`.
    #[must_use]
    pub fn new(epoch: Epoch, told: Option<Timestamp>, stamp: Stamp) -> Self {
        let began = Timestamp(i64::try_from(epoch.0).unwrap_or(i64::MAX));
        let received = stamp.received_at;
        let is_kept = |told: Timestamp| {
            told < began
                && told >= began.plus_millis(-KEPT_MAX_MS)
                && received < began.plus_millis(QUEUE_EMPTIED_AFTER_MS)
        };
        let kept = told.filter(|told| is_kept(*told));
        Self {
            epoch,
            is_live: kept.is_none(),
            place: kept.unwrap_or(received),
            stamp,
        }
    }
}

/// What is known of a connector. Connector 0 of EVSE 0 is the whole charger (1.6); connector 0 of
/// another EVSE is that EVSE (2.x).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ConnectorState {
    /// What the charger said last on its newest connection.
    #[serde(default)]
    status: Option<(SaidAt, ConnectorStatus)>,
}

impl Merge for ConnectorState {
    fn merge(&mut self, other: Self) {
        if let Some((said_at, status)) = other.status {
            self.set(said_at, status);
        }
    }
}

impl ConnectorState {
    /// Offers a status.
    pub fn set(&mut self, said_at: SaidAt, status: ConnectorStatus) {
        if self.status.as_ref().is_none_or(|(held, _)| said_at > *held) {
            self.status = Some((said_at, status));
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
            since: self.status.as_ref().map(|(said_at, _)| said_at.stamp.at),
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
