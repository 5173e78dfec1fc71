//! The consumer's settings: section `[consumer]` of `wattpost.toml`.

use central::ports::CollectBounds;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How records are applied, and how they are collected from RabbitMQ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Batches that wait while one is applied; whoever delivers more waits. Default 2.
    pub queue_batches_max: usize,
    /// How far the thread stands back behind others on a busy machine, as a Unix niceness from 0 (not
    /// at all) to 19. Chargers wait for their answers, nobody waits for the ledger. Default 10. Only where the
    /// process is a gateway too.
    pub niceness: u8,
    /// Records collected from RabbitMQ for one transaction at most. Default 4,000: what is merged per row
    /// pays most when there is much to catch up with, and two such batches fit into a few MiB. While one is
    /// applied the next can only be collected if `broker.prefetch`, summed over the partitions, is twice this.
    pub batch_records_max: usize,
    /// Bytes collected from RabbitMQ for one transaction at most; one record may be longer. Default 4 MiB.
    pub batch_bytes_max: usize,
    /// Milliseconds that a batch that is not full waits for more. Default 20: it spares the database a
    /// commit for every few records, and nobody waits for the ledger.
    pub batch_age_ms: u64,
    /// First pause after RabbitMQ or the database was found away, in milliseconds; doubles up to
    /// `retry_max_ms`, with jitter. Default 50.
    pub retry_min_ms: u64,
    /// Longest pause between two looks whether RabbitMQ or the database is back, in milliseconds. Default
    /// 2,000: records wait for it, and a look costs next to nothing.
    pub retry_max_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            queue_batches_max: 2,
            niceness: 10,
            batch_records_max: 4_000,
            batch_bytes_max: 4 << 20,
            batch_age_ms: 20,
            retry_min_ms: 50,
            retry_max_ms: 2_000,
        }
    }
}

impl Config {
    /// What is wrong with these settings, if anything: the key, the value and what would be right.
    ///
    /// # Errors
    /// With one sentence about the first setting that cannot work.
    pub fn check(&self) -> Result<(), String> {
        let at_least = |key: &str, value: u64, least: u64| {
            if value < least {
                return Err(format!(
                    "consumer.{key} is {value}, but must be {least} or more"
                ));
            }
            Ok(())
        };
        at_least("batch_records_max", self.batch_records_max as u64, 1)?;
        at_least("batch_bytes_max", self.batch_bytes_max as u64, 4_096)?;
        if self.batch_age_ms > 60_000 {
            return Err(format!(
                "consumer.batch_age_ms is {}, but must be 60000 or less: RabbitMQ waits for acknowledgements",
                self.batch_age_ms
            ));
        }
        at_least("retry_min_ms", self.retry_min_ms, 1)?;
        at_least("retry_max_ms", self.retry_max_ms, self.retry_min_ms)
    }

    pub(crate) const fn bounds(&self) -> CollectBounds {
        CollectBounds {
            records_max: self.batch_records_max,
            bytes_max: self.batch_bytes_max,
            age_max: Duration::from_millis(self.batch_age_ms),
        }
    }
}
