//! Local authorization lists reach simulated chargers of OCPP 1.6 and 2.0.1, in full, by differences, and over `kill -9`.

use crate::deployment::{Deployment, until};
use serde_json::Value;
use std::time::Duration;

/// A step of a list that was under way when its process died is settled after up to two minutes.
const TIMEOUT: Duration = Duration::from_secs(240);

/// The lists, once each of `chargers` has `tokens` of them.
fn in_sync(serve: &Deployment, chargers: usize, tokens: u64) -> Vec<Value> {
    let mut lists = Vec::new();
    let is_so = until(TIMEOUT, || {
        lists = serve
            .run("local-list list", &["--json"])
            .lines()
            .map(|line| serde_json::from_str(line).expect("a line of JSON"))
            .collect::<Vec<Value>>();
        lists.len() == chargers
            && lists.iter().all(|list| {
                list["state"] == "in_sync" && list["entries_wanted"].as_u64() == Some(tokens)
            })
    });
    assert!(is_so, "{lists:#?}; log:\n{}", serve.log_tail());
    lists
}

/// What each charger says of its list.
fn versions_at_chargers(serve: &Deployment, lists: &[Value]) {
    for list in lists {
        let charger = list["charger_id"].as_str().expect("an identity");
        let output = serve.run("command send", &[charger, "GetLocalListVersion"]);
        let command: Value = serde_json::from_str(&output).expect("JSON");
        let payload = &command["outcome"]["payload"];
        let version = payload["listVersion"]
            .as_i64()
            .or_else(|| payload["versionNumber"].as_i64());
        assert_eq!(version, list["version_at_charger"].as_i64(), "{command}");
    }
}

/// The messages with lists: charger, kind of update, tokens.
fn sent(serve: &Deployment) -> Vec<(String, String, usize)> {
    let output = serve.run("command list", &["--limit", "100000"]);
    let commands = output
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
    commands
        .filter(|command| command["action"] == "SendLocalList")
        .map(|command| {
            let payload = &command["payload"];
            let entries = payload["localAuthorizationList"].as_array();
            (
                command["charger_id"].as_str().expect("a text").to_owned(),
                payload["updateType"].as_str().expect("a text").to_owned(),
                entries.map_or(0, Vec::len),
            )
        })
        .collect()
}

#[test]
fn lists_reach_chargers_in_full_and_by_differences_and_survive_a_kill() {
    let mut serve = Deployment::start("");
    let tokens = serve.path("tokens.csv");
    let mut table = "id;group\n".to_owned();
    for number in 0..150 {
        table.push_str(&format!("TAG-{number};{}\n", ["A", "B"][number % 2]));
    }
    std::fs::write(&tokens, table).expect("write the table");
    let tokens = tokens.to_str().expect("UTF-8").to_owned();
    serve.run("token import", &[&tokens]);
    let fleet = serve.meter_flood(&serve.path("ledger"), 4, &["--versions", "1.6:1,2.0.1:1"]);
    serve.run("local-list set", &["--all-chargers", "--tokens", "all"]);
    let lists = in_sync(&serve, 4, 150);
    versions_at_chargers(&serve, &lists);
    assert!(sent(&serve).iter().all(|(_, kind, _)| kind == "Full"));

    // A difference, over a kill of the process that sends it.
    let before = sent(&serve).len();
    serve.run("token add", &["NEW", "--group", "A"]);
    serve.run("token add", &["NEW-2", "--group", "A"]);
    serve.run("token remove", &["TAG-0"]);
    serve.kill();
    serve.restart();
    let lists = in_sync(&serve, 4, 151);
    versions_at_chargers(&serve, &lists);
    assert!(sent(&serve).len() > before);

    // One charger gets the tokens of a group.
    let one = lists[0]["charger_id"].as_str().expect("an identity");
    serve.run("local-list set", &[one, "--tokens", "group:b"]);
    let is_so = until(TIMEOUT, || {
        let output = serve.run("local-list list", &["--json"]);
        output.lines().any(|line| {
            let list: Value = serde_json::from_str(line).expect("a line of JSON");
            list["charger_id"] == one && list["state"] == "in_sync" && list["entries_wanted"] == 75
        })
    });
    assert!(is_so);
    drop(fleet);
}
