//! What a process of Wattpost reports of itself, so that an API process can show all of them.

use crate::Timestamp;
use crate::record::GatewayId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// How often a process reports, in milliseconds. It also reports at once when one of its parts begins or ceases to work.
pub const PROCESS_REPORT_EVERY_MS: u64 = 5_000;

/// A process that has not reported for so many milliseconds is gone.
pub const PROCESS_SILENT_MS_MAX: i64 = 20_000;

/// For how long a process without a journal is shown after it is gone or has stopped.
pub const PROCESS_SHOWN_MS: i64 = 10 * 60_000;

/// For how long a gateway is shown after it is gone or has stopped with an empty journal. One whose journal has records
/// that are not delivered is shown until they are.
pub const GATEWAY_SHOWN_MS: i64 = 24 * 3_600_000;

/// Characters of a text in a report at most.
const TEXT_CHARS_MAX: usize = 500;

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessRole {
    /// All roles.
    Serve,
    /// Holds chargers' connections.
    Gateway,
    /// Stores records from RabbitMQ.
    Consumer,
    /// Serves the HTTP API.
    Api,
}

/// The report of one process. Its times are of its own clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessReport {
    /// The gateway's id, which a restart keeps; a random one for a process without a gateway.
    pub id: Uuid,
    /// What it does.
    pub role: ProcessRole,
    /// The name of its machine.
    pub host: String,
    /// Its version of Wattpost.
    pub version: String,
    /// When it started.
    pub started_at: Timestamp,
    /// When this was reported.
    pub at: Timestamp,
    /// Whether it has stopped in order: this is its last report.
    pub has_stopped: bool,
    /// The parts of it that can fail.
    pub parts: Vec<PartReport>,
    /// Of a process with a gateway.
    pub gateway: Option<GatewayReport>,
    /// Records from RabbitMQ that it has stored since its start, for a process with a consumer.
    pub consumed_records: Option<u64>,
    /// RabbitMQ's queues, if they were measured within the last seconds.
    pub queues: Option<QueuesReport>,
    /// The figures of [`crate::alert::figures::FIGURES`] that it exports, in thousandths; empty from an older version.
    #[serde(default)]
    pub figures_milli: BTreeMap<String, i64>,
    /// Of a process with a gateway: when it was restarted within the last day after it had been killed or had failed, the
    /// oldest first, 20 at most. A take-over and a start after a stop are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restarts: Vec<Timestamp>,
}

impl ProcessReport {
    /// A figure of the process; `None` if it does not export it.
    #[must_use]
    pub fn figure(&self, key: &str) -> Option<f64> {
        let milli = self.figures_milli.get(key)?;
        Some(*milli as f64 / 1_000.0)
    }

    /// Figures as reports have them. One that is not finite is left out.
    #[must_use]
    pub fn in_milli(figures: &BTreeMap<String, f64>) -> BTreeMap<String, i64> {
        let finite = figures.iter().filter(|(_, value)| value.is_finite());
        finite
            .map(|(key, value)| (key.clone(), (value * 1_000.0).round() as i64))
            .collect()
    }

    /// Records in its journal that are not delivered; 0 without a journal.
    #[must_use]
    pub fn undelivered(&self) -> u64 {
        self.gateway.as_ref().map_or(0, |gateway| {
            gateway.durable.saturating_sub(gateway.delivered)
        })
    }

    /// For how long it is shown after its last report; `None`: until its journal is delivered.
    #[must_use]
    pub fn shown_ms(&self) -> Option<i64> {
        match (&self.gateway, self.undelivered()) {
            (None, _) => Some(PROCESS_SHOWN_MS),
            (Some(_), 0) => Some(GATEWAY_SHOWN_MS),
            (Some(_), _) => None,
        }
    }
}

/// A part of a process that can fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartReport {
    /// Its name, as in `/health/ready`.
    pub part: String,
    /// Whether it works.
    pub up: bool,
    /// What is wrong, or a short description.
    pub detail: String,
    /// Since when `up` has this value, as far as this process has seen.
    pub since: Timestamp,
    /// The last fault that this process has seen.
    pub last_error: Option<PartError>,
}

/// A fault of a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartError {
    /// When it was seen last.
    pub at: Timestamp,
    /// What was wrong.
    pub detail: String,
}

/// The figures of a gateway and its journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayReport {
    /// Its id.
    pub id: GatewayId,
    /// Chargers that are connected.
    pub connected: u64,
    /// The last record written to the journal.
    pub written: u64,
    /// The last record that survives a power cut; up to it, chargers have their answers.
    pub durable: u64,
    /// The last record that was delivered: confirmed by RabbitMQ, or stored in the database.
    pub delivered: u64,
    /// Bytes of records in the journal that are not delivered.
    pub undelivered_bytes: u64,
    /// The bound of these bytes.
    pub bytes_max: u64,
    /// The age of the oldest record that is not delivered, in milliseconds; `None` if there is none.
    pub oldest_age_ms: Option<u64>,
    /// The way from the journal; `None` without RabbitMQ, where records go to the database directly.
    pub route: Option<RouteReport>,
    /// Where it listens for chargers, each as `ADDRESS:PORT`; empty from an older version.
    #[serde(default)]
    pub listeners: Vec<String>,
}

/// Which way records take behind the journal, where there is RabbitMQ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteReport {
    /// Whether records are delivered to the database directly now.
    pub is_direct: bool,
    /// Records delivered through RabbitMQ since the start.
    pub broker_records: u64,
    /// Records delivered directly since the start.
    pub direct_records: u64,
}

/// The queues of RabbitMQ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuesReport {
    /// Records that are ready in all queues. Those that a consumer holds unacknowledged are not among them.
    pub waiting: u64,
    /// Whether every queue with ready records has a consumer.
    pub is_consumed: bool,
    /// When they were measured.
    pub at: Timestamp,
}

/// The text, cut to the length that a report may have.
#[must_use]
pub fn report_text(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
