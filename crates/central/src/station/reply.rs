//! Replies of a charger: recorded, whatever they answer.

use super::Station;
use super::frame_fault::FrameFault;
use crate::Timestamp;
use crate::record::{Notes, Record, RecordKind};
use ocpp::frame::{CallError, MessageId};
use ocpp::json::write_string;

impl Station {
    /// A CALLRESULT, CALLERROR or CALLRESULTERROR. The first two answer a command or are unsolicited; the last is
    /// about an answer of the central system. `fault` as in [`Station::handle_call`].
    pub(super) fn handle_reply(
        &mut self,
        kind: RecordKind,
        id: &MessageId<'_>,
        payload: &str,
        fault: Option<&FrameFault>,
        now: Timestamp,
    ) {
        let (tolerated, reason) = match fault {
            Some(fault) => (Notes::TOLERATED, fault.description.as_str()),
            None => (Notes::default(), ""),
        };
        if kind != RecordKind::CallResultError
            && let Some(action) = self.take_our_call(id)
        {
            let record = Record {
                kind,
                message_id: id.as_str(),
                action,
                payload,
                notes: tolerated,
                reason,
                ..self.blank_record(now)
            };
            self.append(&record, Some(action));
            return;
        }
        // What was not asked for has no natural bound.
        if !self.may_record_unreadable(now) {
            return;
        }
        let notes = match kind {
            RecordKind::CallResultError => Notes::default(),
            _ => Notes::UNSOLICITED,
        };
        let record = Record {
            kind,
            message_id: id.as_str(),
            payload,
            notes: notes.with(tolerated),
            reason,
            ..self.blank_record(now)
        };
        self.append(&record, None);
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
