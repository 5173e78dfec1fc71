//! Lists are answered page by page, and a page is bounded twice: in items, and in bytes of JSON, because
//! a thousand messages may be a gigabyte and a charger may call its vendor by a name of a megabyte.
//!
//! Rows are asked of the ledger a few at a time and written at once, so that a request holds little
//! more than the answer: the page so far and one step of rows.

use crate::error::ApiError;
use crate::query::Query;
use central::query::{Cursor, Page, PageRequest, Place, QueryError};
use serde::Serialize;
use serde_json::value::RawValue;
use std::fmt;
use tracing::error;

/// The items of a page are at most so many bytes of JSON, unless the first alone is longer.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Rows that are asked of the ledger at a time. A row can be as long as the longest messages that a
/// charger may send, so this many are held at most beside the page.
const STEP_ROWS: usize = 16;

/// The items of a page, written.
#[derive(Debug)]
pub(crate) struct Items {
    /// A JSON array.
    json: Vec<u8>,
    /// The `cursor` of the next page; none at the end.
    next: Option<Cursor>,
}

impl Items {
    /// What a list answers: `{"items": …, "next": …}`.
    pub(crate) fn into_answer(self) -> Result<Vec<u8>, ApiError> {
        let mut json = self.json;
        json.splice(..0, *b"{\"items\":");
        json.extend_from_slice(b",\"next\":");
        append(&mut json, &self.next)?;
        json.push(b'}');
        Ok(json)
    }

    /// The items alone, to be put into another answer.
    pub(crate) fn into_raw(self) -> Result<Box<RawValue>, ApiError> {
        let text = String::from_utf8(self.json).map_err(unwritable)?;
        RawValue::from_string(text).map_err(unwritable)
    }
}

/// The page that a request asks for with `cursor` and `limit`.
pub(crate) fn requested(query: &Query) -> Result<PageRequest, ApiError> {
    let after = query.cursor()?.map(Cursor::from_text);
    // No charger has the empty identity, so no page has ever ended there.
    if let Some(cursor) = &after
        && Place::from_cursor(cursor) == Ok(Place::Charger(String::new()))
    {
        return Err(ApiError::bad_cursor(cursor.as_str()));
    }
    Ok(PageRequest {
        after,
        limit: query.limit()?,
    })
}

/// What the ledger's refusal means to the one who asked for `page`.
pub(crate) fn refused(error: QueryError, page: &PageRequest) -> ApiError {
    match error {
        QueryError::Unavailable(away) => ApiError::away(&away),
        QueryError::BadCursor => {
            ApiError::bad_cursor(page.after.as_ref().map_or("", |cursor| cursor.as_str()))
        }
    }
}

/// Collects the rows of `wanted` in small steps; ends early at the bound on bytes, with a cursor to go
/// on from. `show` may shorten a row before it is written. At least one row is returned if there is one.
pub(crate) fn collected<T: Serialize>(
    wanted: PageRequest,
    show: impl Fn(&mut T),
    ask: impl FnMut(&PageRequest) -> Result<Page<T>, QueryError>,
) -> Result<Items, ApiError> {
    collected_within(PAGE_BYTES_MAX, wanted, show, ask)
}

fn collected_within<T: Serialize>(
    bytes_max: usize,
    wanted: PageRequest,
    show: impl Fn(&mut T),
    mut ask: impl FnMut(&PageRequest) -> Result<Page<T>, QueryError>,
) -> Result<Items, ApiError> {
    let mut rows_left = wanted.rows();
    let mut json = vec![b'['];
    let mut step = wanted;
    step.limit = STEP_ROWS.min(rows_left);
    loop {
        let page = ask(&step).map_err(|error| refused(error, &step))?;
        let (rows, before) = (page.items.len(), json.len());
        let fitting = append_fitting(bytes_max, &mut json, page.items, &show)?;
        let next = if fitting < rows {
            // Only the ledger can name the place behind a row, and it names the place behind the last
            // that it gave. So these are asked for again, without those that do not fit.
            json.truncate(before);
            if fitting > 0 {
                step.limit = fitting;
                continue;
            }
            step.after
        } else {
            // A step that was made smaller was so because what follows does not fit.
            let is_full = step.limit < STEP_ROWS.min(rows_left);
            rows_left -= rows;
            if !is_full && rows_left > 0 && page.next.is_some() {
                step.after = page.next;
                step.limit = STEP_ROWS.min(rows_left);
                continue;
            }
            page.next
        };
        json.push(b']');
        return Ok(Items { json, next });
    }
}

/// Appends rows to the array begun in `json` up to the first that does not fit; says how many did.
fn append_fitting<T: Serialize>(
    bytes_max: usize,
    json: &mut Vec<u8>,
    rows: Vec<T>,
    show: impl Fn(&mut T),
) -> Result<usize, ApiError> {
    let mut fitting = 0;
    for mut row in rows {
        show(&mut row);
        let before = json.len();
        let is_first = before == 1;
        if !is_first {
            json.push(b',');
        }
        append(json, &row)?;
        // One byte is kept for the end of the array.
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
    error!(%error, "failed to write an answer as JSON");
    ApiError::internal()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES_MAX: usize = 10_000;

    /// A list of texts, the cursor behind each of which is its index. Given too much at once, it fails.
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
        let items = collected_within(BYTES_MAX, wanted, |_| {}, texts(rows)).expect("an answer");
        let found: Vec<String> = serde_json::from_slice(&items.json).expect("an array");
        assert!(items.json.len() <= BYTES_MAX || found.len() == 1);
        (found, items.next.map(|next| next.as_str().to_owned()))
    }

    fn numbers(end: usize) -> Vec<String> {
        (0..end).map(|number| number.to_string()).collect()
    }

    #[test]
    fn a_page_is_put_together_from_steps() {
        let rows = numbers(1_000);
        let (found, next) = page(None, 250, &rows);
        assert_eq!(found, rows[..250]);
        assert_eq!(next.as_deref(), Some("249"));
    }

    #[test]
    fn the_last_page_says_that_it_is_the_last() {
        assert_eq!(page(None, 250, &numbers(250)).1, None);
        assert_eq!(page(None, 1_000, &numbers(120)), (numbers(120), None));
        assert_eq!(page(None, 1_000, &[]), (Vec::new(), None));
    }

    #[test]
    fn a_page_of_large_rows_ends_before_its_bound_and_can_be_gone_on_from() {
        // Rows of all lengths, some longer than a page alone, some that grow when written as JSON.
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
    fn a_page_is_filled_as_far_as_it_can_be() {
        // With quotation marks and comma or bracket, 50 rows are exactly the bound, less the bracket.
        let row = "x".repeat(BYTES_MAX / 50 - 3);
        let mut rows = vec![row; 60];
        rows[0].pop();
        assert_eq!(page(None, 1_000, &rows).0.len(), 50);
        rows[0].push('x');
        assert_eq!(page(None, 1_000, &rows).0.len(), 49);
    }

    #[test]
    fn what_a_list_answers_is_one_object() {
        let wanted = PageRequest {
            after: None,
            limit: 1,
        };
        let items = collected(wanted, |_| {}, texts(&numbers(2))).expect("an answer");
        assert_eq!(
            items.into_answer(),
            Ok(br#"{"items":["0"],"next":"0"}"#.to_vec())
        );
    }
}
