//! File handles: sockets of strangers never take those that the journal and the database need.

use crate::charger::Charger;
use crate::deployment::{Deployment, until};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// Small segments, so that the journal needs a new file again and again.
const SETTINGS: &str =
    "[journal]\nmax_bytes = \"64 MiB\"\nsegment_bytes = \"256 KiB\"\nretain_bytes = \"256 KiB\"\n";

/// Some MiB of meter values, which go through many segments and into the database.
fn say_much(charger: &mut Charger, count: usize) {
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
fn strangers_that_hold_every_socket_there_is_do_not_stop_delivery() {
    let deployment = Deployment::start_with_files(SETTINGS, 400);
    let mut charger = Charger::connect(deployment.ocpp, "CP-1", "ocpp1.6");
    say_much(&mut charger, 10);

    let mut strangers = Vec::new();
    let (mut inside, mut refused) = (0, 0);
    for number in 0..300 {
        match Charger::try_connect(deployment.ocpp, &format!("STRANGER-{number}"), "ocpp1.6") {
            Ok(stranger) => {
                inside += 1;
                strangers.push(stranger);
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
        inside > 50 && refused > 50,
        "{inside} came in, {refused} not"
    );

    say_much(&mut charger, 1_500);
    let stored = until(PATIENCE, || {
        deployment.metric("wattpost_journal_waiting_records") == 0.0
    });
    assert!(stored, "delivery has stopped");
    assert_eq!(
        deployment.metric("wattpost_gateway_accept_failures_total"),
        0.0,
        "handles ran out"
    );
    let log = deployment.log();
    for part in ["gateway.connections_max is 50000", "only 400 files"] {
        assert!(log.contains(part), "{part} is not in the log:\n{log}");
    }
    drop((strangers, silent));
}

/// Handles run out all the same, because somebody lowers the limit while the process runs: nobody who is
/// connected notices, the accept loop does not spin, and newcomers come in once there are handles again.
#[test]
fn without_a_handle_for_one_more_socket_connected_chargers_are_served() {
    let deployment = Deployment::start("");
    let mut charger = Charger::connect(deployment.ocpp, "CP-1", "ocpp1.6");
    let answer = charger.call("1", "Heartbeat", "{}");
    assert_eq!(answer[0], 3);

    let pid = deployment.pid();
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
    // Numbers of handles are what is limited, and all that are free below are taken by those who wait.
    limit(&open.to_string());
    let waiting: Vec<_> = (0..20)
        .map(|_| TcpStream::connect(deployment.ocpp).expect("connect"))
        .collect();
    let begun = std::time::Instant::now();
    let noticed = until(PATIENCE, || {
        deployment.log().contains("no connection can be accepted")
    });
    assert!(noticed, "handles did not run out");
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
    let back = until(PATIENCE, || {
        Charger::try_connect(deployment.ocpp, "NEWCOMER", "ocpp1.6").is_ok()
    });
    assert!(back, "nobody comes in any more");
    let failures = deployment.metric("wattpost_gateway_accept_failures_total");
    assert!(
        failures <= 20.0 * (longest + 10.0),
        "{failures} tries in {longest} s"
    );
    let answer = charger.call("last", "Heartbeat", "{}");
    assert_eq!(answer[0], 3);
}
