//! Query parameters, validated in the same way for all routes: each must be known, given once, and valid. A misspelt
//! filter must not be ignored, because the unfiltered answer would look right.

use crate::error::ApiError;
use central::query::{PAGE_DEFAULT, PAGE_MAX, parameters};
use central::{RecordId, Timestamp};
use percent_encoding::percent_decode;

/// Maximum length of a query string, in bytes.
pub(crate) const QUERY_BYTES_MAX: usize = 8 * 1024;

/// The decoded parameters of one request. The methods return typed values; their errors name the permitted
/// values.
#[derive(Debug)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Parses `query` (the part after the `?`), which may contain only the names in `known`.
    pub(crate) fn read(query: Option<&str>, known: &[&str]) -> Result<Self, ApiError> {
        let query = query.unwrap_or_default();
        if query.len() > QUERY_BYTES_MAX {
            return Err(ApiError::query_too_long(query.len(), QUERY_BYTES_MAX));
        }
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if !known.contains(&name.as_str()) {
                return Err(ApiError::unknown_parameter(&name, known));
            }
            if pairs.iter().any(|(earlier, _)| *earlier == name) {
                return Err(ApiError::repeated_parameter(&name));
            }
            pairs.push((name, value));
        }
        Ok(Self { pairs })
    }

    /// The parameter as a text; `None` if it is not given.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, ApiError> {
        match self.raw(name) {
            Some("") => Err(ApiError::bad_parameter(name, "", "a text, or omitted")),
            value => Ok(value),
        }
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&self, name: &str) -> Result<Option<bool>, ApiError> {
        self.one_of(name, &[("true", true), ("false", false)])
    }

    /// One of the strings in `choices`.
    pub(crate) fn one_of<T: Clone>(
        &self,
        name: &str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, ApiError> {
        let Some(value) = self.raw(name) else {
            return Ok(None);
        };
        let chosen = choices.iter().find(|(word, _)| *word == value);
        let Some((_, chosen)) = chosen else {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            let right = match words.split_last() {
                Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
                _ => words.concat(),
            };
            return Err(ApiError::bad_parameter(name, value, &right));
        };
        Ok(Some(chosen.clone()))
    }

    /// A time in RFC 3339, or in milliseconds since 1970-01-01 UTC.
    pub(crate) fn time(&self, name: &str) -> Result<Option<Timestamp>, ApiError> {
        let Some(value) = self.raw(name) else {
            return Ok(None);
        };
        let Some(at) = read_time(value) else {
            return Err(ApiError::bad_parameter(
                name,
                value,
                parameters::TIME_EXPECTED,
            ));
        };
        Ok(Some(at))
    }

    /// An OCPP action, as OCPP spells it; letter case is ignored.
    pub(crate) fn action(&self, name: &str) -> Result<Option<&'static str>, ApiError> {
        let Some(value) = self.raw(name) else {
            return Ok(None);
        };
        match parameters::action(value) {
            Some(action) => Ok(Some(action)),
            None => Err(ApiError::bad_parameter(
                name,
                value,
                parameters::ACTION_EXPECTED,
            )),
        }
    }

    /// A record's id, `GATEWAY/NUMBER`.
    pub(crate) fn record_id(&self, name: &str) -> Result<Option<RecordId>, ApiError> {
        let Some(value) = self.raw(name) else {
            return Ok(None);
        };
        let wrong = || ApiError::bad_parameter(name, value, RECORD_ID_EXPECTED);
        value.parse().map(Some).map_err(|()| wrong())
    }

    /// The time range `from` ≤ time < `to`.
    pub(crate) fn span(&self) -> Result<(Option<Timestamp>, Option<Timestamp>), ApiError> {
        let (from, to) = (self.time("from")?, self.time("to")?);
        if let (Some(from), Some(to)) = (from, to)
            && from > to
        {
            let right = format!("not before from, which is {from}");
            return Err(ApiError::bad_parameter("to", &to.to_string(), &right));
        }
        Ok((from, to))
    }

    /// The cursor at which the page begins.
    pub(crate) fn cursor(&self) -> Result<Option<&str>, ApiError> {
        match self.raw("cursor") {
            Some("") => Err(ApiError::bad_cursor("")),
            value => Ok(value),
        }
    }

    /// The maximum number of items in the page.
    pub(crate) fn limit(&self) -> Result<usize, ApiError> {
        let Some(value) = self.raw("limit") else {
            return Ok(PAGE_DEFAULT);
        };
        let wrong = || {
            let right = format!("a whole number from 1 to {PAGE_MAX}");
            ApiError::bad_parameter("limit", value, &right)
        };
        // Digits only, because `parse` accepts `+5`.
        let limit = match value.bytes().all(|byte| byte.is_ascii_digit()) {
            true => value.parse().map_err(|_| wrong())?,
            false => return Err(wrong()),
        };
        if !(1..=PAGE_MAX).contains(&limit) {
            return Err(wrong());
        }
        Ok(limit)
    }

    /// The parameter as it was written, also if it is empty; `None` if it is not given.
    pub(crate) fn raw(&self, name: &str) -> Option<&str> {
        let found = self.pairs.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// What a parameter with the id of a record must be.
pub(crate) const RECORD_ID_EXPECTED: &str =
    "the id of a record, GATEWAY-UUID/NUMBER, such as record_id of a message";

/// Form decoding: `+` is a space, `%XX` a byte.
pub(crate) fn decode(text: &str) -> Result<String, ApiError> {
    let with_spaces = text.replace('+', " ");
    match percent_decode(with_spaces.as_bytes()).decode_utf8() {
        Ok(decoded) => Ok(decoded.into_owned()),
        Err(_) => Err(ApiError::undecodable("query parameter", text)),
    }
}

fn read_time(text: &str) -> Option<Timestamp> {
    parameters::time(text).or_else(|| {
        // An unencoded `+02:00` is decoded to ` 02:00`.
        let (moment, offset) = text.rsplit_once(' ')?;
        parameters::time(&format!("{moment}+{offset}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["q", "from", "to", "limit", "online"];

    fn read(query: &str) -> Query {
        Query::read(Some(query), KNOWN).expect("a valid query")
    }

    fn message(error: ApiError) -> String {
        format!("{error:?}")
    }

    #[test]
    fn parameters_are_form_decoded() {
        assert_eq!(read("q=a+b%2Fc%C3%A9").text("q"), Ok(Some("a b/cé")));
        assert_eq!(read("").text("q"), Ok(None));
        assert_eq!(read("&&q=1&").text("q"), Ok(Some("1")));
    }

    #[test]
    fn a_time_may_be_written_as_rfc_3339_or_in_milliseconds() {
        let noon = Some(Timestamp(1_767_268_800_000));
        for text in [
            "2026-01-01T12:00:00Z",
            "2026-01-01T12:00:00.000Z",
            "2026-01-01T14:00:00%2B02:00",
            "2026-01-01T14:00:00+02:00",
            "2026-01-01T10:00:00-02:00",
            "1767268800000",
        ] {
            assert_eq!(
                read(&format!("from={text}")).time("from"),
                Ok(noon),
                "{text}"
            );
        }
        assert_eq!(read("from=-1").time("from"), Ok(Some(Timestamp(-1))));
    }

    #[test]
    fn an_invalid_time_is_refused() {
        for text in [
            "",
            "now",
            "2026-01-01",
            "2026-13-01T00:00:00Z",
            "1e3",
            "99999999999999999999",
        ] {
            assert!(
                read(&format!("from={text}")).time("from").is_err(),
                "{text}"
            );
        }
    }

    #[test]
    fn a_time_range_that_ends_before_it_begins_is_refused() {
        assert!(read("from=5&to=5").span().is_ok());
        let why = message(read("from=6&to=5").span().expect_err("to is before from"));
        assert!(why.contains("not before from"), "{why}");
    }

    #[test]
    fn a_limit_is_from_1_to_1000() {
        assert_eq!(read("").limit(), Ok(PAGE_DEFAULT));
        assert_eq!(read("limit=1000").limit(), Ok(1_000));
        for text in ["0", "1001", "-1", "+1", "x", "", "18446744073709551616"] {
            assert!(read(&format!("limit={text}")).limit().is_err(), "{text}");
        }
    }

    #[test]
    fn an_unknown_repeated_or_undecodable_parameter_is_named() {
        for (query, part) in [
            ("onlin=true", "onlin"),
            ("q=1&q=2", "more than once"),
            ("q=%ff", "UTF-8"),
        ] {
            let why = message(Query::read(Some(query), KNOWN).expect_err("refused"));
            assert!(why.contains(part), "{query}: {why}");
        }
        let why = message(
            read("online=yes")
                .boolean("online")
                .expect_err("not a boolean"),
        );
        assert!(why.contains("true or false"), "{why}");
    }

    #[test]
    fn a_query_that_is_too_long_is_refused() {
        let long = format!("q={}", "a".repeat(QUERY_BYTES_MAX));
        assert!(Query::read(Some(&long), KNOWN).is_err());
    }
}
