//! Several gateways share the load: a charger may reconnect to another gateway.

use crate::charger::{Charger, Incoming};
use crate::commands::{Log, shown};
use crate::deployment::{Deployment, Role, TIMEOUT, until};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testbed::commands::{contradictions, count_by_class};
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

/// The charger connects to the other gateway while it still has its old connection, as after a change of its network, and
/// answers what it receives on either.
#[test]
fn a_charger_that_moves_between_gateways_receives_each_command_once() {
    const COMMANDS: usize = 40;
    let deployment = Deployment::new("");
    let first = deployment.start("gateway", "first");
    let second = deployment.start("gateway", "second");
    let _consumer = deployment.start("consumer", "consumer");
    assert!(until(TIMEOUT, || {
        first.is_up("rabbitmq") && second.is_up("rabbitmq")
    }));
    let (log, ends) = (Log::default(), Arc::new(AtomicBool::new(false)));
    let moving = {
        let (log, ends) = (Arc::clone(&log), Arc::clone(&ends));
        let gateways = [first.ocpp, second.ocpp];
        std::thread::spawn(move || {
            let mut readers = Vec::new();
            for gateway in gateways.iter().cycle() {
                if ends.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(charger) = Charger::try_connect(*gateway, "CP-17", "ocpp1.6") else {
                    continue;
                };
                let answered = Arc::new(Mutex::new(0_u32));
                let (log, count) = (Arc::clone(&log), Arc::clone(&answered));
                readers.push(std::thread::spawn(move || {
                    answer_all(charger, &log, &count)
                }));
                // Moves on after three commands, or when none comes.
                until(Duration::from_secs(2), || {
                    *answered.lock().expect("no holder panics") >= 3 || ends.load(Ordering::SeqCst)
                });
            }
            readers
        })
    };
    for _ in 0..COMMANDS {
        let arguments = ["CP-17", "ClearCache", "{}", "--no-wait", "--wait-until"];
        deployment.run("command send", &arguments);
    }
    let mut commands = Vec::new();
    let is_done = until(Duration::from_secs(150), || {
        commands = shown(&deployment);
        commands.iter().all(|command| command["state"] == "done")
    });
    assert!(is_done, "{commands:#?}");
    ends.store(true, Ordering::SeqCst);
    let readers = moving.join().expect("no panic");
    assert!(readers.len() >= 5, "it moved {} times", readers.len());
    drop((first, second));
    for reader in readers {
        reader.join().expect("no panic");
    }
    let seen = log.lock().expect("no holder panics").clone();
    let contradictions = contradictions(&commands, &seen);
    assert!(contradictions.is_empty(), "{contradictions:#?}");
    let counts = count_by_class(&commands);
    assert_eq!(commands.len(), COMMANDS);
    assert!(
        counts
            .get("answered")
            .is_some_and(|count| *count >= COMMANDS / 2),
        "{counts:?}"
    );
}

/// Answers each command of one connection until it ends.
fn answer_all(mut charger: Charger, log: &Log, count: &Mutex<u32>) {
    loop {
        match charger.try_receive() {
            Ok(Incoming::Text(text)) => {
                let call: Value = serde_json::from_str(&text).expect("JSON");
                let id = call[1].as_str().expect("an id");
                {
                    let mut log = log.lock().expect("no holder panics");
                    let seen = log.entry(id.to_owned()).or_default();
                    seen.received += 1;
                    seen.answered += 1;
                }
                charger.send(&format!(r#"[3,"{id}",{{"status":"Accepted"}}]"#));
                *count.lock().expect("no holder panics") += 1;
            }
            Ok(Incoming::Close(_) | Incoming::End) => break,
            // Nothing came for a while.
            Err(_) => {}
        }
    }
}

/// Requests over the API that the connection of CP-17 is closed. Returns the status and the answer.
fn disconnect(api: SocketAddr, key: &str, prefer: &str) -> (u16, Value) {
    let lines = format!("Idempotency-Key: {key}\r\nPrefer: {prefer}\r\n");
    let body = r#"{"code":3001,"reason":"a test"}"#;
    let path = "/api/v1/chargers/CP-17/disconnect";
    let answer = testbed::http::send(api, "POST", path, &lines, body);
    let (status, body) = answer.expect("an answer");
    let body = serde_json::from_str(&body).unwrap_or_else(|_| panic!("{status}: {body}"));
    (status, body)
}

/// The newest connection of CP-17 as the API shows it.
fn newest_connection(api: &Role) -> Value {
    let (_, body) = api.get("/api/v1/chargers/CP-17/connections?limit=1");
    let page: Value = serde_json::from_str(&body).unwrap_or_default();
    page["items"][0].clone()
}

#[test]
fn an_operator_closes_a_connection_at_its_gateway_and_sees_what_became_of_it() {
    let (deployment, rabbitmq) = Deployment::through_proxy("");
    let mut first = deployment.start("gateway", "first");
    let second = deployment.start("gateway", "second");
    let _consumer = deployment.start("consumer", "consumer");
    let api = deployment.start("api", "api");
    let is_open = |epoch: &Value| {
        let newest = newest_connection(&api);
        newest["end"] == "open" && newest["epoch"] != *epoch
    };
    let mut charger = Charger::connect(first.ocpp, "CP-17", "ocpp1.6");
    assert!(until(TIMEOUT, || is_open(&Value::Null)));
    let (status, done) = disconnect(api.http, "k1", "wait=20");
    assert_eq!((status, &done["state"]), (200, &"closed".into()), "{done}");
    assert_eq!(charger.receive(), Incoming::Close(3001));
    assert_eq!(
        done["connection"]["reason"],
        "closed by operator with code 3001: a test"
    );

    // The charger connects to the other gateway. A repeat says what became of the first request, and closes nothing.
    let mut charger = Charger::connect(second.ocpp, "CP-17", "ocpp1.6");
    assert!(until(TIMEOUT, || is_open(&done["epoch"])));
    let (_, repeat) = disconnect(api.http, "k1", "wait=20");
    assert_eq!(
        (&repeat["state"], &repeat["epoch"]),
        (&"closed".into(), &done["epoch"])
    );
    charger.call("1", "Heartbeat", "{}");

    // Without RabbitMQ the gateway finds the request in the database, and its record takes the bypass.
    rabbitmq.cut();
    let (_, cut) = disconnect(api.http, "k2", "wait=30");
    assert_eq!(cut["state"], "closed", "{cut}");
    assert_eq!(charger.receive(), Incoming::Close(3001));
    rabbitmq.restore();

    // A gateway that was killed says nothing; once it has started again it says that it has no such connection.
    let _charger = Charger::connect(first.ocpp, "CP-17", "ocpp1.6");
    assert!(until(TIMEOUT, || is_open(&cut["epoch"])));
    first.kill();
    let (status, silent) = disconnect(api.http, "k3", "wait=1");
    assert_eq!(
        (status, &silent["state"]),
        (202, &"pending".into()),
        "{silent}"
    );
    assert_eq!(silent["heard_at"], Value::Null);
    first.restart();
    assert!(until(TIMEOUT, || {
        disconnect(api.http, "k3", "respond-async").1["state"] == "ended"
    }));
}
