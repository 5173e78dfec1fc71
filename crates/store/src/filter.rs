//! Filters of queries, with the charger's number (`N`) in place of its identity. Each database writes them as SQL.

use central::query::{MessageFilter, TransactionFilter};
use central::{RecordKind, Timestamp};

/// Which messages match.
#[derive(Debug)]
pub(crate) struct Messages<'a, N> {
    pub(crate) charger_no: Option<N>,
    pub(crate) action: Option<&'a str>,
    pub(crate) kind: Option<RecordKind>,
    pub(crate) received: Range,
}

impl<'a, N> Messages<'a, N> {
    pub(crate) fn of(filter: &'a MessageFilter, charger_no: Option<N>) -> Self {
        Self {
            charger_no,
            action: filter.action.as_deref(),
            kind: filter.kind,
            received: Range::of(filter.from, filter.to),
        }
    }
}

/// Which transactions match.
#[derive(Debug)]
pub(crate) struct Transactions<N> {
    pub(crate) charger_no: Option<N>,
    pub(crate) open: Option<bool>,
    pub(crate) began: Range,
}

impl<N> Transactions<N> {
    pub(crate) fn of(filter: &TransactionFilter, charger_no: Option<N>) -> Self {
        Self {
            charger_no,
            open: filter.open,
            began: Range::of(filter.from, filter.to),
        }
    }
}

/// Milliseconds since 1970: at or after `from`, before `to`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    pub(crate) from: i64,
    pub(crate) to: i64,
}

impl Range {
    fn of(from: Option<Timestamp>, to: Option<Timestamp>) -> Self {
        Self {
            from: from.map_or(i64::MIN, Timestamp::as_millis),
            to: to.map_or(i64::MAX, Timestamp::as_millis),
        }
    }
}
