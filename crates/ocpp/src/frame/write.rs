//! Writes frames, always as compact JSON: some chargers search a frame for fixed texts and fail if there is white
//! space.

use super::MessageId;
use crate::json::write_string;

/// The longest description that the standard allows, in characters; longer ones are cut.
pub const DESCRIPTION_CHARS_MAX: usize = 255;

/// `[2,id,action,payload]`. `payload` must be compact JSON; empty text becomes `{}`.
#[must_use]
pub fn write_call(id: &MessageId<'_>, action: &str, payload: &str) -> String {
    write_message(2, id, Some(action), payload)
}

/// `[3,id,payload]`. `payload` must be compact JSON; empty text becomes `{}`.
#[must_use]
pub fn write_call_result(id: &MessageId<'_>, payload: &str) -> String {
    write_message(3, id, None, payload)
}

/// `[4,id,code,description,details]`. `code` is [`crate::ErrorCode::as_str`] of the connection's
/// version; `details` must be a compact JSON object; empty text becomes `{}`.
#[must_use]
pub fn write_call_error(
    id: &MessageId<'_>,
    code: &str,
    description: &str,
    details: &str,
) -> String {
    write_error(4, id, code, description, details)
}

/// `[5,id,code,description,details]`, to be sent to 2.1 only (F-2). As [`write_call_error`].
#[must_use]
pub fn write_call_result_error(
    id: &MessageId<'_>,
    code: &str,
    description: &str,
    details: &str,
) -> String {
    write_error(5, id, code, description, details)
}

/// `[6,id,action,payload]`, to be sent to 2.1 only (F-3). As [`write_call`].
#[must_use]
pub fn write_send(id: &MessageId<'_>, action: &str, payload: &str) -> String {
    write_message(6, id, Some(action), payload)
}

fn write_message(number: u8, id: &MessageId<'_>, action: Option<&str>, payload: &str) -> String {
    let room = id.as_str().len() + action.map_or(0, str::len) + payload.len() + 16;
    let mut out = begin(number, id, room);
    if let Some(action) = action {
        out.push(',');
        write_string(&mut out, action);
    }
    out.push(',');
    out.push_str(or_empty_object(payload));
    out.push(']');
    out
}

fn write_error(
    number: u8,
    id: &MessageId<'_>,
    code: &str,
    description: &str,
    details: &str,
) -> String {
    let description = match description.char_indices().nth(DESCRIPTION_CHARS_MAX) {
        Some((end, _)) => description.get(..end).unwrap_or(""),
        None => description,
    };
    let room = id.as_str().len() + code.len() + description.len() + details.len() + 20;
    let mut out = begin(number, id, room);
    out.push(',');
    write_string(&mut out, code);
    out.push(',');
    write_string(&mut out, description);
    out.push(',');
    out.push_str(or_empty_object(details));
    out.push(']');
    out
}

fn begin(number: u8, id: &MessageId<'_>, room: usize) -> String {
    let mut out = String::with_capacity(room);
    out.push('[');
    out.push(char::from(b'0' + number));
    out.push(',');
    id.write(&mut out);
    out
}

fn or_empty_object(payload: &str) -> &str {
    if payload.is_empty() { "{}" } else { payload }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_compact_and_complete() {
        let id = MessageId::new("a\"b");
        assert_eq!(write_call(&id, "Reset", ""), r#"[2,"a\"b","Reset",{}]"#);
        assert_eq!(
            write_call_result(&id, r#"{"x":1}"#),
            r#"[3,"a\"b",{"x":1}]"#
        );
        assert_eq!(
            write_call_error(&id, "GenericError", "so\nso", ""),
            r#"[4,"a\"b","GenericError","so\nso",{}]"#
        );
        assert_eq!(
            write_call_result_error(&id, "GenericError", "", "{}"),
            r#"[5,"a\"b","GenericError","",{}]"#
        );
        assert_eq!(write_send(&id, "X", "{}"), r#"[6,"a\"b","X",{}]"#);
    }

    #[test]
    fn a_long_description_is_cut_between_characters() {
        let text = write_call_error(&"1".into(), "GenericError", &"ä".repeat(300), "{}");
        let description = text.split('"').nth(5).expect("the third string");
        assert_eq!(description.chars().count(), DESCRIPTION_CHARS_MAX);
    }
}
