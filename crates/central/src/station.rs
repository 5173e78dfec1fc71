//! One connected charger. All rules about that charger are applied here, so that they can be tested without sockets and
//! clocks: time, randomness and bytes are arguments, decisions are return values. [`Station`] says in which order to call
//! its methods.

mod call;
mod carried;
mod command;
mod frame_fault;
mod payload_check;
mod reply;
mod spoken_version;
mod unreadable;

use crate::Quirk;
use crate::Timestamp;
use crate::actions::Row;
use crate::answer::{TokenForm, Verdict};
use crate::model::CloseStyle;
use crate::policy::{Policy, UnknownCharger};
use crate::ports::{ChargerProfile, CheckMode, Registration, Token};
use crate::quirk;
use crate::record::{AnswerKind, Epoch, Notes, Record, RecordKind};
use crate::resend::{RecentCalls, ResendMemory};
use crate::running::{Beginning, SessionNews};
use call::{Message, Remember};
pub use carried::CarriedStation;
use command::OurCalls;
pub use command::{NotTaken, check_command};
use frame_fault::FrameFault;
use ocpp::Version;
use ocpp::frame::{self, Frame, MessageId, Parsed, Quirks};
use ocpp::json::write_string;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use unreadable::UnreadableFrames;

/// The arguments of [`Station::new`].
#[derive(Debug, Clone)]
pub struct StationConfig {
    /// The charger's identity in the directory's spelling, or as the charger wrote it if the directory does not know it.
    pub charger_id: Arc<str>,
    /// The negotiated version, or the assumed one.
    pub version: Version,
    /// Whether the handshake named no subprotocol, so that the version is assumed. The version that earlier messages
    /// of the charger showed is then used instead, and later ones may show another.
    pub is_version_assumed: bool,
    /// Whether the handshake lacked a header, and was accepted.
    pub is_handshake_repaired: bool,
    /// The operator's settings for it; `None` if it is not known, then the policy decides.
    pub profile: Option<Arc<ChargerProfile>>,
    /// The operator's policy.
    pub policy: Arc<Policy>,
    /// The connection's epoch: milliseconds at its start, strictly increasing per gateway.
    pub epoch: Epoch,
    /// Seed of the randomised intervals.
    pub seed: u64,
    /// The peer's address, for the `Connected` record.
    pub remote: String,
}

/// A station's number for a record: 1 for the first, then increasing by 1.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Ticket(pub u64);

/// What the gateway must do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Append the record's bytes to the journal, and call [`Station::handle_durable`] when it is durable.
    Append {
        /// The station's number for this record.
        ticket: Ticket,
        /// The encoded [`Record`].
        record: Vec<u8>,
        /// What metrics count of it.
        meta: RecordMeta,
    },
    /// Send this text frame.
    Send(String),
    /// What the charger's message says about its transactions. It is true whether the message's record becomes durable
    /// or not.
    Session(SessionNews),
    /// Find the answer, and pass it to [`Station::handle_fact`].
    Ask(Question),
    /// Close the connection; after this, the only output is that of `handle_closed`.
    Close(CloseReason),
}

/// What metrics count of a record, so that it is not decoded for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordMeta {
    /// The kind of record.
    pub kind: RecordKind,
    /// The OCPP version of the message.
    pub version: Version,
    /// The action; `None` if the record has none, or one that the version does not have.
    pub action: Option<&'static str>,
    /// The notes on the message.
    pub notes: Notes,
    /// The mistakes that were tolerated in the record's frame.
    pub quirks: Quirks,
}

/// Messages that were recognised as resends and got the first answer again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResendCounts {
    /// By their content, whatever their message id: transaction messages, also after a reconnect or a restart.
    pub by_content: u32,
    /// By message id and content, shortly after the first.
    pub by_id: u32,
}

/// A question to the directory, which a call's answer depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// The status of a token.
    Token {
        /// To be passed back with the answer.
        question_id: u64,
        /// idTag or idToken, as the charger wrote it.
        id: String,
        /// The transaction that the message begins with the token, if it begins one. If the token may be in one
        /// transaction only and is in another, the answer is [`TokenAnswer::InUse`].
        begins: Option<Beginning>,
    },
}

