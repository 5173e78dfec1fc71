//! What a charger says of itself may be of any length: a vendor's name of a megabyte is taken in and
//! kept. In an overview it would only be in the way, so long texts are shown cut; the messages, which
//! they were taken from, have them whole.

use central::model::{ChargerView, ConnectorView, TransactionView};

/// Longer texts are cut, in bytes. Far above what OCPP allows for any of them.
const TEXT_BYTES_MAX: usize = 1_000;

/// Cuts the texts of a charger that are not our own.
pub(crate) fn charger(row: &mut ChargerView) {
    cut_all([&mut row.firmware_status, &mut row.disconnect_reason]);
    if let Some(boot) = &mut row.boot {
        cut_all([
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

/// Cuts the texts of a connector.
pub(crate) fn connector(row: &mut ConnectorView) {
    cut_all([
        &mut row.status,
        &mut row.error_code,
        &mut row.info,
        &mut row.vendor_error_code,
    ]);
}

/// Cuts the texts of a transaction.
pub(crate) fn transaction(row: &mut TransactionView) {
    cut(&mut row.transaction_id);
    cut_all([
        &mut row.id_token,
        &mut row.token_type,
        &mut row.verdict,
        &mut row.charging_state,
        &mut row.stop_reason,
    ]);
}

fn cut_all<const N: usize>(texts: [&mut Option<String>; N]) {
    texts.into_iter().flatten().for_each(cut);
}

fn cut(text: &mut String) {
    if text.len() > TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_a_text_that_is_too_long_is_cut_and_never_within_a_character() {
        let cut = |text: String| {
            let mut text = text;
            super::cut(&mut text);
            text
        };
        assert_eq!(cut("x".repeat(1_000)), "x".repeat(1_000));
        assert_eq!(cut("x".repeat(1_001)), "x".repeat(1_000) + "…");
        assert_eq!(cut("€".repeat(500)), "€".repeat(333) + "…");
    }
}
