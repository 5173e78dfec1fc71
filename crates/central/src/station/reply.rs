//! A charger answers: matched to what we asked, kept either way.

use super::Station;
use crate::Timestamp;
use crate::record::{Notes, Record, RecordKind};
use ocpp::conversation::Reply;
use ocpp::frame::{CallError, MessageId};
use ocpp::json::write_string;

impl Station {
    /// A CALLRESULT, CALLERROR or CALLRESULTERROR. The last speaks of an answer of ours, so only the
    /// first two can be unsolicited.
    pub(super) fn handle_reply(
        &mut self,
        kind: RecordKind,
        id: &MessageId<'_>,
        payload: &str,
        now: Timestamp,
    ) {
        let is_about_our_answer = kind == RecordKind::CallResultError;
        let is_asked =
            !is_about_our_answer && matches!(self.conversation.handle_reply(id), Reply::Answers(_));
        // What we did not ask for has no natural bound.
        if !is_asked && !self.may_record_unreadable(now) {
            return;
        }
        let notes = if is_asked || is_about_our_answer {
            Notes::default()
        } else {
            Notes::UNSOLICITED
        };
        self.append(&Record {
            kind,
            message_id: id.as_str(),
            payload,
            notes,
            ..self.blank_record(now)
        });
    }
}

/// An error as one JSON text: `[code,description,details]`.
pub(super) fn error_payload(error: &CallError<'_>) -> String {
    let mut out = String::from("[");
    write_string(&mut out, &error.code);
    out.push(',');
    write_string(&mut out, &error.description);
    out.push(',');
    out.push_str(error.details);
    out.push(']');
    out
}
