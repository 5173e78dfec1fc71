//! The queries: each is one short transaction on one snapshot, and a page is bounded in rows and in work, so
//! that neither writers nor VACUUM wait for a reader.

pub(super) mod chargers;
mod connections;
mod messages;
mod meter_values;
pub(crate) mod records;
mod runs;
pub(super) mod transactions;

use super::numbers::clean;
use super::{PostgresStore, dead_letters, error, quirks};
use crate::audit;
use crate::paging::{
    after_audit, after_charger, after_dead_letter, after_message, after_quirk, after_received,
    after_transaction, at_most, before_connection, cut_readable,
};
use crate::refusal::Refusal;
use central::model::{AuditView, ChargerKey, CommandId, QuirkSummary, QuirkView, TransactionView};
use central::query::{
    AuditFilter, ChargerDetail, ChargerFilter, ConnectionRow, DeadLetterFilter, DeadLetterRow,
    GatewayRun, MentionFilter, MessageFilter, MessageRow, Page, PageRequest, QueryError,
    QueryStore, QuirkFilter, ReadingFilter, ReadingRows, RowPlace, TransactionFilter, WireId,
};
use central::{GatewayId, RecordId, Timestamp};
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

impl PostgresStore {
    fn query<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Refusal>,
    ) -> Result<T, QueryError> {
        self.read(async |connection| snapshot(connection, work).await)
            .map_err(QueryError::Unavailable)
    }

    /// As `query`, see [`IN_ORDER`].
    fn query_in_order<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Refusal>,
    ) -> Result<T, QueryError> {
        self.read(async |connection| begun_with(IN_ORDER, connection, work).await)
            .map_err(QueryError::Unavailable)
    }
}

/// A snapshot in which rows are read in the order of an index and not sorted, whatever the statistics are. The planner takes
/// the rows after a place of two or three columns for few, because it looks at the first column only; then it would read
/// all of them and sort them for a page of some rows. To be used only where an index has the order of each query.
const IN_ORDER: &str =
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL enable_sort = off";

impl QueryStore for PostgresStore {
    fn chargers(
        &self,
        filter: &ChargerFilter,
        page: &PageRequest,
    ) -> Result<Page<ChargerDetail>, QueryError> {
        let after = after_charger(page)?;
        self.query(async |connection| {
            chargers::page(connection, filter, after.as_str(), page.rows()).await
        })
    }

    fn charger(&self, id: &str) -> Result<Option<ChargerDetail>, QueryError> {
        self.query(async |connection| chargers::one(connection, id).await)
    }

    fn transactions(
        &self,
        filter: &TransactionFilter,
        page: &PageRequest,
    ) -> Result<Page<TransactionView>, QueryError> {
        let after = after_transaction(page)?;
        self.query_in_order(async |connection| {
            transactions::page(connection, filter, after, page.rows()).await
        })
    }

    fn transaction(&self, key: Uuid) -> Result<Option<TransactionView>, QueryError> {
        self.query(async |connection| transactions::one(connection, key).await)
    }

    fn meter_values(
        &self,
        filter: &ReadingFilter,
        after: Option<RowPlace>,
        limit: usize,
    ) -> Result<ReadingRows, QueryError> {
        self.query_in_order(async |connection| {
            meter_values::page(connection, filter, after, limit).await
        })
    }

    fn messages(
        &self,
        filter: &MessageFilter,
        page: &PageRequest,
    ) -> Result<Page<MessageRow>, QueryError> {
        let after = after_message(page)?;
        self.query_in_order(async |connection| {
            messages::page(connection, filter, after, page.rows()).await
        })?
        .ok_or(QueryError::BadCursor)
    }

    fn message(&self, id: RecordId) -> Result<Option<MessageRow>, QueryError> {
        self.query(async |connection| records::one(connection, id).await)
    }

    fn messages_of_calls(&self, calls: &[CommandId]) -> Result<Vec<MessageRow>, QueryError> {
        self.query(async |connection| records::of_calls(connection, calls).await)
    }

    fn messages_by_time(
        &self,
        filter: &MentionFilter,
        page: &PageRequest,
    ) -> Result<Page<MessageRow>, QueryError> {
        let after = after_received(page)?;
        self.query(async |connection| {
            records::by_time(connection, filter, after, page.rows()).await
        })?
        .ok_or(QueryError::BadCursor)
    }

