//! A command: a call of the central system to a charger, requested by a person or a program.
//!
//! Its outcome follows from two parts. The *request* ([`Command`], [`CommandStage`]) is a row of the database: it is
//! primary data, changed only by database transactions. The *progress* ([`CommandProgress`]) follows from records of
//! the gateway that sent it, as every projection does. [`CommandView`] joins the two.

use super::effect::Asked;
use super::message::{embedded, embedded_option};
use super::{
    AuditEntry, EffectPhase, EffectState, EffectView, Merge, Origin, TraceParent, rfc3339,
};
use crate::actions::commands::is_safe_to_repeat;
use crate::effect::{Expectation, ReportOf};
use crate::ports::NewCommand;
use crate::record::{Epoch, GatewayId, RecordId, Seq};
use crate::secret;
use crate::time::Timestamp;
use ocpp::Version;
use ocpp::json::Raw;
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use uuid::Uuid;

/// A command's id, a UUID of version 7. It is also the message id of the call on the wire, so that a reply names its
/// command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommandId(pub Uuid);

impl CommandId {
    /// The id that a message id on the wire spells; `None` if it is not a UUID in lower case with hyphens.
    #[must_use]
    pub fn from_message_id(text: &str) -> Option<Self> {
        let id = Uuid::try_parse(text).ok()?;
        (id.hyphenated().to_string() == text).then_some(Self(id))
    }

    /// A number for what the command creates at the charger, such as a request id: from 1 to 2^31 - 1, of the random bits.
    #[must_use]
    pub fn number(self) -> i32 {
        let number = self.0.as_u128() % u128::from(i32::MAX.unsigned_abs());
        // The remainder is less than 2^31 - 1.
        i32::try_from(number).unwrap_or_default() + 1
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// What a gateway sends to a charger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Its id.
    pub id: CommandId,
    /// The charger, as the request spelled it.
    pub charger_id: String,
    /// The action, in the spelling of OCPP.
    pub action: String,
    /// The payload, a JSON object.
    pub payload: String,
    /// How long the charger may take to answer, in milliseconds from the moment of sending.
    pub answer_within_ms: u32,
    /// It is not sent at or after this time, by the database's clock. What a [`Station`](crate::station::Station) gets has it
    /// by the gateway's clock, see [`Command::by_clock_of`].
    pub send_before: Timestamp,
    /// Whether the payload is sent without a check against the schema of the charger's version.
    #[serde(default)]
    pub skips_check: bool,
}

impl Command {
    /// The command for a machine whose clock showed `here` when the database's showed `at_database` or later: it is sent before
    /// the same moment, by that machine's clock.
    #[must_use]
    pub fn by_clock_of(mut self, here: Timestamp, at_database: Timestamp) -> Self {
        let left = self.send_before.0.saturating_sub(at_database.0);
        self.send_before = Timestamp(here.0.saturating_add(left));
        self
    }
}

/// The entry of the audit log for a command whose payload is not checked; `None` for one whose payload is.
#[must_use]
pub fn unchecked_entry(command: &Command, origin: Origin) -> Option<AuditEntry> {
    command.skips_check.then(|| AuditEntry {
        origin,
        action: "command.unchecked".to_owned(),
        subject: command.charger_id.clone(),
        before: None,
        after: Some(serde_json::json!({"command": command.id, "action": command.action})),
    })
}

/// Which process of which gateway has claimed a command, and from where on its journal shows whether it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The gateway.
    pub gateway: GatewayId,
    /// The epoch at which that process started, see [`RecordKind::GatewayStarted`](crate::RecordKind::GatewayStarted).
    pub started: Epoch,
    /// The number of the next record of its journal when it claimed: the record of sending has this or a later one.
    pub next_seq: Seq,
    /// When, by the database's clock.
    pub at: Timestamp,
}

