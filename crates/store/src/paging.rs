//! Pages of rows, the same for both databases.

use central::query::{Cursor, Page, PageRequest, Place, QueryError};

/// Where a page begins: after this position, or at the beginning.
pub(crate) fn place(page: &PageRequest) -> Result<Option<Place>, QueryError> {
    page.after.as_ref().map(Place::from_cursor).transpose()
}

/// Makes a page from one row more than requested; the extra row only shows that there are more.
pub(crate) fn cut<T>(mut rows: Vec<(Place, T)>, limit: usize) -> Page<T> {
    let more = rows.len() > limit;
    rows.truncate(limit);
    let last = rows.last().filter(|_| more);
    let next: Option<Cursor> = last.map(|(place, _)| place.to_cursor());
    Page {
        items: rows.into_iter().map(|(_, row)| row).collect(),
        next,
    }
}

/// A number of rows in the database's terms.
pub(crate) fn at_most(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
