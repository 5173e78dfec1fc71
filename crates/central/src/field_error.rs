//! Why a member of an object was refused: the same words in the API, on the command line and in the verdicts of imports.

use std::fmt;

/// Why a member was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The member.
    pub field: &'static str,
    /// The refused value.
    pub value: String,
    /// What to do instead, as a clause without a subject.
    pub cure: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, value, cure } = self;
        write!(f, "{field} cannot be {value:?}: {cure}")
    }
}

impl std::error::Error for FieldError {}

pub(crate) fn refused(field: &'static str, value: &str, cure: impl Into<String>) -> FieldError {
    FieldError {
        field,
        value: value.chars().take(300).collect(),
        cure: cure.into(),
    }
}
