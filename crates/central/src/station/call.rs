//! Calls and SENDs of the charger: checked, recognised as resends, decided, recorded and answered.

use super::frame_fault::FrameFault;
use super::payload_check::{self, PayloadCheck};
use super::spoken_version;
use super::{Asking, Output, Question, Station, Ticket};
use crate::actions::{self, Repeats, Row};
use crate::answer::{Decision, Scene, TokenQuestion};
use crate::ports::{CheckMode, Registration};
use crate::project::place;
use crate::record::{AnswerKind, Notes, Record, RecordKind};
use crate::resend::{Known, RecentCalls, ResendKey};
use crate::{Quirk, Timestamp};
use ocpp::action::{self, DeliveryClass};
use ocpp::frame::{self, Call, MessageId, Send};
use ocpp::json::write_string;
use ocpp::{ErrorCode, Version};

/// A message with everything that its record needs, except the answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) id: &'a MessageId<'a>,
    /// Its action, in the version that it is written in.
    pub(super) row: &'static Row,
    pub(super) payload: &'a str,
    pub(super) notes: Notes,
    pub(super) reason: &'a str,
    pub(super) remember: Remember,
}

/// How the answer is remembered for resends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Remember {
    /// In [`ResendMemory`](crate::resend::ResendMemory).
    Long(ResendKey),
    /// In [`RecentCalls`], by this hash of id and content.
    Recent(u64),
    /// Not at all.
    Not,
}

/// The reason in the record of a message that is valid in another version only.
fn written_as(version: Version) -> String {
    format!("conforms to OCPP {version}")
}

/// The longest transaction message of a charger that is not accepted that is recorded, in bytes of payload.
const UNACCEPTED_PAYLOAD_MAX: usize = 4 << 10;

impl Station {
    /// `fault` is what check mode `strict` does not tolerate in the frame.
    pub(super) fn handle_call(
        &mut self,
        call: &Call<'_>,
        fault: Option<&FrameFault>,
        now: Timestamp,
    ) {
        self.take_version(&call.action, call.payload);
        let known = self.find_row(&call.action);
        if self.refuse_unregistered(call, known, now) {
            return;
        }
        let Some(row) = known else {
            return self.refuse_action(call, now);
        };
        let mode = self.check_mode();
        let is_of_version = row.version == self.version;
        // An action of another version is tolerated (quirk 3), except in strict mode.
        if !is_of_version
            && mode == CheckMode::Strict
            && !payload_check::is_answered_when_broken(row, mode)
        {
            return self.refuse_action(call, now);
        }
        let message = Message {
            id: &call.id,
            row,
            payload: call.payload,
            notes: Notes::default(),
            reason: "",
            remember: Remember::Not,
        };
        if let Some(fault) = fault
            && !payload_check::is_answered_when_broken(row, mode)
        {
            let message = message.because(&fault.description);
            return self.refuse(&message, fault.code, &fault.description, now);
        }
        let note = |reason: &str| FrameFault::join(fault, reason);
        match payload_check::check(row, call.payload, mode) {
            PayloadCheck::Valid if is_of_version && fault.is_none() => {
                self.handle_understood(&message, now)
            }
            PayloadCheck::Valid if is_of_version => {
                self.handle_understood(&message.tolerated(&note("")), now);
            }
            PayloadCheck::Valid => {
                let reason = note(&format!("an action of OCPP {}", row.version));
                self.handle_understood(&message.tolerated(&reason), now);
            }
            PayloadCheck::Tolerated { reason, notes } => {
                self.handle_understood(&message.tolerated(&note(&reason)).noted(notes), now)
            }
            PayloadCheck::ValidIn(row) => {
                let reason = note(&written_as(row.version));
                let message = Message {
                    row,
                    ..message.tolerated(&reason)
                };
                self.handle_understood(&message, now);
            }
            PayloadCheck::Broken { reason, code } => {
                if payload_check::is_answered_when_broken(row, mode) {
                    self.handle_understood(&message.quarantined(&note(&reason)), now);
                } else {
                    let message = message.because(&reason);
                    self.refuse(&message, code, &reason, now);
                }
            }
        }
    }

