//! A text that is not a frame, with everything that could still be read of it.

use super::write::{write_call_error, write_call_result_error};
use super::{MessageId, read::MessageType};
use crate::{ErrorCode, Version};
use std::borrow::Cow;

/// Why a text is not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameErrorKind {
    /// Only white space.
    #[error("the text is empty")]
    Empty,
    /// Not JSON from this byte on.
    #[error("not JSON at byte {at}")]
    NotJson {
        /// Where, in bytes from the start of the text.
        at: usize,
    },
    /// JSON, but not a list.
    #[error("not a JSON list")]
    NotArray,
    /// The first element is no message type that this version has (F-7).
    #[error("message type {0} is not known")]
    UnknownMessageType(i64),
    /// The first element is missing or no number, or the action is missing or no string.
    #[error("not built like a message: {0}")]
    BadShape(&'static str),
    /// The second element is missing, or neither a string nor a number.
    #[error("the message id cannot be read")]
    NoId,
    /// Nested deeper than [`super::MAX_DEPTH`].
    #[error("nested too deep at byte {at}")]
    TooDeep {
        /// Where, in bytes from the start of the text.
        at: usize,
    },
}

/// A text that is not a frame. It holds what could be read before the mistake, so that even
/// `[2,"id","MeterValues",{broken` can be answered, and recorded under its action.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct FrameError<'a> {
    /// What is wrong.
    pub kind: FrameErrorKind,
    /// The message type's number, if it could be read.
    pub message_type: Option<i64>,
    /// The id, if it could be read.
    pub id: Option<MessageId<'a>>,
    /// The action, if it could be read: only of a CALL, a SEND, or an unknown type.
    pub action: Option<Cow<'a, str>>,
    /// The raw text from the first element that could not be read to the end of the text; if the payload is broken, the
    /// payload and what follows it.
    pub rest: &'a str,
}

impl FrameError<'_> {
    /// The error code that describes this best.
    #[must_use]
    pub const fn error_code(&self) -> ErrorCode {
        match self.kind {
            FrameErrorKind::UnknownMessageType(_) => ErrorCode::MessageTypeNotSupported,
            FrameErrorKind::NotJson { .. } | FrameErrorKind::TooDeep { .. }
                if self.action.is_some() =>
            {
                ErrorCode::FormatViolation
            }
            _ => ErrorCode::RpcFrameworkError,
        }
    }

    /// The answer that the standard demands, as text for the wire; `None` where it demands none. Transaction messages
    /// must be answered otherwise.
    ///
    /// - Answers and SENDs are never answered with CALLERROR (F-3); on 2.1 a broken CALLRESULT whose
    ///   id can be read is answered with CALLRESULTERROR (F-2).
    /// - An unknown message type is answered on 2.0.1 only, and only if its id can be read (F-7).
    /// - Without an id the answer has the id `-1` on 2.x (F-8); 1.6 has no such rule and gets no answer.
    #[must_use]
    pub fn answer(&self, version: Version) -> Option<String> {
        let code = self.error_code().as_str(version);
        let description = self.kind.to_string();
        let id = self.id.as_ref();
        if let FrameErrorKind::UnknownMessageType(_) = self.kind {
            let id = id.filter(|_| version == Version::V201)?;
            return Some(write_call_error(id, code, &description, "{}"));
        }
        match self.message_type.and_then(MessageType::from_number) {
            Some(MessageType::CallResult) if version == Version::V21 => {
                Some(write_call_result_error(id?, code, &description, "{}"))
            }
            Some(MessageType::Call) | None => {
                let id = match (id, version) {
                    (Some(id), _) => id,
                    (None, Version::V16) => return None,
                    (None, Version::V201 | Version::V21) => &MessageId::UNREADABLE,
                };
                Some(write_call_error(id, code, &description, "{}"))
            }
            Some(_) => None,
        }
    }

    /// Whether it was meant as a CALL, so that its sender waits for an answer.
    #[must_use]
    pub fn is_call(&self) -> bool {
        self.message_type == Some(2)
    }
}
