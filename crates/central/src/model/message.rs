//! Messages and dead letters as they are shown and exported; the API and `wattpost export` write the same JSON.

use crate::query::parameters::time;
use crate::record::{AnswerKind, Epoch, Notes, Record, RecordId, RecordKind};
use crate::secret;
use crate::time::Timestamp;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ocpp::Version;
use serde::ser::{SerializeSeq, SerializeStruct};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A record as the database holds it. Serialises to one line of `wattpost export messages`: the
/// members named in [`MessageRow::COLUMNS`], in that order. `payload` and `answer` are embedded as JSON if
/// they are JSON, else as a string, and are null if empty; an answer that is an array is a CALLERROR's
/// `[code, description, details]`. The few rows that do not follow from these members, such as a payload of several
/// lines, have one more: `record`, the record's bytes in Base64. [`MessageRow::read_line`] returns the row as it was.
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
    pub const COLUMNS: [&'static str; 15] = [
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
        "epoch",
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
    pub fn columns(&self) -> [Cow<'_, str>; 15] {
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
            self.epoch.0.to_string().into(),
        ]
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> Record<'_> {
        Record {
            kind: self.kind,
            charger_id: &self.charger_id,
            ocpp_version: self.ocpp_version,
            message_id: &self.message_id,
            action: &self.action,
            payload: &self.payload,
            answer_kind: self.answer_kind,
            answer: &self.answer,
            received_at: self.received_at,
            epoch: self.epoch,
            notes: self.notes,
            reason: &self.reason,
        }
    }

    /// The row of a record.
    #[must_use]
    pub fn of(id: RecordId, record: &Record<'_>) -> Self {
        Self {
            id,
            charger_id: record.charger_id.to_owned(),
            ocpp_version: record.ocpp_version,
            kind: record.kind,
            message_id: record.message_id.to_owned(),
            action: record.action.to_owned(),
            payload: record.payload.to_owned(),
            answer_kind: record.answer_kind,
            answer: record.answer.to_owned(),
            received_at: record.received_at,
            epoch: record.epoch,
            notes: record.notes,
            reason: record.reason.to_owned(),
        }
    }

    /// Whether a reader of the row's line can tell all of it from [`MessageRow::COLUMNS`].
    fn follows_from_its_columns(&self, payload: &Embedded<'_>, answer: &Embedded<'_>) -> bool {
        payload.is_exact(&self.payload)
            && answer.is_exact(&self.answer)
            && self.answer_kind == answer.answer_kind()
            && self.notes.0 < 1 << Notes::NAMES.len()
            && time(&self.received_at.to_string()) == Some(self.received_at)
    }
}

impl Serialize for MessageRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.serialize_line(serializer, false)
    }
}

/// A message as people see it: as [`MessageRow`], but without the secrets of its payload and its answer
/// ([`secret::redacted`]). A row with a secret has the member `redacted`, which is true, and no `record`;
/// [`MessageRow::read_line`] refuses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownMessage {
    row: MessageRow,
    is_redacted: bool,
}

impl From<MessageRow> for ShownMessage {
    fn from(mut row: MessageRow) -> Self {
        let mut is_redacted = false;
        for text in [&mut row.payload, &mut row.answer] {
            if let Some(shown) = secret::redacted(text) {
                *text = shown.payload;
                is_redacted = true;
            }
        }
        Self { row, is_redacted }
    }
}

/// A place where a payload or an answer differs from the JSON Schema of its action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deviation {
    /// `payload` or `answer`: where it is.
    pub part: &'static str,
    /// The place in it as a JSON pointer; of a missing member the path that it would have.
    pub pointer: String,
    /// The kind of rule, as [`ocpp::check::ViolationKind::as_str`] names it.
    pub rule: &'static str,
    /// What was expected and what was found, for people.
    pub detail: String,
    /// Whether `policy.check = "warn"` tolerates it.
    pub tolerated: bool,
}

impl ShownMessage {
    /// Where the payload and the answer differ from the schemas of the message's version, as they are shown: a secret is
    /// compared as `***`. Empty for a record that is no message, for an action that the version does not have, and for bytes that
    /// are not text.
    #[must_use]
    pub fn deviations(&self) -> Vec<Deviation> {
        let row = &self.row;
        if ocpp::action::lookup(row.ocpp_version, &row.action).is_none()
            || row.notes.has(Notes::BASE64)
        {
            return Vec::new();
        }
        let in_payload = match row.kind {
            RecordKind::Call | RecordKind::Send | RecordKind::CallToCharger => {
                ocpp::check::request(row.ocpp_version, &row.action, &row.payload)
            }
            RecordKind::CallResult => {
                ocpp::check::response(row.ocpp_version, &row.action, &row.payload)
            }
            _ => Vec::new(),
        };
        let in_answer = match row.answer_kind {
            AnswerKind::Result => ocpp::check::response(row.ocpp_version, &row.action, &row.answer),
            AnswerKind::None | AnswerKind::Error => Vec::new(),
        };
        let of = |part, found: Vec<ocpp::check::Violation>| {
            found.into_iter().map(move |one| Deviation {
                part,
                rule: one.kind.as_str(),
                tolerated: one.is_tolerated(),
                pointer: one.path,
                detail: one.detail,
            })
        };
        of("payload", in_payload)
            .chain(of("answer", in_answer))
            .collect()
    }
}

