//! What the operator has set for a charger.

use serde::{Deserialize, Serialize};

/// Whether a charger may take part (BootNotification's `status`, rules B-1 to B-6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Registration {
    /// Takes part.
    Accepted,
    /// May connect and be configured, nothing else.
    Pending,
    /// Refused.
    Rejected,
}

/// What to do with a payload that breaks the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckMode {
    /// Every violation is answered with CALLERROR, except in transaction messages (rule Q-12).
    Strict,
    /// What firmware commonly gets wrong is noted and answered as if right; what cannot be
    /// understood is answered with CALLERROR, except in transaction messages.
    #[default]
    Warn,
    /// Nothing is checked beyond what an answer needs.
    Off,
}

/// What the operator has set for one charger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChargerProfile {
    /// Identity, as the operator spells it. Two identities that differ only in case are one (C-3).
    pub charger_id: String,
    /// Whether it may take part.
    pub registration: Registration,
    /// Argon2 hash (PHC string) of its Basic-auth password; `None` = none is asked for.
    pub password_hash: Option<String>,
    /// Schema checks; `None` = the policy's default.
    pub check: Option<CheckMode>,
}
