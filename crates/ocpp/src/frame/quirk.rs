//! Mistakes in a frame that are tolerated, by name, so that they can be counted.

use std::fmt;

/// A mistake despite which a frame can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Quirk {
    /// A byte order mark before the frame.
    ByteOrderMark,
    /// NUL bytes around the frame.
    NulAround,
    /// The message type is a string: `["2",…`.
    TypeAsText,
    /// The message id is a number.
    NumberId,
    /// The message id is longer than 36 characters.
    LongId,
    /// `null` in place of an object.
    NullPayload,
    /// The payload, or an error's code, description or details, is missing.
    MissingElements,
    /// More elements than the message type has; they are ignored.
    ExtraElements,
    /// An error's code or description is not a string.
    TextAsOther,
}

impl Quirk {
    /// Every quirk.
    pub const ALL: [Self; 9] = [
        Self::ByteOrderMark,
        Self::NulAround,
        Self::TypeAsText,
        Self::NumberId,
        Self::LongId,
        Self::NullPayload,
        Self::MissingElements,
        Self::ExtraElements,
        Self::TextAsOther,
    ];

    /// What is wrong, for people; fits after "the frame is not as OCPP-J demands:".
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::ByteOrderMark => "a byte order mark before it",
            Self::NulAround => "NUL bytes around it",
            Self::TypeAsText => "the message type is a string",
            Self::NumberId => "the message id is a number",
            Self::LongId => "the message id is longer than 36 characters",
            Self::NullPayload => "null in place of an object",
            Self::MissingElements => "elements are missing",
            Self::ExtraElements => "more elements than the message type has",
            Self::TextAsOther => "an error's code or description is not a string",
        }
    }

    /// A short name for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ByteOrderMark => "byte_order_mark",
            Self::NulAround => "nul_around",
            Self::TypeAsText => "type_as_text",
            Self::NumberId => "number_id",
            Self::LongId => "long_id",
            Self::NullPayload => "null_payload",
            Self::MissingElements => "missing_elements",
            Self::ExtraElements => "extra_elements",
            Self::TextAsOther => "text_as_other",
        }
    }
}

impl fmt::Display for Quirk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The quirks of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quirks(u16);

impl Quirks {
    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `quirk` is among them.
    #[must_use]
    pub const fn has(self, quirk: Quirk) -> bool {
        self.0 & (1 << quirk as u8) != 0
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Quirk> {
        Quirk::ALL.into_iter().filter(move |quirk| self.has(*quirk))
    }

    pub(super) const fn note(&mut self, quirk: Quirk) {
        self.0 |= 1 << quirk as u8;
    }
}
