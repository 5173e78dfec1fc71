//! A charger asks: understand, recognise, decide, record, answer.

use super::payload_check::{self, PayloadCheck};
use super::{Asking, Output, Question, Station, Ticket};
use crate::Timestamp;
use crate::answer::{self, Decision, Scene, TokenQuestion};
use crate::ports::Registration;
use crate::record::{AnswerKind, Notes, Record, RecordKind};
use crate::resend::{Known, RecentCalls, ResendKey};
use ocpp::action::{self, ActionInfo, DeliveryClass};
use ocpp::frame::{self, Call, MessageId, Send};
use ocpp::json::write_string;
use ocpp::{ErrorCode, Version};

/// A message with all that its record needs, except the answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) id: &'a MessageId<'a>,
    pub(super) action: &'a str,
    pub(super) payload: &'a str,
    /// The version in whose words it is written.
    pub(super) version: Version,
    pub(super) notes: Notes,
    pub(super) reason: &'a str,
    pub(super) remember: Remember,
}

/// How its answer is remembered for the case that it comes again.
#[derive(Debug, Clone, Copy)]
pub(super) enum Remember {
    /// By what it says, for long.
    Told(ResendKey),
    /// By id and content, for a while and until the next call.
    Recent(u64),
    /// Not at all.
    Not,
}

/// Bytes of what a charger that is not accepted says of a transaction, for it to be put on record.
const UNACCEPTED_PAYLOAD_MAX: usize = 4 << 10;

impl Station {
    pub(super) fn handle_call(&mut self, call: &Call<'_>, now: Timestamp) {
        let known = self.known_action(&call.action);
        if self.refuse_unregistered(call, known.map(|(_, info)| info), now) {
            return;
        }
        let Some((version, info)) = known else {
            return self.refuse_action(call, now);
        };
        let checked = payload_check::check(version, info, call.payload, self.check_mode());
        let message = Message {
            id: &call.id,
            action: info.name,
            payload: call.payload,
            version,
            notes: Notes::default(),
            reason: "",
            remember: Remember::Not,
        };
        match checked {
            PayloadCheck::Valid if version == self.version => self.handle_understood(&message, now),
            PayloadCheck::Valid => {
                self.handle_understood(&message.tolerated("an action of OCPP 1.6"), now);
            }
            PayloadCheck::Tolerated(reason) => {
                self.handle_understood(&message.tolerated(&reason), now)
            }
            PayloadCheck::ValidIn16(reason) => {
                let message = Message {
                    version: Version::V16,
                    ..message.tolerated(&reason)
                };
                self.handle_understood(&message, now);
            }
            PayloadCheck::Broken { reason, code } => {
                if payload_check::never_refused(info, self.check_mode()) {
                    self.handle_understood(&message.quarantined(&reason), now);
                } else {
                    let message = message.because(&reason);
                    self.refuse(&message, code, &reason, now);
                }
            }
        }
    }