impl Serialize for ShownMessage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.row.serialize_line(serializer, self.is_redacted)
    }
}

impl MessageRow {
    fn serialize_line<S: Serializer>(
        &self,
        serializer: S,
        is_redacted: bool,
    ) -> Result<S::Ok, S::Error> {
        let payload = Embedded::new(&self.payload, self.notes.has(Notes::BASE64));
        let answer = Embedded::new(&self.answer, false);
        let is_whole = !is_redacted && self.follows_from_its_columns(&payload, &answer);
        let mut line = serializer
            .serialize_struct("MessageRow", Self::COLUMNS.len() + usize::from(!is_whole))?;
        line.serialize_field("record_id", &self.id.to_string())?;
        line.serialize_field("charger_id", &self.charger_id)?;
        line.serialize_field("ocpp_version", self.ocpp_version.as_str())?;
        line.serialize_field("direction", self.direction())?;
        line.serialize_field("kind", self.kind.as_str())?;
        line.serialize_field("message_id", &self.message_id)?;
        line.serialize_field("action", &self.action)?;
        line.serialize_field("payload", &payload)?;
        line.serialize_field("answer", &answer)?;
        line.serialize_field("received_at", &self.received_at.to_string())?;
        line.serialize_field("gateway_id", &self.id.gateway)?;
        line.serialize_field("seq", &self.id.seq)?;
        line.serialize_field("notes", &NoteNames(self.notes))?;
        line.serialize_field("reason", &self.reason)?;
        line.serialize_field("epoch", &self.epoch)?;
        if is_redacted {
            line.serialize_field("redacted", &true)?;
        } else if !is_whole {
            line.serialize_field("record", &BASE64.encode(self.record().encode()))?;
        }
        line.end()
    }
}

/// Whether a dead letter waits for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadLetterState {
    /// It can be retried or discarded.
    #[default]
    Waiting,
    /// A person has discarded it; its content is deleted.
    Discarded,
}

impl DeadLetterState {
    /// All states.
    pub const ALL: [Self; 2] = [Self::Waiting, Self::Discarded];

    /// The name in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Discarded => "discarded",
        }
    }
}

/// A record that could not be applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetterRow {
    /// The record's id, as `GATEWAY-UUID/SEQ`.
    pub record_id: String,
    /// The charger; `None` if the record has none or cannot be decoded.
    pub charger_id: Option<String>,
    /// The action of OCPP; `None` likewise.
    pub action: Option<String>,
    /// Whether it waits.
    pub state: DeadLetterState,
    /// Why it cannot be applied.
    pub reason: String,
    /// When it became a dead letter, by the database's clock.
    #[serde(serialize_with = "as_text")]
    pub at: Timestamp,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// Its bytes; U+FFFD replaces what is not UTF-8. `None` if it was discarded.
    pub content: Option<String>,
    /// Who discarded it; `None` while it waits.
    pub discarded: Option<Discarded>,
}

/// That a person has discarded a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Discarded {
    /// When.
    #[serde(serialize_with = "as_text")]
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
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

