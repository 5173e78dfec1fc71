//! The next step of bringing a list to a charger, and what the outcome of a step means.

use super::content::Content;
use crate::Timestamp;
use crate::model::{CommandId, NotSent, Outcome, OutcomeClass};
use ocpp::Version;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Refusals in a row after which sending stops until the wish, the tokens or the charger's firmware change.
pub const REFUSALS_MAX: u32 = 3;
/// Entries of a message to a charger that does not say how many it takes.
pub const MESSAGE_ENTRIES_DEFAULT: u32 = 100;
/// Bytes of a message's entries at most, also if the charger takes more: a command has at most 256 KiB.
const MESSAGE_BYTES_MAX: usize = 200 << 10;
/// How often a list that needs nothing is looked at: 15 minutes.
const RECHECK_MS: i64 = 900_000;
/// How often it is looked whether a charger has come back: 5 minutes.
const OFFLINE_MS: i64 = 300_000;
/// The wait after a step that was not sent, and the first one after a refusal: a minute.
const AGAIN_MS: i64 = 60_000;
/// How often it is looked whether a command has an outcome.
const ASKED_MS: i64 = 1_000;

/// The action that sends a list.
const SEND: &str = "SendLocalList";

/// Whether a command with this action changes the list of a charger; letter case is ignored.
#[must_use]
pub fn changes_local_list(action: &str) -> bool {
    action.eq_ignore_ascii_case(SEND)
}

/// How far a list is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing is known yet.
    #[default]
    Unknown,
    /// The charger has the wanted list.
    InSync,
    /// The charger is not connected.
    WaitingForCharger,
    /// The charger is asked for its limits or its version, or the list is sent.
    Sending,
    /// A command has no outcome that can be proved; the charger is asked for its version.
    Uncertain,
    /// The charger refused three times; nothing is sent until the wish, the tokens or its firmware change.
    Rejected,
    /// The charger has no local lists; nothing is sent until the wish or its firmware change.
    NotSupported,
    /// The list has more entries than the charger can hold; nothing is sent.
    TooLong,
}

impl Phase {
    /// All phases.
    pub const ALL: [Self; 8] = [
        Self::Unknown,
        Self::InSync,
        Self::WaitingForCharger,
        Self::Sending,
        Self::Uncertain,
        Self::Rejected,
        Self::NotSupported,
        Self::TooLong,
    ];

    /// The name in the database and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::InSync => "in_sync",
            Self::WaitingForCharger => "waiting_for_charger",
            Self::Sending => "sending",
            Self::Uncertain => "uncertain",
            Self::Rejected => "rejected",
            Self::NotSupported => "not_supported",
            Self::TooLong => "too_long",
        }
    }
}

/// What a charger takes, by its own configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Limits {
    /// Entries of its list (`LocalAuthListMaxLength`, 1.6).
    pub list_max: Option<u32>,
    /// Entries of a message (`SendLocalListMaxLength`; 2.x: `ItemsPerMessage`).
    pub message_max: Option<u32>,
    /// Bytes of a message (2.x: `BytesPerMessage`).
    pub bytes_max: Option<u32>,
    /// Whether it uses its list (`LocalAuthListEnabled`; 2.x: `Enabled`).
    pub is_enabled: Option<bool>,
}

/// What a command is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Reads the charger's limits.
    Limits,
    /// Reads the version of its list.
    Version,
    /// Sends a part of the list.
    Send,
}

/// A command that is outstanding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// What it is for.
    pub step: Step,
    /// The command.
    pub command: CommandId,
}

/// A list that is being sent, in one or several messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sending {
    /// The digest of the list that the charger will have.
    pub target: String,
    /// Whether it begins with a full update.
    pub is_full: bool,
    /// Entries that are sent in all.
    pub total: u64,
    /// Entries that the charger has accepted.
    pub done: u64,
    /// Entries of the message that is outstanding.
    pub in_flight: u64,
    /// The charger's version before that message.
    pub before: i64,
    /// The version of that message, or of the next one.
    pub version: i64,
}

/// Why sending has stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stopped {
    /// The list that was refused; `None` if the charger takes no list.
    target: Option<String>,
    firmware: Option<String>,
}

