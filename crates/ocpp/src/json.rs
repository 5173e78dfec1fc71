//! Reads raw JSON text without building values.
//!
//! A message is journaled as the charger wrote it, so its members are looked up in that text: a value is found by
//! scanning, borrowed, and interpreted leniently ("7" as a number, a number as a text). A value of another *type* is not
//! an error: it counts as absent. Each method says what it accepts.

pub(crate) mod scan;
mod text;

use std::borrow::Cow;

pub use scan::MAX_DEPTH;

/// The text of one JSON value, borrowed from the message that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raw<'a>(&'a str);

/// Why a payload cannot be read at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It is not JSON from this byte on, or nested deeper than [`MAX_DEPTH`].
    #[error("not JSON at byte {at}")]
    NotJson {
        /// Where, in bytes from the start of the text that was read.
        at: usize,
    },
    /// It is JSON, but not an object.
    #[error("not a JSON object")]
    NotObject,
}

impl<'a> Raw<'a> {
    /// Wraps `text`, which should be one JSON value. Any text is allowed; if it is not JSON, the results are
    /// meaningless, but nothing panics.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        Self(text.trim_matches(scan::is_blank))
    }

    /// Wraps a value that [`scan`] has found.
    pub(crate) const fn scanned(text: &'a str) -> Self {
        Self(text)
    }

    /// The value's text, as written, without white space around it.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// Whether it is `null`.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.0 == "null"
    }

    /// Whether it is an object.
    #[must_use]
    pub fn is_object(self) -> bool {
        self.0.starts_with('{')
    }

    /// Whether it is a list.
    #[must_use]
    pub fn is_list(self) -> bool {
        self.0.starts_with('[')
    }

    /// A string decoded; a number or boolean as written. Half of a surrogate pair becomes U+FFFD. `None` for null, lists
    /// and objects.
    #[must_use]
    pub fn text(self) -> Option<Cow<'a, str>> {
        match self.0.as_bytes().first()? {
            b'"' => text::decode(self.0),
            b'-' | b'0'..=b'9' | b't' | b'f' => Some(Cow::Borrowed(self.0)),
            _ => None,
        }
    }

    /// A number, or a string that holds one; white space around it is ignored.
    #[must_use]
    pub fn number(self) -> Option<f64> {
        let text = self.plain()?;
        text.parse::<f64>().ok().filter(|number| number.is_finite())
    }

    /// A whole number of 64 bits, or a string that holds one, also with a fraction of zero (`12.0`). `None` for a number
    /// with another fraction, which may be no id, and beyond 64 bits.
    #[must_use]
    pub fn integer(self) -> Option<i64> {
        let text = self.plain()?;
        if let Ok(whole) = text.parse::<i64>() {
            return Some(whole);
        }
        // Not by way of f64, which is not exact beyond 2^53.
        if let Some((whole, fraction)) = text.split_once('.')
            && !fraction.is_empty()
            && fraction.bytes().all(|byte| byte.is_ascii_digit())
        {
            let is_whole = fraction.bytes().all(|byte| byte == b'0');
            return is_whole.then(|| whole.parse().ok()).flatten();
        }
        let number = text.parse::<f64>().ok()?;
        (number.fract() == 0.0).then(|| whole(number)).flatten()
    }

    /// A meter's register in whole Wh, also from a string. A fraction is cut off (`1234.5` from meters where the standard
    /// demands whole Wh); `None` beyond 64 bits.
    #[must_use]
    pub fn whole_wh(self) -> Option<i64> {
        self.integer()
            .or_else(|| self.number().and_then(|number| whole(number.trunc())))
    }

    /// `true` or `false`, also as a string in any letter case, or `1` or `0`.
    #[must_use]
    pub fn boolean(self) -> Option<bool> {
        let text = self.plain()?;
        match text.as_ref() {
            "1" => Some(true),
            "0" => Some(false),
            text if text.eq_ignore_ascii_case("true") => Some(true),
            text if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }

    /// A moment, as [`crate::timestamp::read`] reads it.
    #[must_use]
    pub fn timestamp(self) -> Option<jiff::Timestamp> {
        crate::timestamp::read(&self.text()?).map(|(at, _)| at)
    }

    /// Calls `visit` for each member of an object, in the order in which they are written; twice for a name that is
    /// written twice. `null` has no members.
    ///
    /// # Errors
    /// When it is neither an object nor null, or not JSON; the members before the error were visited.
    pub fn members(self, mut visit: impl FnMut(&str, Self)) -> Result<(), ReadError> {
        if self.is_null() {
            return Ok(());
        }
        let bytes = self.0.as_bytes();
        match bytes.first() {
            Some(b'{') => {}
            Some(_) if scan::value(bytes, 0, 0).is_ok() => return Err(ReadError::NotObject),
            _ => return Err(ReadError::NotJson { at: 0 }),
        }
        let mut at = scan::skip_blanks(bytes, 1);
        if bytes.get(at) == Some(&b'}') {
            return self.ends_at(at + 1);
        }
        loop {
            let name_end = scan::string(bytes, at)?;
            let name = self.slice(at, name_end);
            at = scan::skip_blanks(bytes, name_end);
            at = scan::expect(bytes, at, b':')?;
            at = scan::skip_blanks(bytes, at);
            let end = scan::value(bytes, at, 1)?;
            if let Some(name) = text::decode(name) {
                visit(&name, Self(self.slice(at, end)));
            }
            at = scan::skip_blanks(bytes, end);
            match bytes.get(at) {
                Some(b',') => at = scan::skip_blanks(bytes, at + 1),
                Some(b'}') => return self.ends_at(at + 1),
                _ => return Err(ReadError::NotJson { at }),
            }
        }
    }

    /// Calls `visit` for each item of a list. A single value counts as a list of one (some chargers omit the brackets of
    /// such lists); `null` has no items.
    ///
    /// # Errors
    /// When it is not JSON; the items before the error were visited.
    pub fn items(self, mut visit: impl FnMut(Self)) -> Result<(), ReadError> {
        if self.is_null() {
            return Ok(());
        }
        let bytes = self.0.as_bytes();
        if !self.is_list() {
            let end = scan::value(bytes, 0, 0)?;
            visit(Self(self.slice(0, end)));
            return self.ends_at(end);
        }
        let mut at = scan::skip_blanks(bytes, 1);
        if bytes.get(at) == Some(&b']') {
            return self.ends_at(at + 1);
        }
        loop {
            let end = scan::value(bytes, at, 1)?;
            visit(Self(self.slice(at, end)));
            at = scan::skip_blanks(bytes, end);
            match bytes.get(at) {
                Some(b',') => at = scan::skip_blanks(bytes, at + 1),
                Some(b']') => return self.ends_at(at + 1),
                _ => return Err(ReadError::NotJson { at }),
            }
        }
    }

    /// The text of a string, number or boolean, without white space around it.
    fn plain(self) -> Option<Cow<'a, str>> {
        Some(match self.text()? {
            Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
            Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
        })
    }

    fn ends_at(self, at: usize) -> Result<(), ReadError> {
        if at == self.0.len() {
            Ok(())
        } else {
            Err(ReadError::NotJson { at })
        }
    }

    /// The characters at both ends are ASCII, so these are character boundaries.
    fn slice(self, from: usize, to: usize) -> &'a str {
        self.0.get(from..to).unwrap_or("")
    }
}

