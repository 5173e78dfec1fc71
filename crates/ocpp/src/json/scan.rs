//! Finds the end of a JSON value and validates it (RFC 8259), without recursion and without building values. Every frame
//! is scanned once before anything else reads it, so this is the hottest loop of the crate: it reads eight bytes of a
//! string at a time.

/// How deep lists and objects may be nested, including the frame's own list. OCPP needs about ten levels.
pub const MAX_DEPTH: u32 = 64;

/// Why a value could not be scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Not JSON from this byte on.
    Syntax(usize),
    /// Nested deeper than [`MAX_DEPTH`] at this byte.
    TooDeep(usize),
}

/// The white space of JSON.
pub(crate) const fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// The first byte at or after `at` that is not white space.
#[inline]
pub(crate) fn skip_blanks(bytes: &[u8], mut at: usize) -> usize {
    // Nearly always there is no white space, which one comparison finds.
    while let Some(&byte) = bytes.get(at) {
        if byte > b' ' || !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            break;
        }
        at += 1;
    }
    at
}

/// The byte after `mark`, which must be at `at`.
#[inline]
pub(crate) fn expect(bytes: &[u8], at: usize, mark: u8) -> Result<usize, Stop> {
    if bytes.get(at) == Some(&mark) {
        Ok(at + 1)
    } else {
        Err(Stop::Syntax(at))
    }
}

/// The byte after the value that begins at `at`, which must not be white space. `depth` is how many lists and objects
/// are open around it.
pub(crate) fn value(bytes: &[u8], mut at: usize, depth: u32) -> Result<usize, Stop> {
    // Bit n is set if the n-th open bracket, counted from the innermost, is that of an object.
    let mut objects = 0_u64;
    let mut open = 0_u32;
    loop {
        // A value begins here.
        at = match bytes.get(at) {
            Some(b'"') => string(bytes, at)?,
            Some(&bracket @ (b'{' | b'[')) => {
                if open + depth >= MAX_DEPTH {
                    return Err(Stop::TooDeep(at));
                }
                let is_object = bracket == b'{';
                let inside = skip_blanks(bytes, at + 1);
                let closing = if is_object { b'}' } else { b']' };
                if bytes.get(inside) == Some(&closing) {
                    inside + 1
                } else {
                    open += 1;
                    objects = objects << 1 | u64::from(is_object);
                    at = if is_object {
                        member(bytes, inside)?
                    } else {
                        inside
                    };
                    continue;
                }
            }
            Some(b'-' | b'0'..=b'9') => number(bytes, at)?,
            Some(b't') => literal(bytes, at, b"true")?,
            Some(b'f') => literal(bytes, at, b"false")?,
            Some(b'n') => literal(bytes, at, b"null")?,
            _ => return Err(Stop::Syntax(at)),
        };
        // A value has ended: continue with the next one, or close the brackets that it ends.
        loop {
            if open == 0 {
                return Ok(at);
            }
            at = skip_blanks(bytes, at);
            let in_object = objects & 1 == 1;
            match bytes.get(at) {
                Some(b',') => {
                    at = skip_blanks(bytes, at + 1);
                    if in_object {
                        at = member(bytes, at)?;
                    }
                    break;
                }
                Some(b'}') if in_object => {}
                Some(b']') if !in_object => {}
                _ => return Err(Stop::Syntax(at)),
            }
            at += 1;
            open -= 1;
            objects >>= 1;
        }
    }
}

/// From a member's name to where its value begins.
#[inline]
fn member(bytes: &[u8], at: usize) -> Result<usize, Stop> {
    let at = skip_blanks(bytes, string(bytes, at)?);
    Ok(skip_blanks(bytes, expect(bytes, at, b':')?))
}

/// The byte after the string that begins (with its quote) at `at`.
#[inline]
pub(crate) fn string(bytes: &[u8], at: usize) -> Result<usize, Stop> {
    let mut at = expect(bytes, at, b'"')?;
    loop {
        while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
            let marks = string_marks(u64::from_le_bytes(*chunk));
            if marks != 0 {
                at += marks.trailing_zeros() as usize / 8;
                break;
            }
            at += 8;
        }
        match bytes.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => at = escape(bytes, at)?,
            Some(0..=0x1f) | None => return Err(Stop::Syntax(at)),
            Some(_) => at += 1,
        }
    }
}

/// Sets the high bit of bytes that are a quote, a backslash or a control character. The first marked byte is always
/// right; bytes after (above) it may be marked in error.
const fn string_marks(eight: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let quote = eight ^ (ONES * b'"' as u64);
    let backslash = eight ^ (ONES * b'\\' as u64);
    let is_quote = quote.wrapping_sub(ONES) & !quote;
    let is_backslash = backslash.wrapping_sub(ONES) & !backslash;
    let is_control = eight.wrapping_sub(ONES * 0x20) & !eight;
    (is_quote | is_backslash | is_control) & HIGH
}

