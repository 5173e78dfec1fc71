//! The schemas of the answers, for the OpenAPI document. They describe what the views of `central` serialise to, so that
//! `central` needs to know nothing of HTTP; a test validates every answer of the tests against them.

#![allow(dead_code, reason = "these types are only described, never built")]

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// A charger.
#[derive(Serialize, ToSchema)]
pub(crate) struct Charger {
    /// Its identity in its latest spelling.
    #[schema(example = "CP-17")]
    charger_id: String,
    /// The OCPP version of its latest record.
    ocpp_version: Option<OcppVersion>,
    /// Whether it is known to be connected.
    online: bool,
    /// What is known of its newest connection: its end is not recorded and its gateway runs (`open`), it has ended or
    /// there was none (`closed`), or its gateway does not report (`unknown`).
    connection: ConnectionState,
    /// The gateway that holds or held its newest connection.
    gateway_id: Option<Uuid>,
    /// Its address in that connection.
    remote: Option<String>,
    /// When the newest connection began.
    #[schema(format = DateTime)]
    connected_at: Option<String>,
    /// When that connection ended, if the end is known.
    #[schema(format = DateTime)]
    disconnected_at: Option<String>,
    /// Why it ended.
    disconnect_reason: Option<String>,
    /// When its first record was received.
    #[schema(format = DateTime)]
    first_seen_at: Option<String>,
    /// When its latest record was received.
    #[schema(format = DateTime)]
    last_seen_at: Option<String>,
    /// When its latest BootNotification was received.
    #[schema(format = DateTime)]
    booted_at: Option<String>,
    /// The content of that BootNotification.
    boot: Option<Boot>,
    /// Its firmware status.
    firmware_status: Option<String>,
    /// What the operator has set; null if it was never added, or was removed.
    settings: Option<ChargerSettings>,
    /// Its connectors.
    connectors: Vec<Connector>,
}

/// What the operator has set of a charger.
#[derive(Serialize, ToSchema)]
pub(crate) struct ChargerSettings {
    /// The identity in the operator's spelling.
    charger_id: String,
    admission: Admission,
    /// Whether it must send a password when it connects. The password is never shown.
    has_password: bool,
    /// How strictly its messages are checked; null: as `policy.check` says.
    check: Option<CheckMode>,
    /// Bytes of one of its messages at most, from its next connection on; null: `gateway.frame_bytes_max`.
    frame_bytes_max: Option<u32>,
    /// Increases with each change of these settings.
    version: u64,
}

/// The answer to a BootNotification: accepted; pending (the charger may be configured and does not charge); rejected.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Admission {
    Accepted,
    Pending,
    Rejected,
}

/// How strictly messages are checked against OCPP.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CheckMode {
    Strict,
    Warn,
    Off,
}

/// A charger to be added.
#[derive(Serialize, ToSchema)]
pub(crate) struct NewCharger {
    /// The identity: the last part of the URL that the charger connects to. 1 to 255 bytes without `/` and control
    /// characters.
    #[schema(example = "CP-17", min_length = 1, max_length = 255)]
    charger_id: String,
    /// Default `accepted`.
    admission: Option<Admission>,
    /// How strictly its messages are checked. Default null: as `policy.check` says.
    check: Option<CheckMode>,
    /// Bytes of one of its messages at most. Default null: `gateway.frame_bytes_max`.
    #[schema(minimum = 4096, maximum = 8388608)]
    frame_bytes_max: Option<u32>,
}

/// A change of a charger's settings: a member that is absent stays as it is, and null sets the default.
#[derive(Serialize, ToSchema)]
pub(crate) struct ChargerPatch {
    admission: Option<Admission>,
    /// How strictly its messages are checked.
    check: Option<CheckMode>,
    /// Bytes of one of its messages at most.
    #[schema(minimum = 4096, maximum = 8388608)]
    frame_bytes_max: Option<u32>,
}

/// The version of OCPP.
#[derive(Serialize, ToSchema)]
pub(crate) enum OcppVersion {
    #[serde(rename = "1.6")]
    V16,
    #[serde(rename = "2.0.1")]
    V201,
    #[serde(rename = "2.1")]
    V21,
}

/// What is known of a connection.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ConnectionState {
    Open,
    Closed,
    Unknown,
}

