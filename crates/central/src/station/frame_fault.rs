//! Mistakes in a frame that are tolerated, except in check mode `strict`.
//!
//! Strict mode answers a call in such a frame with CALLERROR. A transaction message is not refused, and a SEND
//! or a reply has no answer: their records get a note.

use super::Station;
use crate::ports::CheckMode;
use ocpp::ErrorCode;
use ocpp::frame::{Quirk, Quirks};
use std::fmt::Write;

/// What is wrong with a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FrameFault {
    /// For the record, and the CALLERROR.
    pub(super) description: String,
    /// The code of the CALLERROR.
    pub(super) code: ErrorCode,
}

impl Station {
    /// What the charger's check mode does not tolerate in the frame that is being handled.
    pub(super) fn frame_fault(&self) -> Option<FrameFault> {
        let is_binary = self.frame_notes.has(crate::Quirk::BinaryFrame.note());
        match self.check_mode() {
            CheckMode::Strict => FrameFault::of(self.quirks, is_binary),
            CheckMode::Warn | CheckMode::Off => None,
        }
    }
}

impl FrameFault {
    /// The fault of a frame with these mistakes; `None` if it has none.
    fn of(quirks: Quirks, is_binary: bool) -> Option<Self> {
        if quirks.is_empty() && !is_binary {
            return None;
        }
        let mut description = "the frame is not as OCPP-J demands".to_owned();
        let binary = is_binary.then_some("a binary WebSocket message");
        let all = binary
            .into_iter()
            .chain(quirks.iter().map(Quirk::description));
        for (i, one) in all.enumerate() {
            // Writing to a String cannot fail.
            let _ = write!(description, "{}{one}", if i == 0 { ": " } else { ", " });
        }
        // A payload that is no object is a matter of the payload, everything else one of the frame.
        let is_of_payload = !is_binary && quirks.iter().all(|one| one == Quirk::NullPayload);
        Some(Self {
            description,
            code: match is_of_payload {
                true => ErrorCode::FormatViolation,
                false => ErrorCode::RpcFrameworkError,
            },
        })
    }

    /// The description of `fault` before `reason`; either may be missing.
    pub(super) fn join(fault: Option<&Self>, reason: &str) -> String {
        match (fault, reason) {
            (None, reason) => reason.to_owned(),
            (Some(fault), "") => fault.description.clone(),
            (Some(fault), reason) => format!("{}; {reason}", fault.description),
        }
    }
}
