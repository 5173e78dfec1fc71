//! The outcome that is shown of each command is compared with what the charger received and answered, while the gateway,
//! the consumer, the API and RabbitMQ are killed, RabbitMQ is cut off, and chargers drop their connections.

use crate::charger::{Charger, Incoming};
use crate::deployment::{Deployment, Role, TIMEOUT, until};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use testbed::RabbitMq;
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

/// All commands as the API shows them, by their ids.
fn shown_by_api(api: &Role) -> BTreeMap<String, Value> {
    let mut path = "/api/v1/commands?limit=100".to_owned();
    let mut commands = BTreeMap::new();
    loop {
        let (status, body) = api.get(&path);
        assert_eq!(status, 200, "{path}: {body}");
        let page: Value = serde_json::from_str(&body).expect("JSON");
        for command in page["items"].as_array().expect("a list") {
            let id = command["id"].as_str().expect("an id").to_owned();
            let mut command = command.clone();
            // Only the API has addresses.
            let links = command.as_object_mut().and_then(|one| one.remove("links"));
            assert!(links.is_some(), "{command}");
            let before = commands.insert(id, command);
            assert_eq!(before, None, "it is on two pages");
        }
        let Some(next) = page["next"].as_str() else {
            return commands;
        };
        path = format!("/api/v1/commands?limit=100&cursor={next}");
    }
}

/// All commands as the API shows them, once the command line shows the same.
fn shown_by_both(deployment: &Deployment, api: &Role) -> Vec<Value> {
    let (mut by_api, mut by_command_line) = (BTreeMap::new(), BTreeMap::new());
    // A late record may change a command between the two.
    let do_agree = until(TIMEOUT, || {
        by_command_line = shown(deployment)
            .into_iter()
            .map(|command| (command["id"].as_str().expect("an id").to_owned(), command))
            .collect();
        by_api = shown_by_api(api);
        by_api == by_command_line
    });
    let other = by_api
        .iter()
        .find(|(id, command)| by_command_line.get(*id) != Some(*command));
    assert!(
        do_agree,
        "the API shows {}, the command line {}; {other:#?}",
        by_api.len(),
        by_command_line.len()
    );
    by_api.into_values().collect()
}

/// Requests a command over the API until it is answered: with the same key, so that it is one command also when the API
/// was killed before the answer arrived.
fn request(api: SocketAddr, charger: &'static str, key: String, waits: bool) -> JoinHandle<()> {
    let when_offline = if waits { "wait" } else { "fail" };
    let body = format!(
        r#"{{"action": "Reset", "payload": {{"type": "Soft"}}, "answer_within_ms": 2000, "when_offline": "{when_offline}"}}"#
    );
    std::thread::spawn(move || {
        let is_answered = until(TIMEOUT, || {
            match try_post(api, charger, &key, "respond-async", &body) {
                Ok((200 | 202, _)) => true,
                // Of a repeat: the command has ended already.
                Ok((409, problem)) => problem.contains("charger_offline"),
                _ => false,
            }
        });
        assert!(is_answered, "{charger}: the request {key} is not answered");
    })
}

/// Status and body of a request for a command.
fn try_post(
    api: SocketAddr,
    charger: &str,
    key: &str,
    prefer: &str,
    body: &str,
) -> Result<(u16, String), String> {
    let headers =
        format!("Content-Type: application/json\r\nIdempotency-Key: {key}\r\nPrefer: {prefer}\r\n");
    let target = format!("POST /api/v1/chargers/{charger}/commands");
    let answer = testbed::http::request(api, &target, &headers, body);
    let (status, _, body) = answer.map_err(|error| format!("{error:#}"))?;
    Ok((status, body))
}

/// A time up to 400 ms, another one with each call.
fn random_moment() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = now.expect("a time after 1970").subsec_nanos();
    Duration::from_micros(u64::from(nanos / 1_000 % 400_000))
}

