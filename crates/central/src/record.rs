//! Records: what is written to the journal before a charger is answered, and what every later stage (sink, store, export)
//! reads.
//!
//! A record never changes. It holds the charger's bytes, so that a later version can project what this one does not
//! understand, and signatures stay valid.
//!
//! ```text
//! byte  0      format version (1)
//!       1      RecordKind          2  AnswerKind        3  ocpp version (0 = 1.6, 1 = 2.0.1, 2 = 2.1)
//!       4..8   notes, u32
//!       8..16  received_at, i64 milliseconds
//!      16..24  epoch, u64
//!      24..28  length of charger_id, u32      28..32 of message_id      32..36 of action
//!      36..40  length of payload              40..44 of answer          44..48 of reason
//!      48..    the six texts, UTF-8, in that order, nothing between them
//! ```
//! All numbers are little-endian.

use crate::Timestamp;
use ocpp::Version;
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// The id of a gateway: a UUID that is made once and kept in its data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GatewayId(pub Uuid);

impl fmt::Display for GatewayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// A record's sequence number in its gateway's journal. The first is 1.
///
/// Crate `journal` knows nothing of this crate and has the plain number; whoever calls it converts at the call, and
/// passes a `Seq` on.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// The number of the record that follows; `None` after the last one that there can be.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(next) => Some(Self(next)),
            None => None,
        }
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// When a connection or a gateway process started: milliseconds since 1970, or one more than the epoch before it, so
/// that the epochs of one gateway strictly increase also when its clock does not. Of two connections of one charger
/// the one with the greater epoch is the newer.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The smallest greater epoch; `None` after the last one that there can be.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(next) => Some(Self(next)),
            None => None,
        }
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What makes a record recognisable: the gateway that wrote it and its place in that gateway's
/// journal. Displays as `GATEWAY-UUID/SEQ`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RecordId {
    /// The gateway whose journal holds the record.
    pub gateway: GatewayId,
    /// The record's number in that journal.
    pub seq: Seq,
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.gateway, self.seq)
    }
}

impl std::str::FromStr for RecordId {
    type Err = ();

    /// Parses what [`RecordId`] displays, and no other spelling of it: an id is compared as a text too.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (gateway, seq) = text.split_once('/').ok_or(())?;
        let id = Self {
            gateway: GatewayId(Uuid::try_parse(gateway).map_err(|_| ())?),
            seq: Seq(seq.parse().map_err(|_| ())?),
        };
        match id.to_string() == text {
            true => Ok(id),
            false => Err(()),
        }
    }
}

/// The kind of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum RecordKind {
    /// A CALL from a charger, with its answer.
    Call = 1,
    /// A SEND from a charger (OCPP 2.1), which has no answer.
    Send = 2,
    /// A CALLRESULT from a charger.
    CallResult = 3,
    /// A CALLERROR from a charger.
    CallError = 4,
    /// A CALLRESULTERROR from a charger (OCPP 2.1): it could not process an answer.
    CallResultError = 5,
    /// A frame that could not be read as OCPP-J; `payload` is the raw text (or, with
    /// [`Notes::BASE64`], its Base64).
    Unreadable = 6,
    /// A charger has connected; `payload` is a JSON object with the peer's address and the subprotocol.
    Connected = 7,
    /// A charger's connection ended; `reason` says why.
    Disconnected = 8,
    /// The gateway process started: every earlier connection of it has ended. `charger_id` is empty.
    GatewayStarted = 9,
    /// A CALL of the central system, written before the frame is sent; `message_id` is the id of its command.
    CallToCharger = 10,
    /// A CALL of the central system is no longer waited for; `reason` says why. A reply can still come.
    CallUnanswered = 11,
}

impl RecordKind {
    /// All kinds, in the order of their numbers, which begin at 1.
    pub const ALL: [Self; 11] = [
        Self::Call,
        Self::Send,
        Self::CallResult,
        Self::CallError,
        Self::CallResultError,
        Self::Unreadable,
        Self::Connected,
        Self::Disconnected,
        Self::GatewayStarted,
        Self::CallToCharger,
        Self::CallUnanswered,
    ];

    /// The name in messages, exports, metrics and the HTTP API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Send => "send",
            Self::CallResult => "call_result",
            Self::CallError => "call_error",
            Self::CallResultError => "call_result_error",
            Self::Unreadable => "unreadable",
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
            Self::GatewayStarted => "gateway_started",
            Self::CallToCharger => "call_to_charger",
            Self::CallUnanswered => "call_unanswered",
        }
    }

    /// The kind with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The kind with this number, which is the one that records and databases hold.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        let index = usize::from(number.checked_sub(1)?);
        Self::ALL.get(index).copied()
    }
}

