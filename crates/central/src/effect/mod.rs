//! What follows a command: which messages of a charger show that a command had its effect.
//!
//! The answer to many commands only says "accepted". The result comes later in other messages, often on another
//! connection (rules of OCPP on follow-ups, 4.3). [`Expectation`] says for each command which messages these are; it is
//! read from the command's action and payload alone.
//!
//! A store joins both sides when it applies records. The request is stored before the command can be sent, so it is there
//! whenever a message arrives that it caused. Each request has a [`key`](EffectIndex::key); a record has [`keys`]; where
//! they are equal, [`Expectation::effect`] says what the record adds to the command's
//! [`EffectState`]. These states merge in any order.

mod message;
mod reading;

pub(crate) use reading::{Deadline, PAGE_WITHIN_MS, has_follow_up};

use crate::model::{ChargerKey, Claim, Command, CommandId, EffectState, Merge};
use crate::natural_key::StableHasher;
use crate::record::{AnswerKind, Record, RecordId, RecordKind};
use crate::time::Timestamp;
use message::Message;
use ocpp::json::Raw;
use std::collections::BTreeMap;

/// Commands of one charger with one key that a record is joined with, the newest first: a bound on what a client can cause
/// by giving many commands the same ids.
pub const COMMANDS_PER_KEY_MAX: usize = 32;

/// How long after the request a report is looked at for missing pages: 2 minutes.
const RECHECK_MS: i64 = 120_000;

/// By how much a message of another gateway may seem to be earlier than the claim, which has the database's time: 5 seconds.
const CLOCKS_DIFFER_MS: i64 = 5_000;

/// Messages are joined with a command for an hour longer than they count, because the clock of their gateway may be ahead of
/// the database's. What is shown is judged by one clock, see
/// [`StoredCommand::view`](crate::model::StoredCommand::view).
const CLOCK_AHEAD_MAX_MS: i64 = 3_600_000;

/// A key longer than this is replaced by its hash, because a database bounds the length of index entries.
const KEY_BYTES_MAX: usize = 64;

/// The place that a command or a message names: the EVSE (2.x) and the connector; `None` is every one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) evse: Option<i64>,
    pub(crate) connector: Option<i64>,
}

impl Place {
    /// Whether a message from `other` is about this place. 0 is the whole charger.
    fn has(self, other: Self) -> bool {
        let is = |mine: Option<i64>, theirs: Option<i64>| {
            mine.is_none_or(|mine| mine == 0 || theirs.is_none_or(|theirs| theirs == mine))
        };
        is(self.evse, other.evse) && is(self.connector, other.connector)
    }
}

/// Which messages follow a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expectation {
    /// The start of a transaction that carries this remote start id (2.x): exact.
    RemoteStart(i64),
    /// The start of a transaction with this token at this place (1.6, which has no id for it).
    Start(StartOf),
    /// The end of the transaction with this id on the wire.
    Stop(String),
    /// A boot.
    Boot,
    /// A message with this action.
    Message(MessageOf),
    /// A status of this place.
    Status(StatusOf),
    /// A message about this reservation, or a transaction that uses it.
    Reservation(i64),
    /// Pages with this action and request id.
    Report(ReportOf),
    /// States of a transfer, up to a final one.
    Transfer(TransferOf),
}

/// See [`Expectation::Start`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartOf {
    token: String,
    connector: Option<i64>,
}

impl StartOf {
    /// Whether the command named a connector.
    pub(crate) fn is_placed(&self) -> bool {
        self.connector.is_some_and(|connector| connector > 0)
    }
}

/// See [`Expectation::Message`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageOf {
    action: &'static str,
    place: Place,
}

/// See [`Expectation::Status`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusOf {
    place: Place,
    /// Whether only `Unavailable` shows the effect, or only another status; `None` for any status.
    is_unavailable: Option<bool>,
}

