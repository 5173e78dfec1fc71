//! The PostgreSQL implementation of the store's ports.
//!
//! One connection writes, guarded by a mutex, with one transaction per batch; a few other connections read.
//! Other processes may write at the same time (consumers, gateways in direct delivery). Each state carries a
//! revision: a writer that merged onto an outdated revision merges again. Calls block; the I/O runs on a small
//! tokio runtime of this crate. Every query has a deadline, because a network that drops packets reports no
//! error.

mod alerts;
mod api_keys;
mod apply;
mod audit;
mod batches;
mod charger_settings;
mod closings;
mod commands;
mod connection;
mod contents;
mod copy;
mod dead_letters;
mod directory;
mod disconnects;
mod effects;
mod error;
mod event_log;
mod events;
mod halving;
mod handshakes;
mod idempotency;
mod inbox;
mod listing;
mod local_lists;
mod maintenance;
mod messages;
mod meter_values;
mod numbers;
mod parts;
mod processes;
mod query;
mod quirks;
mod rotations;
mod schema;
mod sites;
mod states;
mod succession;
mod tokens;
mod transfer;
mod unknown_tokens;
mod users;
mod webhooks;
mod writer;

use crate::refusal::Refusal;
use crate::retention::Retention;
use central::ports::Unavailable;
pub use error::PostgresOpenError;
pub use maintenance::MaintenanceRound;
pub use schema::{Migrated, MigrationWait};
use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Runtime;
use uuid::Uuid;
use writer::Writer;

/// Upper bound of the timeout of queries at startup, whatever the other limits are.
const STARTUP_TIMEOUT_MAX: Duration = Duration::from_secs(2);

/// Options of the PostgreSQL store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresOptions {
    /// How long rows are kept. Default: without a limit.
    pub retention: Retention,
    /// Connections at most; one of them writes. Default 6; at least 2.
    pub connections_max: u32,
    /// How long one statement may take; then the database counts as unavailable. Default 15 s.
    pub statement_timeout: Duration,
    /// How long connecting may take. Default 5 s.
    pub connect_timeout: Duration,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            retention: Retention::default(),
            connections_max: 6,
            statement_timeout: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(5),
        }
    }
}

/// The store on PostgreSQL.
///
/// Made with [`PostgresStore::open`], shared behind an `Arc`. Its functions are those of the ports. All calls
/// block: call from a thread that may, such as one of `spawn_blocking`.
pub struct PostgresStore {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    readers: PgPool,
    writer: Mutex<Writer>,
    options: PostgresOptions,
    /// The key up to which rows of `event_sessions` were looked at.
    sessions_checked: Mutex<Uuid>,
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresStore").finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Creates the store for the database at `url` and checks the database once.
    ///
    /// An unavailable database is not an error here, because chargers are served without it. Until it is back,
    /// every call returns the cause.
    ///
    /// # Errors
    /// When waiting cannot help: the URL is wrong, the server refuses this user, the database or its tables do
    /// not exist, or the schema is of a newer version.
    pub fn open(url: &str, options: PostgresOptions) -> Result<Self, PostgresOpenError> {
        let connect = connection::options(url, &options)?;
        let runtime = connection::runtime()?;
        let readers = {
            let _entered = runtime.enter();
            PgPoolOptions::new()
                .max_connections(options.connections_max.saturating_sub(1).max(1))
                .min_connections(0)
                .acquire_timeout(options.connect_timeout)
                .idle_timeout(Duration::from_secs(60))
                .connect_lazy_with(connect.clone())
        };
        let store = Self {
            runtime: Some(runtime),
            readers,
            writer: Mutex::new(Writer::new(connect.clone(), options.clone())),
            options,
            sessions_checked: Mutex::default(),
        };
        match store.wait(store.startup_timeout(), schema::check(&connect)) {
            Ok(()) => Ok(store),
            Err(schema::CheckError::Unusable(error)) => Err(error),
            Err(schema::CheckError::Unavailable(error)) => {
                tracing::warn!(%error, "continuing without the database until it is available");
                Ok(store)
            }
        }
    }

    /// Migrates the database at `url` to this build's schema and creates the partitions of the next days. Safe
    /// to repeat, and to run in several processes at once. The role must own the tables or, for an empty
    /// database, have the right to create them.
    ///
    /// # Errors
    /// When the database is unavailable, refuses this user, belongs to another program or has a newer schema, or when other
    /// sessions keep their locks for longer than the default of [`MigrationWait`].
    pub fn migrate(url: &str) -> Result<Migrated, PostgresOpenError> {
        Self::migrate_waiting(url, MigrationWait::default(), &|_| {})
    }

    /// As [`PostgresStore::migrate`]. `progress` gets a sentence about each session that it waits for.
    ///
    /// # Errors
    /// As [`PostgresStore::migrate`], with this `wait`.
    pub fn migrate_waiting(
        url: &str,
        wait: MigrationWait,
        progress: &(dyn Fn(&str) + Sync),
    ) -> Result<Migrated, PostgresOpenError> {
        migrating(url, async |connect| {
            schema::migrate(connect, Duration::ZERO, wait, progress).await
        })
    }

