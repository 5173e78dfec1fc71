//! Reports of processes, and counts for the balance of the pipeline.
//!
//! Reports are written on a reading connection, in autocommit: the writing one may be busy with a large batch, and a
//! process must not look dead because of it.

use super::directory::NOW_MS;
use super::numbers::clean;
use super::{PostgresStore, audit, error};
use crate::processes::{ProcessColumns, ProcessRow, known, retired_entry};
use crate::refusal::Refusal;
use central::model::{Origin, ProcessReport};
use central::ports::{KnownProcess, Processes, Unavailable};
use central::{GatewayId, Seq};
use sqlx::AssertSqlSafe;

impl Processes for PostgresStore {
    fn report_process(&self, report: &ProcessReport) -> Result<(), Unavailable> {
        let columns = ProcessColumns::of(report).map_err(Refusal::into_unavailable)?;
        self.read(async |connection| {
            sqlx::query(AssertSqlSafe(format!(
                "INSERT INTO processes (id, report, reported_at, shown_ms) VALUES ($1, $2, ({NOW_MS}), $3)
                 ON CONFLICT (id) DO UPDATE SET report = excluded.report, reported_at = excluded.reported_at,
                     shown_ms = excluded.shown_ms, is_retired = false"
            )))
            .bind(report.id)
            .bind(clean(&columns.report))
            .bind(columns.shown_ms)
            .execute(&mut *connection)
            .await
            .map_err(error::refusal)?;
            sqlx::query(AssertSqlSafe(format!(
                "DELETE FROM processes WHERE reported_at + shown_ms < ({NOW_MS})"
            )))
            .execute(connection)
            .await
            .map_err(error::refusal)?;
            Ok(())
        })
    }

    fn processes(&self) -> Result<Vec<KnownProcess>, Unavailable> {
        self.read(async |connection| {
            let rows: Vec<ProcessRow> = sqlx::query_as(AssertSqlSafe(format!(
                "SELECT report, ({NOW_MS}) - reported_at, all_stored, is_retired FROM processes
                 WHERE shown_ms IS NULL OR reported_at + shown_ms >= ({NOW_MS}) ORDER BY id"
            )))
            .fetch_all(connection)
            .await
            .map_err(error::refusal)?;
            Ok(rows.into_iter().filter_map(known).collect())
        })
    }

    fn set_all_stored(&self, gateway: GatewayId, upto: Seq) -> Result<(), Unavailable> {
        self.read(async |connection| {
            sqlx::query("UPDATE processes SET all_stored = $2 WHERE id = $1 AND all_stored < $2")
                .bind(gateway.0)
                .bind(bound(upto))
                .execute(connection)
                .await
                .map_err(error::refusal)?;
            Ok(())
        })
    }

    fn retire_process(
        &self,
        gateway: GatewayId,
        chargers: u64,
        origin: &Origin,
    ) -> Result<(), Unavailable> {
        let entry = retired_entry(gateway, chargers, origin);
        self.change(async |connection| {
            sqlx::query("UPDATE processes SET is_retired = true WHERE id = $1")
                .bind(gateway.0)
                .execute(&mut *connection)
                .await
                .map_err(error::refusal)?;
            audit::insert(connection, &entry).await
        })
    }

    fn count_stored(&self, gateway: GatewayId, first: Seq, last: Seq) -> Result<u64, Unavailable> {
        self.read(async |connection| {
            let stored: Option<i64> = sqlx::query_scalar(
                "SELECT (SELECT count(*) FROM messages m WHERE m.gateway_no = g.no AND m.seq BETWEEN $2 AND $3)
                    + (SELECT count(*) FROM (
                            SELECT d.seq FROM dead_letters d WHERE d.gateway_no = g.no AND d.seq BETWEEN $2 AND $3
                            UNION
                            SELECT d.seq FROM discarded_letters d
                            WHERE d.gateway_no = g.no AND d.seq BETWEEN $2 AND $3) d
                        WHERE NOT EXISTS (SELECT 1 FROM messages m WHERE m.gateway_no = g.no AND m.seq = d.seq))
                 FROM gateways g WHERE g.id = $1",
            )
            .bind(gateway.0)
            .bind(bound(first))
            .bind(bound(last))
            .fetch_optional(connection)
            .await
            .map_err(error::refusal)?;
            Ok(stored.unwrap_or(0).cast_unsigned())
        })
    }

    fn count_dead_letters(&self, most: u64) -> Result<u64, Unavailable> {
        self.read(async |connection| {
            let count: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM (SELECT 1 FROM dead_letters LIMIT $1) few",
            )
            .bind(bound(Seq(most)))
            .fetch_one(connection)
            .await
            .map_err(error::refusal)?;
            Ok(count.cast_unsigned())
        })
    }
}

fn bound(seq: Seq) -> i64 {
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}
