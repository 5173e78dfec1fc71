//! Messages and dead letters as they are shown and exported; the API and `wattpost export` write the same JSON.

use crate::record::{AnswerKind, Epoch, Notes, RecordId, RecordKind};
use crate::time::Timestamp;
use ocpp::Version;
use serde::ser::{SerializeSeq, SerializeStruct};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A record as the database holds it. Serialises to one line of `wattpost export messages`: the
/// members named in [`MessageRow::COLUMNS`], in that order. `payload` and `answer` are embedded as JSON if
/// they are JSON, else as a string, and are null if empty; an answer that is an array is a CALLERROR's
/// `[code, description, details]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRow {
    /// The record's id.
    pub id: RecordId,
    /// The charger's identity; empty for a record of the gateway.
    pub charger_id: String,
    /// The OCPP version of the message.
    pub ocpp_version: Version,
    /// The kind of record.
    pub kind: RecordKind,
    /// The id of the call; empty where there is none.
    pub message_id: String,
    /// The action; empty where there is none.
    pub action: String,
    /// What the charger sent, or what was sent to it, byte for byte.
    pub payload: String,
    /// The kind of answer.
    pub answer_kind: AnswerKind,
    /// The answer's content.
    pub answer: String,
    /// When the gateway read it.
    pub received_at: Timestamp,
    /// The connection's epoch.
    pub epoch: Epoch,
    /// The notes.
    pub notes: Notes,
    /// The reason of the notes, or of the connection's end.
    pub reason: String,
}

impl MessageRow {
    /// The members of an export line, in their order.
    pub const COLUMNS: [&'static str; 14] = [
        "record_id",
        "charger_id",
        "ocpp_version",
        "direction",
        "kind",
        "message_id",
        "action",
        "payload",
        "answer",
        "received_at",
        "gateway_id",
        "seq",
        "notes",
        "reason",
    ];

    /// Who sent `payload`: `to_charger` for calls of the central system, else `from_charger`.
    #[must_use]
    pub const fn direction(&self) -> &'static str {
        match self.kind {
            RecordKind::CallToCharger | RecordKind::CallUnanswered => "to_charger",
            RecordKind::Call
            | RecordKind::Send
            | RecordKind::CallResult
            | RecordKind::CallError
            | RecordKind::CallResultError
            | RecordKind::Unreadable
            | RecordKind::Connected
            | RecordKind::Disconnected
            | RecordKind::GatewayStarted => "from_charger",
        }
    }

    /// The fields as plain texts in the order of [`MessageRow::COLUMNS`], for CSV.
    #[must_use]
    pub fn columns(&self) -> [Cow<'_, str>; 14] {
        [
            self.id.to_string().into(),
            self.charger_id.as_str().into(),
            self.ocpp_version.as_str().into(),
            self.direction().into(),
            self.kind.as_str().into(),
            self.message_id.as_str().into(),
            self.action.as_str().into(),
            self.payload.as_str().into(),
            self.answer.as_str().into(),
            self.received_at.to_string().into(),
            self.id.gateway.to_string().into(),
            self.id.seq.to_string().into(),
            self.notes.names().collect::<Vec<_>>().join(" ").into(),
            self.reason.as_str().into(),
        ]
    }
}

impl Serialize for MessageRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let payload_is_text = self.notes.has(Notes::BASE64);
        let mut line = serializer.serialize_struct("MessageRow", Self::COLUMNS.len())?;
        line.serialize_field("record_id", &self.id.to_string())?;
        line.serialize_field("charger_id", &self.charger_id)?;
        line.serialize_field("ocpp_version", self.ocpp_version.as_str())?;
        line.serialize_field("direction", self.direction())?;
        line.serialize_field("kind", self.kind.as_str())?;
        line.serialize_field("message_id", &self.message_id)?;
        line.serialize_field("action", &self.action)?;
        line.serialize_field("payload", &Embedded::new(&self.payload, payload_is_text))?;
        line.serialize_field("answer", &Embedded::new(&self.answer, false))?;
        line.serialize_field("received_at", &self.received_at.to_string())?;
        line.serialize_field("gateway_id", &self.id.gateway)?;
        line.serialize_field("seq", &self.id.seq)?;
        line.serialize_field("notes", &NoteNames(self.notes))?;
        line.serialize_field("reason", &self.reason)?;
        line.end()
    }
}

/// A record that could not be applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetterRow {
    /// The record's id, as `GATEWAY-UUID/SEQ`.
    pub record_id: String,
    /// Why it cannot be applied.
    pub reason: String,
    /// When it became a dead letter, by the database's clock.
    #[serde(serialize_with = "as_text")]
    pub at: Timestamp,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// Its bytes; U+FFFD replaces what is not UTF-8.
    pub content: String,
}

