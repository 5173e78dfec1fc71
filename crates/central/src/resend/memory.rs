//! The newest messages of one charger with their answers.

use super::key::{ResendKey, Role, SessionTag, fingerprint, transaction_id_member};
use crate::Quirk;
use crate::actions;
use crate::model::{CloseRule, CloseStyle};
use crate::record::{Record, RecordKind};
use ocpp::Version;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// What is known of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known<'a> {
    /// Nothing.
    New,
    /// It is a resend; this was the payload of the first answer.
    Resend(&'a str),
    /// It has the natural key of an earlier message and another content; this was the payload of the earlier one's
    /// answer.
    Conflict(&'a str),
}

/// The newest messages of one charger, small enough to be kept for every charger: at most
/// [`ResendMemory::KEYS_MAX`] messages of 24 bytes, and the text of the last [`ResendMemory::ANSWERS_MAX`] answers other
/// than `{}`. Empty it uses no heap.
///
/// A charger repeats an unanswered message before it sends the next one, so only the newest few matter. It follows that
/// a start without a plausible time which comes again after its stop was answered is not a resend: it begins another
/// session, which must get its own record, and in 1.6 its own id. So a stop ends what is known of its start, a start
/// ends what is known of the earlier session with the same id, and a stop without a usable id ends what is known of all
/// starts. A start with a plausible time is a resend for as long as it is remembered: no two sessions have the same
/// time.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct ResendMemory {
    /// Oldest first.
    messages: VecDeque<Message>,
    /// By [`Message::fingerprint`], oldest first.
    answers: VecDeque<(u64, Box<str>)>,
    /// Number of the newest message; after the largest number comes 1.
    last_number: u16,
    /// The version that a message showed, of a charger whose handshake names none.
    shown_version: Option<Version>,
    /// What the policy's rules say of the charger's last BootNotification.
    close_style: Option<CloseStyle>,
}

/// The fields of its key are not nested, so that it takes 24 bytes at most.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Message {
    natural: u64,
    content: u32,
    session: SessionTag,
    /// Unique among the remembered messages; never 0.
    number: u16,
    /// The number of the stop that stopped the session of this 1.6 start without a plausible time, or 0.
    ended_by: u16,
    role: Role,
    /// Whether the answer was more than `{}`.
    has_answer: bool,
    /// Whether it is a start without a plausible time.
    is_undated_start: bool,
    /// Whether it last came on an earlier connection.
    is_earlier: bool,
    /// Whether it came on an earlier connection and again on this one.
    is_again: bool,
}

const _: () = assert!(size_of::<Message>() <= 24);

impl Message {
    fn is(&self, key: ResendKey) -> bool {
        self.natural == key.natural && self.content == key.content && !self.is_ended()
    }

    const fn is_ended(&self) -> bool {
        self.ended_by != 0
    }

    const fn fingerprint(&self) -> u64 {
        fingerprint(self.natural, self.content)
    }
}

impl ResendMemory {
    /// Messages remembered at most.
    pub const KEYS_MAX: usize = 32;
    /// Answers whose text is remembered at most. A message is forgotten together with its answer.
    pub const ANSWERS_MAX: usize = 8;

    /// Remembers the call and the answer of `record`, and the version that it showed; used to rebuild the memory from the
    /// journal at start. Records must come in their order. Records other than calls answered with success are ignored,
    /// except for the version.
    pub fn learn(&mut self, record: &Record<'_>) {
        if record.kind == RecordKind::Connected && !record.notes.has(Quirk::NoSubprotocol.note()) {
            self.shown_version = None;
        }
        if record.notes.has(Quirk::VersionCorrected.note()) {
            self.shown_version = Some(record.ocpp_version);
        }
        if let Some(key) = ResendKey::of_record(record) {
            self.remember(key, record.answer);
        }
    }

    /// Remembers what `rules` say of the charger, if the record is a BootNotification. Called for each record of a station,
    /// and for those in the journal at start.
    pub fn learn_boot(&mut self, record: &Record<'_>, rules: &[CloseRule]) {
        if record.kind == RecordKind::Call
            && !rules.is_empty()
            && let Some(boot) = actions::boot(record.ocpp_version, record.action, record.payload)
        {
            self.close_style = CloseRule::first(rules, &boot);
        }
    }

    /// What the policy's rules say of the charger's last BootNotification.
    pub(crate) const fn close_style(&self) -> Option<CloseStyle> {
        self.close_style
    }

    /// As another memory of the same charger knows it.
    pub(crate) const fn set_close_style(&mut self, style: Option<CloseStyle>) {
        self.close_style = style;
    }

    /// Forgets the call of `record`, because the journal refused it; what is known of other messages stays.
    pub fn forget(&mut self, record: &Record<'_>) {
        let Some(key) = ResendKey::of_record(record) else {
            return;
        };
        let Some(at) = self.messages.iter().rposition(|message| message.is(key)) else {
            return;
        };
        let message = &mut self.messages[at];
        if message.is_again {
            // Its first record is stored; only the record of the resend was refused.
            (message.is_again, message.is_earlier) = (false, true);
            return;
        }
        let number = message.number;
        self.forget_where(|message| message.number == number);
        // A refused stop has stopped nothing.
        for message in &mut self.messages {
            if message.ended_by == number {
                message.ended_by = 0;
            }
        }
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.shown_version.is_none() && self.close_style.is_none()
    }

    /// The version that a message showed, of a charger whose handshake names none.
    #[must_use]
    pub const fn shown_version(&self) -> Option<Version> {
        self.shown_version
    }

