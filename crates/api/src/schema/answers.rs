//! What answers of every kind share: pages, health, problems.

use super::PipelineRole;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

/// A page of a list.
#[derive(Serialize, ToSchema)]
pub(crate) struct Page<T> {
    items: Vec<T>,
    /// The `cursor` of the next page; null at the end.
    next: Option<String>,
    /// For when the answer is. Absent where the header `Wattpost-As-Of` says so alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    as_of: Option<String>,
    /// By how many milliseconds at most the database was behind what chargers were answered for; null if that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    lag_ms: Option<i64>,
    /// Whether the database is unavailable and this is an earlier answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    stale: Option<bool>,
    /// Why it is stale; null if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    stale_because: Option<String>,
}

/// The answer of `/health/live`.
#[derive(Serialize, ToSchema)]
pub(crate) struct Live {
    live: bool,
}

/// The answer of `/health/ready`.
#[derive(Serialize, ToSchema)]
pub(crate) struct Ready {
    /// Whether the process can do new work.
    ready: bool,
    parts: Vec<Part>,
}

/// The answer of `/health`.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    /// `works`; `degraded`: a part does not work, and the process does new work without it; `not_ready`.
    status: HealthStatus,
    /// Whether the process can do new work, as in `/health/ready`.
    ready: bool,
    process: Option<HealthProcess>,
    parts: Vec<HealthPart>,
}

/// The state of a process.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HealthStatus {
    Works,
    Degraded,
    NotReady,
}

/// Which process answers.
#[derive(Serialize, ToSchema)]
pub(crate) struct HealthProcess {
    /// The gateway's id, or a random one for a process without a gateway.
    id: Uuid,
    role: PipelineRole,
    /// The name of its machine.
    host: String,
    version: String,
    /// When it started, by its clock.
    #[schema(format = DateTime)]
    started_at: String,
}

/// A fault of a part.
#[derive(Serialize, ToSchema)]
pub(crate) struct HealthError {
    /// When it was seen last.
    #[schema(format = DateTime)]
    at: String,
    detail: String,
}

/// A part of the process, with figures.
#[derive(Serialize, ToSchema)]
pub(crate) struct HealthPart {
    part: String,
    up: bool,
    /// Whether the process can do new work, as far as this part is concerned.
    ready: bool,
    /// What is wrong, or a short description.
    detail: String,
    /// Since when `up` has this value; null if it is not known.
    #[schema(format = DateTime)]
    since: Option<String>,
    /// The last fault since the start of the process.
    last_error: Option<HealthError>,
    /// Figures by name; null is not known. A name ends in its unit. Absent if there are none.
    #[schema(value_type = Option<std::collections::BTreeMap<String, Option<f64>>>)]
    figures: Option<Value>,
}

/// The health of a part of the process.
#[derive(Serialize, ToSchema)]
pub(crate) struct Part {
    part: String,
    up: bool,
    /// Whether the process can do new work, as far as this part is concerned.
    ready: bool,
    /// What is wrong, or a short description.
    detail: String,
}

/// The answer of `/`.
#[derive(Serialize, ToSchema)]
pub(crate) struct Index {
    name: String,
    version: String,
    endpoints: Vec<Endpoint>,
}

/// A route.
#[derive(Serialize, ToSchema)]
pub(crate) struct Endpoint {
    path: String,
    what: String,
}

/// An error (RFC 9457).
#[derive(Serialize, ToSchema)]
pub(crate) struct Problem {
    /// The address of the description of `code`.
    r#type: String,
    title: String,
    status: u16,
    /// A sentence for people.
    detail: String,
    /// The path of the request.
    instance: String,
    /// For programs; it does not change between versions.
    code: String,
    /// Whether the same request may succeed later.
    retryable: bool,
    /// As in the header `X-Request-Id`.
    request_id: String,
    /// The faults of the request.
    errors: Vec<Fault>,
    /// Of `charger_offline`: the address of the command, which is stored as not sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
}

/// A fault of a request.
#[derive(Serialize, ToSchema)]
pub(crate) struct Fault {
    /// `?NAME` for a query parameter, else a JSON pointer into the body.
    pointer: String,
    code: String,
    detail: String,
}
