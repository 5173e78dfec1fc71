//! Behaviour that was seen in charger stacks.

use super::{sample, starts, stop};
use crate::common::database::{self, connector, transaction, transactions};
use crate::common::{START, at, connect, event, setup};
use central::station::CloseReason;
use ocpp::Version;
use std::collections::BTreeSet;

#[test]
fn seen_01_a_resend_has_a_new_message_id() {
    let mut charger = connect(Version::V16);
    let id = starts(&mut charger);
    charger.wait_ms(60_000);
    let again = charger.succeeds("other", "StartTransaction", START);
    assert_eq!(at(&again, "/transactionId"), id);
    let values = sample(Some(id), "2025-12-31T23:10:00Z", 6000);
    charger.succeeds("2", "MeterValues", &values);
    charger.wait_ms(60_000);
    charger.succeeds("3", "MeterValues", &values);
    assert_eq!(charger.records().len(), 2);
    transaction(&database::of(&[&charger]));
}

#[test]
fn seen_02_message_ids_repeat_between_boots() {
    let boot = r#"{"chargePointVendor":"V","chargePointModel":"M"}"#;
    let status = r#"{"connectorId":1,"errorCode":"NoError","status":"Available"}"#;
    let mut charger = connect(Version::V16);
    charger.succeeds("2", "BootNotification", boot);
    charger.succeeds("3", "StatusNotification", status);
    charger.disconnects(CloseReason::Broken("power cut".into()));
    let mut setup = setup(Version::V16);
    setup.epoch = 2;
    setup.memory = charger.station.into_memory();
    let mut charger = setup.connect();
    charger.succeeds("2", "BootNotification", boot);
    charger.succeeds("3", "StatusNotification", status);
    assert_eq!(
        charger.records().len(),
        2,
        "messages after a boot are not resends"
    );
}

#[test]
fn seen_03_a_2_x_transaction_id_is_short_and_is_used_again() {
    let mut charger = connect(Version::V201);
    let event = |kind: &str, seq_no: u32, at: &str, wh: u32| {
        format!(
            r#"{{"eventType":"{kind}","timestamp":"{at}","triggerReason":"Authorized","seqNo":{seq_no},"transactionInfo":{{"transactionId":"0"}},"meterValue":[{{"timestamp":"{at}","sampledValue":[{{"value":{wh}}}]}}]}}"#
        )
    };
    for (kind, seq_no, at, wh) in [
        ("Started", 0, "2025-12-31T20:00:00Z", 100),
        ("Ended", 1, "2025-12-31T20:30:00Z", 200),
        ("Started", 0, "2025-12-31T21:00:00Z", 200),
        ("Updated", 1, "2025-12-31T21:10:00Z", 250),
        ("Ended", 2, "2025-12-31T21:30:00Z", 500),
        ("Started", 0, "2025-12-31T22:00:00Z", 500),
        ("Updated", 1, "2025-12-31T22:10:00Z", 900),
    ] {
        charger.succeeds(at, "TransactionEvent", &event(kind, seq_no, at, wh));
    }
    let views = transactions(&database::of(&[&charger]));
    let shown: Vec<_> = views
        .iter()
        .map(|view| (view.open, view.energy_wh))
        .collect();
    assert_eq!(
        shown,
        [
            (false, Some(100.0)),
            (false, Some(300.0)),
            (true, Some(400.0))
        ]
    );
    let keys: BTreeSet<_> = views.iter().map(|view| view.key).collect();
    assert_eq!(keys.len(), 3);
}

#[test]
fn seen_04_the_order_after_a_reconnect_does_not_matter() {
    // First a status with an old time, then an older transaction, all at once.
    let mut charger = connect(Version::V16);
    let status = r#"{"connectorId":1,"errorCode":"NoError","status":"Available","timestamp":"2025-12-31T23:40:00Z"}"#;
    charger.succeeds("1", "StatusNotification", status);
    let id = starts(&mut charger);
    charger.succeeds(
        "3",
        "StopTransaction",
        &stop(&id.to_string(), "2025-12-31T23:20:00Z", 7000),
    );
    charger.succeeds(
        "4",
        "MeterValues",
        &sample(Some(id), "2025-12-31T23:10:00Z", 6000),
    );
    let database = database::of(&[&charger]);
    let view = transaction(&database);
    assert_eq!(
        view.started_at.map(|at| at.to_string()).as_deref(),
        Some("2025-12-31T23:00:00.000Z")
    );
    assert_eq!(view.energy_wh, Some(2000.0));
    assert_eq!(
        connector(&database, 0, 1)
            .since
            .map(|at| at.to_string())
            .as_deref(),
        Some("2025-12-31T23:40:00.000Z")
    );
}

#[test]
fn seen_06_gaps_in_the_sequence_are_normal_and_shown() {
    let mut charger = connect(Version::V21);
    for seq_no in [0, 2, 3, 7] {
        let kind = if seq_no == 0 { "Started" } else { "Updated" };
        charger.succeeds(
            &seq_no.to_string(),
            "TransactionEvent",
            &event(kind, seq_no, ""),
        );
    }
    let view = transaction(&database::of(&[&charger]));
    assert_eq!(view.missing_seq, [(1, 1), (4, 6)]);
}

#[test]
fn seen_08_values_without_a_transaction_every_minute() {
    let mut charger = connect(Version::V16);
    for minute in 0..10 {
        let at = format!("2025-12-31T23:{minute:02}:00Z");
        charger.succeeds(
            &minute.to_string(),
            "MeterValues",
            &sample(None, &at, minute),
        );
    }
    let database = database::of(&[&charger]);
    assert_eq!(database.meter_values.len(), 10);
    assert!(database.states.transactions.is_empty());
}

#[test]
fn seen_09_evse_0_and_connector_0_for_a_running_transaction() {
    let mut charger = connect(Version::V201);
    let started = event(
        "Started",
        0,
        r#","evse":{"id":0,"connectorId":0},"offline":true"#,
    );
    charger.succeeds("1", "TransactionEvent", &started);
    let view = transaction(&database::of(&[&charger]));
    assert_eq!((view.evse, view.connector), (Some(0), Some(0)));
    assert!(view.offline);
}

#[test]
fn seen_10_every_answer_is_compact() {
    let mut charger = connect(Version::V16);
    charger.succeeds("1", "BootNotification", "{}");
    starts(&mut charger);
    charger.sends(r#"[2,"x","Teleport",{}]"#);
    for answer in &charger.received {
        let compact: serde_json::Value = serde_json::from_str(answer).expect("JSON");
        let blanks = |text: &str| text.matches(": ").count() + text.matches(", ").count();
        assert_eq!(blanks(answer), blanks(&compact.to_string()), "{answer}");
    }
}