/// The byte after the escape that begins (with its backslash) at `at`.
fn escape(bytes: &[u8], at: usize) -> Result<usize, Stop> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => match bytes.get(at + 2..at + 6) {
            Some(hex) if hex.iter().all(u8::is_ascii_hexdigit) => Ok(at + 6),
            _ => Err(Stop::Syntax(at)),
        },
        _ => Err(Stop::Syntax(at)),
    }
}

/// The byte after the number that begins at `at`.
#[inline]
fn number(bytes: &[u8], at: usize) -> Result<usize, Stop> {
    let mut end = at;
    if bytes.get(end) == Some(&b'-') {
        end += 1;
    }
    end = match bytes.get(end) {
        Some(b'0') => end + 1,
        _ => digits(bytes, end)?,
    };
    if bytes.get(end) == Some(&b'.') {
        end = digits(bytes, end + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(end) {
        end += 1;
        if let Some(b'+' | b'-') = bytes.get(end) {
            end += 1;
        }
        end = digits(bytes, end)?;
    }
    Ok(end)
}

/// The byte after one or more digits.
#[inline]
fn digits(bytes: &[u8], at: usize) -> Result<usize, Stop> {
    let mut end = at;
    while let Some(b'0'..=b'9') = bytes.get(end) {
        end += 1;
    }
    if end == at {
        Err(Stop::Syntax(at))
    } else {
        Ok(end)
    }
}

fn literal(bytes: &[u8], at: usize, word: &[u8]) -> Result<usize, Stop> {
    if bytes.get(at..).is_some_and(|rest| rest.starts_with(word)) {
        Ok(at + word.len())
    } else {
        Err(Stop::Syntax(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_json(text: &str) -> bool {
        let bytes = text.as_bytes();
        value(bytes, skip_blanks(bytes, 0), 0)
            .is_ok_and(|end| skip_blanks(bytes, end) == bytes.len())
    }

    /// The verdict of `serde_json`, for texts without deep nesting.
    fn serde_says_json(text: &str) -> bool {
        serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
    }

    #[test]
    fn verdicts_equal_those_of_serde_json() {
        let texts = [
            "",
            " ",
            "{}",
            "[]",
            "[ ]",
            "{ }",
            "1",
            "-1",
            "-",
            "01",
            "1.",
            ".5",
            "1.5e+10",
            "1e",
            "true",
            "tru",
            "truex",
            "null",
            "nul",
            "\"\"",
            "\"",
            "\"a\\\"b\"",
            "\"\\u12g4\"",
            "\"\\u1234\"",
            "\"\\x\"",
            "\"tab\there\"",
            "\"12345678\\n\"",
            "\"1234567\u{1}\"",
            "[1,2]",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{\"a\":1}",
            "{\"a\":}",
            "{\"a\"}",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\":1 \"b\":2}",
            "[}",
            "{]",
            "[[]]",
            "[{}",
            "{\"a\":[}",
            "\u{feff}{}",
            "\"grün 🚗 ülong enough to fill chunks\"",
            "NaN",
            "-Infinity",
            "'a'",
            "[1]]",
        ];
        for text in texts {
            assert_eq!(is_json(text), serde_says_json(text), "{text:?}");
        }
    }

    #[test]
    fn nesting_is_bounded_and_uses_no_stack() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(is_json(&nested(64)));
        assert_eq!(value(nested(65).as_bytes(), 0, 0), Err(Stop::TooDeep(64)));
        assert_eq!(
            value(nested(1_000_000).as_bytes(), 0, 0),
            Err(Stop::TooDeep(64))
        );
        let objects = "{\"a\":".repeat(100_000);
        assert!(matches!(
            value(objects.as_bytes(), 0, 0),
            Err(Stop::TooDeep(_))
        ));
    }

    proptest! {
        #[test]
        fn any_text_gets_the_verdict_of_serde_json(
            text in r#"[\[\]{},:"\\untrfalse0-9eE+. \t\n\x01-\x05äx/]{0,40}"#
        ) {
            prop_assert_eq!(is_json(&text), serde_says_json(&text));
        }

        #[test]
        fn any_string_ends_where_it_should(text in any::<String>(), after in ".{0,10}") {
            let encoded = serde_json::to_string(&text).expect("a string");
            let longer = format!("{encoded}{after}");
            prop_assert_eq!(string(longer.as_bytes(), 0), Ok(encoded.len()));
        }
    }
}
