//! Checks of the database, and its maintenance: creates partitions ahead of time, moves rows to the partition of
//! their day, and applies the retention.
//!
//! The work is done by SQL functions, each call of which is one short transaction (see the schema). It runs on a
//! reading connection, so the writer waits for one slice at most.

use super::schema::{self, CheckError};
use super::{PostgresStore, error, numbers};
use crate::refusal::Refusal;
use crate::retention::Pace;
use central::ports::{Maintenance, Unavailable};
use central::{GatewayId, Seq, Timestamp};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};
use uuid::Uuid;

const DAY_MILLIS: i64 = 86_400_000;

/// The tables that are partitioned by day.
const PARENTS: [&str; 2] = ["messages", "meter_values"];

/// Bounds of the rows of a table that one slice of the retention deletes.
const EXPIRE_ROWS: RangeInclusive<usize> = 500..=5_000;

/// Bounds of the rows of the list of transactions that one slice of the retention looks at. It locks their chargers.
const EXPIRE_TRANSACTIONS: RangeInclusive<usize> = 50..=500;

/// A slice of the retention that takes longer is followed by smaller ones: who waits for one of its locks, and for the
/// vacuum, waits so long. Deletions of PostgreSQL make no writer wait by themselves, so there is no pause between slices.
const SLICE_TIME: Duration = Duration::from_millis(100);

/// What one maintenance round did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MaintenanceRound {
    /// Partitions that were created or dropped.
    pub partitions: u64,
    /// Rows that were in a default partition although their day (yesterday to a week ahead) should have had a
    /// partition: maintenance did not run for days. They are moved.
    pub late_rows: u64,
    /// Rows that were moved out of a default partition, these included.
    pub moved_out: u64,
    /// Rows that were moved to the partition of their day.
    pub moved_in: u64,
    /// Rows that the retention deleted one by one; dropped partitions are not counted.
    pub expired: u64,
    /// Whether the server syncs what it reports as committed. Otherwise a power cut can lose messages that
    /// were acknowledged to chargers.
    pub is_durable: bool,
}

impl Maintenance for PostgresStore {
    fn ping(&self) -> Result<(), Unavailable> {
        let connect = self.writer().connect_options();
        self.wait(self.options.connect_timeout, schema::check(&connect))
            .map_err(|error| match error {
                CheckError::Unavailable(error) => error,
                CheckError::Unusable(error) => {
                    Refusal::unreachable(error.to_string()).into_unavailable()
                }
            })
    }

    /// Called at startup, so it takes 2 s at most.
    fn last_seq(&self, gateway: GatewayId) -> Result<Option<Seq>, Unavailable> {
        self.read_within(self.startup_timeout(), async |connection| {
            numbers::last_seq(connection, gateway).await
        })
    }

    fn stored_seqs(
        &self,
        gateway: GatewayId,
        first: Seq,
        last: Seq,
    ) -> Result<Vec<Seq>, Unavailable> {
        self.read(async |connection| numbers::stored_seqs(connection, gateway, first, last).await)
    }

    fn maintain(&self, now: Timestamp) -> Result<Option<String>, Unavailable> {
        self.maintenance_round(now)?;
        self.lacks_durability()
    }

    fn oldest_message(&self) -> Result<Option<Timestamp>, Unavailable> {
        self.read(async |connection| {
            let day: Option<i64> =
                sqlx::query_scalar("SELECT min(day)::bigint FROM message_days WHERE day >= 0")
                    .fetch_one(connection)
                    .await
                    .map_err(error::refusal)?;
            Ok(day.map(|day| Timestamp(day * DAY_MILLIS)))
        })
    }

    fn lacks_durability(&self) -> Result<Option<String>, Unavailable> {
        self.read(async |connection| {
            let (fsync, full_page_writes): (String, String) = sqlx::query_as(
                "SELECT current_setting('fsync'), current_setting('full_page_writes')",
            )
            .fetch_one(connection)
            .await
            .map_err(error::refusal)?;
            Ok(missing_durability(&fsync, &full_page_writes))
        })
    }
}