/// The kind of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum AnswerKind {
    /// No answer; `answer` is empty.
    None = 0,
    /// A CALLRESULT; `answer` is its payload.
    Result = 1,
    /// A CALLERROR; `answer` is the JSON array `[code, description, details]`.
    Error = 2,
}

/// Flags of a record, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Notes(pub u32);

impl Notes {
    /// The content was broken; it was answered with success and kept (rule Q-12). `reason` says what.
    pub const QUARANTINED: Self = Self(1);
    /// The payload breaks the schema in a way that is tolerated; `reason` says how.
    pub const TOLERATED: Self = Self(1 << 1);
    /// `payload` is Base64 of bytes that are not UTF-8.
    pub const BASE64: Self = Self(1 << 2);
    /// The CALLRESULT or CALLERROR answers nothing that we asked, or came after its deadline.
    pub const UNSOLICITED: Self = Self(1 << 3);
    /// The token was not known and was accepted by policy (rule Q-22).
    pub const TOKEN_UNVERIFIED: Self = Self(1 << 4);
    /// Same natural key as an earlier message, different content; recorded to prove the conflict.
    pub const CONFLICT: Self = Self(1 << 5);

    /// The name of each note in messages, exports, metrics and the HTTP API.
    pub const NAMES: [(Self, &'static str); 6] = [
        (Self::QUARANTINED, "quarantined"),
        (Self::TOLERATED, "tolerated"),
        (Self::BASE64, "base64"),
        (Self::UNSOLICITED, "unsolicited"),
        (Self::TOKEN_UNVERIFIED, "token_unverified"),
        (Self::CONFLICT, "conflict"),
    ];

    /// The names of the notes that are set, in the order of [`Self::NAMES`].
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .into_iter()
            .filter_map(move |(note, name)| self.has(note).then_some(name))
    }

    /// The notes of both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all notes of `other` are set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A record, borrowed from the bytes that it was decoded from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// The kind of record.
    pub kind: RecordKind,
    /// The charger's identity in the directory's spelling.
    pub charger_id: &'a str,
    /// The version its connection speaks.
    pub ocpp_version: Version,
    /// The id of the CALL (or of the CALL that a result answers); empty where there is none.
    pub message_id: &'a str,
    /// The action; empty where there is none.
    pub action: &'a str,
    /// The payload as the charger sent it, byte for byte; of [`RecordKind::CallToCharger`] as it is sent to the charger.
    pub payload: &'a str,
    /// The kind of answer.
    pub answer_kind: AnswerKind,
    /// The answer's content.
    pub answer: &'a str,
    /// When the gateway read it.
    pub received_at: Timestamp,
    /// The connection's epoch; of [`RecordKind::GatewayStarted`] the process's.
    pub epoch: Epoch,
    /// Marks.
    pub notes: Notes,
    /// Why it is quarantined or tolerated, why the connection ended, or why a call is no longer waited for; empty
    /// otherwise.
    pub reason: &'a str,
}

/// Why bytes are not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Written by a version of Wattpost that this one does not know.
    #[error("record format {0} is not known here (this build knows format {FORMAT})")]
    Format(u8),
    /// The bytes end early or hold something impossible.
    #[error("record is damaged: {0}")]
    Damaged(&'static str),
    /// They replace a record that was lost on disk, see [`lost`]; with the file and position.
    #[error("{0}")]
    Lost(String),
}

/// The bytes of the record that a gateway appends before it accepts connections. `epoch` must be
/// above that of every earlier connection of this gateway, and below every later one's: all earlier
/// connections have ended.
#[must_use]
pub fn gateway_started(now: Timestamp, epoch: Epoch) -> Vec<u8> {
    let record = Record {
        kind: RecordKind::GatewayStarted,
        charger_id: "",
        ocpp_version: Version::V16,
        message_id: "",
        action: "",
        payload: "",
        answer_kind: AnswerKind::None,
        answer: "",
        received_at: now,
        epoch,
        notes: Notes::default(),
        reason: "",
    };
    record.encode()
}

