//! What a PostgreSQL needs done over the days is done by whoever writes to it, also where there is no consumer,
//! and also when it comes late.

use crate::charger::Charger;
use crate::plant::{Plant, Role, TIMEOUT, servers, until};
use std::path::PathBuf;
use testbed::Postgres;

/// The first column of each row, in the plant's database, as its owner.
fn ask(plant: &Plant, sql: &str) -> String {
    psql(&plant.database_url, sql)
}

fn psql(url: &str, sql: &str) -> String {
    let output = std::process::Command::new("psql")
        .args([
            "-X",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            url,
            "-c",
            sql,
        ])
        .output()
        .expect("run psql");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A database without maintenance for long: no partition left, rows of today and of 100 days ago where they do not belong.
const NEGLECT: &str = "
DO $$ DECLARE part text; BEGIN
    FOR part IN SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE c.relname ~ '_[0-9]{8}$' LOOP
        EXECUTE format('DROP TABLE %I', part);
    END LOOP;
END $$;
INSERT INTO messages (gateway_no, seq, received_at, epoch, charger_no, kind, version, answer_kind, notes,
        message_id, action, payload, answer, reason)
    SELECT 99, seq, (extract(epoch FROM now()) * 1000)::bigint, 1, 0, 1, 1, 0, 0, 'm', 'Planted', '{}', '{}', ''
    FROM generate_series(1, 500) AS s (seq);
INSERT INTO messages (gateway_no, seq, received_at, epoch, charger_no, kind, version, answer_kind, notes,
        message_id, action, payload, answer, reason, outside_since)
    SELECT 99, 1000, d * 86400000::bigint, 1, 0, 1, 1, 0, 0, 'm', 'Planted', '{}', '{}', '', d
    FROM (SELECT floor(extract(epoch FROM now()) / 86400)::integer - 100 AS d) AS day;
INSERT INTO events (charger_no, at, key_hash, kind, data, stored_on)
    VALUES (1, 0, 0, 'Planted', '{}', floor(extract(epoch FROM now()) / 86400)::integer - 100);
";

const KEPT: &str = "
SELECT (SELECT count(*) FROM messages WHERE action = 'Planted') || ' messages, '
    || (SELECT count(*) FROM messages_default) || ' by default, '
    || (SELECT count(*) FROM events) || ' events, '
    || (SELECT count(*) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'messages_by_day'::regclass AND c.relname ~ '_[0-9]{8}$') || ' days'";

fn tidies_up(plant: &Plant, role: &str, flags: &[&str]) {
    ask(plant, NEGLECT);
    assert_eq!(
        ask(plant, KEPT),
        "501 messages, 500 by default, 1 events, 0 days"
    );
    let mut command = plant.command(role, role);
    command
        .args(flags)
        .env("WATTPOST__DATABASE__RETAIN_DAYS", "1");
    let running = plant.start_command(command, role);
    let mut kept = String::new();
    assert!(
        until(TIMEOUT, || {
            kept = ask(plant, KEPT);
            kept == "500 messages, 0 by default, 0 events, 9 days"
        }),
        "{role}: {kept}"
    );
    let told = || {
        let part = running.part("maintenance");
        part.is_some_and(|part| part["up"] == true)
    };
    assert!(until(TIMEOUT, told), "{role} does not tell it");
    drop(running);
    ask(plant, "DELETE FROM messages");
}

#[test]
fn every_role_that_writes_keeps_the_database_in_order() {
    let plant = Plant::behind("", "");
    plant.run("migrate", &[]);
    tidies_up(&plant, "serve", &[]);
    tidies_up(&plant, "gateway", &[]);
    // Beside RabbitMQ too, which is away here: both of them write.
    let away = "--broker-url=amqp://wattpost:wattpost@127.0.0.1:9/%2f";
    tidies_up(&plant, "gateway", &[away]);
    tidies_up(&plant, "consumer", &[away]);
}

/// A PostgreSQL of the story's own, with an empty database, and its address. It is not running.
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
fn a_database_that_comes_after_serve_gets_its_tables() {
    let (mut postgres, url) = late_postgres("parts-late");
    let plant = Plant::behind("", "");
    let mut command = plant.command("serve", "serve");
    command.arg(format!("--database-url={url}"));
    let serve = plant.start_command(command, "serve");
    postgres.restart().expect("start PostgreSQL again");
    let count = "SELECT count(*) FROM messages WHERE action = 'Heartbeat'";
    let there = "SELECT to_regclass('messages') IS NOT NULL";
    assert!(
        until(TIMEOUT, || psql(&url, there) == "t"),
        "there are no tables; {:?}",
        serve.part("maintenance")
    );
    // Nobody comes in before it is known who may.
    let is_open = || serve.part("gateway").is_some_and(|part| part["up"] == true);
    assert!(until(TIMEOUT, is_open), "{:?}", serve.part("gateway"));
    heartbeat(&serve, "CP-1");
    assert!(
        until(TIMEOUT, || psql(&url, count) == "1"),
        "{:?}",
        serve.part("database")
    );
    // That was the start. Tables that are lost later are not made anew.
    let done = || {
        let part = serve.part("maintenance").expect("it is told");
        part["detail"]
            .as_str()
            .is_some_and(|words| words.starts_with("done"))
    };
    assert!(until(TIMEOUT, done));
}

#[test]
fn a_server_that_does_not_sync_is_told() {
    let (mut postgres, url) = late_postgres("parts-unsynced");
    postgres.restart().expect("start PostgreSQL again");
    for sql in ["ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"] {
        postgres.superuser_psql(sql).expect("alter it");
    }
    let plant = Plant::behind("", "");
    let flag = format!("--database-url={url}");
    plant.run("migrate", &[&flag]);
    assert!(until(TIMEOUT, || {
        psql(&url, "SELECT current_setting('fsync')") == "off"
    }));
    let (ok, said, error) = plant.try_run("check", &[&flag]);
    assert!(
        !ok && said.contains("WRONG database") && said.contains("fsync = on"),
        "{said}{error}"
    );
    let mut command = plant.command("serve", "serve");
    command.arg(&flag);
    let serve = plant.start_command(command, "serve");
    let told = || {
        let part = serve.part("maintenance").expect("it is told");
        part["detail"]
            .as_str()
            .is_some_and(|words| words.contains("fsync = on"))
    };
    assert!(until(TIMEOUT, told));
    assert!(
        servers().postgres.is_running(),
        "the shared one is another one"
    );
}

#[test]
fn a_gateway_that_is_gone_for_good_is_retired_by_a_command() {
    let plant = Plant::behind("", "");
    let mut serve = plant.start("serve", "serve");
    let _charger = Charger::connect(serve.ocpp, "CP-1", "ocpp1.6");
    let shown = |http| {
        let (_, body) = crate::http::get(http, "/api/v1/chargers/CP-1");
        serde_json::from_str::<serde_json::Value>(&body).expect("JSON")
    };
    assert!(
        until(TIMEOUT, || shown(serve.http)["online"] == true),
        "{}",
        shown(serve.http)
    );
    serve.kill();
    let api = plant.start("api", "api");
    let before = shown(api.http);
    assert_eq!(before["online"], true, "nobody could tell: {before}");
    let id = before["gateway_id"].as_str().expect("a gateway");
    let said = plant.run("retire-gateway", &[id]);
    assert!(said.contains("1 chargers"), "{said}");
    let after = shown(api.http);
    assert_eq!(after["online"], false, "{after}");
    // Again is no harm, a typing error is told, and a start after all is one.
    assert!(plant.run("retire-gateway", &[id]).contains(": 0 chargers"));
    let nobody = "00000000-0000-4000-8000-000000000000";
    let (ok, _, error) = plant.try_run("retire-gateway", &[nobody]);
    assert!(!ok && error.contains("knows no gateway"), "{error}");
    serve.restart();
    let _charger = Charger::connect(serve.ocpp, "CP-1", "ocpp1.6");
    assert!(until(TIMEOUT, || shown(api.http)["online"] == true));
}