/// The stage of a request. It only moves downward in this list, except that a claim can be released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandStage {
    /// No gateway has it: it can be cancelled, and it expires.
    Queued,
    /// A gateway has it and is about to send it, or has sent it: the records of that gateway show which.
    Claimed(Claim),
    /// It was not sent, and never will be.
    NotSent {
        /// Why.
        refusal: Refusal,
        /// When that was decided.
        at: Timestamp,
    },
}

/// Why a command was not sent, with a detail for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: NotSent,
    /// A detail for people; empty if there is none.
    pub detail: String,
}

impl Refusal {
    /// With this detail.
    #[must_use]
    pub fn new(reason: NotSent, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
        }
    }
}

/// Why a command was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotSent {
    /// The charger was not connected, and the request does not wait.
    ChargerOffline,
    /// Its time to be sent had passed.
    Expired,
    /// It was cancelled.
    Cancelled,
    /// The charger's version does not have the action, or the payload does not conform to that version's schema.
    NotSupportedByCharger,
    /// The charger is rejected, and no calls are sent to such chargers (B03.FR.03).
    ChargerRejected,
    /// The charger was removed while the request waited.
    ChargerRemoved,
}

impl NotSent {
    /// All reasons.
    pub const ALL: [Self; 6] = [
        Self::ChargerOffline,
        Self::Expired,
        Self::Cancelled,
        Self::NotSupportedByCharger,
        Self::ChargerRejected,
        Self::ChargerRemoved,
    ];

    /// The name in the database and the HTTP API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ChargerOffline => "charger_offline",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::NotSupportedByCharger => "not_supported_by_charger",
            Self::ChargerRejected => "charger_rejected",
            Self::ChargerRemoved => "charger_removed",
        }
    }

    /// The reason with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

/// A command's progress, which follows from records.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CommandProgress {
    /// The call, from the record that its gateway wrote before the frame left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<Sent>,
    /// The first reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<Reply>,
    /// Why its gateway no longer waits for a reply. A reply takes precedence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unanswered: Option<Unanswered>,
}

impl CommandProgress {
    /// Whether there is a reply, or its gateway no longer waits for one.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.reply.is_some() || self.unanswered.is_some()
    }
}

/// That a call was sent, or was about to be sent when its gateway was killed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sent {
    /// When the gateway recorded it.
    pub at: Timestamp,
    /// The record.
    pub record: RecordId,
    /// The version of the connection.
    pub version: Version,
    /// The connection's epoch.
    pub epoch: Epoch,
}

/// A charger's reply.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reply {
    /// When the gateway read it.
    pub at: Timestamp,
    /// The record.
    pub record: RecordId,
    /// Whether it is a CALLERROR; then `payload` is `[code, description, details]`.
    pub is_error: bool,
    /// The payload, as the charger sent it.
    pub payload: String,
}

/// That a call was sent and its gateway knows of no reply.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Unanswered {
    /// When that was recorded.
    pub at: Timestamp,
    /// The record.
    pub record: RecordId,
    /// Why: the time to answer passed, the connection ended, the gateway was killed.
    pub reason: String,
}

/// Of two values the smaller one, so that every order gives the same.
fn keep_first<T: Ord>(mine: &mut Option<T>, theirs: Option<T>) {
    *mine = match (mine.take(), theirs) {
        (Some(mine), Some(theirs)) => Some(mine.min(theirs)),
        (mine, theirs) => mine.or(theirs),
    };
}

impl Merge for CommandProgress {
    fn merge(&mut self, other: Self) {
        keep_first(&mut self.sent, other.sent);
        keep_first(&mut self.reply, other.reply);
        keep_first(&mut self.unanswered, other.unanswered);
    }
}

/// How long after a claim, or after the time to answer, a command without a record of its end is still not shown as
/// uncertain: 60 seconds. A claim older than that is never given back to the queue, so a command that was shown as
/// uncertain is not sent later.
pub const SILENCE_MAX_MS: i64 = 60_000;

