//! A charger that did not get the answer sends its message again.

use crate::charger::Charger;
use crate::deployment::Deployment;
use serde_json::Value;

const START: &str =
    r#"{"connectorId":1,"idTag":"TAG-1","meterStart":100,"timestamp":"2026-02-01T10:00:00Z"}"#;

/// With the same message id or a new one, on the same connection, after a reconnect, and after kill -9.
#[test]
fn resent_start_transaction_gets_the_same_transaction_id_and_is_one_transaction() {
    let mut deployment = Deployment::start("");
    let mut charger = Charger::connect(deployment.ocpp, "RESENT", "ocpp1.6");
    let first = charger.call("start-1", "StartTransaction", START);
    assert_eq!(first[0], 3, "{first}");
    assert!(first[2]["transactionId"].as_i64().is_some_and(|id| id > 0));

    let same_again = |answer: &Value| assert_eq!(answer[2], first[2]);
    same_again(&charger.call("start-1", "StartTransaction", START));
    same_again(&charger.call("start-2", "StartTransaction", START));

    let metrics = deployment.get("/metrics").1;
    assert!(
        metrics.contains("wattpost_gateway_resends_total{kind=\"content\"} 2\n"),
        "{metrics}"
    );

    drop(charger);
    let mut charger = Charger::connect(deployment.ocpp, "RESENT", "ocpp1.6");
    same_again(&charger.call("start-1", "StartTransaction", START));

    deployment.kill();
    deployment.restart();
    let mut charger = Charger::connect(deployment.ocpp, "RESENT", "ocpp1.6");
    same_again(&charger.call("start-1", "StartTransaction", START));
    same_again(&charger.call("start-3", "StartTransaction", START));

    // A start with the same idTag a minute later is another transaction.
    let other = START.replace("10:00:00", "10:01:00");
    let second = charger.call("start-4", "StartTransaction", &other);
    assert_ne!(second[2]["transactionId"], first[2]["transactionId"]);

    deployment.stop();
    assert_eq!(deployment.transactions().len(), 2);
    let starts = deployment
        .messages()
        .into_iter()
        .filter(|line| line["action"] == "StartTransaction")
        .count();
    assert_eq!(starts, 2, "a resend is not recorded");
}

#[test]
fn resent_meter_values_and_stop_change_nothing() {
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
    deployment.stop();
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
