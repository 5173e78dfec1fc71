//! Message ids: strings, except where a charger writes a number and expects that number back. What cannot be decoded
//! without loss is repeated as it was written, because a charger finds its call by it.

use std::borrow::Cow;
use std::fmt;

/// The longest id that the standard allows, in characters (F-20). Longer ones are read too.
pub(super) const CHARS_MAX: usize = 36;

/// The id that an answer repeats from its call. The standard allows a string of at most 36 characters (F-20); any string
/// is accepted, and so is a number, which is repeated as that number. A string with half of a surrogate pair (`"\ud800"`)
/// is valid JSON and no valid text: it is repeated with the escapes that it was written with. Two ids are equal if they are
/// repeated as the same text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MessageId<'a> {
    text: Cow<'a, str>,
    form: Form,
}

/// What the text of an id is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Form {
    /// A decoded string.
    Text,
    /// A JSON number as it was written.
    Number,
    /// JSON's `null`.
    Null,
    /// What was between the quotes of a JSON string, with its escapes.
    Escaped,
}

impl<'a> MessageId<'a> {
    /// The id of a 2.x CALLERROR to a frame whose id cannot be read (F-8).
    pub const UNREADABLE: MessageId<'static> = MessageId {
        text: Cow::Borrowed("-1"),
        form: Form::Text,
    };

    /// The id of an answer to a 1.6 call whose id cannot be read.
    pub const NULL: MessageId<'static> = MessageId {
        text: Cow::Borrowed("null"),
        form: Form::Null,
    };

    /// An id that is a string.
    #[must_use]
    pub fn new(text: impl Into<Cow<'a, str>>) -> Self {
        Self {
            text: text.into(),
            form: Form::Text,
        }
    }

    /// An id that was written as this JSON number.
    pub(super) const fn number(literal: &'a str) -> Self {
        Self {
            text: Cow::Borrowed(literal),
            form: Form::Number,
        }
    }

    /// An id that was written as the JSON string `quoted`, which decodes to `text`.
    pub(super) fn string(quoted: &'a str, text: Cow<'a, str>) -> Self {
        // Decoding puts U+FFFD in place of half of a surrogate pair.
        let count = |text: &str| text.matches(char::REPLACEMENT_CHARACTER).count();
        let has_lost = matches!(text, Cow::Owned(_)) && count(&text) != count(quoted);
        let inner = quoted.strip_prefix('"');
        match inner.and_then(|inner| inner.strip_suffix('"')) {
            Some(inner) if has_lost => Self {
                text: Cow::Borrowed(inner),
                form: Form::Escaped,
            },
            _ => Self::new(text),
        }
    }

    /// The decoded string, or the number as it was written; for a string with half of a surrogate pair, or with
    /// `\ufffd`, what was between its quotes, as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it was written as a number.
    #[must_use]
    pub const fn is_number(&self) -> bool {
        matches!(self.form, Form::Number)
    }

    /// The same id, borrowing nothing.
    #[must_use]
    pub fn into_owned(self) -> MessageId<'static> {
        MessageId {
            text: Cow::Owned(self.text.into_owned()),
            form: self.form,
        }
    }

    /// Appends the id as it goes on the wire.
    pub(super) fn write(&self, out: &mut String) {
        match self.form {
            Form::Text => crate::json::write_string(out, &self.text),
            Form::Number | Form::Null => out.push_str(&self.text),
            Form::Escaped => {
                out.push('"');
                out.push_str(&self.text);
                out.push('"');
            }
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
