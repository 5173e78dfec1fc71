//! File handles: other clients' sockets never use up those that the journal and the database need.

use crate::charger::Charger;
use crate::deployment::{Deployment, until};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(60);

/// Small segments, so that the journal often needs a new file.
const SETTINGS: &str =
    "[journal]\nbytes_max = \"64 MiB\"\nsegment_bytes = \"256 KiB\"\nretain_bytes = \"256 KiB\"\n";

/// Sends meter values that fill several segments of the journal.
fn send_meter_values(charger: &mut Charger, count: usize) {
    let value = "1234567.8 ".repeat(60);
    for number in 0..count {
        let payload = format!(
            r#"{{"connectorId":1,"meterValue":[{{"timestamp":"2026-01-02T03:04:05Z","sampledValue":[{{"value":"{number}","context":"{value}"}}]}}]}}"#
        );
        let answer = charger.call(&format!("m{number}"), "MeterValues", &payload);
        assert_eq!(answer[0], 3, "{answer}");
    }
}

#[test]
fn delivery_continues_while_other_clients_hold_all_sockets() {
    let deployment = Deployment::start_with_files(SETTINGS, 500);
    let mut charger = Charger::connect(deployment.ocpp, "CP-1", "ocpp1.6");
    send_meter_values(&mut charger, 10);

    let mut others = Vec::new();
    let (mut accepted, mut refused) = (0, 0);
    for number in 0..300 {
        match Charger::try_connect(deployment.ocpp, &format!("OTHER-{number}"), "ocpp1.6") {
            Ok(other) => {
                accepted += 1;
                others.push(other);
            }
            Err(head) => {
                assert!(head.starts_with("HTTP/1.1 503"), "{head}");
                refused += 1;
            }
        }
    }
    let silent: Vec<_> = (0..200)
        .map(|_| TcpStream::connect(deployment.ocpp).expect("connect"))
        .collect();
    assert!(
        accepted > 50 && refused > 50,
        "{accepted} were accepted, {refused} refused"
    );

    send_meter_values(&mut charger, 1_500);
    let stored = until(TIMEOUT, || {
        deployment.metric("wattpost_journal_waiting_records") == 0.0
    });
    assert!(stored, "delivery has stopped");
    assert_eq!(
        deployment.metric("wattpost_gateway_accept_failures_total"),
        0.0,
        "handles ran out"
    );
    let log = deployment.log();
    for part in ["gateway.connections_max is 50000", "only 500 files"] {
        assert!(log.contains(part), "{part} is not in the log:\n{log}");
    }
    drop((others, silent));
}

/// The limit is lowered while the process runs, so that it has no handle for another socket. Connected chargers must be
/// served, the accept loop must not spin, and new chargers must be accepted once there are handles again.
#[test]
fn connected_chargers_are_served_without_handles_for_new_sockets() {
    let deployment = Deployment::start("");
    let mut charger = Charger::connect(deployment.ocpp, "CP-1", "ocpp1.6");
    let answer = charger.call("1", "Heartbeat", "{}");
    assert_eq!(answer[0], 3);

    let pid = deployment.pid().expect("it runs");
    let limit = |soft: &str| {
        let status = Command::new("prlimit")
            .args(["--pid", &pid.to_string(), &format!("--nofile={soft}:")])
            .status()
            .expect("run prlimit");
        assert!(status.success());
    };
    let open = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("Linux")
        .count();
    // The limit applies to the numbers of handles; the waiting sockets take all free numbers below it.
    limit(&open.to_string());
    let waiting: Vec<_> = (0..20)
        .map(|_| TcpStream::connect(deployment.ocpp).expect("connect"))
        .collect();
    let begun = std::time::Instant::now();
    let is_logged = until(TIMEOUT, || {
        deployment.log().contains("no connection can be accepted")
    });
    assert!(is_logged, "handles did not run out");
    for number in 0..300 {
        let answer = charger.call(&format!("h{number}"), "Heartbeat", "{}");
        assert_eq!(answer[0], 3, "{answer}");
    }
    until(Duration::from_secs(3), || false);
    let lines = deployment
        .log()
        .matches("no connection can be accepted")
        .count();
    assert!(lines <= 3, "{lines} lines in the log");
    let longest = begun.elapsed().as_secs_f64();

    drop(waiting);
    limit("4096");
    let is_accepted = until(TIMEOUT, || {
        Charger::try_connect(deployment.ocpp, "NEW", "ocpp1.6").is_ok()
    });
    assert!(is_accepted, "new chargers are not accepted");
    let failures = deployment.metric("wattpost_gateway_accept_failures_total");
    assert!(
        failures <= 20.0 * (longest + 10.0),
        "{failures} attempts in {longest} s"
    );
    let answer = charger.call("last", "Heartbeat", "{}");
    assert_eq!(answer[0], 3);
}
