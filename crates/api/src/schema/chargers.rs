//! Chargers, their connectors, quirks and refused handshakes.

use super::Transaction;
use crate::links::Links;
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
    /// When an operator removed it; null if it is added, or was never removed.
    #[schema(format = DateTime)]
    removed_at: Option<String>,
    /// Who removed it.
    removed_by: Option<super::Actor>,
    /// Its connectors.
    connectors: Vec<Connector>,
    /// Addresses of what belongs to it.
    links: Links,
}

/// A connection of a charger.
#[derive(Serialize, ToSchema)]
pub(crate) struct ChargerConnection {
    /// The gateway that held it.
    gateway_id: Uuid,
    /// Its number: of two connections of a charger the one with the greater number is the newer.
    epoch: u64,
    ocpp_version: OcppVersion,
    /// The address of its peer; null if its begin is not in the database.
    remote: Option<String>,
    /// When it began.
    #[schema(format = DateTime)]
    connected_at: String,
    end: ConnectionEnd,
    /// When it ended; null unless `end` is `closed`.
    #[schema(format = DateTime)]
    disconnected_at: Option<String>,
    /// Why it ended; null unless `end` is `closed`.
    reason: Option<String>,
    /// When its last record was received, unless `end` is `closed`: it had not ended before.
    #[schema(format = DateTime)]
    last_record_at: Option<String>,
    /// If `end` is `not_recorded`: it had ended when its gateway started again, or the charger connected again.
    #[schema(format = DateTime)]
    ended_before: Option<String>,
    /// Milliseconds until it ended, or until now while it is open; null if its end is not known.
    duration_ms: Option<i64>,
}

/// What is known of the end of a connection. `open`: it has not ended. `closed`: its end is recorded. `not_recorded`: it has
/// ended, between `last_record_at` and `ended_before`; its gateway was killed or lost the record. `unknown`: its gateway does
/// not report, so it may be open or not.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ConnectionEnd {
    Open,
    Closed,
    NotRecorded,
    Unknown,
}

/// For how much of a time a charger was connected. `up_ms`, `down_ms`, `unknown_ms` and `excluded_ms` add up to the range.
#[derive(Serialize, ToSchema)]
pub(crate) struct Uptime {
    charger_id: String,
    #[schema(format = DateTime)]
    from: String,
    #[schema(format = DateTime)]
    to: String,
    /// 100 * `up_ms` / (`up_ms` + `down_ms`); null if both are 0.
    #[schema(minimum = 0, maximum = 100)]
    uptime_percent: Option<f64>,
    /// Milliseconds in which it was connected.
    up_ms: i64,
    /// Milliseconds in which it was not connected, and could have been.
    down_ms: i64,
    /// Milliseconds of which it is not known, or in which the central system was the cause.
    unknown_ms: i64,
    /// Milliseconds that were excluded.
    excluded_ms: i64,
    /// Connections in the range.
    connections: u64,
    /// The newest 1,000 times in which it is not known to have been connected, the newest first.
    gaps: Vec<UptimeGap>,
    /// Earlier ones.
    gaps_omitted: u64,
    /// How it is computed, in words.
    formula: String,
}

/// A time in which a charger is not known to have been connected.
#[derive(Serialize, ToSchema)]
pub(crate) struct UptimeGap {
    kind: UptimeGapKind,
    #[schema(format = DateTime)]
    from: String,
    #[schema(format = DateTime)]
    to: String,
    duration_ms: i64,
}

/// `down`: the charger was not connected, and could have been. `unknown`: it is not known, or the central system was the
/// cause.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum UptimeGapKind {
    Down,
    Unknown,
}

/// How a connection is closed.
#[derive(Serialize, ToSchema)]
pub(crate) struct NewDisconnect {
    /// The close code of WebSocket that the charger gets: 1000, 1001 (the default), 1008, 1011, 1012, 1013, or 3000 to 4999.
    #[schema(minimum = 1000, maximum = 4999, example = 1001)]
    code: Option<u16>,
    /// The reason in the close frame and in the record of the end: 1 to 123 bytes of UTF-8 without control characters.
    #[schema(min_length = 1, max_length = 123)]
    reason: Option<String>,
}

/// A request to close a connection, and what became of it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Disconnect {
    charger_id: String,
    state: DisconnectState,
    /// The gateway that holds or held the connection.
    gateway_id: Uuid,
    /// The connection: a later one of the charger is not closed.
    epoch: u64,
    code: u16,
    /// Null if none was given.
    reason: Option<String>,
    #[schema(format = DateTime)]
    requested_at: String,
    /// From then on the gateway does nothing any more.
    #[schema(format = DateTime)]
    expires_at: String,
    /// When the gateway heard of it; null if it has not said so.
    #[schema(format = DateTime)]
    heard_at: Option<String>,
    /// The connection as the list of connections shows it, with its end; null if the database has no record of it.
    connection: Option<ChargerConnection>,
}