/// The answer to a [`Question`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// The status of the token.
    Token {
        /// From the question. An answer to a question that is not open is ignored.
        question_id: u64,
        /// The directory's answer.
        answer: TokenAnswer,
    },
}

/// The directory's answer about a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenAnswer {
    /// The token is known.
    Known(Token),
    /// The token is known, may be in one transaction only, and another one of it is running. Only for a question with
    /// a beginning.
    InUse(Token),
    /// The token is not known.
    Unknown,
    /// The token is not in memory, and the database cannot be asked now.
    CannotAsk,
}

/// What limits the length of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizeLimit {
    /// The setting for all chargers.
    Setting,
    /// The operator's setting for this charger.
    Charger,
    /// Half of what unfinished messages of all chargers may hold.
    Unfinished,
    /// The longest record that the journal takes.
    Record,
}

impl SizeLimit {
    /// Its name for records and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Setting => "gateway.frame_bytes_max",
            Self::Charger => "frame_bytes_max of this charger",
            Self::Unfinished => "half of gateway.unfinished_bytes_max",
            Self::Record => "the longest that fits into a record of the journal",
        }
    }
}

/// How the reason of a connection begins that an operator closed.
const BY_OPERATOR: &str = "closed by operator";

/// Why a connection ends or ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// The charger closed it, with this close code if it gave one.
    ByCharger(Option<u16>),
    /// The connection broke; with the error text of the operating system or the WebSocket library.
    Broken(String),
    /// The charger did not answer pings in time.
    PingTimeout,
    /// The charger did not read in time.
    SendTimeout,
    /// A newer connection of the same charger replaced it (rule C-14).
    Replaced,
    /// A newer connection of the same charger, at another gateway, replaced it.
    ReplacedElsewhere,
    /// The gateway is stopping.
    Shutdown,
    /// Messages cannot be made durable now (journal full or broken, rule Q-13).
    NotDurable,
    /// A message above the size limit.
    TooLarge {
        /// Its bytes as far as they are known: at least so many.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
        /// Which limit that is.
        limit: SizeLimit,
    },
    /// A message was not finished in time, or unfinished messages took too much memory.
    Unfinished,
    /// Too many consecutive frames that cannot be read.
    Unreadable,
    /// The operator removed, rejected or changed the charger.
    Refused,
    /// The operator closed the connection.
    ByOperator {
        /// The close code that the charger gets.
        code: u16,
        /// The reason that the operator gave; empty if none.
        reason: String,
    },
}

impl CloseReason {
    /// A short text for records and logs.
    #[must_use]
    pub fn as_text(&self) -> Cow<'static, str> {
        match self {
            Self::ByCharger(None) => "closed by the charger".into(),
            Self::ByCharger(Some(code)) => format!("closed by the charger with code {code}").into(),
            Self::Broken(detail) => format!("connection broke: {detail}").into(),
            Self::PingTimeout => "no pong in time".into(),
            Self::SendTimeout => "the charger did not read in time".into(),
            Self::Replaced => "replaced by a newer connection".into(),
            Self::ReplacedElsewhere => "replaced elsewhere: it connected to another gateway".into(),
            Self::Shutdown => "the gateway is stopping".into(),
            Self::NotDurable => "the journal takes no more".into(),
            Self::TooLarge {
                bytes,
                bytes_max,
                limit,
            } => format!(
                "a message of at least {bytes} bytes: {} is {bytes_max}",
                limit.as_str()
            )
            .into(),
            Self::Unfinished => "a message was not finished in time".into(),
            Self::Unreadable => "too many frames that cannot be read".into(),
            Self::Refused => "refused by the operator".into(),
            Self::ByOperator { code, reason } if reason.is_empty() => {
                format!("{BY_OPERATOR} with code {code}").into()
            }
            Self::ByOperator { code, reason } => {
                format!("{BY_OPERATOR} with code {code}: {reason}").into()
            }
        }
    }
}

impl CloseReason {
    /// Whether a reason that is recorded ([`CloseReason::as_text`]) is that of the central system or its operator: it stopped,
    /// could not store, or closed the connection on purpose. Then it is not the charger's doing that it is away.
    #[must_use]
    pub fn is_of_central_system(recorded: &str) -> bool {
        let ours = [Self::Shutdown, Self::NotDurable, Self::Refused];
        let mut ours = ours.iter().map(Self::as_text);
        ours.any(|text| recorded.starts_with(&*text)) || recorded.starts_with(BY_OPERATOR)
    }
}

