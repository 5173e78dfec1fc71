//! How the gateway ends a connection. Some firmware stays away after a Close frame, until somebody switches it off and on
//! (quirk 19), and comes back after a connection that just ends.

use super::Boot;
use serde::{Deserialize, Serialize};

/// How the gateway ends a connection whose charger is to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CloseStyle {
    /// With a Close frame (RFC 6455, section 7).
    #[default]
    Frame,
    /// Without one: TCP ends after the last answer.
    Tcp,
}

/// A [`CloseStyle`] for all chargers with some firmware.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloseRule {
    /// The vendor in the charger's BootNotification, where `*` stands for any characters; letter case does not matter.
    pub vendor: String,
    /// The model, in the same way. Default `*`.
    #[serde(default = "any")]
    pub model: String,
    /// The version of the firmware, in the same way; a charger that names none has an empty one. Default `*`.
    #[serde(default = "any")]
    pub firmware: String,
    /// How their connections end.
    pub style: CloseStyle,
}

fn any() -> String {
    "*".to_owned()
}

impl CloseRule {
    /// The rules that a policy may have. Every BootNotification is compared with all of them.
    pub const MAX: usize = 100;

    /// Whether a charger that boots like this is meant.
    #[must_use]
    pub fn fits(&self, boot: &Boot) -> bool {
        let fits = |pattern: &str, value: &Option<String>| {
            fits(pattern, value.as_deref().unwrap_or_default())
        };
        fits(&self.vendor, &boot.vendor)
            && fits(&self.model, &boot.model)
            && fits(&self.firmware, &boot.firmware)
    }

    /// The style of the first rule that fits.
    #[must_use]
    pub fn first(rules: &[Self], boot: &Boot) -> Option<CloseStyle> {
        let rule = rules.iter().find(|rule| rule.fits(boot))?;
        Some(rule.style)
    }
}

/// Longer texts of a charger fit `*` only: it decides how long they are, and they are compared with every rule. OCPP allows
/// 50 characters.
const TEXT_BYTES_MAX: usize = 255;

/// Whether `text` is like `pattern`. Takes time in proportion to the product of their lengths at most.
fn fits(pattern: &str, text: &str) -> bool {
    if text.len() > TEXT_BYTES_MAX {
        return pattern == "*";
    }
    let (pattern, text) = (pattern.to_lowercase(), text.to_lowercase());
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut in_text) = (0, 0);
    // Where to go on if the last `*` must stand for one more byte.
    let mut star: Option<(usize, usize)> = None;
    while in_text < text.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at, in_text));
            at += 1;
        } else if pattern.get(at) == text.get(in_text) {
            at += 1;
            in_text += 1;
        } else if let Some((star_at, taken)) = star {
            star = Some((star_at, taken + 1));
            (at, in_text) = (star_at + 1, taken + 1);
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters_and_letter_case_does_not_matter() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "JIGU", true),
            ("", "", true),
            ("", "a", false),
            ("jigu", "JIGU", true),
            ("JIGU", "JIGU 2", false),
            ("JIGU*", "JIGU 2", true),
            ("*gu*", "We JIGU 2", true),
            ("1.*.3", "1.2.3", true),
            ("1.*.3", "1.2.3.4", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("*é", "CAFÉ", true),
            ("**", "x", true),
            ("*a", "", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
        // Hostile input must not take exponential time.
        let (pattern, text) = ("*a".repeat(40), "a".repeat(254) + "b");
        assert!(!fits(&pattern, &text));
        let long = "a".repeat(2 << 20);
        assert!(fits("*", &long) && !fits("a*", &long));
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let read = |text: &str| serde_json::from_str::<CloseRule>(text);
        let rules = [
            read(r#"{"vendor":"JIGU","firmware":"2.*","style":"frame"}"#).unwrap(),
            read(r#"{"vendor":"JIGU","style":"tcp"}"#).unwrap(),
        ];
        let boot = |vendor: &str, firmware: Option<&str>| Boot {
            vendor: Some(vendor.to_owned()),
            firmware: firmware.map(str::to_owned),
            ..Boot::default()
        };
        let first = |boot: &Boot| CloseRule::first(&rules, boot);
        assert_eq!(first(&boot("jigu", Some("2.1"))), Some(CloseStyle::Frame));
        assert_eq!(first(&boot("jigu", Some("1.9"))), Some(CloseStyle::Tcp));
        assert_eq!(first(&boot("jigu", None)), Some(CloseStyle::Tcp));
        assert_eq!(first(&boot("Other", None)), None);
        assert_eq!(first(&Boot::default()), None);
        assert!(read(r#"{"vendor":"JIGU","style":"polite"}"#).is_err());
        assert!(read(r#"{"vendor":"JIGU","style":"tcp","serial":"1"}"#).is_err());
    }
}