/// The bytes of the record that a gateway appends when it no longer waits for the reply to `call`, which it made on an
/// earlier connection or before it was killed.
#[must_use]
pub fn call_unanswered(call: &Record<'_>, reason: &str, now: Timestamp) -> Vec<u8> {
    let record = Record {
        kind: RecordKind::CallUnanswered,
        payload: "",
        answer_kind: AnswerKind::None,
        answer: "",
        received_at: now,
        notes: Notes::default(),
        reason,
        ..*call
    };
    record.encode()
}

/// The record of the end of a connection of which no more is known than this.
#[must_use]
pub fn disconnected(charger_id: &str, epoch: Epoch, reason: &str, now: Timestamp) -> Vec<u8> {
    let record = Record {
        kind: RecordKind::Disconnected,
        charger_id,
        ocpp_version: Version::V16,
        message_id: "",
        action: "",
        payload: "",
        answer_kind: AnswerKind::None,
        answer: "",
        received_at: now,
        epoch,
        notes: Notes::default(),
        reason,
    };
    record.encode()
}

/// The bytes that replace a record which can no longer be read: the reason, and the bytes that are left of it.
/// [`Record::decode`] returns [`DecodeError::Lost`] with the reason, so they become a dead letter with the record's id.
#[must_use]
pub fn lost(reason: &str, left: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(LOST.len() + 4 + reason.len() + left.len());
    bytes.extend_from_slice(LOST);
    // A sentence is far below 4 GiB.
    bytes.extend_from_slice(&(reason.len() as u32).to_le_bytes());
    bytes.extend_from_slice(reason.as_bytes());
    bytes.extend_from_slice(left);
    bytes
}

/// The reason in bytes from [`lost`].
fn reason_of_loss(bytes: &[u8]) -> Option<String> {
    let rest = bytes.strip_prefix(LOST)?;
    let length = le_u32(rest.get(..4)?) as usize;
    let reason = rest.get(4..)?.get(..length)?;
    Some(String::from_utf8_lossy(reason).into_owned())
}

/// The first byte is not that of any record format.
const LOST: &[u8; 8] = b"wattlost";
const FORMAT: u8 = 1;
const HEADER: usize = 48;

impl<'a> Record<'a> {
    /// Appends the record's bytes to `out`.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let texts = self.texts();
        out.reserve(HEADER + texts.iter().map(|text| text.len()).sum::<usize>());
        out.extend_from_slice(&[
            FORMAT,
            self.kind as u8,
            self.answer_kind as u8,
            self.ocpp_version as u8,
        ]);
        out.extend_from_slice(&self.notes.0.to_le_bytes());
        out.extend_from_slice(&self.received_at.0.to_le_bytes());
        out.extend_from_slice(&self.epoch.0.to_le_bytes());
        for text in texts {
            // A text longer than 4 GiB cannot come over a socket whose frames are bounded in MiB.
            let len = u32::try_from(text.len()).unwrap_or(u32::MAX);
            out.extend_from_slice(&len.to_le_bytes());
        }
        for text in texts {
            out.extend_from_slice(text.as_bytes());
        }
    }

    /// The record's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode_into(&mut out);
        out
    }

    /// Decodes a record.
    ///
    /// # Errors
    /// If the format is not known, or the bytes are not from [`Record::encode_into`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        if let Some(reason) = reason_of_loss(bytes) {
            return Err(DecodeError::Lost(reason));
        }
        let (head, mut rest) = bytes
            .split_at_checked(HEADER)
            .ok_or(DecodeError::Damaged("shorter than its header"))?;
        if head[0] != FORMAT {
            return Err(DecodeError::Format(head[0]));
        }
        let kind = RecordKind::from_number(head[1]).ok_or(DecodeError::Damaged("unknown kind"))?;
        let answer_kind = match head[2] {
            0 => AnswerKind::None,
            1 => AnswerKind::Result,
            2 => AnswerKind::Error,
            _ => return Err(DecodeError::Damaged("unknown kind of answer")),
        };
        let ocpp_version = match head[3] {
            0 => Version::V16,
            1 => Version::V201,
            2 => Version::V21,
            _ => return Err(DecodeError::Damaged("unknown OCPP version")),
        };
        let mut texts = [""; 6];
        for (i, text) in texts.iter_mut().enumerate() {
            let len = le_u32(&head[24 + 4 * i..]) as usize;
            let (bytes, after) = rest
                .split_at_checked(len)
                .ok_or(DecodeError::Damaged("a text ends early"))?;
            *text = std::str::from_utf8(bytes)
                .map_err(|_| DecodeError::Damaged("text is not UTF-8"))?;
            rest = after;
        }
        if !rest.is_empty() {
            return Err(DecodeError::Damaged("bytes after the last text"));
        }
        let [charger_id, message_id, action, payload, answer, reason] = texts;
        Ok(Self {
            kind,
            charger_id,
            ocpp_version,
            message_id,
            action,
            payload,
            answer_kind,
            answer,
            received_at: Timestamp(le_u64(&head[8..]).cast_signed()),
            epoch: Epoch(le_u64(&head[16..])),
            notes: Notes(le_u32(&head[4..])),
            reason,
        })
    }

    const fn texts(&self) -> [&'a str; 6] {
        [
            self.charger_id,
            self.message_id,
            self.action,
            self.payload,
            self.answer,
            self.reason,
        ]
    }
}

