//! SIGTERM: a deploy costs no message.

use crate::charger::{Charger, Incoming};
use crate::deployment::{Deployment, Fleet, until};
use std::time::Duration;

#[test]
fn chargers_are_told_to_come_back_with_1001() {
    let deployment = Deployment::start("");
    let mut charger = Charger::connect(deployment.ocpp, "LEAVING", "ocpp1.6");
    charger.call("1", "Heartbeat", "{}");
    deployment.signal("TERM");
    assert_eq!(charger.receive(), Incoming::Close(1001));
    drop(charger);
    assert!(until(Duration::from_secs(20), || !deployment.is_running()));
}

#[test]
fn a_stop_and_start_under_load_loses_nothing() {
    let mut deployment = Deployment::start("");
    let ledger = deployment.path("ledger.ndjson");
    let mut command = deployment.simulate();
    command
        .args([
            "--chargers",
            "50",
            "--scenario",
            "meter-flood",
            "--rate",
            "20",
            "--ramp",
            "500",
        ])
        .args([
            "--reconnect",
            "0.1",
            "--retry-interval",
            "1",
            "--quiet",
            "--drain",
            "60",
            "--ledger",
        ])
        .arg(&ledger);
    let fleet = Fleet::start(&command, deployment.path("fleet.log"));
    for _ in 0..3 {
        let flowing = until(Duration::from_secs(20), || {
            deployment.metric("wattpost_gateway_answer_seconds_count") > 500.0
        });
        assert!(flowing, "{}", deployment.log_tail());
        assert!(deployment.stop().success());
        deployment.restart();
    }
    fleet.end(Duration::from_secs(90));
    assert!(deployment.stop().success());
    deployment.audit(&ledger);
}
