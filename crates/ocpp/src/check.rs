//! Checks payloads against the official JSON schemas, and refuses nothing itself: the result is a list of
//! [`Violation`]s, and the caller's policy decides which of them matter (strict, warn or off, per charger).
//!
//! The facts of the schemas (members, types, bounds, enumerations) are in generated tables (`make codegen`). The engine
//! compares a payload's text with them in one streaming pass.
//!
//! Schemas are draft-04 and draft-06 (rule F-11). A test shows that verdicts equal those of a reference validator, with
//! three exceptions: date-times follow rule F-13, a payload of `null` counts as `{}` (rule F-5), and multiples of 0.1
//! are decimal.

pub(crate) mod engine;
mod format;
mod report;
pub(crate) mod shape;

#[cfg(test)]
mod tests;

use crate::ErrorCode;
use crate::Version;
use crate::action;
use std::fmt;

/// The violations in the payload of a request (CALL or SEND); empty if it is valid.
///
/// The payload of an unknown action must only be a JSON object. A payload that is not JSON gives only
/// that violation. Else at most [`VIOLATIONS_MAX`] are reported; if there are more, violations that are not tolerated
/// take precedence. A member that is written twice is checked twice.
///
/// Never panics, never recurses deeper than the schema does. A valid payload costs no allocation,
/// except where a text contains escapes or an unknown member nests.
#[must_use]
pub fn request(version: Version, action: &str, payload: &str) -> Vec<Violation> {
    let info = action::lookup(version, action);
    engine::check(info.map(|info| info.request), payload)
}

/// The violations in the payload of a response (CALLRESULT); otherwise as [`request`].
#[must_use]
pub fn response(version: Version, action: &str, payload: &str) -> Vec<Violation> {
    let info = action::lookup(version, action);
    engine::check(info.and_then(|info| info.response), payload)
}

/// The most violations that one check reports.
pub const VIOLATIONS_MAX: usize = 16;

/// One deviation of a payload from its schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Its place as a JSON pointer (RFC 6901); empty for the payload itself. For a missing member, the path that it
    /// would have.
    pub path: String,
    /// The kind of rule that is broken.
    pub kind: ViolationKind,
    /// What was expected and what was found, for people; not meant to be parsed.
    pub detail: String,
    tolerated: bool,
}

/// The kind of rule that a [`Violation`] breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ViolationKind {
    /// The payload is not JSON.
    NotJson,
    /// The payload is JSON, but not an object.
    NotObject,
    /// A value has the wrong JSON type.
    Type,
    /// A required member is absent.
    Missing,
    /// A text is not one of the allowed values.
    Enum,
    /// A text has too many characters.
    Length,
    /// A number is out of bounds, or not a multiple of the step.
    Range,
    /// A list has too few or too many items.
    Items,
    /// A text is not a date-time or URI where one is required.
    Format,
    /// A member is unknown to a schema that allows no others.
    Extra,
}

impl ViolationKind {
    /// Its name in the HTTP API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::NotObject => "not_object",
            Self::Type => "type",
            Self::Missing => "missing",
            Self::Enum => "enum",
            Self::Length => "length",
            Self::Range => "range",
            Self::Items => "items",
            Self::Format => "format",
            Self::Extra => "extra",
        }
    }
}

impl Violation {
    /// The error code of a CALLERROR that refuses the payload for this violation.
    #[must_use]
    pub fn error_code(&self) -> ErrorCode {
        match self.kind {
            // An unknown member does not conform to the structure, which this code means.
            ViolationKind::NotJson | ViolationKind::NotObject | ViolationKind::Extra => {
                ErrorCode::FormatViolation
            }
            ViolationKind::Type => ErrorCode::TypeConstraintViolation,
            ViolationKind::Missing | ViolationKind::Items => {
                ErrorCode::OccurrenceConstraintViolation
            }
            ViolationKind::Enum
            | ViolationKind::Length
            | ViolationKind::Range
            | ViolationKind::Format => ErrorCode::PropertyConstraintViolation,
        }
    }

    /// Whether firmware commonly makes this mistake and the message is still usable (rules F-6, F-12). True for Enum,
    /// Length, Range, Items, Format and Extra; for a number or boolean written as a text; for a number in place of a
    /// free text; for a fraction in place of an integer; for an optional member that is `null` or an empty object
    /// instead of absent. False for every other Type, for Missing, and for a payload that is not a JSON object.
    #[must_use]
    pub fn is_tolerated(&self) -> bool {
        self.tolerated
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => write!(f, "payload: {}", self.detail),
            path => write!(f, "{path}: {}", self.detail),
        }
    }
}
