//! The charger as a whole: its sign of life, its connection, its firmware status.

use super::{Changes, Source};
use crate::Timestamp;
use crate::model::{Connection, Merge};
use crate::record::RecordKind;
use ocpp::json::Raw;
use std::borrow::Cow;

/// Every record is a sign of life (N-5).
pub(super) fn seen(changes: &mut Changes, source: &Source<'_>) {
    let record = source.record;
    let stamp = source.stamp(record.received_at, 0);
    let state = changes.charger(source.charger);
    state.seen(record.received_at);
    state.known_as(stamp, record.charger_id, record.ocpp_version);
}

pub(super) fn connection(changes: &mut Changes, source: &Source<'_>) {
    let record = source.record;
    let is_start = record.kind == RecordKind::Connected;
    let mut connection = Connection {
        epoch: record.epoch,
        gateway: source.id.gateway,
        online: is_start,
        remote: None,
        ended_at: None,
        end_reason: None,
    };
    if is_start {
        connection.remote = member(record.payload, "remote").map(Cow::into_owned);
    } else {
        connection.ended_at = Some(record.received_at);
        connection.end_reason = Some(record.reason.to_owned());
    }
    match &mut changes.charger(source.charger).connection {
        Some(known) => known.merge(connection),
        none @ None => *none = Some(connection),
    }
}

pub(crate) fn firmware_status(
    changes: &mut Changes,
    source: &Source<'_>,
    at: Timestamp,
    status: &str,
) {
    let stamp = source.stamp(at, 0);
    changes
        .charger(source.charger)
        .firmware_status
        .set(stamp, status.to_owned());
}

/// A text member of an object; the rest of the object may be broken.
pub(crate) fn member<'a>(payload: &'a str, wanted: &str) -> Option<Cow<'a, str>> {
    let mut found = None;
    let _ = Raw::new(payload).members(|name, value| {
        if name == wanted {
            found = value.text();
        }
    });
    found
}

/// The text, unless it is empty.
pub(crate) fn owned(text: Option<Cow<'_, str>>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(Cow::into_owned)
}
