//! Maintenance of PostgreSQL: by every role that writes to it, even without a consumer, and even if PostgreSQL becomes
//! available after the start.

use crate::charger::Charger;
use crate::deployment::{Deployment, Role, TIMEOUT, servers, until};
use crate::pipeline::{ALERTS_AT_ONCE, wait_for_alert};
use std::path::PathBuf;
use testbed::{Postgres, psql};

/// Runs SQL in the deployment's database as its owner.
fn query(deployment: &Deployment, sql: &str) -> String {
    psql(&deployment.database_url, sql).expect(sql)
}

/// The state after a long time without maintenance: no partition, rows of today in the default partition, and rows of 100
/// days ago.
const NEGLECT: &str = "
DO $$ DECLARE part text; BEGIN
    FOR part IN SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE c.relname ~ '_[0-9]{8}$' LOOP
        EXECUTE format('DROP TABLE %I', part);
    END LOOP;
END $$;
INSERT INTO messages (gateway_no, seq, received_at, epoch, charger_no, kind, version, answer_kind, notes,
        message_id, action, payload, answer, reason)
    SELECT 99, seq, (extract(epoch FROM now()) * 1000)::bigint, 1, 0, 1, 1, 0, 0, 'm', 'Test', '{}', '{}', ''
    FROM generate_series(1, 500) AS s (seq);
INSERT INTO messages (gateway_no, seq, received_at, epoch, charger_no, kind, version, answer_kind, notes,
        message_id, action, payload, answer, reason, outside_since)
    SELECT 99, 1000, d * 86400000::bigint, 1, 0, 1, 1, 0, 0, 'm', 'Test', '{}', '{}', '', d
    FROM (SELECT floor(extract(epoch FROM now()) / 86400)::integer - 100 AS d) AS day;
INSERT INTO events (charger_no, at, key_hash, kind, data, stored_on)
    VALUES (1, 0, 0, 'Test', '{}', floor(extract(epoch FROM now()) / 86400)::integer - 100);
";

const KEPT: &str = "
SELECT (SELECT count(*) FROM messages WHERE action = 'Test') || ' messages, '
    || (SELECT count(*) FROM messages_default) || ' by default, '
    || (SELECT count(*) FROM events) || ' events, '
    || (SELECT count(*) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'messages_by_day'::regclass AND c.relname ~ '_[0-9]{8}$') || ' days'";

fn assert_maintained_by(deployment: &Deployment, role: &str, flags: &[&str]) {
    query(deployment, NEGLECT);
    assert_eq!(
        query(deployment, KEPT),
        "501 messages, 500 by default, 1 events, 0 days"
    );
    let mut command = deployment.command(role, role);
    command
        .args(flags)
        .env("WATTPOST__DATABASE__RETAIN_DAYS", "1");
    let running = deployment.start_command(command, role);
    let mut kept = String::new();
    assert!(
        until(TIMEOUT, || {
            kept = query(deployment, KEPT);
            kept == "500 messages, 0 by default, 0 events, 9 days"
        }),
        "{role}: {kept}"
    );
    assert!(
        until(TIMEOUT, || running.is_up("maintenance")),
        "{role} does not report it"
    );
    drop(running);
    query(deployment, "DELETE FROM messages");
}

#[test]
fn every_role_that_writes_maintains_the_database() {
    let deployment = Deployment::with_broker("", "");
    deployment.run("migrate", &[]);
    assert_maintained_by(&deployment, "serve", &[]);
    assert_maintained_by(&deployment, "gateway", &[]);
    // With RabbitMQ too, which is unavailable here.
    let unavailable = "--broker-url=amqp://wattpost:wattpost@127.0.0.1:9/%2f";
    assert_maintained_by(&deployment, "gateway", &[unavailable]);
    assert_maintained_by(&deployment, "consumer", &[unavailable]);
}

/// A separate PostgreSQL, stopped, and the URL of an empty database in it.
fn late_postgres(name: &str) -> (Postgres, String) {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    let mut postgres = Postgres::start(&dir).expect("start PostgreSQL");
    postgres
        .superuser_psql("CREATE DATABASE late OWNER wattpost")
        .expect("create a database");
    let url = postgres.url_as("wattpost", "wattpost", "late");
    postgres.stop();
    (postgres, url)
}

fn heartbeat(role: &Role, name: &str) {
    let mut charger = Charger::connect(role.ocpp, name, "ocpp1.6");
    let answer = charger.call(name, "Heartbeat", "{}");
    assert_eq!(answer[0], 3, "{answer}");
}

