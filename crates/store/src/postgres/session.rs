//! The one connection that writes: opened when it is needed, given up when it fails, so that a database
//! that was away is found again without anybody's help.

use super::PostgresOptions;
use super::copy::Habit;
use super::error;
use super::inbox::Days;
use super::numbers::Numbers;
use super::parts::Parts;
use super::states::States;
use super::upkeep::make_commits_durable;
use crate::refusal::Refusal;
use central::ports::UnavailableKind;
use sqlx::ConnectOptions;
use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection};

/// The writing connection, or the wish for one.
pub(crate) struct Writer {
    connect: PgConnectOptions,
    options: PostgresOptions,
    session: Option<Session>,
    /// How large a part of a batch is tried at once.
    pub(crate) parts: Parts,
}

/// An open connection with what is remembered of the rows behind it.
pub(crate) struct Session {
    pub(crate) connection: PgConnection,
    pub(crate) memory: Memory,
}

/// What the writer remembers, so that it need not ask.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) numbers: Numbers,
    pub(crate) days: Days,
    pub(crate) copied_messages: Habit,
    pub(crate) copied_values: Habit,
    pub(crate) states: States,
}

/// The server did not let us in in time, whatever there was to do.
fn not_connected(limit: std::time::Duration) -> Refusal {
    Refusal::away(
        UnavailableKind::Unreachable,
        format!("no connection within {} s", limit.as_secs_f32()),
    )
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

    /// How it connects.
    pub(crate) fn connect_options(&self) -> PgConnectOptions {
        self.connect.clone()
    }

    /// Gives the connection up, which rolls back what was under way; the next use makes a new one.
    pub(crate) fn disconnect(&mut self) {
        self.session = None;
    }

    /// The connection, made if need be.
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
                memory: Memory::default(),
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
        let done = work(&mut transaction).await?;
        transaction.commit().await.map_err(error::refusal)?;
        Ok(done)
    }
}