#[test]
fn no_outcome_differs_from_what_the_charger_received_and_answered() {
    let is_full = std::env::var_os("WATTPOST_FULL").is_some_and(|value| value == "1");
    let rounds: u32 = if is_full { 200 } else { 20 };
    // Its own RabbitMQ, because it is killed.
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("commands-rabbit");
    let _ = std::fs::remove_dir_all(&dir);
    let mut rabbit = RabbitMq::start(&dir).expect("start RabbitMQ");
    let (deployment, proxy) = Deployment::through_proxy_to(
        &rabbit.url(),
        "[gateway]\nping_interval_s = 2\nbroker_grace_s = 1\n",
    );
    let mut gateway = deployment.start("gateway", "gateway");
    let mut consumer = deployment.start("consumer", "consumer");
    let mut api = deployment.start("api", "api");
    let (log, ends) = (Log::default(), Arc::new(AtomicBool::new(false)));
    let chargers = CHARGERS.map(|identity| run_charger(gateway.ocpp, identity, &log, &ends));
    for identity in CHARGERS {
        let path = format!("/api/v1/chargers/{identity}");
        assert!(until(TIMEOUT, || api.get(&path).0 == 200), "{identity}");
    }

    // This charger never connects.
    send(&deployment, "CP-absent", false);
    let rabbit_starts = Duration::from_secs(120);
    for round in 0..rounds {
        let waits = round % 3 != 0;
        if round % 8 == 1 {
            proxy.cut();
        }
        let requests: Vec<JoinHandle<()>> = match round % 4 {
            2 => CHARGERS
                .map(|charger| request(api.http, charger, format!("{charger}-{round}"), waits))
                .into(),
            _ => {
                for charger in CHARGERS {
                    send(&deployment, charger, waits);
                }
                Vec::new()
            }
        };
        let moment = random_moment();
        match round % 8 {
            1 => {
                until(Duration::from_secs(2), || {
                    shown(&deployment)
                        .iter()
                        .all(|command| command["state"] == "done")
                });
                proxy.restore();
            }
            2 | 6 => {
                std::thread::sleep(moment);
                api.kill();
                api.restart();
            }
            4 => {
                std::thread::sleep(moment);
                consumer.kill();
                consumer.restart();
            }
            5 => {
                let ready = rabbit.wait_ready(Instant::now() + rabbit_starts);
                ready.expect("RabbitMQ runs");
                std::thread::sleep(moment);
                rabbit.kill().expect("kill RabbitMQ");
                // The next rounds run while it starts.
                rabbit.start_again().expect("start RabbitMQ");
            }
            _ => {
                std::thread::sleep(moment);
                gateway.kill();
                gateway.restart();
            }
        }
        for request in requests {
            request.join().expect("it is answered");
        }
    }
    let ready = rabbit.wait_ready(Instant::now() + rabbit_starts);
    ready.expect("RabbitMQ runs");
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
    commands = shown_by_both(&deployment, &api);
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
    let body = r#"{"action":"ClearCache"}"#;
    let answer = try_post(api, "CP-1", &key.to_string(), "wait=20", body);
    let (status, body) = answer.expect("an answer");
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).expect("JSON")
}

/// Chargers with a command each at the same time.
const MANY: usize = 500;