/// See [`Expectation::Report`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportOf {
    /// The action of the pages.
    pub action: &'static str,
    /// Their request id.
    pub request_id: i64,
    /// Whether the pages have sequence numbers.
    pub is_numbered: bool,
}

impl ReportOf {
    /// Whether this payload is a page of the report.
    #[must_use]
    pub fn has(&self, action: &str, payload: &str) -> bool {
        action == self.action && Message::read(action, payload).request_id == Some(self.request_id)
    }
}

/// What is transferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer {
    /// `GetDiagnostics` (1.6).
    Diagnostics,
    /// `GetLog`.
    Log,
    /// `UpdateFirmware`, `SignedUpdateFirmware`.
    Firmware,
    /// `PublishFirmware` (2.x).
    Publication,
    /// `RequestBatterySwap` (2.1).
    BatterySwap,
}

/// See [`Expectation::Transfer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferOf {
    /// What is transferred.
    pub transfer: Transfer,
    request_id: Option<i64>,
    /// The file's address, with user name, password and query removed.
    pub file: Option<String>,
}

/// The reports that commands ask for: the command, its pages, and whether they have sequence numbers.
const REPORTS: [(&str, &str, bool); 7] = [
    ("CustomerInformation", "NotifyCustomerInformation", true),
    ("GetBaseReport", "NotifyReport", true),
    ("GetChargingProfiles", "ReportChargingProfiles", false),
    ("GetDERControl", "ReportDERControl", false),
    ("GetDisplayMessages", "NotifyDisplayMessages", false),
    ("GetMonitoringReport", "NotifyMonitoringReport", true),
    ("GetReport", "NotifyReport", true),
];

impl Expectation {
    /// What follows this command; `None` if nothing does.
    #[must_use]
    pub fn of(action: &str, payload: &str) -> Option<Self> {
        let asked = Message::read(action, payload);
        if let Some((_, pages, is_numbered)) = REPORTS.iter().find(|(name, ..)| *name == action) {
            if action == "CustomerInformation" && asked.report != Some(true) {
                return None;
            }
            return Some(Self::Report(ReportOf {
                action: pages,
                request_id: asked.request_id?,
                is_numbered: *is_numbered,
            }));
        }
        let transfer = |transfer| {
            Some(Self::Transfer(TransferOf {
                transfer,
                request_id: asked.request_id,
                file: reading::address(payload),
            }))
        };
        match action {
            "RequestStartTransaction" => Some(Self::RemoteStart(asked.remote_start_id?)),
            "RemoteStartTransaction" => Some(Self::Start(StartOf {
                token: asked.token?.to_lowercase(),
                connector: asked.place.connector,
            })),
            "RemoteStopTransaction" | "RequestStopTransaction" => {
                Some(Self::Stop(asked.transaction_id?))
            }
            // An EVSE alone is reset without a boot.
            "Reset" if asked.place.evse.is_some_and(|evse| evse > 0) => {
                Some(Self::Status(StatusOf {
                    place: asked.place,
                    is_unavailable: None,
                }))
            }
            "Reset" | "ChangeConfiguration" | "SetVariables" => Some(Self::Boot),
            "ChangeAvailability" => Some(Self::Status(StatusOf {
                place: asked.place,
                is_unavailable: Some(asked.availability.as_deref() == Some("Inoperative")),
            })),
            "UnlockConnector" => Some(Self::Status(StatusOf {
                place: asked.place,
                is_unavailable: None,
            })),
            "TriggerMessage" | "ExtendedTriggerMessage" => Some(Self::Message(MessageOf {
                action: triggered(asked.requested_message.as_deref()?)?,
                place: asked.place,
            })),
            "ReserveNow" | "CancelReservation" => Some(Self::Reservation(asked.reservation_id?)),
            "GetDiagnostics" => transfer(Transfer::Diagnostics),
            "GetLog" => transfer(Transfer::Log),
            "UpdateFirmware" | "SignedUpdateFirmware" => transfer(Transfer::Firmware),
            "PublishFirmware" => transfer(Transfer::Publication),
            "RequestBatterySwap" => transfer(Transfer::BatterySwap),
            _ => None,
        }
    }

