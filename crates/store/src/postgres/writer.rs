//! The writing connection: opened on first use and closed after an error, so that the next call reconnects to a
//! database that was unavailable.

use super::PostgresOptions;
use super::copy::CopyStrategy;
use super::error;
use super::inbox::Days;
use super::maintenance::make_commits_durable;
use super::numbers::Numbers;
use super::parts::Parts;
use super::schema;
use super::states::States;
use crate::refusal::Refusal;
use sqlx::ConnectOptions;
use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection};

/// The writing connection, open or not.
pub(crate) struct Writer {
    connect: PgConnectOptions,
    options: PostgresOptions,
    session: Option<Session>,
    /// The size of the next part of a batch.
    pub(crate) parts: Parts,
}

/// An open connection and the cache of the rows read or written through it.
pub(crate) struct Session {
    pub(crate) connection: PgConnection,
    pub(crate) cache: Cache,
}

/// The writer's cache, which saves queries.
#[derive(Default)]
pub(crate) struct Cache {
    pub(crate) numbers: Numbers,
    pub(crate) days: Days,
    pub(crate) copied_messages: CopyStrategy,
    pub(crate) copied_values: CopyStrategy,
    pub(crate) states: States,
}

/// No connection was made in time, whatever was to be done with it.
fn not_connected(limit: std::time::Duration) -> Refusal {
    Refusal::unreachable(format!("no connection within {} s", limit.as_secs_f32()))
}

impl Writer {
    /// A writer that is not connected yet.
    pub(crate) fn new(connect: PgConnectOptions, options: PostgresOptions) -> Self {
        Self {
            connect,
            options,
            session: None,
            parts: Parts::new(),
        }
    }

    /// The options of the connection.
    pub(crate) fn connect_options(&self) -> PgConnectOptions {
        self.connect.clone()
    }

    /// Closes the connection, which rolls back the open transaction; the next use opens a new one.
    pub(crate) fn disconnect(&mut self) {
        self.session = None;
    }

    /// The connection, opened if needed.
    pub(crate) async fn session(&mut self) -> Result<&mut Session, Refusal> {
        if self.session.is_none() {
            let connecting =
                tokio::time::timeout(self.options.connect_timeout, self.connect.connect());
            let mut connection = match connecting.await {
                Ok(connected) => connected.map_err(error::refusal)?,
                Err(_) => return Err(not_connected(self.options.connect_timeout)),
            };
            make_commits_durable(&mut connection).await?;
            self.session = Some(Session {
                connection,
                cache: Cache::default(),
            });
        }
        // Set just above.
        self.session
            .as_mut()
            .ok_or_else(|| not_connected(self.options.connect_timeout))
    }

    /// Runs `work` in one transaction. When it or the commit fails, nothing of it is visible.
    pub(crate) async fn transact<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let session = self.session().await?;
        let mut transaction = session.connection.begin().await.map_err(error::refusal)?;
        let version = sqlx::query_scalar("SELECT version FROM wattpost_schema")
            .fetch_optional(&mut *transaction)
            .await
            .map_err(error::refusal)?;
        schema::refuse_newer(&mut transaction, version).await?;
        let done = work(&mut transaction).await?;
        transaction.commit().await.map_err(error::refusal)?;
        Ok(done)
    }
}
