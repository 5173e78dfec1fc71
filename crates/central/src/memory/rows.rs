//! A [`QueryStore`] over rows in memory, for tests of what reads from a database: the HTTP API and the exports.

use super::{MemoryClosings, MemoryDirectory};
use crate::model::{
    AuditView, ChargerKey, ChargerState, ChargerView, CommandId, ConnectorView, MeterValueRow,
    QuirkSummary, QuirkView, TransactionView,
};
use crate::ports::{ChargerAdmin, CloseRequest, Closing, Closings, NotClosed, Once, Unavailable};
use crate::query::{
    AuditFilter, ChargerDetail, ChargerFilter, ConnectionRecord, ConnectionRow, DeadLetterFilter,
    DeadLetterRow, GatewayRun, MentionFilter, MessageFilter, MessageRow, Page, PageRequest, Place,
    QueryError, QueryStore, QuirkFilter, ReadingFilter, ReadingRows, RowPlace, TransactionFilter,
    WireId, label_key,
};
use crate::record::{GatewayId, RecordId, RecordKind};
use crate::time::Timestamp;
use std::fmt;
use std::sync::Arc;
use uuid::Uuid;

/// Rows in the order in which they are listed. Unlike [`MemoryStore`](super::MemoryStore) it applies no records:
/// a test sets each row.
#[derive(Default)]
pub struct MemoryRows {
    /// Chargers, by identity.
    pub chargers: Vec<ChargerView>,
    /// Connectors of the chargers.
    pub connectors: Vec<ConnectorView>,
    /// Transactions.
    pub transactions: Vec<TransactionView>,
    /// Meter values, by time and hash.
    pub meter_values: Vec<MeterValueRow>,
    /// Messages.
    pub messages: Vec<MessageRow>,
    /// Dead letters.
    pub dead_letters: Vec<DeadLetterRow>,
    /// The audit log, the newest entry first.
    pub audit: Vec<AuditView>,
    /// The summary of quirks.
    pub quirks: Vec<QuirkSummary>,
    /// The quirks of every charger.
    pub charger_quirks: Vec<QuirkView>,
    /// The chargers that an operator has set.
    pub directory: Arc<MemoryDirectory>,
    /// The transactions that people closed.
    pub closings: MemoryClosings,
    /// Called at the beginning of each query, to let it fail, block or panic.
    pub before_query: Option<BeforeQuery>,
}

/// What [`MemoryRows`] calls at the beginning of a query. The argument is the index of the first row of the page, 0 if the
/// query has none; an error is the result of the query.
pub type BeforeQuery = Box<dyn Fn(usize) -> Result<(), Unavailable> + Send + Sync>;

impl MemoryRows {
    fn begin(&self, start: usize) -> Result<(), QueryError> {
        match &self.before_query {
            Some(before_query) => Ok(before_query(start)?),
            None => Ok(()),
        }
    }

    /// The rows of chargers, and those of chargers that were added and never connected, by identity.
    fn all_chargers(&self) -> Vec<ChargerView> {
        let mut all = self.chargers.clone();
        // It is never unavailable.
        for profile in self.directory.charger_profiles().unwrap_or_default() {
            let id = profile.charger_id;
            if !all.iter().any(|row| is_same(&row.charger_id, &id)) {
                all.push(ChargerState::default().view(&id, None, Timestamp::default()));
            }
        }
        all.sort_by_key(|row| ChargerKey::of(&row.charger_id));
        all
    }

    /// The rows of transactions, with what people closed.
    fn all_transactions(&self) -> Vec<TransactionView> {
        let mut all = self.transactions.clone();
        all.iter_mut().for_each(|row| self.closings.show(row));
        all
    }

    fn detail(&self, charger: &ChargerView) -> ChargerDetail {
        let removal = self.directory.removal(&charger.charger_id);
        let (removed_at, removed_by) = removal.unzip();
        let is_of = |row: &&ConnectorView| is_same(&row.charger_id, &charger.charger_id);
        ChargerDetail {
            charger: charger.clone(),
            settings: self.directory.settings(&charger.charger_id),
            removed_at,
            removed_by,
            connectors: self.connectors.iter().filter(is_of).cloned().collect(),
        }
    }

    fn page<T: Clone>(
        &self,
        rows: &[T],
        wanted: &PageRequest,
        place: impl Fn(usize, &T) -> Place,
        matches: impl Fn(&T) -> bool,
    ) -> Result<Page<T>, QueryError> {
        let places = || rows.iter().enumerate().map(|(i, row)| place(i, row));
        let start = match &wanted.after {
            None => 0,
            Some(cursor) => {
                let after = Place::from_cursor(cursor)?;
                let index = places().position(|place| place == after);
                match (index, &after, places().next()) {
                    (Some(index), ..) => 1 + index,
                    // Chargers are selected by name, so the position need not be that of a row.
                    (None, Place::Charger(key), Some(Place::Charger(_))) => places()
                        .filter(|place| matches!(place, Place::Charger(row) if row <= key))
                        .count(),
                    _ => return Err(QueryError::BadCursor),
                }
            }
        };
        self.begin(start)?;
        let mut found = (start..rows.len())
            .filter(|i| matches(&rows[*i]))
            .peekable();
        let chosen: Vec<usize> = found.by_ref().take(wanted.rows()).collect();
        let has_more = found.peek().is_some();
        let last = chosen.last().map(|i| place(*i, &rows[*i]).to_cursor());
        Ok(Page {
            items: chosen.iter().map(|i| rows[*i].clone()).collect(),
            next: last.filter(|_| has_more),
        })
    }
}

