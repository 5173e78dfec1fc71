//! Knowing a repeat when it comes: the same message, under the same id or a new one, gets the
//! answer it got the first time, and makes no new record (ocpp-rules 2.3).
//!
//! Two memories. What a charger keeps and sends again, also over another connection (classes T and
//! Q, and the pages of reports), is known by what it says: [`ResendMemory`], one per charger, rebuilt
//! from the journal at start. Everything else is only repeated at once and on the same connection:
//! it is known by its message id *and* content, for a short time and only until something else comes
//! (`RecentCalls`), because chargers reuse ids and rightly say the same thing twice.

use crate::Timestamp;
use crate::actions::{self, Repeats, Row};
use crate::record::{AnswerKind, Record, RecordKind};
use ocpp::json::Raw;
use std::collections::VecDeque;
use std::hash::Hasher;

/// What makes a message of the first sort recognisable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ResendKey {
    /// What it is about.
    natural: u64,
    /// All it says.
    content: u32,
    /// Its part in a session.
    part: SessionPart,
}

/// A message's part in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionPart {
    pub(crate) role: Role,
    /// Of the id of its session; of a 1.6 start only the answer tells.
    pub(crate) session: SessionTag,
    /// Whether it is a start that no plausible time tells apart from an equal start of another day.
    pub(crate) is_undated_start: bool,
}

impl SessionPart {
    /// No part that matters here.
    pub(crate) const NONE: Self = Self {
        role: Role::Other,
        session: SessionTag::NONE,
        is_undated_start: false,
    };
}

/// What a message does to the session that it speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Nothing that matters here.
    Other,
    /// StartTransaction (1.6).
    Start,
    /// StopTransaction (1.6).
    Stop,
    /// `TransactionEvent` `Started` (2.x).
    Started,
    /// `TransactionEvent` `Updated` (2.x), or one of an unknown type.
    Updated,
    /// `TransactionEvent` `Ended` (2.x).
    Ended,
}

/// 16 bits of the hash of a transaction's id. Two ids with one tag do no harm: a message that was
/// forgotten too early is recorded once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionTag(u16);

impl SessionTag {
    /// The message names no session.
    pub(crate) const NONE: Self = Self(0);
    /// A 1.6 stop without a usable id (rule Q-17).
    const UNNAMED: Self = Self(1);

    pub(crate) fn of(id: &str) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a part of a hash is a hash"
        )]
        let tag = quick_hash(&[id]) as u16;
        Self(tag.max(2))
    }

    pub(crate) fn of_number(id: Option<i64>) -> Self {
        match id {
            Some(1..) => Self::of(&id.unwrap_or_default().to_string()),
            _ => Self::UNNAMED,
        }
    }
}

impl ResendKey {
    /// `None` for messages that are not known for long.
    pub(crate) fn of(row: &Row, payload: &str) -> Option<Self> {
        let (natural_key, part) = match row.action.repeats {
            Repeats::Never | Repeats::Recent => return None,
            Repeats::Content => (None, SessionPart::NONE),
            Repeats::NaturalKey(message) => (
                Some((message.natural_key)(payload)),
                (message.part)(payload),
            ),
        };
        let content = quick_hash(&[row.name(), payload]);
        let natural = match natural_key {
            Some(key) if !key.is_all_of(payload) => key.quick_hash(),
            _ => content,
        };
        #[expect(clippy::cast_possible_truncation, reason = "half of a hash is a hash")]
        let content = content as u32;
        Some(Self {
            natural,
            content,
            part,
        })
    }

    /// The key of what `record` says; `None` unless it is a call answered with success.
    fn of_record(record: &Record<'_>) -> Option<Self> {
        if record.kind != RecordKind::Call || record.answer_kind != AnswerKind::Result {
            return None;
        }
        let row = actions::find(record.ocpp_version, record.action)?;
        Self::of(row, record.payload)
    }

    /// Whether it is a start that no plausible time tells apart from an equal start of another day.
    pub(crate) const fn is_undated_start(&self) -> bool {
        self.part.is_undated_start
    }
}