/// A command as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCommand {
    /// What is sent.
    pub command: Command,
    /// When it was requested.
    pub created_at: Timestamp,
    /// Who requested it.
    pub requested_by: String,
    /// Whether it waits for a charger that is not connected.
    pub waits_when_offline: bool,
    /// The stage of the request.
    pub stage: CommandStage,
    /// The progress.
    pub progress: CommandProgress,
    /// The effect, with the keys of its transactions.
    pub effect: EffectState,
    /// The command that this one repeats, because pages of its report were missing.
    pub repeats: Option<CommandId>,
    /// The command that repeats this one, for the same reason.
    pub repeated_by: Option<CommandId>,
    /// The `traceparent` of the request.
    pub traceparent: Option<TraceParent>,
    /// Whether its charger is shown as not connected; looked up only for a request that waits for it.
    pub charger_is_absent: bool,
}

/// The state of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandState {
    /// It waits for a gateway that holds the charger.
    Queued,
    /// As [`CommandState::Queued`], and the charger is not connected: it is sent when the charger connects.
    WaitingForCharger,
    /// A gateway has it, and sends it or is about to.
    Claimed,
    /// It was sent, and the charger has time to answer.
    Sent,
    /// There is an outcome.
    Done,
}

impl CommandState {
    /// Whether no gateway has it.
    #[must_use]
    pub const fn is_queued(self) -> bool {
        matches!(self, Self::Queued | Self::WaitingForCharger)
    }
}

/// What became of a command, as far as it is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeClass {
    /// The charger has not received it and will not.
    NotSent,
    /// The charger answered.
    Answered,
    /// It was sent, or may have been; whether the charger received it is not known.
    Uncertain,
}

/// The outcome of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The class.
    pub class: OutcomeClass,
    /// The `status` in the charger's answer, if it has one.
    pub status: Option<String>,
    /// The charger's answer: the payload of its CALLRESULT.
    #[serde(serialize_with = "embedded_option")]
    pub payload: Option<String>,
    /// The charger's CALLERROR: `[code, description, details]`.
    #[serde(serialize_with = "embedded_option")]
    pub error: Option<String>,
    /// Of `not_sent` the name of a [`NotSent`]; of `uncertain` why, as a sentence.
    pub reason: Option<String>,
    /// A detail for people, such as the members of the payload that break the schema.
    pub detail: Option<String>,
}

/// A command, as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CommandView {
    /// Its id; also the message id of the call.
    pub id: CommandId,
    /// The charger, as the request spelled it.
    pub charger_id: String,
    /// The action.
    pub action: String,
    /// The payload, without its secrets ([`secret::redacted`]).
    #[serde(serialize_with = "embedded")]
    pub payload: String,
    /// Its state.
    pub state: CommandState,
    /// Its outcome, once there is one. An uncertain outcome can become another one when late records arrive.
    pub outcome: Option<Outcome>,
    /// What followed the answer.
    pub effect: EffectView,
    /// Where the messages of the report are that it asked for.
    #[serde(skip)]
    pub report_messages: Option<ReportMessages>,
    /// The command that this one repeats, because pages of its report were missing.
    pub repeats: Option<CommandId>,
    /// Whether sending it again does no harm: then a client may repeat it when the outcome is uncertain.
    pub safe_to_repeat: bool,
    /// `wait` or `fail`.
    pub when_offline: &'static str,
    /// `on`, or `off` if the payload is sent without a check against the schema.
    pub check: &'static str,
    /// When it was requested.
    #[serde(serialize_with = "rfc3339::always")]
    pub created_at: Timestamp,
    /// It is not sent at or after this time.
    #[serde(serialize_with = "rfc3339::always")]
    pub expires_at: Timestamp,
    /// How long the charger may take to answer.
    pub answer_within_ms: u32,
    /// When it was sent.
    #[serde(serialize_with = "rfc3339::option")]
    pub sent_at: Option<Timestamp>,
    /// When the charger's answer was read.
    #[serde(serialize_with = "rfc3339::option")]
    pub answered_at: Option<Timestamp>,
    /// Who requested it.
    pub by: String,
    /// The `traceparent` of the request (W3C Trace Context).
    pub traceparent: Option<TraceParent>,
    /// The gateway that has or had it.
    pub gateway_id: Option<GatewayId>,
    /// The records of the call, the answer, and the end without one.
    #[serde(serialize_with = "as_texts")]
    pub record_ids: Vec<RecordId>,
}

