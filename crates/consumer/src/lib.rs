//! The clerk: applies each record once in effect.
//!
//! Between the road (today the journal's forwarder) and the ledger. Writing to a database blocks, so
//! it has a thread of its own, which lends its hands to one batch at a time: decode, project, write,
//! all in one transaction of the [`central::ports::Store`]. What cannot be read becomes a dead letter
//! with its reason; a database that is away is told to the one who delivers, who tries again.

mod applier;
mod batch;
mod config;
mod consumer;
mod dead;
mod health;

pub use applier::Applier;
pub use config::Config;
pub use consumer::{Consumer, ConsumerDeps, Ping};
pub use dead::{Retried, retry_dead_letter};
