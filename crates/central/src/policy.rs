//! The operator's policy, for all decisions that the standard leaves to the central system.

use crate::model::{CloseRule, ConcurrentTransactions};
use crate::ports::CheckMode;
use serde::{Deserialize, Serialize};

/// How a charger that the directory does not know is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownCharger {
    /// As an accepted charger.
    #[default]
    Accept,
    /// BootNotification is answered `Pending`, anything else `SecurityError` (rule B-4).
    Pending,
    /// BootNotification is answered `Rejected`; a gateway may refuse the handshake before (C-5).
    Reject,
}

/// How a token is treated that is not known, or cannot be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownToken {
    /// It may charge; the record is marked as unverified.
    #[default]
    Accept,
    /// It may not charge.
    Reject,
}

/// The operator's policy. Every field has a default, so an empty table is a complete policy.
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
    /// Whether a known token without a rule of its own may start a transaction while another one of it runs: `allow`
    /// (default) or `refuse`. A token that is not known has no rule and may.
    pub concurrent_transactions: ConcurrentTransactions,
    /// How long a transaction without an end keeps its token from starting another one, in hours since its start
    /// (default 24; 1 to 720).
    pub concurrent_hours_max: u32,
    /// How strictly messages are checked unless the charger's profile says otherwise: `strict`, `warn` (default) or
    /// `off`.
    pub check: CheckMode,
    /// Heartbeat interval in the answer to an accepted charger, in seconds (default 300; at least 1, because 0 makes
    /// some chargers send heartbeats without a pause).
    pub heartbeat_interval_s: u32,
    /// Shortest interval before the next BootNotification of a pending or rejected charger, in seconds (default 60);
    /// each answer has a random value between once and twice this, so that a fleet's boots spread over time.
    pub pending_interval_s: u32,
    /// Whether a Heartbeat is recorded and answered when its record is durable (default true). If false, it is answered
    /// at once and not recorded.
    pub record_heartbeats: bool,
    /// How long to wait for a token's status, in milliseconds (default 2000); after that it counts as unavailable.
    pub question_timeout_ms: u32,
    /// Answers, and records, of one charger that may wait for the disk; at this number its socket is not read (default
    /// 16).
    pub unanswered_max: u32,
    /// Unreadable frames and unsolicited replies of one connection that are recorded per minute (default 60). Further
    /// ones are answered as the standard demands, and counted.
    pub unreadable_per_minute: u32,
    /// How the gateway ends connections of chargers with some firmware; the first rule that fits a charger's last
    /// BootNotification decides (default none; at most [`CloseRule::MAX`]). A charger's own setting takes precedence.
    pub close_styles: Vec<CloseRule>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            unknown_charger: UnknownCharger::Accept,
            unknown_token: UnknownToken::Accept,
            unknown_token_offline: UnknownToken::Accept,
            concurrent_transactions: ConcurrentTransactions::Allow,
            concurrent_hours_max: 24,
            check: CheckMode::Warn,
            heartbeat_interval_s: 300,
            pending_interval_s: 60,
            record_heartbeats: true,
            question_timeout_ms: 2_000,
            unanswered_max: 16,
            unreadable_per_minute: 60,
            close_styles: Vec::new(),
        }
    }
}

impl Policy {
    /// [`Policy::concurrent_hours_max`] in milliseconds.
    #[must_use]
    pub fn concurrent_ms_max(&self) -> i64 {
        i64::from(self.concurrent_hours_max) * 3_600_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_table_is_a_complete_policy_and_an_unknown_key_is_an_error() {
        let read = |text: &str| serde_json::from_str::<Policy>(text);
        assert_eq!(read("{}").unwrap(), Policy::default());
        let strict = read(r#"{"check":"strict","unknown_charger":"reject"}"#).unwrap();
        assert_eq!(strict.check, CheckMode::Strict);
        assert_eq!(strict.unknown_charger, UnknownCharger::Reject);
        let error = read(r#"{"unknown_chargers":"reject"}"#).unwrap_err();
        assert!(error.to_string().contains("unknown_chargers"), "{error}");
    }
}