    /// Like [`PostgresStore::migrate`], but gives up after `limit` in all, with nothing changed: for a startup
    /// that must not wait for another process or for a server that does not answer.
    ///
    /// # Errors
    /// As [`PostgresStore::migrate`], and when it does not finish within `limit`.
    pub fn migrate_within(url: &str, limit: Duration) -> Result<Migrated, PostgresOpenError> {
        migrating(url, async |connect| {
            let wait = MigrationWait {
                total: limit,
                ..MigrationWait::default()
            };
            let log = |what: &str| tracing::info!("migrating the database: {what}");
            let done = schema::migrate(connect, limit, wait, &log);
            match tokio::time::timeout(limit, done).await {
                Ok(done) => done,
                Err(_) => Err(PostgresOpenError(format!(
                    "the database that database.url names was not brought up to date within {} s: another process \
                     may be migrating it, or its server does not answer; run `wattpost migrate`",
                    limit.as_secs_f32()
                ))),
            }
        })
    }

    /// Updates the list for transactions whose row could not be updated in time when their messages were stored.
    pub(crate) fn list_postponed(&self) {
        loop {
            // Uses a reading connection and a short timeout of its own, so no message waits for it.
            let listed = self.read(async |connection| {
                let mut transaction = connection.begin().await.map_err(error::refusal)?;
                sqlx::query("SELECT set_config('statement_timeout', '1000', true)")
                    .execute(&mut *transaction)
                    .await
                    .map_err(error::refusal)?;
                let was_listed = listing::list_one_postponed(&mut transaction).await?;
                transaction.commit().await.map_err(error::refusal)?;
                Ok(was_listed)
            });
            match listed {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    metrics::counter!("wattpost_store_lists_failed_total").increment(1);
                    tracing::warn!(%error, "a transaction that is not listed yet cannot be listed now; the next maintenance round tries again");
                    return;
                }
            }
        }
    }

    /// Runs a query on one of the reading connections.
    fn read<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Refusal>,
    ) -> Result<T, Unavailable> {
        let limit = self.options.connect_timeout + self.options.statement_timeout;
        self.read_within(limit, work)
    }

    fn read_within<T>(
        &self,
        limit: Duration,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Refusal>,
    ) -> Result<T, Unavailable> {
        let query = async {
            let mut connection = self.readers.acquire().await.map_err(error::refusal)?;
            let answer = work(&mut connection).await;
            if answer
                .as_ref()
                .is_err_and(|refusal| refusal.breaks_connection())
            {
                // A query or transaction may still be running on this connection.
                connection.close_on_drop();
            }
            answer
        };
        self.wait(limit, query).map_err(Refusal::into_unavailable)
    }

    /// Timeout of a query at startup, which must not delay chargers.
    fn startup_timeout(&self) -> Duration {
        self.options.connect_timeout.min(STARTUP_TIMEOUT_MAX)
    }

    /// Runs `work` in a transaction of its own on the writing connection. An error rolls it back.
    fn write<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Refusal>,
    ) -> Result<T, Unavailable> {
        let mut writer = self.writer();
        let limit = self.options.connect_timeout + self.options.statement_timeout * 2;
        let done = self.wait(limit, writer.transact(work));
        if done
            .as_ref()
            .is_err_and(|refusal| refusal.breaks_connection())
        {
            writer.disconnect();
        }
        done.map_err(Refusal::into_unavailable)
    }

    fn writer(&self) -> std::sync::MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(|poisoned| {
            // After a panic inside a transaction the connection is closed, which rolls the transaction back.
            let mut writer = PoisonError::into_inner(poisoned);
            writer.disconnect();
            self.writer.clear_poison();
            writer
        })
    }

    /// Waits for the database's answer until the timeout.
    fn wait<T, E: From<Refusal>>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let Some(runtime) = &self.runtime else {
            return Err(late(Duration::ZERO).into());
        };
        runtime.block_on(async {
            match tokio::time::timeout(limit, work).await {
                Ok(done) => done,
                Err(_) => Err(late(limit).into()),
            }
        })
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        // The last handle may be dropped on a thread of another runtime, which must not block.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn migrating(
    url: &str,
    migrate: impl AsyncFnOnce(&PgConnectOptions) -> Result<Migrated, PostgresOpenError>,
) -> Result<Migrated, PostgresOpenError> {
    let connect = connection::options(url, &PostgresOptions::default())?;
    let runtime = connection::runtime()?;
    let done = runtime.block_on(migrate(&connect));
    // A DNS lookup in progress must not block the caller.
    runtime.shutdown_background();
    done
}

fn late(limit: Duration) -> Refusal {
    Refusal::Late(format!("no answer within {} s", limit.as_secs_f32()))
}
