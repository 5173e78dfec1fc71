//! The forms of a list: JSON, NDJSON or CSV, with all members of a row or only some.

use crate::error::ApiError;
use crate::openapi::openapi;
use axum::http::HeaderValue;
use axum::http::header::GetAll;
use common::spreadsheet;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::io;

/// The form of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Form {
    /// `{"items": [...], "next": …}`
    #[default]
    Json,
    /// An object per line.
    Ndjson,
    /// A header and a line per row (RFC 4180); a text that a spreadsheet would run as a formula gets a `'` before it.
    Csv,
}

impl Form {
    const ALL: [Self; 3] = [Self::Json, Self::Ndjson, Self::Csv];

    /// The value of `Content-Type`.
    pub(crate) const fn media(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }

    /// The form that the client prefers (RFC 9110, 12.5.1); of equal ones, JSON before NDJSON before CSV.
    pub(crate) fn accepted(values: GetAll<'_, HeaderValue>) -> Result<Self, ApiError> {
        let values: Vec<&str> = values
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        let accept = values.join(",");
        if accept.trim().is_empty() {
            return Ok(Self::Json);
        }
        let mut best = None;
        for form in Self::ALL {
            let quality = form.quality(&accept);
            if quality > best.map_or(0.0, |(_, quality)| quality) {
                best = Some((form, quality));
            }
        }
        best.map(|(form, _)| form)
            .ok_or_else(|| ApiError::not_acceptable(&accept))
    }

    /// The quality value of this form: that of the most specific range that includes it; 0 = not acceptable.
    fn quality(self, accept: &str) -> f32 {
        let (name, _) = self.media().split_once(';').unwrap_or((self.media(), ""));
        let (kind, _) = name.split_once('/').unwrap_or((name, ""));
        let mut found = (0, 0.0);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            let is_kind = media
                .strip_suffix("/*")
                .is_some_and(|range| range.eq_ignore_ascii_case(kind));
            let specific = match media {
                media if media.eq_ignore_ascii_case(name) => 3,
                _ if is_kind => 2,
                "*/*" => 1,
                _ => continue,
            };
            let quality = parts
                .find_map(|part| part.strip_prefix("q=")?.parse().ok())
                .unwrap_or(1.0);
            if specific > found.0 {
                found = (specific, quality);
            }
        }
        found.1
    }

    /// What precedes the rows.
    pub(crate) const fn begin(self) -> &'static [u8] {
        match self {
            Self::Json => b"[",
            Self::Ndjson | Self::Csv => b"",
        }
    }

    /// What follows the rows.
    pub(crate) const fn end(self) -> &'static [u8] {
        match self {
            Self::Json => b"]",
            Self::Ndjson | Self::Csv => b"",
        }
    }

    /// Appends a row, and before the first one of CSV the header.
    pub(crate) fn append<T: Serialize>(
        self,
        out: &mut Vec<u8>,
        row: &T,
        fields: Option<&[String]>,
        is_first: bool,
    ) -> io::Result<()> {
        if self == Self::Json && !is_first {
            out.push(b',');
        }
        match (self, fields) {
            (Self::Csv, _) => append_csv(out, row, fields, is_first)?,
            (Self::Json | Self::Ndjson, None) => serde_json::to_writer(&mut *out, row)?,
            (Self::Json | Self::Ndjson, Some(fields)) => {
                let members = Members::of(row)?;
                out.push(b'{');
                for (at, (name, value)) in members.selected(Some(fields)).enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    serde_json::to_writer(&mut *out, name)?;
                    out.push(b':');
                    out.extend_from_slice(value.get().as_bytes());
                }
                out.push(b'}');
            }
        }
        if self == Self::Ndjson {
            out.push(b'\n');
        }
        Ok(())
    }
}

fn append_csv<T: Serialize>(
    out: &mut Vec<u8>,
    row: &T,
    fields: Option<&[String]>,
    is_first: bool,
) -> io::Result<()> {
    let members = Members::of(row)?;
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(out);
    if is_first {
        writer.write_record(members.selected(fields).map(|(name, _)| name))?;
    }
    let cells = members.selected(fields).map(|(_, value)| cell(value));
    for cell in cells {
        writer.write_field(spreadsheet::escaped(&cell).as_bytes())?;
    }
    writer.write_record(None::<&[u8]>)?;
    writer.flush()
}