impl QueryStore for MemoryRows {
    fn meter_values(
        &self,
        filter: &ReadingFilter,
        after: Option<RowPlace>,
        limit: usize,
    ) -> Result<ReadingRows, QueryError> {
        self.begin(0)?;
        let is_wanted = |row: &&MeterValueRow| {
            filter.has(row) && after.is_none_or(|after| (row.at, row.key_hash) > after)
        };
        let found = self.meter_values.iter().filter(is_wanted);
        let mut rows: Vec<MeterValueRow> = found.take(limit + 1).cloned().collect();
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last().map(|row| (row.at, row.key_hash));
        Ok(ReadingRows {
            rows,
            next: last.filter(|_| has_more),
        })
    }

    fn chargers(
        &self,
        filter: &ChargerFilter,
        page: &PageRequest,
    ) -> Result<Page<ChargerDetail>, QueryError> {
        let place = |_, row: &ChargerView| Place::Charger(ChargerKey::of(&row.charger_id));
        let found = self.page(&self.all_chargers(), page, place, |row| {
            let search = ChargerKey::of(filter.search.as_deref().unwrap_or_default());
            let detail = self.detail(row);
            filter.has(row, detail.settings.as_ref())
                && filter.has_removal(detail.removed_at.is_some(), row.online)
                && filter.has_status(&detail.connectors)
                && (ChargerKey::of(&row.charger_id)
                    .as_str()
                    .contains(search.as_str())
                    || filter.label_search().is_some_and(|text| {
                        let settings = detail.settings.as_ref();
                        let label = settings.and_then(|settings| settings.label.as_deref());
                        label.is_some_and(|label| label_key(label).contains(&text))
                    }))
        })?;
        Ok(Page {
            items: found
                .items
                .iter()
                .map(|charger| self.detail(charger))
                .collect(),
            next: found.next,
        })
    }

    fn charger(&self, id: &str) -> Result<Option<ChargerDetail>, QueryError> {
        self.begin(0)?;
        let all = self.all_chargers();
        let found = all.iter().find(|row| is_same(&row.charger_id, id));
        Ok(found.map(|charger| self.detail(charger)))
    }

    fn transactions(
        &self,
        filter: &TransactionFilter,
        page: &PageRequest,
    ) -> Result<Page<TransactionView>, QueryError> {
        let place = |i: usize, row: &TransactionView| {
            Place::Transaction(Timestamp(i64::try_from(i).unwrap_or(i64::MAX)), row.key)
        };
        self.page(&self.all_transactions(), page, place, |row| {
            let started_at = row.started_at.unwrap_or_default();
            filter.open.is_none_or(|open| open == row.open)
                && is_of(filter.charger.as_deref(), &row.charger_id)
                && filter.from.is_none_or(|from| started_at >= from)
                && filter.to.is_none_or(|to| started_at < to)
        })
    }

    fn transaction(&self, key: Uuid) -> Result<Option<TransactionView>, QueryError> {
        self.begin(0)?;
        let mut all = self.all_transactions().into_iter();
        Ok(all.find(|row| row.key == key))
    }

    fn messages(
        &self,
        filter: &MessageFilter,
        page: &PageRequest,
    ) -> Result<Page<MessageRow>, QueryError> {
        let place = |_, row: &MessageRow| Place::Message(row.id);
        self.page(&self.messages, page, place, |row| filter.has(row))
    }

    fn message(&self, id: RecordId) -> Result<Option<MessageRow>, QueryError> {
        self.begin(0)?;
        Ok(self.messages.iter().find(|row| row.id == id).cloned())
    }

    fn messages_of_calls(&self, calls: &[CommandId]) -> Result<Vec<MessageRow>, QueryError> {
        self.begin(0)?;
        let is_of = |row: &&MessageRow| {
            row.kind != RecordKind::Call
                && CommandId::from_message_id(&row.message_id).is_some_and(|id| calls.contains(&id))
        };
        Ok(self.messages.iter().filter(is_of).cloned().collect())
    }

    fn messages_by_time(
        &self,
        filter: &MentionFilter,
        page: &PageRequest,
    ) -> Result<Page<MessageRow>, QueryError> {
        let mut rows = self.messages.clone();
        rows.sort_by_key(|row| (row.received_at, row.id));
        let place = |_, row: &MessageRow| Place::Received(row.received_at, row.id);
        self.page(&rows, page, place, |row| filter.has(row))
    }

