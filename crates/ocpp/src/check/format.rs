//! The syntax of date-times and URIs, the two formats that the schemas name. [`crate::timestamp`] reads times leniently.

/// Whether this is a date-time as 1.6 allows it: ISO 8601 with a fraction of any length and an
/// offset in any of its notations (rule F-13). A time without an offset is invalid, because it does not name a moment.
pub(super) fn is_date_time_16(text: &str) -> bool {
    date_time(text).is_some()
}

/// Whether this is a date-time as 2.x allows it: RFC 3339 with at most three decimals (rule F-13).
pub(super) fn is_date_time_2(text: &str) -> bool {
    date_time(text).is_some_and(|time| time.rfc_3339 && time.decimals <= 3)
}

struct DateTime {
    decimals: usize,
    rfc_3339: bool,
}

fn date_time(text: &str) -> Option<DateTime> {
    let mut rest = text.as_bytes();
    let year = digits(&mut rest, 4)?;
    byte(&mut rest, b"-")?;
    let month = digits(&mut rest, 2)?;
    byte(&mut rest, b"-")?;
    let day = digits(&mut rest, 2)?;
    byte(&mut rest, b"Tt")?;
    let hour = digits(&mut rest, 2)?;
    byte(&mut rest, b":")?;
    let minute = digits(&mut rest, 2)?;
    byte(&mut rest, b":")?;
    let second = digits(&mut rest, 2)?;
    let mut decimals = 0;
    if byte(&mut rest, b".").is_some() {
        while digits(&mut rest, 1).is_some() {
            decimals += 1;
        }
        if decimals == 0 {
            return None;
        }
    }
    // 60 is a leap second.
    if day == 0 || day > days_of(year, month)? || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let rfc_3339 = offset(&mut rest)?;
    rest.is_empty().then_some(DateTime { decimals, rfc_3339 })
}

/// `Z`, `+02:00`, `+0200` or `+02`; returns whether the notation is that of RFC 3339.
fn offset(rest: &mut &[u8]) -> Option<bool> {
    if byte(rest, b"Zz").is_some() {
        return Some(true);
    }
    byte(rest, b"+-")?;
    let hours = digits(rest, 2)?;
    let colon = byte(rest, b":").is_some();
    let minutes = digits(rest, 2);
    if hours > 23 || minutes.is_some_and(|minutes| minutes > 59) || (colon && minutes.is_none()) {
        return None;
    }
    Some(colon)
}

fn days_of(year: u32, month: u32) -> Option<u32> {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        4 | 6 | 9 | 11 => Some(30),
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            Some(29)
        }
        2 => Some(28),
        _ => None,
    }
}

fn byte(rest: &mut &[u8], any_of: &[u8]) -> Option<()> {
    let (first, tail) = rest.split_first()?;
    if !any_of.contains(first) {
        return None;
    }
    *rest = tail;
    Some(())
}

fn digits(rest: &mut &[u8], count: usize) -> Option<u32> {
    let (head, tail) = rest.split_at_checked(count)?;
    let mut number = 0;
    for digit in head {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = number * 10 + u32::from(digit - b'0');
    }
    *rest = tail;
    Some(number)
}

/// Whether this is a URI (RFC 3986) as far as its characters tell: a scheme, a colon, and only characters that a URI may
/// have.
pub(super) fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    let mut scheme = scheme.bytes();
    if !scheme
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic())
        || !scheme.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    {
        return false;
    }
    let mut rest = rest.bytes();
    while let Some(byte) = rest.next() {
        let fits = match byte {
            b'%' => {
                rest.next().is_some_and(|digit| digit.is_ascii_hexdigit())
                    && rest.next().is_some_and(|digit| digit.is_ascii_hexdigit())
            }
            _ => byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=".contains(&byte),
        };
        if !fits {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timestamp::{self, TimestampQuirk};
    use proptest::prelude::*;

    #[test]
    fn each_version_has_its_own_date_times() {
        let both = [
            "2026-11-23T16:50:00Z",
            "2024-02-29t23:59:60.123z",
            "2026-11-23T16:50:00.1-05:30",
        ];
        let only_16 = [
            "2026-11-23T16:50:00.123456789Z",
            "2026-11-23T16:50:00+02",
            "2026-11-23T16:50:00+0200",
        ];
        let neither = [
            "",
            "now",
            "2026-11-23",
            "2026-11-23T16:50:00",
            "2026-11-23 16:50:00Z",
            "2026-11-23T16:50Z",
            "2026-11-23T16:50:00.Z",
            "2026-11-23T16:50:00+2",
            "2026-11-23T16:50:00+02:",
            "2026-11-23T16:50:00+24:00",
            "2026-02-29T16:50:00Z",
            "2100-02-29T16:50:00Z",
            "2026-13-01T16:50:00Z",
            "2026-11-31T16:50:00Z",
            "2026-11-23T24:00:00Z",
            "2026-11-23T16:60:00Z",
            "2026-11-23T16:50:00Zulu",
            "２026-11-23T16:50:00Z",
        ];
        for text in both {
            assert!(is_date_time_16(text) && is_date_time_2(text), "{text}");
        }
        for text in only_16 {
            assert!(is_date_time_16(text) && !is_date_time_2(text), "{text}");
        }
        for text in neither {
            assert!(!is_date_time_16(text) && !is_date_time_2(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_valid_date_time_can_be_read(
            text in "20[0-9]{2}-[01][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-6][0-9](:[0-6][0-9])?([.,][0-9]{0,12})?(|Z|z|[+-][0-2][0-9](:?[0-6][0-9])?)"
        ) {
            let is_valid = is_date_time_16(&text);
            let read = timestamp::read(&text).map(|(_, quirk)| quirk);
            prop_assert!(is_valid || read != Some(TimestampQuirk::None), "{text} is read as RFC 3339");
            prop_assert!(!is_valid || read.is_some(), "{text} cannot be read");
            prop_assert!(!is_valid || read != Some(TimestampQuirk::NoZone), "{text} has no zone");
        }
    }

    #[test]
    fn a_uri_has_a_scheme_and_only_allowed_characters() {
        for text in [
            "ftp://user:secret@files.example/logs/%20a?b=c#d",
            "https://[::1]:8080/",
            "urn:x-oca:ocpp",
        ] {
            assert!(is_uri(text), "{text}");
        }
        for text in [
            "",
            "files",
            "/logs",
            "1ftp://a",
            "ftp://a b",
            "ftp://a/%2",
            "ftp://ä",
            ":",
        ] {
            assert!(!is_uri(text), "{text}");
        }
    }
}