impl Embedded<'_> {
    /// Whether a reader gets `text` back.
    fn is_exact(&self, text: &str) -> bool {
        match self {
            Self::Nothing | Self::Text(_) => true,
            // JSON that is a string or null reads as the text in it, or as no text.
            Self::Json(json) => json.get() == text && !text.starts_with(['"', 'n']),
            Self::Joined(_) => false,
        }
    }

    /// What a reader takes it for.
    fn answer_kind(&self) -> AnswerKind {
        match self {
            Self::Nothing => AnswerKind::None,
            Self::Json(json) if json.get().starts_with('[') => AnswerKind::Error,
            Self::Json(_) | Self::Joined(_) | Self::Text(_) => AnswerKind::Result,
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

/// A line of an export, as it is read back.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    record_id: Cow<'a, str>,
    #[serde(borrow)]
    charger_id: Cow<'a, str>,
    #[serde(borrow)]
    ocpp_version: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    message_id: Cow<'a, str>,
    #[serde(borrow)]
    action: Cow<'a, str>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    #[serde(borrow)]
    answer: Option<&'a RawValue>,
    #[serde(borrow)]
    received_at: Cow<'a, str>,
    notes: Vec<String>,
    #[serde(borrow)]
    reason: Cow<'a, str>,
    epoch: Option<Epoch>,
    #[serde(borrow, default)]
    record: Option<Cow<'a, str>>,
    #[serde(default)]
    redacted: bool,
}

impl MessageRow {
    /// Reads a line of `wattpost export messages`.
    ///
    /// # Errors
    /// Why it is not such a line, as a sentence that names the member.
    pub fn read_line(line: &str) -> Result<Self, String> {
        let read: Line<'_> = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let wrong = |member: &str, value: &str| format!("`{member}` is {value:?}");
        let id: RecordId = read
            .record_id
            .parse()
            .map_err(|()| wrong("record_id", &read.record_id))?;
        if read.redacted {
            return Err(
                "it is shown without its secrets: use `wattpost export messages`".to_owned(),
            );
        }
        if let Some(base64) = &read.record {
            let bytes = BASE64
                .decode(base64.as_bytes())
                .map_err(|_| "`record` is not Base64".to_owned())?;
            let record = Record::decode(&bytes).map_err(|error| format!("`record`: {error}"))?;
            return Ok(Self::of(id, &record));
        }
        let Some(epoch) = read.epoch else {
            return Err(
                "`epoch` is missing: export the messages again with this version".to_owned(),
            );
        };
        let mut notes = Notes::default();
        for name in &read.notes {
            let note = Notes::NAMES.into_iter().find(|(_, known)| known == name);
            let (note, _) = note.ok_or_else(|| wrong("notes", name))?;
            notes = notes.with(note);
        }
        let (_, payload) = text_of(read.payload)?;
        let (answer_kind, answer) = text_of(read.answer)?;
        Ok(Self {
            id,
            charger_id: read.charger_id.into_owned(),
            ocpp_version: Version::from_number(&read.ocpp_version)
                .ok_or_else(|| wrong("ocpp_version", &read.ocpp_version))?,
            kind: RecordKind::from_name(&read.kind).ok_or_else(|| wrong("kind", &read.kind))?,
            message_id: read.message_id.into_owned(),
            action: read.action.into_owned(),
            payload,
            answer_kind,
            answer,
            received_at: time(&read.received_at)
                .ok_or_else(|| wrong("received_at", &read.received_at))?,
            epoch,
            notes,
            reason: read.reason.into_owned(),
        })
    }
}

/// The text that is embedded, and as what answer it counts.
fn text_of(embedded: Option<&RawValue>) -> Result<(AnswerKind, String), String> {
    let Some(raw) = embedded else {
        return Ok((AnswerKind::None, String::new()));
    };
    let text = raw.get();
    if text.starts_with('"') {
        let text = serde_json::from_str(text).map_err(|error| error.to_string())?;
        return Ok((AnswerKind::Result, text));
    }
    let kind = match text.starts_with('[') {
        true => AnswerKind::Error,
        false => AnswerKind::Result,
    };
    Ok((kind, text.to_owned()))
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
            r#"{"record_id":"01234567-89ab-cdef-0123-456789abcdef/7","charger_id":"CP-17","ocpp_version":"1.6","direction":"from_charger","kind":"call","message_id":"m-1","action":"Heartbeat","payload":{},"answer":{"currentTime": "2026-01-01T00:00:00.000Z"},"received_at":"2026-01-01T00:00:00.000Z","gateway_id":"01234567-89ab-cdef-0123-456789abcdef","seq":7,"notes":["tolerated","conflict"],"reason":"extra member","epoch":7}"#
        );
        assert_eq!(row().columns().len(), MessageRow::COLUMNS.len());
    }

    #[test]
    fn a_message_with_a_secret_is_shown_without_it_and_is_not_read_back() {
        let row = MessageRow {
            kind: RecordKind::CallToCharger,
            payload: "{\"key\":\"AuthorizationKey\",\n\"value\":\"0123456789abcdef\"}".into(),
            ..row()
        };
        let exported = serde_json::to_string(&row).expect("JSON");
        assert_eq!(MessageRow::read_line(&exported), Ok(row.clone()));
        let shown = serde_json::to_string(&ShownMessage::from(row)).expect("JSON");
        let value: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
        assert_eq!(value["payload"]["value"], "***");
        assert_eq!(value["redacted"], true);
        assert!(value["record"].is_null());
        assert!(MessageRow::read_line(&shown).is_err());
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
        // Read back, the row is what it was.
        let texts = [
            "",
            " {}",
            "{}",
            "{\"a\":\r\n 1}\n",
            "{broken",
            "\"text\"",
            "null",
            "12",
            "[1,2]",
            " ",
            "\u{0}",
            &deep,
        ];
        let kinds = [AnswerKind::None, AnswerKind::Result, AnswerKind::Error];
        for payload in texts {
            for answer in texts {
                for answer_kind in kinds {
                    for (notes, at) in [(0, 5), (4, i64::MAX), (1 << 31, 0)] {
                        let row = MessageRow {
                            payload: payload.to_owned(),
                            answer: answer.to_owned(),
                            answer_kind,
                            notes: Notes(notes),
                            received_at: Timestamp(at),
                            ..row()
                        };
                        assert_eq!(MessageRow::read_line(&line(&row)), Ok(row));
                    }
                }
            }
        }
        assert!(
            !line(&row()).contains("\"record\""),
            "an ordinary row needs no copy"
        );
        let not_deep = format!("[\"{}\"]", "[".repeat(70));
        assert_eq!(show(&not_deep, none)[0], "[".repeat(70));
    }
}
