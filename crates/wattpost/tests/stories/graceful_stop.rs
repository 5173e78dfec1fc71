//! SIGTERM, as in an upgrade, loses no message.

use crate::charger::{Charger, Incoming};
use crate::deployment::{Deployment, until};
use std::time::Duration;

#[test]
fn connections_are_closed_with_1001() {
    let deployment = Deployment::start("");
    let mut charger = Charger::connect(deployment.ocpp, "CP-1", "ocpp1.6");
    charger.call("1", "Heartbeat", "{}");
    deployment.ask_to_stop();
    assert_eq!(charger.receive(), Incoming::Close(1001));
    drop(charger);
    assert!(until(Duration::from_secs(60), || !deployment.is_running()));
}

/// A charger that does not answer the Close holds the stop up for a moment; a second signal does not wait for it.
#[test]
fn a_second_signal_ends_the_wait_for_chargers() {
    let mut deployment = Deployment::start("");
    let mut charger = Charger::connect(deployment.ocpp, "CP-1", "ocpp1.6");
    charger.call("1", "Heartbeat", "{}");
    deployment.ask_to_stop();
    assert_eq!(charger.receive(), Incoming::Close(1001));
    // With exit code 0: the journal is synced and closed.
    deployment.stop();
    let log = deployment.log();
    assert!(log.contains("second signal: stopping at once"), "{log}");
    deployment.restart();
    let messages = deployment.messages();
    let is_heartbeat = |message: &&serde_json::Value| message["action"] == "Heartbeat";
    assert_eq!(messages.iter().filter(is_heartbeat).count(), 1);
    drop(charger);
}

#[test]
fn stop_and_start_under_load_loses_nothing() {
    let mut deployment = Deployment::start("");
    let ledger = deployment.path("ledger.ndjson");
    let load = ["--rate", "20", "--ramp", "500", "--reconnect", "0.1"];
    let fleet = deployment.meter_flood(&ledger, 50, &load);
    for _ in 0..3 {
        deployment.wait_for_answers(500.0);
        deployment.stop();
        deployment.restart();
    }
    fleet.end();
    // A stop leaves in the journal what the database has not taken within its time; the audit reads only the database.
    deployment.stop_when_stored();
    deployment.audit(&ledger);
}
