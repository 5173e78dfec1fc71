//! Commands, their outcomes and effects, and the actions of OCPP.

use super::OcppVersion;
use crate::links::Links;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// An action of OCPP.
#[derive(Serialize, ToSchema)]
pub(crate) struct Action {
    ocpp_version: OcppVersion,
    #[schema(example = "Reset")]
    action: String,
    /// Who may send it: `charger`, `central_system` or `both`.
    sent_by: String,
    /// Of 1.6 the feature profile, of 2.x the functional block.
    #[schema(example = "Core")]
    profile: String,
    /// What a charger does with it when it is not delivered: `T` (part of a transaction) and `Q` are queued, `N` is not,
    /// `S` has no answer.
    delivery_class: String,
    /// Whether a command may be sent again without harm: `always`, `never`, or `by_payload` if that depends on the
    /// payload. Null if only chargers send it.
    safe_to_repeat: Option<String>,
}

/// An action of OCPP with the schemas of its payloads.
#[derive(Serialize, ToSchema)]
pub(crate) struct DescribedAction {
    ocpp_version: OcppVersion,
    action: String,
    /// As in the list of actions, as the next three.
    sent_by: String,
    profile: String,
    delivery_class: String,
    safe_to_repeat: Option<String>,
    /// The JSON Schema (draft 2020-12) of the request's payload.
    #[schema(value_type = Object)]
    request_schema: serde_json::Value,
    /// The JSON Schema of the response's payload; null for a message without a response.
    #[schema(value_type = Option<Object>)]
    response_schema: Option<serde_json::Value>,
}

/// A command to be sent.
#[derive(Serialize, ToSchema)]
pub(crate) struct NewCommand {
    /// The action of OCPP, in any letter case.
    #[schema(example = "Reset")]
    action: String,
    /// A JSON object; `{}` if it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    payload: Option<serde_json::Value>,
    /// `fail` (the default: it is not sent if the charger is not connected) or `wait`.
    #[serde(skip_serializing_if = "Option::is_none")]
    when_offline: Option<String>,
    /// Until when a command waits: within 30 days; default one hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// How long the charger may take to answer: 1,000 to 600,000; default 30,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer_within_ms: Option<u32>,
}

/// A command.
#[derive(Serialize, ToSchema)]
pub(crate) struct Command {
    /// Its id; also the message id of the call.
    id: Uuid,
    charger_id: String,
    action: String,
    payload: serde_json::Value,
    /// `queued`, `waiting_for_charger` (queued, and the charger is not connected), `claimed` (a gateway has it), `sent` or `done`.
    state: String,
    /// Null until it is done.
    outcome: Option<Outcome>,
    /// What followed the answer.
    effect: Effect,
    /// The command that this one repeats, because pages of its report were missing.
    repeats: Option<Uuid>,
    /// Whether sending it again does no harm.
    safe_to_repeat: bool,
    /// `fail` or `wait`.
    when_offline: String,
    /// `on`, or `off` if the payload is sent without a check against the schema.
    check: String,
    #[schema(format = DateTime)]
    created_at: String,
    /// It is not sent at or after this time.
    #[schema(format = DateTime)]
    expires_at: String,
    answer_within_ms: u32,
    #[schema(format = DateTime)]
    sent_at: Option<String>,
    #[schema(format = DateTime)]
    answered_at: Option<String>,
    /// Who requested it.
    by: String,
    /// The `traceparent` of the request (W3C Trace Context); null if it had none.
    traceparent: Option<String>,
    /// The gateway that has or had it.
    gateway_id: Option<Uuid>,
    /// The records of the call, the answer, and the end without one.
    record_ids: Vec<String>,
    /// Addresses of what belongs to it.
    links: Links,
    /// What is doubtful about the request, such as an EVSE that the charger has not reported. Only in the answer to the
    /// request, and only if there is something.
    #[serde(skip_serializing_if = "Option::is_none")]
    warnings: Option<Vec<String>>,
}

/// What followed the charger's answer to a command.
#[derive(Serialize, ToSchema)]
pub(crate) struct Effect {
    /// `none` (nothing follows), `expected`, `seen` or `not_seen` in time. `not_seen` becomes `seen` if it comes late.
    state: String,
    /// By when it is expected.
    #[schema(format = DateTime)]
    expected_by: Option<String>,
    /// When the message that shows it was received.
    #[schema(format = DateTime)]
    seen_at: Option<String>,
    /// What the charger reported last: a state of firmware or of an upload, a status, the reason of a boot, the action
    /// that was triggered.
    status: Option<String>,
    /// The states of a transfer or a reservation, in the order of reception.
    statuses: Vec<EffectStatus>,
    /// The key of the transaction that it started or ended, if that is certain.
    transaction: Option<Uuid>,
    /// The keys of transactions of which one may be the effect, if it is not certain which.
    candidates: Vec<Uuid>,
    /// The address of the file, without user, password and query.
    file: Option<String>,
    /// The pages of the report that it asked for.
    report: Option<Report>,
    detail: Option<String>,
}

/// One state that a charger reported.
#[derive(Serialize, ToSchema)]
pub(crate) struct EffectStatus {
    status: String,
    #[schema(format = DateTime)]
    at: String,
}

/// The pages of a report.
#[derive(Serialize, ToSchema)]
pub(crate) struct Report {
    /// How many were received.
    pages: i64,
    /// Missing sequence numbers, as inclusive ranges `[from, to]`; 100 at most.
    missing: Vec<Vec<i64>>,
    /// Whether all were received.
    complete: bool,
    /// The command that asks for the report again, because pages were missing.
    asked_again: Option<Uuid>,
}

/// What became of a command.
#[derive(Serialize, ToSchema)]
pub(crate) struct Outcome {
    /// `not_sent`, `answered` or `uncertain`.
    class: String,
    /// The `status` in the charger's answer, if it has one.
    status: Option<String>,
    /// The payload of the charger's CALLRESULT.
    payload: serde_json::Value,
    /// The charger's CALLERROR: `[code, description, details]`.
    error: serde_json::Value,
    /// Why it was not sent or is uncertain.
    reason: Option<String>,
    detail: Option<String>,
}
