//! The mistakes of chargers that are tolerated, by name. Each is noted in the record of the message that needed it, so
//! that it can be counted by charger after the gateway has forgotten the frame, and again when records are applied once
//! more.

use crate::record::{Notes, RecordKind};
use ocpp::check::{Violation, ViolationKind};
use ocpp::frame;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A mistake of a charger despite which its message or connection is used. The number is the one that records and
/// databases hold; it is never used for another quirk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Quirk {
    /// A byte order mark before the frame.
    ByteOrderMark = 0,
    /// NUL bytes around the frame.
    NulAround = 1,
    /// The message type is a string: `["2",…`.
    TypeAsText = 2,
    /// The message id is a number.
    NumberId = 3,
    /// The message id is longer than 36 characters.
    LongId = 4,
    /// `null` in place of an object.
    NullPayload = 5,
    /// The payload, or an error's code, description or details, is missing.
    MissingElements = 6,
    /// More elements than the message type has; they are ignored.
    ExtraElements = 7,
    /// An error's code or description is not a string.
    TextAsOther = 8,
    /// A message in a binary frame.
    BinaryFrame = 9,
    /// A message that is not UTF-8.
    InvalidUtf8 = 10,
    /// The handshake named no subprotocol.
    NoSubprotocol = 11,
    /// The handshake lacked a header, and was still clearly an upgrade.
    RepairedHandshake = 12,
    /// The message conforms to another version than that of its connection.
    OtherVersion = 13,
    /// The message showed that the charger uses another version than the assumed one.
    VersionCorrected = 14,
    /// A member that the schema does not know.
    UnknownMember = 15,
    /// A value that is not in the enumeration.
    UnknownValue = 16,
    /// A text that is too long.
    TooLong = 17,
    /// A number out of its bounds.
    OutOfRange = 18,
    /// A list with too few or too many items.
    ListLength = 19,
    /// A text that is no date-time or URI where one is required.
    MalformedText = 20,
    /// A value of another JSON type: a number as a text, `null` in place of an absent member.
    OtherType = 21,
    /// A message above the size limit; it was not read, and the connection was closed.
    MessageTooLarge = 22,
    /// An EVSE or a connector with a number that no charger has; the message changes no connector.
    PlaceOutOfRange = 23,
    /// The payload was broken; it was answered with success and kept (rule Q-12).
    Quarantined = 32,
    /// A frame that cannot be read as OCPP-J.
    UnreadableFrame = 33,
    /// A reply to a call that was not sent.
    Unsolicited = 34,
    /// The message has the natural key of an earlier one, and other content.
    Conflict = 35,
}

impl Quirk {
    /// Every quirk, in the order of their numbers.
    pub const ALL: [Self; 28] = [
        Self::ByteOrderMark,
        Self::NulAround,
        Self::TypeAsText,
        Self::NumberId,
        Self::LongId,
        Self::NullPayload,
        Self::MissingElements,
        Self::ExtraElements,
        Self::TextAsOther,
        Self::BinaryFrame,
        Self::InvalidUtf8,
        Self::NoSubprotocol,
        Self::RepairedHandshake,
        Self::OtherVersion,
        Self::VersionCorrected,
        Self::UnknownMember,
        Self::UnknownValue,
        Self::TooLong,
        Self::OutOfRange,
        Self::ListLength,
        Self::MalformedText,
        Self::OtherType,
        Self::MessageTooLarge,
        Self::PlaceOutOfRange,
        Self::Quarantined,
        Self::UnreadableFrame,
        Self::Unsolicited,
        Self::Conflict,
    ];

