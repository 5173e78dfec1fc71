//! What a station is in bytes, so that another process can go on with its connection. It is taken only between two
//! messages, when nothing waits: no answer, no record and no question.

use super::command::OurCalls;
use super::unreadable::UnreadableFrames;
use super::{Phase, Station, Ticket};
use crate::policy::Policy;
use crate::ports::ChargerProfile;
use crate::record::{Epoch, Notes};
use crate::resend::{RecentCalls, ResendMemory, hash_of_build};
use ocpp::Version;
use ocpp::frame::Quirks;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;

/// A station between two messages, for another process. Its JSON may gain members; a process that does not know them
/// ignores them.
#[derive(Debug, Serialize, Deserialize)]
pub struct CarriedStation {
    charger_id: String,
    version: Version,
    is_version_assumed: bool,
    epoch: Epoch,
    random: u64,
    /// Hashes may differ between two builds: with another value here, what is remembered by hashes means nothing.
    hash_of_build: u64,
    memory: ResendMemory,
    recent: RecentCalls,
    appended: u64,
    questions: u64,
    our_calls: Option<Box<OurCalls>>,
    unreadable: UnreadableFrames,
}

impl CarriedStation {
    /// The charger's identity.
    #[must_use]
    pub fn charger_id(&self) -> &str {
        &self.charger_id
    }

    /// The epoch of the connection.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether [`Station::resume`] uses what this remembers of messages: not if another build has made it whose hashes
    /// differ.
    #[must_use]
    pub fn remembers(&self) -> bool {
        self.hash_of_build == hash_of_build()
    }

    /// What is remembered of the charger's messages where its connection does not go on; the arguments are those of
    /// [`Station::resume`].
    #[must_use]
    pub fn into_memory(mut self, learnt: ResendMemory) -> ResendMemory {
        self.memories(learnt).0
    }

    fn memories(&mut self, mut learnt: ResendMemory) -> (ResendMemory, RecentCalls) {
        let memory = std::mem::take(&mut self.memory);
        if self.remembers() {
            return (memory, std::mem::take(&mut self.recent));
        }
        learnt.set_shown_version(memory.shown_version());
        learnt.set_close_style(memory.close_style());
        (learnt, RecentCalls::default())
    }
}

impl Station {
    /// Whether nothing waits: every record is durable, every answer was an output, and no question is open. Outputs that
    /// were not polled count as waiting.
    #[must_use]
    pub fn is_between_messages(&self) -> bool {
        self.phase == Phase::Open
            && self.outputs.is_empty()
            && self.answers.is_empty()
            && self.asking.is_none()
            && self.appended == self.durable
    }

    /// The station for another process; `None` unless [`Station::is_between_messages`].
    #[must_use]
    pub fn into_carried(self) -> Option<CarriedStation> {
        if !self.is_between_messages() {
            return None;
        }
        Some(CarriedStation {
            charger_id: self.charger_id.as_ref().to_owned(),
            version: self.version,
            is_version_assumed: self.is_version_assumed,
            epoch: self.epoch,
            random: self.random,
            hash_of_build: hash_of_build(),
            memory: self.memory,
            recent: self.recent,
            appended: self.appended.0,
            questions: self.questions,
            our_calls: self.our_calls,
            unreadable: self.unreadable,
        })
    }

    /// A station that goes on where another process stopped. It appends no `Connected` record: the connection is the
    /// same. `learnt` is what the journal says of the charger's messages; it is used where the other process is
    /// another build whose hashes differ.
    #[must_use]
    pub fn resume(
        mut carried: CarriedStation,
        profile: Option<Arc<ChargerProfile>>,
        policy: Arc<Policy>,
        learnt: ResendMemory,
    ) -> Self {
        let (memory, recent) = carried.memories(learnt);
        Self {
            charger_id: carried.charger_id.into(),
            version: carried.version,
            is_version_assumed: carried.is_version_assumed,
            profile,
            policy,
            epoch: carried.epoch,
            random: carried.random,
            phase: Phase::Open,
            memory,
            recent,
            outputs: VecDeque::new(),
            answers: VecDeque::new(),
            appended: Ticket(carried.appended),
            durable: Ticket(carried.appended),
            asking: None,
            questions: carried.questions,
            our_calls: carried.our_calls,
            unreadable: carried.unreadable,
            quirks: Quirks::default(),
            frame_notes: Notes::default(),
            resends: super::ResendCounts::default(),
        }
    }
}