/// What a charger reported about itself in its BootNotification. A member that it did not send is absent.
#[derive(Serialize, ToSchema)]
pub(crate) struct Boot {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    vendor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    serial: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    firmware: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    iccid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    imsi: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    meter_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    meter_serial: Option<String>,
    /// Why it booted (2.x).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
    /// The status in the answer: `Accepted`, `Pending` or `Rejected`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    answered: Option<String>,
}

/// A connector.
#[derive(Serialize, ToSchema)]
pub(crate) struct Connector {
    charger_id: String,
    /// The EVSE; 0 for OCPP 1.6.
    evse: i64,
    /// The connector; 0 is the whole EVSE or charger.
    connector: i64,
    /// The status, or `Unknown`.
    status: String,
    /// Since when it has this status.
    #[schema(format = DateTime)]
    since: Option<String>,
    /// Why the status is `Unknown`; null if the charger itself reported it.
    unknown_reason: Option<UnknownReason>,
    /// The status that the charger reported last.
    last_status: Option<String>,
    /// Since when it had that status, by its clock.
    #[schema(format = DateTime)]
    last_status_at: Option<String>,
    /// The error code of `last_status`.
    error_code: Option<String>,
    /// The charger's description of the error.
    info: Option<String>,
    /// The vendor's error code.
    vendor_error_code: Option<String>,
}

/// Why a status is not known.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum UnknownReason {
    Offline,
    NotReportedSinceConnect,
    GatewayUnreachable,
}

/// A charger with the tolerances that it needed and its open transactions, at most 100 of them.
#[derive(Serialize, ToSchema)]
pub(crate) struct ChargerWithDetails {
    #[serde(flatten)]
    charger: Charger,
    /// The tolerances that it needed.
    quirks: Vec<Quirk>,
    open_transactions: Vec<Transaction>,
}

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

/// Whether a dead letter waits for a person.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DeadLetterState {
    /// It can be retried or discarded.
    Waiting,
    /// A person has discarded it; its content is deleted.
    Discarded,
}

/// A record that could not be applied.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeadLetter {
    /// `GATEWAY/NUMBER`: also the end of the address of the dead letter.
    record_id: String,
    /// Null if the record has no charger or cannot be decoded.
    charger_id: Option<String>,
    /// The action of OCPP; null likewise.
    action: Option<String>,
    state: DeadLetterState,
    /// Why it cannot be applied.
    reason: String,
    /// When it became a dead letter.
    #[schema(format = DateTime)]
    at: String,
    size_bytes: u64,
    /// Its bytes; U+FFFD replaces what is not UTF-8. Null if it was discarded.
    content: Option<String>,
    /// Who discarded it; null while it waits.
    discarded: Option<Discarded>,
}

/// That a person has discarded a dead letter.
#[derive(Serialize, ToSchema)]
pub(crate) struct Discarded {
    #[schema(format = DateTime)]
    at: String,
    /// The name of the API key, or the account of the command line.
    by: String,
    reason: String,
}

/// Selects dead letters that wait. An empty filter selects all of them.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeadLetterFilter {
    /// Only those of this charger; letter case is ignored.
    charger: Option<String>,
    /// Only this action of OCPP; letter case is ignored.
    action: Option<String>,
    /// Only those whose reason contains this text, in this letter case.
    reason: Option<String>,
    /// Only those that became dead letters at this time or later.
    #[schema(format = DateTime)]
    from: Option<String>,
    /// Only those that became dead letters before this time.
    #[schema(format = DateTime)]
    to: Option<String>,
}

/// Which dead letters are tried again: at most 1,000.
#[derive(Serialize, ToSchema)]
pub(crate) struct RetryDeadLetters {
    filter: DeadLetterFilter,
    /// How many match, as a dry run or the list has shown; if it is another number, nothing is changed. A dry run may leave
    /// it out.
    #[schema(example = 3)]
    expected: Option<u64>,
}

/// Which dead letters are discarded: at most 1,000.
#[derive(Serialize, ToSchema)]
pub(crate) struct DiscardDeadLetters {
    filter: DeadLetterFilter,
    /// How many match, as a dry run or the list has shown; if it is another number, nothing is changed. A dry run may leave
    /// it out.
    #[schema(example = 3)]
    expected: Option<u64>,
    /// Why: 1 to 1,000 characters without line ends and control characters.
    #[schema(example = "test data", min_length = 1, max_length = 1000)]
    reason: String,
}

