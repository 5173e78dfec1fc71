//! Truncates long texts of chargers in lists and events. A charger may send a vendor name of a megabyte, and it is stored
//! in full. `/api/v1/messages` returns it in full.

use super::{CommandView, ConnectorView, TransactionView};
use crate::query::ChargerDetail;

/// Texts are truncated to this many bytes, far more than OCPP permits for any of them.
const TEXT_BYTES_MAX: usize = 1_000;
/// A payload in an event is at most this long.
const COMMAND_BYTES_MAX: usize = 8 << 10;

/// Truncates the texts of a charger and of its connectors that the charger sent.
pub fn charger(row: &mut ChargerDetail) {
    row.connectors.iter_mut().for_each(connector);
    let row = &mut row.charger;
    truncate_all([&mut row.firmware_status, &mut row.disconnect_reason]);
    if let Some(boot) = &mut row.boot {
        truncate_all([
            &mut boot.vendor,
            &mut boot.model,
            &mut boot.serial,
            &mut boot.firmware,
            &mut boot.iccid,
            &mut boot.imsi,
            &mut boot.meter_type,
            &mut boot.meter_serial,
            &mut boot.reason,
        ]);
    }
}

/// Truncates the texts of a connector.
pub fn connector(row: &mut ConnectorView) {
    truncate(&mut row.status);
    truncate_all([
        &mut row.last_status,
        &mut row.error_code,
        &mut row.info,
        &mut row.vendor_error_code,
    ]);
}

/// Removes the payload, and the charger's answer, of a command where they are longer than 8 KiB: events
/// are kept for weeks, and one of a local list of 200 KB for each of 10,000 chargers would fill a disk.
pub fn command(row: &mut CommandView) {
    if row.payload.len() > COMMAND_BYTES_MAX {
        "null".clone_into(&mut row.payload);
    }
    if let Some(outcome) = &mut row.outcome {
        for answer in [&mut outcome.payload, &mut outcome.error] {
            answer.take_if(|answer| answer.len() > COMMAND_BYTES_MAX);
        }
        truncate_all([&mut outcome.status, &mut outcome.detail]);
    }
}

/// Truncates the texts of a transaction.
pub fn transaction(row: &mut TransactionView) {
    truncate(&mut row.transaction_id);
    truncate_all([
        &mut row.id_token,
        &mut row.token_type,
        &mut row.verdict,
        &mut row.charging_state,
        &mut row.stop_reason,
    ]);
}

/// The text, truncated.
#[must_use]
pub fn text(mut text: String) -> String {
    truncate(&mut text);
    text
}

fn truncate_all<const N: usize>(texts: [&mut Option<String>; N]) {
    texts.into_iter().flatten().for_each(truncate);
}

fn truncate(text: &mut String) {
    if text.len() > TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_a_long_text_is_truncated_and_never_within_a_character() {
        let truncated = |text: String| {
            let mut text = text;
            super::truncate(&mut text);
            text
        };
        assert_eq!(truncated("x".repeat(1_000)), "x".repeat(1_000));
        assert_eq!(truncated("x".repeat(1_001)), "x".repeat(1_000) + "…");
        assert_eq!(truncated("€".repeat(500)), "€".repeat(333) + "…");
    }
}
