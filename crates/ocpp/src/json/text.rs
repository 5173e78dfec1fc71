//! Decodes and encodes JSON strings.

use std::borrow::Cow;

/// The text of the JSON string `quoted`, which includes the quotes. Total: half of a surrogate pair and an invalid
/// escape become U+FFFD. `None` if there are no quotes around it.
pub(super) fn decode(quoted: &str) -> Option<Cow<'_, str>> {
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    if inner.as_bytes().contains(&b'\\') {
        Some(Cow::Owned(unescape(inner)))
    } else {
        Some(Cow::Borrowed(inner))
    }
}

fn unescape(inner: &str) -> String {
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((plain, escaped)) = rest.split_once('\\') {
        out.push_str(plain);
        let mut chars = escaped.chars();
        let decoded = match chars.next() {
            Some(mark @ ('"' | '\\' | '/')) => mark,
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => {
                let (decoded, after) = unicode(chars.as_str());
                out.push(decoded);
                rest = after;
                continue;
            }
            _ => char::REPLACEMENT_CHARACTER,
        };
        out.push(decoded);
        rest = chars.as_str();
    }
    out.push_str(rest);
    out
}

/// The character of the `\u` escape whose digits `rest` begins with, and the text after it.
fn unicode(rest: &str) -> (char, &str) {
    let Some((first, after)) = unit(rest) else {
        return (char::REPLACEMENT_CHARACTER, rest);
    };
    if let 0xd800..=0xdbff = first
        && let Some((second @ 0xdc00..=0xdfff, after)) = after.strip_prefix("\\u").and_then(unit)
    {
        let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        return (to_char(code), after);
    }
    (to_char(first), after)
}

/// The number of four hexadecimal digits, and the text after them.
fn unit(rest: &str) -> Option<(u32, &str)> {
    let hex = rest.get(..4)?;
    if !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    Some((u32::from_str_radix(hex, 16).ok()?, rest.get(4..)?))
}

fn to_char(code: u32) -> char {
    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// Appends `text` as a JSON string.
pub(super) fn encode(out: &mut String, text: &str) {
    out.reserve(text.len() + 2);
    out.push('"');
    let mut plain_from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let short = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..=0x1f => "",
            _ => continue,
        };
        // `at` holds an ASCII byte, so both ends are character boundaries.
        out.push_str(text.get(plain_from..at).unwrap_or(""));
        if short.is_empty() {
            const HEX: [char; 16] = [
                '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
            ];
            out.push_str("\\u00");
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
        } else {
            out.push_str(short);
        }
        plain_from = at + 1;
    }
    out.push_str(text.get(plain_from..).unwrap_or(""));
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_are_decoded() {
        let says = |quoted: &str| decode(quoted).map(Cow::into_owned);
        assert_eq!(
            says(r#""a\"\\\/\b\f\n\r\tz""#).as_deref(),
            Some("a\"\\/\u{8}\u{c}\n\r\tz")
        );
        assert_eq!(
            says(r#""\u0041\u00e4\ud83d\ude97""#).as_deref(),
            Some("Aä🚗")
        );
        assert_eq!(says(r#""\ud83d!""#).as_deref(), Some("\u{fffd}!"));
        assert_eq!(says(r#""\ud83d\u0041""#).as_deref(), Some("\u{fffd}A"));
        assert_eq!(says(r#""\u12""#).as_deref(), Some("\u{fffd}12"));
        assert_eq!(says(r#""\x""#).as_deref(), Some("\u{fffd}"));
        assert_eq!(says("\"").as_deref(), None);
        assert_eq!(says("x").as_deref(), None);
    }

    proptest! {
        #[test]
        fn an_encoded_text_is_decoded_to_itself(text in any::<String>()) {
            let mut quoted = String::new();
            encode(&mut quoted, &text);
            let decoded = decode(&quoted).map(Cow::into_owned);
            prop_assert_eq!(decoded.as_ref(), Some(&text));
            prop_assert_eq!(serde_json::from_str::<String>(&quoted).ok(), Some(text));
        }

        #[test]
        fn decoding_is_total(text in any::<String>(), escapes in r#"(\\[u"nx0-9a-f]{0,7}){0,5}"#) {
            let _ = decode(&format!("\"{text}{escapes}\""));
        }
    }
}
