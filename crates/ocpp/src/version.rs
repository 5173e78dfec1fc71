//! The OCPP version of a connection, and its WebSocket subprotocol.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A version of OCPP-J, as negotiated by the WebSocket subprotocol (OCPP-J 3.1.2; rule C-2: never
/// by a label in the URL).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Version {
    /// OCPP 1.6, with the security whitepaper's messages.
    #[serde(rename = "1.6")]
    V16,
    /// OCPP 2.0.1.
    #[serde(rename = "2.0.1")]
    V201,
    /// OCPP 2.1.
    #[serde(rename = "2.1")]
    V21,
}

impl Version {
    /// All versions, oldest first.
    pub const ALL: [Self; 3] = [Self::V16, Self::V201, Self::V21];

    /// The version's number as the specification writes it: `1.6`, `2.0.1`, `2.1`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V16 => "1.6",
            Self::V201 => "2.0.1",
            Self::V21 => "2.1",
        }
    }

    /// The WebSocket subprotocol registered with IANA (rule C-6).
    #[must_use]
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::V16 => "ocpp1.6",
            Self::V201 => "ocpp2.0.1",
            Self::V21 => "ocpp2.1",
        }
    }

    /// The version of a subprotocol; letter case is ignored, because some chargers write `OCPP1.6`.
    #[must_use]
    pub fn from_subprotocol(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|version| version.subprotocol().eq_ignore_ascii_case(name.trim()))
    }

    /// The version with this number, as [`Version::as_str`] writes it.
    #[must_use]
    pub fn from_number(number: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|version| version.as_str() == number)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
