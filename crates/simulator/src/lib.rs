//! Simulated chargers, thousands per process, each with an offline queue.
//!
//! The promise that no acknowledged message is lost can only be checked by somebody who counts independently. The
//! chargers of this crate follow the standard (boot, back-off, an offline queue for transaction messages, resends), and
//! write into a ledger file what each of them sent and was answered.
//!
//! - [`charger::Charger`] decides. It is one charger without socket and clock: `handle_*` takes events in,
//!   `poll_output` gives outputs. By itself a charger of OCPP 2.1 sends what 2.1 shares with 2.0.1; it answers all
//!   commands of its version.
//! - [`Fleet`] does the I/O: one task per charger with its socket, timer and queue file.
//! - [`ledger`] is the format of the ledger file; [`audit`] compares it with the exports of a central system.

pub mod audit;
pub mod charger;
pub mod command_fault;
pub mod config;
pub mod fleet;
mod handshake;
pub mod latency;
pub mod ledger;
mod queue_file;
mod runner;
pub mod settings;
pub mod stats;
mod stats_collector;
pub mod timestamp;

pub use command_fault::CommandFault;
pub use config::{FleetConfig, ResendIds, Scenario, VersionMix};
pub use fleet::{Fleet, StartError};
pub use latency::Latency;
pub use stats::{FleetReport, FleetStats};
pub use timestamp::TimestampUs;
