//! What a message is recognised by when it comes again on any connection.

use crate::actions::{self, Repeats, Row};
use crate::record::{AnswerKind, Record, RecordKind};
use ocpp::json::Raw;
use serde::{Deserialize, Serialize};
use std::hash::Hasher;

/// What [`ResendMemory`](super::ResendMemory) recognises a message by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ResendKey {
    /// Hash of the natural key.
    pub(super) natural: u64,
    /// Hash of the whole content.
    pub(super) content: u32,
    pub(super) part: SessionPart,
}

/// A message's part in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionPart {
    pub(crate) role: Role,
    /// Of the session's id; a 1.6 start has its id only in the answer.
    pub(crate) session: SessionTag,
    /// Whether it is a start without a plausible time, so that an equal start may be of another day.
    pub(crate) is_undated_start: bool,
}

impl SessionPart {
    /// No part that matters for resends.
    pub(crate) const NONE: Self = Self {
        role: Role::Other,
        session: SessionTag::NONE,
        is_undated_start: false,
    };
}

/// What a message does to its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    /// Nothing that matters for resends.
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

/// 16 bits of the hash of a transaction's id. Two ids with one tag do no harm: a message that is forgotten too early is
/// recorded once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionTag(u16);

impl SessionTag {
    /// The message names no session.
    pub(crate) const NONE: Self = Self(0);
    /// A 1.6 stop without a usable id (rule Q-17).
    pub(super) const UNNAMED: Self = Self(1);

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
    /// `None` for messages that only [`RecentCalls`](super::RecentCalls) recognises, or nothing.
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
    pub(super) fn of_record(record: &Record<'_>) -> Option<Self> {
        if record.kind != RecordKind::Call || record.answer_kind != AnswerKind::Result {
            return None;
        }
        let row = actions::find(record.ocpp_version, record.action)?;
        Self::of(row, record.payload)
    }

    /// Whether it is a start without a plausible time, so that an equal start may be of another day.
    pub(crate) const fn is_undated_start(&self) -> bool {
        self.part.is_undated_start
    }
}

/// A number for the message, different also from that of another message with the same natural key.
pub(super) const fn fingerprint(natural: u64, content: u32) -> u64 {
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

/// A hash of a fixed text: two processes whose values are equal also have equal hashes of messages.
pub(crate) fn hash_of_build() -> u64 {
    quick_hash(&[
        "one",
        "and another text that is longer than a block of the hash",
    ])
}

/// A hash for tables in memory; may differ from build to build.
pub(super) fn quick_hash(texts: &[&str]) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    for text in texts {
        hasher.write_usize(text.len());
        hasher.write(text.as_bytes());
    }
    hasher.finish()
}
