//! The other side: chargers by the thousand, with a real offline queue.
//!
//! Whoever promises that no acknowledged message is lost needs somebody who keeps count. This crate
//! is that somebody: chargers that behave as the standard wants them (boot, back-off, an offline
//! queue for what must not be lost, resends), and a ledger of what each of them was told.
//!
//! - [`charger::Charger`] decides: one charger without socket and clock. `handle_*` brings the world
//!   in, `poll_output` takes decisions out. Chargers of 2.1 say what 2.1 shares with 2.0.1.
//! - [`Fleet`] waits: one task per charger that hands sockets, timers and disk to its charger.
//! - [`ledger`] is what the fleet writes down, [`audit`] compares it with what the other side
//!   exports.

pub mod audit;
pub mod charger;
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

pub use config::{FleetConfig, ResendIds, Scenario, VersionMix};
pub use fleet::{Fleet, StartError};
pub use latency::Latency;
pub use stats::{FleetReport, FleetStats};
pub use timestamp::TimestampUs;
