//! The ledger: keeps and shows the state of the network, on SQLite.
//!
//! This room exists so that one place knows SQL. It stands behind the ports of [`central`]:
//! [`central::ports::Store`] takes in, [`central::ledger::Ledger`] shows,
//! [`central::ports::DirectorySource`] tells the gateway who may charge. SQLite comes with the
//! program; nothing else need be installed.
//!
//! One connection writes, behind a lock; a few others read, and never wait for the one that writes
//! (WAL). Reading also works from another process while this one writes.

mod apply;
mod blocks;
mod clock;
mod connection;
mod contents;
mod dead_letters;
mod directory;
mod ledger;
mod listing;
mod migrations;
mod numbers;
mod pg;
mod readers;
mod refusal;
mod sqlite;
mod states;
mod writer;

pub use pg::{Migrated, PostgresOpenError, PostgresOptions, PostgresStore};
pub use sqlite::{OpenError, Options, SqliteStore};
