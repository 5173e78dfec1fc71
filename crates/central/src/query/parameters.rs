//! Values of filters as people write them, parsed by one rule for the HTTP API and the command line.

use crate::Timestamp;
use ocpp::Version;

/// What a time must be, for error sentences.
pub const TIME_EXPECTED: &str =
    "a time such as 2026-01-31T12:00:00Z, or milliseconds since 1970-01-01 UTC";

/// What an action must be, for error sentences.
pub const ACTION_EXPECTED: &str =
    "an action of OCPP, such as StartTransaction, MeterValues or TransactionEvent";

/// A time: RFC 3339 with `Z` or an offset, or whole milliseconds since 1970. A fraction of a millisecond is cut off.
#[must_use]
pub fn time(text: &str) -> Option<Timestamp> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    if !unsigned.is_empty() && unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Timestamp);
    }
    let at: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp(at.as_millisecond()))
}

/// The action of any version with this name, as OCPP spells it; letter case is ignored.
#[must_use]
pub fn action(text: &str) -> Option<&'static str> {
    Version::ALL
        .into_iter()
        .flat_map(ocpp::action::all)
        .map(|action| action.name)
        .find(|name| name.eq_ignore_ascii_case(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_moments_with_an_offset_or_milliseconds() {
        let noon = Some(Timestamp(1_769_860_800_000));
        for text in [
            "2026-01-31T12:00:00Z",
            "2026-01-31T13:00:00.000+01:00",
            "1769860800000",
        ] {
            assert_eq!(time(text), noon, "{text}");
        }
        assert_eq!(time("-5"), Some(Timestamp(-5)));
        for text in [
            "",
            "-",
            "+5",
            " 5",
            "yesterday",
            "2026-01-31",
            "2026-01-31T12:00:00",
        ] {
            assert_eq!(time(text), None, "{text:?}");
        }
    }

    #[test]
    fn actions_are_found_in_any_letter_case() {
        assert_eq!(action("starttransaction"), Some("StartTransaction"));
        assert_eq!(
            action("NotifyEVChargingNeeds"),
            Some("NotifyEVChargingNeeds")
        );
        for text in ["", "Start", "StartTransaction "] {
            assert_eq!(action(text), None, "{text:?}");
        }
    }
}