/// `number`, which has no fraction, if it is within 64 bits.
fn whole(number: f64) -> Option<i64> {
    // Beyond 2^53 not every integer is an f64, but every f64 below 2^63 fits into an i64.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the range is checked, and there is no fraction"
    )]
    (-LIMIT..LIMIT).contains(&number).then_some(number as i64)
}

impl From<scan::Stop> for ReadError {
    fn from(stop: scan::Stop) -> Self {
        match stop {
            scan::Stop::Syntax(at) | scan::Stop::TooDeep(at) => Self::NotJson { at },
        }
    }
}

/// Appends `text` as a JSON string, with quotes. Only the characters that must be escaped are.
pub fn write_string(out: &mut String, text: &str) {
    text::encode(out, text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_in_every_notation() {
        assert_eq!(Raw::new(" 7 ").integer(), Some(7));
        assert_eq!(Raw::new("\"7\"").integer(), Some(7));
        assert_eq!(Raw::new("\" -7.00 \"").integer(), Some(-7));
        assert_eq!(Raw::new("\" -7.90 \"").whole_wh(), Some(-7));
        assert_eq!(Raw::new("1e3").integer(), Some(1000));
        assert_eq!(Raw::new("9223372036854775807").integer(), Some(i64::MAX));
        assert_eq!(Raw::new("9223372036854775808").integer(), None);
        assert_eq!(Raw::new("\"\"").integer(), None);
        assert_eq!(Raw::new("true").integer(), None);
        assert_eq!(Raw::new("\"0.50\"").number(), Some(0.5));
        assert_eq!(Raw::new("1e999").number(), None);
        assert_eq!(Raw::new("\"NaN\"").number(), None);
        assert_eq!(Raw::new("\"TRUE\"").boolean(), Some(true));
        assert_eq!(Raw::new("0").boolean(), Some(false));
        assert_eq!(Raw::new("\"yes\"").boolean(), None);
        assert_eq!(Raw::new("17").text().as_deref(), Some("17"));
        assert_eq!(Raw::new("null").text(), None);
        assert_eq!(Raw::new("{}").text(), None);
        assert_eq!(Raw::new("").text(), None);
    }

    #[test]
    fn only_a_register_is_read_without_its_fraction() {
        for text in ["1.5", "\"1.5\"", "-0.5", "15e-1", "9007199254740993.5"] {
            assert_eq!(Raw::new(text).integer(), None, "{text}");
            assert!(Raw::new(text).whole_wh().is_some(), "{text}");
        }
        assert_eq!(Raw::new("1.5").whole_wh(), Some(1));
        for (text, number) in [
            ("1.0", 1),
            ("\"1.00\"", 1),
            ("-0.0", 0),
            ("1.5e3", 1_500),
            ("9007199254740993.0", 9_007_199_254_740_993),
        ] {
            assert_eq!(Raw::new(text).integer(), Some(number), "{text}");
            assert_eq!(Raw::new(text).whole_wh(), Some(number), "{text}");
        }
        for text in ["1e20", "100000000000000000000.5", "\"xyz\"", "null"] {
            assert_eq!(Raw::new(text).integer(), None, "{text}");
            assert_eq!(Raw::new(text).whole_wh(), None, "{text}");
        }
    }

    fn members(text: &str) -> (Vec<(String, String)>, Result<(), ReadError>) {
        let mut seen = Vec::new();
        let result = Raw::new(text).members(|name, value| {
            seen.push((name.to_owned(), value.as_str().to_owned()));
        });
        (seen, result)
    }

    #[test]
    fn members_are_visited_in_order_and_as_written() {
        let (seen, result) = members(r#" { "a" : [1, {"x":2}] ,"\u0062":"q" } "#);
        assert_eq!(result, Ok(()));
        assert_eq!(
            seen,
            [
                ("a".to_owned(), r#"[1, {"x":2}]"#.to_owned()),
                ("b".to_owned(), "\"q\"".to_owned())
            ]
        );
    }

    #[test]
    fn a_value_that_is_not_an_object_is_an_error() {
        assert_eq!(members("null"), (vec![], Ok(())));
        assert_eq!(members("[1]").1, Err(ReadError::NotObject));
        assert_eq!(members("\"text\"").1, Err(ReadError::NotObject));
        assert_eq!(members("").1, Err(ReadError::NotJson { at: 0 }));
        assert_eq!(members("{\"a\":}").1, Err(ReadError::NotJson { at: 5 }));
        assert_eq!(members("{\"a\":1,}").1, Err(ReadError::NotJson { at: 7 }));
        assert_eq!(members("{\"a\":1} x").1, Err(ReadError::NotJson { at: 7 }));
        let (seen, result) = members(r#"{"a":1,"b":,"c":2}"#);
        assert_eq!(seen.len(), 1);
        assert!(result.is_err());
    }

    #[test]
    fn a_single_value_is_a_list_of_one() {
        let items = |text| {
            let mut seen = Vec::new();
            let result = Raw::new(text).items(|item| seen.push(item.as_str().to_owned()));
            (seen, result.is_ok())
        };
        assert_eq!(items("[1, 2]"), (vec!["1".into(), "2".into()], true));
        assert_eq!(items("{\"a\":1}"), (vec!["{\"a\":1}".into()], true));
        assert_eq!(items("[]"), (vec![], true));
        assert_eq!(items("null"), (vec![], true));
        assert_eq!(items("[1,"), (vec!["1".into()], false));
        assert_eq!(items("[,{}]"), (vec![], false));
    }
}
