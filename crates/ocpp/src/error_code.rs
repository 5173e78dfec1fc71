//! The error codes of a CALLERROR. The versions spell two of the codes differently, and chargers mix the spellings, so
//! only this module deals with spelling.

use crate::Version;
use std::fmt;

/// An error code of OCPP-J. Displays in the spelling of 2.x; on the wire use [`ErrorCode::as_str`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The action is not known.
    NotImplemented,
    /// The action is known, but not supported.
    NotSupported,
    /// The receiver failed to process it.
    InternalError,
    /// The payload is incomplete, or does not have the structure of the action.
    ProtocolError,
    /// A security issue; also the answer to a charger that is not accepted yet (B-4).
    SecurityError,
    /// The payload is syntactically wrong. 1.6 calls it `FormationViolation`.
    FormatViolation,
    /// A member has a value that is not allowed.
    PropertyConstraintViolation,
    /// A member or item occurs too often or too rarely. 1.6 officially spells it with one r.
    OccurrenceConstraintViolation,
    /// A member has the wrong type.
    TypeConstraintViolation,
    /// Anything else.
    GenericError,
    /// The message type number is not known (2.x only).
    MessageTypeNotSupported,
    /// Not a valid frame, for example because its id cannot be read (2.x only).
    RpcFrameworkError,
}

impl ErrorCode {
    /// Every code, in the order of the specification's table.
    pub const ALL: [Self; 12] = [
        Self::NotImplemented,
        Self::NotSupported,
        Self::InternalError,
        Self::ProtocolError,
        Self::SecurityError,
        Self::FormatViolation,
        Self::PropertyConstraintViolation,
        Self::OccurrenceConstraintViolation,
        Self::TypeConstraintViolation,
        Self::GenericError,
        Self::MessageTypeNotSupported,
        Self::RpcFrameworkError,
    ];

    /// The official spelling in `version`. 1.6 lacks two codes, and the nearest ones replace them: `GenericError` for an
    /// unsupported message type, `FormationViolation` for an unreadable frame.
    #[must_use]
    pub const fn as_str(self, version: Version) -> &'static str {
        let old = matches!(version, Version::V16);
        match self {
            Self::NotImplemented => "NotImplemented",
            Self::NotSupported => "NotSupported",
            Self::InternalError => "InternalError",
            Self::ProtocolError => "ProtocolError",
            Self::SecurityError => "SecurityError",
            Self::FormatViolation | Self::RpcFrameworkError if old => "FormationViolation",
            Self::FormatViolation => "FormatViolation",
            Self::PropertyConstraintViolation => "PropertyConstraintViolation",
            Self::OccurrenceConstraintViolation if old => "OccurenceConstraintViolation",
            Self::OccurrenceConstraintViolation => "OccurrenceConstraintViolation",
            Self::TypeConstraintViolation => "TypeConstraintViolation",
            Self::MessageTypeNotSupported if old => "GenericError",
            Self::GenericError => "GenericError",
            Self::MessageTypeNotSupported => "MessageTypeNotSupported",
            Self::RpcFrameworkError => "RpcFrameworkError",
        }
    }

    /// Reads a code leniently: every version's spelling, any letter case, white space around it. `None` for a code of no
    /// version; such a CALLERROR is still an answer.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        Self::ALL.into_iter().find(|code| {
            code.as_str(Version::V21).eq_ignore_ascii_case(text)
                || (code.as_str(Version::V16).eq_ignore_ascii_case(text)
                    && !matches!(
                        code,
                        Self::MessageTypeNotSupported | Self::RpcFrameworkError
                    ))
        })
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str(Version::V21))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_has_its_own_spelling() {
        use ErrorCode::{FormatViolation, OccurrenceConstraintViolation};
        assert_eq!(FormatViolation.as_str(Version::V16), "FormationViolation");
        assert_eq!(FormatViolation.as_str(Version::V201), "FormatViolation");
        assert_eq!(
            OccurrenceConstraintViolation.as_str(Version::V16),
            "OccurenceConstraintViolation"
        );
        assert_eq!(
            OccurrenceConstraintViolation.as_str(Version::V21),
            "OccurrenceConstraintViolation"
        );
    }

    #[test]
    fn every_spelling_is_accepted() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::parse(code.as_str(Version::V201)), Some(code));
        }
        assert_eq!(
            ErrorCode::parse(" formationviolation "),
            Some(ErrorCode::FormatViolation)
        );
        assert_eq!(
            ErrorCode::parse("OccurenceConstraintViolation"),
            Some(ErrorCode::OccurrenceConstraintViolation)
        );
        assert_eq!(
            ErrorCode::parse("GenericError"),
            Some(ErrorCode::GenericError)
        );
        assert_eq!(ErrorCode::parse("OutOfCoffee"), None);
        assert_eq!(ErrorCode::parse(""), None);
    }

    #[test]
    fn ocpp_1_6_gets_only_its_own_codes() {
        let known_to_16 = [
            "NotImplemented",
            "NotSupported",
            "InternalError",
            "ProtocolError",
            "SecurityError",
            "FormationViolation",
            "PropertyConstraintViolation",
            "OccurenceConstraintViolation",
            "TypeConstraintViolation",
            "GenericError",
        ];
        for code in ErrorCode::ALL {
            assert!(known_to_16.contains(&code.as_str(Version::V16)), "{code}");
        }
    }
}
