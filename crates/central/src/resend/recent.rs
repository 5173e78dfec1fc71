//! The last call of a connection with its answer.

use super::key::quick_hash;
use crate::Timestamp;
use serde::{Deserialize, Serialize};

/// The last call answered on this connection, by message id and content. Only that one: a charger has one call
/// outstanding (F-24), so it repeats its last call, and anything else under an old id is a new message.
///
/// If a resend and a new message cannot be distinguished, the message counts as new: a second equal record is harmless,
/// a missing record is not. So no call counts as a resend on a connection that gives two successive calls the same id
/// (quirk 7).
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct RecentCalls {
    last: Option<RecentCall>,
    /// Hashes of the newest call's id, and of its id with its content.
    newest: Option<(u64, u64)>,
    /// Whether two successive different calls had the same id.
    ids_are_reused: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct RecentCall {
    hash: u64,
    at: Timestamp,
    answer: Box<str>,
}

impl RecentCalls {
    /// How long a call is known; longer than chargers wait for an answer before they send the call again (F-27).
    const KNOWN_MS: i64 = 60_000;

    /// A call was received: an answer to another call is no longer that to the last call.
    pub(crate) fn receive(&mut self, action: &str, message_id: &str, payload: &str) {
        let id = quick_hash(&[message_id]);
        let hash = quick_hash(&[action, message_id, payload]);
        if let Some((newest_id, newest)) = self.newest.replace((id, hash)) {
            self.ids_are_reused |= newest_id == id && newest != hash;
        }
        if self.ids_are_reused || self.last.as_ref().is_some_and(|last| last.hash != hash) {
            self.last = None;
        }
    }

    /// What a call is recognised by.
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
        if !self.ids_are_reused {
            self.last = Some(RecentCall {
                hash,
                at: now,
                answer: answer.into(),
            });
        }
    }

    /// Another message was recorded.
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
