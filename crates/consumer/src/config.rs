//! The consumer's settings: section `[consumer]` of `wattpost.toml`.

use central::ports::CollectBounds;
use common::settings::{Section, SettingError};
use serde::{Deserialize, Serialize};
use std::time::Instant;

const CONSUMER: Section = Section("consumer");

/// How records are collected from RabbitMQ and applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Maximum number of batches that wait while one is applied; further deliveries wait. Default 2.
    pub queue_batches_max: usize,
    /// Unix niceness of the thread that applies records, 0 (normal priority) to 19. Used only where the process
    /// is also a gateway: chargers wait for their answers, but no one waits for the database. Default 10.
    pub niceness: u8,
    /// Maximum number of records in one transaction. Default 4,000: merging changes per row saves most when
    /// there is a backlog, and two such batches fit into a few MiB. The next batch can be collected while one
    /// is applied only if `broker.prefetch`, summed over the partitions, is at least twice this.
    pub batch_records_max: usize,
    /// Maximum size of one transaction in bytes; a single record may exceed it. Default 4 MiB.
    pub batch_bytes_max: usize,
    /// A batch that is not full waits until this time after the one before it, in milliseconds; after a pause, up to
    /// eight batches do not wait. Default 20: under load it saves the database a commit for every few records.
    pub batch_age_ms: u64,
    /// First delay in milliseconds before a retry after RabbitMQ or the database was unavailable. It doubles up
    /// to `retry_ms_max`, with jitter. Default 50.
    pub retry_ms_min: u64,
    /// Maximum delay between two retries, in milliseconds. Default 2,000: a retry costs little, and records
    /// wait for it.
    pub retry_ms_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            queue_batches_max: 2,
            niceness: 10,
            batch_records_max: 4_000,
            batch_bytes_max: 4 << 20,
            batch_age_ms: 20,
            retry_ms_min: 50,
            retry_ms_max: 2_000,
        }
    }
}

impl Config {
    /// Validates the settings.
    ///
    /// # Errors
    /// The first setting that cannot work, with the values that would.
    pub fn check(&self) -> Result<(), SettingError> {
        CONSUMER.at_least("batch_records_max", self.batch_records_max, 1)?;
        CONSUMER.at_least("batch_bytes_max", self.batch_bytes_max, 4_096)?;
        let reason = "RabbitMQ waits for acknowledgements";
        CONSUMER.at_most("batch_age_ms", self.batch_age_ms, 60_000, reason)?;
        CONSUMER.at_least("retry_ms_min", self.retry_ms_min, 1)?;
        CONSUMER.at_least("retry_ms_max", self.retry_ms_max, self.retry_ms_min)
    }

    pub(crate) const fn bounds(&self, not_before: Instant) -> CollectBounds {
        CollectBounds {
            records_max: self.batch_records_max,
            bytes_max: self.batch_bytes_max,
            not_before,
        }
    }
}
