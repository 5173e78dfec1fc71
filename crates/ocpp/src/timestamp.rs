//! Reads the times that chargers write. The standard demands RFC 3339 (F-13); chargers also write times without an
//! offset, with a short offset, with a space instead of `T`, with nine decimals, or in other forms of ISO 8601.

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::Offset;

/// How a time deviates from RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimestampQuirk {
    /// Not at all.
    None,
    /// Another notation: `+02`, `+0200`, a space instead of `T`, a comma before the fraction, no seconds, the basic format of
    /// ISO 8601 (`20260102T120000Z`), or 24:00 for the end of a day.
    Form,
    /// No offset: read as UTC, which may be wrong by the offset of the charger's time zone.
    NoZone,
}

/// Reads a time: `YYYY-MM-DD` or `YYYYMMDD`, then `T` or a space, then `hh:mm[:ss[.fraction]]` or `hhmm[ss[.fraction]]`,
/// then `Z`, an offset (`+02`, `+0200`, `+02:00`) or nothing. A fraction may have any length and is cut off after
/// nanoseconds. Second 60 is read as 59, and 24:00:00 as the beginning of the next day. White space around it is ignored.
/// `None` for anything else.
#[must_use]
pub fn read(text: &str) -> Option<(Timestamp, TimestampQuirk)> {
    let mut rest = text.trim().as_bytes();
    let mut quirk = TimestampQuirk::None;

    let year = digits(&mut rest, 4)?;
    let is_date_basic = starts_with_digit(rest);
    separator(&mut rest, b'-', is_date_basic)?;
    let month = digits(&mut rest, 2)?;
    separator(&mut rest, b'-', is_date_basic)?;
    let day = digits(&mut rest, 2)?;

    match take(&mut rest)? {
        b'T' | b't' => {}
        b' ' => quirk = TimestampQuirk::Form,
        _ => return None,
    }
    let mut hour = digits(&mut rest, 2)?;
    let is_time_basic = starts_with_digit(rest);
    separator(&mut rest, b':', is_time_basic)?;
    let minute = digits(&mut rest, 2)?;
    if is_date_basic || is_time_basic {
        quirk = TimestampQuirk::Form;
    }
    let mut second = 0;
    let mut nanos = 0;
    let has_seconds = match is_time_basic {
        true => starts_with_digit(rest),
        false => rest.first() == Some(&b':'),
    };
    if has_seconds {
        separator(&mut rest, b':', is_time_basic)?;
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

    let mut date = Date::new(narrow(year)?, narrow(month)?, narrow(day)?).ok()?;
    if (hour, minute, second, nanos) == (24, 0, 0, 0) {
        hour = 0;
        date = date.tomorrow().ok()?;
        if quirk == TimestampQuirk::None {
            quirk = TimestampQuirk::Form;
        }
    }
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

/// Takes what separates two numbers, which the basic format of ISO 8601 does not have.
fn separator(rest: &mut &[u8], wanted: u8, is_basic: bool) -> Option<()> {
    (is_basic || take(rest)? == wanted).then_some(())
}

fn starts_with_digit(rest: &[u8]) -> bool {
    rest.first().is_some_and(u8::is_ascii_digit)
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
        check("20260102T120000Z", noon, Form);
        check("20260102T120000.000Z", noon, Form);
        check("20260102T1200Z", noon, Form);
        check("20260102T140000+0200", noon, Form);
        check("20260102T083000-03", "2026-01-02T11:30:00Z", Form);
        check("20260102 12:00:00Z", noon, Form);
        check("2026-01-02T120000Z", noon, Form);
        check("20260102T120000", noon, NoZone);
        let midnight = "2026-01-01T00:00:00Z";
        check("2025-12-31T24:00:00Z", midnight, Form);
        check("2025-12-31T24:00:00.000Z", midnight, Form);
        check("20251231T240000Z", midnight, Form);
        check("2025-12-31T24:00:00-01:00", "2026-01-01T01:00:00Z", Form);
        check("2025-12-31T24:00", midnight, NoZone);
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
            "2026-01-02T24:00:01Z",
            "2026-01-02T24:00:00.5Z",
            "2026-01-02T24:01:00Z",
            "2026-01-02T25:00:00Z",
            "9999-12-31T24:00:00Z",
            "20260102",
            "20260102120000",
            "20260102T",
            "20260102T12Z",
            "20260102T12000Z",
            "20260102T1200:00Z",
            "20260102T12:0000Z",
            "2026-0102T12:00:00Z",
            "202601-02T12:00:00Z",
            "20261302T120000Z",
            "20260230T120000Z",
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
