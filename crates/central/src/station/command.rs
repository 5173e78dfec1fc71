//! Commands: calls of the central system. One is outstanding at a time, its record is durable before its frame leaves,
//! and a reply after its time still counts while the connection lasts.

use super::{CloseReason, Output, Phase, Station, Ticket};
use crate::Timestamp;
use crate::actions::commands::needs_accepted_charger;
use crate::model::{Command, NotSent, Refusal};
use crate::ports::Registration;
use crate::record::{Record, RecordKind};
use ocpp::Version;
use ocpp::action::{self, ActionInfo};
use ocpp::check::Violation;
use ocpp::frame::{self, MessageId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::VecDeque;

/// Calls without a reply that are remembered, so that a late reply is recognised.
const LATE_MAX: usize = 8;

/// Why [`Station::handle_command`] did not take a command. Nothing of it was recorded, and it is not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotTaken {
    /// Not now: the connection ends, or another command is outstanding.
    NotNow,
    /// Never.
    Refused(Refusal),
}

/// The calls of the central system on one connection.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct OurCalls {
    outstanding: Option<OurCall>,
    /// The last calls without a reply, the oldest first.
    late: VecDeque<(String, ActionName)>,
}

/// The name of an action in the tables of OCPP.
#[derive(Debug, Clone, Copy)]
struct ActionName(&'static str);

impl Serialize for ActionName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

impl<'de> Deserialize<'de> for ActionName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        let found = [Version::V16, Version::V201, Version::V21]
            .into_iter()
            .find_map(|version| action::lookup(version, &name));
        let unknown = || serde::de::Error::custom(format!("no version of OCPP has {name}"));
        found.map(|info| Self(info.name)).ok_or_else(unknown)
    }
}

/// A call that has a record and no reply.
#[derive(Debug, Serialize, Deserialize)]
struct OurCall {
    message_id: String,
    action: ActionName,
    send_before: Timestamp,
    answer_within_ms: u32,
    /// The record that must be durable before it leaves.
    needs: Ticket,
    state: CallState,
}

#[derive(Debug, Serialize, Deserialize)]
enum CallState {
    /// Its record is not durable yet.
    Waits(String),
    /// It was sent; a reply after this time is late.
    Sent(Timestamp),
}

impl OurCalls {
    /// When the reply to the outstanding call is due.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        match self.outstanding.as_ref()?.state {
            CallState::Waits(_) => None,
            CallState::Sent(deadline) => Some(deadline),
        }
    }

    fn remember_late(&mut self, message_id: String, action: ActionName) {
        if self.late.len() >= LATE_MAX {
            self.late.pop_front();
        }
        self.late.push_back((message_id, action));
    }
}

impl Station {
    /// Whether a command may be passed to [`Station::handle_command`] now: none is outstanding, and the disk keeps up. Also
    /// true for a rejected charger, so that its commands are refused.
    #[must_use]
    pub fn wants_command(&self) -> bool {
        let max = u64::from(self.policy.unanswered_max.max(1));
        let is_calling = |calls: &OurCalls| calls.outstanding.is_some();
        self.phase == Phase::Open
            && !self.our_calls.as_deref().is_some_and(is_calling)
            && self.appended.0 - self.durable.0 < max
    }

    /// Takes a command: its record is appended, and when that is durable its frame is sent.
    ///
    /// # Errors
    /// When the command is not sent; see [`NotTaken`].
    pub fn handle_command(&mut self, command: &Command, now: Timestamp) -> Result<(), NotTaken> {
        if !self.wants_command() {
            return Err(NotTaken::NotNow);
        }
        let info = self.may_send(command, now).map_err(NotTaken::Refused)?;
        let message_id = command.id.to_string();
        let frame = frame::write_call(
            &MessageId::new(message_id.as_str()),
            info.name,
            &command.payload,
        );
        let record = Record {
            kind: RecordKind::CallToCharger,
            message_id: &message_id,
            action: info.name,
            payload: &command.payload,
            ..self.blank_record(now)
        };
        let needs = self.append(&record, Some(info.name));
        let call = OurCall {
            message_id,
            action: ActionName(info.name),
            send_before: command.send_before,
            answer_within_ms: command.answer_within_ms,
            needs,
            state: CallState::Waits(frame),
        };
        self.our_calls.get_or_insert_default().outstanding = Some(call);
        Ok(())
    }

