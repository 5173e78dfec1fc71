//! Says what is wrong with a payload, without ever standing between a charger and the journal.
//!
//! The official JSON schemas state facts: which members an action has, their types, bounds,
//! enumerations. Those facts live in generated tables (`cargo run -p xtask -- codegen`); the engine
//! walks a payload's text against them in one streaming pass. What is found is a list of
//! [`Violation`]s; whether they matter is the caller's policy (strict, warn or off, per charger).
//!
//! Schemas are draft-04 and draft-06 (rule F-11); verdicts equal those of a reference validator,
//! which a test shows. Three things are ours: date-times follow rule F-13, a payload of `null`
//! counts as `{}` (rule F-5), and multiples of a tenth are counted in decimal.

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

/// What is wrong with the payload of a request (CALL or SEND); empty when nothing is.
///
/// An unknown action is checked only for being a JSON object. A payload that is not JSON gives that
/// one violation alone; else at most [`VIOLATIONS_MAX`] are reported, those that are not tolerated
/// first to be kept. A member that comes twice is checked twice.
///
/// Never panics, never recurses deeper than the schema does. A valid payload costs no allocation,
/// except where a text contains escapes or an unknown member nests.
#[must_use]
pub fn request(version: Version, action: &str, payload: &str) -> Vec<Violation> {
    let info = action::lookup(version, action);
    engine::check(info.map(|info| info.request), payload)
}

/// What is wrong with the payload of a response (CALLRESULT); otherwise as [`request`].
#[must_use]
pub fn response(version: Version, action: &str, payload: &str) -> Vec<Violation> {
    let info = action::lookup(version, action);
    engine::check(info.and_then(|info| info.response), payload)
}

/// The most violations that one check reports.
pub const VIOLATIONS_MAX: usize = 16;

/// One way in which a payload departs from its schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Where, as a JSON pointer (RFC 6901); empty for the payload itself. A missing member is named
    /// by the path it would have.
    pub path: String,
    /// What kind of rule is broken.
    pub kind: ViolationKind,
    /// What was expected and what was found, in words; not meant to be parsed.
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
    /// A text is not the date-time or URI that it should be.
    Format,
    /// A member that the schema does not know, where it allows no others.
    Extra,
}

impl Violation {
    /// The code for a CALLERROR that refuses the payload for this (ocpp-rules 1.2).
    #[must_use]
    pub fn error_code(&self) -> ErrorCode {
        match self.kind {
            // An unknown member is not conform to the structure, which is what this code says.
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

    /// Whether firmware commonly gets this wrong, so that the message is still worth working with
    /// (rules F-6, F-12). True for Enum, Length, Range, Items, Format and Extra; for a number or
    /// boolean written as a text, and a number where a free text belongs; for a fraction where an
    /// integer belongs; for an optional member that is `null`, or an empty object, instead of absent. False for every other Type, for Missing,
    /// for what is not an object and for what is not JSON.
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
