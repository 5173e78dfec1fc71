//! The operator's settings for a charger.

use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// The values that [`ChargerProfile::frame_bytes_max`] may have: 4 KiB to 8 MiB. As Base64 a message of 8 MiB has 10.7 MiB,
/// so its record fits into the 16 MiB that the journal takes and into the 16 MiB that RabbitMQ 4 accepts by default.
pub const FRAME_BYTES_MAX: RangeInclusive<u32> = 4_096..=8 << 20;

/// The registration status of a charger (`status` in the answer to BootNotification, rules B-1 to B-6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Registration {
    /// Accepted.
    Accepted,
    /// May connect and be configured only.
    Pending,
    /// Refused.
    Rejected,
}

/// How strictly payloads are checked against the schema, and frames against OCPP-J.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckMode {
    /// Every violation is answered with CALLERROR, also one in the frame, and an action of another version. Transaction
    /// messages (rule Q-12), SENDs and replies are kept with a note instead.
    Strict,
    /// Common mistakes of firmware are noted and answered with success; a payload that cannot be understood is answered
    /// with CALLERROR, except in transaction messages.
    #[default]
    Warn,
    /// A payload must only be a JSON object.
    Off,
}

/// The operator's settings for one charger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChargerProfile {
    /// The identity in the operator's spelling. Identities that differ only in letter case are one charger (C-3).
    pub charger_id: String,
    /// Its registration status.
    pub registration: Registration,
    /// Argon2 hash (PHC string) of its Basic authentication password; `None` if none is required.
    pub password_hash: Option<String>,
    /// How strictly its messages are checked; `None` for the policy's default.
    pub check: Option<CheckMode>,
    /// Bytes of one of its messages at most, within [`FRAME_BYTES_MAX`]; `None` for the gateway's setting. Used from its
    /// next connection on.
    #[serde(default)]
    pub frame_bytes_max: Option<u32>,
}