    /// Handles a message that will be answered with success, also if its payload is broken.
    pub(super) fn handle_understood(&mut self, message: &Message<'_>, now: Timestamp) {
        let mut message = *message;
        let row = message.row;
        self.recent
            .receive(row.name(), message.id.as_str(), message.payload);
        if let Some(key) = ResendKey::of(row, message.payload) {
            message.remember = Remember::Long(key);
            match self.memory.find(key) {
                Known::New => {}
                // Another gateway may have received the stop in between, and without a time the message need not be the
                // same start: it gets the same answer and its own record.
                Known::Resend(first)
                    if key.is_undated_start() && self.memory.is_of_earlier_connection(key) =>
                {
                    let first = first.to_owned();
                    self.resends.by_content += 1;
                    return self.answer(&message, &first, now);
                }
                Known::Resend(first) => {
                    self.resends.by_content += 1;
                    let frame = frame::write_call_result(message.id, first);
                    return self.send(self.appended, frame);
                }
                Known::Conflict(first) => {
                    message.notes = message.notes.with(Notes::CONFLICT);
                    if matches!(row.action.repeats, Repeats::NaturalKey(message) if message.keeps_first_answer)
                    {
                        let first = first.to_owned();
                        return self.answer(&message, &first, now);
                    }
                }
            }
        } else if matches!(row.action.repeats, Repeats::Recent) {
            let hash = RecentCalls::key(row.name(), message.id.as_str(), message.payload);
            message.remember = Remember::Recent(hash);
            if let Some(first) = self.recent.find(hash, now) {
                self.resends.by_id += 1;
                let frame = frame::write_call_result(message.id, first);
                return self.send(self.appended, frame);
            }
        }
        let random = if row.action.is_boot { self.draw() } else { 0 };
        let ended_transaction = match message.remember {
            Remember::Long(key) => self.memory.ended_transaction(key),
            Remember::Recent(_) | Remember::Not => None,
        };
        let scene = Scene {
            version: row.version,
            charger_id: &self.charger_id,
            payload: message.payload,
            policy: &self.policy,
            registration: self.registration(),
            now,
            ended_transaction,
            random,
        };
        match (row.action.answer)(&scene) {
            Decision::Answer(answer) => self.answer(&message, &answer, now),
            Decision::Ask(question) => self.ask(&message, question, now),
        }
    }

    /// Records the message with its answer, which leaves when the record is durable.
    pub(super) fn answer(&mut self, message: &Message<'_>, answer: &str, now: Timestamp) {
        let frame = frame::write_call_result(message.id, answer);
        if !(message.row.action.is_recorded)(&self.policy) {
            return self.send(Ticket(0), frame);
        }
        let record = Record {
            answer_kind: AnswerKind::Result,
            answer,
            ..self.record_of(message, now)
        };
        let ticket = self.append(&record, Some(message.row.name()));
        if let Repeats::NaturalKey(transaction) = message.row.action.repeats
            && let Some(news) = (transaction.news)(message.payload, answer)
        {
            self.outputs.push_back(Output::Session(news));
        }
        match message.remember {
            Remember::Long(key) => self.memory.remember(key, answer),
            Remember::Recent(hash) => self.recent.remember(hash, answer, now),
            Remember::Not => {}
        }
        self.send(ticket, frame);
    }

    fn ask(&mut self, message: &Message<'_>, question: TokenQuestion, now: Timestamp) {
        self.questions += 1;
        let timeout_ms = i64::from(self.policy.question_timeout_ms);
        self.asking = Some(Box::new(Asking {
            question_id: self.questions,
            deadline: now.plus_millis(timeout_ms),
            form: question.form,
            id: message.id.clone().into_owned(),
            row: message.row,
            payload: message.payload.to_owned(),
            notes: message.notes,
            reason: message.reason.to_owned(),
            remember: message.remember,
        }));
        self.outputs.push_back(Output::Ask(Question::Token {
            question_id: self.questions,
            id: question.id,
            begins: question.begins,
        }));
    }

    /// Answers with CALLERROR, which leaves when the message's record is durable.
    fn refuse(
        &mut self,
        message: &Message<'_>,
        code: ErrorCode,
        description: &str,
        now: Timestamp,
    ) {
        let record = self.record_of(message, now);
        let name = message.row.name();
        self.refuse_with_record(message.id, &record, Some(name), code, description);
    }

    /// As [`Station::refuse`]; `action` is the record's action if its version has it.
    fn refuse_with_record(
        &mut self,
        id: &MessageId<'_>,
        record: &Record<'_>,
        action: Option<&'static str>,
        code: ErrorCode,
        description: &str,
    ) {
        let code = code.as_str(self.version);
        let record = Record {
            answer_kind: AnswerKind::Error,
            answer: &error_answer(code, description),
            ..*record
        };
        let ticket = self.append(&record, action);
        let frame = frame::write_call_error(id, code, description, "{}");
        self.send(ticket, frame);
    }