/// What is known of a charger's list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// How far it is.
    pub phase: Phase,
    /// Why, and what to do.
    pub why: Option<String>,
    /// The wish that it follows.
    pub wished_at: Option<Timestamp>,
    /// What the charger takes.
    pub limits: Option<Limits>,
    /// The version that the charger has.
    pub at_charger: Option<i64>,
    /// The digest of the list that it had when it had [`Progress::content_version`].
    pub content: Option<String>,
    /// The version of that list.
    pub content_version: Option<i64>,
    /// The digest of the wanted list.
    pub wanted: Option<String>,
    /// Entries of the wanted list.
    pub wanted_entries: Option<u64>,
    /// What is being sent.
    pub sending: Option<Sending>,
    /// The command that is outstanding.
    pub asked: Option<Asked>,
    /// Commands so far: the number in the idempotency key of the next one.
    pub attempt: u64,
    /// Refusals in a row.
    pub refusals: u32,
    stopped: Option<Stopped>,
    not_before: Option<Timestamp>,
    /// The boot after which the charger was asked.
    booted_at: Option<Timestamp>,
    /// When the charger's version was last confirmed.
    pub checked_at: Option<Timestamp>,
}

/// What is known of a charger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChargerFacts<'a> {
    /// The version of its open connection; `None` if it is not connected.
    pub version: Option<Version>,
    /// Its firmware.
    pub firmware: Option<&'a str>,
    /// When it last reported a boot.
    pub booted_at: Option<Timestamp>,
}

/// What a step is decided on.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Now.
    pub now: Timestamp,
    /// When the wish was made.
    pub wished_at: Timestamp,
    /// The charger.
    pub charger: ChargerFacts<'a>,
    /// The list that it should have.
    pub wanted: &'a Content,
    /// The list that [`Progress::content`] names, if it is still stored.
    pub base: Option<&'a Content>,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Look again at this time.
    Wait(Timestamp),
    /// Send this command, and note it as [`Progress::asked`].
    Send {
        /// What it is for.
        step: Step,
        /// The action.
        action: &'static str,
        /// The payload.
        payload: Value,
    },
}

/// When a command that is outstanding is looked at again.
#[must_use]
pub const fn look_again(now: Timestamp) -> Timestamp {
    now.plus_millis(ASKED_MS)
}

/// Decides the next step. No command is outstanding.
#[must_use]
pub fn step(progress: &mut Progress, facts: &Facts<'_>) -> Next {
    let Facts { now, charger, .. } = *facts;
    if progress.wished_at != Some(facts.wished_at) {
        *progress = Progress {
            wished_at: Some(facts.wished_at),
            content: progress.content.take(),
            content_version: progress.content_version,
            attempt: progress.attempt,
            ..Progress::default()
        };
    }
    let wanted = facts.wanted;
    progress.wanted = Some(wanted.digest.clone());
    progress.wanted_entries = Some(wanted.entries.len() as u64);
    let Some(version) = charger.version else {
        let is_in_sync = progress.phase == Phase::InSync
            && progress.content.as_ref() == Some(&wanted.digest)
            && progress.stopped.is_none();
        if !is_in_sync && progress.stopped.is_none() {
            progress.phase = Phase::WaitingForCharger;
            progress.why = None;
        }
        return Next::Wait(now.plus_millis(OFFLINE_MS));
    };
    if let Some(stopped) = &progress.stopped {
        let is_same = stopped.firmware.as_deref() == charger.firmware
            && stopped
                .target
                .as_ref()
                .is_none_or(|target| *target == wanted.digest);
        if is_same {
            return Next::Wait(now.plus_millis(RECHECK_MS));
        }
        progress.stopped = None;
        progress.refusals = 0;
        progress.limits = None;
    }
    if let Some(not_before) = progress.not_before.filter(|at| *at > now) {
        return Next::Wait(not_before);
    }
    progress.not_before = None;
    // A charger that has started anew may have lost its list, or have another firmware.
    if charger.booted_at != progress.booted_at {
        progress.booted_at = charger.booted_at;
        progress.at_charger = None;
        progress.limits = None;
    }
    let Some(limits) = progress.limits.clone() else {
        progress.phase = Phase::Sending;
        return ask_limits(version);
    };
    let entries = u64::try_from(wanted.entries.len()).unwrap_or(u64::MAX);
    if let Some(list_max) = limits.list_max
        && entries > u64::from(list_max)
    {
        progress.phase = Phase::TooLong;
        progress.sending = None;
        progress.why = Some(format!(
            "the list has {entries} tokens and the charger takes {list_max} (LocalAuthListMaxLength); wish for a group \
             with fewer tokens"
        ));
        return Next::Wait(now.plus_millis(RECHECK_MS));
    }
    let Some(at_charger) = progress.at_charger else {
        if progress.phase != Phase::Uncertain {
            progress.phase = Phase::Sending;
        }
        return Next::Send {
            step: Step::Version,
            action: "GetLocalListVersion",
            payload: json!({}),
        };
    };
    next_message(progress, facts, version, &limits, at_charger)
}

