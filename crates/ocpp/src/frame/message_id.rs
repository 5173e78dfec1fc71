//! Message ids: strings, except where a charger writes a number and expects that number back.

use std::borrow::Cow;
use std::fmt;

/// The longest id that the standard allows, in characters (F-20). Longer ones are read too.
pub(super) const CHARS_MAX: usize = 36;

/// The id that an answer repeats from its call. The standard allows a string of at most 36 characters (F-20); any string
/// is accepted, and so is a number, which is repeated as that number. Two ids are equal if they are repeated as the same
/// text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MessageId<'a> {
    text: Cow<'a, str>,
    is_number: bool,
}

impl<'a> MessageId<'a> {
    /// The id of a 2.x CALLERROR to a frame whose id cannot be read (F-8).
    pub const UNREADABLE: MessageId<'static> = MessageId {
        text: Cow::Borrowed("-1"),
        is_number: false,
    };

    /// An id that is a string.
    #[must_use]
    pub fn new(text: impl Into<Cow<'a, str>>) -> Self {
        Self {
            text: text.into(),
            is_number: false,
        }
    }

    /// An id that was written as this JSON number.
    pub(super) const fn number(literal: &'a str) -> Self {
        Self {
            text: Cow::Borrowed(literal),
            is_number: true,
        }
    }

    /// The decoded string, or the number as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it was written as a number.
    #[must_use]
    pub const fn is_number(&self) -> bool {
        self.is_number
    }

    /// The same id, borrowing nothing.
    #[must_use]
    pub fn into_owned(self) -> MessageId<'static> {
        MessageId {
            text: Cow::Owned(self.text.into_owned()),
            is_number: self.is_number,
        }
    }

    /// Appends the id as it goes on the wire.
    pub(super) fn write(&self, out: &mut String) {
        if self.is_number {
            out.push_str(&self.text);
        } else {
            crate::json::write_string(out, &self.text);
        }
    }
}

impl<'a> From<&'a str> for MessageId<'a> {
    fn from(text: &'a str) -> Self {
        Self::new(text)
    }
}

impl From<String> for MessageId<'static> {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl fmt::Display for MessageId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