    /// Under which key the command is found.
    fn key(&self) -> String {
        match self {
            Self::RemoteStart(id) => bounded("remote", &id.to_string()),
            Self::Start(start) => bounded("start", &start.token),
            Self::Stop(id) => bounded("stop", id),
            Self::Boot => "boot".to_owned(),
            Self::Message(message) => bounded("message", message.action),
            Self::Status(_) => "status".to_owned(),
            Self::Reservation(id) => bounded("reservation", &id.to_string()),
            Self::Report(report) => bounded("report", &report.request_id.to_string()),
            Self::Transfer(of) => of.transfer.key().to_owned(),
        }
    }

    /// What this record of the same charger adds to the effect; `None` if it adds nothing. The record has the command's
    /// key.
    #[must_use]
    pub fn effect(&self, id: RecordId, record: &Record<'_>) -> Option<EffectState> {
        if !is_message(record) {
            return None;
        }
        let message = Message::read(record.action, record.payload);
        let at = record.received_at;
        match self {
            Self::RemoteStart(remote) => {
                (message.remote_start_id == Some(*remote)).then_some(())?;
                let wire_id = message.transaction_id.clone()?;
                Some(EffectState::of_transaction(
                    wire_id,
                    message.bounded_at(at),
                    at,
                    id,
                ))
            }
            Self::Start(start) => {
                let is_it = message.token.as_ref()?.to_lowercase() == start.token
                    && Place {
                        evse: None,
                        connector: start.connector,
                    }
                    .has(message.place);
                is_it.then(|| {
                    let wire_id = message::started_id(record);
                    EffectState::of_transaction(wire_id, message.bounded_at(at), at, id)
                })
            }
            Self::Stop(wire_id) => {
                let is_it = message.transaction_id.as_ref() == Some(wire_id) && message.is_end;
                is_it.then(|| {
                    EffectState::of_transaction(wire_id.clone(), message.bounded_at(at), at, id)
                })
            }
            Self::Boot => Some(EffectState::of_mark(
                message.reason.as_deref().unwrap_or_default(),
                at,
                id,
            )),
            Self::Message(of) => {
                let is_it = match record.action {
                    "NotifyEvent" => message
                        .availabilities
                        .iter()
                        .any(|(place, _)| of.place.has(*place)),
                    _ => of.place.has(message.place),
                };
                is_it.then(|| EffectState::of_mark(record.action, at, id))
            }
            Self::Status(of) => of.effect(&message, at, id),
            Self::Reservation(reservation) => {
                (message.reservation_id == Some(*reservation)).then_some(())?;
                if record.action == "ReservationStatusUpdate" {
                    return Some(EffectState::of_mark(message.status.as_deref()?, at, id));
                }
                let wire_id = match record.action {
                    "StartTransaction" => message::started_id(record),
                    _ => message.transaction_id.clone()?,
                };
                Some(EffectState::of_transaction(
                    wire_id,
                    message.bounded_at(at),
                    at,
                    id,
                ))
            }
            Self::Report(of) => {
                let is_it = record.action == of.action && message.request_id == Some(of.request_id);
                is_it.then(|| {
                    let number = message.seq_no.filter(|_| of.is_numbered);
                    EffectState::of_page(number, message.tbc != Some(true), at, id)
                })
            }
            Self::Transfer(of) => {
                // A charger forgets the request id in a reboot, or never sends it.
                let is_it = of.request_id.is_none()
                    || message.request_id.is_none()
                    || of.request_id == message.request_id;
                let state = message
                    .status
                    .as_deref()
                    .or(message.event_type.as_deref())?;
                is_it.then(|| EffectState::of_state(state, at, id))
            }
        }
    }
}

