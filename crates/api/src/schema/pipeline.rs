//! The state of the pipeline.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// Where messages are between chargers and the database. What is not known is null, and `unknown` has the reason.
#[derive(Serialize, ToSchema)]
pub(crate) struct Pipeline {
    /// For when it is made.
    #[schema(format = DateTime)]
    as_of: String,
    /// Whether there is RabbitMQ between the journal and the database.
    has_broker: bool,
    /// By how many milliseconds at most the database is behind the messages that were acknowledged to chargers; null if that is
    /// not known.
    lag_ms: Option<i64>,
    /// The parts, in the order in which a message passes them.
    parts: Vec<PipelinePart>,
    /// The processes.
    processes: Vec<PipelineProcess>,
    /// The positions of each gateway's records.
    watermarks: Vec<Watermarks>,
    balance: Balance,
}

/// A part of the pipeline.
#[derive(Serialize, ToSchema)]
pub(crate) struct PipelinePart {
    /// `chargers`, `gateways`, `journal`, `rabbitmq`, `bypass`, `consumers` or `database`. Without RabbitMQ there are
    /// `chargers`, `gateways`, `journal` and `database`.
    part: String,
    /// `works`; `degraded`: it works, but one of its processes does not; `down`; `idle`: it works and is not in use;
    /// `unknown`: no process reports it.
    state: PipelineState,
    /// The state in words.
    detail: String,
    /// Since when it has this state.
    #[schema(format = DateTime)]
    since: Option<String>,
    /// Records that come in per second.
    in_per_s: Option<f64>,
    /// Records that go out per second.
    out_per_s: Option<f64>,
    /// Records that wait in it.
    waiting_records: Option<i64>,
    /// Their bytes.
    waiting_bytes: Option<i64>,
    /// The age of the oldest of them, in seconds.
    oldest_waiting_s: Option<i64>,
    /// In how many seconds it is full at the present rate.
    full_in_s: Option<i64>,
    /// Its processes that do not work, those that have not for longest first: why it is `degraded` or `down`. One process
    /// can be in several parts.
    faults: Vec<PipelineFault>,
    /// The last fault that a process which runs has seen since its start; null if none was seen.
    last_error: Option<PipelineError>,
    /// The versions of Wattpost of its processes.
    versions: Vec<String>,
    /// Why members are null, by their names.
    unknown: std::collections::BTreeMap<String, String>,
}

/// The state of a part.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PipelineState {
    Works,
    Degraded,
    Down,
    Idle,
    Unknown,
}

/// A process that does not work, in a part that is made of it.
#[derive(Serialize, ToSchema)]
pub(crate) struct PipelineFault {
    /// The `id` of the process.
    process_id: Uuid,
    /// Its `name`.
    process_name: String,
    /// Whether it does not report; else it reports that it does not work, or it was stopped and left records behind.
    is_gone: bool,
    /// Since when; of one that does not report or does not run, when it reported last.
    #[schema(format = DateTime)]
    since: String,
    /// What is wrong.
    detail: String,
}

/// A fault.
#[derive(Serialize, ToSchema)]
pub(crate) struct PipelineError {
    /// When it was seen last.
    #[schema(format = DateTime)]
    at: String,
    /// What was wrong.
    detail: String,
}

/// A process of Wattpost.
#[derive(Serialize, ToSchema)]
pub(crate) struct PipelineProcess {
    /// The gateway's id; a random one for a process without a gateway.
    id: Uuid,
    /// Its name in sentences: role and machine, such as `gateway on depot-1`; with the end of its id where another process has
    /// the same.
    name: String,
    /// What it does.
    role: PipelineRole,
    /// The name of its machine.
    host: String,
    /// Its version.
    version: String,
    /// `running`; `gone`: it has not reported for 20 seconds; `stopped`: in order; `retired`: by an operator.
    state: ProcessState,
    /// When it started, by its clock.
    #[schema(format = DateTime)]
    started_at: String,
    /// When it reported last, by the clock of the process that answers. Until it reports again, this is one value.
    #[schema(format = DateTime)]
    reported_at: String,
    /// How long ago it reported last, in milliseconds.
    reported_ms_ago: i64,
    /// Its parts at that time.
    parts: Vec<ProcessPart>,
    /// Where its gateway listens for chargers, each as `ADDRESS:PORT`; empty without one. A proxy or a container may give
    /// chargers another address.
    listeners: Vec<String>,
}

/// What a process does.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PipelineRole {
    Serve,
    Gateway,
    Consumer,
    Api,
}

/// Whether a process runs.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ProcessState {
    Running,
    Gone,
    Stopped,
    Retired,
}

/// A part of a process.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProcessPart {
    /// Its name, as in `/health/ready`.
    part: String,
    /// Whether it works.
    up: bool,
    /// What is wrong, or a short description.
    detail: String,
    /// Since when `up` has this value.
    #[schema(format = DateTime)]
    since: String,
}

/// The positions of one gateway's records, as sequence numbers.
#[derive(Serialize, ToSchema)]
pub(crate) struct Watermarks {
    gateway_id: Uuid,
    /// Whether the gateway runs.
    state: ProcessState,
    /// Written to the journal's file.
    written: i64,
    /// Durable in the journal: acknowledged to chargers.
    durable: i64,
    /// Confirmed by RabbitMQ, or stored directly.
    confirmed: i64,
    /// Every record up to here is stored in the database.
    stored: Option<i64>,
    /// Records in its journal that are not delivered.
    undelivered: i64,
    /// Why `stored` is null.
    unknown: std::collections::BTreeMap<String, String>,
}

/// `acknowledged = stored + dead_letters + journal + rabbitmq + difference`, in records of the gateways in `watermarks`.
#[derive(Serialize, ToSchema)]
pub(crate) struct Balance {
    /// Durable: chargers have their answers.
    acknowledged: Option<i64>,
    /// Of these, stored in the database.
    stored: Option<i64>,
    /// Kept as dead letters.
    dead_letters: Option<i64>,
    /// In a journal and not delivered.
    journal: Option<i64>,
    /// Confirmed by RabbitMQ and not stored yet.
    rabbitmq: Option<i64>,
    /// Confirmed a minute ago or earlier, not stored, and not in RabbitMQ's queues: nothing explains where they are.
    difference: Option<i64>,
    /// Since when `difference` is not 0; null while it is.
    #[schema(format = DateTime)]
    unexplained_since: Option<String>,
    /// Why members are null, by their names.
    unknown: std::collections::BTreeMap<String, String>,
}
