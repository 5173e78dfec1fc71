//! Decodes JSON to records. Messages that cannot be decoded are kept unchanged, with the reason.

use super::VERSION;
use central::ports::{Batch, DeadLetter};
use central::record::{AnswerKind, GatewayId, Notes, RecordKind};
use central::{Epoch, Record, RecordId, Seq, Timestamp};
use ocpp::Version;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use uuid::Uuid;

/// No gateway accepts a longer identity, and no other part of the system stores one.
const CHARGER_ID_BYTES_MAX: usize = 255;

/// The result of decoding a message.
#[derive(Debug)]
pub(crate) enum Decoded<'a> {
    /// A record.
    Record(Box<ReadRecord<'a>>),
    /// Bytes from a journal that the sending gateway could not decode as a record.
    Raw(RecordId, Vec<u8>),
    /// A dead letter: sent as one, not a message of Wattpost, or of a later version.
    Unknown(DeadLetter),
}

/// A record that borrows from its message where possible.
#[derive(Debug)]
pub(crate) struct ReadRecord<'a> {
    pub(crate) id: RecordId,
    kind: RecordKind,
    version: Version,
    answer_kind: AnswerKind,
    received_at: Timestamp,
    notes: Notes,
    message: Message<'a>,
}

impl ReadRecord<'_> {
    /// Appends the record's bytes to the batch.
    pub(crate) fn put_into(&self, batch: &mut Batch) {
        batch.push_with(self.id, |out| self.encode_into(out));
    }

    /// Appends the record's bytes.
    pub(crate) fn encode_into(&self, out: &mut Vec<u8>) {
        let message = &self.message;
        let record = Record {
            kind: self.kind,
            charger_id: &message.charger_id,
            ocpp_version: self.version,
            message_id: &message.message_id,
            action: &message.action,
            payload: either(message.payload, &message.payload_text),
            answer_kind: self.answer_kind,
            answer: either(message.answer, &message.answer_text),
            received_at: self.received_at,
            epoch: message.epoch,
            notes: self.notes,
            reason: &message.reason,
        };
        record.encode_into(out);
    }
}

fn either<'a>(json: Option<&'a RawValue>, text: &'a str) -> &'a str {
    json.map_or(text, RawValue::get)
}

/// The member of every version, checked first so that a later version has a clear reason.
#[derive(Deserialize)]
struct Head {
    v: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Message<'a> {
    v: u64,
    gateway_id: Uuid,
    seq: Seq,
    #[serde(borrow, default)]
    record_base64: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    charger_id: Cow<'a, str>,
    #[serde(borrow, default)]
    ocpp_version: Cow<'a, str>,
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    message_id: Cow<'a, str>,
    #[serde(borrow, default)]
    action: Cow<'a, str>,
    #[serde(borrow, default)]
    received_at: Cow<'a, str>,
    #[serde(default)]
    epoch: Epoch,
    #[serde(borrow, default)]
    notes: Vec<Cow<'a, str>>,
    #[serde(borrow, default)]
    reason: Cow<'a, str>,
    #[serde(borrow, default)]
    answer_kind: Cow<'a, str>,
    #[serde(borrow, default)]
    answer: Option<&'a RawValue>,
    #[serde(borrow, default)]
    answer_text: Cow<'a, str>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
    #[serde(borrow, default)]
    payload_text: Cow<'a, str>,
}

/// Reads a message.
pub(crate) fn decode(bytes: &[u8]) -> Decoded<'_> {
    match read(bytes) {
        Ok(decoded) => decoded,
        Err(reason) => Decoded::Unknown(unknown(bytes, &reason)),
    }
}

/// Makes a dead letter of an unknown message; the same bytes always get the same id. All of them belong to one
/// gateway that does not exist, so that external messages do not create gateways. If two messages share a
/// number, the second goes to `set_aside`.
fn unknown(bytes: &[u8], reason: &str) -> DeadLetter {
    const UNKNOWN_GATEWAY: Uuid = Uuid::from_u128(0x5761_7474_706f_5374_8000_6d65_7373_6167);
    let (_, hash) = Uuid::new_v5(&UNKNOWN_GATEWAY, bytes).as_u64_pair();
    DeadLetter {
        id: RecordId {
            gateway: GatewayId(UNKNOWN_GATEWAY),
            // Databases store it as a signed number.
            seq: Seq(hash >> 1),
        },
        bytes: bytes.to_vec(),
        reason: format!("the message from RabbitMQ cannot be read: {reason}"),
    }
}