    fn connections(
        &self,
        charger: &str,
        page: &PageRequest,
    ) -> Result<Page<ConnectionRow>, QueryError> {
        let is_wanted = |row: &&MessageRow| {
            is_same(&row.charger_id, charger)
                && matches!(row.kind, RecordKind::Connected | RecordKind::Disconnected)
        };
        let mut found: Vec<&MessageRow> = self.messages.iter().filter(is_wanted).collect();
        found.sort_by_key(|row| std::cmp::Reverse((row.epoch, row.id.gateway)));
        let records = found.into_iter().map(|row| ConnectionRecord {
            gateway: row.id.gateway,
            epoch: row.epoch,
            kind: row.kind,
            ocpp_version: row.ocpp_version,
            received_at: row.received_at,
            payload: row.payload.clone(),
            reason: row.reason.clone(),
        });
        let rows = ConnectionRow::of_records(records);
        let place = |_, row: &ConnectionRow| Place::Connection(row.epoch, row.gateway);
        self.page(&rows, page, place, |_| true)
    }

    fn gateway_runs(
        &self,
        gateways: &[GatewayId],
        from: Timestamp,
        to: Timestamp,
        starts_max: usize,
    ) -> Result<Option<Vec<GatewayRun>>, QueryError> {
        self.begin(0)?;
        let mut runs: Vec<GatewayRun> = Vec::new();
        let mut starts = 0;
        for row in &self.messages {
            let (gateway, at) = (row.id.gateway, row.received_at);
            let is_start = row.kind == RecordKind::GatewayStarted;
            starts += usize::from(is_start && (from..to).contains(&at));
            if !gateways.contains(&gateway) {
                continue;
            }
            let last = runs.iter_mut().rfind(|run| run.gateway == gateway);
            match last.filter(|_| !is_start) {
                Some(run) => run.to = run.to.max(at),
                None => runs.push(GatewayRun {
                    gateway,
                    from: at,
                    to: at,
                }),
            }
        }
        Ok(Some(runs).filter(|_| starts <= starts_max))
    }

    fn transactions_on_wire(&self, ids: &[WireId]) -> Result<Vec<TransactionView>, QueryError> {
        self.begin(0)?;
        let mut all = self.all_transactions();
        all.retain(|view| {
            let charger = ChargerKey::of(&view.charger_id);
            let is_of = |id: &WireId| id.charger == charger && id.id == view.transaction_id;
            ids.iter().any(is_of)
        });
        Ok(all)
    }

    fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        page: &PageRequest,
    ) -> Result<Page<DeadLetterRow>, QueryError> {
        let place =
            |i: usize, _: &DeadLetterRow| Place::DeadLetter(i64::try_from(i).unwrap_or(i64::MAX));
        self.page(&self.dead_letters, page, place, |row| filter.has(row))
    }

    fn dead_letter_row(&self, id: RecordId) -> Result<Option<DeadLetterRow>, QueryError> {
        self.begin(0)?;
        let id = id.to_string();
        let mut letters = self.dead_letters.iter();
        Ok(letters.find(|letter| letter.record_id == id).cloned())
    }

    fn audit(
        &self,
        filter: &AuditFilter,
        page: &PageRequest,
    ) -> Result<Page<AuditView>, QueryError> {
        let place = |_, row: &AuditView| Place::Audit(row.no);
        self.page(&self.audit, page, place, |row| filter.has(row))
    }

    fn charger_quirks(&self, _: &str) -> Result<Vec<QuirkView>, QueryError> {
        self.begin(0)?;
        Ok(self.charger_quirks.clone())
    }

    fn quirks(
        &self,
        filter: &QuirkFilter,
        page: &PageRequest,
    ) -> Result<Page<QuirkSummary>, QueryError> {
        let place = |_, row: &QuirkSummary| Place::Quirk(row.quirk, row.model.clone());
        self.page(&self.quirks, page, place, |row| {
            filter.quirk.is_none_or(|quirk| quirk == row.quirk) && filter.has(&row.model)
        })
    }

    /// All messages, whatever the filter.
    fn count_messages(&self, _: &MessageFilter) -> Result<u64, QueryError> {
        self.begin(0)?;
        Ok(self.messages.len() as u64)
    }

    /// All transactions, whatever the filter.
    fn count_transactions(&self, _: &TransactionFilter) -> Result<u64, QueryError> {
        self.begin(0)?;
        Ok(self.transactions.len() as u64)
    }
}

impl Closings for MemoryRows {
    fn close_session(
        &self,
        wanted: &CloseRequest,
    ) -> Result<Once<Closing, NotClosed>, Unavailable> {
        let row = self.transactions.iter().find(|row| row.key == wanted.key);
        Ok(self.closings.close(row, wanted))
    }
}

impl fmt::Debug for MemoryRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryRows")
            .field("chargers", &self.chargers.len())
            .field("transactions", &self.transactions.len())
            .field("messages", &self.messages.len())
            .finish_non_exhaustive()
    }
}

fn is_of(wanted: Option<&str>, charger_id: &str) -> bool {
    wanted.is_none_or(|wanted| is_same(wanted, charger_id))
}

fn is_same(one: &str, other: &str) -> bool {
    ChargerKey::of(one) == ChargerKey::of(other)
}
