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
}