/// Where the pages of a report are among the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportMessages {
    /// Which messages they are.
    pub of: ReportOf,
    /// When the first and the last one were received; `None` while there is none.
    pub received: Option<(Timestamp, Timestamp)>,
}

/// What is to be done about a report of which pages may be missing.
#[derive(Debug, Clone, PartialEq)]
pub enum Recheck {
    /// Look again at this time.
    At(Timestamp),
    /// Nothing: it is complete, or none comes, or it was asked for again.
    Done,
    /// Ask for it again, once. Reading does no harm.
    AskAgain(Box<NewCommand>),
}

/// Who requests a report again.
const WATTPOST: &str = "wattpost";

/// How long the request for a missing page waits for the charger: 1 hour.
const ASK_AGAIN_WITHIN_MS: i64 = 3_600_000;

/// After which time a report is looked at again that was not sent yet: 1 minute.
const RECHECK_EVERY_MS: i64 = 60_000;

fn as_texts<S: Serializer>(ids: &[RecordId], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(ids.iter().map(RecordId::to_string))
}

impl StoredCommand {
    /// The command as it is shown at `now`.
    ///
    /// Records take precedence over the request: a command with a record of sending is never shown as not sent. A queued command is
    /// shown as queued until its end is stored, also after its `send_before`, because only a database transaction
    /// decides between sending and expiring.
    ///
    /// `now` is the database's time, as are the times of the request and of the claim. `sent_at`, `answered_at` and the times of
    /// the effect are of gateways.
    #[must_use]
    pub fn view(&self, now: Timestamp) -> CommandView {
        let (state, outcome) = self.state_at(now);
        let at_gateway = now.plus_millis(self.gateway_ahead_ms());
        let effect = self.effect_at(outcome.as_ref(), at_gateway);
        let progress = &self.progress;
        let gateway_of_claim = match &self.stage {
            CommandStage::Claimed(claim) => Some(claim.gateway),
            CommandStage::Queued | CommandStage::NotSent { .. } => None,
        };
        let records = [
            progress.sent.as_ref().map(|sent| sent.record),
            progress.reply.as_ref().map(|reply| reply.record),
            progress.unanswered.as_ref().map(|end| end.record),
        ];
        let redacted = secret::redacted(&self.command.payload);
        let outcome = outcome.map(|outcome| outcome.without_secrets(redacted.as_ref()));
        CommandView {
            id: self.command.id,
            charger_id: self.command.charger_id.clone(),
            action: self.command.action.clone(),
            payload: redacted.map_or_else(|| self.command.payload.clone(), |shown| shown.payload),
            state,
            outcome,
            effect,
            report_messages: self.report_messages(),
            repeats: self.repeats,
            safe_to_repeat: is_safe_to_repeat(&self.command.action, &self.command.payload),
            when_offline: if self.waits_when_offline {
                "wait"
            } else {
                "fail"
            },
            check: if self.command.skips_check {
                "off"
            } else {
                "on"
            },
            created_at: self.created_at,
            expires_at: self.command.send_before,
            answer_within_ms: self.command.answer_within_ms,
            sent_at: progress.sent.as_ref().map(|sent| sent.at),
            answered_at: progress.reply.as_ref().map(|reply| reply.at),
            by: self.requested_by.clone(),
            traceparent: self.traceparent.clone(),
            gateway_id: records
                .iter()
                .flatten()
                .next()
                .map(|record| record.gateway)
                .or(gateway_of_claim),
            record_ids: records.into_iter().flatten().collect(),
        }
    }