fn ask_limits(version: Version) -> Next {
    let (action, payload) = match version {
        Version::V16 => (
            "GetConfiguration",
            json!({"key": ["LocalAuthListEnabled", "LocalAuthListMaxLength", "SendLocalListMaxLength"]}),
        ),
        Version::V201 | Version::V21 => {
            let asked = ["Available", "Enabled", "ItemsPerMessage", "BytesPerMessage"];
            let asked = asked.map(|name| {
                json!({"component": {"name": "LocalAuthListCtrlr"}, "variable": {"name": name}})
            });
            ("GetVariables", json!({"getVariableData": asked}))
        }
    };
    Next::Send {
        step: Step::Limits,
        action,
        payload,
    }
}

/// The next message of the list, or a wait if the charger has it.
fn next_message(
    progress: &mut Progress,
    facts: &Facts<'_>,
    version: Version,
    limits: &Limits,
    at_charger: i64,
) -> Next {
    let wanted = facts.wanted;
    let base = facts
        .base
        .filter(|base| Some(&base.digest) == progress.content.as_ref())
        .filter(|_| progress.content_version == Some(at_charger));
    // Without a list the version is 0.
    let has_none = at_charger == 0 && wanted.entries.is_empty();
    let has_wanted = progress.content.as_ref() == Some(&wanted.digest)
        && progress.content_version == Some(at_charger);
    if has_none || has_wanted {
        progress.content = Some(wanted.digest.clone());
        progress.content_version = Some(at_charger);
        progress.sending = None;
        progress.refusals = 0;
        progress.phase = Phase::InSync;
        progress.why = (limits.is_enabled == Some(false)).then(|| {
            "the charger has the list and does not use it, because its configuration says so; set LocalAuthListEnabled \
             (2.x: LocalAuthListCtrlr.Enabled) to true"
                .to_owned()
        });
        return Next::Wait(facts.now.plus_millis(RECHECK_MS));
    }
    // A list that has changed while it was sent is begun again; the charger's part of the old one is not known by a
    // digest, so that is a full update.
    if let Some(sending) = &progress.sending {
        let is_of_wanted = sending.target == wanted.digest;
        let continues = sending.done == 0 || sending.version == at_charger + 1;
        let has_base = match sending.done {
            _ if sending.is_full => true,
            0 => base.is_some(),
            _ => facts.base.is_some(),
        };
        if !is_of_wanted || !continues || !has_base {
            if sending.done > 0 {
                progress.content = None;
            }
            progress.sending = None;
        }
    }
    let is_full = match &progress.sending {
        Some(sending) => sending.is_full,
        None => base.is_none(),
    };
    let changes = match (is_full, facts.base) {
        (false, Some(base)) => wanted.changes_from(base),
        _ => wanted.all(),
    };
    let sending = progress.sending.get_or_insert_with(|| Sending {
        target: wanted.digest.clone(),
        is_full,
        total: changes.len() as u64,
        done: 0,
        in_flight: 0,
        before: at_charger,
        version: 0,
    });
    if sending.is_full {
        // The versions of a full update can be those of an earlier list.
        progress.content = None;
        progress.content_version = None;
    }
    sending.before = at_charger;
    // A version below 1 has other meanings in GetLocalListVersion.
    sending.version = at_charger.max(0).saturating_add(1);
    let done = usize::try_from(sending.done).unwrap_or(usize::MAX);
    let entries_max = limits.message_max.unwrap_or(MESSAGE_ENTRIES_DEFAULT).max(1);
    let bytes_max = limits
        .bytes_max
        .and_then(|bytes| usize::try_from(bytes).ok())
        .map_or(MESSAGE_BYTES_MAX, |bytes| bytes.min(MESSAGE_BYTES_MAX));
    let (mut items, mut bytes) = (Vec::new(), 0);
    for change in changes.iter().skip(done) {
        let item = change.item(version);
        // The comma counts too; one entry is always sent.
        bytes += item.to_string().len() + 1;
        let is_full = items.len() as u64 >= u64::from(entries_max) || bytes > bytes_max;
        if is_full && !items.is_empty() {
            break;
        }
        items.push(item);
    }
    sending.in_flight = items.len() as u64;
    let update = match sending.is_full && sending.done == 0 {
        true => "Full",
        false => "Differential",
    };
    let number = match version {
        Version::V16 => "listVersion",
        Version::V201 | Version::V21 => "versionNumber",
    };
    let mut payload = json!({number: sending.version, "updateType": update});
    if !items.is_empty() {
        payload["localAuthorizationList"] = Value::Array(items);
    }
    progress.phase = Phase::Sending;
    Next::Send {
        step: Step::Send,
        action: SEND,
        payload,
    }
}

