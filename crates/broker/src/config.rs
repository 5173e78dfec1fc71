//! The operator's RabbitMQ settings: section `[broker]`.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// Settings of the RabbitMQ connection. The same in every process that uses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where RabbitMQ is: `amqp://USER:PASSWORD@HOST:PORT/VHOST` or `amqps://…`, the virtual host
    /// percent-encoded (`%2f` is the default one); or several of them with commas between, the
    /// nodes of one cluster, tried in turn. Default: `amqp://guest:guest@127.0.0.1:5672/%2f`.
    pub url: String,
    /// Partitions of the records, 1 to 256. All records of a charger are in one, and one consumer
    /// at a time is at work on it. The same in every process. Default: 8.
    pub partitions: u16,
    /// Records at most in one partition's queue; beyond it RabbitMQ refuses and records wait in the
    /// journals. 1,000 to 1,000,000,000. Fixed when the queue is made (docs/messages.md). Default:
    /// 2,000,000.
    pub queue_records_max: u64,
    /// Deliveries of one record before RabbitMQ gives it up and puts it among the dead; 20 to
    /// 1,000,000,000. Each death of a consumer, each end of its connection counts one. Fixed when
    /// the queue is made. Default: 10,000.
    pub delivery_limit: u32,
    /// How long a confirm of RabbitMQ may take before the connection counts as dead, in
    /// milliseconds; 100 to 600,000. Default: 2,000.
    pub confirm_timeout_ms: u64,
    /// How long connecting, with all that is declared then, may take, in milliseconds; 3,000 to
    /// 600,000. Default: 10,000.
    pub connect_timeout_ms: u64,
    /// Records sent ahead to a consumer per partition; 1 to 65,535. A consumer may hold as many
    /// from each partition and from the queues of the unroutable and the dead: with the default,
    /// 10,000 records, some 10 MB of `MeterValues`; in the worst case, each as long as a frame of a
    /// charger may be (1 MiB), 10 GB. Lower it where chargers send such. Default: 1,000, so that a
    /// batch of the consumer's 4,000 comes in while the last is applied.
    pub prefetch: u16,
    /// Seconds between signs of life on the connection; 1 to 600. Default: 10.
    pub heartbeat_s: u16,
    /// First pause before connecting again, in milliseconds; 10 to 60,000. It doubles each time,
    /// with jitter. Default: 200.
    pub retry_min_ms: u64,
    /// Longest pause before connecting again, in milliseconds; at least `retry_min_ms`, at most
    /// 600,000. Connecting never ends. Default: 5,000.
    pub retry_max_ms: u64,
    /// A file with the certificates (PEM) of the authorities that may vouch for RabbitMQ, for
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
            retry_min_ms: 200,
            retry_max_ms: 5_000,
            ca_file: None,
        }
    }
}

impl Config {
    /// Validates the settings; makes no connection.
    ///
    /// # Errors
    /// One sentence with the key, its value and the permitted values.
    pub fn check(&self) -> Result<(), String> {
        within("partitions", self.partitions, 1, 256)?;
        within(
            "queue_records_max",
            self.queue_records_max,
            1_000,
            1_000_000_000,
        )?;
        within("delivery_limit", self.delivery_limit, 20, 1_000_000_000)?;
        within("confirm_timeout_ms", self.confirm_timeout_ms, 100, 600_000)?;
        within(
            "connect_timeout_ms",
            self.connect_timeout_ms,
            3_000,
            600_000,
        )?;
        within("prefetch", self.prefetch, 1, u16::MAX)?;
        within("heartbeat_s", self.heartbeat_s, 1, 600)?;
        within("retry_min_ms", self.retry_min_ms, 10, 60_000)?;
        within(
            "retry_max_ms",
            self.retry_max_ms,
            self.retry_min_ms,
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

fn within<T: PartialOrd + std::fmt::Display>(
    key: &str,
    value: T,
    min: T,
    max: T,
) -> Result<(), String> {
    if value < min || value > max {
        return Err(format!(
            "broker.{key} is {value}; it must be from {min} to {max}"
        ));
    }
    Ok(())
}
