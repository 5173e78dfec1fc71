//! The clerk: applies each record once in effect.
//!
//! Between the road and the ledger. Writing to a database blocks, so it has a thread of its own (the
//! [`Applier`]), which lends its hands to one batch at a time: decode, project, write, all in one
//! transaction of the [`central::ports::Store`]. What cannot be read becomes a dead letter with its
//! reason; a database that is away is told to the one who delivers, who tries again.
//!
//! Who delivers is the gateway's forwarder, where gateway and database are one process or RabbitMQ is away;
//! or the [`Consumer`], which collects from RabbitMQ.

mod applier;
mod batch;
mod config;
mod consumer;
mod dead;
mod health;
mod maintenance;
mod stage;
mod work;

pub use applier::Applier;
pub use config::Config;
pub use consumer::{Consumer, ConsumerDeps, Ping};
pub use dead::{Retried, retry_dead_letter};
pub use maintenance::{Maintenance, Round};