/// Takes in the outcome of the command that was outstanding, which sent `action`. `firmware` is that of the charger.
pub fn settle(
    progress: &mut Progress,
    action: &str,
    outcome: &Outcome,
    firmware: Option<&str>,
    now: Timestamp,
) {
    let Some(asked) = progress.asked.take() else {
        return;
    };
    progress.attempt += 1;
    match outcome.class {
        OutcomeClass::NotSent => not_sent(progress, outcome, firmware, now),
        OutcomeClass::Uncertain => {
            progress.phase = Phase::Uncertain;
            progress.why = Some(format!(
                "{action} has no answer that can be proved; the charger is asked for its version"
            ));
            progress.at_charger = None;
            progress.not_before = Some(now.plus_millis(AGAIN_MS));
        }
        OutcomeClass::Answered => answered(progress, asked.step, outcome, firmware, now),
    }
}

fn not_sent(progress: &mut Progress, outcome: &Outcome, firmware: Option<&str>, now: Timestamp) {
    if let Some(sending) = &mut progress.sending {
        sending.in_flight = 0;
    }
    let reason = outcome.reason.as_deref().unwrap_or_default();
    if reason == NotSent::NotSupportedByCharger.as_str() {
        let detail = outcome.detail.as_deref().unwrap_or_default();
        let why = format!("the charger's version of OCPP does not have it: {detail}");
        return stop(progress, Phase::NotSupported, None, why, firmware);
    }
    progress.phase = Phase::WaitingForCharger;
    progress.why = Some(format!("the last command was not sent ({reason})"));
    let is_soon = [NotSent::ChargerOffline, NotSent::Expired]
        .iter()
        .any(|soon| soon.as_str() == reason);
    let pause = if is_soon { AGAIN_MS } else { RECHECK_MS };
    progress.not_before = Some(now.plus_millis(pause));
}

fn answered(
    progress: &mut Progress,
    step: Step,
    outcome: &Outcome,
    firmware: Option<&str>,
    now: Timestamp,
) {
    if let Some(error) = &outcome.error {
        let code: Vec<Value> = serde_json::from_str(error).unwrap_or_default();
        let code = code.first().and_then(Value::as_str).unwrap_or_default();
        let is_missing = matches!(code, "NotImplemented" | "NotSupported");
        return match step {
            // A charger that does not tell its limits may still take a list.
            Step::Limits => progress.limits = Some(Limits::default()),
            Step::Version | Step::Send if is_missing => {
                let why = format!("the charger answered {code}: it has no local lists");
                stop(progress, Phase::NotSupported, None, why, firmware);
            }
            Step::Version | Step::Send => refused(progress, code, firmware, now),
        };
    }
    let payload = outcome.payload.as_deref().unwrap_or("{}");
    let payload: Value = serde_json::from_str(payload).unwrap_or_default();
    match step {
        Step::Limits => {
            let (limits, is_available) = limits_of(&payload);
            progress.limits = Some(limits);
            if !is_available {
                let why = "LocalAuthListCtrlr.Available is false at the charger".to_owned();
                stop(progress, Phase::NotSupported, None, why, firmware);
            }
        }
        Step::Version => {
            let version = payload["listVersion"]
                .as_i64()
                .or_else(|| payload["versionNumber"].as_i64());
            match version {
                Some(version @ 0..) => has_version(progress, version, now),
                Some(_) => {
                    let why = "the charger answered listVersion -1: it has no local lists";
                    stop(
                        progress,
                        Phase::NotSupported,
                        None,
                        why.to_owned(),
                        firmware,
                    );
                }
                None => refused(progress, "an answer without a version", firmware, now),
            }
        }
        Step::Send => match outcome.status.as_deref().unwrap_or_default() {
            "Accepted" => accepted(progress, now),
            "NotSupported" => {
                let why = "the charger answered NotSupported: it has no local lists";
                stop(
                    progress,
                    Phase::NotSupported,
                    None,
                    why.to_owned(),
                    firmware,
                );
            }
            status => refused(progress, status, firmware, now),
        },
    }
}