/// One connection of one charger.
///
/// Its owner, the connection's task, calls the methods of four kinds in this order:
///
/// 1. *Events in*, one at a time. From the socket: [`handle_text`](Self::handle_text),
///    [`handle_binary`](Self::handle_binary), [`handle_closed`](Self::handle_closed). From the journal:
///    [`handle_durable`](Self::handle_durable), [`handle_refused`](Self::handle_refused). From the directory:
///    [`handle_profile`](Self::handle_profile), and [`handle_fact`](Self::handle_fact) as the reply to an
///    [`Output::Ask`]. From the queue of commands: [`handle_command`](Self::handle_command). From the clock:
///    [`handle_timeout`](Self::handle_timeout).
/// 2. *Decisions out*: [`poll_output`](Self::poll_output) until it returns `None`, after each event. What metrics count
///    of them and is in no output: [`take_resends`](Self::take_resends).
/// 3. *The next time*: [`poll_timeout`](Self::poll_timeout) says when to call
///    [`handle_timeout`](Self::handle_timeout) if no other event comes first.
/// 4. *Getters*, at any time: [`wants_frame`](Self::wants_frame) says whether the owner may read another frame;
///    [`wants_command`](Self::wants_command) says whether it may pass a command;
///    [`is_accepted`](Self::is_accepted) says whether the charger may take part;
///    [`is_between_messages`](Self::is_between_messages) says whether another process may go on with it.
///
/// The first event is after [`new`](Self::new), the last is [`handle_closed`](Self::handle_closed); then
/// [`into_memory`](Self::into_memory) returns what the charger's next connection begins with. Or another process goes on
/// with the connection: [`into_carried`](Self::into_carried) here and [`resume`](Self::resume) there.
///
/// `now` is never earlier than in the call before. No method blocks, waits or fails.
///
/// Each message becomes a record, and its answer waits until the journal has that record; answers leave in the
/// order of their calls. An answer that needs no record of its own (a resend) waits for all records before it,
/// so a repeat of a call that is still in flight is answered when the first is.
#[derive(Debug)]
pub struct Station {
    charger_id: Arc<str>,
    version: Version,
    is_version_assumed: bool,
    profile: Option<Arc<ChargerProfile>>,
    policy: Arc<Policy>,
    epoch: Epoch,
    random: u64,
    phase: Phase,
    memory: ResendMemory,
    recent: RecentCalls,
    outputs: VecDeque<Output>,
    /// Answers in the order of their calls, each with what must be durable before it leaves.
    answers: VecDeque<WaitingAnswer>,
    appended: Ticket,
    durable: Ticket,
    asking: Option<Box<Asking>>,
    questions: u64,
    /// `None` before the first command, so that an idle charger takes little memory.
    our_calls: Option<Box<OurCalls>>,
    unreadable: UnreadableFrames,
    /// Of the frame being handled, until its record takes them.
    quirks: Quirks,
    /// Of the frame being handled, until its record takes them: quirks that are not in `quirks`.
    frame_notes: Notes,
    resends: ResendCounts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Frames are handled.
    Open,
    /// We have asked to close: frames are ignored.
    Closing,
    /// The connection is gone.
    Closed,
}

#[derive(Debug)]
struct WaitingAnswer {
    /// The newest record that must be durable before it leaves.
    needs: Ticket,
    frame: String,
}

/// A call whose answer waits for the directory, with everything that its record needs.
#[derive(Debug)]
struct Asking {
    question_id: u64,
    deadline: Timestamp,
    form: TokenForm,
    id: MessageId<'static>,
    row: &'static Row,
    payload: String,
    notes: Notes,
    reason: String,
    remember: Remember,
}

