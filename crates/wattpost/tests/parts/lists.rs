//! Every list of the API, with each of its filters, over many rows in PostgreSQL: taken from the OpenAPI document, so that a
//! new list or filter without a case fails.
//!
//! `WATTPOST_FULL=1` runs it over 1,000,000 messages, 100,000 transactions, commands, events and alerts, and 10,000
//! chargers, and no request may take 100 ms (`make stories`); without it over a hundredth, and only the answers count.

use crate::charger::Charger;
use crate::deployment::{Deployment, Role, TIMEOUT, until};
use serde_json::Value;
use std::time::{Duration, Instant};
use testbed::psql;

/// Of the shortest of [`RUNS`] requests, because other processes use the machine too.
const TIME_MAX: Duration = Duration::from_millis(100);
const RUNS: usize = 5;

/// The time of the first row of each table.
const BEGAN: i64 = 1_767_225_600_000;

/// Objects that lists are about.
struct Objects {
    charger: String,
    transaction: String,
    record: String,
    command: String,
    batch: String,
    webhook: String,
}

impl Objects {
    /// The address of a list, with an object in place of its parameter.
    fn address(&self, path: &str) -> String {
        let value = match path {
            _ if path.starts_with("/api/v1/chargers/") => &self.charger,
            _ if path.starts_with("/api/v1/transactions/") => &self.transaction,
            _ if path.starts_with("/api/v1/commands/") => &self.command,
            _ if path.starts_with("/api/v1/batches/") => &self.batch,
            _ if path.starts_with("/api/v1/webhooks/") => &self.webhook,
            _ if path.contains('{') => panic!("{path} needs an object here"),
            _ => return path.to_owned(),
        };
        let (before, rest) = path.split_once('{').expect("a parameter");
        let (_, after) = rest.split_once('}').expect("its end");
        format!("{before}{value}{after}")
    }

    /// Values of a filter: one that few or no rows have, and one that many have.
    fn values(&self, path: &str, filter: &str) -> Vec<String> {
        let list = path.rsplit('/').next().unwrap_or_default();
        let (middle, end) = ("2026-01-01T00:00:10Z", "2100-01-01T00:00:00Z");
        let values: &[&str] = match (list, filter) {
            ("chargers", "status") => &["Faulted", "Available", "Unknown"],
            ("tokens", "status") => &["Blocked", "Accepted"],
            ("transactions", "state") => &["open", "ended"],
            ("dead-letters", "state") => &["waiting", "discarded"],
            ("local-lists", "state") => &["rejected", "in_sync"],
            ("items", "state") => &["failed", "not_started"],
            ("alerts", "state") => &["firing", "resolved"],
            ("messages" | "commands" | "dead-letters", "action") => {
                &["Authorize", "Heartbeat", "Reset", "StopTransaction"]
            }
            ("audit", "action") => &["charger.set", "token.put"],
            ("audit", "subject") => &["nothing", "TAG"],
            ("handshakes", "charger") => &["CP-1", "NOBODY-7"],
            (_, "charger") => &["CP-1", "SIZE-000077", &self.charger],
            (_, "q") => &["nowhere", "7", "size-0000", "tag-1"],
            (_, "online" | "pairs" | "queued") => &["true", "false"],
            (_, "version") => &["2.1", "1.6"],
            (_, "vendor") => &["Nobody", "V", ""],
            (_, "model") => &["None", "M", ""],
            (_, "firmware") => &["0.0", "1.4.2", ""],
            (_, "admission") => &["pending", "accepted", "not_added"],
            (_, "site") => &["nowhere", "depot"],
            (_, "group") => &["nobody", "fleet"],
            (_, "removed") => &["true", "all"],
            (_, "outcome") => &["refused"],
            (_, "from" | "to") => &[middle, end, "1970-01-01T00:00:00Z"],
            (_, "kind") => &["unreadable", "call"],
            ("messages", "after") => &[&self.record],
            ("events", "after") => &["oldest", "latest", middle],
            (_, "effect") => &["expected", "seen", "not_seen", "none"],
            (_, "quirk") => &["number_id"],
            (_, "reason") => &["nothing", "read"],
            (_, "measurand") => &["Energy.Active.Import.Register", "SoC"],
            (_, "phase") => &["L1"],
            (_, "location") => &["Outlet"],
            (_, "context") => &["Sample.Periodic", "Trigger"],
            (_, "resolution") => &["1m"],
            (_, "severity") => &["page", "ticket"],
            (_, "name") => &["JournalFull", "ChargerOffline"],
            (_, "types") => &["token.*", "command.finished"],
            (_, "throttle") => &[],
            (_, "sent_by") => &["charger"],
            _ => panic!("{path} has the filter {filter}, of which this test knows no value"),
        };
        values.iter().map(|value| (*value).to_owned()).collect()
    }
}

