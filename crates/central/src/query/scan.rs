//! Reads whole lists page by page.

use super::{MessageFilter, PAGE_MAX, Page, PageRequest, TransactionFilter};
use crate::model::{MessageRow, TransactionView};
use crate::ports::{QueryError, QueryStore};
use std::collections::VecDeque;

/// All messages that match, page by page, for exports. Between two pages nothing is locked.
pub fn all_messages<'a, L: QueryStore + ?Sized>(
    store: &'a L,
    filter: &'a MessageFilter,
) -> impl Iterator<Item = Result<MessageRow, QueryError>> + 'a {
    Scan::new(move |page: &PageRequest| store.messages(filter, page))
}

/// All transactions that match, page by page, for exports. Between two pages nothing is locked.
pub fn all_transactions<'a, L: QueryStore + ?Sized>(
    store: &'a L,
    filter: &'a TransactionFilter,
) -> impl Iterator<Item = Result<TransactionView, QueryError>> + 'a {
    Scan::new(move |page: &PageRequest| store.transactions(filter, page))
}

/// Iterates over a list: reads the next page after the last row of the previous one; ends at the first error.
struct Scan<T, F> {
    read_page: F,
    ready: VecDeque<T>,
    next: Option<PageRequest>,
}

impl<T, F: FnMut(&PageRequest) -> Result<Page<T>, QueryError>> Scan<T, F> {
    fn new(read_page: F) -> Self {
        let first = PageRequest {
            after: None,
            limit: PAGE_MAX,
        };
        Self {
            read_page,
            ready: VecDeque::new(),
            next: Some(first),
        }
    }
}

impl<T, F: FnMut(&PageRequest) -> Result<Page<T>, QueryError>> Iterator for Scan<T, F> {
    type Item = Result<T, QueryError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.ready.pop_front() {
                return Some(Ok(row));
            }
            let mut request = self.next.take()?;
            match (self.read_page)(&request) {
                Ok(page) => {
                    self.ready = page.items.into();
                    self.next = page.next.map(|cursor| {
                        request.after = Some(cursor);
                        request
                    });
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