impl Station {
    /// A charger has connected; `memory` is that of its earlier connections. The first output appends the `Connected`
    /// record.
    #[must_use]
    pub fn new(config: StationConfig, mut memory: ResendMemory, now: Timestamp) -> Self {
        memory.begin_connection();
        if !config.is_version_assumed {
            memory.set_shown_version(None);
        }
        let shown = memory.shown_version();
        let mut station = Self {
            charger_id: config.charger_id,
            version: shown.unwrap_or(config.version),
            is_version_assumed: config.is_version_assumed,
            profile: config.profile,
            policy: config.policy,
            epoch: config.epoch,
            random: config.seed,
            phase: Phase::Open,
            memory,
            recent: RecentCalls::default(),
            outputs: VecDeque::new(),
            answers: VecDeque::new(),
            appended: Ticket(0),
            durable: Ticket(0),
            asking: None,
            questions: 0,
            our_calls: None,
            unreadable: UnreadableFrames::default(),
            quirks: Quirks::default(),
            frame_notes: Notes::default(),
            resends: ResendCounts::default(),
        };
        let mut payload = String::from(r#"{"remote":"#);
        write_string(&mut payload, &config.remote);
        payload.push_str(r#","subprotocol":"#);
        match config.is_version_assumed {
            true => payload.push_str("null"),
            false => write_string(&mut payload, config.version.subprotocol()),
        }
        payload.push('}');
        let mut notes = Notes::default();
        for (is_so, quirk) in [
            (config.is_version_assumed, Quirk::NoSubprotocol),
            (config.is_handshake_repaired, Quirk::RepairedHandshake),
            // Noted again, so that it is still known when the record that showed it is no longer in the journal.
            (shown.is_some(), Quirk::VersionCorrected),
        ] {
            if is_so {
                notes = notes.with(quirk.note());
            }
        }
        let record = Record {
            kind: RecordKind::Connected,
            payload: &payload,
            notes,
            ..station.blank_record(now)
        };
        station.append(&record, None);
        station
    }

    /// The charger's identity, in the directory's spelling if the directory knows it.
    #[must_use]
    pub fn charger_id(&self) -> &str {
        &self.charger_id
    }

    /// How its connection ends if the charger is to come back.
    #[must_use]
    pub fn close_style(&self) -> CloseStyle {
        let own = self
            .profile
            .as_ref()
            .and_then(|profile| profile.close_style);
        own.or(self.memory.close_style()).unwrap_or_default()
    }

    /// Whether another frame may be read from the socket: false while a question is open, or while as many answers or
    /// records wait for the disk as the policy allows.
    #[must_use]
    pub fn wants_frame(&self) -> bool {
        let max = u64::from(self.policy.unanswered_max.max(1));
        self.phase == Phase::Open
            && self.asking.is_none()
            && (self.answers.len() as u64) < max
            && self.appended.0 - self.durable.0 < max
    }

    /// The operator has changed the charger's settings; applies from the next frame on.
    pub fn handle_profile(&mut self, profile: Option<Arc<ChargerProfile>>) {
        self.profile = profile;
    }

    /// The charger sent a text frame.
    pub fn handle_text(&mut self, text: &str, now: Timestamp) {
        self.read(text, Notes::default(), now);
    }

    fn read(&mut self, text: &str, notes: Notes, now: Timestamp) {
        if self.phase != Phase::Open {
            return;
        }
        // A gateway that checks `wants_frame` passes no frame while a question is open. If it does, answers still leave
        // in the order of their calls.
        self.settle_question(TokenAnswer::CannotAsk, now);
        let Parsed { frame, quirks } = frame::parse_noting(text, self.version);
        (self.quirks, self.frame_notes) = (quirks, notes);
        match frame {
            Ok(frame) => {
                self.unreadable.saw_readable();
                let fault = self.frame_fault();
                self.handle_readable(&frame, fault.as_ref(), now);
            }
            Err(error) => self.handle_unreadable(text, &error, now),
        }
    }

    /// `fault` is what check mode `strict` does not tolerate in the frame.
    fn handle_readable(&mut self, frame: &Frame<'_>, fault: Option<&FrameFault>, now: Timestamp) {
        let (kind, payload) = match frame {
            Frame::Call(call) => return self.handle_call(call, fault, now),
            Frame::Send(send) => return self.handle_send(send, fault, now),
            Frame::CallResult(result) => (RecordKind::CallResult, Cow::from(result.payload)),
            Frame::CallError(error) => (RecordKind::CallError, reply::error_payload(error).into()),
            Frame::CallResultError(error) => (
                RecordKind::CallResultError,
                reply::error_payload(error).into(),
            ),
        };
        self.handle_reply(kind, frame.id(), &payload, fault, now);
    }

    /// The charger sent a binary frame, or a text frame that is not UTF-8. A binary frame with UTF-8 is handled as text;
    /// check mode `strict` does not tolerate it.
    pub fn handle_binary(&mut self, bytes: &[u8], now: Timestamp) {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.read(text, Quirk::BinaryFrame.note(), now),
            Err(_) if self.phase == Phase::Open => {
                self.settle_question(TokenAnswer::CannotAsk, now);
                (self.quirks, self.frame_notes) = (Quirks::default(), Quirk::InvalidUtf8.note());
                self.handle_not_text(bytes, now);
            }
            Err(_) => {}
        }
    }

    /// All records up to and including this ticket are durable: answers that waited for them are sent.
    pub fn handle_durable(&mut self, upto: Ticket, now: Timestamp) {
        self.durable = self.durable.max(upto.min(self.appended));
        self.recent.forget_old(now);
        self.release();
        self.send_our_call(now);
    }

    /// The journal refused this record of an [`Output::Append`]. Its message does not count as a resend when it comes
    /// again, since its record does not exist. What is remembered of other messages stays. A command whose record it was
    /// is not sent.
    pub fn handle_refused(&mut self, record: &[u8]) {
        self.recent.clear();
        match Record::decode(record) {
            Ok(record) => {
                self.memory.forget(&record);
                self.forget_our_call(&record);
            }
            // Without the record it is not known which message to forget.
            Err(_) => {
                let shown = self.memory.shown_version();
                let style = self.memory.close_style();
                self.memory = ResendMemory::default();
                self.memory.set_shown_version(shown);
                self.memory.set_close_style(style);
            }
        }
    }

    /// Whether the charger is accepted; if it is not, only BootNotification is answered with success.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.registration() == Registration::Accepted
    }

