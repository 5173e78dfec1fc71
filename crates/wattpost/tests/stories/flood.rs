//! One charger stops a session without an id and then starts thousands of sessions: that must not delay the storing of
//! other chargers' messages.

use crate::charger::{Charger, Incoming};
use crate::deployment::{Deployment, until};
use crate::full_length;
use std::time::{Duration, Instant};

/// The number of unanswered calls of the flooding charger.
const AHEAD: usize = 200;

#[test]
fn flood_of_starts_after_a_stop_without_an_id_does_not_delay_other_chargers() {
    let starts = if full_length() { 20_000 } else { 4_000 };
    let deployment = Deployment::start("");
    let ocpp = deployment.ocpp;
    let flood = std::thread::spawn(move || {
        let mut charger = Charger::connect(ocpp, "FLOOD", "ocpp1.6");
        charger.call(
            "stop",
            "StopTransaction",
            r#"{"transactionId":-1,"meterStop":1,"timestamp":"2026-01-01T00:00:00Z"}"#,
        );
        let send = |charger: &mut Charger, n: usize| {
            charger.send(&format!(
                r#"[2,"{n}","StartTransaction",{{"connectorId":1,"idTag":"TAG-{n}","meterStart":{n},"timestamp":"2026-01-02T00:00:00Z"}}]"#
            ));
        };
        for n in 0..AHEAD.min(starts) {
            send(&mut charger, n);
        }
        for n in 0..starts {
            match charger.receive() {
                Incoming::Text(text) => assert!(text.starts_with("[3,"), "{text}"),
                other => panic!("start {n} was not answered: {other:?}"),
            }
            if n + AHEAD < starts {
                send(&mut charger, n + AHEAD);
            }
        }
    });
    let mut other = Charger::connect(ocpp, "OTHER", "ocpp1.6");
    let mut slowest = Duration::ZERO;
    let mut sent = 0;
    while !flood.is_finished() || sent < 3 {
        sent += 1;
        let id = format!("status-{sent}");
        other.call(
            &id,
            "StatusNotification",
            r#"{"connectorId":1,"errorCode":"NoError","status":"Available"}"#,
        );
        let answered = Instant::now();
        let is_stored = || {
            let path = "/api/v1/messages?charger=OTHER&action=StatusNotification&limit=1000";
            deployment.get(path).1.contains(&format!("\"{id}\""))
        };
        assert!(
            until(Duration::from_secs(30), is_stored),
            "{id} is not stored; log:\n{}",
            deployment.log_tail()
        );
        slowest = slowest.max(answered.elapsed());
    }
    flood.join().expect("every start is answered");
    assert!(
        slowest < Duration::from_secs(5),
        "a message was stored {slowest:?} after its answer"
    );
    // Each start is one open transaction, and so is the stop.
    let listed = || {
        let listed = deployment.transactions();
        listed
            .iter()
            .filter(|one| one["charger_id"] == "FLOOD")
            .count()
            == starts + 1
    };
    assert!(until(Duration::from_secs(60), listed), "starts are missing");
    println!(
        "{starts} starts: the slowest message of another charger was stored {slowest:?} after its answer"
    );
}