/// Answers one call of this action on each connection. `seen` counts them.
fn answer_one_call_of_each(
    chargers: &mut [Charger],
    action: &str,
    answer: &str,
    seen: &mut SeenById,
) {
    for (at, charger) in chargers.iter_mut().enumerate() {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let text = match charger.try_receive() {
                Ok(Incoming::Text(text)) => text,
                Err(_) if Instant::now() < deadline => continue,
                other => panic!("charger {at} got no {action}: {other:?}"),
            };
            let call: Value = serde_json::from_str(&text).expect("JSON");
            let id = call[1].as_str().expect("an id").to_owned();
            if call[2] != action {
                // A charger that reports no status is asked for it.
                assert_eq!(call[2], "TriggerMessage", "{text}");
                charger.send(&format!(r#"[3,"{id}",{{"status":"Rejected"}}]"#));
                continue;
            }
            let seen = seen.entry(id.clone()).or_default();
            seen.received += 1;
            seen.answered += 1;
            charger.send(&format!(r#"[3,"{id}",{answer}]"#));
            break;
        }
    }
}

/// Commands of this action as the API shows them, once all have an outcome.
fn all_done(api: &Role, action: &str) -> Vec<Value> {
    let mut commands = Vec::new();
    let path = format!("/api/v1/commands?action={action}&limit=1000");
    let is_done = until(TIMEOUT, || {
        let (_, body) = api.get(&path);
        let body: Value = serde_json::from_str(&body).expect("JSON");
        commands = body["items"].as_array().expect("a list").clone();
        commands.len() == MANY && commands.iter().all(|command| command["state"] == "done")
    });
    assert!(
        is_done,
        "{} commands: {:?}",
        commands.len(),
        commands.first()
    );
    commands
}

/// 500 commands to 500 chargers, first each with a request, and then in one batch while the API is killed: each charger
/// receives each command once.
fn many_commands_complete(deployment: &Deployment, gateway: &Role, api: &mut Role) {
    let identities: Vec<String> = (0..MANY).map(|at| format!("MANY-{at:03}")).collect();
    let mut chargers: Vec<Charger> = identities
        .iter()
        .map(|identity| Charger::connect(gateway.ocpp, identity, "ocpp1.6"))
        .collect();
    let are_known = until(TIMEOUT, || {
        let (_, body) = api.get("/api/v1/chargers?q=MANY-&online=true&limit=1000");
        let body: Value = serde_json::from_str(&body).expect("JSON");
        body["items"].as_array().map(Vec::len) == Some(MANY)
    });
    assert!(are_known, "the chargers are not shown as connected");

    let began = Instant::now();
    std::thread::scope(|scope| {
        for some in identities.chunks(MANY / 20) {
            let http = api.http;
            scope.spawn(move || {
                for identity in some {
                    let body = r#"{"action":"GetLocalListVersion","when_offline":"wait"}"#;
                    let answer = try_post(http, identity, identity, "respond-async", body);
                    assert!(matches!(answer, Ok((200 | 202, _))), "{answer:?}");
                }
            });
        }
    });
    let mut seen = SeenById::new();
    let action = "GetLocalListVersion";
    answer_one_call_of_each(&mut chargers, action, r#"{"listVersion":0}"#, &mut seen);
    let commands = all_done(api, action);
    println!("{MANY} commands to {MANY} chargers: {:?}", began.elapsed());
    assert_eq!(contradictions(&commands, &seen), Vec::<String>::new());
    assert_eq!(count_by_class(&commands).get("answered"), Some(&MANY));

    let request = r#"{"operation":"clear-cache","filter":{"q":"MANY-"},"at_once":500,"per_second":200,"when_offline":"wait"}"#;
    let batch = deployment.run("command batch create", &[request]);
    let batch: Value = serde_json::from_str(&batch).expect("JSON");
    let address = format!("/api/v1/batches/{}", batch["id"].as_str().expect("an id"));
    let shown = |api: &Role| -> Value {
        let (status, body) = api.get(&address);
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).expect("JSON")
    };
    let has_begun = until(TIMEOUT, || {
        let begun = shown(api)["counts"]["pending"].as_u64();
        begun.is_some_and(|pending| pending < MANY as u64)
    });
    assert!(has_begun, "{}", shown(api));
    api.kill();
    api.restart();
    seen.clear();
    let accepted = r#"{"status":"Accepted"}"#;
    answer_one_call_of_each(&mut chargers, "ClearCache", accepted, &mut seen);
    let is_done = until(TIMEOUT, || shown(api)["state"] == "done");
    assert!(is_done, "{}", shown(api));
    let done: Value = shown(api);
    assert_eq!(done["counts"]["succeeded"], MANY, "{done}");
    // A second command would be received before the answer of a later call.
    for charger in &mut chargers {
        charger.send(r#"[2,"last","Heartbeat",{}]"#);
        loop {
            let Incoming::Text(text) = charger.receive() else {
                panic!("the connection has ended");
            };
            let frame: Value = serde_json::from_str(&text).expect("JSON");
            if frame[0] == 3 {
                break;
            }
            assert_eq!(frame[2], "TriggerMessage", "{text}");
        }
    }
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
    let mut api = deployment.start("api", "api");
    many_commands_complete(&deployment, &gateway, &mut api);
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
