//! Frames of OCPP-J: the JSON array around every message, from text and to text.
//!
//! Chargers make many mistakes in this array, and a central system must not lose a message because of one. So an error
//! says what could still be read ([`FrameError`]), small mistakes are tolerated and reported ([`Quirks`]), and the
//! payload is neither parsed nor copied: it is a slice of the charger's text, checked to be JSON.
//!
//! ```
//! use ocpp::{Version, frame::{self, Frame}};
//!
//! let text = r#"[2,"19","Heartbeat",{}]"#;
//! let Ok(Frame::Call(call)) = frame::parse(text, Version::V16) else { panic!() };
//! assert_eq!(call.action, "Heartbeat");
//! let answer = frame::write_call_result(&call.id, r#"{"currentTime":"2026-01-01T00:00:00.000Z"}"#);
//! assert_eq!(answer, r#"[3,"19",{"currentTime":"2026-01-01T00:00:00.000Z"}]"#);
//! ```

mod error;
mod message_id;
mod quirk;
mod read;
mod write;

pub use error::{FrameError, FrameErrorKind};
pub use message_id::MessageId;
pub use quirk::{Quirk, Quirks};
pub use read::{Parsed, parse, parse_noting};
pub use write::{
    DESCRIPTION_CHARS_MAX, write_call, write_call_error, write_call_result,
    write_call_result_error, write_send,
};

pub use crate::json::MAX_DEPTH;

use std::borrow::Cow;

/// A message, borrowed from the text that held it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame<'a> {
    /// `[2,id,action,payload]`
    Call(Call<'a>),
    /// `[3,id,payload]`
    CallResult(CallResult<'a>),
    /// `[4,id,code,description,details]`
    CallError(CallError<'a>),
    /// `[5,id,code,description,details]`: the charger could not read a CALLRESULT (2.1 only).
    CallResultError(CallError<'a>),
    /// `[6,id,action,payload]`: must not be answered (2.1 only, F-3).
    Send(Send<'a>),
}

impl<'a> Frame<'a> {
    /// The frame's message id.
    #[must_use]
    pub const fn id(&self) -> &MessageId<'a> {
        match self {
            Self::Call(call) => &call.id,
            Self::CallResult(result) => &result.id,
            Self::CallError(error) | Self::CallResultError(error) => &error.id,
            Self::Send(send) => &send.id,
        }
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call<'a> {
    /// Chosen by the sender; the response repeats it.
    pub id: MessageId<'a>,
    /// The action's name, as written.
    pub action: Cow<'a, str>,
    /// Raw JSON, as written; `{}` where the sender wrote `null` or nothing (F-5).
    pub payload: &'a str,
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallResult<'a> {
    /// The id of the call that it answers.
    pub id: MessageId<'a>,
    /// Raw JSON, as written; `{}` where the sender wrote `null` or nothing (F-5).
    pub payload: &'a str,
}

/// A refusal or failure: of a call, or (as [`Frame::CallResultError`]) of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallError<'a> {
    /// The id of the call (or result) that it is about.
    pub id: MessageId<'a>,
    /// As written; [`crate::ErrorCode::parse`] knows the official ones. Empty when it was missing.
    pub code: Cow<'a, str>,
    /// For people. Empty when it was missing.
    pub description: Cow<'a, str>,
    /// Raw JSON, as written; `{}` when it was missing or `null`.
    pub details: &'a str,
}

/// A message without an answer (2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Send<'a> {
    /// Chosen by the sender.
    pub id: MessageId<'a>,
    /// The action's name, as written.
    pub action: Cow<'a, str>,
    /// Raw JSON, as written; `{}` where the sender wrote `null` or nothing.
    pub payload: &'a str,
}
