//! Whose turn it is when we ask: at most one call of ours is outstanding on a connection (F-24),
//! the others wait in a bounded queue (F-25), each answer is matched to what it answers, and an
//! answer after its deadline is told apart from one that nobody asked for (F-28).
//!
//! The charger's own calls do not pass here: they may cross ours and must not wait behind them.
//!
//! Time is handed in as milliseconds since the Unix epoch; it must not go back by much, since a
//! deadline is kept as a moment.
//!
//! Loop: [`Conversation::ask`], then [`Conversation::poll_send`] until `None`; on a reply
//! [`Conversation::handle_reply`]; at [`Conversation::poll_timeout`] call
//! [`Conversation::handle_timeout`]; after either, `poll_send` again.

use crate::frame::{self, MessageId};
use std::collections::VecDeque;

/// How many ids of calls without a timely answer are remembered, so that a late answer is known as
/// such.
const EXPIRED_MAX: usize = 16;

/// Bounds of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Calls that may wait behind the outstanding one. Default 32.
    pub queue_max: usize,
    /// How long the other side may take to answer, in milliseconds from sending (F-26). Default
    /// 30,000.
    pub answer_timeout_ms: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue_max: 32,
            answer_timeout_ms: 30_000,
        }
    }
}

/// A call of ours, with whatever the asker wants back when it is settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked<T> {
    /// The message id, unique for the charger over all connections (F-21): take a UUID.
    pub id: String,
    /// The action.
    pub action: String,
    /// The asker's own mark.
    pub tag: T,
}

/// What a reply answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply<T> {
    /// The outstanding call, which is settled by it.
    Answers(Asked<T>),
    /// A call whose deadline has passed; it was given up and stays so.
    Late,
    /// Nothing that we asked on this connection.
    Unsolicited,
}

/// The queue is full; the call was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many calls are waiting for this charger")]
pub struct QueueFull;

/// A call that will not be answered any more, because its connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unsettled<T> {
    /// It was sent: the charger may or may not have acted on it.
    Sent(Asked<T>),
    /// It was never sent.
    NotSent(Asked<T>),
}

/// Our half of the turn-taking on one connection.
#[derive(Debug, Clone)]
pub struct Conversation<T> {
    limits: Limits,
    outstanding: Option<Outstanding<T>>,
    queue: VecDeque<Queued<T>>,
    /// Ids of calls that were given up, oldest first.
    expired: VecDeque<String>,
}

#[derive(Debug, Clone)]
struct Outstanding<T> {
    asked: Asked<T>,
    deadline_ms: i64,
}

#[derive(Debug, Clone)]
struct Queued<T> {
    asked: Asked<T>,
    text: String,
}

