//! A charger as a whole: what it reports about itself, and whether it is connected.

use super::{Latest, Merge, Stamp};
use crate::record::Epoch;
use crate::{GatewayId, Timestamp};
use ocpp::Version;
use serde::{Deserialize, Serialize};

/// The content of BootNotification, of 1.6 and 2.x.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Boot {
    /// chargePointVendor / vendorName.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// chargePointModel / model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// chargePointSerialNumber (or the older chargeBoxSerialNumber) / serialNumber.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// firmwareVersion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<String>,
    /// iccid of the SIM card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iccid: Option<String>,
    /// imsi of the SIM card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imsi: Option<String>,
    /// meterType (1.6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meter_type: Option<String>,
    /// meterSerialNumber (1.6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meter_serial: Option<String>,
    /// reason (2.x).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The status in the answer: `Accepted`, `Pending`, `Rejected`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<String>,
}

/// One connection of a charger. The newest one (by epoch, then gateway) counts; for the same connection, a known end wins
/// over an unknown one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// Milliseconds at its start, strictly increasing per gateway.
    pub epoch: Epoch,
    /// The gateway that holds it.
    pub gateway: GatewayId,
    /// Whether its end is not recorded yet. A gateway that was killed did not record it, see
    /// [`ChargerState::connection_state`].
    pub online: bool,
    /// The peer's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Why it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_reason: Option<String>,
}

impl Merge for Connection {
    fn merge(&mut self, other: Self) {
        let (mine, theirs) = ((self.epoch, self.gateway), (other.epoch, other.gateway));
        if theirs > mine {
            *self = other;
        } else if theirs == mine {
            self.online &= other.online;
            // At most one record of a connection has each of these; if there are more, the greater value stays, so that
            // any order gives the same result.
            self.remote = self.remote.take().max(other.remote);
            if other.ended_at > self.ended_at {
                self.end_reason = other.end_reason;
                self.ended_at = other.ended_at;
            } else if other.ended_at == self.ended_at {
                self.end_reason = self.end_reason.take().max(other.end_reason);
            }
        }
    }
}

/// What is known of a charger.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ChargerState {
    /// The identity in its latest spelling.
    #[serde(default)]
    pub charger_id: Latest<String>,
    /// The OCPP version of its latest record.
    #[serde(default)]
    pub version: Latest<Version>,
    /// When its first record was received.
    #[serde(default)]
    pub first_seen: Option<Timestamp>,
    /// When its latest record was received; every record is a sign of life (rule N-5).
    #[serde(default)]
    pub last_seen: Option<Timestamp>,
    /// The latest boot.
    #[serde(default)]
    pub boot: Latest<Boot>,
    /// The newest connection.
    #[serde(default)]
    pub connection: Option<Connection>,
    /// firmwareStatus of the last (Signed)`FirmwareStatusNotification`.
    #[serde(default)]
    pub firmware_status: Latest<String>,
}

impl Merge for ChargerState {
    fn merge(&mut self, other: Self) {
        self.charger_id.merge(other.charger_id);
        self.version.merge(other.version);
        self.first_seen = match (self.first_seen, other.first_seen) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.last_seen = self.last_seen.max(other.last_seen);
        self.boot.merge(other.boot);
        match (&mut self.connection, other.connection) {
            (Some(mine), Some(theirs)) => mine.merge(theirs),
            (mine @ None, theirs) => *mine = theirs,
            (Some(_), None) => {}
        }
        self.firmware_status.merge(other.firmware_status);
    }
}

impl ChargerState {
    /// What is known of its newest connection at `now`. `gateway` is the state of the gateway that holds it.
    #[must_use]
    pub fn connection_state(
        &self,
        gateway: Option<&GatewayState>,
        now: Timestamp,
    ) -> ConnectionState {
        let started = gateway.map_or_else(Epoch::default, |gateway| gateway.started_epoch);
        match &self.connection {
            Some(connection) if connection.online && connection.epoch >= started => {
                // A record of the charger also proves that its gateway ran.
                let alive_at = gateway
                    .and_then(|gateway| gateway.alive_at)
                    .max(self.last_seen);
                let is_alive =
                    alive_at.is_some_and(|at| at >= now.plus_millis(-GATEWAY_SILENT_MS_MAX));
                if is_alive {
                    ConnectionState::Open
                } else {
                    ConnectionState::Unknown
                }
            }
            _ => ConnectionState::Closed,
        }
    }

