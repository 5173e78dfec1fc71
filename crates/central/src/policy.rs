//! What the operator decides, as one value: the station asks it wherever the standard leaves the
//! choice to the central system.

use crate::ports::CheckMode;
use serde::{Deserialize, Serialize};

/// What becomes of a charger that the directory does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownCharger {
    /// It takes part at once.
    #[default]
    Accept,
    /// BootNotification is answered `Pending`, anything else `SecurityError` (rule B-4).
    Pending,
    /// BootNotification is answered `Rejected`; a gateway may refuse the handshake before (C-5).
    Reject,
}

/// What becomes of a token that is not known, or cannot be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownToken {
    /// It may charge; the record is marked as unverified.
    #[default]
    Accept,
    /// It may not charge.
    Reject,
}

/// The operator's decisions. Every field has a default, so an empty table is a whole policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// A charger that the directory does not know: `accept` (default), `pending` or `reject`.
    pub unknown_charger: UnknownCharger,
    /// A token that the directory was asked for and does not know: `accept` (default) or `reject`.
    pub unknown_token: UnknownToken,
    /// A token that is not known and cannot be asked for now: `accept` (default) or `reject`. A
    /// refusal stops charging and stays in the charger's cache, so refuse only by choice (Q-22).
    pub unknown_token_offline: UnknownToken,
    /// How strictly payloads are checked where the charger's profile says nothing: `strict`,
    /// `warn` (default) or `off`.
    pub check: CheckMode,
    /// Heartbeat interval told to an accepted charger, in seconds (default 300; at least 1,
    /// because 0 or none makes some chargers flood).
    pub heartbeat_interval_s: u32,
    /// Shortest wait before the next BootNotification told to a pending or rejected charger, in
    /// seconds (default 60); each answer draws between once and twice this, so that a fleet spreads.
    pub pending_interval_s: u32,
    /// Whether a Heartbeat makes a record and is answered only when that is durable (default
    /// true). When false, it is answered at once and leaves no trace but the connection itself.
    pub record_heartbeats: bool,
    /// How long a question about a token may stay open, in milliseconds (default 2000); after that
    /// it counts as one that cannot be asked.
    pub question_timeout_ms: u32,
    /// Answers (and records) of one charger that may wait for the disk before its socket is not
    /// read any more (default 16).
    pub unanswered_max: u32,
    /// Frames of one connection that cannot be read, or answer nothing, and are kept as records
    /// per minute (default 60). Further ones are answered as the standard asks, and counted.
    pub unreadable_per_minute: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            unknown_charger: UnknownCharger::Accept,
            unknown_token: UnknownToken::Accept,
            unknown_token_offline: UnknownToken::Accept,
            check: CheckMode::Warn,
            heartbeat_interval_s: 300,
            pending_interval_s: 60,
            record_heartbeats: true,
            question_timeout_ms: 2_000,
            unanswered_max: 16,
            unreadable_per_minute: 60,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_table_is_a_whole_policy_and_a_misspelt_key_is_told() {
        let read = |text: &str| serde_json::from_str::<Policy>(text);
        assert_eq!(read("{}").unwrap(), Policy::default());
        let strict = read(r#"{"check":"strict","unknown_charger":"reject"}"#).unwrap();
        assert_eq!(strict.check, CheckMode::Strict);
        assert_eq!(strict.unknown_charger, UnknownCharger::Reject);
        let error = read(r#"{"unknown_chargers":"reject"}"#).unwrap_err();
        assert!(error.to_string().contains("unknown_chargers"), "{error}");
    }
}