impl PostgresStore {
    /// One maintenance round: creates the partitions of yesterday to a week ahead, moves rows to the partition of
    /// their day and deletes rows that are past the retention, in slices of some thousand rows. Cheap when there is
    /// nothing to do. Several processes may do it at once, also while others write; the next round finishes one that
    /// was interrupted. `now` decides which partitions are due; the retention uses `now` or the database's clock,
    /// whichever is behind.
    ///
    /// # Errors
    /// Why the database cannot be used. The slices that were done are kept.
    pub fn maintenance_round(&self, now: Timestamp) -> Result<MaintenanceRound, Unavailable> {
        let retention = self.options.retention;
        let retain_days = days(retention.records_days);
        let mut done = MaintenanceRound {
            is_durable: self.lacks_durability()?.is_none(),
            ..MaintenanceRound::default()
        };
        for parent in PARENTS {
            let (moved, late) = self.move_rows(parent, "default", now)?;
            done.moved_out += moved;
            done.late_rows += late;
        }
        if done.late_rows > 0 {
            tracing::warn!(
                rows = done.late_rows,
                "rows of days without a partition were in the default partition, because maintenance did not run; \
                 they are moved to the partitions of their days"
            );
        }
        done.partitions = self.make_and_drop(now, retain_days)?.unsigned_abs().into();
        for parent in PARENTS {
            done.moved_in += self.move_rows(parent, "outside", now)?.0;
        }
        done.expired += sliced(|rows| self.expire(now, retain_days, rows))?;
        done.expired += sliced(|rows| self.expire_discarded(now, retain_days, rows))?;
        let commands_days = days(retention.commands_days);
        done.expired += sliced(|rows| self.expire_commands(now, commands_days, rows))?;
        if retention.audit_days > 0 {
            done.expired += sliced(|rows| self.expire_audit(now, retention.audit_days, rows))?;
        }
        if retention.transactions_days > 0 {
            done.expired += self.expire_transactions(now, days(retention.transactions_days))?;
        }
        done.expired += self.expire_unknown(now)?;
        self.show_sizes()?;
        if done.partitions > 0 {
            tracing::info!(
                partitions = done.partitions,
                "partitions were created or dropped"
            );
        }
        metrics::counter!("wattpost_store_rows_late_total").increment(done.late_rows);
        metrics::counter!("wattpost_store_rows_expired_total").increment(done.expired);
        metrics::gauge!("wattpost_store_durable").set(if done.is_durable { 1.0 } else { 0.0 });
        self.list_postponed();
        Ok(done)
    }

    /// Reports the size of the tables that the retention does not bound, with the database's own estimate of
    /// their rows.
    fn show_sizes(&self) -> Result<(), Unavailable> {
        let sizes: Vec<(String, f64, f64)> = self.read(async |connection| {
            sqlx::query_as(
                "SELECT relname::text, greatest(reltuples, 0)::float8, pg_total_relation_size(oid)::float8
                 FROM pg_class WHERE oid = ANY (ARRAY['chargers', 'connectors', 'transactions',
                    'transaction_views', 'gateways', 'dead_letters', 'discarded_letters', 'set_aside', 'commands',
                    'command_progress']::regclass[])",
            )
            .fetch_all(connection)
            .await
            .map_err(error::refusal)
        })?;
        let bytes: i64 = self.read(async |connection| {
            sqlx::query_scalar("SELECT pg_database_size(current_database())")
                .fetch_one(connection)
                .await
                .map_err(error::refusal)
        })?;
        metrics::gauge!("wattpost_store_database_bytes").set(bytes as f64);
        for (table, rows, bytes) in sizes {
            metrics::gauge!("wattpost_store_table_rows", "table" => table.clone()).set(rows);
            metrics::gauge!("wattpost_store_table_bytes", "table" => table).set(bytes);
        }
        Ok(())
    }

    /// The number of rows moved out of `source`, and how many of them are of days that should have a partition.
    fn move_rows(
        &self,
        parent: &str,
        source: &str,
        now: Timestamp,
    ) -> Result<(u64, u64), Unavailable> {
        let (mut moved, mut late) = (0, 0);
        let mut page = Some(0_i64);
        while let Some(first) = page {
            let (next, slice, expected): (Option<i64>, i64, i64) =
                self.read(async |connection| {
                    sqlx::query_as("SELECT * FROM wattpost_move($1, $2, $3, $4)")
                        .bind(parent)
                        .bind(source)
                        .bind(first)
                        .bind(now.as_millis())
                        .fetch_one(connection)
                        .await
                        .map_err(error::refusal)
                })?;
            moved += slice.unsigned_abs();
            late += expected.unsigned_abs();
            page = next;
        }
        Ok((moved, late))
    }

    fn make_and_drop(&self, now: Timestamp, retain_days: i32) -> Result<i32, Unavailable> {
        self.read(async |connection| {
            sqlx::query_scalar("SELECT wattpost_maintain($1, $2, true)")
                .bind(now.as_millis())
                .bind(retain_days)
                .fetch_one(connection)
                .await
                .map_err(error::refusal)
        })
    }

    fn expire(&self, now: Timestamp, retain_days: i32, rows: i32) -> Result<u64, Unavailable> {
        self.expire_with("SELECT wattpost_expire($1, $2, $3)", now, retain_days, rows)
    }

    fn expire_discarded(
        &self,
        now: Timestamp,
        retain_days: i32,
        rows: i32,
    ) -> Result<u64, Unavailable> {
        let sql = "SELECT wattpost_expire_discarded($1, $2, $3)";
        self.expire_with(sql, now, retain_days, rows)
    }

