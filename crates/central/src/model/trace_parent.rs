//! The header `traceparent` of W3C Trace Context: a client's own name for what its request belongs to. It is kept with what
//! the request causes, so that the client's traces and Wattpost's commands can be joined.

use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// A valid `traceparent` of version 00, 55 characters: version, trace, parent and flags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct TraceParent(String);

/// Characters of version 00, and those that later versions begin with.
const CHARS: usize = 55;

impl TraceParent {
    /// Reads the value of the header (W3C Trace Context, 3.2). A later version than 00 is read as far as version 00 defines
    /// it and kept as version 00, with no flag but `sampled`, as section 4.3 demands. `None` for anything else: the header is ignored then.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // Only characters of one byte are valid, so a cut inside another one is no loss.
        let (head, rest) = (text.get(..CHARS)?, text.get(CHARS..)?);
        let mut parts = head.split('-');
        let (version, trace) = (parts.next()?, parts.next()?);
        let (parent, flags) = (parts.next()?, parts.next()?);
        let is_hex = |part: &str, chars: usize| {
            let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            part.len() == chars && part.bytes().all(is_digit)
        };
        let is_set = |part: &str| part.bytes().any(|byte| byte != b'0');
        let is_valid = parts.next().is_none()
            && is_hex(version, 2)
            && version != "ff"
            && is_hex(trace, 32)
            && is_set(trace)
            && is_hex(parent, 16)
            && is_set(parent)
            && is_hex(flags, 2);
        if !is_valid {
            return None;
        }
        if version == "00" {
            return rest.is_empty().then(|| Self(head.to_owned()));
        }
        let flags = u8::from_str_radix(flags, 16).ok()? & 1;
        let is_longer = rest.is_empty() || rest.starts_with('-');
        is_longer.then(|| Self(format!("00-{trace}-{parent}-{flags:02x}")))
    }

    /// The value of the header.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TraceParent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("it is no traceparent"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00f067aa0ba902b7";

    #[track_caller]
    fn check(text: &str, read: Option<&str>) {
        let found = TraceParent::parse(text);
        assert_eq!(found.as_ref().map(TraceParent::as_str), read, "{text:?}");
    }

    #[test]
    fn version_00_is_kept_as_it_is() {
        for flags in ["00", "01", "03", "ff"] {
            let text = format!("00-{TRACE}-{PARENT}-{flags}");
            check(&text, Some(&text));
        }
    }

    #[test]
    fn a_later_version_is_read_as_version_00() {
        let kept = format!("00-{TRACE}-{PARENT}-01");
        for text in [
            format!("01-{TRACE}-{PARENT}-01"),
            format!("cc-{TRACE}-{PARENT}-09-what-the-future-brings"),
        ] {
            check(&text, Some(&kept));
        }
        check(&format!("01-{TRACE}-{PARENT}-01.more"), None);
    }

    #[test]
    fn what_is_malformed_is_ignored() {
        let zeros = "0".repeat(32);
        for text in [
            String::new(),
            "00".to_owned(),
            format!("00-{TRACE}-{PARENT}"),
            format!("00-{TRACE}-{PARENT}-1"),
            format!("00-{TRACE}-{PARENT}-01-"),
            format!("00-{TRACE}-{PARENT}-01-more"),
            format!("ff-{TRACE}-{PARENT}-01"),
            format!("0-{TRACE}-{PARENT}-011"),
            format!("00-{zeros}-{PARENT}-01"),
            format!("00-{TRACE}-{}-01", &zeros[..16]),
            format!("00-{}-{PARENT}-01", TRACE.to_uppercase()),
            format!("00-{}-{PARENT}-01", TRACE.replace('4', "g")),
            format!("00-{TRACE}-{PARENT}-0x"),
            format!(" 00-{TRACE}-{PARENT}-01"),
            format!("00_{TRACE}_{PARENT}_01"),
            format!("00-{TRACE}-{}\u{e9}-01", &PARENT[..14]),
            "\u{e9}".repeat(55),
        ] {
            check(&text, None);
        }
    }

    #[test]
    fn a_stored_text_that_is_none_is_refused() {
        let good = format!("\"00-{TRACE}-{PARENT}-01\"");
        let read: TraceParent = serde_json::from_str(&good).expect("a traceparent");
        assert_eq!(serde_json::to_string(&read).expect("JSON"), good);
        assert!(serde_json::from_str::<TraceParent>("\"00\"").is_err());
    }
}
