//! Refused handshakes: chargers that tried to connect and may not, so that an operator sees what to do about each.

use super::ChargerKey;
use crate::{GatewayId, Timestamp};
use serde::Serialize;

/// Rows that are kept. Of more, those are deleted first that were refused once, the oldest of them first, so that a flood
/// of random identities does not push out a charger that tries again and again.
pub const REFUSED_HANDSHAKES_MAX: usize = 1_000;
/// Rows of one address that are kept.
pub const REFUSED_PER_ADDRESS_MAX: usize = 50;
/// Rows of one call of [`Handshakes::add_refused`](crate::ports::Handshakes::add_refused) that have an event.
pub const REFUSED_EVENTS_PER_CALL_MAX: usize = 8;
/// Rows of one address and of one hour that have an event.
pub const REFUSED_EVENTS_PER_ADDRESS_MAX: usize = 10;
/// That hour.
pub const REFUSED_EVENTS_MS: i64 = 3_600 * 1_000;
/// How long a row is kept after its latest refusal: 30 days.
pub const REFUSED_KEPT_MS: i64 = 30 * 24 * 3_600 * 1_000;
/// Bytes of an identity, a path or a list of subprotocols that are kept.
pub const REFUSED_TEXT_BYTES_MAX: usize = 255;

/// Handshakes of one identity that were refused for one reason; without an identity, those from one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedHandshake {
    /// The identity as it came; `None` if the path has none.
    pub charger_id: Option<String>,
    /// Why, in the words of the gateway's log.
    pub reason: String,
    /// The HTTP status of the answer.
    pub status: u16,
    /// What an operator can do about it.
    pub cure: String,
    /// From where the latest one came, without a port; of IPv6 the /64.
    pub address: String,
    /// Its path, without a query.
    pub path: Option<String>,
    /// The subprotocols that it offered.
    pub offered: Option<String>,
    /// The gateway that refused it.
    pub gateway: GatewayId,
    /// The revision of the directory by which the latest one was judged; `None` if the settings of chargers were no reason.
    /// It is not stored.
    pub judged_by: Option<u64>,
    /// When the first one was refused.
    pub first_at: Timestamp,
    /// When the latest one was refused.
    pub last_at: Timestamp,
    /// How many were refused.
    pub count: u64,
}

impl RefusedHandshake {
    /// Whether it was judged by a directory that is older than this version of the charger's settings: then it says what was
    /// true before.
    #[must_use]
    pub fn is_before(&self, version: u64) -> bool {
        self.judged_by.is_some_and(|revision| revision < version)
    }

    /// Identifies what is counted together: the reason, and the identity in any letter case, or the address.
    #[must_use]
    pub fn key(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        match &self.charger_id {
            Some(id) => hasher
                .update(b"i")
                .update(ChargerKey::of(id).as_str().as_bytes()),
            None => hasher.update(b"a").update(self.address.as_bytes()),
        };
        hasher.update(b"\0").update(self.reason.as_bytes());
        hasher.finalize().to_hex()[..32].to_owned()
    }

    /// Adds refusals with the same key.
    pub fn add(&mut self, other: Self) {
        let (first_at, count) = (
            self.first_at.min(other.first_at),
            self.count.saturating_add(other.count),
        );
        if other.last_at >= self.last_at {
            *self = other;
        }
        self.first_at = first_at;
        self.count = count;
    }
}

/// Refused handshakes as the API shows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusedHandshakeView {
    /// The number of the row; a row that was added later has a larger one.
    pub no: i64,
    /// Always `refused`.
    pub outcome: &'static str,
    /// The identity as it came; `None` if the path has none.
    pub charger_id: Option<String>,
    /// Why, in the words of the gateway's log.
    pub reason: String,
    /// The HTTP status of the answer.
    pub status: u16,
    /// What an operator can do about it.
    pub cure: String,
    /// From where the latest one came.
    pub address: String,
    /// Its path, without a query.
    pub path: Option<String>,
    /// The subprotocols that it offered.
    pub offered: Option<String>,
    /// The gateway that refused it.
    pub gateway_id: GatewayId,
    /// When the first one was refused.
    #[serde(serialize_with = "super::rfc3339::always")]
    pub first_at: Timestamp,
    /// When the latest one was refused.
    #[serde(serialize_with = "super::rfc3339::always")]
    pub last_at: Timestamp,
    /// How many were refused.
    pub count: u64,
}

impl RefusedHandshakeView {
    /// The row with this number.
    #[must_use]
    pub fn of(no: i64, row: RefusedHandshake) -> Self {
        Self {
            no,
            outcome: "refused",
            charger_id: row.charger_id,
            reason: row.reason,
            status: row.status,
            cure: row.cure,
            address: row.address,
            path: row.path,
            offered: row.offered,
            gateway_id: row.gateway,
            first_at: row.first_at,
            last_at: row.last_at,
            count: row.count,
        }
    }
}
