//! Tokens of drivers, as the operator has set them.

use crate::Timestamp;
use serde::{Deserialize, Serialize};

/// The status of a token (`status` in idTagInfo or idTokenInfo).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TokenStatus {
    /// May charge.
    Accepted,
    /// Blocked by the operator.
    Blocked,
    /// Past its expiry.
    Expired,
    /// Not allowed to charge.
    Invalid,
}

impl TokenStatus {
    /// All statuses, in the order in which texts name them.
    pub const ALL: [Self; 4] = [Self::Accepted, Self::Blocked, Self::Expired, Self::Invalid];

    /// OCPP's spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::Blocked => "Blocked",
            Self::Expired => "Expired",
            Self::Invalid => "Invalid",
        }
    }
}

/// Whether a token may start a transaction while another transaction of it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConcurrentTransactions {
    /// It may.
    #[default]
    Allow,
    /// It may not: the second start is answered `ConcurrentTx`.
    Refuse,
}

impl ConcurrentTransactions {
    /// The spelling of settings and of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Refuse => "refuse",
        }
    }
}

/// A token with its status. Letter case does not matter in comparisons of ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// idTag (1.6) or idToken (2.x).
    pub id: String,
    /// Its status.
    pub status: TokenStatus,
    /// When it expires, if ever.
    pub expires_at: Option<Timestamp>,
    /// parentIdTag (1.6) / groupIdToken (2.x).
    pub group_id: Option<String>,
    /// The type of an idToken of 2.x, such as `ISO14443`; OCPP 1.6 has no types.
    #[serde(default)]
    pub token_type: Option<String>,
    /// Whether it may have several open transactions; `None` for the policy's default.
    #[serde(default)]
    pub concurrent: Option<ConcurrentTransactions>,
    /// A note of the operator. A gateway's directory does not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Token {
    /// An accepted token without further settings.
    #[must_use]
    pub fn accepted(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            status: TokenStatus::Accepted,
            expires_at: None,
            group_id: None,
            token_type: None,
            concurrent: None,
            note: None,
        }
    }

    /// The key of a token: ids are compared without regard to letter case.
    #[must_use]
    pub fn key_of(id: &str) -> String {
        id.to_lowercase()
    }

    /// The key of this token.
    #[must_use]
    pub fn key(&self) -> String {
        Self::key_of(&self.id)
    }

    /// The version of the token for conditional requests: equal tokens have equal ones.
    #[must_use]
    pub fn version(&self) -> u64 {
        // Texts and numbers can always be written as JSON.
        let json = serde_json::to_vec(&self.view()).unwrap_or_default();
        let [a, b, c, d, e, f, g, h, ..] = *blake3::hash(&json).as_bytes();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// What the command line and the audit log show.
    #[must_use]
    pub fn view(&self) -> TokenView {
        TokenView {
            id: self.id.clone(),
            status: self.status,
            token_type: self.token_type.clone(),
            expires_at: self.expires_at,
            group: self.group_id.clone(),
            concurrent_transactions: self.concurrent,
            note: self.note.clone(),
        }
    }
}

/// The latest transaction that a token was accepted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenUse {
    /// When the transaction began, as lists of transactions have it: by the charger's clock if it reported the begin.
    pub at: Timestamp,
    /// The charger's identity.
    pub charger_id: String,
    /// The connector (1.6) or EVSE (2.x), if the charger named one.
    pub connector: Option<i64>,
}

/// A token with its last use, as lists have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedToken {
    /// What the operator has set.
    pub token: Token,
    /// `None` if no stored transaction of it is known.
    pub last_use: Option<TokenUse>,
}

impl ListedToken {
    /// What the API shows.
    #[must_use]
    pub fn view(&self) -> ListedTokenView {
        let last_use = self.last_use.as_ref();
        ListedTokenView {
            token: self.token.view(),
            last_used_at: last_use.map(|last_use| last_use.at),
            last_used_by: last_use.map(|last_use| last_use.charger_id.clone()),
            last_used_connector: last_use.and_then(|last_use| last_use.connector),
        }
    }
}

/// A token as the API shows it: [`TokenView`], and the members of [`READ_ONLY`](crate::token_fields::READ_ONLY).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedTokenView {
    /// What the operator has set.
    #[serde(flatten)]
    pub token: TokenView,
    /// When the latest transaction that it was accepted for began.
    #[serde(serialize_with = "super::rfc3339::option")]
    pub last_used_at: Option<Timestamp>,
    /// The identity of that transaction's charger.
    pub last_used_by: Option<String>,
    /// The connector (1.6) or EVSE (2.x) there.
    pub last_used_connector: Option<i64>,
}

/// A token as the command line and the audit log show it. Its members are the columns of an import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokenView {
    /// idTag (1.6) or idToken (2.x), in the operator's spelling.
    pub id: String,
    /// The status that the operator has set.
    pub status: TokenStatus,
    /// The type of an idToken of 2.x.
    #[serde(rename = "type")]
    pub token_type: Option<String>,
    /// When it expires.
    #[serde(serialize_with = "super::rfc3339::option")]
    pub expires_at: Option<Timestamp>,
    /// parentIdTag (1.6) / groupIdToken (2.x).
    pub group: Option<String>,
    /// Whether it may have several open transactions; `None` for the policy's default.
    pub concurrent_transactions: Option<ConcurrentTransactions>,
    /// A note of the operator.
    pub note: Option<String>,
}
