//! Opens the database that the settings name.
//!
//! Only this module knows that there are two products. Everything else takes a port of [`Database`].

use crate::config::{DatabaseAt, Settings};
use crate::data_dir::DataDir;
use anyhow::{Context, Result, bail};
use central::ports::Transfer;
use central::ports::{
    Alerts, ApiKeys, Batches, ChargerAdmin, Closings, CommandQueue, Commands, DatabaseClock,
    DeadLetters, DirectorySource, Disconnects, EventLog, Handshakes, LetterRetries, LocalLists,
    Maintenance, PasswordRotations, Processes, QueryStore, Store, Tokens, Users, Webhooks,
};
use std::sync::Arc;
use std::time::Duration;
use store::{PostgresStore, SqliteStore};

/// The ports of one open database.
#[derive(Clone)]
pub(crate) struct Database {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) transfer: Arc<dyn Transfer>,
    pub(crate) queries: Arc<dyn QueryStore>,
    pub(crate) directory: Arc<dyn DirectorySource>,
    pub(crate) tokens: Arc<dyn Tokens>,
    pub(crate) chargers: Arc<dyn ChargerAdmin>,
    pub(crate) local_lists: Arc<dyn LocalLists>,
    pub(crate) handshakes: Arc<dyn Handshakes>,
    pub(crate) dead_letters: Arc<dyn DeadLetters>,
    pub(crate) closings: Arc<dyn Closings>,
    pub(crate) disconnects: Arc<dyn Disconnects>,
    pub(crate) maintenance: Arc<dyn Maintenance>,
    pub(crate) api_keys: Arc<dyn ApiKeys>,
    pub(crate) users: Arc<dyn Users>,
    pub(crate) batches: Arc<dyn Batches>,
    pub(crate) clock: Arc<dyn DatabaseClock>,
    pub(crate) commands: Arc<dyn Commands>,
    pub(crate) command_queue: Arc<dyn CommandQueue>,
    pub(crate) rotations: Arc<dyn PasswordRotations>,
    pub(crate) event_log: Arc<dyn EventLog>,
    /// The alerts and silences.
    pub(crate) alerts: Arc<dyn Alerts>,
    /// The webhooks.
    pub(crate) webhooks: Arc<dyn Webhooks>,
    pub(crate) processes: Arc<dyn Processes>,
}

impl Database {
    fn of<S>(store: S) -> Self
    where
        S: Store
            + Transfer
            + QueryStore
            + DirectorySource
            + Tokens
            + ChargerAdmin
            + LocalLists
            + Handshakes
            + DeadLetters
            + Closings
            + Disconnects
            + Maintenance
            + ApiKeys
            + Users
            + Batches
            + Commands
            + CommandQueue
            + PasswordRotations
            + EventLog
            + Processes
            + Alerts
            + Webhooks,
    {
        let store = Arc::new(store);
        Self {
            store: Arc::clone(&store) as _,
            transfer: Arc::clone(&store) as _,
            queries: Arc::clone(&store) as _,
            directory: Arc::clone(&store) as _,
            tokens: Arc::clone(&store) as _,
            chargers: Arc::clone(&store) as _,
            local_lists: Arc::clone(&store) as _,
            handshakes: Arc::clone(&store) as _,
            dead_letters: Arc::clone(&store) as _,
            closings: Arc::clone(&store) as _,
            disconnects: Arc::clone(&store) as _,
            maintenance: Arc::clone(&store) as _,
            api_keys: Arc::clone(&store) as _,
            users: Arc::clone(&store) as _,
            batches: Arc::clone(&store) as _,
            clock: Arc::clone(&store) as _,
            commands: Arc::clone(&store) as _,
            command_queue: Arc::clone(&store) as _,
            rotations: Arc::clone(&store) as _,
            event_log: Arc::clone(&store) as _,
            alerts: Arc::clone(&store) as _,
            webhooks: Arc::clone(&store) as _,
            processes: store,
        }
    }

    /// Tries dead letters again with this store.
    pub(crate) fn letter_retries(&self) -> Arc<dyn LetterRetries> {
        Arc::new(consumer::LetterRetry {
            store: Arc::clone(&self.store),
            letters: Arc::clone(&self.dead_letters),
        })
    }
}

/// Now, by this machine's clock.
pub(crate) fn now() -> central::Timestamp {
    central::Timestamp(common::clock::now_ms())
}

/// What the database is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// A role writes to it for hours; it may be unavailable at the start.
    Serve,
    /// A command changes something; it must be available. A missing file is created.
    Change,
    /// A command reads; it must be available.
    Read,
}

/// Opens the database that the settings name.
///
/// # Errors
/// When waiting cannot help; for [`Use::Change`] and [`Use::Read`] also when it is unavailable.
pub(crate) fn open(settings: &Settings, purpose: Use) -> Result<Database> {
    let database = match settings.database_at()? {
        DatabaseAt::Sqlite(path) => {
            if !path.exists() {
                DataDir::refuse_unfinished(&settings.data_dir)?;
            }
            if purpose == Use::Read && !path.exists() {
                bail!(
                    "there is no database at {}; start `wattpost serve` first, or say where it is with \
                     --data-dir or --database-url",
                    path.display()
                );
            }
            let defaults = store::SqliteOptions::default();
            let options = store::SqliteOptions {
                read_only: purpose == Use::Read,
                retention: settings.database.retention(),
                // A `serve` under load writes all the time; a command can wait longer than a batch can.
                lock_wait: match purpose {
                    Use::Change => Duration::from_secs(10),
                    Use::Serve | Use::Read => defaults.lock_wait,
                },
                ..defaults
            };
            Database::of(SqliteStore::open(&path, options)?)
        }
        DatabaseAt::Postgres(url) => {
            Database::of(PostgresStore::open(url, settings.database.postgres())?)
        }
    };
    if purpose != Use::Serve {
        database.maintenance.ping().with_context(|| {
            format!(
                "use the database that database.url names ({})",
                settings.redacted_database()
            )
        })?;
    }
    Ok(database)
}
