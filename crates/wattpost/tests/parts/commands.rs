//! The outcome that is shown of each command is compared with what the charger received and answered, while the
//! gateway is killed, RabbitMQ is cut off, and chargers drop their connections.

use crate::charger::{Charger, Incoming};
use crate::deployment::{Deployment, TIMEOUT, until};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use testbed::commands::{SeenById, contradictions, count_by_class};

const CHARGERS: [&str; 2] = ["CP-1", "cp-2"];

/// Longer than the time after which a command without an end is uncertain.
const SETTLED: Duration = Duration::from_secs(150);

/// What all chargers did.
pub(crate) type Log = Arc<Mutex<SeenById>>;

/// A charger that answers most commands, ignores some, and drops its connection at some, before or after the answer.
fn run_charger(
    gateway: SocketAddr,
    identity: &'static str,
    log: &Log,
    ends: &Arc<AtomicBool>,
) -> JoinHandle<()> {
    let (log, ends) = (Arc::clone(log), Arc::clone(ends));
    std::thread::spawn(move || {
        let mut count = 0_u32;
        while !ends.load(Ordering::SeqCst) {
            let Ok(mut charger) = Charger::try_connect(gateway, identity, "ocpp1.6") else {
                std::thread::sleep(Duration::from_millis(50));
                continue;
            };
            while let Incoming::Text(text) = charger.receive() {
                let call: Value = serde_json::from_str(&text).expect("JSON");
                assert_eq!(call[0], 2, "{text}");
                let id = call[1].as_str().expect("an id").to_owned();
                count += 1;
                let note = |answers: u32| {
                    let mut log = log.lock().expect("no holder panics");
                    let seen = log.entry(id.clone()).or_default();
                    seen.received += 1 - answers;
                    seen.answered += answers;
                };
                note(0);
                if count % 5 == 2 {
                    break;
                }
                if count % 7 == 3 {
                    continue;
                }
                note(1);
                charger.send(&format!(r#"[3,"{id}",{{"status":"Accepted"}}]"#));
                if count % 5 == 4 {
                    break;
                }
            }
        }
    })
}

fn send(deployment: &Deployment, charger: &str, waits: bool) {
    let mut arguments = vec![
        charger,
        "Reset",
        r#"{"type":"Soft"}"#,
        "--no-wait",
        "--answer-within-ms",
        "2000",
    ];
    if waits {
        arguments.push("--wait-until");
    }
    deployment.run("command send", &arguments);
}

pub(crate) fn shown(deployment: &Deployment) -> Vec<Value> {
    let list = deployment.run("command list", &["--limit", "100000"]);
    list.lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

#[test]
fn no_outcome_differs_from_what_the_charger_received_and_answered() {
    let is_full = std::env::var_os("WATTPOST_FULL").is_some_and(|value| value == "1");
    let rounds: u32 = if is_full { 200 } else { 20 };
    let (deployment, proxy) =
        Deployment::through_proxy("[gateway]\nping_interval_s = 2\nbroker_grace_s = 1\n");
    let mut gateway = deployment.start("gateway", "gateway");
    let _consumer = deployment.start("consumer", "consumer");
    let (log, ends) = (Log::default(), Arc::new(AtomicBool::new(false)));
    let chargers = CHARGERS.map(|identity| run_charger(gateway.ocpp, identity, &log, &ends));

    // This charger never connects.
    send(&deployment, "CP-absent", false);
    for round in 0..rounds {
        if round % 4 == 1 {
            proxy.cut();
        }
        for charger in CHARGERS {
            send(&deployment, charger, round % 3 != 0);
        }
        // At another moment of sending and answering in each round.
        let moment = Duration::from_millis(37 * u64::from(round % 11));
        match round % 4 {
            1 => {
                until(Duration::from_secs(2), || {
                    shown(&deployment)
                        .iter()
                        .all(|command| command["state"] == "done")
                });
                proxy.restore();
            }
            0 | 3 => {
                std::thread::sleep(moment);
                gateway.kill();
                gateway.restart();
            }
            _ => {}
        }
    }
    let mut commands = Vec::new();
    let is_settled = until(SETTLED, || {
        commands = shown(&deployment);
        commands.iter().all(|command| command["state"] == "done")
    });
    assert!(is_settled, "{commands:#?}");
    ends.store(true, Ordering::SeqCst);
    gateway.stop();
    for charger in chargers {
        charger.join().expect("the charger got what it expects");
    }

    // Late records may have changed uncertain outcomes meanwhile.
    commands = shown(&deployment);
    assert_eq!(commands.len(), 1 + rounds as usize * CHARGERS.len());
    let log = log.lock().expect("no holder panics").clone();
    let contradictions = contradictions(&commands, &log);
    assert!(contradictions.is_empty(), "{contradictions:#?}");
    let counts = count_by_class(&commands);
    println!("outcomes: {counts:?}");
    let answered = counts.get("answered").copied().unwrap_or(0);
    assert!(answered >= rounds as usize / 2, "{counts:?}");
    let absent = commands
        .iter()
        .find(|command| command["charger_id"] == "CP-absent");
    let outcome = &absent.expect("it is shown")["outcome"];
    assert_eq!(outcome["reason"], "charger_offline", "{outcome}");
}

/// Sends a command over the API and waits for its outcome.
fn post(api: SocketAddr, key: usize) -> Value {
    let headers =
        format!("Content-Type: application/json\r\nIdempotency-Key: {key}\r\nPrefer: wait=20\r\n");
    let target = "POST /api/v1/chargers/CP-1/commands";
    let answer = testbed::http::request(api, target, &headers, r#"{"action":"ClearCache"}"#);
    let (status, _, body) = answer.expect("an answer");
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).expect("JSON")
}

/// Answers `count` calls.
fn answer_calls(mut charger: Charger, count: usize) -> JoinHandle<Charger> {
    std::thread::spawn(move || {
        for _ in 0..count {
            let Incoming::Text(text) = charger.receive() else {
                panic!("the connection has ended");
            };
            let call: Value = serde_json::from_str(&text).expect("JSON");
            let id = call[1].as_str().expect("an id");
            charger.send(&format!(r#"[3,"{id}",{{"status":"Accepted"}}]"#));
        }
        charger
    })
}

/// Without events over RabbitMQ, gateways would find the commands by looking each second.
#[test]
fn a_gateway_learns_at_once_of_a_command_from_an_api_process_and_from_the_command_line() {
    const COMMANDS: usize = 20;
    let (deployment, proxy) = Deployment::through_proxy("");
    let gateway = deployment.start("gateway", "gateway");
    let _consumer = deployment.start("consumer", "consumer");
    let api = deployment.start("api", "api");
    let mut charger = Charger::connect(gateway.ocpp, "CP-1", "ocpp1.6");
    let boot = r#"{"chargePointVendor":"V","chargePointModel":"M"}"#;
    let booted = charger.call("1", "BootNotification", boot);
    assert_eq!(booted[2]["status"], "Accepted");
    let is_known = until(TIMEOUT, || api.get("/api/v1/chargers/CP-1").0 == 200);
    assert!(is_known);
    let answering = answer_calls(charger, COMMANDS + 3);
    let mut took: Vec<Duration> = (0..COMMANDS)
        .map(|key| {
            let began = Instant::now();
            let command = post(api.http, key);
            assert_eq!(command["outcome"]["status"], "Accepted", "{command}");
            began.elapsed()
        })
        .collect();
    took.sort_unstable();
    println!("API to charger to API: {took:?}");
    // Half of a gateway's interval would be the mean without events.
    assert!(took[COMMANDS / 2] < Duration::from_millis(400), "{took:?}");

    for _ in 0..2 {
        deployment.run("command send", &["CP-1", "ClearCache"]);
    }
    // The API works without RabbitMQ, and starts without it.
    proxy.cut();
    let late = deployment.start("api", "late");
    let command = post(late.http, COMMANDS);
    let class = &command["outcome"]["class"];
    assert_eq!(class, "answered", "{command}");
    answering.join().expect("no panic");
}

#[test]
fn a_command_expires_while_no_gateway_runs() {
    let deployment = Deployment::new("");
    let api = deployment.start("api", "api");
    send(&deployment, "CP-absent", false);
    let is_ended = || {
        let (_, body) = api.get("/api/v1/commands");
        let body: Value = serde_json::from_str(&body).expect("JSON");
        let command = &body["items"][0];
        command["state"] == "done" && command["outcome"]["class"] == "not_sent"
    };
    assert!(until(TIMEOUT, is_ended), "it stays queued");
}
