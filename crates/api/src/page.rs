//! Pages of lists. A page is limited in items and in bytes of JSON, because a thousand messages may have a gigabyte.
//!
//! Rows are queried in small steps, and each step is serialized at once. So a request uses the memory of the page so far
//! and of one step of rows.

use crate::error::ApiError;
use crate::query::Query;
use crate::row::{self, Form};
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::HeaderValue;
use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, LINK};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use central::model::ChargerKey;
use central::query::{Cursor, Page, PageRequest, Place, QueryError};
use serde::Serialize;
use serde_json::value::RawValue;
use std::convert::Infallible;
use std::fmt;
use std::time::{Duration, Instant};
use tracing::error;

/// Maximum size of a page's items in bytes of JSON, unless the first item alone is longer.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Maximum number of rows per query. Each may be as long as the longest message that a charger may send, so this bounds
/// the memory in addition to the page.
const STEP_ROWS: usize = 16;
/// A query that stops at the bound of its work has found few rows or none. A page with such a query ends after this time,
/// with a cursor to continue, so that a filter which few rows match does not scan the whole history in one request.
const SCAN_FOR: Duration = Duration::from_millis(50);

/// The items of a page.
#[derive(Debug)]
pub(crate) struct Items {
    /// The items in the form that the request wants: a JSON array, or lines.
    bytes: Vec<u8>,
    form: Form,
    /// The cursor of the next page; `None` at the end.
    next: Option<Cursor>,
    /// The target of the request without its position; `None` if the answer needs no link.
    target: Option<String>,
}

/// A list as it is answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ListAnswer {
    pub(crate) bytes: Vec<u8>,
    pub(crate) media: &'static str,
    /// The address of the next page.
    pub(crate) next: Option<String>,
}

impl ListAnswer {
    /// Adds a member beside `items` and `next`; the other forms have only the items.
    pub(crate) fn with_member<T: Serialize>(
        mut self,
        name: &str,
        value: &T,
    ) -> Result<Self, ApiError> {
        if self.media == Form::Json.media() {
            let end = self.bytes.len().saturating_sub(1);
            self.bytes.truncate(end);
            self.bytes.push(b',');
            append(&mut self.bytes, &name)?;
            self.bytes.push(b':');
            append(&mut self.bytes, value)?;
            self.bytes.push(b'}');
        }
        Ok(self)
    }
}

impl IntoResponse for ListAnswer {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.bytes));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.media));
        if let Some(next) = self.next
            && let Ok(link) = HeaderValue::from_str(&format!("<{next}>; rel=\"next\""))
        {
            headers.insert(LINK, link);
        }
        response
    }
}

impl Items {
    /// The answer to the request. As JSON it is `{"items": …, "next": …}`; the other forms have the next page in the
    /// header `Link` only.
    pub(crate) fn into_answer(self) -> Result<ListAnswer, ApiError> {
        let mut bytes = self.bytes;
        if self.form == Form::Json {
            bytes.splice(..0, *b"{\"items\":");
            bytes.extend_from_slice(b",\"next\":");
            append(&mut bytes, &self.next)?;
            bytes.push(b'}');
        }
        let next = self.next.zip(self.target).map(|(cursor, target)| {
            let separator = if target.contains('?') { '&' } else { '?' };
            format!("{target}{separator}cursor={cursor}")
        });
        Ok(ListAnswer {
            bytes,
            media: self.form.media(),
            next,
        })
    }

    /// The items alone, to be embedded in another answer.
    pub(crate) fn into_raw(self) -> Result<Box<RawValue>, ApiError> {
        let text = String::from_utf8(self.bytes).map_err(unwritable)?;
        RawValue::from_string(text).map_err(unwritable)
    }
}

/// What a request for a list selects besides its filter.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    /// Which rows.
    pub(crate) page: PageRequest,
    form: Form,
    /// Only these members of each row; `None` for all.
    fields: Option<Vec<String>>,
    target: Option<String>,
}

impl From<PageRequest> for Wanted {
    fn from(page: PageRequest) -> Self {
        Self {
            page,
            ..Self::default()
        }
    }
}

/// The parts of a request for a list.
#[derive(Debug)]
pub(crate) struct ListRequest {
    path: String,
    query: Option<String>,
    headers: HeaderMap,
}

impl<S: Sync> FromRequestParts<S> for ListRequest {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self {
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().map(str::to_owned),
            headers: parts.headers.clone(),
        })
    }
}

impl ListRequest {
    /// The query parameters, which may have only the names in `known`.
    pub(crate) fn query(&self, known: &[&str]) -> Result<Query, ApiError> {
        Query::read(self.query.as_deref(), known)
    }