    fn may_send(&self, command: &Command, now: Timestamp) -> Result<&'static ActionInfo, Refusal> {
        if now >= command.send_before {
            return Err(Refusal::new(NotSent::Expired, ""));
        }
        let (version, action) = (self.version, command.action.as_str());
        match self.registration() {
            Registration::Accepted => {}
            Registration::Rejected => return Err(Refusal::new(NotSent::ChargerRejected, "")),
            // B-5: 1.6 forbids it, and a 2.x charger has to reject it.
            Registration::Pending if needs_accepted_charger(action) => {
                return Err(Refusal::new(
                    NotSent::NotSupportedByCharger,
                    format!("the charger is pending, and {action} needs an accepted one"),
                ));
            }
            Registration::Pending => {}
        }
        if command.skips_check {
            return known_command(version, action);
        }
        check_command(version, action, &command.payload)
    }

    /// Sends the call whose record has become durable.
    pub(super) fn send_our_call(&mut self, now: Timestamp) {
        if self.phase == Phase::Closed {
            return;
        }
        let durable = self.durable;
        let Some(calls) = self.our_calls.as_deref_mut() else {
            return;
        };
        let is_due =
            |call: &mut OurCall| call.needs <= durable && matches!(call.state, CallState::Waits(_));
        let Some(mut call) = calls.outstanding.take_if(is_due) else {
            return;
        };
        if now >= call.send_before {
            let reason =
                "it was not sent: the time to send it passed while its record waited for the disk";
            return self.record_unanswered(&call, reason, now);
        }
        let deadline = now.plus_millis(i64::from(call.answer_within_ms));
        let state = std::mem::replace(&mut call.state, CallState::Sent(deadline));
        calls.outstanding = Some(call);
        if let CallState::Waits(frame) = state {
            self.outputs.push_back(Output::Send(frame));
        }
    }

    /// The action of our call that a reply with this id answers, which it answers once.
    pub(super) fn take_our_call(&mut self, id: &MessageId<'_>) -> Option<&'static str> {
        let calls = self.our_calls.as_deref_mut()?;
        let is_answered = |call: &mut OurCall| {
            call.message_id == id.as_str() && matches!(call.state, CallState::Sent(_))
        };
        if let Some(call) = calls.outstanding.take_if(is_answered) {
            return Some(call.action.0);
        }
        let at = calls
            .late
            .iter()
            .position(|(late, _)| late == id.as_str())?;
        calls.late.remove(at).map(|(_, action)| action.0)
    }

    /// Records that a reply did not come in time; the next command may follow.
    pub(super) fn stop_waiting_for_late_reply(&mut self, now: Timestamp) {
        let Some(calls) = self.our_calls.as_deref_mut() else {
            return;
        };
        let is_late =
            |call: &mut OurCall| matches!(call.state, CallState::Sent(deadline) if deadline <= now);
        let Some(call) = calls.outstanding.take_if(is_late) else {
            return;
        };
        calls.remember_late(call.message_id.clone(), call.action);
        let reason = format!("no answer within {} ms", call.answer_within_ms);
        self.record_unanswered(&call, &reason, now);
    }

    /// The connection ends: no reply can come.
    pub(super) fn end_our_call(&mut self, why: &CloseReason, now: Timestamp) {
        let Some(call) = self.our_calls.take().and_then(|calls| calls.outstanding) else {
            return;
        };
        let what = match call.state {
            CallState::Waits(_) => "the connection ended before it was sent",
            CallState::Sent(_) => "the connection ended before an answer",
        };
        let reason = format!("{what}: {}", why.as_text());
        self.record_unanswered(&call, &reason, now);
    }

    /// The record of our call does not exist, so the call is not sent.
    pub(super) fn forget_our_call(&mut self, record: &Record<'_>) {
        if record.kind == RecordKind::CallToCharger
            && let Some(calls) = self.our_calls.as_deref_mut()
        {
            let is_same = |call: &mut OurCall| call.message_id == record.message_id;
            calls.outstanding.take_if(is_same);
        }
    }

    fn record_unanswered(&mut self, call: &OurCall, reason: &str, now: Timestamp) {
        let record = Record {
            kind: RecordKind::CallUnanswered,
            message_id: &call.message_id,
            action: call.action.0,
            reason,
            ..self.blank_record(now)
        };
        self.append(&record, Some(call.action.0));
    }
}

/// Checks a command against a version: whether chargers of that version may receive the action, and whether the payload
/// conforms to its schema.
///
/// # Errors
/// [`NotSent::NotSupportedByCharger`], with the places in the payload as JSON pointers.
pub fn check_command(
    version: Version,
    action: &str,
    payload: &str,
) -> Result<&'static ActionInfo, Refusal> {
    let info = known_command(version, action)?;
    let violations = info.check_request(payload);
    if violations.is_empty() {
        return Ok(info);
    }
    let words: Vec<String> = violations.iter().map(Violation::to_string).collect();
    Err(Refusal::new(
        NotSent::NotSupportedByCharger,
        words.join("; "),
    ))
}

/// The action, which chargers of that version may receive.
fn known_command(version: Version, action: &str) -> Result<&'static ActionInfo, Refusal> {
    let found = action::lookup(version, action).filter(|info| info.is_to_charger());
    found.ok_or_else(|| {
        let detail = format!("OCPP {version} has no command {action}");
        Refusal::new(NotSent::NotSupportedByCharger, detail)
    })
}
