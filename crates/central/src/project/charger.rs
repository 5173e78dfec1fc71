//! What records say of the charger as a whole.

use super::{Changes, Source};
use crate::Timestamp;
use crate::model::{Boot, Connection, Merge};
use crate::record::RecordKind;
use ocpp::json::Raw;
use ocpp::{Version, v2, v16};
use std::borrow::Cow;

/// Any record is a sign of life (N-5).
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

pub(crate) fn boot(changes: &mut Changes, source: &Source<'_>) {
    let payload = source.record.payload;
    let mut boot = match source.record.ocpp_version {
        Version::V16 => boot_v16(payload),
        Version::V201 | Version::V21 => boot_v2(payload),
    };
    boot.answered = member(source.record.answer, "status").map(Cow::into_owned);
    let stamp = source.stamp(source.record.received_at, 0);
    changes.charger(source.charger).boot.set(stamp, boot);
}

pub(super) fn firmware_status(
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

fn boot_v16(payload: &str) -> Boot {
    let view = v16::BootNotification::read(payload).unwrap_or_default();
    Boot {
        vendor: owned(view.charge_point_vendor),
        model: owned(view.charge_point_model),
        serial: owned(
            view.charge_point_serial_number
                .or(view.charge_box_serial_number),
        ),
        firmware: owned(view.firmware_version),
        iccid: owned(view.iccid),
        imsi: owned(view.imsi),
        meter_type: owned(view.meter_type),
        meter_serial: owned(view.meter_serial_number),
        reason: None,
        answered: None,
    }
}

fn boot_v2(payload: &str) -> Boot {
    let view = v2::BootNotification::read(payload).unwrap_or_default();
    Boot {
        vendor: owned(view.vendor_name),
        model: owned(view.model),
        serial: owned(view.serial_number),
        firmware: owned(view.firmware_version),
        iccid: owned(view.iccid),
        imsi: owned(view.imsi),
        meter_type: None,
        meter_serial: None,
        reason: owned(view.reason),
        answered: None,
    }
}

/// A text member of an object, however broken the rest is.
pub(super) fn member<'a>(payload: &'a str, wanted: &str) -> Option<Cow<'a, str>> {
    let mut found = None;
    let _ = Raw::new(payload).members(|name, value| {
        if name == wanted {
            found = value.text();
        }
    });
    found
}

/// Texts are kept unless they say nothing.
pub(super) fn owned(text: Option<Cow<'_, str>>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(Cow::into_owned)
}