impl StatusOf {
    fn effect(&self, message: &Message, at: Timestamp, id: RecordId) -> Option<EffectState> {
        let own = message.status.clone().map(|status| (message.place, status));
        let mut found: Option<EffectState> = None;
        for (place, status) in own.iter().chain(&message.availabilities) {
            let is_it = self.place.has(*place)
                && self
                    .is_unavailable
                    .is_none_or(|wanted| wanted == (status == "Unavailable"));
            if is_it {
                let mark = EffectState::of_mark(status, at, id);
                found.get_or_insert_default().merge(mark);
            }
        }
        found
    }
}

impl Transfer {
    const fn key(self) -> &'static str {
        match self {
            Self::Diagnostics => "diagnostics",
            Self::Log => "log",
            Self::Firmware => "firmware",
            Self::Publication => "publication",
            Self::BatterySwap => "battery_swap",
        }
    }
}

/// The action of the message that a trigger asks for.
fn triggered(requested: &str) -> Option<&'static str> {
    Some(match requested {
        "BootNotification" => "BootNotification",
        "DiagnosticsStatusNotification" => "DiagnosticsStatusNotification",
        "FirmwareStatusNotification" => "FirmwareStatusNotification",
        "Heartbeat" => "Heartbeat",
        "LogStatusNotification" => "LogStatusNotification",
        "MeterValues" => "MeterValues",
        "PublishFirmwareStatusNotification" => "PublishFirmwareStatusNotification",
        "StatusNotification" => "StatusNotification",
        "TransactionEvent" => "TransactionEvent",
        _ if requested.starts_with("Sign") => "SignCertificate",
        _ => return None,
    })
}

/// A record of a message that the charger sent and that was not refused.
fn is_message(record: &Record<'_>) -> bool {
    match record.kind {
        RecordKind::Call => record.answer_kind == AnswerKind::Result,
        RecordKind::Send => true,
        _ => false,
    }
}

fn bounded(kind: &str, id: &str) -> String {
    if id.len() <= KEY_BYTES_MAX && !id.contains('\0') {
        return format!("{kind}:{id}");
    }
    let mut hasher = StableHasher::new("wattpost effect key 1");
    hasher.add(id);
    format!("{kind}#{:016x}", hasher.finish_u64())
}

/// The keys under which commands are found that this record may be the effect of.
#[must_use]
pub fn keys(record: &Record<'_>) -> Vec<String> {
    if !is_message(record) {
        return Vec::new();
    }
    let action = record.action;
    let is_report = REPORTS.iter().any(|(_, pages, _)| *pages == action);
    let message = || Message::read(action, record.payload);
    if is_report {
        let id = message().request_id;
        return id
            .map(|id| bounded("report", &id.to_string()))
            .into_iter()
            .collect();
    }
    let with_message = |key: &str, action: &str| vec![key.to_owned(), bounded("message", action)];
    match action {
        "Heartbeat" | "MeterValues" | "SignCertificate" => vec![bounded("message", action)],
        "BootNotification" => with_message("boot", action),
        "StatusNotification" | "NotifyEvent" => with_message("status", "StatusNotification"),
        "DiagnosticsStatusNotification" => with_message("diagnostics", action),
        "LogStatusNotification" => with_message("log", action),
        "FirmwareStatusNotification" | "SignedFirmwareStatusNotification" => {
            with_message("firmware", "FirmwareStatusNotification")
        }
        "PublishFirmwareStatusNotification" => with_message("publication", action),
        "BatterySwap" => vec![Transfer::BatterySwap.key().to_owned()],
        "StartTransaction" | "StopTransaction" | "TransactionEvent" | "ReservationStatusUpdate" => {
            let message = message();
            let mut keys = Vec::new();
            if action == "StartTransaction"
                && let Some(token) = &message.token
            {
                keys.push(bounded("start", &token.to_lowercase()));
            }
            if let Some(id) = message.remote_start_id {
                keys.push(bounded("remote", &id.to_string()));
            }
            if let Some(id) = message.transaction_id.as_deref().filter(|_| message.is_end) {
                keys.push(bounded("stop", id));
            }
            if let Some(id) = message.reservation_id {
                keys.push(bounded("reservation", &id.to_string()));
            }
            if message.trigger_reason.as_deref() == Some("Trigger") {
                keys.push(bounded("message", action));
            }
            keys
        }
        _ => Vec::new(),
    }
}