/// JSON nested deeper than this is shown as a string, because many parsers reject it.
const EMBED_DEPTH_MAX: usize = 64;

/// A text from the wire, embedded in the JSON of a row.
enum Embedded<'a> {
    Nothing,
    Json(&'a RawValue),
    /// JSON of several lines, joined to one.
    Joined(Box<RawValue>),
    Text(&'a str),
}

impl<'a> Embedded<'a> {
    fn new(text: &'a str, plain: bool) -> Self {
        if text.is_empty() {
            return Self::Nothing;
        }
        if plain || is_too_deep(text) {
            return Self::Text(text);
        }
        let Ok(json) = serde_json::from_str::<&RawValue>(text) else {
            return Self::Text(text);
        };
        if !json.get().contains(['\n', '\r']) {
            return Self::Json(json);
        }
        // In valid JSON a line break is white space; here it would end the line.
        match RawValue::from_string(json.get().replace(['\n', '\r'], " ")) {
            Ok(joined) => Self::Joined(joined),
            Err(_) => Self::Text(text),
        }
    }
}

impl Serialize for Embedded<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Nothing => serializer.serialize_none(),
            Self::Json(json) => json.serialize(serializer),
            Self::Joined(json) => json.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

/// Serializes a text from the wire as the JSON that it is, or as a string if it is not JSON; null if it is empty.
pub(super) fn embedded<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    Embedded::new(text, false).serialize(serializer)
}

/// As [`embedded`]; null if there is no text.
pub(super) fn embedded_option<S: Serializer>(
    text: &Option<String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    embedded(text.as_deref().unwrap_or(""), serializer)
}

fn is_too_deep(text: &str) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > EMBED_DEPTH_MAX {
            return true;
        }
    }
    false
}

struct NoteNames(Notes);

impl Serialize for NoteNames {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut names = serializer.serialize_seq(None)?;
        for name in self.0.names() {
            names.serialize_element(name)?;
        }
        names.end()
    }
}

fn as_text<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::GatewayId;
    use crate::record::Seq;
    use uuid::Uuid;

    fn gateway() -> GatewayId {
        GatewayId(Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef))
    }

    fn row() -> MessageRow {
        MessageRow {
            id: RecordId {
                gateway: gateway(),
                seq: Seq(7),
            },
            charger_id: "CP-17".into(),
            ocpp_version: Version::V16,
            kind: RecordKind::Call,
            message_id: "m-1".into(),
            action: "Heartbeat".into(),
            payload: "{}".into(),
            answer_kind: AnswerKind::Result,
            answer: r#"{"currentTime": "2026-01-01T00:00:00.000Z"}"#.into(),
            received_at: Timestamp(1_767_225_600_000),
            epoch: Epoch(7),
            notes: Notes::TOLERATED.with(Notes::CONFLICT),
            reason: "extra member".into(),
        }
    }

    fn line(row: &MessageRow) -> String {
        serde_json::to_string(row).unwrap()
    }

    #[test]
    fn an_export_line_has_its_members_in_order() {
        assert_eq!(
            line(&row()),
            r#"{"record_id":"01234567-89ab-cdef-0123-456789abcdef/7","charger_id":"CP-17","ocpp_version":"1.6","direction":"from_charger","kind":"call","message_id":"m-1","action":"Heartbeat","payload":{},"answer":{"currentTime": "2026-01-01T00:00:00.000Z"},"received_at":"2026-01-01T00:00:00.000Z","gateway_id":"01234567-89ab-cdef-0123-456789abcdef","seq":7,"notes":["tolerated","conflict"],"reason":"extra member"}"#
        );
        assert_eq!(row().columns().len(), MessageRow::COLUMNS.len());
    }

    #[test]
    fn a_payload_is_embedded_if_it_is_json_that_fits_on_a_line() {
        let show = |payload: &str, notes: Notes| {
            let row = MessageRow {
                payload: payload.into(),
                notes,
                ..row()
            };
            let value: serde_json::Value = serde_json::from_str(&line(&row)).unwrap();
            assert!(!line(&row).contains('\n'), "one line");
            value["payload"].clone()
        };
        let none = Notes::default();
        assert_eq!(show("", none), serde_json::Value::Null);
        assert_eq!(show("{broken", none), "{broken");
        assert_eq!(show("{\"a\":\r\n 1}\n", none), serde_json::json!({"a": 1}));
        assert_eq!(show("1234", Notes::BASE64), "1234");
        assert_eq!(show("1234", none), 1234);
        let deep = "[".repeat(70) + &"]".repeat(70);
        assert_eq!(show(&deep, none), deep.as_str());
        let not_deep = format!("[\"{}\"]", "[".repeat(70));
        assert_eq!(show(&not_deep, none)[0], "[".repeat(70));
    }
}
