//! The answer of `GET /api/v1/pipeline`: its objects, as the API writes them.

use crate::model::ProcessRole;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The answer of `GET /api/v1/pipeline`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pipeline {
    /// For when it is made.
    pub as_of: String,
    /// Whether there is RabbitMQ between the journal and the database.
    pub has_broker: bool,
    /// By how many milliseconds at most the database is behind what chargers were answered for; null if not known.
    pub lag_ms: Option<i64>,
    /// The parts, in the order in which a message passes them.
    pub parts: Vec<Part>,
    /// The processes.
    pub processes: Vec<Process>,
    /// The positions of each gateway's records.
    pub watermarks: Vec<Watermarks>,
    /// Whether every acknowledged message is accounted for.
    pub balance: Balance,
}

/// The state of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartState {
    /// It works.
    Works,
    /// It works, but one of its processes does not.
    Degraded,
    /// It does not work.
    Down,
    /// It works and is not in use: the bypass while RabbitMQ works.
    Idle,
    /// Nothing is known of it.
    Unknown,
}

/// A part of the pipeline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    /// `chargers`, `gateways`, `journal`, `rabbitmq`, `bypass`, `consumers` or `database`.
    pub part: &'static str,
    /// Its state.
    pub state: PartState,
    /// The state in words.
    pub detail: String,
    /// Since when it has this state.
    pub since: Option<String>,
    /// Records that come in per second.
    pub in_per_s: Option<f64>,
    /// Records that go out per second.
    pub out_per_s: Option<f64>,
    /// Records that wait in it.
    pub waiting_records: Option<u64>,
    /// Their bytes.
    pub waiting_bytes: Option<u64>,
    /// The age of the oldest of them, in seconds.
    pub oldest_waiting_s: Option<u64>,
    /// In how many seconds it is full at the present rate.
    pub full_in_s: Option<u64>,
    /// Its processes that do not work, those that have not for longest first: why it is degraded or down.
    pub faults: Vec<PartFault>,
    /// The last fault that a process which runs has seen.
    pub last_error: Option<LastError>,
    /// The versions of Wattpost of its processes.
    pub versions: Vec<String>,
    /// Why members are null.
    pub unknown: BTreeMap<&'static str, String>,
}

/// A process that does not work, in a part that is made of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartFault {
    /// The id of the process.
    pub process_id: String,
    /// Its name, as [`Process`] has it.
    pub process_name: String,
    /// Whether it does not report.
    pub is_gone: bool,
    /// Since when; of one that does not report, when it reported last.
    pub since: String,
    /// What is wrong.
    pub detail: String,
}

/// The last fault of a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastError {
    /// When it was seen last.
    pub at: String,
    /// What was wrong.
    pub detail: String,
}

/// Whether a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessState {
    /// It reports.
    Running,
    /// It has not reported for 20 seconds.
    Gone,
    /// It has stopped in order.
    Stopped,
    /// It is a gateway that an operator has retired.
    Retired,
}

/// A process of Wattpost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Process {
    /// The gateway's id, or a random one.
    pub id: String,
    /// Its name in sentences: role and machine, with the end of its id where another process has the same.
    pub name: String,
    /// What it does.
    pub role: ProcessRole,
    /// The name of its machine.
    pub host: String,
    /// Its version.
    pub version: String,
    /// Whether it runs.
    pub state: ProcessState,
    /// When it started, by its clock.
    pub started_at: String,
    /// When it reported last, by the clock of the process that answers.
    pub reported_at: String,
    /// How long ago it reported last, in milliseconds.
    pub reported_ms_ago: i64,
    /// Its parts at that time.
    pub parts: Vec<ProcessPart>,
    /// Where its gateway listens for chargers, each as `ADDRESS:PORT`; empty without one.
    pub listeners: Vec<String>,
}

/// A part of a process.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProcessPart {
    /// Its name, as in `/health/ready`.
    pub part: String,
    /// Whether it works.
    pub up: bool,
    /// What is wrong, or a short description.
    pub detail: String,
    /// Since when `up` has this value.
    pub since: String,
}

/// The positions of one gateway's records. They are sequence numbers: each counts all records of the gateway so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Watermarks {
    /// The gateway.
    pub gateway_id: String,
    /// Whether it runs.
    pub state: ProcessState,
    /// Written to the journal's file.
    pub written: u64,
    /// Durable in the journal: acknowledged to chargers.
    pub durable: u64,
    /// Confirmed by RabbitMQ, or stored directly.
    pub confirmed: u64,
    /// Every record up to here is stored; null if not known.
    pub stored: Option<u64>,
    /// Records in its journal that are not delivered.
    pub undelivered: u64,
    /// Why `stored` is null.
    pub unknown: BTreeMap<&'static str, String>,
}

/// `acknowledged = stored + dead_letters + journal + rabbitmq + difference`, over all records of the gateways that are
/// shown. Each gateway's journal records count too, such as connects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Balance {
    /// Records that are durable: chargers have their answers.
    pub acknowledged: Option<u64>,
    /// Of these, stored in the database.
    pub stored: Option<u64>,
    /// Kept as dead letters.
    pub dead_letters: Option<u64>,
    /// In a journal and not delivered.
    pub journal: Option<u64>,
    /// Confirmed by RabbitMQ and not stored yet.
    pub rabbitmq: Option<u64>,
    /// Confirmed a minute ago or earlier, not stored, and not in RabbitMQ's queues: nothing explains where they are.
    pub difference: Option<u64>,
    /// Since when `difference` is not 0.
    pub unexplained_since: Option<String>,
    /// Why members are null.
    pub unknown: BTreeMap<&'static str, String>,
}