    /// Whether no gateway has it, and it waits for a charger that may not be connected.
    #[must_use]
    pub fn may_wait_for_charger(&self) -> bool {
        self.waits_when_offline
            && self.stage == CommandStage::Queued
            && self.progress == CommandProgress::default()
    }

    fn waits_for_charger(&self) -> bool {
        self.charger_is_absent && self.may_wait_for_charger()
    }

    fn report_messages(&self) -> Option<ReportMessages> {
        match Expectation::of(&self.command.action, &self.command.payload)? {
            Expectation::Report(of) => Some(ReportMessages {
                of,
                received: self.effect.pages_received(),
            }),
            _ => None,
        }
    }

    /// By how many milliseconds the clock of the gateway that sent the command was ahead of the database's. A gateway sends a
    /// command as soon as it has claimed it, so the two times are of one moment; what passed in between makes an end
    /// without a report seem due earlier by as much. Zero if it was not sent, or without its claim.
    fn gateway_ahead_ms(&self) -> i64 {
        match (&self.stage, &self.progress.sent) {
            (CommandStage::Claimed(claim), Some(sent)) if sent.record.gateway == claim.gateway => {
                sent.at.0.saturating_sub(claim.at.0)
            }
            _ => 0,
        }
    }

    /// What is to be done at `now` about a report of which pages may be missing. Times are of the database.
    #[must_use]
    pub fn recheck(&self, now: Timestamp) -> Recheck {
        let view = self.view(now);
        let later = now.plus_millis(RECHECK_EVERY_MS);
        let is_answered = |outcome: &Outcome| outcome.class == OutcomeClass::Answered;
        match view.effect.state {
            _ if view.report_messages.is_none() || self.repeated_by.is_some() => Recheck::Done,
            EffectPhase::None | EffectPhase::Seen => Recheck::Done,
            EffectPhase::Expected => {
                let by_database = |at: Timestamp| at.plus_millis(-self.gateway_ahead_ms());
                Recheck::At(view.effect.expected_by.map_or(later, by_database))
            }
            // An uncertain outcome can still become an answer, and a repeat is not repeated.
            EffectPhase::NotSeen if self.repeats.is_some() => Recheck::Done,
            EffectPhase::NotSeen if !view.outcome.as_ref().is_some_and(is_answered) => {
                Recheck::Done
            }
            EffectPhase::NotSeen => match self.asked_again(now) {
                Some(new) => Recheck::AskAgain(Box::new(new)),
                None => Recheck::Done,
            },
        }
    }

    /// The same command with another request id. Its id follows from the first one's, so that it is created once.
    fn asked_again(&self, now: Timestamp) -> Option<NewCommand> {
        let id = CommandId(Uuid::from_u128(self.command.id.0.as_u128() ^ 1));
        let mut payload: serde_json::Value = serde_json::from_str(&self.command.payload).ok()?;
        // Another number than those that people give, and other than that of the first command.
        let request_id = 1_000_000_000 + (id.0.as_u128() % 1_000_000_000) as u64;
        payload["requestId"] = request_id.into();
        Some(NewCommand {
            command: Command {
                id,
                payload: payload.to_string(),
                send_before: now.plus_millis(ASK_AGAIN_WITHIN_MS),
                ..self.command.clone()
            },
            created_at: now,
            requested_by: WATTPOST.to_owned(),
            waits_when_offline: true,
            not_sent: None,
            idempotency: None,
            traceparent: self.traceparent.clone(),
            audit: None,
        })
    }

    fn effect_at(&self, outcome: Option<&Outcome>, now: Timestamp) -> EffectView {
        let progress = &self.progress;
        let replied_at = progress.reply.as_ref().map(|reply| reply.at);
        let unanswered_at = progress.unanswered.as_ref().map(|end| end.at);
        let sent_at = progress.sent.as_ref().map(|sent| {
            sent.at
                .plus_millis(i64::from(self.command.answer_within_ms))
        });
        let asked = Asked {
            command: &self.command,
            progress,
            effect: &self.effect,
            asked_again: self.repeated_by,
            is_not_sent: outcome.is_some_and(|outcome| outcome.class == OutcomeClass::NotSent),
            settled_at: replied_at
                .or(unanswered_at)
                .or(sent_at)
                .filter(|_| outcome.is_some()),
            gateway_ahead_ms: self.gateway_ahead_ms(),
        };
        asked.view(now)
    }

