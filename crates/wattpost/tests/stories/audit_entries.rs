//! Each command that changes the database has an entry in the audit log; which ones do is in the table of
//! `crates/wattpost/src/main.rs`.

use crate::charger::{Charger, Incoming};
use crate::deployment::{Deployment, until};
use serde_json::Value;
use std::time::Duration;

#[test]
fn every_change_on_the_command_line_has_an_entry() {
    let mut deployment = Deployment::start("");
    let mut charger = Charger::connect(deployment.ocpp, "CP-1", "ocpp1.6");
    let start =
        r#"{"connectorId":1,"idTag":"TAG-1","meterStart":100,"timestamp":"2026-02-01T10:00:00Z"}"#;
    charger.call("1", "StartTransaction", start);
    let is_stored = || deployment.transactions().len() == 1;
    assert!(until(Duration::from_secs(20), is_stored));
    let closed = deployment.run(
        "charger disconnect",
        &["CP-1", "--code", "3001", "--reason", "a test"],
    );
    assert!(closed.contains(r#""state":"closed""#), "{closed}");
    assert_eq!(charger.receive(), Incoming::Close(3001));
    assert_eq!(last_entry(&deployment).1, "charger.disconnect_requested");
    // Nobody drives the batch while no process runs.
    deployment.stop_when_stored();
    let database = rusqlite::Connection::open(deployment.database_file()).expect("the database");
    database
        .execute(
            "INSERT INTO dead_letters (gateway_no, seq, bytes, reason, at) SELECT no, 99, x'78', 'a test', 1 FROM gateways LIMIT 1",
            [],
        )
        .expect("a dead letter");
    let alert = uuid::Uuid::from_u128(7);
    let body = format!(
        r#"{{"id":"{alert}","name":"ChargerOffline","severity":"ticket","subject":"CP-1","charger_id":"CP-1","state":"firing","summary":"a test","active_at":1}}"#
    );
    database
        .execute(
            "INSERT INTO alerts (id, state, severity, name, charger_key, at, body) VALUES (?1, 1, 1, 'ChargerOffline', 'cp-1', 1, ?2)",
            rusqlite::params![alert.as_bytes(), body],
        )
        .expect("an alert");
    let alert = alert.to_string();
    drop(database);

    let json = |text: &str| -> Value { serde_json::from_str(text.trim()).expect("JSON") };
    let sessions = deployment.run("transaction list", &["--json"]);
    let session = json(&sessions)["key"].as_str().expect("a key").to_owned();
    let gateway = std::fs::read_to_string(deployment.data_dir().join("gateway-id"));
    let gateway = gateway.expect("the gateway's id").trim().to_owned();
    let tokens = deployment.path("tokens.csv");
    std::fs::write(&tokens, "id,status\nTAG-2,Accepted\n").expect("a file");
    let tokens = tokens.to_str().expect("UTF-8").to_owned();
    let chargers = deployment.path("chargers.csv");
    std::fs::write(&chargers, "charger_id\nCP-3\n").expect("a file");
    let chargers = chargers.to_str().expect("UTF-8").to_owned();
    let request = r#"{"operation":"clear-cache","filter":{"q":"CP-1"},"when_offline":"wait"}"#;
    let batch = deployment.run("command batch create", &[request]);
    let batch = json(&batch)["id"].as_str().expect("an id").to_owned();
    let mut last = last_entry(&deployment);
    assert_eq!(last.1, "batch.created");

    let url = "https://example.com/hook";
    let hook = deployment.run("webhook add", &[url, "--json"]);
    let hook = json(&hook)["id"].as_str().expect("an id").to_owned();
    assert_eq!(last_entry(&deployment).1, "webhook.set");

    let silenced = ["--charger", "CP-1", "--for-minutes", "60"];
    deployment.run("alerts silence", &silenced);
    let silences = deployment.run("alerts silences", &[]);
    let silence = json(&silences)["id"].as_str().expect("an id").to_owned();
    last = last_entry(&deployment);
    assert_eq!(last.1, "alert_silence.added");

    let letter = format!("{gateway}/99");
    let changes: &[(&str, &[&str], &str)] = &[
        ("command batch pause", &[&batch], "batch.paused"),
        ("command batch resume", &[&batch], "batch.resumed"),
        ("command batch cancel", &[&batch], "batch.cancelled"),
        (
            "charger add",
            &["CP-2", "--admission", "accepted"],
            "charger.set",
        ),
        ("charger remove", &["CP-2"], "charger.removed"),
        ("charger import", &[&chargers], "charger.set"),
        ("site add", &["depot-7"], "site.set"),
        ("site remove", &["depot-7"], "site.removed"),
        ("token add", &["TAG-1"], "token.set"),
        ("token remove", &["TAG-1"], "token.removed"),
        ("token import", &[&tokens], "token.set"),
        (
            "local-list set",
            &["CP-1", "--tokens", "all"],
            "local_list.set",
        ),
        ("local-list remove", &["CP-1"], "local_list.removed"),
        ("apikey add", &["grafana"], "api_key.added"),
        ("apikey revoke", &["grafana"], "api_key.revoked"),
        ("user add", &["anna"], "user.added"),
        ("user password", &["anna"], "user.changed"),
        ("user disable", &["anna"], "user.changed"),
        ("user enable", &["anna"], "user.changed"),
        ("user remove", &["anna"], "user.removed"),
        (
            "alerts ack",
            &[&alert, "--note", "a test"],
            "alert.acknowledged",
        ),
        ("alerts unsilence", &[&silence], "alert_silence.removed"),
        ("webhook add", &[url], "webhook.set"),
        (
            "webhook set",
            &[&hook, "--description", "a test"],
            "webhook.set",
        ),
        ("webhook disable", &[&hook], "webhook.set"),
        ("webhook enable", &[&hook], "webhook.set"),
        ("webhook rotate", &[&hook], "webhook.secret_rotated"),
        (
            "webhook redeliver",
            &[&hook, "--since", "2026-02-01T10:00:00Z"],
            "webhook.redelivered",
        ),
        ("webhook remove", &[&hook], "webhook.removed"),
        (
            "transaction close",
            &[&session, "--reason", "a test", "--who", "bob"],
            "transaction.closed",
        ),
        (
            "deadletters discard",
            &[&letter, "--reason", "a test"],
            "dead_letter.discarded",
        ),
        ("charger add", &["CP-1"], "charger.set"),
        (
            "charger rotate-password",
            &["CP-1"],
            "charger.password_rotation_started",
        ),
        (
            "command send",
            &[
                "CP-1",
                "Reset",
                r#"{"own":1}"#,
                "--no-check",
                "--no-wait",
                "--wait-until",
            ],
            "command.unchecked",
        ),
        ("retire-gateway", &[&gateway], "gateway.retired"),
    ];
    for (command, arguments, action) in changes {
        deployment.run(command, arguments);
        let entry = last_entry(&deployment);
        assert_eq!(
            (entry.0, entry.1.as_str(), entry.2.as_str()),
            (last.0 + 1, *action, "command_line"),
            "wattpost {command}"
        );
        last = entry;
    }
}

/// Number, action and kind of the actor of the newest entry.
fn last_entry(deployment: &Deployment) -> (i64, String, String) {
    let database = rusqlite::Connection::open(deployment.database_file()).expect("the database");
    let sql = "SELECT no, action, actor_kind FROM audit_log ORDER BY no DESC LIMIT 1";
    database
        .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .expect("an entry")
}