/// The addresses of all lists of the document, each alone, with each value of each filter, and with a large page.
fn addresses(document: &Value, objects: &Objects) -> Vec<String> {
    let resolved = |schema: &Value| match schema["$ref"].as_str() {
        Some(reference) => document
            .pointer(reference.trim_start_matches('#'))
            .expect("a schema")
            .clone(),
        None => schema.clone(),
    };
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        let content = &methods["get"]["responses"]["200"]["content"]["application/json"];
        let page = resolved(&content["schema"]);
        if page["properties"]["items"]["items"].is_null() {
            continue;
        }
        if path == "/api/v1/uptime" {
            // It needs its chargers, and its times are bounds of each other.
            let many: Vec<String> = (1..=100)
                .map(|number| format!("SIZE-{number:06}"))
                .collect();
            found.push(format!("{path}?chargers={}", many.join("/")));
            found.push(format!("{path}?chargers=CP-1"));
            continue;
        }
        let address = objects.address(path);
        found.push(address.clone());
        let parameters = methods["get"]["parameters"].as_array();
        for parameter in parameters.into_iter().flatten() {
            let name = parameter["name"].as_str().expect("a name");
            if parameter["in"] != "query" || ["cursor", "fields", "min_seq"].contains(&name) {
                continue;
            }
            let values = match name {
                "limit" => vec!["1".to_owned(), "500".to_owned()],
                _ => objects.values(path, name),
            };
            let with = values
                .iter()
                .map(|value| format!("{address}?{name}={value}"));
            found.extend(with);
        }
    }
    found
}

/// A charger that has sent what the rows are made of.
fn run_charger(gateway: &Role) {
    let mut charger = Charger::connect(gateway.ocpp, "CP-1", "ocpp1.6");
    let boot = r#"{"chargePointVendor":"V","chargePointModel":"M","firmwareVersion":"1.4.2"}"#;
    charger.call("1", "BootNotification", boot);
    charger.call("2", "Heartbeat", "{}");
    let status = r#"{"connectorId":1,"errorCode":"NoError","status":"Available"}"#;
    charger.call("3", "StatusNotification", status);
    let start =
        r#"{"connectorId":1,"idTag":"TAG-1","meterStart":0,"timestamp":"2026-01-01T00:00:00Z"}"#;
    let started = charger.call("4", "StartTransaction", start);
    let values = format!(
        r#"{{"connectorId":1,"transactionId":{},"meterValue":[{{"timestamp":"2026-01-01T00:00:10Z","sampledValue":[{{"value":"10"}}]}}]}}"#,
        started[2]["transactionId"]
    );
    charger.call("5", "MeterValues", &values);
}