    /// The name in metrics and the HTTP API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ByteOrderMark => frame::Quirk::ByteOrderMark.as_str(),
            Self::NulAround => frame::Quirk::NulAround.as_str(),
            Self::TypeAsText => frame::Quirk::TypeAsText.as_str(),
            Self::NumberId => frame::Quirk::NumberId.as_str(),
            Self::LongId => frame::Quirk::LongId.as_str(),
            Self::NullPayload => frame::Quirk::NullPayload.as_str(),
            Self::MissingElements => frame::Quirk::MissingElements.as_str(),
            Self::ExtraElements => frame::Quirk::ExtraElements.as_str(),
            Self::TextAsOther => frame::Quirk::TextAsOther.as_str(),
            Self::BinaryFrame => "binary_frame",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::NoSubprotocol => "no_subprotocol",
            Self::RepairedHandshake => "repaired_handshake",
            Self::OtherVersion => "other_version",
            Self::VersionCorrected => "version_corrected",
            Self::UnknownMember => "unknown_member",
            Self::UnknownValue => "unknown_value",
            Self::TooLong => "too_long",
            Self::OutOfRange => "out_of_range",
            Self::ListLength => "list_length",
            Self::MalformedText => "malformed_text",
            Self::OtherType => "other_type",
            Self::MessageTooLarge => "message_too_large",
            Self::PlaceOutOfRange => "place_out_of_range",
            Self::Quarantined => "quarantined",
            Self::UnreadableFrame => "unreadable_frame",
            Self::Unsolicited => "unsolicited",
            Self::Conflict => "conflict",
        }
    }

    /// The quirk with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|quirk| quirk.as_str() == name)
    }

    /// The quirk with this number, which is the one that databases hold.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|quirk| *quirk as u8 == number)
    }

    /// Its index in [`Self::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        Self::ALL.binary_search(&self).unwrap_or_default()
    }

    /// The quirks of a record. Cheap when there is none.
    pub fn of(kind: RecordKind, notes: Notes) -> impl Iterator<Item = Self> {
        let is_derived = move |quirk| match quirk {
            Self::Quarantined => notes.has(Notes::QUARANTINED),
            Self::Unsolicited => notes.has(Notes::UNSOLICITED),
            Self::Conflict => notes.has(Notes::CONFLICT),
            Self::UnreadableFrame => kind == RecordKind::Unreadable,
            noted => notes.has(noted.note()),
        };
        let may_have_one = notes.0 != 0 || kind == RecordKind::Unreadable;
        let all: &[Self] = if may_have_one { &Self::ALL } else { &[] };
        all.iter().copied().filter(move |quirk| is_derived(*quirk))
    }

    /// The note of this quirk in a record. A quirk that follows from other notes or the record's kind has none of its
    /// own.
    #[must_use]
    pub const fn note(self) -> Notes {
        match self {
            Self::Quarantined | Self::UnreadableFrame | Self::Unsolicited | Self::Conflict => {
                Notes(0)
            }
            noted => Notes(1 << (FIRST_BIT + noted as u32)),
        }
    }

    /// The quirk of a mistake in a frame.
    #[must_use]
    pub const fn of_frame(quirk: frame::Quirk) -> Self {
        match quirk {
            frame::Quirk::ByteOrderMark => Self::ByteOrderMark,
            frame::Quirk::NulAround => Self::NulAround,
            frame::Quirk::TypeAsText => Self::TypeAsText,
            frame::Quirk::NumberId => Self::NumberId,
            frame::Quirk::LongId => Self::LongId,
            frame::Quirk::NullPayload => Self::NullPayload,
            frame::Quirk::MissingElements => Self::MissingElements,
            frame::Quirk::ExtraElements => Self::ExtraElements,
            frame::Quirk::TextAsOther => Self::TextAsOther,
        }
    }

    /// The quirk of a tolerated violation of a schema.
    #[must_use]
    pub const fn of_violation(kind: ViolationKind) -> Self {
        match kind {
            ViolationKind::Extra => Self::UnknownMember,
            ViolationKind::Enum => Self::UnknownValue,
            ViolationKind::Length => Self::TooLong,
            ViolationKind::Range => Self::OutOfRange,
            ViolationKind::Items => Self::ListLength,
            ViolationKind::Format => Self::MalformedText,
            // The last three are never tolerated.
            ViolationKind::Type
            | ViolationKind::Missing
            | ViolationKind::NotJson
            | ViolationKind::NotObject => Self::OtherType,
        }
    }
}

/// The lowest bit of a record's notes that is a quirk's.
const FIRST_BIT: u32 = 8;

/// The notes of these mistakes in a frame.
pub(crate) fn notes_of_frame(quirks: frame::Quirks) -> Notes {
    quirks.iter().fold(Notes::default(), |notes, quirk| {
        notes.with(Quirk::of_frame(quirk).note())
    })
}

/// The notes of these tolerated violations of a schema.
pub(crate) fn notes_of_violations(violations: &[Violation]) -> Notes {
    violations
        .iter()
        .fold(Notes::default(), |notes, violation| {
            notes.with(Quirk::of_violation(violation.kind).note())
        })
}

impl fmt::Display for Quirk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_quirk_is_found_by_name_and_number_and_has_a_note_that_no_other_has() {
        let mut bits = Notes::NAMES.iter().fold(0, |bits, (note, _)| bits | note.0);
        let mut names = BTreeSet::new();
        for quirk in Quirk::ALL {
            assert_eq!(Quirk::from_name(quirk.as_str()), Some(quirk));
            assert_eq!(Quirk::from_number(quirk as u8), Some(quirk));
            assert_eq!(Quirk::ALL[quirk.index()], quirk);
            assert_eq!(serde_json::to_value(quirk).unwrap(), quirk.as_str());
            assert!(names.insert(quirk.as_str()));
            assert_eq!(bits & quirk.note().0, 0, "{quirk}");
            bits |= quirk.note().0;
        }
        assert!(Quirk::ALL.is_sorted());
        assert_eq!(Quirk::from_number(31), None);
        assert_eq!(Quirk::from_name("none"), None);
    }

    #[test]
    fn a_mistake_in_a_frame_has_the_same_name_in_metrics_and_in_records() {
        for quirk in frame::Quirk::ALL {
            assert_eq!(Quirk::of_frame(quirk).as_str(), quirk.as_str());
        }
    }

    #[test]
    fn the_quirks_of_a_record_follow_from_its_kind_and_notes() {
        let of = |kind, notes| Quirk::of(kind, notes).collect::<Vec<_>>();
        assert_eq!(of(RecordKind::Call, Notes::default()), []);
        assert_eq!(of(RecordKind::Call, Notes::TOKEN_UNVERIFIED), []);
        let notes = Notes::TOLERATED.with(Quirk::NumberId.note());
        assert_eq!(of(RecordKind::Call, notes), [Quirk::NumberId]);
        assert_eq!(
            of(RecordKind::Call, Notes::QUARANTINED.with(Notes::CONFLICT)),
            [Quirk::Quarantined, Quirk::Conflict]
        );
        assert_eq!(
            of(RecordKind::Unreadable, Notes::default()),
            [Quirk::UnreadableFrame]
        );
    }
}
