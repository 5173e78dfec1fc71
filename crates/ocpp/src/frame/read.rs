//! Reads a frame in one pass over the text.

use super::message_id::CHARS_MAX;
use super::{
    Call, CallError, CallResult, Frame, FrameError, FrameErrorKind, MessageId, Quirk, Quirks, Send,
};
use crate::Version;
use crate::json::{Raw, scan};
use std::borrow::Cow;

/// The message types that some version has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MessageType {
    Call,
    CallResult,
    CallError,
    CallResultError,
    Send,
}

impl MessageType {
    pub(super) const fn from_number(number: i64) -> Option<Self> {
        Some(match number {
            2 => Self::Call,
            3 => Self::CallResult,
            4 => Self::CallError,
            5 => Self::CallResultError,
            6 => Self::Send,
            _ => return None,
        })
    }

    /// The two newer types exist in 2.1 only (F-2, F-3).
    const fn is_in(self, version: Version) -> bool {
        match self {
            Self::Call | Self::CallResult | Self::CallError => true,
            Self::CallResultError | Self::Send => matches!(version, Version::V21),
        }
    }

    /// How many elements a frame of this type has (F-1).
    const fn elements(self) -> usize {
        match self {
            Self::Call | Self::Send => 4,
            Self::CallResult => 3,
            Self::CallError | Self::CallResultError => 5,
        }
    }
}

/// The result of reading a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed<'a> {
    /// The frame, or what could be read.
    pub frame: Result<Frame<'a>, FrameError<'a>>,
    /// The mistakes that were tolerated.
    pub quirks: Quirks,
}

/// Reads one text message. Total. `Ok` means that it is a message of `version`, that its id and action were read, and
/// that the whole text is JSON; not that the action exists or that the payload is an object.
///
/// # Errors
/// See [`FrameErrorKind`].
pub fn parse(text: &str, version: Version) -> Result<Frame<'_>, FrameError<'_>> {
    parse_noting(text, version).frame
}

/// As [`parse`], and reports the mistakes that were tolerated.
#[must_use]
pub fn parse_noting(text: &str, version: Version) -> Parsed<'_> {
    let mut quirks = Quirks::default();
    let (inner, offset) = trim(text, &mut quirks);
    let mut envelope = Envelope::new(inner, offset);
    let scanned = envelope.scan();
    let frame = envelope.interpret(scanned, version, &mut quirks);
    Parsed { frame, quirks }
}

/// The text without what may surround a frame, and its offset in `text`. Some charger stacks send the NUL that ends a C
/// string.
fn trim<'a>(text: &'a str, quirks: &mut Quirks) -> (&'a str, usize) {
    let mut inner = text;
    if let Some(after) = inner.strip_prefix('\u{feff}') {
        quirks.note(Quirk::ByteOrderMark);
        inner = after;
    }
    let mut saw_nul = false;
    let around = |c: char| {
        saw_nul |= c == '\0';
        scan::is_blank(c) || c == '\0'
    };
    inner = inner.trim_start_matches(around);
    let offset = text.len() - inner.len();
    let around = |c: char| {
        saw_nul |= c == '\0';
        scan::is_blank(c) || c == '\0'
    };
    inner = inner.trim_end_matches(around);
    if saw_nul {
        quirks.note(Quirk::NulAround);
    }
    (inner, offset)
}

/// A frame's elements, not yet interpreted. The fifth is the last that any message type has.
struct Envelope<'a> {
    /// The text without what surrounded it.
    inner: &'a str,
    /// Where in the whole text `inner` begins.
    offset: usize,
    /// Where in `inner` each element begins and ends.
    elements: [(usize, usize); 5],
    /// How many elements were read, including those after the fifth.
    count: usize,
    /// Where in `inner` the text begins that was not read.
    unread_at: usize,
}

impl<'a> Envelope<'a> {
    const fn new(inner: &'a str, offset: usize) -> Self {
        Self {
            inner,
            offset,
            elements: [(0, 0); 5],
            count: 0,
            unread_at: 0,
        }
    }