    /// The page that the request selects with `cursor`, `limit` and `fields`, and its form. `schema` names the schema of
    /// a row.
    pub(crate) fn wanted(&self, query: &Query, schema: &str) -> Result<Wanted, ApiError> {
        let after = query.cursor()?.map(Cursor::from_text);
        // No charger has an empty identity, so the API never gave this cursor.
        if let Some(cursor) = &after
            && Place::from_cursor(cursor) == Ok(Place::Charger(ChargerKey::of("")))
        {
            return Err(ApiError::bad_cursor(cursor.as_str()));
        }
        let page = PageRequest {
            after,
            limit: query.limit()?,
        };
        let fields = query.text("fields")?;
        let fields = fields
            .map(|fields| row::fields(fields, schema))
            .transpose()?;
        Ok(Wanted {
            page,
            form: Form::accepted(self.headers.get_all(ACCEPT))?,
            fields,
            target: Some(self.target()),
        })
    }

    /// The path and the query without the position of the page.
    pub(crate) fn target(&self) -> String {
        let pairs = self.query.as_deref().unwrap_or_default().split('&');
        let kept: Vec<&str> = pairs
            .filter(|pair| {
                let name = pair.split('=').next().unwrap_or_default();
                !matches!(name, "" | "cursor" | "after")
            })
            .collect();
        match kept.as_slice() {
            [] => self.path.clone(),
            kept => format!("{}?{}", self.path, kept.join("&")),
        }
    }
}

/// The parameters of a list that is always one page.
pub(crate) const WHOLE_PARAMETERS: &[&str] = &["fields"];

/// All rows, as one page without a next one: for lists that are bounded by what they are about.
pub(crate) fn whole<T: Serialize>(wanted: Wanted, rows: &[T]) -> Result<ListAnswer, ApiError> {
    let Wanted {
        form,
        fields,
        target,
        ..
    } = wanted;
    let mut bytes = form.begin().to_vec();
    for (at, row) in rows.iter().enumerate() {
        form.append(&mut bytes, row, fields.as_deref(), at == 0)
            .map_err(unwritable)?;
    }
    bytes.extend_from_slice(form.end());
    let items = Items {
        bytes,
        form,
        next: None,
        target,
    };
    items.into_answer()
}

/// The error of a request for `page` whose query failed.
pub(crate) fn query_error(error: QueryError, page: &PageRequest) -> ApiError {
    match error {
        QueryError::Unavailable(unavailable) => ApiError::unavailable(&unavailable),
        QueryError::BadCursor => {
            ApiError::bad_cursor(page.after.as_ref().map_or("", |cursor| cursor.as_str()))
        }
    }
}

/// Collects the rows of `wanted` in small steps; ends early at the limit on bytes, with a cursor to continue.
/// `prepare` may truncate a row before it is serialized. At least one row is returned if there is one.
pub(crate) fn collected<T: Serialize>(
    wanted: impl Into<Wanted>,
    prepare: impl Fn(&mut T),
    query: impl FnMut(&PageRequest) -> Result<Page<T>, QueryError>,
) -> Result<Items, ApiError> {
    collected_within(PAGE_BYTES_MAX, wanted.into(), prepare, query)
}

fn collected_within<T: Serialize>(
    bytes_max: usize,
    wanted: Wanted,
    prepare: impl Fn(&mut T),
    mut query: impl FnMut(&PageRequest) -> Result<Page<T>, QueryError>,
) -> Result<Items, ApiError> {
    let Wanted {
        page: mut step,
        form,
        fields,
        target,
    } = wanted;
    let began = Instant::now();
    let mut rows_left = step.rows();
    let mut json = form.begin().to_vec();
    step.limit = STEP_ROWS.min(rows_left);
    loop {
        let page = query(&step).map_err(|error| query_error(error, &step))?;
        let (rows, before) = (page.items.len(), json.len());
        let fitting = append_fitting(
            bytes_max,
            &mut json,
            (form, fields.as_deref()),
            page.items,
            &prepare,
        )?;
        let next = if fitting < rows {
            // Only the store can create a cursor, and only after the last row of a query. So these rows are
            // queried again, without those that do not fit.
            json.truncate(before);
            if fitting > 0 {
                step.limit = fitting;
                continue;
            }
            step.after
        } else {
            // This step was made smaller because the next row does not fit.
            let is_full = step.limit < STEP_ROWS.min(rows_left);
            rows_left -= rows;
            let is_long = rows < step.limit && began.elapsed() >= SCAN_FOR;
            if !is_full && !is_long && rows_left > 0 && page.next.is_some() {
                step.after = page.next;
                step.limit = STEP_ROWS.min(rows_left);
                continue;
            }
            page.next
        };
        json.extend_from_slice(form.end());
        return Ok(Items {
            bytes: json,
            form,
            next,
            target,
        });
    }
}