/// Tells a message apart from every other, also from one with the same natural key.
const fn mark_of(natural: u64, content: u32) -> u64 {
    natural ^ (content as u64).rotate_left(32)
}

/// The member `transactionId` of a payload or answer of 1.6.
pub(crate) fn transaction_id_member(payload: &str) -> Option<i64> {
    let mut id = None;
    let _ = Raw::new(payload).members(|name, value| {
        if name == "transactionId" {
            id = value.integer();
        }
    });
    id
}

fn quick_hash(texts: &[&str]) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    for text in texts {
        hasher.write_usize(text.len());
        hasher.write(text.as_bytes());
    }
    hasher.finish()
}

/// What is known of a message that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known<'a> {
    /// Nothing.
    New,
    /// It is a repeat; this was the answer's payload.
    Repeat(&'a str),
    /// It is about the same thing and says something else; this was the first answer's payload.
    Conflict(&'a str),
}

/// What one charger said lately, small enough to be kept for every charger that we know: at most
/// [`ResendMemory::KEYS_MAX`] messages of 24 bytes, and the words of the last
/// [`ResendMemory::ANSWERS_MAX`] answers that were not just `{}`. Empty it costs no heap.
///
/// A charger repeats what was not answered before it goes on, so the newest few are what matters. It also
/// follows that a start without a plausible time which comes again after its stop was answered is no repeat: it
/// begins another session, which must get a record, and in 1.6 an id, of its own. So a stop ends what is known
/// of its start, a start ends what is known of the session before it under the same id, and a stop without a
/// usable id ends what is known of all starts. A start with a plausible time is a repeat for as long as it is
/// known: two sessions never agree in it.
#[derive(Debug, Default)]
pub struct ResendMemory {
    /// Oldest first.
    messages: VecDeque<Message>,
    /// By [`Message::mark`], oldest first.
    answers: VecDeque<(u64, Box<str>)>,
    /// Of the newest message; begins again at 1 behind the largest.
    last_number: u16,
}

/// Its fields lie flat, so that it takes 24 bytes at most.
#[derive(Debug, Clone, Copy)]
struct Message {
    natural: u64,
    content: u32,
    session: SessionTag,
    /// Tells the messages that are remembered at the same time apart; never 0.
    number: u16,
    /// The number of the stop that stopped the session of this 1.6 start without a plausible time, or 0.
    ended_by: u16,
    role: Role,
    /// Whether the answer was more than `{}`.
    has_answer: bool,
    /// Whether it is a start without a plausible time.
    is_undated_start: bool,
    /// Whether it was last heard on an earlier connection.
    is_earlier: bool,
    /// Whether it was heard on an earlier connection and again on this one.
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

    const fn mark(&self) -> u64 {
        mark_of(self.natural, self.content)
    }
}

impl ResendMemory {
    /// Messages remembered at most.
    pub const KEYS_MAX: usize = 32;
    /// Answers remembered word for word at most. Their messages are forgotten with them.
    pub const ANSWERS_MAX: usize = 8;

    /// Remembers what `record` says was asked and answered; used to rebuild the memory from the
    /// journal at start. Records must come in their order. Records of another kind than calls
    /// answered with success teach nothing.
    pub fn learn(&mut self, record: &Record<'_>) {
        if let Some(key) = ResendKey::of_record(record) {
            self.remember(key, record.answer);
        }
    }

    /// Forgets what `record` taught, because it was not stored; what is known of other messages stays.
    pub fn forget(&mut self, record: &Record<'_>) {
        let Some(key) = ResendKey::of_record(record) else {
            return;
        };
        let Some(at) = self.messages.iter().rposition(|message| message.is(key)) else {
            return;
        };
        let message = &mut self.messages[at];
        if message.is_again {
            // Its first record is stored: only the one of its repeat was refused.
            (message.is_again, message.is_earlier) = (false, true);
            return;
        }
        let number = message.number;
        self.forget_where(|message| message.number == number);
        // It has not stopped anything.
        for message in &mut self.messages {
            if message.ended_by == number {
                message.ended_by = 0;
            }
        }
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Bytes on the heap, for those who keep very many.
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

    /// A new connection begins: all that is known was heard on earlier ones.
    pub(crate) fn begin_connection(&mut self) {
        for message in &mut self.messages {
            (message.is_earlier, message.is_again) = (true, false);
        }
    }

    /// Whether a message that is known was first heard on an earlier connection.
    pub(crate) fn is_of_earlier_connection(&self, key: ResendKey) -> bool {
        let known = self.messages.iter().rev().find(|message| message.is(key));
        known.is_some_and(|message| message.is_earlier)
    }

    /// The id of the stopped 1.6 session whose start was about the same as this one.
    pub(crate) fn ended_transaction(&self, key: ResendKey) -> Option<i64> {
        let is_it = |message: &&Message| message.is_ended() && message.natural == key.natural;
        let ended = self.messages.iter().rev().find(is_it)?;
        transaction_id_member(self.answer(ended)?)
    }

    /// Is it a repeat? Else, of all messages about the same, the first one's answer is told.
    pub(crate) fn find(&self, key: ResendKey) -> Known<'_> {
        let of_this = |message: &&Message| message.natural == key.natural && !message.is_ended();
        let exact = |message: &&Message| message.is(key);
        if let Some(message) = self.messages.iter().rev().find(exact) {
            return match self.answer(message) {
                Some(answer) => Known::Repeat(answer),
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

    /// Remembers an answer, unless the very same message is known already: the first answer stays.
    pub(crate) fn remember(&mut self, key: ResendKey, answer: &str) {
        if matches!(self.find(key), Known::Repeat(_)) {
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
                self.messages.retain(|message| message.mark() != forgotten);
            }
            self.answers.push_back((message.mark(), answer.into()));
        }
        if self.messages.len() >= Self::KEYS_MAX {
            // What begins or ends a session is kept longer than what is told in between: a start must still be
            // known when its stop comes.
            let passing = |message: &Message| matches!(message.role, Role::Updated | Role::Other);
            let at = self.messages.iter().position(passing).unwrap_or(0);
            if let Some(forgotten) = self.messages.remove(at)
                && forgotten.has_answer
            {
                self.answers.retain(|(mark, _)| *mark != forgotten.mark());
            }
        }
        self.messages.push_back(message);
    }

    /// Ends or forgets what a message with this key makes a matter of the past.
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
                answers.retain(|(mark, _)| *mark != message.mark());
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
            .find(|(mark, _)| *mark == message.mark())
            .map(|(_, text)| &**text)
    }
}

/// The call answered just before on this connection, by message id and content. Only that one: a
/// charger has one call outstanding (F-24), so what it repeats is what it said last, and anything
/// else under an old id is news.
///
/// Where a repeat and a fresh message cannot be told apart, the message counts as fresh: a second
/// equal record is harmless, a message without a record is not. So nothing is taken for a repeat any
/// more on a connection whose ids do not even tell one call from the next (quirk 7).
#[derive(Debug, Default)]
pub(crate) struct RecentCalls {
    last: Option<RecentCall>,
    /// Hashes of the newest call's id, and of its id with its content.
    newest: Option<(u64, u64)>,
    ids_say_nothing: bool,
}

#[derive(Debug)]
struct RecentCall {
    hash: u64,
    at: Timestamp,
    answer: Box<str>,
}

impl RecentCalls {
    /// How long a call is known. Longer than chargers wait for an answer before they ask again
    /// (F-27).
    const KNOWN_MS: i64 = 60_000;

    /// A call has come, whatever becomes of it: every other call is no longer the one just before.
    pub(crate) fn come(&mut self, action: &str, message_id: &str, payload: &str) {
        let id = quick_hash(&[message_id]);
        let hash = quick_hash(&[action, message_id, payload]);
        if let Some((newest_id, newest)) = self.newest.replace((id, hash)) {
            self.ids_say_nothing |= newest_id == id && newest != hash;
        }
        if self.ids_say_nothing || self.last.as_ref().is_some_and(|last| last.hash != hash) {
            self.last = None;
        }
    }

    /// What a call is known by.
    pub(crate) fn key(action: &str, message_id: &str, payload: &str) -> u64 {
        quick_hash(&[action, message_id, payload])
    }

    pub(crate) fn find(&self, hash: u64, now: Timestamp) -> Option<&str> {
        self.last
            .as_ref()
            .filter(|last| last.hash == hash && last.is_known(now))
            .map(|last| &*last.answer)
    }

    pub(crate) fn remember(&mut self, hash: u64, answer: &str, now: Timestamp) {
        if !self.ids_say_nothing {
            self.last = Some(RecentCall {
                hash,
                at: now,
                answer: answer.into(),
            });
        }
    }

    /// Something else was put on record.
    pub(crate) fn clear(&mut self) {
        self.last = None;
    }

    pub(crate) fn forget_old(&mut self, now: Timestamp) {
        self.last.take_if(|last| !last.is_known(now));
    }
}

impl RecentCall {
    fn is_known(&self, now: Timestamp) -> bool {
        now < self.at.plus_millis(RecentCalls::KNOWN_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ocpp::Version;

    fn resend_key(version: Version, action: &str, payload: &str) -> ResendKey {
        let row = actions::find(version, action).expect("an action");
        ResendKey::of(row, payload).expect("class T")
    }

    fn stop(id: u32, meter: u32) -> (ResendKey, String) {
        let payload = format!(
            r#"{{"transactionId":{id},"timestamp":"2026-01-01T00:00:00Z","meterStop":{meter}}}"#
        );
        let key = resend_key(Version::V16, "StopTransaction", &payload);
        (key, payload)
    }

    #[test]
    fn the_first_answer_stays() {
        let mut memory = ResendMemory::default();
        let (key, _) = stop(7, 100);
        assert_eq!(memory.find(key), Known::New);
        memory.remember(key, "first");
        let (other, _) = stop(7, 200);
        assert_eq!(memory.find(other), Known::Conflict("first"));
        memory.remember(other, "second");
        assert_eq!(memory.find(key), Known::Repeat("first"));
        assert_eq!(memory.find(other), Known::Repeat("second"));
        let (third, _) = stop(7, 300);
        assert_eq!(memory.find(third), Known::Conflict("first"));
    }

    fn start(payload: &str) -> ResendKey {
        resend_key(Version::V16, "StartTransaction", payload)
    }

    const UNDATED: &str = r#"{"connectorId":1,"idTag":"A","meterStart":0}"#;

    #[test]
    fn an_equal_start_after_its_stop_is_no_repeat() {
        let mut memory = ResendMemory::default();
        let key = start(UNDATED);
        memory.remember(key, r#"{"transactionId":7}"#);
        assert!(matches!(memory.find(key), Known::Repeat(_)));
        assert_eq!(memory.ended_transaction(key), None);
        memory.remember(stop(8, 1).0, "{}");
        assert!(
            matches!(memory.find(key), Known::Repeat(_)),
            "another one's stop"
        );
        // What is told in between pushes neither out.
        for n in 0..100_u32 {
            let values = format!(r#"{{"connectorId":1,"transactionId":7,"meterValue":[{n}]}}"#);
            let values = resend_key(Version::V16, "MeterValues", &values);
            memory.remember(values, "{}");
        }
        memory.remember(stop(7, 1).0, "{}");
        assert_eq!(memory.find(key), Known::New);
        assert_eq!(memory.ended_transaction(key), Some(7));
        memory.remember(key, r#"{"transactionId":9}"#);
        assert_eq!(memory.find(key), Known::Repeat(r#"{"transactionId":9}"#));
        assert!(
            memory.find(stop(7, 1).0) != Known::New,
            "its stop may still come again"
        );
    }

    #[test]
    fn a_start_with_a_plausible_time_is_a_repeat_also_after_its_stop() {
        let mut memory = ResendMemory::default();
        let dated =
            r#"{"timestamp":"2026-01-01T00:00:00Z","connectorId":1,"idTag":"A","meterStart":0}"#;
        let key = start(dated);
        memory.remember(key, r#"{"transactionId":7}"#);
        memory.remember(stop(7, 1).0, "{}");
        assert!(matches!(memory.find(key), Known::Repeat(_)));
    }

    fn stop_record(payload: &str) -> Record<'_> {
        Record {
            kind: RecordKind::Call,
            charger_id: "CP-1",
            ocpp_version: Version::V16,
            message_id: "1",
            action: "StopTransaction",
            payload,
            answer_kind: AnswerKind::Result,
            answer: "{}",
            received_at: Timestamp(0),
            epoch: 1,
            notes: crate::record::Notes::default(),
            reason: "",
        }
    }

    #[test]
    fn a_refused_repeat_leaves_what_is_stored() {
        let mut memory = ResendMemory::default();
        let key = start(UNDATED);
        memory.remember(key, r#"{"transactionId":7}"#); // durable
        memory.begin_connection();
        let mut record = stop_record(UNDATED);
        (record.action, record.answer) = ("StartTransaction", r#"{"transactionId":7}"#);
        memory.learn(&record);
        memory.forget(&record); // the record of its repeat is refused
        assert_eq!(memory.find(key), Known::Repeat(r#"{"transactionId":7}"#));
        assert!(
            memory.is_of_earlier_connection(key),
            "a repeat still gets its record"
        );
    }

    #[test]
    fn a_refused_stop_equal_to_one_before_the_next_start_reopens_nothing() {
        let nameless = r#"{"transactionId":-1,"meterStop":5,"timestamp":"1970-01-01T00:00:00Z"}"#;
        let record = stop_record(nameless);
        let mut memory = ResendMemory::default();
        let key = start(UNDATED);
        let other = start(r#"{"connectorId":1,"idTag":"B","meterStart":0}"#);
        memory.remember(key, r#"{"transactionId":7}"#);
        memory.learn(&record);
        memory.remember(other, r#"{"transactionId":8}"#);
        memory.learn(&record);
        memory.forget(&record); // the second of two equal stops is refused
        assert_eq!(memory.find(key), Known::New, "the first one has stopped it");
        assert_eq!(memory.find(other), Known::Repeat(r#"{"transactionId":8}"#));
    }

    #[test]
    fn a_refused_stop_without_an_id_reopens_nothing_that_another_stopped() {
        let mut memory = ResendMemory::default();
        let key = start(UNDATED);
        memory.remember(key, r#"{"transactionId":7}"#);
        memory.remember(stop(7, 1).0, "{}"); // durable
        assert_eq!(memory.find(key), Known::New);
        let payload = r#"{"transactionId":-1,"meterStop":5,"timestamp":"1970-01-01T00:00:00Z"}"#;
        let record = stop_record(payload);
        memory.learn(&record);
        memory.forget(&record); // refused
        assert_eq!(
            memory.find(key),
            Known::New,
            "the durable stop still counts"
        );
    }

    #[test]
    fn a_refused_second_stop_reopens_nothing() {
        let mut memory = ResendMemory::default();
        let key = start(UNDATED);
        memory.remember(key, r#"{"transactionId":7}"#);
        memory.remember(stop(7, 1).0, "{}"); // durable
        let (_, payload) = stop(7, 2);
        let record = stop_record(&payload);
        memory.learn(&record);
        memory.forget(&record); // refused
        assert_eq!(
            memory.find(key),
            Known::New,
            "the durable stop still counts"
        );
    }

    #[test]
    fn a_stop_that_was_refused_has_stopped_nothing() {
        let mut memory = ResendMemory::default();
        let key = start(UNDATED);
        memory.remember(key, r#"{"transactionId":7}"#);
        let (_, payload) = stop(7, 1);
        let record = Record {
            kind: RecordKind::Call,
            charger_id: "CP-1",
            ocpp_version: Version::V16,
            message_id: "1",
            action: "StopTransaction",
            payload: &payload,
            answer_kind: AnswerKind::Result,
            answer: "{}",
            received_at: Timestamp(0),
            epoch: 1,
            notes: crate::record::Notes::default(),
            reason: "",
        };
        memory.learn(&record);
        assert_eq!(memory.find(key), Known::New);
        memory.forget(&record);
        assert!(matches!(memory.find(key), Known::Repeat(_)));
    }

    #[test]
    fn a_stop_without_an_id_ends_every_start_and_the_next_start_ends_it() {
        let mut memory = ResendMemory::default();
        let (key, nameless) = (
            start(UNDATED),
            r#"{"transactionId":-1,"meterStop":5,"timestamp":"1970-01-01T00:00:00Z"}"#,
        );
        let nameless = resend_key(Version::V16, "StopTransaction", nameless);
        memory.remember(key, r#"{"transactionId":7}"#);
        memory.remember(nameless, "{}");
        assert_eq!(memory.find(key), Known::New);
        assert!(matches!(memory.find(nameless), Known::Repeat(_)));
        memory.remember(key, r#"{"transactionId":9}"#);
        assert_eq!(memory.find(nameless), Known::New);
    }

    #[test]
    fn an_equal_transaction_event_after_the_end_is_no_repeat() {
        let event = |kind: &str, seq: u32| {
            let payload = format!(
                r#"{{"eventType":"{kind}","seqNo":{seq},"timestamp":"1970-01-01T00:00:00Z","transactionInfo":{{"transactionId":"0"}}}}"#
            );
            resend_key(Version::V201, "TransactionEvent", &payload)
        };
        let mut memory = ResendMemory::default();
        let all = [event("Started", 0), event("Updated", 1), event("Ended", 2)];
        for _ in 0..2 {
            for key in all {
                assert_eq!(memory.find(key), Known::New);
                memory.remember(key, "{}");
                assert!(matches!(memory.find(key), Known::Repeat(_)));
            }
            assert!(matches!(memory.find(all[2]), Known::Repeat(_)));
        }
    }

    #[test]
    fn only_a_start_without_a_plausible_time_is_undated() {
        assert!(start(UNDATED).is_undated_start());
        for (time, is_undated) in [
            ("1970-01-01T00:00:42Z", true),
            ("2026-01-01T00:00:00Z", false),
        ] {
            let payload = UNDATED.replace("{\"conn", &format!("{{\"timestamp\":\"{time}\",\"conn"));
            assert_eq!(start(&payload).is_undated_start(), is_undated, "{time}");
        }
    }

    #[test]
    fn a_memory_in_long_use_stays_below_a_kibibyte_and_knows_the_newest() {
        let mut memory = ResendMemory::default();
        assert_eq!(memory.heap_bytes(), 0);
        for id in 1..10_000 {
            let (key, _) = stop(id, id);
            let answer = if id % 10 == 0 {
                r#"{"idTagInfo":{"status":"Accepted"}}"#
            } else {
                "{}"
            };
            memory.remember(key, answer);
            assert_eq!(memory.find(key), Known::Repeat(answer));
            assert!(memory.heap_bytes() < 1024, "{}", memory.heap_bytes());
        }
        for id in 10_000 - ResendMemory::KEYS_MAX as u32..10_000 {
            assert_ne!(memory.find(stop(id, id).0), Known::New);
        }
        assert_eq!(memory.find(stop(1, 1).0), Known::New);
    }

    #[test]
    fn an_answer_that_was_forgotten_is_not_replaced_by_a_guess() {
        let mut memory = ResendMemory::default();
        for id in 1..=9 {
            memory.remember(stop(id, id).0, "words");
        }
        assert_eq!(memory.find(stop(1, 1).0), Known::New);
        assert_eq!(memory.find(stop(2, 2).0), Known::Repeat("words"));
    }

    #[test]
    fn calls_are_forgotten_after_a_while() {
        let mut recent = RecentCalls::default();
        let key = RecentCalls::key("StatusNotification", "1", "{}");
        recent.remember(key, "{}", Timestamp(0));
        assert_eq!(recent.find(key, Timestamp(59_999)), Some("{}"));
        assert_eq!(recent.find(key, Timestamp(60_000)), None);
    }
}
