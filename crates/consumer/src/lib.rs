//! The consumer: applies each record to the database, once in effect.
//!
//! Writing to a database blocks, so the [`Applier`] has its own thread. It handles one batch at a time: decode,
//! project and write, in one transaction of the [`central::ports::Store`]. A record that cannot be decoded becomes
//! a dead letter with its reason. When the database is unavailable, the caller gets the error and retries.
//!
//! The caller is the gateway's forwarder, if gateway and database are in one process or RabbitMQ is unavailable;
//! otherwise it is the [`Consumer`], which collects from RabbitMQ. [`replay()`] applies the records of one database to
//! another.

mod applier;
mod batch;
mod config;
mod consume_loop;
mod consumer;
mod database_health;
mod dead_letters;
mod event_task;
mod local_lists;
mod maintenance;
mod metrics;
mod replay;
mod state;

pub use self::metrics::METRICS;
pub use applier::Applier;
pub use config::Config;
pub use consumer::{Consumer, ConsumerDeps, Ping};
pub use dead_letters::LetterRetry;
pub use event_task::EventTask;
pub use local_lists::{LocalListDeps, LocalListTask};
pub use maintenance::{MaintenanceTask, Round, RoundDone};
pub use replay::{
    ReplayError, ReplaySource, ReplayTarget, Replayed, begin_replay, copy_rows, empty_queue,
    finish_replay, replay, replay_records,
};