/// Appends rows to the array begun in `json` until one does not fit; returns how many were appended.
fn append_fitting<T: Serialize>(
    bytes_max: usize,
    json: &mut Vec<u8>,
    (form, fields): (Form, Option<&[String]>),
    rows: Vec<T>,
    prepare: impl Fn(&mut T),
) -> Result<usize, ApiError> {
    let mut fitting = 0;
    for mut row in rows {
        prepare(&mut row);
        let before = json.len();
        let is_first = before == form.begin().len();
        form.append(json, &row, fields, is_first)
            .map_err(unwritable)?;
        // One byte is reserved for the end of the array.
        if json.len() >= bytes_max && !is_first {
            json.truncate(before);
            break;
        }
        fitting += 1;
    }
    Ok(fitting)
}

fn append<T: Serialize>(json: &mut Vec<u8>, value: &T) -> Result<(), ApiError> {
    serde_json::to_writer(json, value).map_err(unwritable)
}

fn unwritable(error: impl fmt::Display) -> ApiError {
    error!(%error, "failed to serialize an answer as JSON");
    ApiError::internal()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES_MAX: usize = 10_000;

    /// Queries of a list of texts, with the index of the last one as cursor. A query of more than a step panics.
    fn texts(rows: &[String]) -> impl FnMut(&PageRequest) -> Result<Page<String>, QueryError> {
        move |page| {
            assert!(page.rows() <= STEP_ROWS);
            let start = match &page.after {
                None => 0,
                Some(after) => after.as_str().parse::<usize>().expect("a number") + 1,
            };
            let end = rows.len().min(start + page.rows());
            Ok(Page {
                items: rows[start..end].to_vec(),
                next: (end < rows.len()).then(|| Cursor::from_text((end - 1).to_string())),
            })
        }
    }

    fn page(after: Option<&str>, limit: usize, rows: &[String]) -> (Vec<String>, Option<String>) {
        let after = after.map(Cursor::from_text);
        let wanted = PageRequest { after, limit };
        let items =
            collected_within(BYTES_MAX, wanted.into(), |_| {}, texts(rows)).expect("an answer");
        let found: Vec<String> = serde_json::from_slice(&items.bytes).expect("an array");
        assert!(items.bytes.len() <= BYTES_MAX || found.len() == 1);
        (found, items.next.map(|next| next.as_str().to_owned()))
    }

    fn numbers(end: usize) -> Vec<String> {
        (0..end).map(|number| number.to_string()).collect()
    }

    #[test]
    fn a_page_consists_of_several_steps() {
        let rows = numbers(1_000);
        let (found, next) = page(None, 250, &rows);
        assert_eq!(found, rows[..250]);
        assert_eq!(next.as_deref(), Some("249"));
    }

    #[test]
    fn the_last_page_has_no_next() {
        assert_eq!(page(None, 250, &numbers(250)).1, None);
        assert_eq!(page(None, 1_000, &numbers(120)), (numbers(120), None));
        assert_eq!(page(None, 1_000, &[]), (Vec::new(), None));
    }

    #[test]
    fn a_page_of_large_rows_stays_within_its_limit_and_can_be_continued() {
        // Rows of different lengths: some are longer than a page, and some become longer as JSON.
        let lengths = [1, BYTES_MAX / 3, 2, BYTES_MAX / 20, BYTES_MAX + 1];
        let rows: Vec<String> = (0..60)
            .map(|i| {
                ["x", "\u{1}"][i / 9 % 2]
                    .repeat(lengths[i * i % lengths.len()] / (i / 9 % 2 * 5 + 1))
            })
            .collect();
        for limit in [7, 1_000] {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let (found, next) = page(after.as_deref(), limit, &rows);
                assert!(!found.is_empty());
                seen.extend(found);
                after = next;
                if after.is_none() {
                    break;
                }
            }
            assert!(seen == rows, "limit {limit}: each once, in order");
        }
    }

    #[test]
    fn a_page_holds_all_rows_that_fit() {
        // With quotation marks and a comma or bracket, 50 rows are exactly the limit without the last bracket.
        let row = "x".repeat(BYTES_MAX / 50 - 3);
        let mut rows = vec![row; 60];
        rows[0].pop();
        assert_eq!(page(None, 1_000, &rows).0.len(), 50);
        rows[0].push('x');
        assert_eq!(page(None, 1_000, &rows).0.len(), 49);
    }

    #[test]
    fn a_list_is_answered_as_one_object() {
        let wanted = PageRequest {
            after: None,
            limit: 1,
        };
        let items = collected(wanted, |_| {}, texts(&numbers(2))).expect("an answer");
        let answer = items.into_answer().expect("an answer");
        assert_eq!(answer.bytes, br#"{"items":["0"],"next":"0"}"#);
        assert_eq!(answer.next, None);
    }
}