    fn connections(
        &self,
        charger: &str,
        page: &PageRequest,
    ) -> Result<Page<ConnectionRow>, QueryError> {
        let before = before_connection(page)?;
        self.query(async |connection| {
            connections::page(connection, charger, before, page.rows()).await
        })?
        .ok_or(QueryError::BadCursor)
    }

    fn gateway_runs(
        &self,
        gateways: &[GatewayId],
        from: Timestamp,
        to: Timestamp,
        starts_max: usize,
    ) -> Result<Option<Vec<GatewayRun>>, QueryError> {
        self.query(async |connection| runs::runs(connection, gateways, from, to, starts_max).await)
    }

    fn transactions_on_wire(&self, ids: &[WireId]) -> Result<Vec<TransactionView>, QueryError> {
        self.query(async |connection| transactions::on_wire(connection, ids).await)
    }

    fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        page: &PageRequest,
    ) -> Result<Page<DeadLetterRow>, QueryError> {
        let after = after_dead_letter(page)?;
        self.query(async |connection| {
            dead_letters::page(connection, filter, after, page.rows()).await
        })
    }

    fn dead_letter_row(&self, id: RecordId) -> Result<Option<DeadLetterRow>, QueryError> {
        self.query(async |connection| dead_letters::one(connection, id).await)
    }

    fn audit(
        &self,
        filter: &AuditFilter,
        page: &PageRequest,
    ) -> Result<Page<AuditView>, QueryError> {
        let after = after_audit(page)?;
        self.query(async |connection| audit_page(connection, filter, after, page.rows()).await)
    }

    fn charger_quirks(&self, id: &str) -> Result<Vec<QuirkView>, QueryError> {
        self.query(async |connection| quirks::of_charger(connection, id).await)
    }

    fn quirks(
        &self,
        filter: &QuirkFilter,
        page: &PageRequest,
    ) -> Result<Page<QuirkSummary>, QueryError> {
        let after = after_quirk(page)?;
        self.query(async |connection| quirks::page(connection, filter, after, page.rows()).await)
    }

    fn count_messages(&self, filter: &MessageFilter) -> Result<u64, QueryError> {
        self.query(async |connection| messages::count(connection, filter).await)
    }

    fn count_transactions(&self, filter: &TransactionFilter) -> Result<u64, QueryError> {
        self.query(async |connection| transactions::count(connection, filter).await)
    }
}

/// Runs `work` so that all its queries see the same snapshot.
pub(super) async fn snapshot<T>(
    connection: &mut PgConnection,
    work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    begun_with(begin, connection, work).await
}

async fn begun_with<T>(
    begin: &'static str,
    connection: &mut PgConnection,
    work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let mut transaction = connection.begin_with(begin).await.map_err(error::refusal)?;
    let answer = work(&mut transaction).await?;
    transaction.commit().await.map_err(error::refusal)?;
    Ok(answer)
}

/// The number of a charger, if it is in the database; case is ignored.
async fn charger_no(connection: &mut PgConnection, id: &str) -> Result<Option<i32>, Refusal> {
    sqlx::query_scalar("SELECT no FROM chargers WHERE key = $1")
        .bind(clean(ChargerKey::of(id).as_str()).into_owned())
        .fetch_optional(connection)
        .await
        .map_err(error::refusal)
}

async fn audit_page(
    connection: &mut PgConnection,
    filter: &AuditFilter,
    after: i64,
    limit: usize,
) -> Result<Page<AuditView>, Refusal> {
    let text = |text: &Option<String>| text.as_deref().map(|text| clean(text).into_owned());
    let rows: Vec<audit::AuditRow> = sqlx::query_as(
        "SELECT no, at, actor_kind, actor_name, origin, request_id, action, subject, before, after, traceparent
         FROM audit_log
         WHERE no < $1 AND ($2::text IS NULL OR action = $2) AND ($3::text IS NULL OR subject = $3)
         AND at >= $4 AND at < $5 ORDER BY no DESC LIMIT $6",
    )
    .bind(after)
    .bind(text(&filter.action))
    .bind(text(&filter.subject))
    .bind(filter.from.map_or(i64::MIN, central::Timestamp::as_millis))
    .bind(filter.to.map_or(i64::MAX, central::Timestamp::as_millis))
    .bind(at_most(limit + 1))
    .fetch_all(connection)
    .await
    .map_err(error::refusal)?;
    Ok(cut_readable(
        rows.into_iter().map(audit::listed).collect(),
        limit,
    ))
}
