//! Messages, and where they are.

use super::OcppVersion;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// A message with its answer, or an event of a connection or a gateway.
#[derive(Serialize, ToSchema)]
pub(crate) struct Message {
    /// `GATEWAY/NUMBER`
    record_id: String,
    /// Empty for a record of the gateway itself.
    charger_id: String,
    ocpp_version: OcppVersion,
    /// `from_charger` or `to_charger`: who sent `payload`.
    direction: String,
    kind: String,
    message_id: String,
    action: String,
    /// JSON if it is valid JSON, else a text; null if there is none.
    payload: serde_json::Value,
    /// The payload of a CALLRESULT, or `[code, description, details]` of a CALLERROR.
    answer: serde_json::Value,
    #[schema(format = DateTime)]
    received_at: String,
    gateway_id: Uuid,
    /// The number in `record_id`.
    seq: u64,
    notes: Vec<String>,
    /// Explains the notes.
    reason: String,
    /// The number of the charger's connection: greater for each newer one.
    epoch: u64,
    /// Only where a payload or an answer is not shown byte for byte: the record's bytes in Base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    record: Option<String>,
    /// Only where `***` is in place of a secret in the payload or the answer, and then true. Such a row has no `record`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    redacted: Option<bool>,
}

/// A message with what belongs to it.
#[derive(Serialize, ToSchema)]
pub(crate) struct MessageWithPair {
    #[serde(flatten)]
    message: Message,
    /// Of a call to a charger its reply, or the end of waiting for it; of these the call. Else null.
    pair: Option<Message>,
    /// From the record of a call to a charger to the record of its reply, in milliseconds. Null for the calls of chargers:
    /// when their answer was sent is not recorded.
    latency_ms: Option<i64>,
    /// The `id` of the command whose call it is, or belongs to.
    command_id: Option<Uuid>,
    /// The id on the wire of the transaction that the message or its pair names.
    transaction_id: Option<String>,
    /// The `key` of that transaction. Where a charger uses an id again, that of the latest transaction that had started.
    transaction: Option<Uuid>,
    /// Where the payload and the answer deviate from the schemas of the version and the action, whatever was tolerated: 16 places
    /// at most in each.
    deviations: Vec<Deviation>,
}

/// A place where a payload or an answer deviates from its schema.
#[derive(Serialize, ToSchema)]
pub(crate) struct Deviation {
    /// Where it is: `payload` or `answer`.
    part: String,
    /// The place in it as a JSON pointer (RFC 6901), empty for the whole; of a missing member the path that it would have.
    pointer: String,
    /// `not_json`, `not_object`, `type`, `missing`, `enum`, `length`, `range`, `items`, `format` or `extra`.
    rule: String,
    /// What was expected and what was found, for people.
    detail: String,
    /// Whether `policy.check = "warn"` tolerates it.
    tolerated: bool,
}

/// A message in the list. The last members are there only with `pairs=true`.
#[derive(Serialize, ToSchema)]
pub(crate) struct ListedMessage {
    /// `GATEWAY/NUMBER`
    record_id: String,
    /// Empty for a record of the gateway itself.
    charger_id: String,
    ocpp_version: OcppVersion,
    /// `from_charger` or `to_charger`: who sent `payload`.
    direction: String,
    kind: String,
    message_id: String,
    action: String,
    /// JSON if it is valid JSON, else a text; null if there is none.
    payload: serde_json::Value,
    /// The payload of a CALLRESULT, or `[code, description, details]` of a CALLERROR.
    answer: serde_json::Value,
    #[schema(format = DateTime)]
    received_at: String,
    gateway_id: Uuid,
    /// The number in `record_id`.
    seq: u64,
    notes: Vec<String>,
    /// Explains the notes.
    reason: String,
    /// The number of the charger's connection: greater for each newer one.
    epoch: u64,
    /// Only where a payload or an answer is not shown byte for byte: the record's bytes in Base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    record: Option<String>,
    /// Only where `***` is in place of a secret in the payload or the answer, and then true. Such a row has no `record`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    redacted: Option<bool>,
    /// Of a call to a charger its reply, or the end of waiting for it; of these the call. Else null.
    #[serde(skip_serializing_if = "Option::is_none")]
    pair: Option<Message>,
    /// From the record of a call to a charger to the record of its reply, in milliseconds. Null for the calls of chargers:
    /// when their answer was sent is not recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<i64>,
    /// The `id` of the command whose call it is, or belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    command_id: Option<Uuid>,
    /// The id on the wire of the transaction that the message or its pair names.
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_id: Option<String>,
    /// The `key` of that transaction. Where a charger uses an id again, that of the latest transaction that had started.
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction: Option<Uuid>,
}

/// Where one record is, and when it passed each station.
#[derive(Serialize, ToSchema)]
pub(crate) struct Trace {
    /// `GATEWAY/NUMBER`
    record_id: String,
    /// For when it is made.
    #[schema(format = DateTime)]
    as_of: String,
    place: TracePlace,
    /// The same in words.
    detail: String,
    /// The stations in their order.
    stations: Vec<TraceStation>,
}

/// Where a record is: not written by its gateway; only in its journal; delivered and not in the database; in the database;
/// in the database as a dead letter; deleted from the database after it was stored; not known.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TracePlace {
    NotWritten,
    Journal,
    Rabbitmq,
    Stored,
    DeadLetter,
    Deleted,
    Unknown,
}

/// A station on the way of a record.
#[derive(Serialize, ToSchema)]
pub(crate) struct TraceStation {
    /// `received`, `durable` (in the journal), `delivered` (confirmed by RabbitMQ, or stored directly), `stored`,
    /// `projected` (in the same database transaction) or, instead of these two, `dead_letter`.
    station: String,
    passed: TracePassed,
    /// When, exactly.
    #[schema(format = DateTime)]
    at: Option<String>,
    /// When, at the earliest.
    #[schema(format = DateTime)]
    not_before: Option<String>,
    /// When, at the latest.
    #[schema(format = DateTime)]
    not_after: Option<String>,
    /// Why the time is not known, or not exactly.
    unknown: Option<String>,
}

/// Whether a record has passed a station; `never`: it is a dead letter.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TracePassed {
    Yes,
    NotYet,
    Never,
    Unknown,
}
