//! Commands: that one was sent, its reply, and that it is no longer waited for.

use super::{Changes, Source};
use crate::model::{CommandId, CommandProgress, Merge, Reply, Sent, Unanswered};
use crate::record::{Notes, RecordKind};

/// A record about a call of the central system. An unsolicited reply changes no command, whatever its
/// id is.
pub(super) fn progress(changes: &mut Changes, source: &Source<'_>) {
    let record = source.record;
    if record.notes.has(Notes::UNSOLICITED) {
        return;
    }
    let Some(id) = CommandId::from_message_id(record.message_id) else {
        return;
    };
    let at = record.received_at;
    let mut progress = CommandProgress::default();
    match record.kind {
        RecordKind::CallToCharger => {
            progress.sent = Some(Sent {
                at,
                record: source.id,
                version: record.ocpp_version,
                epoch: record.epoch,
            });
        }
        RecordKind::CallUnanswered => {
            progress.unanswered = Some(Unanswered {
                at,
                record: source.id,
                reason: record.reason.to_owned(),
            });
        }
        RecordKind::CallResult | RecordKind::CallError => {
            progress.reply = Some(Reply {
                at,
                record: source.id,
                is_error: record.kind == RecordKind::CallError,
                payload: record.payload.to_owned(),
            });
        }
        RecordKind::Call
        | RecordKind::Send
        | RecordKind::CallResultError
        | RecordKind::Unreadable
        | RecordKind::Connected
        | RecordKind::Disconnected
        | RecordKind::GatewayStarted => return,
    }
    changes.commands.entry(id).or_default().merge(progress);
}
