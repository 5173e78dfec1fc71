//! The store: keeps the state of the network and answers queries about it, on SQLite or PostgreSQL.
//!
//! This crate exists so that SQL is in one place. It implements the ports of [`central::ports`]: `Store` writes,
//! `QueryStore` reads, `DirectorySource` gives the gateway the chargers and tokens that `ChargerAdmin` and `Tokens` set,
//! `DeadLetters` shows and discards dead letters, `ApiKeys` keeps the keys of the API, `Users` its local users, `Webhooks` keeps webhooks and how far they are, `Alerts` keeps alerts and silences, `Processes` keeps the reports of processes, `Maintenance` checks the database and keeps it in order. Two
//! adapters pass the same test suite: [`SqliteStore`], which needs no server, and [`PostgresStore`] for several
//! processes that write at the same time.
//!
//! `Transfer` copies rows from one database into another.
//!
//! In both, one connection of a process writes, guarded by a mutex, one transaction per batch; a few other
//! connections read, and never wait for the writer.

mod admins;
mod alerts;
mod api_keys;
mod audit;
mod batches;
mod codes;
mod commands;
mod compatible;
mod contents;
mod dead_letters;
mod directory;
mod event_log;
mod filter;
mod handshakes;
mod idempotency;
mod listing;
mod local_lists;
mod metrics;
mod numbers;
mod paging;
mod pairing;
mod postgres;
mod processes;
mod quirks;
mod refusal;
mod removed;
mod retention;
mod rotations;
mod runs;
mod sites;
mod sqlite;
mod state;
mod succession;
mod tokens;
mod transfer;
mod unknown_tokens;
mod users;
mod webhooks;

pub use self::metrics::METRICS;
pub use compatible::SCHEMA_USABLE_FROM;
pub use postgres::{
    MaintenanceRound, Migrated, MigrationWait, PostgresOpenError, PostgresOptions, PostgresStore,
};
pub use retention::Retention;
pub use sqlite::{
    SCHEMA_VERSION, SqliteOpenError, SqliteOptions, SqliteStore, check_sqlite, copy_sqlite,
};