    fn expire_commands(
        &self,
        now: Timestamp,
        retain_days: i32,
        rows: i32,
    ) -> Result<u64, Unavailable> {
        let sql = "SELECT wattpost_expire_commands($1, $2, $3)";
        self.expire_with(sql, now, retain_days, rows)
    }

    /// Calls a function of the schema that deletes at most so many rows of each table, and returns how many it has deleted.
    fn expire_with(
        &self,
        sql: &'static str,
        now: Timestamp,
        retain_days: i32,
        rows: i32,
    ) -> Result<u64, Unavailable> {
        self.read(async |connection| {
            sqlx::query_scalar(sql)
                .bind(now.as_millis())
                .bind(retain_days)
                .bind(rows)
                .fetch_one(connection)
                .await
                .map(i64::unsigned_abs)
                .map_err(error::refusal)
        })
    }

    /// Deletes the oldest entries of the audit log. The application's role may delete them without a function.
    fn expire_audit(
        &self,
        now: Timestamp,
        retain_days: u32,
        rows: i32,
    ) -> Result<u64, Unavailable> {
        self.read(async |connection| {
            sqlx::query(
                "DELETE FROM audit_log WHERE ctid = ANY (ARRAY(
                     SELECT ctid FROM (SELECT ctid, at FROM audit_log ORDER BY no LIMIT $3) AS oldest
                     WHERE at < least($1, floor(extract(epoch FROM now()) * 1000)::bigint)
                         - $2::bigint * 86400000))",
            )
            .bind(now.as_millis())
            .bind(i64::from(retain_days))
            .bind(i64::from(rows))
            .execute(connection)
            .await
            .map(|done| done.rows_affected())
            .map_err(error::refusal)
        })
    }

    /// Deletes transactions, one page of their list after the other.
    fn expire_transactions(&self, now: Timestamp, retain_days: i32) -> Result<u64, Unavailable> {
        let mut after = Some((i64::MIN, Uuid::nil()));
        let mut all = 0;
        let mut pace = Pace::new(EXPIRE_TRANSACTIONS, SLICE_TIME);
        while let Some((at, key)) = after {
            let (rows, began) = (of_slice(&pace), Instant::now());
            let (gone, next_at, next_key): (i64, Option<i64>, Option<Uuid>) =
                self.read(async |connection| {
                    sqlx::query_as(
                        "SELECT gone, next_at, next_key FROM wattpost_expire_transactions($1, $2, $3, $4, $5)",
                    )
                    .bind(now.as_millis())
                    .bind(retain_days)
                    .bind(rows)
                    .bind(at)
                    .bind(key)
                    .fetch_one(connection)
                    .await
                    .map_err(error::refusal)
                })?;
            pace.took(began.elapsed());
            all += gone.unsigned_abs();
            after = next_at.zip(next_key);
        }
        Ok(all)
    }
}

/// Deletes with `delete` until nothing is left; it gets the number of rows of a slice.
fn sliced(mut delete: impl FnMut(i32) -> Result<u64, Unavailable>) -> Result<u64, Unavailable> {
    let mut pace = Pace::new(EXPIRE_ROWS, SLICE_TIME);
    let mut all = 0;
    loop {
        let began = Instant::now();
        let gone = delete(of_slice(&pace))?;
        if gone == 0 {
            return Ok(all);
        }
        all += gone;
        pace.took(began.elapsed());
    }
}

/// The rows of the next slice, for the functions of the schema.
fn of_slice(pace: &Pace) -> i32 {
    i32::try_from(pace.rows()).unwrap_or(i32::MAX)
}

/// The days of a retention for the functions of the schema.
fn days(days: u32) -> i32 {
    i32::try_from(days).unwrap_or(i32::MAX)
}

/// See [`Maintenance::lacks_durability`].
pub(super) fn missing_durability(fsync: &str, full_page_writes: &str) -> Option<String> {
    let off = match (fsync, full_page_writes) {
        ("off", _) => "fsync",
        (_, "off") => "full_page_writes",
        _ => return None,
    };
    Some(format!(
        "the PostgreSQL server has {off} = off: a power cut may lose messages that were acknowledged to \
         chargers; set {off} = on in postgresql.conf and reload"
    ))
}

/// Makes sure that a commit on this connection is on disk before it is reported, whatever the role, the database
/// or the server sets for `synchronous_commit`, also when that changes later. A stronger value is kept.
pub(super) async fn make_commits_durable(
    connection: &mut sqlx::PgConnection,
) -> Result<(), Refusal> {
    let (_, fsync, full_page_writes): (String, String, String) = sqlx::query_as(
        "SELECT set_config('synchronous_commit',
             CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
             ELSE current_setting('synchronous_commit') END, false),
             current_setting('fsync'), current_setting('full_page_writes')",
    )
    .fetch_one(connection)
    .await
    .map_err(error::refusal)?;
    if let Some(why) = missing_durability(&fsync, &full_page_writes) {
        tracing::error!("{why}");
    }
    Ok(())
}