    /// Finds the elements; on an error, those before it.
    fn scan(&mut self) -> Result<(), FrameErrorKind> {
        let bytes = self.inner.as_bytes();
        if bytes.is_empty() {
            return Err(FrameErrorKind::Empty);
        }
        if bytes.first() != Some(&b'[') {
            let end = scan::value(bytes, 0, 0).map_err(|stop| self.stopped(stop))?;
            return Err(if end == bytes.len() {
                FrameErrorKind::NotArray
            } else {
                self.not_json(end)
            });
        }
        self.unread_at = scan::skip_blanks(bytes, 1);
        if bytes.get(self.unread_at) == Some(&b']') {
            self.unread_at += 1;
        } else {
            self.scan_elements(bytes)?;
        }
        if self.unread_at == bytes.len() {
            Ok(())
        } else {
            Err(self.not_json(self.unread_at))
        }
    }

    /// From the first element to the byte after the closing bracket.
    fn scan_elements(&mut self, bytes: &[u8]) -> Result<(), FrameErrorKind> {
        loop {
            let start = self.unread_at;
            let end = scan::value(bytes, start, 1).map_err(|stop| self.stopped(stop))?;
            if let Some(slot) = self.elements.get_mut(self.count) {
                *slot = (start, end);
            }
            self.count += 1;
            self.unread_at = scan::skip_blanks(bytes, end);
            match bytes.get(self.unread_at) {
                Some(b',') => self.unread_at = scan::skip_blanks(bytes, self.unread_at + 1),
                Some(b']') => {
                    self.unread_at += 1;
                    return Ok(());
                }
                _ => return Err(self.not_json(self.unread_at)),
            }
        }
    }

    const fn not_json(&self, at: usize) -> FrameErrorKind {
        FrameErrorKind::NotJson {
            at: self.offset + at,
        }
    }

    const fn stopped(&self, stop: scan::Stop) -> FrameErrorKind {
        match stop {
            scan::Stop::Syntax(at) => self.not_json(at),
            scan::Stop::TooDeep(at) => FrameErrorKind::TooDeep {
                at: self.offset + at,
            },
        }
    }

    /// Makes a frame of the elements; `scanned` says whether all of the text was read.
    fn interpret(
        &self,
        scanned: Result<(), FrameErrorKind>,
        version: Version,
        quirks: &mut Quirks,
    ) -> Result<Frame<'a>, FrameError<'a>> {
        let number = self.element(0).and_then(|raw| message_type(raw, quirks));
        let known = number.and_then(MessageType::from_number);
        let id = self.element(1).and_then(|raw| message_id(raw, quirks));
        let action = match known {
            Some(
                MessageType::CallResult | MessageType::CallError | MessageType::CallResultError,
            ) => None,
            Some(MessageType::Call | MessageType::Send) | None => self.action(),
        };
        let message_type = known.filter(|known| known.is_in(version));
        let kind = match (scanned, number, message_type, &id) {
            (Err(kind), ..) => kind,
            (Ok(()), None, ..) => FrameErrorKind::BadShape("no message type"),
            (Ok(()), Some(number), None, _) => FrameErrorKind::UnknownMessageType(number),
            (Ok(()), _, Some(_), None) => FrameErrorKind::NoId,
            (Ok(()), _, Some(message_type), Some(id)) => {
                if self.count < message_type.elements() {
                    quirks.note(Quirk::MissingElements);
                } else if self.count > message_type.elements() {
                    quirks.note(Quirk::ExtraElements);
                }
                match self.frame(message_type, id, action.as_ref(), quirks) {
                    Some(frame) => return Ok(frame),
                    None => FrameErrorKind::BadShape("no action"),
                }
            }
        };
        let understood = match (&action, &id, number) {
            (Some(_), ..) => 3,
            (None, Some(_), _) => 2,
            (None, None, Some(_)) => 1,
            (None, None, None) => 0,
        };
        Err(FrameError {
            kind,
            message_type: number,
            id,
            action,
            rest: self.text_from(understood),
        })
    }

