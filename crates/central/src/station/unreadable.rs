//! What cannot be read as a frame: kept as far as it is evidence, bounded so that it cannot fill the
//! journal, answered as the standard asks.

use super::call::{Message, Remember, error_answer};
use super::payload_check::never_refused;
use super::{CloseReason, Output, Phase, Station, Ticket};
use crate::Timestamp;
use crate::ports::Registration;
use crate::record::{AnswerKind, Notes, Record, RecordKind};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ocpp::ErrorCode;
use ocpp::frame::{self, Call, Frame, FrameError, FrameErrorKind, MessageId};
use std::borrow::Cow;

/// How much of one such frame is kept, in bytes.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// So many frames in a row that cannot be read, and it is no charger; then the connection is closed.
const IN_A_ROW_MAX: u32 = 1_000;

/// Counts frames of one connection that cannot be read, or that answer nothing.
#[derive(Debug, Default)]
pub(super) struct Garbage {
    /// The minute in which frames are counted.
    minute_began: Timestamp,
    kept_in_minute: u32,
    /// Since the last frame that could be read.
    in_a_row: u32,
    /// Not put on record, in all.
    not_kept: u64,
}

impl Garbage {
    pub(super) fn saw_frame(&mut self) {
        self.in_a_row = 0;
    }

    /// A frame is let go without a record.
    pub(super) fn dropped(&mut self) {
        self.not_kept += 1;
    }

    /// For the end of the connection.
    pub(super) fn note(&self) -> Option<String> {
        (self.not_kept > 0).then(|| format!("{} frames were not put on record", self.not_kept))
    }

    /// Whether another frame may be kept now.
    fn keeps(&mut self, per_minute: u32, now: Timestamp) -> bool {
        let age_ms = now.0.saturating_sub(self.minute_began.0);
        if !(0..60_000).contains(&age_ms) {
            self.minute_began = now;
            self.kept_in_minute = 0;
        }
        if self.kept_in_minute >= per_minute {
            self.dropped();
            return false;
        }
        self.kept_in_minute += 1;
        true
    }
}

impl Station {
    /// Whether a frame that no charger should send may be kept now.
    pub(super) fn keeps_garbage(&mut self, now: Timestamp) -> bool {
        self.garbage.keeps(self.policy.unreadable_per_minute, now)
    }

    pub(super) fn handle_unreadable(&mut self, text: &str, error: &FrameError<'_>, now: Timestamp) {
        // Some stacks keep the line alive with empty frames (quirk 8).
        if error.kind == FrameErrorKind::Empty {
            return;
        }
        if self.handle_broken_call(error, now) {
            return self.garbage.saw_frame();
        }
        let answer = error.answer(self.version);
        let mut ticket = Ticket(0);
        if self.keeps_garbage(now) {
            let reason = error.to_string();
            let (payload, reason) = cut(text, &reason);
            let described =
                error_answer(error.error_code().as_str(self.version), &error.to_string());
            ticket = self.append(&Record {
                kind: RecordKind::Unreadable,
                message_id: error.id.as_ref().map_or("", MessageId::as_str),
                action: error.action.as_deref().unwrap_or(""),
                payload,
                answer_kind: answer
                    .as_ref()
                    .map_or(AnswerKind::None, |_| AnswerKind::Error),
                answer: answer.as_ref().map_or("", |_| &described),
                reason: &reason,
                ..self.blank_record(now)
            });
        }
        if let Some(answer) = answer {
            self.send(ticket, answer);
        }
        self.count_garbage();
    }

    /// Bytes that are no UTF-8, such as a token in Latin-1. They are kept as they came; then they are
    /// read as well as they can be, so that a transaction message among them is still answered.
    pub(super) fn handle_not_text(&mut self, bytes: &[u8], now: Timestamp) {
        let mut ticket = Ticket(0);
        if self.keeps_garbage(now) {
            // Base64 makes four bytes of three.
            let kept = &bytes[..bytes.len().min(KEPT_BYTES_MAX / 4 * 3)];
            let mut reason = "not UTF-8".to_owned();
            if kept.len() < bytes.len() {
                reason.push_str(&format!("; cut, it had {} bytes", bytes.len()));
            }
            ticket = self.append(&Record {
                kind: RecordKind::Unreadable,
                payload: &BASE64_STANDARD.encode(kept),
                notes: Notes::BASE64,
                reason: &reason,
                ..self.blank_record(now)
            });
        }
        let text = String::from_utf8_lossy(bytes);
        match frame::parse(&text, self.version) {
            Ok(Frame::Call(call)) => {
                if self.keep_unrefusable(&call, "not UTF-8: U+FFFD stands for the rest", now) {
                    return self.garbage.saw_frame();
                }
                let code = ErrorCode::FormatViolation.as_str(self.version);
                let frame = frame::write_call_error(&call.id, code, "not UTF-8", "{}");
                self.send(ticket, frame);
            }
            Ok(_) => {}
            Err(error) => {
                if self.handle_broken_call(&error, now) {
                    return self.garbage.saw_frame();
                }
                if let Some(answer) = error.answer(self.version) {
                    self.send(ticket, answer);
                }
            }
        }
        self.count_garbage();
    }

    /// A call whose payload is not JSON, but whose envelope could be read. Says whether it was one
    /// that must not be refused, and was answered.
    fn handle_broken_call(&mut self, error: &FrameError<'_>, now: Timestamp) -> bool {
        let (true, Some(id), Some(action)) = (error.is_call(), &error.id, &error.action) else {
            return false;
        };
        let call = Call {
            id: id.clone(),
            action: action.clone(),
            payload: error.rest,
        };
        let reason = format!("the payload cannot be read: {error}");
        self.keep_unrefusable(&call, &reason, now)
    }

    /// Quarantines a broken call that must not be refused, and answers it with success. Says
    /// whether it was one.
    fn keep_unrefusable(&mut self, call: &Call<'_>, reason: &str, now: Timestamp) -> bool {
        let Some((version, info)) = self.known_action(&call.action) else {
            return false;
        };
        let is_boot = info.name == "BootNotification";
        let may_speak = is_boot || self.registration() == Registration::Accepted;
        if !may_speak || !never_refused(info, self.check_mode()) {
            return false;
        }
        let message = Message {
            id: &call.id,
            action: info.name,
            payload: call.payload,
            version,
            notes: Notes::QUARANTINED,
            reason,
            remember: Remember::Not,
        };
        self.handle_understood(&message, now);
        true
    }

    fn count_garbage(&mut self) {
        self.garbage.in_a_row += 1;
        if self.garbage.in_a_row >= IN_A_ROW_MAX && self.phase == Phase::Open {
            self.phase = Phase::Closing;
            self.outputs.push_back(Output::Close(CloseReason::Garbage));
        }
    }
}

/// The part of a text that is kept, and the reason, which says so if it was cut.
fn cut<'a>(text: &'a str, reason: &'a str) -> (&'a str, Cow<'a, str>) {
    let kept = &text[..text.floor_char_boundary(KEPT_BYTES_MAX)];
    if kept.len() == text.len() {
        (text, reason.into())
    } else {
        let reason = format!("{reason}; cut, it had {} bytes", text.len());
        (kept, reason.into())
    }
}
