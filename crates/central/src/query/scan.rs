//! Whole lists, read page by page.

use super::{MessageFilter, PAGE_MAX, Page, PageRequest, TransactionFilter};
use crate::model::{MessageRow, TransactionView};
use crate::ports::{QueryError, QueryStore};
use std::collections::VecDeque;

/// All messages that match, page by page, for exports: between two pages nothing is held.
pub fn all_messages<'a, L: QueryStore + ?Sized>(
    ledger: &'a L,
    filter: &'a MessageFilter,
) -> impl Iterator<Item = Result<MessageRow, QueryError>> + 'a {
    Scan::new(move |page: &PageRequest| ledger.messages(filter, page))
}

/// All transactions that match, page by page, for exports: between two pages nothing is held.
pub fn all_transactions<'a, L: QueryStore + ?Sized>(
    ledger: &'a L,
    filter: &'a TransactionFilter,
) -> impl Iterator<Item = Result<TransactionView, QueryError>> + 'a {
    Scan::new(move |page: &PageRequest| ledger.transactions(filter, page))
}

/// A walk over a list: asks for the next page when the last one is used up; ends at the first error.
struct Scan<T, F> {
    ask: F,
    ready: VecDeque<T>,
    next: Option<PageRequest>,
}

impl<T, F: FnMut(&PageRequest) -> Result<Page<T>, QueryError>> Scan<T, F> {
    fn new(ask: F) -> Self {
        let first = PageRequest {
            after: None,
            limit: PAGE_MAX,
        };
        Self {
            ask,
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
            match (self.ask)(&request) {
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
