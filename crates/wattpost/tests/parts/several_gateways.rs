//! Several gateways share the load: a charger may reconnect to another gateway.

use crate::charger::{Charger, Incoming};
use crate::deployment::{Deployment, TIMEOUT, until};
use testbed::psql;

const START: &str =
    r#"{"connectorId":1,"idTag":"TAG-1","meterStart":100,"timestamp":"2026-01-01T10:00:00Z"}"#;

#[test]
fn resend_to_another_gateway_gets_the_same_answer_and_is_one_transaction() {
    let deployment = Deployment::new("");
    let mut first = deployment.start("gateway", "first");
    let second = deployment.start("gateway", "second");
    let _consumer = deployment.start("consumer", "consumer");
    let mut charger = Charger::connect(first.ocpp, "CP-17", "ocpp1.6");
    let answer = charger.call("a", "StartTransaction", START);
    first.kill();
    let mut charger = Charger::connect(second.ocpp, "CP-17", "ocpp1.6");
    let again = charger.call("b", "StartTransaction", START);
    assert_eq!(answer[2], again[2]);
    // The first gateway delivers its record after its restart.
    first.restart();
    deployment.wait_for_stored("StartTransaction", 2);
    assert_eq!(deployment.export("transactions").len(), 1);
}

#[test]
fn new_connection_of_a_charger_closes_its_old_one_at_another_gateway() {
    let deployment = Deployment::new("");
    let first = deployment.start("gateway", "first");
    let second = deployment.start("gateway", "second");
    assert!(until(TIMEOUT, || {
        first.is_up("rabbitmq") && second.is_up("rabbitmq")
    }));
    let mut old = Charger::connect(first.ocpp, "CP-17", "ocpp1.6");
    old.call("1", "Heartbeat", "{}");
    let mut new = Charger::connect(second.ocpp, "CP-17", "ocpp1.6");
    match old.receive() {
        Incoming::Close(_) | Incoming::End => {}
        other => panic!("the old connection is not closed: {other:?}"),
    }
    new.call("2", "Heartbeat", "{}");
}

#[test]
fn each_gateway_reports_to_the_database_that_it_runs() {
    let deployment = Deployment::new("");
    let mut first = deployment.start("gateway", "first");
    let _second = deployment.start("gateway", "second");
    // The reports of each gateway, in the order of their numbers.
    let reports = || -> Vec<i64> {
        let sql = "SELECT state::jsonb ->> 'alive_at' FROM gateways
                   WHERE state::jsonb ? 'alive_at' ORDER BY no";
        let said = psql(&deployment.database_url, sql).expect("ask");
        let times = said.lines().map(str::parse);
        times.collect::<Result<_, _>>().expect("milliseconds")
    };
    assert!(until(TIMEOUT, || reports().len() == 2));
    let before = reports();
    let all_later = || reports().iter().zip(&before).all(|(now, then)| now > then);
    assert!(until(TIMEOUT, all_later), "{before:?}: {:?}", reports());
    first.kill();
    let before = reports();
    let later = || {
        reports()
            .iter()
            .zip(&before)
            .filter(|(now, then)| now > then)
            .count()
    };
    assert!(until(TIMEOUT, || later() == 1));
}