    /// The payload is what it is; from here on the message is answered with success.
    pub(super) fn handle_understood(&mut self, message: &Message<'_>, now: Timestamp) {
        let mut message = *message;
        self.recent
            .come(message.action, message.id.as_str(), message.payload);
        if let Some(key) = ResendKey::of(message.version, message.action, message.payload) {
            message.remember = Remember::Told(key);
            match self.memory.find(key) {
                Known::New => {}
                // Another gateway may have heard the stop in between, and no time in the message says that
                // it is the same start: the answer stays, and the message gets a record of its own.
                Known::Repeat(first)
                    if key.is_undated_start && self.memory.is_of_earlier_connection(key) =>
                {
                    let first = first.to_owned();
                    return self.answer(&message, &first, now);
                }
                Known::Repeat(first) => {
                    let frame = frame::write_call_result(message.id, first);
                    return self.send(self.appended, frame);
                }
                Known::Conflict(first) => {
                    message.notes = message.notes.with(Notes::CONFLICT);
                    // One start, one id, one verdict: to judge it anew could stop what it started.
                    if message.action == "StartTransaction" {
                        let first = first.to_owned();
                        return self.answer(&message, &first, now);
                    }
                }
            }
        } else if let Some(hash) =
            RecentCalls::key(message.action, message.id.as_str(), message.payload)
        {
            message.remember = Remember::Recent(hash);
            if let Some(first) = self.recent.find(hash, now) {
                let frame = frame::write_call_result(message.id, first);
                return self.send(self.appended, frame);
            }
        }
        let random = match message.action {
            "BootNotification" => self.draw(),
            _ => 0,
        };
        let ended_transaction = match message.remember {
            Remember::Told(key) => self.memory.ended_transaction(key),
            Remember::Recent(_) | Remember::Not => None,
        };
        let scene = Scene {
            version: message.version,
            charger_id: &self.charger_id,
            payload: message.payload,
            policy: &self.policy,
            registration: self.registration(),
            now,
            ended_transaction,
            random,
        };
        match answer::decide(message.action, &scene) {
            Decision::Answer(answer) => self.answer(&message, &answer, now),
            Decision::Ask(question) => self.ask(&message, question, now),
        }
    }

    /// Records the message with its answer, which leaves when that is durable.
    pub(super) fn answer(&mut self, message: &Message<'_>, answer: &str, now: Timestamp) {
        let frame = frame::write_call_result(message.id, answer);
        if message.action == "Heartbeat" && !self.policy.record_heartbeats {
            return self.send(Ticket(0), frame);
        }
        let ticket = self.append(&Record {
            kind: RecordKind::Call,
            answer_kind: AnswerKind::Result,
            answer,
            ..self.record_of(message, now)
        });
        match message.remember {
            Remember::Told(key) => self.memory.remember(key, answer),
            Remember::Recent(hash) => self.recent.remember(hash, answer, now),
            Remember::Not => {}
        }
        self.send(ticket, frame);
    }

    fn ask(&mut self, message: &Message<'_>, question: TokenQuestion, now: Timestamp) {
        let Some(info) = action::lookup(message.version, message.action) else {
            return;
        };
        self.questions += 1;
        let timeout_ms = i64::from(self.policy.question_timeout_ms);
        self.asking = Some(Box::new(Asking {
            question_id: self.questions,
            deadline: now.plus_millis(timeout_ms),
            form: question.form,
            id: message.id.clone().into_owned(),
            action: info.name,
            payload: message.payload.to_owned(),
            version: message.version,
            notes: message.notes,
            reason: message.reason.to_owned(),
            remember: message.remember,
        }));
        self.outputs.push_back(Output::Ask(Question::Token {
            question_id: self.questions,
            id: question.id,
        }));
    }

    /// A CALLERROR, with the message on record.
    pub(super) fn refuse(
        &mut self,
        message: &Message<'_>,
        code: ErrorCode,
        description: &str,
        now: Timestamp,
    ) {
        let code = code.as_str(self.version);
        let ticket = self.append(&Record {
            kind: RecordKind::Call,
            answer_kind: AnswerKind::Error,
            answer: &error_answer(code, description),
            ..self.record_of(message, now)
        });
        let frame = frame::write_call_error(message.id, code, description, "{}");
        self.send(ticket, frame);
    }

    /// A SEND (2.1): recorded, never answered (F-3).
    pub(super) fn handle_send(&mut self, send: &Send<'_>, now: Timestamp) {
        if self.registration() != Registration::Accepted {
            return self.unreadable.dropped();
        }
        let checked = match action::lookup(self.version, &send.action) {
            Some(info) => payload_check::check(self.version, info, send.payload, self.check_mode()),
            None => PayloadCheck::Tolerated("unknown action".into()),
        };
        let (notes, reason) = match checked {
            PayloadCheck::Valid => (Notes::default(), String::new()),
            PayloadCheck::Tolerated(reason) | PayloadCheck::ValidIn16(reason) => {
                (Notes::TOLERATED, reason)
            }
            PayloadCheck::Broken { reason, .. } => (Notes::QUARANTINED, reason),
        };
        self.append(&Record {
            kind: RecordKind::Send,
            message_id: send.id.as_str(),
            action: &send.action,
            payload: send.payload,
            notes,
            reason: &reason,
            ..self.blank_record(now)
        });
    }

