//! Many gateways share the load: a charger may come back to another one than it left.

use crate::charger::{Charger, Incoming};
use crate::plant::{Plant, TIMEOUT, until};

const START: &str =
    r#"{"connectorId":1,"idTag":"TAG-1","meterStart":100,"timestamp":"2026-01-01T10:00:00Z"}"#;

#[test]
fn a_resend_at_another_gateway_gets_the_same_answer_and_makes_no_second_transaction() {
    let plant = Plant::new("");
    let mut first = plant.start("gateway", "first");
    let second = plant.start("gateway", "second");
    let _consumer = plant.start("consumer", "consumer");
    let mut charger = Charger::connect(first.ocpp, "CP-17", "ocpp1.6");
    let answer = charger.call("a", "StartTransaction", START);
    first.kill();
    let mut charger = Charger::connect(second.ocpp, "CP-17", "ocpp1.6");
    let again = charger.call("b", "StartTransaction", START);
    assert_eq!(answer[2], again[2]);
    // The first gateway's record comes when the first gateway does.
    first.restart();
    plant.wait_for_stored("StartTransaction", 2);
    assert_eq!(plant.export("transactions").len(), 1);
}

#[test]
fn the_newest_connection_of_a_charger_wins_at_whatever_gateway() {
    let plant = Plant::new("");
    let first = plant.start("gateway", "first");
    let second = plant.start("gateway", "second");
    let connected =
        |role: &crate::plant::Role| role.part("rabbitmq").is_some_and(|part| part["up"] == true);
    assert!(until(TIMEOUT, || connected(&first) && connected(&second)));
    let mut old = Charger::connect(first.ocpp, "CP-17", "ocpp1.6");
    old.call("1", "Heartbeat", "{}");
    let mut new = Charger::connect(second.ocpp, "CP-17", "ocpp1.6");
    match old.receive() {
        Incoming::Close(_) | Incoming::End => {}
        other => panic!("the old connection goes on: {other:?}"),
    }
    new.call("2", "Heartbeat", "{}");
}
