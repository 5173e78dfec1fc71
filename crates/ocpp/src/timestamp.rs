//! Reads the times that chargers write. The standard demands RFC 3339 (F-13); chargers also write times without an
//! offset, with a short offset, with a space instead of `T`, or with nine decimals.

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::Offset;

/// How a time deviates from RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimestampQuirk {
    /// Not at all.
    None,
    /// Another notation: `+02`, `+0200`, a space instead of `T`, a comma before the fraction, no seconds.
    Form,
    /// No offset: read as UTC, which may be wrong by the offset of the charger's time zone.
    NoZone,
}

/// Reads a time: `YYYY-MM-DD`, then `T` or a space, then `hh:mm[:ss[.fraction]]`, then `Z`, an offset (`+02`, `+0200`,
/// `+02:00`) or nothing. A fraction may have any length and is cut off after nanoseconds. Second 60 is read as 59. White
/// space around it is ignored. `None` for anything else.
#[must_use]
pub fn read(text: &str) -> Option<(Timestamp, TimestampQuirk)> {
    let mut rest = text.trim().as_bytes();
    let mut quirk = TimestampQuirk::None;

    let year = digits(&mut rest, 4)?;
    mark(&mut rest, b'-')?;
    let month = digits(&mut rest, 2)?;
    mark(&mut rest, b'-')?;
    let day = digits(&mut rest, 2)?;

    match take(&mut rest)? {
        b'T' | b't' => {}
        b' ' => quirk = TimestampQuirk::Form,
        _ => return None,
    }
    let hour = digits(&mut rest, 2)?;
    mark(&mut rest, b':')?;
    let minute = digits(&mut rest, 2)?;
    let mut second = 0;
    let mut nanos = 0;
    if rest.first() == Some(&b':') {
        take(&mut rest);
        second = digits(&mut rest, 2)?;
        if second == 60 {
            second = 59;
        }
        if let Some(&point @ (b'.' | b',')) = rest.first() {
            take(&mut rest);
            nanos = fraction(&mut rest)?;
            if point == b',' {
                quirk = TimestampQuirk::Form;
            }
        }
    } else {
        quirk = TimestampQuirk::Form;
    }
    let offset_s = zone(rest, &mut quirk)?;

    let date = Date::new(narrow(year)?, narrow(month)?, narrow(day)?).ok()?;
    let time = Time::new(narrow(hour)?, narrow(minute)?, narrow(second)?, nanos).ok()?;
    let offset = Offset::from_seconds(offset_s).ok()?;
    let at = offset.to_timestamp(date.to_datetime(time)).ok()?;
    Some((at, quirk))
}

/// Seconds east of UTC.
fn zone(mut rest: &[u8], quirk: &mut TimestampQuirk) -> Option<i32> {
    if rest.first() == Some(&b' ') {
        rest = rest.trim_ascii_start();
        *quirk = TimestampQuirk::Form;
    }
    let sign = match take(&mut rest) {
        None => {
            *quirk = TimestampQuirk::NoZone;
            return Some(0);
        }
        Some(b'Z' | b'z') => return rest.is_empty().then_some(0),
        Some(b'+') => 1,
        Some(b'-') => -1,
        Some(_) => return None,
    };
    let hours = digits(&mut rest, 2)?;
    let minutes = match rest.first() {
        None => {
            *quirk = TimestampQuirk::Form;
            0
        }
        Some(b':') => {
            take(&mut rest);
            digits(&mut rest, 2)?
        }
        Some(_) => {
            *quirk = TimestampQuirk::Form;
            digits(&mut rest, 2)?
        }
    };
    (rest.is_empty() && hours <= 23 && minutes <= 59)
        .then_some(sign * (hours * 3600 + minutes * 60))
}

