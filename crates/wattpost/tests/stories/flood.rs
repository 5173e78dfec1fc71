//! One charger that stops a session under no id and then starts sessions without end: nobody else waits.

use crate::charger::{Charger, Incoming};
use crate::deployment::{Deployment, until};
use crate::full_length;
use std::time::{Duration, Instant};

/// Calls that the flood has outstanding at a time.
const AHEAD: usize = 200;

#[test]
fn a_flood_of_starts_after_a_stop_without_an_id_delays_nobodys_messages() {
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
    let mut honest = Charger::connect(ocpp, "HONEST", "ocpp1.6");
    let mut slowest = Duration::ZERO;
    let mut sent = 0;
    while !flood.is_finished() || sent < 3 {
        sent += 1;
        let said = format!("seen-{sent}");
        honest.call(
            &said,
            "StatusNotification",
            r#"{"connectorId":1,"errorCode":"NoError","status":"Available"}"#,
        );
        let answered = Instant::now();
        let is_stored = || {
            let path = "/api/v1/messages?charger=HONEST&action=StatusNotification&limit=1000";
            deployment.get(path).1.contains(&format!("\"{said}\""))
        };
        assert!(
            until(Duration::from_secs(30), is_stored),
            "{said} is not stored; log:\n{}",
            deployment.log_tail()
        );
        slowest = slowest.max(answered.elapsed());
    }
    flood.join().expect("every start is answered");
    assert!(
        slowest < Duration::from_secs(5),
        "a message was stored {slowest:?} after its answer"
    );
    // Every start is in the list, open, and the stop on its own.
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