impl<T> Default for Conversation<T> {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl<T> Conversation<T> {
    /// A conversation in which nothing was said. Costs no allocation.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            outstanding: None,
            queue: VecDeque::new(),
            expired: VecDeque::new(),
        }
    }

    /// Queues a call. `payload` is compact JSON.
    ///
    /// # Errors
    /// When [`Limits::queue_max`] calls wait already.
    pub fn ask(
        &mut self,
        id: impl Into<String>,
        action: &str,
        payload: &str,
        tag: T,
    ) -> Result<(), QueueFull> {
        if self.queue.len() >= self.limits.queue_max {
            return Err(QueueFull);
        }
        let id = id.into();
        let text = frame::write_call(&MessageId::new(id.as_str()), action, payload);
        let action = action.to_owned();
        let asked = Asked { id, action, tag };
        self.queue.push_back(Queued { asked, text });
        Ok(())
    }

    /// The next frame to send, if it is our turn; its deadline runs from `now_ms`.
    pub fn poll_send(&mut self, now_ms: i64) -> Option<String> {
        if self.outstanding.is_some() {
            return None;
        }
        let Queued { asked, text } = self.queue.pop_front()?;
        self.outstanding = Some(Outstanding {
            asked,
            deadline_ms: now_ms.saturating_add(self.limits.answer_timeout_ms),
        });
        Some(text)
    }

    /// Takes in the id of a CALLRESULT or CALLERROR. Whether the id came as a string or as a number
    /// does not matter.
    pub fn handle_reply(&mut self, id: &MessageId<'_>) -> Reply<T> {
        if let Some(outstanding) = self
            .outstanding
            .take_if(|outstanding| outstanding.asked.id == id.as_str())
        {
            return Reply::Answers(outstanding.asked);
        }
        if let Some(at) = self.expired.iter().position(|known| known == id.as_str()) {
            self.expired.remove(at);
            return Reply::Late;
        }
        Reply::Unsolicited
    }

    /// When [`Conversation::handle_timeout`] wants to be called, in milliseconds.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<i64> {
        self.outstanding
            .as_ref()
            .map(|outstanding| outstanding.deadline_ms)
    }

    /// Gives up the outstanding call if its deadline has come: it was sent, and nobody knows what
    /// became of it.
    pub fn handle_timeout(&mut self, now_ms: i64) -> Option<Asked<T>> {
        let given_up = self
            .outstanding
            .take_if(|outstanding| outstanding.deadline_ms <= now_ms)?;
        if self.expired.len() >= EXPIRED_MAX {
            self.expired.pop_front();
        }
        self.expired.push_back(given_up.asked.id.clone());
        Some(given_up.asked)
    }

    /// The outstanding call.
    #[must_use]
    pub fn outstanding(&self) -> Option<&Asked<T>> {
        self.outstanding
            .as_ref()
            .map(|outstanding| &outstanding.asked)
    }

    /// How many calls wait for their turn.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Ends the conversation: every call that was not settled, in the order of asking.
    pub fn close(&mut self) -> Vec<Unsettled<T>> {
        let sent = self.outstanding.take().map(|outstanding| outstanding.asked);
        let waiting = std::mem::take(&mut self.queue);
        self.expired.clear();
        sent.into_iter()
            .map(Unsettled::Sent)
            .chain(
                waiting
                    .into_iter()
                    .map(|queued| Unsettled::NotSent(queued.asked)),
            )
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(conversation: &mut Conversation<u32>, id: &str, tag: u32) {
        conversation
            .ask(id, "GetConfiguration", "{}", tag)
            .expect("there is room");
    }

    fn tag(reply: Reply<u32>) -> Option<u32> {
        match reply {
            Reply::Answers(asked) => Some(asked.tag),
            Reply::Late | Reply::Unsolicited => None,
        }
    }

    #[test]
    fn one_call_is_outstanding_and_the_next_waits_for_its_answer() {
        let mut talk = Conversation::default();
        asked(&mut talk, "a", 1);
        asked(&mut talk, "b", 2);
        assert_eq!(
            talk.poll_send(0).as_deref(),
            Some(r#"[2,"a","GetConfiguration",{}]"#)
        );
        assert_eq!(talk.poll_send(0), None);
        assert_eq!(talk.waiting(), 1);
        assert_eq!(tag(talk.handle_reply(&"a".into())), Some(1));
        assert!(
            talk.poll_send(10)
                .is_some_and(|text| text.contains("\"b\""))
        );
        assert_eq!(talk.poll_timeout(), Some(30_010));
    }

    #[test]
    fn quirk_21_a_late_and_a_duplicate_answer_are_told_apart_from_strange_ones() {
        let mut talk = Conversation::default();
        asked(&mut talk, "a", 1);
        asked(&mut talk, "b", 2);
        talk.poll_send(0);
        assert_eq!(talk.handle_timeout(29_999), None);
        assert_eq!(talk.handle_timeout(30_000).map(|asked| asked.tag), Some(1));
        talk.poll_send(30_000);
        assert_eq!(talk.handle_reply(&"a".into()), Reply::Late);
        assert_eq!(talk.handle_reply(&"a".into()), Reply::Unsolicited);
        assert_eq!(tag(talk.handle_reply(&"b".into())), Some(2));
        assert_eq!(talk.handle_reply(&"b".into()), Reply::Unsolicited);
        assert_eq!(talk.handle_reply(&"-1".into()), Reply::Unsolicited);
    }

    #[test]
    fn quirk_07_an_answer_may_carry_our_id_as_a_number() {
        let mut talk = Conversation::default();
        asked(&mut talk, "17", 1);
        talk.poll_send(0);
        let Ok(frame) = frame::parse("[3,17,{}]", crate::Version::V16) else {
            panic!("a number is an id");
        };
        assert_eq!(tag(talk.handle_reply(frame.id())), Some(1));
    }

    #[test]
    fn the_queue_is_bounded() {
        let limits = Limits {
            queue_max: 2,
            ..Limits::default()
        };
        let mut talk = Conversation::new(limits);
        asked(&mut talk, "a", 1);
        asked(&mut talk, "b", 2);
        assert_eq!(talk.ask("c", "Reset", "{}", 3), Err(QueueFull));
        talk.poll_send(0);
        assert_eq!(talk.ask("c", "Reset", "{}", 3), Ok(()));
    }

    #[test]
    fn the_memory_of_expired_calls_is_bounded() {
        let mut talk = Conversation::default();
        for n in 0..100 {
            asked(&mut talk, &n.to_string(), n);
            talk.poll_send(0);
            assert!(talk.handle_timeout(30_000).is_some());
        }
        assert_eq!(talk.handle_reply(&"0".into()), Reply::Unsolicited);
        assert_eq!(talk.handle_reply(&"99".into()), Reply::Late);
    }

    #[test]
    fn closing_tells_what_was_sent_and_what_was_not() {
        let mut talk = Conversation::default();
        asked(&mut talk, "a", 1);
        asked(&mut talk, "b", 2);
        talk.poll_send(0);
        let unsettled = talk.close();
        assert!(matches!(
            unsettled.as_slice(),
            [Unsettled::Sent(first), Unsettled::NotSent(second)]
                if first.tag == 1 && second.tag == 2
        ));
        assert_eq!(talk.poll_timeout(), None);
        assert!(talk.close().is_empty());
    }
}
