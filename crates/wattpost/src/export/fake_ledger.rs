//! A ledger in memory for the tests of exports.

use central::model::{ChargerView, TransactionView};
use central::ports::{Unavailable, UnavailableKind};
use central::query::{
    ChargerDetail, ChargerFilter, DeadLetterRow, MessageFilter, MessageRow, Page, PageRequest,
    Place, QueryError, QueryStore, TransactionFilter,
};
use central::record::Notes;
use central::{AnswerKind, Epoch, GatewayId, RecordId, RecordKind, Seq, Timestamp};
use uuid::Uuid;

/// 2026-01-01T00:00:00Z.
pub(crate) const START: i64 = 1_767_225_600_000;

/// Rows in the order in which they are listed.
#[derive(Default)]
pub(crate) struct FakeLedger {
    pub(crate) messages: Vec<MessageRow>,
    pub(crate) transactions: Vec<TransactionView>,
    /// Pages that begin at this row or behind it are refused.
    pub(crate) refused_from: Option<usize>,
}

impl FakeLedger {
    fn page<T: Clone>(
        &self,
        rows: &[T],
        wanted: &PageRequest,
        matches: impl Fn(&T) -> bool,
    ) -> Result<Page<T>, QueryError> {
        let start = match &wanted.after {
            None => 0,
            Some(cursor) => match Place::from_cursor(cursor)? {
                Place::DeadLetter(row) => usize::try_from(row).unwrap_or_default() + 1,
                _ => return Err(QueryError::BadCursor),
            },
        };
        if self.refused_from.is_some_and(|row| start >= row) {
            return Err(QueryError::Unavailable(Unavailable {
                component: "database",
                kind: UnavailableKind::Locked,
                detail: "by the test".to_owned(),
            }));
        }
        let mut found = (start..rows.len())
            .filter(|row| matches(&rows[*row]))
            .peekable();
        let chosen: Vec<usize> = found.by_ref().take(wanted.rows()).collect();
        let last = chosen.last().filter(|_| found.peek().is_some());
        Ok(Page {
            items: chosen.iter().map(|row| rows[*row].clone()).collect(),
            next: last.map(|row| Place::DeadLetter(*row as i64).to_cursor()),
        })
    }
}

impl QueryStore for FakeLedger {
    fn chargers(
        &self,
        _: &ChargerFilter,
        page: &PageRequest,
    ) -> Result<Page<ChargerView>, QueryError> {
        self.page(&[], page, |_| true)
    }

    fn charger(&self, _: &str) -> Result<Option<ChargerDetail>, QueryError> {
        Ok(None)
    }

    fn transactions(
        &self,
        filter: &TransactionFilter,
        page: &PageRequest,
    ) -> Result<Page<TransactionView>, QueryError> {
        self.page(&self.transactions, page, |row| {
            filter.open.is_none_or(|open| open == row.open)
        })
    }

    fn transaction(&self, key: Uuid) -> Result<Option<TransactionView>, QueryError> {
        Ok(self.transactions.iter().find(|row| row.key == key).cloned())
    }

    fn messages(
        &self,
        filter: &MessageFilter,
        page: &PageRequest,
    ) -> Result<Page<MessageRow>, QueryError> {
        self.page(&self.messages, page, |row| {
            let charger = filter.charger.as_deref();
            charger.is_none_or(|id| id.eq_ignore_ascii_case(&row.charger_id))
                && filter
                    .action
                    .as_deref()
                    .is_none_or(|action| action == row.action)
                && filter.kind.is_none_or(|kind| kind == row.kind)
                && filter.from.is_none_or(|from| row.received_at >= from)
                && filter.to.is_none_or(|to| row.received_at < to)
        })
    }

    fn dead_letters(&self, page: &PageRequest) -> Result<Page<DeadLetterRow>, QueryError> {
        self.page(&[], page, |_| true)
    }

    fn count_messages(&self, _: &MessageFilter) -> Result<u64, QueryError> {
        Ok(self.messages.len() as u64)
    }

    fn count_transactions(&self, _: &TransactionFilter) -> Result<u64, QueryError> {
        Ok(self.transactions.len() as u64)
    }
}

/// The message with sequence number `seq`, received `seq` seconds after [`START`].
pub(crate) fn message(charger_id: &str, seq: u32) -> MessageRow {
    MessageRow {
        id: RecordId {
            gateway: GatewayId(Uuid::from_u128(0xfeed)),
            seq: Seq(u64::from(seq)),
        },
        charger_id: charger_id.to_owned(),
        ocpp_version: ocpp::Version::V16,
        kind: RecordKind::Call,
        message_id: format!("m-{seq}"),
        action: "Heartbeat".to_owned(),
        payload: format!("{{\"n\":{seq}}}"),
        answer_kind: AnswerKind::Result,
        answer: "{}".to_owned(),
        received_at: Timestamp(START + 1_000 * i64::from(seq)),
        epoch: Epoch(1),
        notes: Notes::default(),
        reason: String::new(),
    }
}

/// The `number`-th transaction, open, begun `number` seconds after [`START`].
pub(crate) fn transaction(charger_id: &str, number: u32) -> TransactionView {
    TransactionView {
        key: Uuid::from_u128(u128::from(number)),
        charger_id: charger_id.to_owned(),
        transaction_id: number.to_string(),
        ocpp_version: Some(ocpp::Version::V16),
        evse: None,
        connector: Some(1),
        id_token: Some("TAG".to_owned()),
        token_type: None,
        verdict: Some("Accepted".to_owned()),
        started_at: Some(Timestamp(START + 1_000 * i64::from(number))),
        ended_at: None,
        open: true,
        last_at: None,
        meter_start_wh: Some(100.5),
        meter_stop_wh: None,
        ..TransactionView::unreadable(charger_id, "", Uuid::nil(), true)
    }
}
