//! A charger that lost the answer asks again.

use crate::charger::Charger;
use crate::deployment::Deployment;
use serde_json::Value;

const START: &str =
    r#"{"connectorId":1,"idTag":"TAG-1","meterStart":100,"timestamp":"2026-02-01T10:00:00Z"}"#;

/// With the same message id and with a new one, on the same connection, after a reconnect and after a
/// restart by kill -9: the same transactionId, one transaction.
#[test]
fn a_start_transaction_that_is_resent_gets_the_same_transaction_id() {
    let mut deployment = Deployment::start("");
    let mut charger = Charger::connect(deployment.ocpp, "RESENT", "ocpp1.6");
    let first = charger.call("start-1", "StartTransaction", START);
    assert_eq!(first[0], 3, "{first}");
    assert!(first[2]["transactionId"].as_i64().is_some_and(|id| id > 0));

    let same_again = |answer: &Value| assert_eq!(answer[2], first[2]);
    same_again(&charger.call("start-1", "StartTransaction", START));
    same_again(&charger.call("start-2", "StartTransaction", START));

    drop(charger);
    let mut charger = Charger::connect(deployment.ocpp, "RESENT", "ocpp1.6");
    same_again(&charger.call("start-1", "StartTransaction", START));

    deployment.kill();
    deployment.restart();
    let mut charger = Charger::connect(deployment.ocpp, "RESENT", "ocpp1.6");
    same_again(&charger.call("start-1", "StartTransaction", START));
    same_again(&charger.call("start-3", "StartTransaction", START));

    // Another start of the same driver, a minute later, is another transaction.
    let other = START.replace("10:00:00", "10:01:00");
    let second = charger.call("start-4", "StartTransaction", &other);
    assert_ne!(second[2]["transactionId"], first[2]["transactionId"]);

    assert!(deployment.stop().success());
    assert_eq!(deployment.transactions().len(), 2);
    let starts = deployment
        .messages()
        .into_iter()
        .filter(|line| line["action"] == "StartTransaction")
        .count();
    assert_eq!(starts, 2, "a resend leaves no record of its own");
}

#[test]
fn meter_values_and_stop_that_are_resent_change_nothing() {
    let mut deployment = Deployment::start("");
    let mut charger = Charger::connect(deployment.ocpp, "RESENT", "ocpp1.6");
    let start = charger.call("1", "StartTransaction", START);
    let id = start[2]["transactionId"].as_i64().expect("an id");
    let values = format!(
        r#"{{"connectorId":1,"transactionId":{id},"meterValue":[{{"timestamp":"2026-02-01T10:05:00Z","sampledValue":[{{"value":"300"}}]}}]}}"#
    );
    let stop = format!(
        r#"{{"transactionId":{id},"idTag":"TAG-1","meterStop":500,"timestamp":"2026-02-01T10:10:00Z"}}"#
    );
    for (round, message_id) in ["2", "2", "9"].into_iter().enumerate() {
        let answer = charger.call(message_id, "MeterValues", &values);
        assert_eq!(
            answer,
            serde_json::json!([3, message_id, {}]),
            "round {round}"
        );
    }
    let first_stop = charger.call("3", "StopTransaction", &stop);
    deployment.kill();
    deployment.restart();
    let mut charger = Charger::connect(deployment.ocpp, "RESENT", "ocpp1.6");
    assert_eq!(
        charger.call("4", "StopTransaction", &stop)[2],
        first_stop[2]
    );
    assert_eq!(charger.call("5", "MeterValues", &values)[0], 3);
    assert!(deployment.stop().success());
    let transactions = deployment.transactions();
    assert_eq!(transactions.len(), 1);
    assert_eq!(transactions[0]["energy_wh"].as_f64(), Some(400.0));
    let records = |action: &str| {
        deployment
            .messages()
            .iter()
            .filter(|line| line["action"] == action)
            .count()
    };
    assert_eq!((records("MeterValues"), records("StopTransaction")), (1, 1));
}
