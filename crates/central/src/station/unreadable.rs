//! Frames that cannot be read: recorded within a bound so that they cannot fill the journal, and answered
//! as the standard asks.

use super::call::{Message, Remember, error_answer};
use super::payload_check::is_answered_when_broken;
use super::{CloseReason, Output, Phase, Station, Ticket};
use crate::Timestamp;
use crate::ports::Registration;
use crate::record::{AnswerKind, Notes, Record, RecordKind};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ocpp::frame::{self, Call, Frame, FrameError, FrameErrorKind, MessageId};
use ocpp::{ErrorCode, Version, action};
use std::borrow::Cow;

/// Bytes of one unreadable frame that are recorded.
const RECORDED_BYTES_MAX: usize = 64 * 1024;

/// The connection is closed after this many consecutive unreadable frames.
const CONSECUTIVE_MAX: u32 = 1_000;

/// Counts the frames of one connection that cannot be read, or that answer nothing.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct UnreadableFrames {
    /// When the current minute began.
    minute_began: Timestamp,
    /// Records made in the current minute.
    recorded_in_minute: u32,
    /// Unreadable frames since the last readable one.
    consecutive: u32,
    /// Frames without a record since the connection began.
    not_recorded: u64,
}

impl UnreadableFrames {
    /// A frame could be read.
    pub(super) fn saw_readable(&mut self) {
        self.consecutive = 0;
    }

    /// A frame gets no record.
    pub(super) fn dropped(&mut self) {
        self.not_recorded += 1;
    }

    /// What the `Disconnected` record says of them.
    pub(super) fn note(&self) -> Option<String> {
        (self.not_recorded > 0).then(|| format!("{} frames were not recorded", self.not_recorded))
    }

    /// Whether another frame may be recorded now; counts it.
    fn may_record(&mut self, per_minute: u32, now: Timestamp) -> bool {
        let age_ms = now.0.saturating_sub(self.minute_began.0);
        if !(0..60_000).contains(&age_ms) {
            self.minute_began = now;
            self.recorded_in_minute = 0;
        }
        if self.recorded_in_minute >= per_minute {
            self.dropped();
            return false;
        }
        self.recorded_in_minute += 1;
        true
    }
}

impl Station {
    /// Whether a frame that no charger should send may be recorded now.
    pub(super) fn may_record_unreadable(&mut self, now: Timestamp) -> bool {
        self.unreadable
            .may_record(self.policy.unreadable_per_minute, now)
    }

    pub(super) fn handle_unreadable(&mut self, text: &str, error: &FrameError<'_>, now: Timestamp) {
        // Some charger stacks send empty frames as keep-alive (quirk 8).
        if error.kind == FrameErrorKind::Empty {
            return;
        }
        if self.handle_broken_call(error, now) {
            return self.unreadable.saw_readable();
        }
        if self.handle_of_later_version(text, now) {
            return self.unreadable.saw_readable();
        }
        let answer = error.answer(self.version);
        let mut ticket = Ticket(0);
        if self.may_record_unreadable(now) {
            let reason = error.to_string();
            let (payload, reason) = cut(text, &reason);
            let described =
                error_answer(error.error_code().as_str(self.version), &error.to_string());
            let action = error.action.as_deref().unwrap_or("");
            let record = Record {
                kind: RecordKind::Unreadable,
                message_id: error.id.as_ref().map_or("", MessageId::as_str),
                action,
                payload,
                answer_kind: answer
                    .as_ref()
                    .map_or(AnswerKind::None, |_| AnswerKind::Error),
                answer: answer.as_ref().map_or("", |_| &described),
                reason: &reason,
                ..self.blank_record(now)
            };
            let known = action::lookup(self.version, action);
            ticket = self.append(&record, known.map(|info| info.name));
        }
        if let Some(answer) = answer {
            self.send(ticket, answer);
        }
        self.count_unreadable();
    }