/// `pending`: the gateway has not said anything yet. `closing`: the gateway has told the connection to end, and the record of
/// the end is not in the database yet. `closed`: the connection has ended; its `reason` says how. `ended`: the connection has
/// ended without a record: its gateway was killed, or does not have it. `expired`: the gateway did not hear of the request in
/// time, and does nothing.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DisconnectState {
    Pending,
    Closing,
    Closed,
    Ended,
    Expired,
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
    /// The text that people see beside the identity.
    label: Option<String>,
    /// The `id` of the site where it stands.
    site: Option<String>,
    /// The group of chargers to which it belongs.
    group: Option<String>,
    /// How the gateway ends its connections; null: as `policy.close_styles` says.
    close_style: Option<CloseStyle>,
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

/// How the gateway ends a connection whose charger is to come back: with a Close frame, or with the end of TCP alone, for
/// firmware that stays away after a Close frame.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CloseStyle {
    Frame,
    Tcp,
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
    /// The text that people see beside the identity.
    #[schema(min_length = 1, max_length = 100)]
    label: Option<String>,
    /// The `id` of the site where it stands, which must exist.
    #[schema(min_length = 1, max_length = 64)]
    site: Option<String>,
    /// The group of chargers to which it belongs.
    #[schema(min_length = 1, max_length = 100)]
    group: Option<String>,
    /// How the gateway ends its connections. Default null: as `policy.close_styles` says.
    close_style: Option<CloseStyle>,
    /// Its password for Basic authentication, 8 to 64 bytes; only a hash of it is stored. Default null: none is required.
    #[schema(min_length = 8, max_length = 64)]
    password: Option<String>,
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
    /// The text that people see beside the identity.
    #[schema(min_length = 1, max_length = 100)]
    label: Option<String>,
    /// The `id` of the site where it stands, which must exist.
    #[schema(min_length = 1, max_length = 64)]
    site: Option<String>,
    /// The group of chargers to which it belongs.
    #[schema(min_length = 1, max_length = 100)]
    group: Option<String>,
    /// How the gateway ends its connections.
    close_style: Option<CloseStyle>,
    /// Its password for Basic authentication, 8 to 64 bytes, which the charger has already; null removes it. To change it at
    /// the charger too, use `PUT /api/v1/chargers/{id}/password`.
    #[schema(min_length = 8, max_length = 64)]
    password: Option<String>,
}

/// A new password, which is sent to the charger.
#[derive(Serialize, ToSchema)]
pub(crate) struct NewPassword {
    /// 16 to 20 printable ASCII characters without space, quotes and backslash, or 32 to 40 hexadecimal digits, an even
    /// number of them. Without it a random one is made, which nobody is told.
    #[schema(min_length = 16, max_length = 40, nullable = false)]
    password: Option<String>,
    /// `wait` (the default: it is sent when the charger connects, until `expires_at`) or `fail`.
    #[schema(nullable = false)]
    when_offline: Option<String>,
    /// Until when it waits: within 30 days; default one hour.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// How long the charger may take to answer; default 30,000.
    #[schema(minimum = 1000, maximum = 600000)]
    answer_within_ms: Option<u32>,
}

/// The newest change of a charger's password.
#[derive(Serialize, ToSchema)]
pub(crate) struct PasswordRotation {
    charger_id: String,
    state: RotationState,
    /// The command that carries the password to the charger; its payload is shown without it. Null if there was no change.
    command_id: Option<Uuid>,
    /// When it was requested.
    #[schema(format = DateTime)]
    started_at: Option<String>,
    /// Who requested it.
    by: Option<super::Actor>,
    /// When it was decided; null while both passwords are accepted.
    #[schema(format = DateTime)]
    ended_at: Option<String>,
}

/// `none`: the password was never changed at the charger. `waiting`: the new password is not sent yet. `sent`, `accepted`,
/// `uncertain`: it was sent, the charger has accepted it, or it is not known whether the charger has it; the old one and the
/// new one are accepted. `done`: the charger has logged in with the new one, and the old one is not accepted any more.
/// `refused`, `not_sent`, `cancelled`: the old one stays. `replaced`: a person set another one, or removed it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RotationState {
    None,
    Waiting,
    Sent,
    Accepted,
    Uncertain,
    Done,
    Refused,
    NotSent,
    Cancelled,
    Replaced,
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
    /// The HTTP status of the answer to the charger. With an identity, 404 is a charger that is not added, 401 one without the
    /// right credentials, and 400, 405, 426 and 431 are malformed requests.
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
