//! The RabbitMQ settings: section `[broker]`.

use common::settings::{Section, SettingError};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

const BROKER: Section = Section("broker");

/// Settings of the RabbitMQ connection, the same in every process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and credentials: `amqp://USER:PASSWORD@HOST:PORT/VHOST` or `amqps://…`, the virtual host
    /// percent-encoded (`%2f` is the default one). For a cluster a comma-separated list of its nodes, which are
    /// tried in turn. Default: `amqp://guest:guest@127.0.0.1:5672/%2f`.
    pub url: String,
    /// Number of partitions of the records, 1 to 256; the same in every process. All records of a charger are
    /// in one partition, which has one active consumer. Default: 8.
    pub partitions: u16,
    /// Maximum number of records in a partition's queue, 1,000 to 1,000,000,000. A full queue refuses records,
    /// which then wait in the journals. Fixed when the queue is declared (docs/messages.md). Default:
    /// 2,000,000.
    pub queue_records_max: u64,
    /// Maximum number of deliveries of a record before RabbitMQ dead-letters it, 20 to 1,000,000,000. Each
    /// consumer or connection that ends before the acknowledgement costs one. Fixed when the queue is declared.
    /// Default: 10,000.
    pub delivery_limit: u32,
    /// Timeout of a publisher confirm in milliseconds, after which the connection counts as failed; 100 to
    /// 600,000. Default: 2,000.
    pub confirm_timeout_ms: u64,
    /// Timeout of connecting and declaring everything, in milliseconds; 3,000 to 600,000. Default: 10,000.
    pub connect_timeout_ms: u64,
    /// Number of unacknowledged records per partition that RabbitMQ sends to a consumer, 1 to 65,535. A
    /// consumer may hold that many from each partition, from the unroutable queue and from the dead-letter
    /// queue: by default 10,000 records, about 10 MB of `MeterValues`, and at most 10 GB if each is as long as
    /// the longest frame (1 MiB). Lower it where chargers send such frames. Default: 1,000, so that the
    /// consumer's next batch of 4,000 arrives while the last one is applied.
    pub prefetch: u16,
    /// Interval of AMQP heartbeats in seconds, 1 to 600. Default: 10.
    pub heartbeat_s: u16,
    /// First delay before a reconnect in milliseconds, 10 to 60,000. It doubles with each attempt, with jitter.
    /// Default: 200.
    pub retry_ms_min: u64,
    /// Maximum delay before a reconnect in milliseconds, at least `retry_ms_min` and at most 600,000.
    /// Reconnecting never ends. Default: 5,000.
    pub retry_ms_max: u64,
    /// A PEM file with the certificate authorities that RabbitMQ's certificate is verified against, for
    /// `amqps`. Default: those of the operating system.
    pub ca_file: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: "amqp://guest:guest@127.0.0.1:5672/%2f".into(),
            partitions: 8,
            queue_records_max: 2_000_000,
            delivery_limit: 10_000,
            confirm_timeout_ms: 2_000,
            connect_timeout_ms: 10_000,
            prefetch: 1_000,
            heartbeat_s: 10,
            retry_ms_min: 200,
            retry_ms_max: 5_000,
            ca_file: None,
        }
    }
}

impl Config {
    /// Validates the settings; makes no connection.
    ///
    /// # Errors
    /// The first setting that cannot work, with the permitted values.
    pub fn check(&self) -> Result<(), SettingError> {
        BROKER.within("partitions", self.partitions, 1, 256)?;
        BROKER.within(
            "queue_records_max",
            self.queue_records_max,
            1_000,
            1_000_000_000,
        )?;
        BROKER.within("delivery_limit", self.delivery_limit, 20, 1_000_000_000)?;
        BROKER.within("confirm_timeout_ms", self.confirm_timeout_ms, 100, 600_000)?;
        BROKER.within(
            "connect_timeout_ms",
            self.connect_timeout_ms,
            3_000,
            600_000,
        )?;
        BROKER.within("prefetch", self.prefetch, 1, u16::MAX)?;
        BROKER.within("heartbeat_s", self.heartbeat_s, 1, 600)?;
        BROKER.within("retry_ms_min", self.retry_ms_min, 10, 60_000)?;
        BROKER.within(
            "retry_ms_max",
            self.retry_ms_max,
            self.retry_ms_min,
            600_000,
        )
    }

    pub(crate) const fn confirm_timeout(&self) -> Duration {
        Duration::from_millis(self.confirm_timeout_ms)
    }

    pub(crate) const fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }
}
