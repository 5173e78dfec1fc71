//! Batches of commands.

use super::{Command, OcppVersion};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// A batch to be created: `action` with `payload` or `operation` with `parameters`, for `chargers` or a `filter`.
#[derive(Serialize, ToSchema)]
pub(crate) struct NewBatch {
    /// The action of OCPP, in any letter case.
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<String>,
    /// Its payload; `{}` if it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    payload: Option<serde_json::Value>,
    /// The name of an operation, such as `limit`: the last segment of its path.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "reset")]
    operation: Option<String>,
    /// The body of the operation; `{}` if it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    parameters: Option<serde_json::Value>,
    /// Identities, in the order of their turns; at most 20,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    chargers: Option<Vec<String>>,
    /// Selects chargers by what is known of them now.
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<BatchFilter>,
    /// Commands that are under way at once: 1 to 500; default 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    at_once: Option<u32>,
    /// Commands that are started each second: 1 to 200; default 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    per_second: Option<u32>,
    /// Halts when this number of chargers has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_after_failures: Option<u32>,
    /// Halts when this share of the finished chargers has failed and at least 10 have finished: 1 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_at_failed_percent: Option<u32>,
    /// `fail` (the default: a charger that is not connected when its turn comes has failed) or `wait`.
    #[serde(skip_serializing_if = "Option::is_none")]
    when_offline: Option<String>,
    /// No command is started at or after this time: within 30 days; default one day.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// How long each charger may take to answer: 1,000 to 600,000; default 30,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer_within_ms: Option<u32>,
}

/// Selects the chargers of a batch; `{}` selects all.
#[derive(Serialize, ToSchema)]
pub(crate) struct BatchFilter {
    #[serde(skip_serializing_if = "Option::is_none")]
    online: Option<bool>,
    /// A part of the identity, in any letter case.
    #[serde(skip_serializing_if = "Option::is_none")]
    q: Option<String>,
    /// The `id` of a site.
    #[serde(skip_serializing_if = "Option::is_none")]
    site: Option<String>,
    /// A group of chargers, exactly.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ocpp_version: Option<OcppVersion>,
    /// As the latest BootNotification says, as the next two.
    #[serde(skip_serializing_if = "Option::is_none")]
    vendor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    firmware: Option<String>,
}

/// A batch.
#[derive(Serialize, ToSchema)]
pub(crate) struct Batch {
    id: Uuid,
    /// `running`, `paused`, `halted` (by its stop rule), `cancelled` or `done`.
    state: String,
    /// Why it has this state; empty if there is nothing to say.
    detail: String,
    /// With `payload`; or else it has `operation` and `parameters`.
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    payload: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    parameters: Option<serde_json::Value>,
    at_once: u32,
    per_second: u32,
    stop_after_failures: Option<u32>,
    stop_at_failed_percent: Option<u32>,
    /// `fail` or `wait`.
    when_offline: String,
    answer_within_ms: u32,
    /// No command is started at or after this time.
    #[schema(format = DateTime)]
    expires_at: String,
    /// The `traceparent` of the request that created it, which its commands have (W3C Trace Context).
    traceparent: Option<String>,
    /// The number of its chargers.
    total: u64,
    counts: BatchCounts,
    #[schema(format = DateTime)]
    created_at: String,
    /// Who created it.
    by: String,
}

/// How many chargers of a batch are in each state.
#[derive(Serialize, ToSchema)]
pub(crate) struct BatchCounts {
    pending: u64,
    started: u64,
    succeeded: u64,
    failed: u64,
    not_started: u64,
}

/// A charger of a batch.
#[derive(Serialize, ToSchema)]
pub(crate) struct BatchItem {
    charger_id: String,
    /// `pending`, `started`, `succeeded`, `failed` or `not_started`.
    state: String,
    /// Why it has this state; empty if there is nothing to say.
    detail: String,
    /// Null until its turn has come, or if no command could be made.
    command: Option<Command>,
}

/// What a batch would do.
#[derive(Serialize, ToSchema)]
pub(crate) struct DryRun {
    /// The number of selected chargers.
    total: u64,
    /// How many of them would get no command.
    refused: u64,
    /// The first 1,000 of them.
    chargers: Vec<DryRunCharger>,
}

/// What a charger of a batch would get.
#[derive(Serialize, ToSchema)]
pub(crate) struct DryRunCharger {
    charger_id: String,
    online: bool,
    ocpp_version: Option<OcppVersion>,
    /// The action that it would get; null if there is a problem.
    action: Option<String>,
    /// Why it would get no command.
    problem: Option<String>,
}