fn read(bytes: &[u8]) -> Result<Decoded<'_>, String> {
    // serde would also decode a struct from an array.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err("it is not a JSON object".into());
    }
    let message: Message<'_> = match serde_json::from_slice(bytes) {
        Ok(message) => message,
        Err(error) => return Err(why_not(bytes, &error)),
    };
    if message.v != VERSION {
        return Err(other_version(message.v));
    }
    let id = RecordId {
        gateway: GatewayId(message.gateway_id),
        seq: message.seq,
    };
    if let Some(text) = &message.record_base64 {
        return raw(id, text, &message.reason);
    }
    let bytes = message.charger_id.len();
    if bytes > CHARGER_ID_BYTES_MAX {
        return Err(format!(
            "its charger_id has {bytes} bytes, and no identity has more than {CHARGER_ID_BYTES_MAX}"
        ));
    }
    let read = ReadRecord {
        id,
        kind: kind(&message.kind)?,
        version: version(&message.ocpp_version)?,
        answer_kind: answer_kind(&message.answer_kind)?,
        received_at: received_at(&message.received_at)?,
        notes: notes(&message.notes)?,
        message,
    };
    Ok(Decoded::Record(Box::new(read)))
}

fn why_not(bytes: &[u8], error: &serde_json::Error) -> String {
    match serde_json::from_slice::<Head>(bytes) {
        Ok(Head { v: Some(VERSION) }) => error.to_string(),
        Ok(Head { v: Some(v) }) => other_version(v),
        Ok(Head { v: None }) => "it has no version `v`".into(),
        Err(_) => format!("it is not a JSON message of Wattpost: {error}"),
    }
}

fn other_version(v: u64) -> String {
    format!("it has version {v}, and this build reads version {VERSION}")
}

fn raw<'a>(id: RecordId, text: &str, reason: &str) -> Result<Decoded<'a>, String> {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(text)
        .map_err(|error| format!("record_base64: {error}"))?;
    if reason.is_empty() {
        return Ok(Decoded::Raw(id, bytes));
    }
    Ok(Decoded::Unknown(DeadLetter {
        id,
        bytes,
        reason: reason.to_owned(),
    }))
}

fn kind(name: &str) -> Result<RecordKind, String> {
    RecordKind::from_name(name)
        .ok_or_else(|| format!("its kind `{name}` is not known to this build"))
}

fn version(name: &str) -> Result<Version, String> {
    match name {
        "1.6" => Ok(Version::V16),
        "2.0.1" => Ok(Version::V201),
        "2.1" => Ok(Version::V21),
        _ => Err(format!(
            "its OCPP version {name} is not known to this build"
        )),
    }
}

fn answer_kind(name: &str) -> Result<AnswerKind, String> {
    match name {
        "none" | "" => Ok(AnswerKind::None),
        "result" => Ok(AnswerKind::Result),
        "error" => Ok(AnswerKind::Error),
        _ => Err(format!(
            "its answer_kind `{name}` is not known to this build"
        )),
    }
}

fn received_at(text: &str) -> Result<Timestamp, String> {
    // The second form is that of times outside the calendar: see `Timestamp`.
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(at.into());
    }
    text.strip_suffix("ms")
        .and_then(|millis| millis.parse().ok())
        .map(Timestamp)
        .ok_or_else(|| format!("its received_at `{text}` is not a time"))
}

fn notes(names: &[Cow<'_, str>]) -> Result<Notes, String> {
    let mut notes = Notes::default();
    for name in names {
        let named = Notes::NAMES.iter().find(|(_, known)| *known == &**name);
        let note = match named {
            Some((note, _)) => *note,
            None => {
                bit(name).ok_or_else(|| format!("its note `{name}` is not known to this build"))?
            }
        };
        notes = notes.with(note);
    }
    Ok(notes)
}

fn bit(name: &str) -> Option<Notes> {
    let bit: u32 = name.strip_prefix("bit_")?.parse().ok()?;
    1_u32.checked_shl(bit).map(Notes)
}