    /// The answer to a question.
    pub fn handle_fact(&mut self, fact: Fact, now: Timestamp) {
        let Fact::Token {
            question_id,
            answer,
        } = fact;
        if self
            .asking
            .as_ref()
            .is_some_and(|asking| asking.question_id == question_id)
        {
            self.settle_question(answer, now);
        }
    }

    /// The time of [`Station::poll_timeout`] has come. A call that is too early has no effect.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        let asking = self.asking.as_ref();
        if asking.is_some_and(|asking| asking.deadline <= now) {
            self.settle_question(TokenAnswer::CannotAsk, now);
        }
        self.stop_waiting_for_late_reply(now);
    }

    /// The connection has ended: appends the `Disconnected` record and sends no more answers. A call whose question is
    /// still open is dropped: it was not answered, so the charger sends it again if it is of class T or Q. A command
    /// without a reply is recorded as unanswered.
    pub fn handle_closed(&mut self, why: CloseReason, now: Timestamp) {
        if self.phase == Phase::Closed {
            return;
        }
        self.phase = Phase::Closed;
        self.asking = None;
        self.quirks = Quirks::default();
        self.frame_notes = match why {
            CloseReason::TooLarge { .. } => Quirk::MessageTooLarge.note(),
            _ => Notes::default(),
        };
        self.answers = VecDeque::new();
        self.outputs
            .retain(|output| matches!(output, Output::Append { .. }));
        self.end_our_call(&why, now);
        let mut reason = why.as_text().into_owned();
        if let Some(note) = self.unreadable.note() {
            reason.push_str("; ");
            reason.push_str(&note);
        }
        let record = Record {
            kind: RecordKind::Disconnected,
            reason: &reason,
            ..self.blank_record(now)
        };
        self.append(&record, None);
    }

    /// The next output; `None` if there is none.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if output.is_none() {
            // An idle charger must take little memory; a busy one keeps its small buffers.
            const KEPT: usize = 16;
            if self.outputs.capacity() > KEPT {
                self.outputs = VecDeque::new();
            }
            if self.answers.is_empty() && self.answers.capacity() > KEPT {
                self.answers = VecDeque::new();
            }
        }
        output
    }

    /// The resends that were recognised since the last call.
    pub fn take_resends(&mut self) -> ResendCounts {
        std::mem::take(&mut self.resends)
    }

    /// When to call [`Station::handle_timeout`]; `None` if no timer is needed.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let asking = self.asking.as_ref().map(|asking| asking.deadline);
        let reply = self.our_calls.as_ref().and_then(|calls| calls.deadline());
        match (asking, reply) {
            (Some(asking), Some(reply)) => Some(asking.min(reply)),
            (asking, reply) => asking.or(reply),
        }
    }

    /// The memory of the charger's messages, for its next connection. The last records need not be durable yet: on the
    /// next connection a resend waits for that connection's first record, which is later in the journal.
    ///
    /// **If the journal refused a record** of an [`Output::Append`], call [`Station::handle_refused`] before.
    #[must_use]
    pub fn into_memory(self) -> ResendMemory {
        self.memory
    }

    /// Answers the call that waits for the directory, if there is one.
    fn settle_question(&mut self, answer: TokenAnswer, now: Timestamp) {
        let Some(asking) = self.asking.take() else {
            return;
        };
        let verdict = Verdict::of(answer, asking.form.version(), &self.policy, now);
        let mut notes = asking.notes;
        if verdict.is_unverified {
            notes = notes.with(Notes::TOKEN_UNVERIFIED);
        }
        let message = Message {
            id: &asking.id,
            row: asking.row,
            payload: &asking.payload,
            notes,
            reason: &asking.reason,
            remember: asking.remember,
        };
        let answer = asking.form.write(&verdict);
        self.answer(&message, &answer, now);
    }

    /// The charger's registration. It belongs to the charger, not to the connection: a charger need not boot again when
    /// it reconnects (B-1).
    fn registration(&self) -> Registration {
        match &self.profile {
            Some(profile) => profile.registration,
            None => match self.policy.unknown_charger {
                UnknownCharger::Accept => Registration::Accepted,
                UnknownCharger::Pending => Registration::Pending,
                UnknownCharger::Reject => Registration::Rejected,
            },
        }
    }

    fn check_mode(&self) -> CheckMode {
        let profile = self.profile.as_ref();
        profile
            .and_then(|profile| profile.check)
            .unwrap_or(self.policy.check)
    }

    /// A record of this connection without content.
    fn blank_record<'a>(&self, now: Timestamp) -> Record<'a>
    where
        Self: 'a,
    {
        Record {
            kind: RecordKind::Call,
            // Set by `append`, so that a record does not borrow the station.
            charger_id: "",
            ocpp_version: self.version,
            message_id: "",
            action: "",
            payload: "",
            answer_kind: AnswerKind::None,
            answer: "",
            received_at: now,
            epoch: self.epoch,
            notes: Notes::default(),
            reason: "",
        }
    }

    /// Asks the gateway to append a record; `action` is its action if its version has it.
    fn append(&mut self, record: &Record<'_>, action: Option<&'static str>) -> Ticket {
        let quirks = std::mem::take(&mut self.quirks);
        let notes = record
            .notes
            .with(quirk::notes_of_frame(quirks))
            .with(std::mem::take(&mut self.frame_notes));
        let bytes = Record {
            charger_id: &self.charger_id,
            notes,
            ..*record
        }
        .encode();
        self.memory.learn_boot(record, &self.policy.close_styles);
        // The caller remembers the message of this record afterwards, if it is to be recognised.
        self.recent.clear();
        self.appended.0 += 1;
        self.outputs.push_back(Output::Append {
            ticket: self.appended,
            record: bytes,
            meta: RecordMeta {
                kind: record.kind,
                version: record.ocpp_version,
                action,
                notes,
                quirks,
            },
        });
        self.appended
    }

    /// Queues an answer; it leaves when all records up to `needs` are durable.
    fn send(&mut self, needs: Ticket, frame: String) {
        self.answers.push_back(WaitingAnswer { needs, frame });
        self.release();
    }

    fn release(&mut self) {
        while self
            .answers
            .front()
            .is_some_and(|answer| answer.needs <= self.durable)
        {
            if let Some(answer) = self.answers.pop_front() {
                self.outputs.push_back(Output::Send(answer.frame));
            }
        }
    }

    /// The next random number (splitmix64).
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