    /// Bytes that are not UTF-8, such as a token in Latin-1. They are recorded as they came; then they are read with
    /// U+FFFD in place of what is not UTF-8, so that a transaction message among them is still answered.
    pub(super) fn handle_not_text(&mut self, bytes: &[u8], now: Timestamp) {
        let mut ticket = Ticket(0);
        if self.may_record_unreadable(now) {
            // Base64 makes four bytes out of three.
            let recorded = &bytes[..bytes.len().min(RECORDED_BYTES_MAX / 4 * 3)];
            let mut reason = "not UTF-8".to_owned();
            if recorded.len() < bytes.len() {
                reason.push_str(&format!("; cut, it had {} bytes", bytes.len()));
            }
            let record = Record {
                kind: RecordKind::Unreadable,
                payload: &BASE64_STANDARD.encode(recorded),
                notes: Notes::BASE64,
                reason: &reason,
                ..self.blank_record(now)
            };
            ticket = self.append(&record, None);
        }
        let text = String::from_utf8_lossy(bytes);
        match frame::parse(&text, self.version) {
            Ok(Frame::Call(call)) => {
                self.take_version(&call.action, call.payload);
                if self.quarantine_unrefusable(&call, "not UTF-8: U+FFFD stands for the rest", now)
                {
                    return self.unreadable.saw_readable();
                }
                let code = ErrorCode::FormatViolation.as_str(self.version);
                let frame = frame::write_call_error(&call.id, code, "not UTF-8", "{}");
                self.send(ticket, frame);
            }
            Ok(_) => {}
            Err(error) => {
                if self.handle_broken_call(&error, now) {
                    return self.unreadable.saw_readable();
                }
                if let Some(answer) = error.answer(self.version) {
                    self.send(ticket, answer);
                }
            }
        }
        self.count_unreadable();
    }

    /// A call whose action could be read, and whose id or payload could not. Returns whether it must not be refused, and so
    /// was answered.
    fn handle_broken_call(&mut self, error: &FrameError<'_>, now: Timestamp) -> bool {
        let (true, Some(action)) = (error.is_call(), &error.action) else {
            return false;
        };
        let (id, payload, reason) = match (&error.id, error.kind) {
            (Some(id), _) => {
                let reason = format!("the payload cannot be read: {error}");
                (id.clone(), error.rest, reason)
            }
            // The whole frame is JSON, and its bracket follows the payload. The id that 2.x names for such a frame is in F-8;
            // 1.6 names none, and its chargers write `null` where they have lost their own.
            (None, FrameErrorKind::NoId) => {
                let payload = error.rest.trim_ascii_end().strip_suffix(']');
                let id = match self.version {
                    Version::V16 => MessageId::NULL,
                    Version::V201 | Version::V21 => MessageId::UNREADABLE,
                };
                let reason = "the message id is neither a string nor a number".to_owned();
                (id, payload.unwrap_or(error.rest).trim_ascii_end(), reason)
            }
            (None, _) => return false,
        };
        let call = Call {
            id,
            action: action.clone(),
            payload,
        };
        self.take_version(&call.action, call.payload);
        self.quarantine_unrefusable(&call, &reason, now)
    }

    /// Quarantines a broken call if it must not be refused, and answers it with success. Returns whether it
    /// did.
    fn quarantine_unrefusable(&mut self, call: &Call<'_>, reason: &str, now: Timestamp) -> bool {
        let Some(row) = self.find_row(&call.action) else {
            return false;
        };
        let may_call = row.action.is_boot || self.registration() == Registration::Accepted;
        if !may_call || !is_answered_when_broken(row, self.check_mode()) {
            return false;
        }
        let message = Message {
            id: &call.id,
            row,
            payload: call.payload,
            notes: Notes::QUARANTINED,
            reason,
            remember: Remember::Not,
        };
        self.handle_understood(&message, now);
        true
    }

    fn count_unreadable(&mut self) {
        self.unreadable.consecutive += 1;
        if self.unreadable.consecutive >= CONSECUTIVE_MAX && self.phase == Phase::Open {
            self.phase = Phase::Closing;
            self.outputs
                .push_back(Output::Close(CloseReason::Unreadable));
        }
    }
}

/// The part of a text that is recorded, and the reason, which says whether the text was cut.
fn cut<'a>(text: &'a str, reason: &'a str) -> (&'a str, Cow<'a, str>) {
    let recorded = &text[..text.floor_char_boundary(RECORDED_BYTES_MAX)];
    if recorded.len() == text.len() {
        (text, reason.into())
    } else {
        let reason = format!("{reason}; cut, it had {} bytes", text.len());
        (recorded, reason.into())
    }
}