/// A member as a field of CSV: empty for null, a string without quotation marks, else its JSON.
fn cell(value: &RawValue) -> Cow<'_, str> {
    match value.get() {
        "null" => Cow::Borrowed(""),
        text if text.starts_with('"') => match serde_json::from_str(text) {
            Ok(text) => Cow::Owned(text),
            Err(_) => Cow::Borrowed(text),
        },
        text => Cow::Borrowed(text),
    }
}

/// The members of an object in their order.
struct Members(Vec<(String, Box<RawValue>)>);

impl Members {
    fn of<T: Serialize>(row: &T) -> serde_json::Result<Self> {
        serde_json::from_str(&serde_json::to_string(row)?)
    }

    /// These members that the object has, in this order; all members without `fields`.
    fn selected<'a>(
        &'a self,
        fields: Option<&'a [String]>,
    ) -> Box<dyn Iterator<Item = (&'a str, &'a RawValue)> + 'a> {
        let all = || self.0.iter().map(|(name, value)| (name.as_str(), &**value));
        match fields {
            None => Box::new(all()),
            Some(fields) => {
                let find = move |field: &String| all().find(|(name, _)| *name == field.as_str());
                Box::new(fields.iter().filter_map(find))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

/// The members that the parameter `fields` names, each of which must be one of the schema.
pub(crate) fn fields(text: &str, schema: &str) -> Result<Vec<String>, ApiError> {
    let properties = &openapi()["components"]["schemas"][schema]["properties"];
    let mut chosen: Vec<String> = Vec::new();
    for field in text.split(',').map(str::trim) {
        if properties[field].is_null() {
            let known = properties.as_object().into_iter().flatten();
            let known: Vec<&str> = known.map(|(name, _)| name.as_str()).collect();
            let right = format!("names with commas between them, of {}", known.join(", "));
            return Err(ApiError::bad_parameter("fields", text, &right));
        }
        if !chosen.iter().any(|name| name == field) {
            chosen.push(field.to_owned());
        }
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderMap;
    use axum::http::header::ACCEPT;

    #[test]
    fn the_preferred_form_that_the_client_accepts_is_chosen() {
        for (accept, expected) in [
            (None, Some(Form::Json)),
            (Some("*/*"), Some(Form::Json)),
            (Some("text/csv"), Some(Form::Csv)),
            (Some("TEXT/CSV"), Some(Form::Csv)),
            (Some("text/html, */*;q=0.8"), Some(Form::Json)),
            (
                Some("application/x-ndjson, application/json;q=0.5"),
                Some(Form::Ndjson),
            ),
            (Some("text/*, application/json;q=0.1"), Some(Form::Csv)),
            (Some("application/json;q=0, */*"), Some(Form::Ndjson)),
            (Some("application/*"), Some(Form::Json)),
            (Some("image/png"), None),
            (Some("application/json;q=0"), None),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(ACCEPT, HeaderValue::from_static(accept));
            }
            let found = Form::accepted(headers.get_all(ACCEPT));
            assert_eq!(found.ok(), expected, "{accept:?}");
        }
    }

    #[test]
    fn a_row_is_written_in_each_form() {
        #[derive(Serialize)]
        struct Row {
            z: &'static str,
            a: Option<u8>,
            n: [u8; 2],
        }
        let row = Row {
            z: "=1,\"x\"",
            a: None,
            n: [1, 2],
        };
        let written = |form: Form, fields: Option<&[String]>| {
            let mut out = form.begin().to_vec();
            for is_first in [true, false] {
                form.append(&mut out, &row, fields, is_first)
                    .expect("written");
            }
            out.extend_from_slice(form.end());
            String::from_utf8(out).expect("UTF-8")
        };
        let line = r#"{"z":"=1,\"x\"","a":null,"n":[1,2]}"#;
        assert_eq!(written(Form::Json, None), format!("[{line},{line}]"));
        assert_eq!(written(Form::Ndjson, None), format!("{line}\n{line}\n"));
        let csv = "\"'=1,\"\"x\"\"\",,\"[1,2]\"\r\n";
        assert_eq!(written(Form::Csv, None), format!("z,a,n\r\n{csv}{csv}"));
        let fields = ["n".to_owned(), "a".to_owned()];
        let line = r#"{"n":[1,2],"a":null}"#;
        assert_eq!(
            written(Form::Json, Some(&fields)),
            format!("[{line},{line}]")
        );
        assert_eq!(
            written(Form::Csv, Some(&fields)),
            "n,a\r\n\"[1,2]\",\r\n\"[1,2]\",\r\n"
        );
    }
}
