//! The ledger: keeps and shows the state of the network, on SQLite or PostgreSQL.
//!
//! This room exists so that one place knows SQL. It stands behind the ports of [`central`]:
//! [`central::ports::Store`] takes in, [`central::query::QueryStore`] shows,
//! [`central::ports::DirectorySource`] tells the gateway who may charge. Two adapters offer the same and are put to
//! the same suite: [`SqliteStore`], which comes with the program, and [`PostgresStore`] for several processes
//! that write at the same time.
//!
//! In both, one connection of a process writes, behind a lock, a transaction a batch; a few others read, and never
//! wait for the one that writes.

mod clock;
mod codes;
mod metrics;
mod paging;
mod pairing;
mod postgres;
mod refusal;
mod sqlite;

pub use self::metrics::METRICS;
pub use postgres::{Migrated, PostgresOpenError, PostgresOptions, PostgresStore, Upkeep};
pub use sqlite::{OpenError, SqliteOptions, SqliteStore};