    /// The view of this state. The arguments are those of [`ChargerState::connection_state`].
    #[must_use]
    pub fn view(
        &self,
        charger: &str,
        gateway: Option<&GatewayState>,
        now: Timestamp,
    ) -> ChargerView {
        let state = self.connection_state(gateway, now);
        let connection = self.connection.as_ref();
        ChargerView {
            charger_id: self
                .charger_id
                .get()
                .cloned()
                .unwrap_or_else(|| charger.to_owned()),
            ocpp_version: self.version.get().copied(),
            online: state == ConnectionState::Open,
            connection: state,
            gateway_id: connection.map(|connection| connection.gateway),
            remote: connection.and_then(|connection| connection.remote.clone()),
            connected_at: connection
                .map(|connection| Timestamp(i64::try_from(connection.epoch.0).unwrap_or(i64::MAX))),
            disconnected_at: connection.and_then(|connection| connection.ended_at),
            disconnect_reason: connection.and_then(|connection| connection.end_reason.clone()),
            first_seen_at: self.first_seen,
            last_seen_at: self.last_seen,
            booted_at: self.boot.stamp().map(|stamp| stamp.at),
            boot: self.boot.get().cloned(),
            firmware_status: self.firmware_status.get().cloned(),
        }
    }

    /// Notes a sign of life.
    pub(crate) fn seen(&mut self, at: Timestamp) {
        self.first_seen = Some(self.first_seen.map_or(at, |first| first.min(at)));
        self.last_seen = self.last_seen.max(Some(at));
    }

    /// Notes identity and version; allocates only if the spelling is new.
    pub(crate) fn known_as(&mut self, stamp: Stamp, charger_id: &str, version: Version) {
        self.charger_id.set_text(stamp, charger_id);
        self.version.set(stamp, version);
    }
}

/// What is known of a charger's newest connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionState {
    /// Its end is not recorded, and its gateway runs.
    Open,
    /// It has ended, or there was none.
    Closed,
    /// Its end is not recorded, but its gateway has not reported to the database for [`GATEWAY_SILENT_MS_MAX`].
    Unknown,
}

/// A gateway that has not reported to the database for so many milliseconds may be dead, and its connections with it.
/// It reports every [`GATEWAY_ALIVE_EVERY_MS`].
pub const GATEWAY_SILENT_MS_MAX: i64 = 30_000;

/// How often a gateway reports to the database that it runs ([`GatewayState::alive_at`]), in milliseconds.
pub const GATEWAY_ALIVE_EVERY_MS: u64 = 10_000;

/// A charger, as the API and exports show it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChargerView {
    /// Its identity in its latest spelling.
    pub charger_id: String,
    /// The OCPP version of its latest record.
    pub ocpp_version: Option<Version>,
    /// Whether it is known to be connected: `connection` is open.
    pub online: bool,
    /// What is known of its newest connection.
    pub connection: ConnectionState,
    /// The gateway that holds or held its newest connection.
    pub gateway_id: Option<GatewayId>,
    /// Its address in that connection.
    pub remote: Option<String>,
    /// When the newest connection began.
    #[serde(serialize_with = "super::rfc3339::option")]
    pub connected_at: Option<Timestamp>,
    /// When that connection ended, if the end is known.
    #[serde(serialize_with = "super::rfc3339::option")]
    pub disconnected_at: Option<Timestamp>,
    /// Why it ended.
    pub disconnect_reason: Option<String>,
    /// When its first record was received.
    #[serde(serialize_with = "super::rfc3339::option")]
    pub first_seen_at: Option<Timestamp>,
    /// When its latest record was received.
    #[serde(serialize_with = "super::rfc3339::option")]
    pub last_seen_at: Option<Timestamp>,
    /// When its latest BootNotification was received.
    #[serde(serialize_with = "super::rfc3339::option")]
    pub booted_at: Option<Timestamp>,
    /// The content of that BootNotification.
    pub boot: Option<Boot>,
    /// Its firmware status.
    pub firmware_status: Option<String>,
}

impl ChargerView {
    /// The gateway and the epoch of the newest connection, unless it is known to have ended.
    #[must_use]
    pub fn newest_connection(&self) -> Option<(GatewayId, Epoch)> {
        if self.connection == ConnectionState::Closed {
            return None;
        }
        let epoch = u64::try_from(self.connected_at?.as_millis()).ok()?;
        Some((self.gateway_id?, Epoch(epoch)))
    }
}

/// What is known of a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GatewayState {
    /// The epoch at which it last started; connections with a smaller one have ended.
    pub started_epoch: Epoch,
    /// When that was.
    pub started_at: Timestamp,
    /// When it last reported that it runs, by the database's clock. Not part of any record: a gateway writes it to the
    /// database directly, because it is only of use while it is fresh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alive_at: Option<Timestamp>,
}

impl Merge for GatewayState {
    fn merge(&mut self, other: Self) {
        let theirs = (other.started_epoch, other.started_at);
        (self.started_epoch, self.started_at) = (self.started_epoch, self.started_at).max(theirs);
        self.alive_at = self.alive_at.max(other.alive_at);
    }
}
