//! Transactions.

use super::OcppVersion;
use crate::links::Links;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// Why a transaction is closed.
#[derive(Serialize, ToSchema)]
pub(crate) struct CloseTransaction {
    /// Why: 1 to 1,000 characters without line ends and control characters.
    #[schema(example = "charger replaced", min_length = 1, max_length = 1000)]
    reason: String,
    /// When it ended: not before its start, and not in the future. Default null: at its last message.
    #[schema(format = DateTime)]
    at: Option<String>,
    /// Whether it is closed although the charger sent a message about it within the last 15 minutes. Default false.
    force: Option<bool>,
}

/// A charging transaction.
#[derive(Serialize, ToSchema)]
pub(crate) struct Transaction {
    /// Identifies it permanently; provisional while `started_at` is null.
    key: Uuid,
    charger_id: String,
    /// The id in the charger's messages, which the charger may use again.
    transaction_id: String,
    ocpp_version: Option<OcppVersion>,
    /// The EVSE (2.x).
    evse: Option<i64>,
    connector: Option<i64>,
    /// The token.
    id_token: Option<String>,
    /// The token's type (2.x).
    token_type: Option<String>,
    /// The token's status in the answer.
    verdict: Option<String>,
    /// Null if its start has not arrived.
    #[schema(format = DateTime)]
    started_at: Option<String>,
    /// When it ended according to its stop; null if none has arrived.
    #[schema(format = DateTime)]
    ended_at: Option<String>,
    /// Whether it runs: no stop has arrived, and it was not closed.
    open: bool,
    /// The latest time in any of its messages.
    #[schema(format = DateTime)]
    last_at: Option<String>,
    /// Meter reading at the start, in watt-hours.
    meter_start_wh: Option<f64>,
    /// Meter reading at the end, in watt-hours.
    meter_stop_wh: Option<f64>,
    /// What was charged so far, in watt-hours; never negative.
    energy_wh: Option<f64>,
    /// How far the energy can be trusted; null if it is unknown.
    energy_confidence: Option<Confidence>,
    /// Where the register at the start comes from.
    energy_from: Option<RegisterSource>,
    /// Where the register at the end comes from.
    energy_to: Option<RegisterSource>,
    /// What is doubtful about the energy.
    checks: Vec<Check>,
    /// The last power, in watts.
    power_w: Option<f64>,
    /// The last state of charge, in percent.
    soc_percent: Option<f64>,
    /// chargingState (2.x).
    charging_state: Option<String>,
    /// Why it ended.
    stop_reason: Option<String>,
    /// The id of the remote start that started it (2.x).
    remote_start_id: Option<i64>,
    /// The reservation that it uses.
    reservation_id: Option<i64>,
    /// Whether any message was queued by the charger while offline (2.x).
    offline: bool,
    /// Missing sequence numbers, as inclusive ranges (2.x).
    missing_seq: Vec<Vec<i64>>,
    /// Further stops with the same id and other content.
    conflicting_stops: u64,
    /// Why it counts as ended although no stop had arrived; null if it does not.
    closed: Option<Closed>,
    /// Addresses of what belongs to it.
    links: Links,
}

/// Why a session without a stop counts as ended.
#[derive(Serialize, ToSchema)]
pub(crate) struct Closed {
    /// `superseded` (a later session started on its connector) or `person`.
    by: String,
    /// The key of the later session, if that closed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction: Option<Uuid>,
    /// The person who closed it, or the account that ran the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    who: Option<String>,
    /// Why that person closed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// When that person closed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    noted_at: Option<String>,
    /// The time at which it ended at the latest.
    #[schema(format = DateTime)]
    at: String,
    /// Whether the stop arrived later.
    reconciled: bool,
}

/// One sampled value of a transaction, with OCPP's defaults where the charger wrote nothing.
#[derive(Serialize, ToSchema)]
pub(crate) struct Sample {
    /// The charger's time; when it was received if that is missing or implausible.
    #[schema(format = DateTime)]
    at: String,
    measurand: String,
    /// Null for a value that is not of one phase.
    phase: Option<String>,
    location: String,
    context: String,
    /// Times its multiplier (2.x); null if it is no number.
    value: Option<f64>,
    /// As the charger wrote it; `Wh` for energy without a unit.
    unit: Option<String>,
    /// Whether the charger signed it.
    signed: bool,
    /// The EVSE (2.x).
    evse: Option<i64>,
    connector: Option<i64>,
}

/// How far energy can be trusted.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Confidence {
    Final,
    Running,
    Doubtful,
}

/// Where a register comes from.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RegisterSource {
    Start,
    Stop,
    TransactionBegin,
    TransactionEnd,
    FirstReading,
    LastReading,
    HighestReading,
    SessionRegister,
}

/// What is doubtful, and what an operator can do about it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Check {
    code: String,
    cure: String,
}
