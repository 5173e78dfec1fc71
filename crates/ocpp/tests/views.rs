//! What the lenient views read from payloads of real firmware; a test is named after its quirk if it has one.

use jiff::Timestamp;
use ocpp::json::ReadError;
use ocpp::{v2, v16};

#[expect(clippy::expect_used, reason = "the texts in this file are times")]
fn at(text: &str) -> Option<Timestamp> {
    Some(text.parse().expect("RFC 3339"))
}

#[test]
fn a_valid_start_is_read() {
    let view = v16::StartTransaction::read(
        r#"{"connectorId":1,"idTag":"04A1B2","meterStart":1523400,"timestamp":"2026-03-01T12:00:00.5Z","reservationId":5}"#,
    )
    .expect("an object");
    assert_eq!(
        view,
        v16::StartTransaction {
            connector_id: Some(1),
            id_tag: Some("04A1B2".into()),
            meter_start: Some(1_523_400),
            timestamp: at("2026-03-01T12:00:00.5Z"),
            reservation_id: Some(5),
        }
    );
}

#[test]
fn quirk_10_timestamps_of_every_kind() {
    for (written, meant) in [
        ("2026-03-01T12:00:00", "2026-03-01T12:00:00Z"),
        ("2026-03-01 12:00:00", "2026-03-01T12:00:00Z"),
        ("2026-03-01T14:00:00+02", "2026-03-01T12:00:00Z"),
        ("1970-01-01T00:00:09Z", "1970-01-01T00:00:09Z"),
        (
            "2026-03-01T12:00:00.123456789Z",
            "2026-03-01T12:00:00.123456789Z",
        ),
    ] {
        let payload = format!(r#"{{"timestamp":"{written}"}}"#);
        let view = v16::StartTransaction::read(&payload).expect("an object");
        assert_eq!(view.timestamp, at(meant), "{written}");
    }
    let view = v16::StartTransaction::read(r#"{"timestamp":"yesterday"}"#).expect("an object");
    assert_eq!(view.timestamp, None);
}

#[test]
fn quirk_11_transaction_ids_of_64_bits() {
    for (written, meant) in [
        ("0", Some(0)),
        ("-1", Some(-1)),
        ("9223372036854775807", Some(i64::MAX)),
        ("\"9223372036854775807\"", Some(i64::MAX)),
        ("9223372036854775808", None),
        ("null", None),
        ("\"\"", None),
    ] {
        let payload = format!(r#"{{"transactionId":{written},"meterStop":1}}"#);
        let view = v16::StopTransaction::read(&payload).expect("an object");
        assert_eq!(
            (view.transaction_id, view.meter_stop),
            (meant, Some(1)),
            "{written}"
        );
    }
}

#[test]
fn quirk_12_main_meter_without_transaction() {
    let view = v16::MeterValues::read(
        r#"{"connectorId":0,"meterValue":[{"timestamp":"2026-03-01T12:00:00Z","sampledValue":[{"value":"88123"}]}]}"#,
    )
    .expect("an object");
    assert_eq!((view.connector_id, view.transaction_id), (Some(0), None));
    let sampled = &view.meter_value[0].sampled_values[0];
    assert_eq!(
        sampled.measurand_or_default(),
        "Energy.Active.Import.Register"
    );
    assert_eq!(sampled.number, Some(88_123.0));
}

#[test]
fn quirk_12_negative_connector() {
    let view = v16::StatusNotification::read(r#"{"connectorId":-1}"#).expect("an object");
    assert_eq!(view.connector_id, Some(-1));
}

#[test]
fn quirk_13_tokens_are_kept_as_written() {
    for token in ["123456789012345678901", "04A1_LP22", "A;B;C", "", " 04A1 "] {
        let payload = format!(r#"{{"idTag":"{token}"}}"#);
        let view = v16::StartTransaction::read(&payload).expect("an object");
        assert_eq!(view.id_tag.as_deref(), Some(token));
    }
    let view = v16::StartTransaction::read(r#"{"idTag":"04\u0002A1"}"#).expect("an object");
    assert_eq!(view.id_tag.as_deref(), Some("04\u{2}A1"));
}

#[test]
fn quirk_14_unknown_enumeration_values_are_kept_as_text() {
    let view = v16::StatusNotification::read(
        r#"{"connectorId":"2","errorCode":"Error","status":"Thinking"}"#,
    )
    .expect("an object");
    assert_eq!(view.connector_id, Some(2));
    assert_eq!(view.error_code.as_deref(), Some("Error"));
    assert_eq!(view.status.as_deref(), Some("Thinking"));
}

#[test]
fn quirk_14_numbers_as_decimal_strings_with_fraction() {
    let view = v16::StartTransaction::read(r#"{"meterStart":"1523400.75"}"#).expect("an object");
    assert_eq!(view.meter_start, Some(1_523_400));
}

#[test]
fn quirk_15_members_of_a_wrong_type_are_ignored() {
    let view = v16::StartTransaction::read(
        r#"{"connectorId":[1],"idTag":{"x":1},"meterStart":true,"timestamp":7,"vendor":{"deep":[[]]}}"#,
    )
    .expect("an object");
    assert_eq!(view, v16::StartTransaction::default());
}

#[test]
fn the_last_of_two_equal_members_counts() {
    let view = v16::StartTransaction::read(r#"{"idTag":"a","idTag":"b"}"#).expect("an object");
    assert_eq!(view.id_tag.as_deref(), Some("b"));
}

#[test]
fn a_payload_that_is_not_an_object_is_an_error_and_null_is_not() {
    assert_eq!(v16::StartTransaction::read("[]"), Err(ReadError::NotObject));
    assert!(matches!(
        v16::StartTransaction::read("{\"idTag\":"),
        Err(ReadError::NotJson { .. })
    ));
    assert_eq!(
        v16::StartTransaction::read("null"),
        Ok(v16::StartTransaction::default())
    );
}

#[test]
fn a_transaction_event_is_flattened() {
    let view = v2::TransactionEvent::read(
        r#"{"eventType":"Ended","timestamp":"2026-03-01T12:00:00Z","triggerReason":"StopAuthorized",
        "seqNo":"9","offline":"true","cableMaxCurrent":32,"reservationId":5,
        "transactionInfo":{"transactionId":"t-1","chargingState":"Idle","timeSpentCharging":60,
            "stoppedReason":"Local","remoteStartId":3},
        "idToken":{"idToken":"04A1","type":"ISO14443"},"evse":{"id":1,"connectorId":2},
        "meterValue":[{"timestamp":"2026-03-01T12:00:00Z","sampledValue":[{"value":7.2,"unitOfMeasure":{"unit":"W","multiplier":3}}]}]}"#,
    )
    .expect("an object");
    assert_eq!(view.event_type.as_deref(), Some("Ended"));
    assert_eq!(view.seq_no, Some(9));
    assert_eq!(view.offline, Some(true));
    assert_eq!(view.transaction_id.as_deref(), Some("t-1"));
    assert_eq!(view.charging_state.as_deref(), Some("Idle"));
    assert_eq!(view.stopped_reason.as_deref(), Some("Local"));
    assert_eq!(
        (view.remote_start_id, view.reservation_id),
        (Some(3), Some(5))
    );
    let token = view.id_token.expect("a token");
    assert_eq!(token.id_token.as_deref(), Some("04A1"));
    assert_eq!(token.token_type.as_deref(), Some("ISO14443"));
    let evse = view.evse.expect("an EVSE");
    assert_eq!((evse.id, evse.connector_id), (Some(1), Some(2)));
    assert_eq!(
        view.meter_value[0].sampled_values[0].scaled(),
        Some(7_200.0)
    );
}

#[test]
fn a_string_in_place_of_the_object_is_a_token() {
    let view = v2::TransactionEvent::read(r#"{"idToken":"04A1"}"#).expect("an object");
    let token = view.id_token.expect("a token");
    assert_eq!(token.id_token.as_deref(), Some("04A1"));
    let view = v2::TransactionEvent::read(r#"{"idToken":null}"#).expect("an object");
    assert_eq!(view.id_token, None);
}

#[test]
fn a_boot_of_2_x_is_flattened() {
    let view = v2::BootNotification::read(
        r#"{"reason":"PowerUp","chargingStation":{"vendorName":"Lumen","model":"P","serialNumber":17,
        "firmwareVersion":"5","modem":{"iccid":"1","imsi":"2"}}}"#,
    )
    .expect("an object");
    assert_eq!(view.vendor_name.as_deref(), Some("Lumen"));
    assert_eq!(view.serial_number.as_deref(), Some("17"));
    assert_eq!(view.imsi.as_deref(), Some("2"));
}

#[test]
fn events_of_2_x_are_flattened() {
    let view = v2::NotifyEvent::read(
        r#"{"generatedAt":"2026-03-01T12:00:00Z","seqNo":0,"tbc":false,"eventData":[{"eventId":9,
        "actualValue":true,"severity":"2","component":{"name":"Connector","instance":"A","evse":{"id":1,"connectorId":2}},
        "variable":{"name":"AvailabilityState","instance":"B"}},{}]}"#,
    )
    .expect("an object");
    assert_eq!(view.event_data.len(), 2);
    let event = &view.event_data[0];
    assert_eq!(event.actual_value.as_deref(), Some("true"));
    assert_eq!(event.component.as_deref(), Some("Connector"));
    assert_eq!(event.variable.as_deref(), Some("AvailabilityState"));
    assert_eq!(event.evse.and_then(|evse| evse.connector_id), Some(2));
}