/// One or more digits, as nanoseconds.
fn fraction(rest: &mut &[u8]) -> Option<i32> {
    let mut nanos = 0;
    let mut weight = 100_000_000;
    let mut any = false;
    while let Some(digit @ b'0'..=b'9') = rest.first() {
        nanos += i32::from(digit - b'0') * weight;
        weight /= 10;
        any = true;
        take(rest);
    }
    any.then_some(nanos)
}

/// Exactly `count` digits.
fn digits(rest: &mut &[u8], count: usize) -> Option<i32> {
    let (head, after) = rest.split_at_checked(count)?;
    let mut number = 0;
    for byte in head {
        if !byte.is_ascii_digit() {
            return None;
        }
        number = number * 10 + i32::from(byte - b'0');
    }
    *rest = after;
    Some(number)
}

fn mark(rest: &mut &[u8], wanted: u8) -> Option<()> {
    (take(rest)? == wanted).then_some(())
}

fn take(rest: &mut &[u8]) -> Option<u8> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    Some(*first)
}

fn narrow<T: TryFrom<i32>>(number: i32) -> Option<T> {
    T::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, want: &str, quirk: TimestampQuirk) {
        let want: Timestamp = want.parse().expect("RFC 3339");
        assert_eq!(read(text), Some((want, quirk)), "{text}");
    }

    #[test]
    fn quirk_10_every_notation_of_a_time_is_read() {
        use TimestampQuirk::{Form, NoZone, None};
        let noon = "2026-01-02T12:00:00Z";
        check("2026-01-02T12:00:00Z", noon, None);
        check("2026-01-02t12:00:00z", noon, None);
        check(" 2026-01-02T12:00:00Z\n", noon, None);
        check("2026-01-02T12:00:00.000Z", noon, None);
        check("2026-01-02T14:00:00+02:00", noon, None);
        check("2026-01-02T14:00:00+02", noon, Form);
        check("2026-01-02T14:00:00+0200", noon, Form);
        check("2026-01-02T08:30:00-03:30", noon, None);
        check("2026-01-02 12:00:00Z", noon, Form);
        check("2026-01-02 12:00:00 Z", noon, Form);
        check("2026-01-02T12:00Z", noon, Form);
        check("2026-01-02T12:00:00,0Z", noon, Form);
        check("2026-01-02T12:00:00", noon, NoZone);
        check("2026-01-02 12:00:00.0", noon, NoZone);
        check(
            "2026-01-02T12:00:00.123456789Z",
            "2026-01-02T12:00:00.123456789Z",
            None,
        );
        check(
            "2026-01-02T12:00:00.1234567891234Z",
            "2026-01-02T12:00:00.123456789Z",
            None,
        );
        check("2026-01-02T12:00:60Z", "2026-01-02T12:00:59Z", None);
        check("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z", None);
        check("2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z", None);
    }

    #[test]
    fn a_text_that_is_not_a_time_is_none() {
        let texts = [
            "",
            "now",
            "2026",
            "2026-01-02",
            "2026-01-02T",
            "2026-1-2T12:00:00Z",
            "2026-13-02T12:00:00Z",
            "2026-02-30T12:00:00Z",
            "2026-01-02T24:00:00Z",
            "2026-01-02T12:00:00.Z",
            "2026-01-02T12:00:00ZZ",
            "2026-01-02T12:00:00+2",
            "2026-01-02T12:00:00+99:00",
            "2026-01-02X12:00:00Z",
            "1767355200",
            "äöü",
            "2026-01-02T12:00:00+02:00 CEST",
            "+2026-01-02T12:00:00Z",
        ];
        for text in texts {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn reading_is_total(text in "[0-9TZ:+. -]{0,40}|.{0,30}") {
            let _ = read(&text);
        }

        #[test]
        fn a_written_time_is_read_back(nanos in -2_000_000_000_000_000_000_i128..4_000_000_000_000_000_000) {
            let at = Timestamp::from_nanosecond(nanos).expect("in range");
            prop_assert_eq!(read(&at.to_string()), Some((at, TimestampQuirk::None)));
        }
    }
}
