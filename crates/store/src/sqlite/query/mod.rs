//! The queries: each is one short read transaction, and a page is bounded in rows and in work, so that neither
//! the writer nor checkpoints of the write-ahead log wait for a reader.

pub(super) mod chargers;
mod connections;
mod messages;
pub(crate) mod records;
mod runs;
pub(super) mod transactions;

use crate::audit;
use crate::paging::{
    after_audit, after_charger, after_dead_letter, after_message, after_quirk, after_received,
    after_transaction, at_most, before_connection, cut_readable,
};
use crate::refusal::Refusal;
use crate::sqlite::{SqliteStore, dead_letters, meter_values, quirks};
use central::model::{AuditView, CommandId, QuirkSummary, QuirkView, TransactionView};
use central::query::{
    AuditFilter, ChargerDetail, ChargerFilter, ConnectionRow, DeadLetterFilter, DeadLetterRow,
    GatewayRun, MentionFilter, MessageFilter, MessageRow, Page, PageRequest, QueryError,
    QueryStore, QuirkFilter, ReadingFilter, ReadingRows, RowPlace, TransactionFilter, WireId,
};
use central::{GatewayId, RecordId, Timestamp};
use rusqlite::{Connection, params};
use std::collections::HashMap;
use uuid::Uuid;

impl SqliteStore {
    fn query<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Refusal>,
    ) -> Result<T, QueryError> {
        let answer = self.readers.read(work);
        answer.map_err(|refusal| QueryError::Unavailable(refusal.into_unavailable()))
    }
}

impl QueryStore for SqliteStore {
    fn chargers(
        &self,
        filter: &ChargerFilter,
        page: &PageRequest,
    ) -> Result<Page<ChargerDetail>, QueryError> {
        let after = after_charger(page)?;
        self.query(|connection| chargers::page(connection, filter, after.as_str(), page.rows()))
    }

    fn charger(&self, id: &str) -> Result<Option<ChargerDetail>, QueryError> {
        self.query(|connection| chargers::one(connection, id))
    }

    fn transactions(
        &self,
        filter: &TransactionFilter,
        page: &PageRequest,
    ) -> Result<Page<TransactionView>, QueryError> {
        let after = after_transaction(page)?;
        self.query(|connection| transactions::page(connection, filter, after, page.rows()))
    }

    fn transaction(&self, key: Uuid) -> Result<Option<TransactionView>, QueryError> {
        self.query(|connection| transactions::one(connection, key))
    }

    fn meter_values(
        &self,
        filter: &ReadingFilter,
        after: Option<RowPlace>,
        limit: usize,
    ) -> Result<ReadingRows, QueryError> {
        self.query(|connection| meter_values::page(connection, filter, after, limit))
    }

    fn messages(
        &self,
        filter: &MessageFilter,
        page: &PageRequest,
    ) -> Result<Page<MessageRow>, QueryError> {
        let after = after_message(page)?;
        self.query(|connection| messages::page(connection, filter, after, page.rows()))?
            .ok_or(QueryError::BadCursor)
    }

    fn message(&self, id: RecordId) -> Result<Option<MessageRow>, QueryError> {
        self.query(|connection| records::one(connection, id))
    }

    fn messages_of_calls(&self, calls: &[CommandId]) -> Result<Vec<MessageRow>, QueryError> {
        self.query(|connection| records::of_calls(connection, calls))
    }

    fn messages_by_time(
        &self,
        filter: &MentionFilter,
        page: &PageRequest,
    ) -> Result<Page<MessageRow>, QueryError> {
        let after = after_received(page)?;
        self.query(|connection| records::by_time(connection, filter, after, page.rows()))?
            .ok_or(QueryError::BadCursor)
    }

    fn connections(
        &self,
        charger: &str,
        page: &PageRequest,
    ) -> Result<Page<ConnectionRow>, QueryError> {
        let before = before_connection(page)?;
        self.query(|connection| connections::page(connection, charger, before, page.rows()))?
            .ok_or(QueryError::BadCursor)
    }

    fn gateway_runs(
        &self,
        gateways: &[GatewayId],
        from: Timestamp,
        to: Timestamp,
        starts_max: usize,
    ) -> Result<Option<Vec<GatewayRun>>, QueryError> {
        self.query(|connection| runs::runs(connection, gateways, from, to, starts_max))
    }

    fn transactions_on_wire(&self, ids: &[WireId]) -> Result<Vec<TransactionView>, QueryError> {
        self.query(|connection| transactions::on_wire(connection, ids))
    }

    fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        page: &PageRequest,
    ) -> Result<Page<DeadLetterRow>, QueryError> {
        let after = after_dead_letter(page)?;
        self.query(|connection| dead_letters::page(connection, filter, after, page.rows()))
    }

    fn dead_letter_row(&self, id: RecordId) -> Result<Option<DeadLetterRow>, QueryError> {
        self.query(|connection| dead_letters::one(connection, id))
    }

    fn audit(
        &self,
        filter: &AuditFilter,
        page: &PageRequest,
    ) -> Result<Page<AuditView>, QueryError> {
        let after = after_audit(page)?;
        self.query(|connection| audit_page(connection, filter, after, page.rows()))
    }

    fn charger_quirks(&self, id: &str) -> Result<Vec<QuirkView>, QueryError> {
        self.query(|connection| quirks::of_charger(connection, id))
    }

    fn quirks(
        &self,
        filter: &QuirkFilter,
        page: &PageRequest,
    ) -> Result<Page<QuirkSummary>, QueryError> {
        let after = after_quirk(page)?;
        self.query(|connection| quirks::page(connection, filter, after, page.rows()))
    }

    fn count_messages(&self, filter: &MessageFilter) -> Result<u64, QueryError> {
        self.query(|connection| messages::count(connection, filter))
    }

    fn count_transactions(&self, filter: &TransactionFilter) -> Result<u64, QueryError> {
        self.query(|connection| transactions::count(connection, filter))
    }
}

/// Gateways by their numbers.
fn gateways(connection: &Connection) -> Result<HashMap<i64, GatewayId>, Refusal> {
    let mut statement = connection.prepare_cached("SELECT no, id FROM gateways")?;
    let rows = statement.query_map([], |row| {
        Ok((
            row.get(0)?,
            GatewayId(crate::sqlite::listing::uuid_of(row, 1)?),
        ))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Placeholder for a number without a gateway; every number in the tables has one.
const NO_GATEWAY: GatewayId = GatewayId(Uuid::nil());

fn audit_page(
    connection: &Connection,
    filter: &AuditFilter,
    after: i64,
    limit: usize,
) -> Result<Page<AuditView>, Refusal> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {} FROM audit_log
         WHERE no < ?1 AND (?2 IS NULL OR action = ?2) AND (?3 IS NULL OR subject = ?3)
         AND at >= ?4 AND at < ?5 ORDER BY no DESC LIMIT ?6",
        audit::COLUMNS
    ))?;
    let wanted = params![
        after,
        filter.action,
        filter.subject,
        filter.from.map_or(i64::MIN, central::Timestamp::as_millis),
        filter.to.map_or(i64::MAX, central::Timestamp::as_millis),
        at_most(limit + 1),
    ];
    let rows = statement.query_map(wanted, |row| row.try_into())?;
    let rows = rows.map(|row| Ok(audit::listed(row?)));
    Ok(cut_readable(rows.collect::<Result<_, Refusal>>()?, limit))
}
