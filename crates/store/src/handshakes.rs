//! Rows of refused handshakes, the same for both databases.

use crate::audit::shown;
use crate::event_log::{Change, Queued};
use crate::refusal::Refusal;
use crate::state::or_leave_out;
use central::model::{
    AuditEntry, Origin, REFUSED_EVENTS_PER_ADDRESS_MAX, REFUSED_EVENTS_PER_CALL_MAX,
    RefusedHandshake, RefusedHandshakeView,
};
use central::query::Place;
use central::{GatewayId, Timestamp};
use uuid::Uuid;

/// Number, identity, reason, status, cure, address, path, subprotocols, gateway, first and latest time, count.
pub(crate) type HandshakeRow = (
    i64,
    Option<String>,
    String,
    i64,
    String,
    String,
    Option<String>,
    Option<String>,
    Uuid,
    i64,
    i64,
    i64,
);

/// Columns of [`HandshakeRow`].
pub(crate) const COLUMNS: &str = "no, charger_id, reason, status, cure, address, path, offered, gateway, first_at, last_at, count";

/// The rows of one call that have an event.
#[derive(Debug, Default)]
pub(crate) struct Announced(Vec<Queued>);

impl Announced {
    /// Whether a further row can have an event.
    pub(crate) fn has_room(&self) -> bool {
        self.0.len() < REFUSED_EVENTS_PER_CALL_MAX
    }

    /// A new row. `of_address`: the rows of its address that are as new as an hour, with this one.
    pub(crate) fn add(&mut self, no: i64, handshake: &RefusedHandshake, of_address: i64) {
        if self.has_room() && of_address <= REFUSED_EVENTS_PER_ADDRESS_MAX as i64 {
            let at = handshake.first_at.0;
            self.0.push(Queued::numbered(Change::Refused, no, at));
        }
    }

    /// The entries of the queue.
    pub(crate) fn entries(self) -> Vec<Queued> {
        self.0
    }
}

/// The revision for the condition of an upsert: a charger whose settings have a greater version gets no row. One that was not
/// judged by a directory gets its row.
pub(crate) fn judged_by(handshake: &RefusedHandshake) -> i64 {
    let revision = handshake.judged_by;
    revision.map_or(i64::MAX, |revision| {
        i64::try_from(revision).unwrap_or(i64::MAX)
    })
}

/// Whether the row that an upsert has returned with this count is new. Every refusal that was counted before adds one.
pub(crate) fn is_new(handshake: &RefusedHandshake, count: i64) -> bool {
    count.unsigned_abs() == handshake.count
}

/// A row as it is shown.
pub(crate) fn view(row: HandshakeRow) -> Result<RefusedHandshakeView, Refusal> {
    let (no, charger_id, reason, status, cure, address, path, offered, gateway, first, last, count) =
        row;
    let status = u16::try_from(status).map_err(|_| {
        Refusal::corrupt(format!(
            "the status of the refused handshake {no} is {status}"
        ))
    })?;
    let handshake = RefusedHandshake {
        charger_id,
        reason,
        status,
        cure,
        address,
        path,
        offered,
        gateway: GatewayId(gateway),
        judged_by: None,
        first_at: Timestamp(first),
        last_at: Timestamp(last),
        count: count.unsigned_abs(),
    };
    Ok(RefusedHandshakeView::of(no, handshake))
}

/// As [`view`], with others: its place in the list, and `None` and a line in the log if it cannot be read.
pub(crate) fn listed(row: HandshakeRow) -> (Place, Option<RefusedHandshakeView>) {
    let no = row.0;
    let view = or_leave_out(view(row), &format_args!("refused handshake {no}"));
    (Place::Handshake(no), view)
}

/// The audit entry of a row that was dismissed.
pub(crate) fn dismissed(
    view: &RefusedHandshakeView,
    origin: &Origin,
) -> Result<AuditEntry, Refusal> {
    let subject = view.charger_id.as_ref().unwrap_or(&view.address);
    Ok(AuditEntry {
        origin: origin.clone(),
        action: "handshake.dismissed".to_owned(),
        subject: subject.clone(),
        before: Some(shown(view)?),
        after: None,
    })
}
