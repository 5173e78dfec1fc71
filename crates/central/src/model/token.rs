//! Tokens that drivers present, as the operator has set them.

use crate::Timestamp;
use serde::{Deserialize, Serialize};

/// How a token stands (idTagInfo / idTokenInfo `status`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TokenStatus {
    /// Welcome.
    Accepted,
    /// Blocked by the operator.
    Blocked,
    /// Past its expiry.
    Expired,
    /// Known to be refused.
    Invalid,
}

/// What a driver presents, and how it stands. Ids are compared without regard to case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// idTag (1.6) or idToken (2.x).
    pub id: String,
    /// How it stands.
    pub status: TokenStatus,
    /// When it ends, if it does.
    pub expires_at: Option<Timestamp>,
    /// parentIdTag (1.6) / groupIdToken (2.x).
    pub group_id: Option<String>,
}
