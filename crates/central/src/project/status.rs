//! How connectors stand.

use super::charger::owned;
use super::{Changes, Source};
use crate::model::{ConnectorStatus, Stamp};
use ocpp::{v2, v16};

pub(crate) fn v16(changes: &mut Changes, source: &Source<'_>) {
    let Ok(view) = v16::StatusNotification::read(source.record.payload) else {
        return;
    };
    let (Some(connector), Some(status)) = (view.connector_id, owned(view.status)) else {
        return;
    };
    let status = ConnectorStatus {
        status,
        error_code: owned(view.error_code).filter(|code| code != "NoError"),
        info: owned(view.info),
        vendor_error_code: owned(view.vendor_error_code),
    };
    let stamp = source.stamp(source.effective(view.timestamp), 0);
    set(changes, source, (0, connector), stamp, status);
}

pub(crate) fn v2(changes: &mut Changes, source: &Source<'_>) {
    let Ok(view) = v2::StatusNotification::read(source.record.payload) else {
        return;
    };
    let (Some(evse), Some(status)) = (view.evse_id, owned(view.connector_status)) else {
        return;
    };
    let status = ConnectorStatus {
        status,
        ..ConnectorStatus::default()
    };
    let stamp = source.stamp(source.effective(view.timestamp), 0);
    let place = (evse, view.connector_id.unwrap_or(0));
    set(changes, source, place, stamp, status);
}

/// `place` is (EVSE, connector).
pub(super) fn set(
    changes: &mut Changes,
    source: &Source<'_>,
    place: (i64, i64),
    stamp: Stamp,
    status: ConnectorStatus,
) {
    let key = (source.charger.to_owned(), place.0, place.1);
    let state = changes.connectors.entry(key).or_default();
    state.status.set(stamp, status);
}