/// Why a dead letter is discarded.
#[derive(Serialize, ToSchema)]
pub(crate) struct DiscardDeadLetter {
    /// Why: 1 to 1,000 characters without line ends and control characters.
    #[schema(example = "test data", min_length = 1, max_length = 1000)]
    reason: String,
}

/// What became of dead letters that were tried again.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeadLetterRetry {
    /// Whether nothing was changed.
    dry_run: bool,
    /// The records that are applied, and are no dead letters any more.
    applied: Vec<String>,
    /// The others.
    still_dead: Vec<StillDead>,
}

/// A dead letter that still cannot be applied.
#[derive(Serialize, ToSchema)]
pub(crate) struct StillDead {
    record_id: String,
    /// Why.
    reason: String,
}

/// The dead letters that were discarded.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeadLetterDiscard {
    /// Whether nothing was changed.
    dry_run: bool,
    /// Their records.
    discarded: Vec<String>,
}

/// How often one charger needed a tolerance.
#[derive(Serialize, ToSchema)]
pub(crate) struct Quirk {
    quirk: String,
    /// Messages that needed it.
    count: u64,
    #[schema(format = DateTime)]
    first_at: String,
    #[schema(format = DateTime)]
    last_at: String,
}

/// How often chargers of a kind needed a tolerance.
#[derive(Serialize, ToSchema)]
pub(crate) struct QuirkSummary {
    quirk: String,
    /// Empty if the chargers have not reported it; so are `model` and `firmware`.
    vendor: String,
    model: String,
    firmware: String,
    /// Chargers that needed it.
    chargers: u64,
    /// Messages that needed it.
    count: u64,
    #[schema(format = DateTime)]
    first_at: String,
    #[schema(format = DateTime)]
    last_at: String,
}

/// A token of a driver.
#[derive(Serialize, ToSchema)]
pub(crate) struct Token {
    /// idTag (1.6) or idToken (2.x), in the operator's spelling.
    #[schema(example = "04A2B3C4D5")]
    id: String,
    /// The status that the operator has set. An accepted token is answered `Expired` from `expires_at` on.
    status: TokenStatus,
    /// The type of an idToken of 2.x.
    #[schema(example = "ISO14443")]
    r#type: Option<String>,
    /// When it expires.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// parentIdTag (1.6), groupIdToken (2.x).
    group: Option<String>,
    /// Whether it may have several open transactions: `allow`, `refuse` or null. It is stored; gateways do not apply it.
    concurrent_transactions: Option<ConcurrentTransactions>,
    /// A note of the operator, which no charger sees.
    note: Option<String>,
}

/// The settings of a token. With `PUT` a member that is absent has its default; with `PATCH` it stays as it is.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenSettings {
    /// The id of the path, in the spelling that is to be shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// Default `Accepted`. Letter case is ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<TokenStatus>,
    /// 1 to 20 letters and digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// 1 to 255 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    concurrent_transactions: Option<ConcurrentTransactions>,
    /// At most 500 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// The status of a token.
#[derive(Serialize, ToSchema)]
pub(crate) enum TokenStatus {
    Accepted,
    Blocked,
    Expired,
    Invalid,
}

/// Whether a token may have several open transactions.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ConcurrentTransactions {
    Allow,
    Refuse,
}

/// The verdicts of an import.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenImport {
    /// Whether nothing was changed, because the request asked for the verdicts only.
    dry_run: bool,
    created: u64,
    updated: u64,
    unchanged: u64,
    refused: u64,
    /// In the order of the lines.
    lines: Vec<TokenVerdict>,
}

/// The verdict on a line of an import.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenVerdict {
    /// The number of the line in the file, from 1.
    line: u64,
    id: Option<String>,
    outcome: TokenOutcome,
    /// The members that change.
    changes: Vec<String>,
    /// The column that is refused.
    column: Option<String>,
    /// The refused value, at most 300 characters of it.
    value: Option<String>,
    /// What to do instead.
    cure: Option<String>,
}

