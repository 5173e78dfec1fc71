//! The mind's view of one connected charger: every rule about that charger meets here and nowhere
//! else. No I/O, no clock, no dice: the gateway hands in what happened and when, and does what comes
//! out.
//!
//! Call any `handle_*`, then [`Station::poll_output`] until it says `None`, then wait until
//! [`Station::poll_timeout`] at the latest.

use crate::Timestamp;
use crate::policy::Policy;
use crate::ports::{ChargerProfile, Token};
use crate::resend::ResendMemory;
use ocpp::Version;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

/// What a station is told at its birth.
#[derive(Debug, Clone)]
pub struct StationConfig {
    /// The charger's identity, as the directory spells it (or as it came, if it is not known).
    pub charger_id: Arc<str>,
    /// What was negotiated.
    pub version: Version,
    /// What the operator has set for it; `None` = not known, taken in as the policy says.
    pub profile: Option<Arc<ChargerProfile>>,
    /// The operator's decisions.
    pub policy: Arc<Policy>,
    /// The connection's epoch: milliseconds at its start, strictly increasing per gateway.
    pub epoch: u64,
    /// Dice for the randomised intervals.
    pub seed: u64,
    /// The peer's address, for the `Connected` record.
    pub remote: String,
}

/// A station's own number for a record that it wants appended: 1 for the first, growing by 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ticket(pub u64);

/// What the gateway shall do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Append the record's bytes to the journal; when it is durable, say so with
    /// [`Station::handle_durable`].
    Append(Ticket, Vec<u8>),
    /// Send this text frame.
    Send(String),
    /// Find out, and say so with [`Station::handle_fact`].
    Ask(Question),
    /// Close the connection; nothing more comes out except what `handle_closed` makes.
    Close(CloseReason),
}

/// Something the station must know before it can answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// How does this token stand?
    Token {
        /// To be handed back with the answer.
        question_id: u64,
        /// idTag or idToken, as the charger wrote it.
        id: String,
    },
}

/// The reply to a [`Question`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// How the token stands.
    Token {
        /// From the question. A reply to a question that is not open is ignored.
        question_id: u64,
        /// What the directory says.
        answer: TokenAnswer,
    },
}

/// What the directory says about a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenAnswer {
    /// It knows it.
    Known(Token),
    /// It was asked and does not know it.
    Unknown,
    /// It does not know it and the database cannot be asked now.
    CannotAsk,
}

/// Why a connection ends or ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// The charger closed it, with this close code if it gave one.
    ByCharger(Option<u16>),
    /// The connection broke; the words of the operating system or the WebSocket library.
    Broken(String),
    /// The charger did not answer our pings in time.
    PingTimeout,
    /// It did not take what we sent in time.
    SendTimeout,
    /// A newer connection of the same identity took its place (rule C-14).
    Replaced,
    /// We are stopping.
    Shutdown,
    /// What it says cannot be made durable now (journal full or broken, rule Q-13).
    NotDurable,
    /// A frame above the size limit.
    TooLarge,
    /// Nothing but frames that cannot be read, too many of them.
    Garbage,
    /// The operator removed, refused or changed the charger.
    Refused,
}

impl CloseReason {
    /// A few words for records and logs.
    #[must_use]
    pub fn as_text(&self) -> Cow<'static, str> {
        match self {
            Self::ByCharger(None) => "closed by the charger".into(),
            Self::ByCharger(Some(code)) => format!("closed by the charger with code {code}").into(),
            Self::Broken(detail) => format!("connection broke: {detail}").into(),
            Self::PingTimeout => "no pong in time".into(),
            Self::SendTimeout => "the charger did not read in time".into(),
            Self::Replaced => "replaced by a newer connection".into(),
            Self::Shutdown => "the gateway is stopping".into(),
            Self::NotDurable => "the journal takes no more".into(),
            Self::TooLarge => "frame above the size limit".into(),
            Self::Garbage => "too many frames that cannot be read".into(),
            Self::Refused => "refused by the operator".into(),
        }
    }
}

/// One connected charger. See the module for the order of calls.
#[derive(Debug)]
pub struct Station {
    memory: ResendMemory,
    outputs: VecDeque<Output>,
}

impl Station {
    /// A charger has connected: `memory` is what is remembered of it. The first output appends the
    /// `Connected` record.
    #[must_use]
    pub fn new(config: StationConfig, memory: ResendMemory, now: Timestamp) -> Self {
        let _ = (config, now);
        Self {
            memory,
            outputs: VecDeque::new(),
        }
    }

    /// Whether another frame should be read from the socket: false while a question is open, or
    /// while as many answers or records wait for the disk as the policy allows.
    #[must_use]
    pub fn wants_frame(&self) -> bool {
        true
    }

    /// The charger sent a text frame.
    pub fn handle_text(&mut self, text: &str, now: Timestamp) {
        let _ = (text, now);
    }

    /// The charger sent a binary frame, or a text frame that is not UTF-8. Text in binary clothes is
    /// taken as text.
    pub fn handle_binary(&mut self, bytes: &[u8], now: Timestamp) {
        let _ = (bytes, now);
    }

    /// Everything up to and including this ticket is durable: answers that waited for it come out.
    pub fn handle_durable(&mut self, upto: Ticket, now: Timestamp) {
        let _ = (upto, now);
    }

    /// The reply to a question.
    pub fn handle_fact(&mut self, fact: Fact, now: Timestamp) {
        let _ = (fact, now);
    }

    /// The moment that [`Station::poll_timeout`] named has come. Too early or too often does no harm.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        let _ = now;
    }

    /// The connection is gone: appends the `Disconnected` record, and answers nothing any more.
    pub fn handle_closed(&mut self, why: CloseReason, now: Timestamp) {
        let _ = (why, now);
    }

    /// What to do next, until `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Station::handle_timeout`] is wanted, if at all.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        None
    }

    /// What is remembered of the charger, for its next connection.
    #[must_use]
    pub fn into_memory(self) -> ResendMemory {
        self.memory
    }
}