/// How a command is found by messages that may be its effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectIndex {
    /// One of the [`keys`] of each such message.
    pub key: String,
    /// Messages received at or after this time, by the clock of their gateway, are not joined with the command. That clock may
    /// be ahead of the database's by up to an hour, so it is an hour later than messages count.
    pub until: Timestamp,
    /// Whether it asks for a report, whose missing pages are asked for again.
    pub is_report: bool,
}

impl EffectIndex {
    /// The index of a command; `None` if nothing follows it.
    #[must_use]
    pub fn of(command: &Command) -> Option<Self> {
        let expectation = Expectation::of(&command.action, &command.payload)?;
        let deadline = Deadline::of(&expectation, &command.action, &command.payload);
        Some(Self {
            key: expectation.key(),
            until: deadline.until(command).plus_millis(CLOCK_AHEAD_MAX_MS),
            is_report: matches!(expectation, Expectation::Report(_)),
        })
    }

    /// When a report is looked at for missing pages for the first time, if it was requested at `now`.
    #[must_use]
    pub fn recheck_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.is_report.then(|| now.plus_millis(RECHECK_MS))
    }
}

/// A command that a gateway has claimed, as a store finds it by its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedCommand {
    /// Its id.
    pub id: CommandId,
    /// Its charger.
    pub charger: ChargerKey,
    /// Its action.
    pub action: String,
    /// Its payload.
    pub payload: String,
    /// The claim.
    pub claim: Claim,
    /// As [`EffectIndex::until`].
    pub until: Timestamp,
}

/// What these records add to the effects of these commands.
#[must_use]
pub fn effects(
    commands: &[ClaimedCommand],
    records: &[(RecordId, Record<'_>)],
) -> BTreeMap<CommandId, EffectState> {
    let mut by_key: BTreeMap<(&ChargerKey, String), Vec<(&ClaimedCommand, Expectation)>> =
        BTreeMap::new();
    for command in commands {
        if let Some(expectation) = Expectation::of(&command.action, &command.payload) {
            let key = (&command.charger, expectation.key());
            by_key.entry(key).or_default().push((command, expectation));
        }
    }
    let mut effects: BTreeMap<CommandId, EffectState> = BTreeMap::new();
    if by_key.is_empty() {
        return effects;
    }
    for (id, record) in records {
        let charger = ChargerKey::of(record.charger_id);
        for key in keys(record) {
            let found = by_key.get(&(&charger, key));
            for (command, expectation) in found.into_iter().flatten() {
                if !command.can_have_caused(*id, record) {
                    continue;
                }
                if let Some(effect) = expectation.effect(*id, record) {
                    effects.entry(command.id).or_default().merge(effect);
                }
            }
        }
    }
    effects
}

impl ClaimedCommand {
    /// Whether the record is later than the claim and before the end of the time in which effects are joined.
    fn can_have_caused(&self, id: RecordId, record: &Record<'_>) -> bool {
        let is_later = if id.gateway == self.claim.gateway {
            id.seq >= self.claim.next_seq
        } else {
            record.received_at.plus_millis(CLOCKS_DIFFER_MS) >= self.claim.at
        };
        is_later && record.received_at < self.until
    }
}

/// The text of a member of an object.
fn text_of(payload: &str, wanted: &str) -> Option<String> {
    let mut found = None;
    let _ = Raw::new(payload).members(|name, value| {
        if name == wanted {
            found = value.text().map(|text| text.into_owned());
        }
    });
    found
}