/// What becomes of a line of an import.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TokenOutcome {
    Created,
    Updated,
    Unchanged,
    Refused,
}

/// The local authorization list of a charger.
#[derive(Serialize, ToSchema)]
pub(crate) struct LocalList {
    charger_id: String,
    /// The wish that holds for it.
    wish: LocalListWish,
    state: LocalListState,
    /// Why it is in this state, and what to do.
    why: Option<String>,
    /// Tokens that the list should hold.
    entries_wanted: Option<u64>,
    /// The version that is being sent, or that the charger should have.
    version_wanted: Option<i64>,
    /// The version that the charger has, as far as it is known.
    version_at_charger: Option<i64>,
    /// The most entries that the charger can hold, if it says so.
    entries_max: Option<u32>,
    /// How many entries of the wanted list the charger has, while it is sent.
    entries_sent: Option<u64>,
    /// The command that is outstanding.
    command_id: Option<Uuid>,
    /// Refusals in a row; after three, sending stops.
    refusals: u32,
    /// When the charger's version was last confirmed.
    #[schema(format = DateTime)]
    checked_at: Option<String>,
}

/// Which tokens a local list holds. Only tokens that may charge are in a list.
#[derive(Serialize, ToSchema)]
pub(crate) struct LocalListWish {
    /// `all`, `group`, or `none` for an empty list.
    tokens: LocalListTokens,
    /// The group, only with `"tokens": "group"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    group: Option<String>,
}

/// The wish for the lists of all chargers without one of their own.
#[derive(Serialize, ToSchema)]
pub(crate) struct LocalListDefault {
    /// Null if there is none.
    wish: Option<LocalListWish>,
}

/// Which tokens a local list holds.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LocalListTokens {
    All,
    Group,
    None,
}

/// How far a local list is; docs/tokens.md explains the states.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LocalListState {
    Unknown,
    InSync,
    WaitingForCharger,
    Sending,
    Uncertain,
    Rejected,
    NotSupported,
    TooLong,
}

/// A change. It contains no password and no key.
#[derive(Serialize, ToSchema)]
pub(crate) struct AuditEntry {
    /// A later entry has a larger number.
    no: i64,
    #[schema(format = DateTime)]
    at: String,
    by: Actor,
    /// A client's address, or the name of the machine on which a command ran.
    from: String,
    /// Null for the command line.
    request_id: Option<String>,
    /// `charger.set`, `charger.removed`, `token.set`, `token.removed`, `local_list.set`, `local_list.removed`, `batch.created`, `batch.paused`, `batch.resumed`, `batch.cancelled`, `api_key.added` or `api_key.revoked`.
    action: String,
    /// The identity of the charger, the id of the token, or the name of the key.
    subject: String,
    /// The subject before the change; null if it did not exist.
    before: serde_json::Value,
    /// The subject after the change; null if it no longer exists.
    after: serde_json::Value,
}

/// Who made a change.
#[derive(Serialize, ToSchema)]
pub(crate) struct Actor {
    /// `api_key`, `without_key` or `command_line`.
    kind: String,
    /// The name of the key or of the user.
    name: Option<String>,
}

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
    /// `queued`, `claimed` (a gateway has it), `sent` or `done`.
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
    /// The gateway that has or had it.
    gateway_id: Option<Uuid>,
    /// The records of the call, the answer, and the end without one.
    record_ids: Vec<String>,
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

/// Handshakes of one identity that were refused for one reason; without an identity, those from one address.
#[derive(Serialize, ToSchema)]
pub(crate) struct RefusedHandshake {
    /// The number of the item; one that was added later has a larger one.
    no: i64,
    /// Always `refused`.
    outcome: String,
    /// The identity as it came; null if the path has none.
    charger_id: Option<String>,
    /// Why, in the words of the gateway's log; docs/connecting-a-charger.md explains each.
    reason: String,
    /// The HTTP status of the answer to the charger.
    status: u16,
    /// What an operator can do about it.
    cure: String,
    /// From where the latest one came, without a port; of IPv6 the /64.
    address: String,
    /// Its path, without a query.
    path: Option<String>,
    /// The subprotocols that it offered.
    offered: Option<String>,
    /// The gateway that refused it.
    gateway_id: Uuid,
    /// When the first one was refused.
    #[schema(format = DateTime)]
    first_at: String,
    /// When the latest one was refused.
    #[schema(format = DateTime)]
    last_at: String,
    /// How many were refused.
    count: u64,
}