/// The charger reports the version of its list. If a message had no answer, the version shows whether it arrived.
fn has_version(progress: &mut Progress, version: i64, now: Timestamp) {
    progress.at_charger = Some(version);
    progress.checked_at = Some(now);
    if progress.phase == Phase::Uncertain {
        progress.phase = Phase::Sending;
        progress.why = None;
    }
    let in_flight = progress
        .sending
        .as_ref()
        .filter(|sending| sending.in_flight > 0 || sending.total == 0);
    match in_flight.map(|sending| (sending.version, sending.before)) {
        Some((sent, _)) if sent == version => accepted(progress, now),
        Some((_, before)) if before == version => {
            if let Some(sending) = &mut progress.sending {
                sending.in_flight = 0;
            }
        }
        Some(_) => {
            progress.sending = None;
            progress.content = None;
        }
        None => {}
    }
}

/// The charger has the message that was outstanding.
fn accepted(progress: &mut Progress, now: Timestamp) {
    let Some(sending) = &mut progress.sending else {
        return;
    };
    sending.done += sending.in_flight;
    sending.in_flight = 0;
    progress.at_charger = Some(sending.version);
    progress.checked_at = Some(now);
    progress.refusals = 0;
    progress.why = None;
    if sending.done >= sending.total {
        progress.content = Some(sending.target.clone());
        progress.content_version = Some(sending.version);
        progress.sending = None;
    } else {
        sending.version += 1;
    }
}

fn refused(progress: &mut Progress, answer: &str, firmware: Option<&str>, now: Timestamp) {
    progress.refusals += 1;
    let target = progress.wanted.clone();
    progress.sending = None;
    // The next try reads the charger's version and sends the whole list.
    progress.content = None;
    progress.at_charger = None;
    if progress.refusals >= REFUSALS_MAX {
        let why = format!(
            "the charger answered {answer} to the last of {REFUSALS_MAX} tries; it is tried again when the wish, the \
             tokens or its firmware change"
        );
        return stop(progress, Phase::Rejected, target, why, firmware);
    }
    progress.phase = Phase::Sending;
    progress.why = Some(format!(
        "the charger answered {answer} (try {} of {REFUSALS_MAX}); the whole list is sent again",
        progress.refusals
    ));
    // A version that does not match is cured by the whole list, at once.
    if answer != "VersionMismatch" {
        progress.not_before = Some(now.plus_millis(AGAIN_MS * i64::from(progress.refusals)));
    }
}

fn stop(
    progress: &mut Progress,
    phase: Phase,
    target: Option<String>,
    why: String,
    firmware: Option<&str>,
) {
    progress.phase = phase;
    progress.why = Some(why);
    progress.sending = None;
    progress.stopped = Some(Stopped {
        target,
        firmware: firmware.map(str::to_owned),
    });
}

/// The limits in the answer to `GetConfiguration` (1.6) or `GetVariables` (2.x), and whether the charger has lists at all.
fn limits_of(payload: &Value) -> (Limits, bool) {
    let mut limits = Limits::default();
    let mut is_available = true;
    let keys = payload["configurationKey"].as_array();
    let keys = keys.into_iter().flatten();
    let keys = keys.map(|row| (row["key"].as_str(), row["value"].as_str()));
    let variables = payload["getVariableResult"].as_array();
    let variables = variables.into_iter().flatten();
    let variables = variables
        .filter(|row| row["attributeStatus"].as_str() == Some("Accepted"))
        .map(|row| {
            (
                row["variable"]["name"].as_str(),
                row["attributeValue"].as_str(),
            )
        });
    for (name, value) in keys.chain(variables) {
        let value = value.unwrap_or_default().trim();
        let number = value.parse::<u32>().ok().filter(|number| *number > 0);
        let boolean = match value.to_ascii_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        };
        match name.unwrap_or_default() {
            "LocalAuthListMaxLength" => limits.list_max = number,
            "SendLocalListMaxLength" | "ItemsPerMessage" => limits.message_max = number,
            "BytesPerMessage" => limits.bytes_max = number,
            "LocalAuthListEnabled" | "Enabled" => limits.is_enabled = boolean,
            "Available" => is_available = boolean != Some(false),
            _ => {}
        }
    }
    (limits, is_available)
}

#[cfg(test)]
#[path = "step_tests.rs"]
mod tests;
