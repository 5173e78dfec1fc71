//! Reads whole lists page by page.

use super::{ChargerFilter, MessageFilter, PAGE_MAX, Page, PageRequest, TransactionFilter};
use crate::model::{ConnectorView, MessageRow, TransactionView};
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

/// All connectors, by charger, EVSE and number, page by page, for exports; only those of `charger` if it is given.
/// Between two pages nothing is locked.
pub fn all_connectors<'a, L: QueryStore + ?Sized>(
    store: &'a L,
    charger: Option<&'a str>,
) -> impl Iterator<Item = Result<ConnectorView, QueryError>> + 'a {
    let everything = ChargerFilter::default();
    let chargers = Scan::new(move |page: &PageRequest| match charger {
        None => store.chargers(&everything, page),
        Some(id) => Ok(Page {
            items: store.charger(id)?.into_iter().collect(),
            next: None,
        }),
    });
    chargers.flat_map(|found| {
        let (connectors, error) = match found {
            Ok(charger) => (charger.connectors, None),
            Err(error) => (Vec::new(), Some(Err(error))),
        };
        connectors.into_iter().map(Ok).chain(error)
    })
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