fn le_u32(bytes: &[u8]) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[..4]);
    u32::from_le_bytes(word)
}

fn le_u64(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[..8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_parsed_in_the_spelling_that_is_displayed_and_no_other() {
        let text = "00000000-0000-0000-0000-00000000feed/12";
        let id: RecordId = text.parse().expect("an id");
        assert_eq!(id.to_string(), text);
        for wrong in [
            "00000000-0000-0000-0000-00000000FEED/12",
            "0000000000000000000000000000feed/12",
            "00000000-0000-0000-0000-00000000feed/+12",
            "00000000-0000-0000-0000-00000000feed/012",
            "00000000-0000-0000-0000-00000000feed/",
            "00000000-0000-0000-0000-00000000feed",
            "x/12",
        ] {
            assert_eq!(wrong.parse::<RecordId>(), Err(()), "{wrong}");
        }
    }

    fn sample() -> Record<'static> {
        Record {
            kind: RecordKind::Call,
            charger_id: "CP-17",
            ocpp_version: Version::V201,
            message_id: "m-1",
            action: "Heartbeat",
            payload: "{}",
            answer_kind: AnswerKind::Result,
            answer: r#"{"currentTime":"2026-01-01T00:00:00.000Z"}"#,
            received_at: Timestamp(1_767_225_600_000),
            epoch: Epoch(7),
            notes: Notes::TOLERATED.with(Notes::CONFLICT),
            reason: "extra member",
        }
    }

    #[test]
    fn kinds_are_found_by_name_and_by_number() {
        for (number, kind) in (1..).zip(RecordKind::ALL) {
            assert_eq!(kind as u8, number);
            assert_eq!(RecordKind::from_number(number), Some(kind));
            assert_eq!(RecordKind::from_name(kind.as_str()), Some(kind));
            assert_eq!(
                serde_json::to_value(kind).unwrap(),
                kind.as_str(),
                "serde uses the same name"
            );
        }
        assert_eq!(RecordKind::from_number(0), None);
        assert_eq!(RecordKind::from_number(12), None);
        assert_eq!(RecordKind::from_name("Call"), None);
    }

    #[test]
    fn names_are_those_of_the_marks_that_are_set() {
        let notes = Notes::CONFLICT.with(Notes::TOLERATED);
        assert_eq!(notes.names().collect::<Vec<_>>(), ["tolerated", "conflict"]);
        assert_eq!(Notes::default().names().count(), 0);
    }

    #[test]
    fn a_record_is_decoded_as_it_was_encoded() {
        let bytes = sample().encode();
        assert_eq!(Record::decode(&bytes), Ok(sample()));
    }

    #[test]
    fn a_truncated_record_is_an_error() {
        let bytes = sample().encode();
        for cut in 0..bytes.len() {
            assert!(Record::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        let mut longer = bytes;
        longer.push(0);
        assert!(Record::decode(&longer).is_err());
    }

    #[test]
    fn a_record_with_a_changed_byte_is_decoded_without_a_panic() {
        let bytes = sample().encode();
        for i in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[i] = value;
                let _ = Record::decode(&changed);
            }
        }
    }

    #[test]
    fn the_replacement_of_a_lost_record_has_its_reason_and_its_remaining_bytes() {
        let bytes = lost("damaged in a file", b"left over");
        let said = Record::decode(&bytes).map_err(|error| error.to_string());
        assert_eq!(said.err().as_deref(), Some("damaged in a file"));
        assert!(bytes.ends_with(b"left over"));
        for end in 0..LOST.len() + 4 + "damaged in a file".len() {
            assert!(Record::decode(&bytes[..end]).is_err());
        }
    }
}