/// The database with its rows, the API over it, and what lists are about.
fn world(hundredths: i64) -> (Deployment, Role, Objects) {
    let deployment = Deployment::new("[alerts]\nenabled = false\n");
    let api = deployment.start("api", "api");
    let gateway = deployment.start("gateway", "gateway");
    let consumer = deployment.start("consumer", "consumer");
    run_charger(&gateway);
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let items = |path: &str| -> Vec<Value> {
        let (status, body) = api.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        let page: Value = serde_json::from_str(&body).expect("JSON");
        page["items"].as_array().expect("items").clone()
    };
    let has_values = until(TIMEOUT, || {
        let of_meter = items("/api/v1/messages?charger=CP-1&action=MeterValues");
        of_meter.len() == 1
    });
    assert!(has_values, "the messages are not stored");
    let transaction = text(&items("/api/v1/transactions")[0]["key"]);
    let record = text(&items("/api/v1/messages?charger=CP-1&action=Heartbeat")[0]["record_id"]);
    let id_of = |said: String| {
        let said: Value = serde_json::from_str(&said).expect("JSON");
        text(&said["id"])
    };
    let report = r#"{"requestId":1,"reportBase":"FullInventory"}"#;
    let command = ["CP-2", "GetBaseReport", report, "--no-wait", "--wait-until"];
    let command = id_of(deployment.run("command send", &command));
    let url = "https://receiver.invalid/x";
    deployment.run("webhook add", &[url, "--type", "alert.firing"]);
    let webhook = text(&items("/api/v1/webhooks")[0]["id"]);
    // The database may be maintained, and events be moved, only by these.
    drop(gateway);
    drop(consumer);

    let chargers = 100 * hundredths;
    let rows = 1_000 * hundredths;
    let filled = |sql: &str| {
        let numbers = [
            ("{chargers}", chargers),
            ("{rows}", rows),
            ("{messages}", 10_000 * hundredths),
            ("{began}", BEGAN),
        ];
        let sql = numbers.iter().fold(sql.to_owned(), |sql, (name, number)| {
            sql.replace(name, &number.to_string())
        });
        let done = psql(&deployment.database_url, &sql);
        done.unwrap_or_else(|error| panic!("{error:#}"));
    };
    filled(include_str!("../../../store/tests/size.sql"));
    filled(include_str!("lists.sql"));
    filled("VACUUM ANALYZE");
    let batch = r#"{"operation":"clear-cache","filter":{"q":"SIZE-"},"at_once":1,"per_second":1}"#;
    let batch = id_of(deployment.run("command batch create", &[batch]));
    deployment.run("command batch cancel", &[&batch]);
    let objects = Objects {
        charger: format!("SIZE-{chargers:06}"),
        transaction,
        record,
        command,
        batch,
        webhook,
    };
    (deployment, api, objects)
}

#[test]
fn every_list_and_filter_answers_over_many_rows() {
    let is_full = std::env::var_os("WATTPOST_FULL").is_some_and(|value| value == "1");
    let (_deployment, api, objects) = world(if is_full { 100 } else { 1 });
    let (_, document) = api.get("/api/openapi.json");
    let document: Value = serde_json::from_str(&document).expect("JSON");
    let addresses = addresses(&document, &objects);
    assert!(addresses.len() > 100, "{}", addresses.len());
    let (mut slow, mut times) = (Vec::new(), Vec::new());
    let mut measure = |address: &str| -> Value {
        let (mut shortest, mut page) = (Duration::MAX, Value::Null);
        for _ in 0..if is_full { RUNS } else { 1 } {
            let began = Instant::now();
            let (status, body) = api.get(address);
            shortest = shortest.min(began.elapsed());
            assert_eq!(status, 200, "{address}: {body}");
            page = serde_json::from_str(&body).expect("JSON");
        }
        times.push((shortest, address.to_owned()));
        if is_full && shortest >= TIME_MAX {
            slow.push(format!("{address}: {shortest:?}"));
        }
        page
    };
    for address in &addresses {
        let page = measure(address);
        // The next page begins in the middle of the list.
        if let Some(next) = page["next"]
            .as_str()
            .filter(|_| !address.contains("limit="))
        {
            let separator = if address.contains('?') { '&' } else { '?' };
            let name = if address.contains("/events") {
                "after"
            } else {
                "cursor"
            };
            if !address.contains("after=") {
                measure(&format!("{address}{separator}{name}={next}"));
            }
        }
    }
    times.sort_unstable();
    for (time, address) in times.iter().rev().take(25) {
        println!("{:6.1} ms {address}", time.as_secs_f64() * 1_000.0);
    }
    assert!(slow.is_empty(), "{slow:#?}");
}