    fn state_at(&self, now: Timestamp) -> (CommandState, Option<Outcome>) {
        let done = |outcome| (CommandState::Done, Some(outcome));
        let CommandProgress {
            sent,
            reply,
            unanswered,
        } = &self.progress;
        if let Some(reply) = reply {
            return done(Outcome::answered(reply));
        }
        if let Some(unanswered) = unanswered {
            return done(Outcome::uncertain(&unanswered.reason));
        }
        let is_silent = |since: Timestamp| now >= since.plus_millis(SILENCE_MAX_MS);
        if let Some(sent) = sent {
            let answer_by = sent
                .at
                .plus_millis(i64::from(self.command.answer_within_ms));
            return if is_silent(answer_by.plus_millis(-self.gateway_ahead_ms())) {
                done(Outcome::uncertain(NO_REPORT))
            } else {
                (CommandState::Sent, None)
            };
        }
        match &self.stage {
            CommandStage::Queued if self.waits_for_charger() => {
                (CommandState::WaitingForCharger, None)
            }
            CommandStage::Queued => (CommandState::Queued, None),
            CommandStage::Claimed(claim) if is_silent(claim.at) => {
                done(Outcome::uncertain(NO_REPORT))
            }
            CommandStage::Claimed(_) => (CommandState::Claimed, None),
            CommandStage::NotSent { refusal, .. } => done(Outcome::not_sent(refusal)),
        }
    }
}

/// Why a command is uncertain of which its gateway has recorded no end within [`SILENCE_MAX_MS`].
const NO_REPORT: &str = "the gateway has not reported the outcome";

impl Outcome {
    const fn of(class: OutcomeClass) -> Self {
        Self {
            class,
            status: None,
            payload: None,
            error: None,
            reason: None,
            detail: None,
        }
    }

    /// The outcome without secrets of the charger's answer, and without those of the call that an error repeats.
    fn without_secrets(mut self, call: Option<&secret::Redacted>) -> Self {
        let hide = |text: &mut Option<String>| {
            if let Some(text) = text {
                if let Some(shown) = secret::redacted(text) {
                    *text = shown.payload;
                }
                if let Some(call) = call {
                    *text = call.hide_in(text);
                }
            }
        };
        hide(&mut self.payload);
        hide(&mut self.error);
        if let (Some(detail), Some(call)) = (&mut self.detail, call) {
            *detail = call.hide_in(detail);
        }
        self
    }

    fn answered(reply: &Reply) -> Self {
        let mut outcome = Self::of(OutcomeClass::Answered);
        if reply.is_error {
            outcome.error = Some(reply.payload.clone());
            return outcome;
        }
        // A payload that is not an object has no status; the charger answered all the same.
        let _ = Raw::new(&reply.payload).members(|name, value| {
            if name == "status" && outcome.status.is_none() {
                outcome.status = value.text().map(Cow::into_owned);
            }
        });
        outcome.payload = Some(reply.payload.clone());
        outcome
    }

    fn uncertain(reason: &str) -> Self {
        Self {
            reason: Some(reason.to_owned()),
            ..Self::of(OutcomeClass::Uncertain)
        }
    }

    fn not_sent(refusal: &Refusal) -> Self {
        let detail = &refusal.detail;
        Self {
            reason: Some(refusal.reason.as_str().to_owned()),
            detail: (!detail.is_empty()).then(|| detail.clone()),
            ..Self::of(OutcomeClass::NotSent)
        }
    }
}

#[cfg(test)]
mod tests;