    /// Remembers the version that a message showed; `None` if the handshake names one.
    pub(crate) const fn set_shown_version(&mut self, version: Option<Version>) {
        self.shown_version = version;
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.messages.capacity() * size_of::<Message>()
            + self.answers.capacity() * size_of::<(u64, Box<str>)>()
            + self
                .answers
                .iter()
                .map(|(_, text)| text.len())
                .sum::<usize>()
    }

    /// A new connection begins: all remembered messages came on earlier ones.
    pub(crate) fn begin_connection(&mut self) {
        for message in &mut self.messages {
            (message.is_earlier, message.is_again) = (true, false);
        }
    }

    /// Whether the message is known and last came on an earlier connection.
    pub(crate) fn is_of_earlier_connection(&self, key: ResendKey) -> bool {
        let known = self.messages.iter().rev().find(|message| message.is(key));
        known.is_some_and(|message| message.is_earlier)
    }

    /// The id of the stopped 1.6 session whose start had the same natural key.
    pub(crate) fn ended_transaction(&self, key: ResendKey) -> Option<i64> {
        let is_it = |message: &&Message| message.is_ended() && message.natural == key.natural;
        let ended = self.messages.iter().rev().find(is_it)?;
        transaction_id_member(self.answer(ended)?)
    }

    /// Whether the message is a resend. If not, but others with its natural key are known, returns the answer of the
    /// first of them.
    pub(crate) fn find(&self, key: ResendKey) -> Known<'_> {
        let of_this = |message: &&Message| message.natural == key.natural && !message.is_ended();
        let exact = |message: &&Message| message.is(key);
        if let Some(message) = self.messages.iter().rev().find(exact) {
            return match self.answer(message) {
                Some(answer) => Known::Resend(answer),
                None => Known::New,
            };
        }
        match self.messages.iter().find(of_this) {
            Some(message) => match self.answer(message) {
                Some(answer) => Known::Conflict(answer),
                None => Known::New,
            },
            None => Known::New,
        }
    }

    /// Remembers an answer. If the same message is known already, its first answer stays.
    pub(crate) fn remember(&mut self, key: ResendKey, answer: &str) {
        if matches!(self.find(key), Known::Resend(_)) {
            for message in self.messages.iter_mut().filter(|message| message.is(key)) {
                message.is_again |= message.is_earlier;
                message.is_earlier = false;
            }
            return;
        }
        let session = match key.part.role {
            Role::Start => SessionTag::of_number(transaction_id_member(answer)),
            _ => key.part.session,
        };
        self.last_number = self.last_number.checked_add(1).unwrap_or(1);
        self.end_what(key, session);
        let message = Message {
            natural: key.natural,
            content: key.content,
            session,
            role: key.part.role,
            has_answer: answer != "{}",
            number: self.last_number,
            ended_by: 0,
            is_undated_start: key.part.is_undated_start,
            is_earlier: false,
            is_again: false,
        };
        if message.has_answer {
            if self.answers.len() >= Self::ANSWERS_MAX
                && let Some((forgotten, _)) = self.answers.pop_front()
            {
                self.messages
                    .retain(|message| message.fingerprint() != forgotten);
            }
            self.answers
                .push_back((message.fingerprint(), answer.into()));
        }
        if self.messages.len() >= Self::KEYS_MAX {
            // Starts and stops are kept longer than the messages between them: a start must still be known when its
            // stop comes.
            let passing = |message: &Message| matches!(message.role, Role::Updated | Role::Other);
            let at = self.messages.iter().position(passing).unwrap_or(0);
            if let Some(forgotten) = self.messages.remove(at)
                && forgotten.has_answer
            {
                self.answers
                    .retain(|(fingerprint, _)| *fingerprint != forgotten.fingerprint());
            }
        }
        self.messages.push_back(message);
    }

    /// Ends or forgets the messages of sessions that a message with this key shows to be over.
    fn end_what(&mut self, key: ResendKey, session: SessionTag) {
        let is_of_session =
            |message: &Message| message.session == session && message.session != SessionTag::NONE;
        match key.part.role {
            Role::Start => self.forget_where(|message| {
                let is_same_start = message.role == Role::Start && message.natural == key.natural;
                let is_unnamed_stop =
                    message.role == Role::Stop && message.session == SessionTag::UNNAMED;
                (is_same_start && message.is_ended())
                    || is_unnamed_stop
                    || (message.role == Role::Stop && is_of_session(message))
            }),
            Role::Stop => {
                for message in &mut self.messages {
                    let is_its_start = session == SessionTag::UNNAMED || is_of_session(message);
                    if message.is_undated_start && is_its_start && !message.is_ended() {
                        message.ended_by = self.last_number;
                    }
                }
            }
            Role::Started | Role::Ended => self.forget_where(|message| {
                matches!(message.role, Role::Started | Role::Updated | Role::Ended)
                    && is_of_session(message)
            }),
            Role::Updated | Role::Other => {}
        }
    }

    fn forget_where(&mut self, is_forgotten: impl Fn(&Message) -> bool) {
        let answers = &mut self.answers;
        self.messages.retain(|message| {
            let is_kept = !is_forgotten(message);
            if !is_kept && message.has_answer {
                answers.retain(|(fingerprint, _)| *fingerprint != message.fingerprint());
            }
            is_kept
        });
    }

    fn answer(&self, message: &Message) -> Option<&str> {
        if !message.has_answer {
            return Some("{}");
        }
        self.answers
            .iter()
            .find(|(fingerprint, _)| *fingerprint == message.fingerprint())
            .map(|(_, text)| &**text)
    }
}
