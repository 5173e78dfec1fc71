//! Encodes records as JSON without serde, because this runs once per message on the way to RabbitMQ.

use super::VERSION;
use central::record::{AnswerKind, Notes};
use central::{Record, RecordId};
use ocpp::Version;
use serde_json::value::RawValue;
use std::io::Write;

/// More deeply nested JSON is sent as text, because some parsers limit the depth.
const EMBED_DEPTH_MAX: usize = 64;

/// The longest message that is written member by member. RabbitMQ 4 accepts 16 MiB by default and closes the channel
/// for a longer one, which would stop all records.
const MESSAGE_BYTES_MAX: usize = 15 << 20;

/// Appends the message of the record of `bytes` to `out`. Where escapes make a long text longer than
/// [`MESSAGE_BYTES_MAX`], the record is written as Base64, which is at most a third longer than the record.
pub(crate) fn encode_bounded(id: RecordId, record: &Record<'_>, bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    encode(id, record, out);
    if out.len() - start > MESSAGE_BYTES_MAX {
        out.truncate(start);
        out.shrink_to_fit();
        encode_unreadable(id, bytes, None, out);
    }
}

/// Appends the message of `record` to `out`.
pub(crate) fn encode(id: RecordId, record: &Record<'_>, out: &mut Vec<u8>) {
    out.reserve(360 + record.payload.len() + record.answer.len() + record.reason.len());
    begin(id, out);
    member(out, "charger_id", record.charger_id);
    out.extend_from_slice(match record.ocpp_version {
        Version::V16 => b",\"ocpp_version\":\"1.6\",\"kind\":\"",
        Version::V201 => b",\"ocpp_version\":\"2.0.1\",\"kind\":\"",
        Version::V21 => b",\"ocpp_version\":\"2.1\",\"kind\":\"",
    });
    out.extend_from_slice(record.kind.as_str().as_bytes());
    out.push(b'"');
    member(out, "message_id", record.message_id);
    member(out, "action", record.action);
    print(
        out,
        format_args!(
            ",\"received_at\":\"{}\",\"epoch\":{}",
            record.received_at, record.epoch
        ),
    );
    notes(out, record.notes);
    member(out, "reason", record.reason);
    out.extend_from_slice(match record.answer_kind {
        AnswerKind::None => b",\"answer_kind\":\"none\"",
        AnswerKind::Result => b",\"answer_kind\":\"result\"",
        AnswerKind::Error => b",\"answer_kind\":\"error\"",
    });
    embed(out, "answer", record.answer, false);
    embed(
        out,
        "payload",
        record.payload,
        record.notes.has(Notes::BASE64),
    );
    out.push(b'}');
}

/// Appends the message of bytes that this build cannot decode as a record; with a reason when they are a dead
/// letter.
pub(crate) fn encode_unreadable(
    id: RecordId,
    bytes: &[u8],
    reason: Option<&str>,
    out: &mut Vec<u8>,
) {
    use base64::Engine;
    begin(id, out);
    if let Some(reason) = reason {
        member(out, "reason", reason);
    }
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    member(out, "record_base64", &text);
    out.push(b'}');
}

fn begin(id: RecordId, out: &mut Vec<u8>) {
    let mut buffer = [0; uuid::fmt::Hyphenated::LENGTH];
    let gateway = id.gateway.0.hyphenated().encode_lower(&mut buffer);
    let seq = id.seq;
    print(
        out,
        format_args!(
            "{{\"v\":{VERSION},\"record_id\":\"{gateway}/{seq}\",\"gateway_id\":\"{gateway}\",\"seq\":{seq}"
        ),
    );
}

fn member(out: &mut Vec<u8>, name: &str, text: &str) {
    name_of(out, name);
    string(out, text);
}

fn name_of(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn string(out: &mut Vec<u8>, text: &str) {
    let plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    if text.bytes().all(plain) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return;
    }
    // Formatting into memory cannot fail.
    let written = serde_json::to_writer(&mut *out, text);
    debug_assert!(written.is_ok());
}

fn print(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a Vec cannot fail.
    let written = out.write_fmt(text);
    debug_assert!(written.is_ok());
}

/// Writes the names of the notes; a bit without a name is written as `bit_N`.
fn notes(out: &mut Vec<u8>, notes: Notes) {
    out.extend_from_slice(b",\"notes\":[");
    let mut comma = false;
    for bit in 0..u32::BITS {
        if notes.0 & (1 << bit) == 0 {
            continue;
        }
        if comma {
            out.push(b',');
        }
        comma = true;
        match Notes::NAMES.iter().find(|(note, _)| note.0 == 1 << bit) {
            Some((_, name)) => print(out, format_args!("\"{name}\"")),
            None => print(out, format_args!("\"bit_{bit}\"")),
        }
    }
    out.push(b']');
}

/// Writes `text` unchanged where it is JSON that every parser accepts, otherwise as a string under another name;
/// omits it when it is empty.
fn embed(out: &mut Vec<u8>, name: &str, text: &str, is_plain_text: bool) {
    if text.is_empty() {
        return;
    }
    if !is_plain_text && is_good_json(text) {
        name_of(out, name);
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"_text\":");
    string(out, text);
}

fn is_good_json(text: &str) -> bool {
    // JSON without surrounding whitespace; `null` would read like a missing member.
    match serde_json::from_str::<&RawValue>(text) {
        Ok(json) if json.get().len() == text.len() && text != "null" => {}
        _ => return false,
    }
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    let mut strict = true;
    for byte in text.bytes() {
        if in_string {
            match byte {
                b'u' if escaped => {
                    strict = false;
                    escaped = false;
                }
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                if depth > EMBED_DEPTH_MAX {
                    return false;
                }
            }
            b']' | b'}' => depth -= 1,
            // A number with an exponent may exceed the range of a parser.
            b'E' => strict = false,
            b'e' => strict = false,
            _ => {}
        }
    }
    // A lone surrogate is valid JSON, but many parsers reject it; this check runs rarely.
    strict || serde_json::from_str::<serde_json::Value>(text).is_ok()
}