    /// The action, if a charger may ask it, and the version whose words it is of. A charger that
    /// negotiated 2.x and speaks 1.6 (quirk 3) is understood all the same.
    pub(super) fn known_action(&self, name: &str) -> Option<(Version, &'static ActionInfo)> {
        let find = |version| {
            action::lookup(version, name)
                .filter(|info| info.is_to_central())
                .map(|info| (version, info))
        };
        find(self.version).or_else(|| find(Version::V16))
    }

    fn refuse_action(&mut self, call: &Call<'_>, now: Timestamp) {
        let (code, description) = match action::lookup(self.version, &call.action) {
            Some(_) => (
                ErrorCode::NotSupported,
                "only the central system asks this".to_owned(),
            ),
            None => (
                ErrorCode::NotImplemented,
                format!("OCPP {} has no such action for chargers", self.version),
            ),
        };
        let message = Message {
            id: &call.id,
            action: &call.action,
            payload: call.payload,
            version: self.version,
            notes: Notes::default(),
            reason: &description,
            remember: Remember::Not,
        };
        self.refuse(&message, code, &description, now);
    }

    /// A charger that is not accepted may only boot (B-4). What it says of transactions is put on record before
    /// it is refused, unless it is longer than [`UNACCEPTED_PAYLOAD_MAX`]; nothing else is. It is never answered
    /// with success, so nothing that counts as stored is left out. Whoever connects can say these things:
    /// how many of them are recorded is bounded by the gateway, how long they are is bounded here.
    fn refuse_unregistered(
        &mut self,
        call: &Call<'_>,
        info: Option<&'static ActionInfo>,
        now: Timestamp,
    ) -> bool {
        let boots = info.is_some_and(|info| info.name == "BootNotification");
        if boots || self.registration() == Registration::Accepted {
            return false;
        }
        let code = ErrorCode::SecurityError;
        let description = "not accepted yet: BootNotification first";
        let is_recorded = |info: &&ActionInfo| {
            info.class == DeliveryClass::T && call.payload.len() <= UNACCEPTED_PAYLOAD_MAX
        };
        if let Some(info) = info.filter(is_recorded) {
            let message = Message {
                id: &call.id,
                action: info.name,
                payload: call.payload,
                version: self.version,
                notes: Notes::default(),
                reason: "the charger is not accepted",
                remember: Remember::Not,
            };
            self.refuse(&message, code, description, now);
        } else {
            self.recent.clear();
            let code = code.as_str(self.version);
            let frame = frame::write_call_error(&call.id, code, description, "{}");
            self.send(Ticket(0), frame);
        }
        true
    }

    fn record_of<'a>(&self, message: &Message<'a>, now: Timestamp) -> Record<'a>
    where
        Self: 'a,
    {
        Record {
            ocpp_version: message.version,
            message_id: message.id.as_str(),
            action: message.action,
            payload: message.payload,
            notes: message.notes,
            reason: message.reason,
            ..self.blank_record(now)
        }
    }
}

impl<'a> Message<'a> {
    pub(super) fn tolerated(self, reason: &'a str) -> Self {
        Self {
            notes: self.notes.with(Notes::TOLERATED),
            reason,
            ..self
        }
    }

    pub(super) fn quarantined(self, reason: &'a str) -> Self {
        Self {
            notes: self.notes.with(Notes::QUARANTINED),
            reason,
            ..self
        }
    }

    pub(super) fn because(self, reason: &'a str) -> Self {
        Self { reason, ..self }
    }
}

/// How a CALLERROR is put on record.
pub(super) fn error_answer(code: &str, description: &str) -> String {
    let mut out = String::from("[");
    write_string(&mut out, code);
    out.push(',');
    write_string(&mut out, description);
    out.push_str(",{}]");
    out
}