    /// A SEND (2.1): recorded, never answered (F-3). `fault` as in [`Station::handle_call`].
    pub(super) fn handle_send(
        &mut self,
        send: &Send<'_>,
        fault: Option<&FrameFault>,
        now: Timestamp,
    ) {
        if self.registration() != Registration::Accepted {
            return self.unreadable.dropped();
        }
        let info = action::lookup(self.version, &send.action);
        let row = actions::find(self.version, &send.action);
        let checked = match (row, info) {
            (Some(row), _) => payload_check::check(row, send.payload, self.check_mode()),
            (None, Some(_)) => PayloadCheck::Tolerated {
                reason: "an action of the central system".into(),
                notes: Notes::default(),
            },
            (None, None) => PayloadCheck::Tolerated {
                reason: "unknown action".into(),
                notes: Notes::default(),
            },
        };
        let (notes, reason) = match checked {
            PayloadCheck::Valid if fault.is_none() => (Notes::default(), String::new()),
            PayloadCheck::Valid => (Notes::TOLERATED, String::new()),
            PayloadCheck::Tolerated { reason, notes } => (Notes::TOLERATED.with(notes), reason),
            PayloadCheck::ValidIn(row) => (Notes::TOLERATED, written_as(row.version)),
            PayloadCheck::Broken { reason, .. } => (Notes::QUARANTINED, reason),
        };
        let record = Record {
            kind: RecordKind::Send,
            message_id: send.id.as_str(),
            action: &send.action,
            payload: send.payload,
            notes: notes.with(place::note(send.payload)),
            reason: &FrameFault::join(fault, &reason),
            ..self.blank_record(now)
        };
        self.append(&record, info.map(|info| info.name));
    }

    /// The row of an action that a charger may send, of the connection's version or else of another: a charger that
    /// negotiated one version and sends another (quirk 3) is handled too.
    pub(super) fn find_row(&self, name: &str) -> Option<&'static Row> {
        let mut others = spoken_version::others(self.version).iter();
        actions::find(self.version, name)
            .or_else(|| others.find_map(|version| actions::find(*version, name)))
    }

    fn refuse_action(&mut self, call: &Call<'_>, now: Timestamp) {
        let info = action::lookup(self.version, &call.action);
        let (code, description) = match info {
            Some(_) => (
                ErrorCode::NotSupported,
                "only the central system sends this action".to_owned(),
            ),
            None => (
                ErrorCode::NotImplemented,
                format!("OCPP {} has no such action for chargers", self.version),
            ),
        };
        let record = Record {
            message_id: call.id.as_str(),
            action: &call.action,
            payload: call.payload,
            reason: &description,
            ..self.blank_record(now)
        };
        let name = info.map(|info| info.name);
        self.refuse_with_record(&call.id, &record, name, code, &description);
    }

    /// Refuses all calls but BootNotification of a charger that is not accepted (B-4); returns whether it did. Only
    /// transaction messages up to [`UNACCEPTED_PAYLOAD_MAX`] are recorded. Nothing is lost by that, because none is
    /// answered with success. Any client can send such messages: the gateway bounds how many are recorded, this bounds
    /// their length.
    fn refuse_unregistered(
        &mut self,
        call: &Call<'_>,
        row: Option<&'static Row>,
        now: Timestamp,
    ) -> bool {
        let is_boot = row.is_some_and(|row| row.action.is_boot);
        if is_boot || self.registration() == Registration::Accepted {
            return false;
        }
        let code = ErrorCode::SecurityError;
        let description = "not accepted yet: BootNotification first";
        let is_recorded = |row: &&'static Row| {
            row.info.class == DeliveryClass::T && call.payload.len() <= UNACCEPTED_PAYLOAD_MAX
        };
        if let Some(row) = row.filter(is_recorded) {
            let record = Record {
                message_id: call.id.as_str(),
                action: row.name(),
                payload: call.payload,
                reason: "the charger is not accepted",
                ..self.blank_record(now)
            };
            let name = (row.version == self.version).then_some(row.name());
            self.refuse_with_record(&call.id, &record, name, code, description);
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
        let notes = message.notes.with(place::note(message.payload));
        Record {
            ocpp_version: message.row.version,
            message_id: message.id.as_str(),
            action: message.row.name(),
            payload: message.payload,
            notes: match message.row.version == self.version {
                true => notes,
                false => notes.with(Quirk::OtherVersion.note()),
            },
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

    fn noted(self, notes: Notes) -> Self {
        Self {
            notes: self.notes.with(notes),
            ..self
        }
    }

    pub(super) fn because(self, reason: &'a str) -> Self {
        Self { reason, ..self }
    }
}

/// A CALLERROR as it is recorded: `[code,description,details]`.
pub(super) fn error_answer(code: &str, description: &str) -> String {
    let mut out = String::from("[");
    write_string(&mut out, code);
    out.push(',');
    write_string(&mut out, description);
    out.push_str(",{}]");
    out
}
