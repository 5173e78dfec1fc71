//! Lists are answered page by page, and a page is bounded twice: in items, and in bytes, because a
//! thousand messages may be a gigabyte.

use crate::error::ApiError;
use crate::query::Query;
use central::ledger::{Cursor, LedgerError, Page, PageRequest};
use serde::Serialize;

/// A page ends early once it holds so many bytes of text from chargers.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Rows that are asked of the ledger at a time, so that the bound on bytes can be kept.
const STEP_ROWS: usize = 100;

/// What a list answers.
#[derive(Debug, Serialize)]
pub(crate) struct Answer<T> {
    items: Vec<T>,
    /// The `cursor` of the next page; null at the end.
    next: Option<Cursor>,
}

impl<T> From<Page<T>> for Answer<T> {
    fn from(page: Page<T>) -> Self {
        Self {
            items: page.items,
            next: page.next,
        }
    }
}

/// The page that a request asks for with `cursor` and `limit`.
pub(crate) fn requested(query: &Query) -> Result<PageRequest, ApiError> {
    Ok(PageRequest {
        after: query.cursor()?.map(Cursor::from_text),
        limit: query.limit()?,
    })
}

/// What the ledger's refusal means to the one who asked for `page`.
pub(crate) fn refused(error: LedgerError, page: &PageRequest) -> ApiError {
    match error {
        LedgerError::Away(away) => ApiError::away(&away),
        LedgerError::BadCursor => {
            ApiError::bad_cursor(page.after.as_ref().map_or("", |cursor| cursor.as_str()))
        }
    }
}

/// Collects the rows of `wanted` in small steps; ends early at the bound on bytes, with a cursor to go
/// on from. `size` says how many bytes a row weighs. At least one row is returned if there is one.
pub(crate) fn collected<T>(
    wanted: PageRequest,
    size: impl Fn(&T) -> usize,
    mut ask: impl FnMut(&PageRequest) -> Result<Page<T>, LedgerError>,
) -> Result<Answer<T>, ApiError> {
    let rows = wanted.rows();
    let (mut items, mut bytes) = (Vec::new(), 0);
    let mut step = wanted;
    loop {
        step.limit = STEP_ROWS.min(rows - items.len());
        let page = ask(&step).map_err(|error| refused(error, &step))?;
        bytes += page.items.iter().map(&size).sum::<usize>();
        items.extend(page.items);
        let next = page.next;
        if next.is_none() || items.len() >= rows || bytes >= PAGE_BYTES_MAX {
            return Ok(Answer { items, next });
        }
        step.after = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list of the numbers from 0 to `end`, whose cursors are the numbers themselves.
    fn numbers(end: usize) -> impl FnMut(&PageRequest) -> Result<Page<usize>, LedgerError> {
        move |page| {
            assert!(page.rows() <= STEP_ROWS);
            let start = match &page.after {
                None => 0,
                Some(after) => after.as_str().parse::<usize>().expect("a number") + 1,
            };
            let items: Vec<usize> = (start..end).take(page.rows()).collect();
            let last = items.last().copied();
            let next = last.filter(|last| last + 1 < end);
            Ok(Page {
                items,
                next: next.map(|last| Cursor::from_text(last.to_string())),
            })
        }
    }

    fn ask(limit: usize, end: usize, row_bytes: usize) -> Answer<usize> {
        let wanted = PageRequest { after: None, limit };
        collected(wanted, |_| row_bytes, numbers(end)).expect("an answer")
    }

    #[test]
    fn a_page_is_put_together_from_steps() {
        let answer = ask(250, 1_000, 1);
        assert_eq!(answer.items, (0..250).collect::<Vec<_>>());
        assert_eq!(answer.next, Some(Cursor::from_text("249")));
    }

    #[test]
    fn the_last_page_says_that_it_is_the_last() {
        assert_eq!(ask(250, 250, 1).next, None);
        assert_eq!(ask(1_000, 120, 1).items.len(), 120);
        assert_eq!(ask(1_000, 0, 1).next, None);
    }

    #[test]
    fn a_page_of_large_rows_ends_early_and_can_be_gone_on_from() {
        let answer = ask(1_000, 1_000, PAGE_BYTES_MAX / 50);
        assert_eq!(answer.items.len(), STEP_ROWS);
        assert_eq!(answer.next, Some(Cursor::from_text("99")));
    }
}
