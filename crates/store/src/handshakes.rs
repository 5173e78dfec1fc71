//! Rows of refused handshakes, the same for both databases.

use crate::audit::shown;
use crate::refusal::Refusal;
use central::model::{AuditEntry, Origin, RefusedHandshake, RefusedHandshakeView};
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
        first_at: Timestamp(first),
        last_at: Timestamp(last),
        count: count.unsigned_abs(),
    };
    Ok(RefusedHandshakeView::of(no, handshake))
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
