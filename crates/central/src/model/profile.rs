//! The operator's settings for a charger.

use serde::{Deserialize, Serialize};

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
}