#[test]
fn database_that_becomes_available_after_serve_is_migrated() {
    let (mut postgres, url) = late_postgres("parts-late");
    let deployment = Deployment::with_broker("", "");
    let mut command = deployment.command("serve", "serve");
    command.arg(format!("--database-url={url}"));
    let serve = deployment.start_command(command, "serve");
    postgres.restart().expect("start PostgreSQL again");
    let count = "SELECT count(*) FROM messages WHERE action = 'Heartbeat'";
    let there = "SELECT to_regclass('messages') IS NOT NULL";
    assert!(
        until(TIMEOUT, || psql(&url, there).expect(there) == "t"),
        "there are no tables; {:?}",
        serve.part("maintenance")
    );
    // No charger is accepted before the database was read.
    assert!(
        until(TIMEOUT, || serve.is_up("gateway")),
        "{:?}",
        serve.part("gateway")
    );
    heartbeat(&serve, "CP-1");
    assert!(
        until(TIMEOUT, || psql(&url, count).expect(count) == "1"),
        "{:?}",
        serve.part("database")
    );
    // After that, maintenance runs as usual.
    let done = || {
        let part = serve.part("maintenance").expect("the part exists");
        part["detail"]
            .as_str()
            .is_some_and(|detail| detail.starts_with("done"))
    };
    assert!(until(TIMEOUT, done));
}

#[test]
fn server_with_fsync_off_is_reported() {
    let (mut postgres, url) = late_postgres("parts-unsynced");
    postgres.restart().expect("start PostgreSQL again");
    for sql in ["ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"] {
        postgres.superuser_psql(sql).expect("alter it");
    }
    let deployment = Deployment::with_broker(ALERTS_AT_ONCE, "");
    let flag = format!("--database-url={url}");
    deployment.run("migrate", &[&flag]);
    assert!(until(TIMEOUT, || {
        psql(&url, "SELECT current_setting('fsync')").expect("fsync") == "off"
    }));
    let (ok, said, error) = deployment.try_run("check", &[&flag]);
    assert!(
        !ok && said.contains("WRONG database") && said.contains("fsync = on"),
        "{said}{error}"
    );
    let mut command = deployment.command("serve", "serve");
    command.arg(&flag);
    let serve = deployment.start_command(command, "serve");
    let is_reported = || {
        let part = serve.part("maintenance").expect("the part exists");
        part["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("fsync = on"))
    };
    assert!(until(TIMEOUT, is_reported));
    wait_for_alert(&serve, "DatabaseNotDurable", true);
    assert!(
        servers().postgres.is_running(),
        "the shared server is not the one under test"
    );
}

#[test]
fn retire_gateway_disconnects_its_chargers() {
    let deployment = Deployment::with_broker("", "");
    let mut serve = deployment.start("serve", "serve");
    let mut charger = Charger::connect(serve.ocpp, "CP-1", "ocpp1.6");
    let status = r#"{"connectorId":1,"errorCode":"NoError","status":"Available"}"#;
    charger.call("1", "StatusNotification", status);
    let shown = |role: &Role| {
        let (_, body) = role.get("/api/v1/chargers/CP-1");
        serde_json::from_str::<serde_json::Value>(&body).expect("JSON")
    };
    let is_available = || shown(&serve)["connectors"][0]["status"] == "Available";
    assert!(until(TIMEOUT, is_available), "{}", shown(&serve));
    assert_eq!(shown(&serve)["online"], true);
    serve.kill();
    let api = deployment.start("api", "api");
    assert!(until(TIMEOUT, || shown(&api)["connection"] == "unknown"));
    let before = shown(&api);
    let connector = &before["connectors"][0];
    assert_eq!(connector["status"], "Unknown");
    assert_eq!(connector["unknown_reason"], "gateway_unreachable");
    assert_eq!(connector["last_status"], "Available");
    assert_eq!(
        before["disconnected_at"],
        serde_json::Value::Null,
        "a killed gateway cannot record the end: {before}"
    );
    let id = before["gateway_id"].as_str().expect("a gateway");
    let said = deployment.run("retire-gateway", &[id]);
    assert!(said.contains("1 chargers"), "{said}");
    let after = shown(&api);
    assert_eq!(after["connection"], "closed", "{after}");
    assert_eq!(after["connectors"][0]["unknown_reason"], "offline");
    // It can be repeated; an unknown id is an error; and the gateway can still be started again.
    assert!(
        deployment
            .run("retire-gateway", &[id])
            .contains(": 0 chargers")
    );
    let unknown = "00000000-0000-4000-8000-000000000000";
    let (ok, _, error) = deployment.try_run("retire-gateway", &[unknown]);
    assert!(!ok && error.contains("knows no gateway"), "{error}");
    serve.restart();
    let _charger = Charger::connect(serve.ocpp, "CP-1", "ocpp1.6");
    assert!(until(TIMEOUT, || shown(&api)["online"] == true));
}