/// A key of this API, without its secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct ApiKey {
    id: Uuid,
    /// The operator's name for it, unique among the keys that exist.
    name: String,
    scope: Scope,
    #[schema(format = DateTime)]
    created_at: String,
    /// From this time on it is refused; null: never.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// Its latest use, about a minute late.
    #[schema(format = DateTime)]
    last_used_at: Option<String>,
}

/// What a key permits. Each scope includes those before it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scope {
    Read,
    Operate,
    Admin,
}

/// A key to be added.
#[derive(Serialize, ToSchema)]
pub(crate) struct NewApiKey {
    /// 1 to 100 characters without blanks at its ends and without control characters.
    #[schema(example = "grafana", min_length = 1, max_length = 100)]
    name: String,
    scope: Scope,
    /// When it expires. Default null: never.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

/// A key that was added.
#[derive(Serialize, ToSchema)]
pub(crate) struct AddedApiKey {
    #[serde(flatten)]
    key: ApiKey,
    /// The key itself, for `Authorization: Bearer`. It is shown only in this answer; null in the answer to a repeat.
    secret: Option<String>,
}

/// A key with which a browser signs in.
#[derive(Serialize, ToSchema)]
pub(crate) struct SignIn {
    /// An API key of this installation.
    #[schema(min_length = 51, max_length = 51)]
    key: String,
}

/// Who uses the API, and what they may do.
#[derive(Serialize, ToSchema)]
pub(crate) struct Session {
    /// Without a key, while there is none; with a session or a key; or not at all.
    access: Access,
    /// The name of the key; null without one.
    name: Option<String>,
    /// What is permitted; null while signed out. Without a key, `admin` for an address of this machine and `read` for
    /// any other.
    scope: Option<Scope>,
    /// What a change within this session needs in the header `X-CSRF-Token`; null without a session.
    csrf_token: Option<String>,
    /// When the session ends; null without one.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// The version of Wattpost.
    version: String,
}

/// How a client of the API is known.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Access {
    WithoutKey,
    SignedIn,
    SignedOut,
}

/// A page of the log of events.
#[derive(Serialize, ToSchema)]
pub(crate) struct EventPage {
    items: Vec<Event>,
    /// The `after` of the next page; null at the end of the log.
    next: Option<String>,
    /// All events up to this id were considered: the `after` of the next request, now or later.
    last_id: String,
}

/// An event.
#[derive(Serialize, ToSchema)]
pub(crate) struct Event {
    /// `POSITION-MILLISECONDS`: its position in the log, and when it was recorded.
    id: String,
    /// Such as `transaction.started`; docs/events.md lists the types.
    r#type: String,
    /// When it occurred: the charger's time where the charger reported one.
    #[schema(format = DateTime)]
    occurred_at: String,
    /// When it got its place in the log.
    #[schema(format = DateTime)]
    recorded_at: String,
    /// Whether it was recorded more than 60 seconds after it occurred.
    late: bool,
    /// Null for an event that concerns no charger.
    charger_id: Option<String>,
    /// The object after the change, as the API shows it.
    data: serde_json::Value,
    /// The addresses of the charger, the transaction and the command.
    links: serde_json::Value,
}

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
    /// Whether all parts work.
    ready: bool,
    parts: Vec<Part>,
}

/// The health of a part of the process.
#[derive(Serialize, ToSchema)]
pub(crate) struct Part {
    part: String,
    up: bool,
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

/// Where messages are between chargers and the database. What is not known is null, and `unknown` has the reason.
#[derive(Serialize, ToSchema)]
pub(crate) struct Pipeline {
    /// For when it is made.
    #[schema(format = DateTime)]
    as_of: String,
    /// Whether there is RabbitMQ between the journal and the database.
    has_broker: bool,
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
    /// The last fault; null if none was seen.
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
    /// How long ago it reported last, in milliseconds.
    reported_ms_ago: i64,
    /// Its parts at that time.
    parts: Vec<ProcessPart>,
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
