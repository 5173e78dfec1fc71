//! The status of a connector.

use super::charger::{ChargerView, ConnectionState};
use super::{Merge, Stamp};
use crate::Timestamp;
use crate::record::{Epoch, Seq};
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
    /// For a live status its record's number: within a millisecond too, the one that arrived later counts. 0 for a queued
    /// one.
    #[serde(default)]
    seq: Seq,
    stamp: Stamp,
}

/// A status received this long after its connection began is live, whatever its time, because chargers empty their queues
/// first. In milliseconds.
const QUEUE_EMPTIED_AFTER_MS: i64 = 10 * 60_000;

/// A status whose time is further before its connection than this, in milliseconds, has the time of a wrong clock. Chargers
/// that were offline for months have sent the statuses of all that time (quirk 23).
const QUEUED_MAX_MS: i64 = 400 * 24 * 3_600_000;

impl StatusOrder {
    /// For a status with the charger's time `reported`, received on the connection that began at `epoch` (milliseconds).
    #[must_use]
    pub fn new(epoch: Epoch, reported: Option<Timestamp>, stamp: Stamp) -> Self {
        let began = began_at(epoch);
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
            seq: if queued.is_none() {
                stamp.record.seq
            } else {
                Seq::default()
            },
            stamp,
        }
    }

    /// When a live status was received, and by how many milliseconds its time is after that.
    fn clock_error_ms(&self) -> Option<(Timestamp, i64)> {
        let Stamp {
            at, received_at, ..
        } = self.stamp;
        let error = at.0.saturating_sub(received_at.0);
        self.is_live.then_some((received_at, error))
    }

    /// Whether the status arrived on the charger's newest connection.
    fn is_of(&self, charger: &ChargerView) -> bool {
        let connection = (charger.connected_at, charger.gateway_id);
        (Some(began_at(self.epoch)), Some(self.stamp.record.gateway)) >= connection
    }
}

/// When the connection of this epoch began.
fn began_at(epoch: Epoch) -> Timestamp {
    Timestamp(i64::try_from(epoch.0).unwrap_or(i64::MAX))
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

    /// Whether it shows another status than `before`, or one that was reported on another connection.
    #[must_use]
    pub fn differs_from(&self, before: &Self) -> bool {
        let shown = |state: &Self| {
            let (order, status) = state.status.as_ref()?;
            Some((order.epoch, order.stamp.record.gateway, status.clone()))
        };
        shown(self) != shown(before)
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> Option<&ConnectorStatus> {
        self.status.as_ref().map(|(_, status)| status)
    }

    /// The view of this state, as a connector of this charger.
    ///
    /// The status is what the charger reported last, if it did so on its newest connection and that connection is open.
    /// Else it is [`UNKNOWN`], and `unknown_reason` says why: a charger may change its state while it is disconnected, and
    /// OCPP does not oblige it to report afterwards (rules N-2, N-3, N-5).
    #[must_use]
    pub fn view(&self, charger: &ChargerView, evse: i64, connector: i64) -> ConnectorView {
        let last = self.status.as_ref();
        let said = self.status();
        let last_status_at = last.map(|(order, _)| order.stamp.at);
        let unknown_reason = match charger.connection {
            ConnectionState::Closed => Some(UnknownReason::Offline),
            ConnectionState::Unknown => Some(UnknownReason::GatewayUnreachable),
            ConnectionState::Open if last.is_some_and(|(order, _)| order.is_of(charger)) => None,
            ConnectionState::Open => Some(UnknownReason::NotReportedSinceConnect),
        };
        ConnectorView {
            charger_id: charger.charger_id.clone(),
            evse,
            connector,
            status: match (said, unknown_reason) {
                (Some(said), None) => said.status.clone(),
                _ => UNKNOWN.to_owned(),
            },
            since: match unknown_reason {
                None => last_status_at,
                Some(UnknownReason::Offline) => charger.disconnected_at,
                Some(UnknownReason::NotReportedSinceConnect) => charger.connected_at,
                Some(UnknownReason::GatewayUnreachable) => None,
            },
            unknown_reason,
            last_status: said.map(|said| said.status.clone()),
            last_status_at,
            error_code: said.and_then(|said| said.error_code.clone()),
            info: said.and_then(|said| said.info.clone()),
            vendor_error_code: said.and_then(|said| said.vendor_error_code.clone()),
            clock_error_ms: last.and_then(|(order, _)| order.clock_error_ms()),
        }
    }
}

/// The status of a connector that is not known now.
pub const UNKNOWN: &str = "Unknown";

/// Why the status of a connector is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownReason {
    /// The charger is not connected.
    Offline,
    /// The charger is connected and has not reported this connector since then.
    NotReportedSinceConnect,
    /// The gateway that held its connection does not report ([`ConnectionState::Unknown`]).
    GatewayUnreachable,
}

/// A connector, as the API and exports show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectorView {
    /// The charger's identity in its latest spelling.
    pub charger_id: String,
    /// The EVSE; 0 for OCPP 1.6.
    pub evse: i64,
    /// The connector; 0 is the whole EVSE or charger.
    pub connector: i64,
    /// The status, or [`UNKNOWN`].
    pub status: String,
    /// Since when it has this status. For [`UNKNOWN`]: when the charger disconnected or connected; `None` where that is
    /// not known.
    #[serde(serialize_with = "super::rfc3339::option")]
    pub since: Option<Timestamp>,
    /// Why the status is [`UNKNOWN`]; `None` if the charger itself reported it.
    pub unknown_reason: Option<UnknownReason>,
    /// The status that the charger reported last.
    pub last_status: Option<String>,
    /// Since when it had that status, by its clock.
    #[serde(serialize_with = "super::rfc3339::option")]
    pub last_status_at: Option<Timestamp>,
    /// The error code of `last_status`.
    pub error_code: Option<String>,
    /// The charger's description of the error.
    pub info: Option<String>,
    /// The vendor's error code.
    pub vendor_error_code: Option<String>,
    /// When the last status was received, and by how many milliseconds its time is after that: the error of the charger's
    /// clock, if the charger reported the status when it changed. `None` for a status that waited while it was offline.
    #[serde(skip)]
    pub clock_error_ms: Option<(Timestamp, i64)>,
}
