//! With `log.format = "json"` each line that a process writes, to stdout or stderr, is one event.

use crate::charger::Charger;
use crate::deployment::{Deployment, TIMEOUT, until};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use testbed::Process;

const SETTINGS: &str =
    "[log]\nformat = \"json\"\nlevel = \"debug\"\n[gateway]\nbroker_grace_s = 1\n";
/// The crates of this project, whose events have numbers as numbers. Libraries may write them as text.
const OURS: [&str; 8] = [
    "wattpost", "gateway", "journal", "broker", "consumer", "store", "api", "common",
];

/// The lines so far, each of them an event.
fn events(log: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    // The last line may be incomplete while the process runs.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let parsed = whole.lines().map(|line| {
        let event: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for member in ["timestamp", "level", "target"] {
            assert!(event[member].is_string(), "no {member}: {line}");
        }
        event
    });
    parsed.collect()
}

/// The first event with these words, once there is one.
fn said(log: &Path, words: &str) -> Value {
    let has = |event: &Value| {
        let message = event["fields"]["message"].as_str();
        message.is_some_and(|message| message.contains(words))
    };
    let mut found = None;
    until(TIMEOUT, || {
        found = events(log).into_iter().find(has);
        found.is_some()
    });
    found.unwrap_or_else(|| panic!("no {words:?} in {}", testbed::tail(log)))
}

fn serve(deployment: &Deployment, data_dir: &str, ocpp: &str, log: &Path) -> Process {
    let mut command = deployment.command("serve", data_dir);
    command.args(["--ocpp-listen", ocpp, "--http-listen", "127.0.0.1:0"]);
    let command = Process::wrap(&command).expect("setpriv is installed");
    Process::start(command, "wattpost serve", log).expect("it starts")
}

#[test]
fn each_line_of_a_run_is_an_event_whose_numbers_are_numbers() {
    let (deployment, rabbit) = Deployment::through_proxy(SETTINGS);
    let log = deployment.path("run.log");
    let mut process = serve(&deployment, "data", "127.0.0.1:0", &log);
    let runs = said(&log, "the process runs");
    let fields = &runs["fields"];
    let address = |name: &str, scheme: &str| -> SocketAddr {
        let url = fields[name].as_str().expect("a URL");
        testbed::address_after(url, scheme).unwrap_or_else(|| panic!("{fields:#}"))
    };
    let (ocpp, http) = (address("chargers", "ws://"), address("http", "http://"));
    assert!(
        fields["took_ms"].is_null() && fields["gateway.id"].is_string(),
        "{fields:#}"
    );
    assert!(said(&log, "journal opened")["fields"]["took_ms"].is_u64());

    let mut charger = Charger::connect(ocpp, "A", "ocpp1.6");
    charger.call("1", "Heartbeat", "{}");
    charger.send("no JSON");
    charger.call("2", "Heartbeat", "{}");
    let (status, _) = testbed::http::get(http, "/api/v1/chargers").expect("an answer");
    assert_eq!(status, 200);
    rabbit.cut();
    // What is to be delivered shows that it is not possible.
    charger.call("3", "Heartbeat", "{}");
    let bypass = said(&log, "RabbitMQ has been unavailable for longer");
    assert!(bypass["fields"]["unavailable_ms"].is_u64(), "{bypass}");
    drop(charger);
    rabbit.restore();

    // A start that fails.
    let failed = deployment.path("failed.log");
    let mut second = serve(&deployment, "other", &ocpp.to_string(), &failed);
    let status = second.wait(TIMEOUT).expect("its status").expect("it ends");
    assert_eq!(status.code(), Some(1));
    let ends = said(&failed, "the process ends");
    let error = ends["fields"]["error"].as_str().expect("why");
    assert!(error.contains("gateway.listeners"), "{error}");

    process.ask_to_stop();
    let status = process.wait(TIMEOUT).expect("its status").expect("it ends");
    assert!(status.success(), "{status}");
    said(&log, "wattpost serve stopped");
    for event in events(&log).into_iter().chain(events(&failed)) {
        let target = event["target"].as_str().unwrap_or_default();
        let is_ours = OURS.contains(&target.split("::").next().unwrap_or_default());
        let fields = event["fields"].as_object().expect("fields");
        let is_text = |value: &Value| {
            let text = value.as_str();
            text.is_some_and(|text| text.parse::<f64>().is_ok() || text.starts_with("Some("))
        };
        // The version of OCPP, such as 1.6, is a name.
        let mut texts = fields.iter().filter(|(name, _)| *name != "version");
        let as_text = texts.find(|(_, value)| is_text(value));
        assert!(!is_ours || as_text.is_none(), "{as_text:?} in {event}");
    }
}
