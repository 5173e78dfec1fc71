//! Mistakes in frames, payloads, times and statuses.

use super::{NOW, sample, starts, stop};
use crate::common::database::{self, connector, transaction, transactions};
use crate::common::{START, TestCharger, at, connect, setup};
use central::model::ChargerKey;
use central::record::Notes;
use central::station::TokenAnswer;
use central::{Quirk, RecordKind};
use ocpp::Version;
use ocpp::frame;
use std::collections::BTreeSet;

#[test]
fn quirk_03_negotiates_2_0_1_and_speaks_1_6() {
    let mut charger = connect(Version::V201);
    charger.succeeds(
        "1",
        "BootNotification",
        r#"{"chargePointVendor":"V","chargePointModel":"M"}"#,
    );
    let answer = charger.succeeds("2", "StartTransaction", START);
    let id = at(&answer, "/transactionId").as_i64().expect("an id");
    charger.succeeds(
        "3",
        "MeterValues",
        &sample(Some(id), "2025-12-31T23:10:00Z", 6000),
    );
    let answer = charger.succeeds("4", "Authorize", r#"{"idTag":"04A1"}"#);
    assert_eq!(at(&answer, "/idTagInfo/status"), "Accepted");
    charger.succeeds(
        "5",
        "StopTransaction",
        &stop(&id.to_string(), "2025-12-31T23:20:00Z", 7000),
    );
    let status = r#"{"connectorId":1,"errorCode":"NoError","status":"Available"}"#;
    charger.succeeds("6", "StatusNotification", status);
    for record in &charger.records() {
        assert!(record.notes.has(Notes::TOLERATED), "{}", record.action);
        assert_eq!(record.ocpp_version, Version::V16, "{}", record.action);
    }
    let database = database::of(&[&charger]);
    let view = transaction(&database);
    assert_eq!(view.energy_wh, Some(2000.0));
    assert!(!view.open);
    assert_eq!(connector(&database, 0, 1).status, "Available");
    let charger = database::charger(&database, &ChargerKey::of("cp-17"));
    assert_eq!(
        charger.boot.expect("it booted").vendor.as_deref(),
        Some("V")
    );
}

#[test]
fn quirk_07_message_ids_restart_repeat_and_are_numbers() {
    let mut charger = connect(Version::V16);
    // The same small number with different content is never a resend.
    starts(&mut charger);
    charger.succeeds(
        "1",
        "StopTransaction",
        &stop("7", "2025-12-31T23:20:00Z", 1),
    );
    charger.succeeds(
        "1",
        "StopTransaction",
        &stop("8", "2025-12-31T23:20:00Z", 1),
    );
    charger.succeeds("1", "MeterValues", &sample(None, "2025-12-31T23:20:00Z", 1));
    assert_eq!(charger.records().len(), 4);
    // A number is repeated as that number.
    let answer = charger.calls(r#"[2,7,"Heartbeat",{}]"#);
    assert!(answer.starts_with("[3,7,{"), "{answer}");
    let long = "x".repeat(40);
    let answer = charger.calls(&format!(r#"[2,"{long}","Heartbeat",{{}}]"#));
    assert!(answer.starts_with(&format!(r#"[3,"{long}",{{"#)));
    let answer = charger.calls(r#"[2,"","Heartbeat",{}]"#);
    assert!(answer.starts_with(r#"[3,"",{"#));
}

#[test]
fn quirk_07_a_number_as_message_id_is_counted_with_the_record_of_its_frame() {
    let mut charger = connect(Version::V16);
    charger.sends(r#"[2,7,"Heartbeat",{}]"#);
    charger.directory_works = false;
    charger.sends(&format!(r#"[2,8,"StartTransaction",{START}]"#));
    charger.directory_answers(TokenAnswer::Unknown);
    charger.sends(r#"[2,"9","Heartbeat",{}]"#);
    let counted: Vec<bool> = charger
        .metas
        .iter()
        .map(|meta| meta.quirks.has(frame::Quirk::NumberId))
        .collect();
    // The first record is that of the connection.
    assert_eq!(counted, [false, true, true, false]);
}

#[test]
fn quirk_08_invalid_json_is_answered_and_recorded() {
    let mut charger = connect(Version::V16);
    assert!(charger.sends("").is_empty());
    assert!(charger.records().is_empty(), "an empty frame is ignored");
    let text = r#"[2,"1","MeterValues",{"connectorId":1,"transactionId":,"meterValue":[]}]"#;
    assert_eq!(charger.calls(text), r#"[3,"1",{}]"#);
    let text = "[2,\"2\",\"MeterValues\",[,{\"connectorId\":1}]]";
    assert_eq!(charger.calls(text), r#"[3,"2",{}]"#);
    let text = r#"[2,"3","BootNotification",{"chargePointVendor":"A\B","chargePointModel":"M"}]"#;
    assert_eq!(at(&charger.calls(text), "/2/status"), "Accepted");
    let pretty = "[\n  2,\n  \"4\",\n  \"Heartbeat\",\n  { }\n]";
    assert!(charger.calls(pretty).starts_with(r#"[3,"4","#));
    assert_eq!(charger.records().len(), 4);
}

#[test]
fn quirk_09_null_payload_and_no_sampled_values() {
    let mut charger = connect(Version::V16);
    assert!(
        charger
            .calls(r#"[2,"1","Heartbeat",null]"#)
            .starts_with(r#"[3,"1","#)
    );
    assert!(
        charger
            .calls(r#"[2,"2","Heartbeat"]"#)
            .starts_with(r#"[3,"2","#)
    );
    let empty = r#"{"connectorId":1,"meterValue":[{"timestamp":"2026-01-01T00:00:00Z","sampledValue":[]}]}"#;
    charger.succeeds("3", "MeterValues", empty);
    assert!(charger.last_notes().has(Notes::TOLERATED));
    let database = database::of(&[&charger]);
    let row = database.meter_values.values().next().expect("a row");
    assert_eq!((row.energy_wh, row.sampled.as_str()), (None, "[]"));
}

#[test]
fn quirk_10_times_in_every_notation_and_no_time() {
    let status = |status: &str, at: &str| {
        format!(
            r#"{{"connectorId":1,"errorCode":"NoError","status":"{status}","timestamp":"{at}"}}"#
        )
    };
    for (at, effective) in [
        ("2025-12-31T23:00:00", "2025-12-31T23:00:00.000Z"),
        ("2025-12-31T23:00:00+02", "2025-12-31T21:00:00.000Z"),
        ("2025-12-31 23:00:00.123456789Z", "2025-12-31T23:00:00.123Z"),
        ("20251231T230000Z", "2025-12-31T23:00:00.000Z"),
        ("2025-12-30T24:00:00Z", "2025-12-31T00:00:00.000Z"),
        // A clock that was never set, a clock in the future, or no time: the time of reception.
        ("1970-01-01T00:00:01Z", "2026-01-01T00:00:00.000Z"),
        ("2031-01-01T00:00:00Z", "2026-01-01T00:00:00.000Z"),
        ("yesterday", "2026-01-01T00:00:00.000Z"),
    ] {
        let mut charger = connect(Version::V16);
        charger.succeeds("1", "StatusNotification", &status("Charging", at));
        let view = connector(&database::of(&[&charger]), 0, 1);
        assert_eq!(
            view.since.map(|at| at.to_string()).as_deref(),
            Some(effective),
            "{at}"
        );
    }
}

#[test]
fn quirk_12_connector_0_and_values_without_a_transaction() {
    let mut charger = connect(Version::V16);
    let payload =
        sample(None, "2025-12-31T23:00:00Z", 100).replace("\"connectorId\":1", "\"connectorId\":0");
    charger.succeeds("1", "MeterValues", &payload);
    charger.succeeds(
        "2",
        "MeterValues",
        &payload.replace("\"connectorId\":0", "\"connectorId\":-3"),
    );
    let database = database::of(&[&charger]);
    let places: BTreeSet<_> = database
        .meter_values
        .values()
        .map(|row| row.connector)
        .collect();
    assert_eq!(places, BTreeSet::from([Some(0), Some(-3)]));
    assert!(database.states.transactions.is_empty());
}

#[test]
fn numbers_that_no_charger_has_make_no_connectors_and_are_counted_in_every_version() {
    let noted = |charger: &TestCharger| -> usize {
        let contents = database::of(&[charger]);
        let counts = contents.quirks.iter();
        let of_it = counts.filter(|((_, quirk), _)| *quirk == Quirk::PlaceOutOfRange);
        of_it
            .map(|(_, count)| usize::try_from(count.count).unwrap())
            .sum()
    };
    let mut charger = connect(Version::V16);
    for connector in -2..300 {
        let id = format!("s{connector}");
        charger.succeeds(
            &id,
            "StatusNotification",
            &format!(r#"{{"connectorId":{connector},"errorCode":"NoError","status":"Available"}}"#),
        );
        let payload = sample(None, "2025-12-31T23:00:00Z", 100)
            .replace("\"connectorId\":1", &format!("\"connectorId\":{connector}"));
        charger.succeeds(&format!("m{connector}"), "MeterValues", &payload);
    }
    let start = START.replace("\"connectorId\":1", "\"connectorId\":300");
    assert_ne!(start, START);
    charger.succeeds("start", "StartTransaction", &start);
    let contents = database::of(&[&charger]);
    assert_eq!(contents.states.connectors.len(), 256);
    let unnamed = contents.meter_values.values();
    let unnamed: BTreeSet<_> = unnamed.filter_map(|row| row.unnamed_at).collect();
    assert_eq!(unnamed, (1..=255).collect());
    assert_eq!(contents.meter_values.len(), 302);
    assert_eq!(noted(&charger), 2 * 46 + 1);
    // The session has the number as it was written.
    let views = transactions(&contents);
    assert_eq!((views.len(), views[0].connector), (1, Some(300)));

    for version in [Version::V201, Version::V21] {
        let mut charger = connect(version);
        for (evse, connector) in (-1..70).flat_map(|evse| (-1..10).map(move |c| (evse, c))) {
            let at = "2025-12-31T23:00:00Z";
            let status = format!(
                r#"{{"timestamp":"{at}","connectorStatus":"Available","evseId":{evse},"connectorId":{connector}}}"#
            );
            charger.succeeds(
                &format!("s{evse}/{connector}"),
                "StatusNotification",
                &status,
            );
            let event = format!(
                r#"{{"generatedAt":"{at}","seqNo":0,"eventData":[{{"eventId":1,"timestamp":"{at}","trigger":"Delta","actualValue":"Occupied","eventNotificationType":"HardWiredNotification","component":{{"name":"Connector","evse":{{"id":{evse},"connectorId":{connector}}}}},"variable":{{"name":"AvailabilityState"}}}}]}}"#
            );
            charger.succeeds(&format!("e{evse}/{connector}"), "NotifyEvent", &event);
        }
        assert_eq!(database::of(&[&charger]).states.connectors.len(), 64 * 8);
        assert_eq!(noted(&charger), 2 * (71 * 11 - 64 * 8));
        let session = r#"{"eventType":"Started","timestamp":"2025-12-31T23:00:00Z","triggerReason":"Authorized","seqNo":0,"transactionInfo":{"transactionId":"t"},"evse":{"id":64,"connectorId":1}}"#;
        charger.succeeds("t", "TransactionEvent", session);
        let meter = r#"{"evseId":64,"meterValue":[{"timestamp":"2025-12-31T23:00:00Z","sampledValue":[{"value":1}]}]}"#;
        charger.succeeds("m", "MeterValues", meter);
        let contents = database::of(&[&charger]);
        let row = contents.meter_values.values().next().unwrap();
        assert_eq!((row.evse, row.unnamed_at), (Some(64), None));
        let views = transactions(&contents);
        assert_eq!((views.len(), views[0].evse), (1, Some(64)));
        assert_eq!(noted(&charger), 2 * (71 * 11 - 64 * 8) + 2);
    }
}

#[test]
fn quirk_13_long_texts_and_unusual_tokens() {
    let mut charger = connect(Version::V16);
    let boot = format!(
        r#"{{"chargePointVendor":"V","chargePointModel":"M","chargePointSerialNumber":"{}"}}"#,
        "9".repeat(26)
    );
    assert_eq!(
        at(&charger.succeeds("1", "BootNotification", &boot), "/status"),
        "Accepted"
    );
    for tag in [
        "123456789012345678901",
        "04A1_serial",
        "A;B;C",
        "a\\u0001b",
        "",
    ] {
        let start = START.replace("04A1", tag);
        let answer = charger.succeeds(tag, "StartTransaction", &start);
        assert_eq!(at(&answer, "/idTagInfo/status"), "Accepted", "{tag}");
    }
}

#[test]
fn quirk_14_unknown_enumerations_and_numbers_as_texts() {
    let mut charger = connect(Version::V16);
    let status = r#"{"connectorId":"1","errorCode":"Error","status":"Napping"}"#;
    charger.succeeds("1", "StatusNotification", status);
    let tolerated = START.replace("5000", "\"5000.7\"");
    charger.succeeds("2", "StartTransaction", &tolerated);
    for record in charger.records() {
        assert!(record.notes.has(Notes::TOLERATED), "{}", record.reason);
    }
    let database = database::of(&[&charger]);
    let view = connector(&database, 0, 1);
    assert_eq!(view.status, "Napping");
    assert_eq!(view.error_code.as_deref(), Some("Error"));
    assert_eq!(transaction(&database).meter_start_wh, Some(5000.0));
}

#[test]
fn quirk_15_extra_members() {
    for version in Version::ALL {
        let mut charger = connect(version);
        charger.succeeds("1", "Heartbeat", r#"{"vendorMood":{"x":[1]}}"#);
        assert_eq!(charger.records()[0].payload, r#"{"vendorMood":{"x":[1]}}"#);
    }
}

#[test]
fn quirk_16_no_boot_after_a_reconnect_and_messages_before_it() {
    let mut charger = connect(Version::V16);
    charger.succeeds(
        "1",
        "StatusNotification",
        r#"{"connectorId":1,"errorCode":"NoError","status":"Available"}"#,
    );
    let boot = charger.succeeds(
        "2",
        "BootNotification",
        r#"{"chargePointVendor":"V","chargePointModel":"M"}"#,
    );
    assert_eq!(at(&boot, "/status"), "Accepted");
    // The station sends nothing else.
    assert_eq!(charger.received.len(), 2);
}

#[test]
fn quirk_21_several_calls_in_flight_and_unsolicited_replies() {
    let mut charger = connect(Version::V16);
    charger.disk_works = false;
    for id in 0..5 {
        charger.sends(&format!(r#"[2,"{id}","Heartbeat",{{}}]"#));
    }
    charger.sends(r#"[3,"late",{"status":"Accepted"}]"#);
    let received = charger.disk_syncs();
    let ids: Vec<_> = received.iter().map(|answer| at(answer, "/1")).collect();
    assert_eq!(ids, ["0", "1", "2", "3", "4"]);
    assert!(charger.last_notes().has(Notes::UNSOLICITED));
}

#[test]
fn quirk_23_months_of_backlog_do_not_change_the_current_status() {
    let mut setup = setup(Version::V16);
    setup.epoch = NOW.0.cast_unsigned();
    let mut charger = setup.connect();
    let status = |status: &str, at: &str| {
        format!(
            r#"{{"connectorId":1,"errorCode":"NoError","status":"{status}","timestamp":"{at}"}}"#
        )
    };
    charger.succeeds(
        "1",
        "StatusNotification",
        &status("Available", "2025-12-31T23:59:59Z"),
    );
    let month = |m: usize| format!("2025-{:02}-{:02}T08:00:00Z", 1 + m % 12, 1 + m / 12);
    for m in 0..200 {
        charger.succeeds(
            &m.to_string(),
            "StatusNotification",
            &status("Faulted", &month(m)),
        );
        let start = START.replace("2025-12-31T23:00:00Z", &month(m));
        charger.succeeds(&m.to_string(), "StartTransaction", &start);
    }
    let database = database::of(&[&charger]);
    assert_eq!(connector(&database, 0, 1).status, "Available");
    assert_eq!(transactions(&database).len(), 200);
}

#[test]
fn quirk_26_the_same_status_repeated() {
    let mut charger = connect(Version::V201);
    for i in 0..10 {
        let status = r#"{"timestamp":"2025-12-31T23:00:00Z","connectorStatus":"Available","evseId":1,"connectorId":1}"#;
        charger.succeeds(&i.to_string(), "StatusNotification", status);
    }
    assert_eq!(
        connector(&database::of(&[&charger]), 1, 1).status,
        "Available"
    );
}

#[test]
fn the_recorded_answer_is_the_one_that_the_charger_got() {
    let mut charger = connect(Version::V16);
    let id = starts(&mut charger);
    let records = charger.records();
    assert_eq!(records[0].kind, RecordKind::Call);
    assert_eq!(at(records[0].answer, "/transactionId"), id);
    assert_eq!(records[0].received_at, NOW);
    let view = transaction(&database::of(&[&charger]));
    assert_eq!(view.transaction_id, id.to_string());
    assert_eq!(view.verdict.as_deref(), Some("Accepted"));
}