    /// The frame; `None` if it needs an action and has none.
    fn frame(
        &self,
        message_type: MessageType,
        id: &MessageId<'a>,
        action: Option<&Cow<'a, str>>,
        quirks: &mut Quirks,
    ) -> Option<Frame<'a>> {
        let id = id.clone();
        Some(match message_type {
            MessageType::Call => Frame::Call(Call {
                id,
                action: action?.clone(),
                payload: self.object(3, quirks),
            }),
            MessageType::Send => Frame::Send(Send {
                id,
                action: action?.clone(),
                payload: self.object(3, quirks),
            }),
            MessageType::CallResult => Frame::CallResult(CallResult {
                id,
                payload: self.object(2, quirks),
            }),
            MessageType::CallError => Frame::CallError(self.error(id, quirks)),
            MessageType::CallResultError => Frame::CallResultError(self.error(id, quirks)),
        })
    }

    fn error(&self, id: MessageId<'a>, quirks: &mut Quirks) -> CallError<'a> {
        CallError {
            id,
            code: self.text(2, quirks),
            description: self.text(3, quirks),
            details: self.object(4, quirks),
        }
    }

    fn element(&self, index: usize) -> Option<Raw<'a>> {
        let (start, end) = *self.elements.get(index)?;
        // The characters around a value are ASCII, so these are character boundaries.
        (index < self.count)
            .then(|| self.inner.get(start..end).map(Raw::scanned))
            .flatten()
    }

    /// The action, if it is a string.
    fn action(&self) -> Option<Cow<'a, str>> {
        self.element(2)
            .filter(|raw| raw.as_str().starts_with('"'))
            .and_then(Raw::text)
    }

    /// A string decoded; any other value as written.
    fn text(&self, index: usize, quirks: &mut Quirks) -> Cow<'a, str> {
        let Some(raw) = self.element(index) else {
            return Cow::Borrowed("");
        };
        if !raw.as_str().starts_with('"') {
            quirks.note(Quirk::TextAsOther);
        }
        match raw.text() {
            Some(text) => text,
            None if raw.is_null() => Cow::Borrowed(""),
            None => Cow::Borrowed(raw.as_str()),
        }
    }

    /// A payload or details.
    fn object(&self, index: usize, quirks: &mut Quirks) -> &'a str {
        match self.element(index) {
            Some(raw) if raw.is_null() => {
                quirks.note(Quirk::NullPayload);
                "{}"
            }
            Some(raw) => raw.as_str(),
            None => "{}",
        }
    }

    /// The text from the element with this index to the end.
    fn text_from(&self, index: usize) -> &'a str {
        let at = match self.elements.get(index) {
            Some((start, _)) if index < self.count => *start,
            _ => self.unread_at,
        };
        self.inner.get(at..).unwrap_or("")
    }
}

/// A whole number, also if written as a string or with a fraction of zero.
fn message_type(raw: Raw<'_>, quirks: &mut Quirks) -> Option<i64> {
    match raw.as_str().as_bytes() {
        [digit @ b'0'..=b'9'] => return Some(i64::from(digit - b'0')),
        [b'0'..=b'9' | b'-', ..] => {}
        [b'"', ..] => quirks.note(Quirk::TypeAsText),
        _ => return None,
    }
    raw.integer()
}

fn message_id<'a>(raw: Raw<'a>, quirks: &mut Quirks) -> Option<MessageId<'a>> {
    match raw.as_str().as_bytes().first()? {
        b'"' => {
            let text = raw.text()?;
            if text.len() > CHARS_MAX && text.chars().count() > CHARS_MAX {
                quirks.note(Quirk::LongId);
            }
            Some(MessageId::string(raw.as_str(), text))
        }
        b'0'..=b'9' | b'-' => {
            quirks.note(Quirk::NumberId);
            Some(MessageId::number(raw.as_str()))
        }
        _ => None,
    }
}
