//! Keys and passwords are in no log, answer, audit entry, metric or export; and without a key the API gives nothing to other
//! machines.

use crate::charger::{Charger, Incoming};
use crate::deployment::{Deployment, until};
use crate::handshake::{handshake_status_with, send_handshake};
use crate::mail_receiver::MailReceiver;
use crate::role::Role;
use crate::webhook_receiver::{Receiver, SETTINGS};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use testbed::http;

const WAIT: Duration = Duration::from_secs(30);
const CHARGER_PASSWORD: &str = "Xq7charger-password-Zt";
const NEXT_PASSWORD: &str = "Xq8second-password-Zt";
const WRONG_PASSWORD: &str = "Xq9mistyped-password-Zt";
const COMMAND_PASSWORD: &str = "587139637573746f6d6572";
const USER_PASSWORD: &str = "Xq4user-password-Zt";
const MISTYPED_PASSWORD: &str = "Xq3mistyped-user-Zt";
const ROTATED_PASSWORD: &str = "Xq2rotated-pass-Zt";
const DIRECT_PASSWORD: &str = "Xq1direct-password-Zt";
const DATABASE_PASSWORD: &str = "Xq5database-password-Zt";
const BROKER_PASSWORD: &str = "Xq6broker-password-Zt";
const MAIL_PASSWORD: &str = "Xq0mail-password-Zt";

/// What was written or answered, with where it was found.
#[derive(Default)]
struct Texts(Vec<(String, String)>);

impl Texts {
    fn add(&mut self, place: impl Into<String>, text: impl Into<String>) {
        self.0.push((place.into(), text.into()));
    }

    /// Asks the API, and keeps the answer.
    fn ask(
        &mut self,
        server: SocketAddr,
        method: &str,
        path: &str,
        lines: &str,
        body: &str,
    ) -> u16 {
        let answer = http::send(server, method, path, lines, body);
        let (status, body) = answer.unwrap_or_else(|error| panic!("{method} {path}: {error:#}"));
        self.add(format!("{method} {path}"), body);
        status
    }

    /// Fails if a secret is in one of the texts, as it is, as hexadecimal digits, or as Basic credentials of `user`.
    fn assert_without(&self, secret: &str, user: &str) {
        let forms = [
            secret.to_owned(),
            secret.bytes().map(|byte| format!("{byte:02x}")).collect(),
            BASE64.encode(secret),
            BASE64.encode(format!("{user}:{secret}")),
        ];
        for (place, text) in &self.0 {
            let text = text.to_ascii_lowercase();
            for form in &forms {
                let found = text.find(&form.to_ascii_lowercase());
                assert!(
                    found.is_none(),
                    "{place} has a secret: {:?}",
                    found.and_then(|at| text.get(at.saturating_sub(300)..at + 60))
                );
            }
        }
    }
}

/// A path of the OpenAPI document with a value for each of its parameters.
fn filled(path: &str) -> String {
    let parts = path.split('/').map(|part| match part.starts_with('{') {
        true => "CP-1",
        false => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

fn basic(user: &str, password: &str) -> String {
    let credentials = BASE64.encode(format!("{user}:{password}"));
    format!("Authorization: Basic {credentials}\r\n")
}

/// All logs are at the level `trace`, which no other test needs.
#[test]
fn keys_and_passwords_are_in_no_log_answer_audit_entry_metric_or_export() {
    let mut deployment = Deployment::start(&format!(
        "{SETTINGS}[log]\nlevel = \"trace\"\n[gateway]\ndirectory_refresh_s = 1\n"
    ));
    let (ocpp, http) = (deployment.ocpp, deployment.http);
    let mut texts = Texts::default();
    let said = deployment.run("charger add", &["CP-1", "--password", CHARGER_PASSWORD]);
    texts.add("charger add", said);
    assert!(until(WAIT, || handshake_status_with(ocpp, "CP-1", "").0 == 401));

    // Handshakes: right, wrong, of another user, malformed, and in the address.
    let lines = [
        basic("CP-1", WRONG_PASSWORD),
        basic("somebody", CHARGER_PASSWORD),
        format!("Authorization: Basic {CHARGER_PASSWORD}\r\n"),
        format!("Authorization: Bearer {CHARGER_PASSWORD}\r\n"),
        format!("Authorization: {CHARGER_PASSWORD}\r\n"),
    ];
    for lines in &lines {
        let (status, head) = handshake_status_with(ocpp, "CP-1", lines);
        assert_eq!(status, 401, "{head}");
        texts.add("the answer to a handshake", head);
    }
    let right = basic("CP-1", CHARGER_PASSWORD);
    let (head, socket) = send_handshake(ocpp, "CP-1", "ocpp1.6", &right).expect("a connection");
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let mut charger = Charger::on(socket);
    let boot = r#"{"chargePointVendor":"V","chargePointModel":"M"}"#;
    charger.call("1", "BootNotification", boot);

    // The API's keys, and requests with them in the right and in wrong places.
    let admin = deployment.run("apikey add", &["admin", "--scope", "admin"]);
    let read = deployment.run("apikey add", &["reader", "--scope", "read"]);
    let (admin, read) = (admin.trim_end(), read.trim_end());
    assert!(until(WAIT, || deployment.get("/api/v1/chargers").0 == 401));
    let key = format!("Authorization: Bearer {admin}\r\n");
    let reader = format!("Authorization: Bearer {read}\r\n");
    let listed = deployment.run("apikey list", &[]);
    texts.add("apikey list", listed);
    let again = deployment
        .command("apikey add")
        .arg("admin")
        .output()
        .expect("run wattpost");
    texts.add("apikey add", String::from_utf8_lossy(&again.stderr));
    let audit = "/api/v1/audit";
    assert_eq!(texts.ask(http, "GET", audit, &key, ""), 200);
    // The second key may be known a moment after the first.
    assert!(until(WAIT, || texts.ask(http, "GET", audit, &reader, "") == 403));
    let half = format!("Authorization: Bearer {}\r\n", &admin[..admin.len() - 1]);
    let other = format!("Authorization: {admin}\r\n");
    let basic_key = basic("admin", admin);
    for lines in [half, other, basic_key] {
        assert_eq!(texts.ask(http, "GET", audit, &lines, ""), 401);
    }

    // A user of the dashboard, and the sign-ins of a browser, right and wrong.
    let body = format!(r#"{{"name":"anna","scope":"read","password":"{USER_PASSWORD}"}}"#);
    assert_eq!(texts.ask(http, "POST", "/api/v1/users", &key, &body), 201);
    assert_eq!(texts.ask(http, "GET", "/api/v1/users", &key, ""), 200);
    let wrong = format!(r#"{{"user":"anna","password":"{MISTYPED_PASSWORD}"}}"#);
    assert_eq!(texts.ask(http, "POST", "/api/v1/session", "", &wrong), 401);
    let json = "Content-Type: application/json\r\n";
    let body = format!(r#"{{"user":"anna","password":"{USER_PASSWORD}"}}"#);
    let signed_in = http::request(http, "POST /api/v1/session", json, &body);
    let (status, head, answer) = signed_in.expect("an answer");
    assert_eq!(status, 201, "{answer}");
    texts.add("POST session", answer);
    let (_, cookie) = head.split_once("wattpost-session=").expect("a cookie");
    let (session, _) = cookie.split_once(';').expect("attributes");
    let line = format!("Cookie: wattpost-session={session}\r\n");
    assert_eq!(texts.ask(http, "GET", "/api/v1/session", &line, ""), 200);
    assert_eq!(texts.ask(http, "GET", "/api/v1/chargers", &line, ""), 200);
    // The user may only read.
    assert_eq!(texts.ask(http, "PUT", "/api/v1/tokens/T", &line, "{}"), 403);
    let said = deployment.run("user list", &[]);
    assert!(said.contains("anna"), "{said}");
    texts.add("user list", said);
    assert_eq!(texts.ask(http, "GET", audit, &key, ""), 200);

    // A webhook: its secrets are shown once each, and hidden in the answers of a receiver that repeats them.
    let receiver = Receiver::start();
    let given = format!("whsec_{}", BASE64.encode([0xa7; 24]));
    let body = format!(
        r#"{{"url":"{}","types":["token.set"],"secret":"{given}"}}"#,
        receiver.url()
    );
    let lines = format!("{key}Idempotency-Key: webhook\r\n");
    let added = http::send(http, "POST", "/api/v1/webhooks", &lines, &body);
    let (status, added) = added.expect("an answer");
    assert_eq!(status, 201, "{added}");
    let added: Value = serde_json::from_str(&added).expect("JSON");
    let hook = added["id"].as_str().expect("an id").to_owned();
    let path = format!("/api/v1/webhooks/{hook}");
    assert_eq!(
        texts.ask(http, "POST", "/api/v1/webhooks", &lines, &body),
        201
    );
    let rotate = format!("{path}/rotate");
    let rotated = http::send(http, "POST", &rotate, &key, "{}");
    let (status, rotated) = rotated.expect("an answer");
    assert_eq!(status, 200, "{rotated}");
    let rotated: Value = serde_json::from_str(&rotated).expect("JSON");
    let made = rotated["secret"].as_str().expect("a secret").to_owned();
    let repeated = format!("no: {given} {made}");
    receiver.answer_with(&format!(
        "HTTP/1.1 500 Failed\r\ncontent-length: {}\r\n\r\n{repeated}",
        repeated.len()
    ));
    let test = format!("{path}/test");
    assert_eq!(texts.ask(http, "POST", &test, &key, ""), 200);
    let tested = deployment.command("webhook test").arg(&hook).output();
    let tested = tested.expect("run wattpost").stdout;
    let tested = String::from_utf8_lossy(&tested).into_owned();
    assert!(tested.contains("no: whsec_*** whsec_***"), "{tested}");
    texts.add("webhook test", tested);
    // A given secret that is wrong is not repeated.
    let mistyped = format!(r#"{{"url":"{}","secret":"{given}!"}}"#, receiver.url());
    assert_eq!(
        texts.ask(http, "POST", "/api/v1/webhooks", &key, &mistyped),
        422
    );
    // An event is refused too; its attempt is listed.
    let all = r#"{"types":[]}"#;
    let merge = format!("{key}If-Match: *\r\nContent-Type: application/merge-patch+json\r\n");
    let patched = http::request(http, &format!("PATCH {path}"), &merge, all);
    assert_eq!(patched.expect("an answer").0, 200);
    let redeliver = format!("{path}/redeliver");
    let since = r#"{"since":"2026-01-01T00:00:00Z"}"#;
    assert_eq!(texts.ask(http, "POST", &redeliver, &key, since), 200);
    let deliveries = format!("{path}/deliveries");
    assert!(until(WAIT, || {
        let listed = http::send(http, "GET", &deliveries, &key, "");
        listed.is_ok_and(|(_, listed)| listed.contains("no: whsec_*** whsec_***"))
    }));
    for path in [
        "/api/v1/webhooks",
        &path,
        &deliveries,
        "/api/v1/events",
        audit,
    ] {
        assert_eq!(texts.ask(http, "GET", path, &key, ""), 200);
    }

    // A password in a command: it is stored and exported as every payload is, and shown nowhere.
    let body = format!(
        r#"{{"action":"ChangeConfiguration","payload":{{"key":"AuthorizationKey","value":"{COMMAND_PASSWORD}"}}}}"#
    );
    let lines = format!("{key}Idempotency-Key: 1\r\n");
    let posted = http::send(
        http,
        "POST",
        "/api/v1/chargers/CP-1/commands",
        &lines,
        &body,
    );
    let (status, answer) = posted.expect("an answer");
    assert_eq!(status, 202);
    assert!(answer.contains("***"), "{answer}");
    texts.add("POST commands", answer);
    let Incoming::Text(call) = charger.receive() else {
        panic!("the connection has ended");
    };
    assert!(call.contains(COMMAND_PASSWORD), "{call}");
    let call: Value = serde_json::from_str(&call).expect("JSON");
    let id = call[1].as_str().expect("an id");
    charger.send(&format!(r#"[3,"{id}",{{"status":"Rejected"}}]"#));

    // A new password, and the old one, which is refused then.
    let said = deployment.run("charger set", &["CP-1", "--password", NEXT_PASSWORD]);
    texts.add("charger set", said);
    assert!(until(WAIT, || handshake_status_with(ocpp, "CP-1", &right)
        .0
        == 401));
    drop(charger);

    // A password that is changed at the charger, and one that is set directly; each with a digest under its key.
    let right = basic("CP-1", NEXT_PASSWORD);
    let (head, socket) = send_handshake(ocpp, "CP-1", "ocpp1.6", &right).expect("a connection");
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let mut charger = Charger::on(socket);
    let path = "/api/v1/chargers/CP-1/password";
    let body = format!(r#"{{"password":"{ROTATED_PASSWORD}"}}"#);
    let lines = format!("{key}Idempotency-Key: rotation\r\n");
    for _ in 0..2 {
        assert_eq!(texts.ask(http, "PUT", path, &lines, &body), 202);
    }
    let other = format!(r#"{{"password":"{ROTATED_PASSWORD}x"}}"#);
    assert_eq!(texts.ask(http, "PUT", path, &lines, &other), 422);
    let Incoming::Text(call) = charger.receive() else {
        panic!("the connection has ended");
    };
    assert!(call.contains(ROTATED_PASSWORD), "{call}");
    let call: Value = serde_json::from_str(&call).expect("JSON");
    let id = call[1].as_str().expect("an id");
    charger.send(&format!(r#"[3,"{id}",{{"status":"Accepted"}}]"#));
    let rotated = basic("CP-1", ROTATED_PASSWORD);
    assert_eq!(handshake_status_with(ocpp, "CP-1", &rotated).0, 101);
    assert_eq!(handshake_status_with(ocpp, "CP-1", &right).0, 401);
    let body = format!(r#"{{"charger_id":"CP-2","password":"{DIRECT_PASSWORD}"}}"#);
    let lines = format!("{key}Idempotency-Key: direct\r\n");
    assert_eq!(
        texts.ask(http, "POST", "/api/v1/chargers", &lines, &body),
        201
    );
    assert_eq!(texts.ask(http, "GET", path, &reader, ""), 200);
    texts.ask(http, "PUT", path, &reader, &body);
    let said = deployment.run("charger password", &["CP-1"]);
    texts.add("charger password", said);
    drop(charger);

    // The same password in a batch, which is also in the audit log.
    let batch = format!(
        r#"{{"action":"ChangeConfiguration","payload":{{"key":"AuthorizationKey","value":"{COMMAND_PASSWORD}"}},"filter":{{}}}}"#
    );
    let said = deployment.run("command batch create", &[&batch]);
    assert!(said.contains("***"), "{said}");
    texts.add("command batch create", said);

    // Every route, with a password and a key in each place where a client may put them by mistake.
    let document: Value =
        serde_json::from_str(&deployment.get("/api/openapi.json").1).expect("JSON");
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for method in methods.as_object().expect("methods").keys() {
            let method = method.to_ascii_uppercase();
            let path = filled(path);
            let body = match method.as_str() {
                "GET" | "DELETE" => String::new(),
                _ => format!(r#"{{"password":"{CHARGER_PASSWORD}","secret":{{}}"#),
            };
            texts.ask(http, &method, &path, &key, &body);
            texts.ask(http, &method, &path, &reader, &body);
        }
    }

    assert!(until(WAIT, || {
        deployment.metric("wattpost_journal_waiting_records") == 0.0
    }));
    texts.add("/metrics", deployment.get("/metrics").1);
    let mut all = |name: &str, arguments: &[&str]| texts.add(name, deployment.run(name, arguments));
    all("export transactions", &[]);
    all("charger list", &[]);
    all("command list", &[]);
    all("command batch list", &[]);
    all("deadletters list", &[]);
    deployment.stop();
    let log = deployment.log();
    assert!(log.contains("DEBUG"), "the log is not at its lowest level");
    let messages = deployment.run("export messages", &[]);
    texts.add("export messages", messages);
    texts.add("the log", log);
    for (secret, user) in [
        (CHARGER_PASSWORD, "CP-1"),
        (NEXT_PASSWORD, "CP-1"),
        (WRONG_PASSWORD, "CP-1"),
        (DIRECT_PASSWORD, "CP-2"),
        (admin, "admin"),
        (read, "reader"),
        (USER_PASSWORD, "anna"),
        (MISTYPED_PASSWORD, "anna"),
        (session, "anna"),
        (given.trim_start_matches("whsec_"), "webhook"),
        (
            made.trim_start_matches("whsec_").trim_end_matches('='),
            "webhook",
        ),
    ] {
        texts.assert_without(secret, user);
    }
    // The export has every byte, for a replay; nothing else has the secret of a command.
    let mut others = texts;
    others.0.retain(|(place, _)| place != "export messages");
    others.assert_without(COMMAND_PASSWORD, "CP-1");
    others.assert_without(ROTATED_PASSWORD, "CP-1");
}

#[test]
fn passwords_of_servers_are_in_no_log_error_or_health_page_while_the_servers_are_unreachable() {
    let mut deployment = Deployment::start("[log]\nlevel = \"trace\"\n");
    deployment.stop();
    let database = format!("postgres://wattpost:{DATABASE_PASSWORD}@127.0.0.1:1/wattpost");
    let broker = format!("amqp://wattpost:{BROKER_PASSWORD}@127.0.0.1:1/%2f");
    let urls = ["--database-url", &database, "--broker-url", &broker];
    let mut texts = Texts::default();
    for role in ["gateway", "consumer", "api"] {
        let mut command = deployment.command(role);
        command
            .args(urls)
            .env("WATTPOST__HTTP__OPEN_WITHOUT_KEYS", "true");
        let mut role = Role::start(command, role, &deployment.path(&format!("{role}.log")));
        assert!(until(WAIT, || role.log().contains("refused")));
        texts.add("/health/ready", role.get("/health/ready").1);
        texts.add("/metrics", role.get("/metrics").1);
        texts.add("/", role.get("/").1);
        texts.add("a list", role.get("/api/v1/chargers").1);
        texts.add("a bundle", role.get("/api/v1/support-bundle").1);
        role.stop();
        texts.add("the log", role.log());
    }
    for subcommand in ["migrate", "check", "charger list", "export messages"] {
        let output = deployment.command(subcommand).args(urls).output();
        let output = output.expect("run wattpost");
        assert!(!output.status.success(), "{subcommand}");
        texts.add(subcommand, String::from_utf8_lossy(&output.stdout));
        texts.add(subcommand, String::from_utf8_lossy(&output.stderr));
    }
    // The settings as they apply, also with a password that was not percent-encoded, and is not where a URL has it.
    for database in [
        database.clone(),
        format!("postgres://wattpost:/?#,@{DATABASE_PASSWORD}@h/wattpost"),
        format!("postgres://h/wattpost?user=a@b&password={DATABASE_PASSWORD}"),
        format!("postgres://wattpost%3A{DATABASE_PASSWORD}%40h/wattpost"),
    ] {
        let urls = ["--database-url", &database, "--broker-url", &broker];
        let output = deployment
            .command("check")
            .arg("--show")
            .args(urls)
            .output();
        let output = output.expect("run wattpost");
        assert!(output.status.success(), "{database}");
        let shown = String::from_utf8_lossy(&output.stdout);
        assert!(shown.contains("url = \"postgres://"), "{shown}");
        texts.add("check --show", shown);
        texts.add("check --show", String::from_utf8_lossy(&output.stderr));
    }
    texts.assert_without(DATABASE_PASSWORD, "wattpost");
    texts.assert_without(BROKER_PASSWORD, "wattpost");
}

/// A server refuses the password and repeats it, as it is and as it was sent; then nothing listens there.
#[test]
fn the_password_of_the_mail_server_is_in_no_log_alert_answer_or_error() {
    let dir = tempfile::tempdir().expect("create a temporary directory");
    let receiver = MailReceiver::start(dir.path());
    let settings = |port: u16| {
        format!(
            r#"
[log]
level = "trace"
[alerts]
interval_ms = 200
charger_interval_ms = 200
[alerts.rules]
off = ["DiskLow"]
for_s = {{ ChargerOffline = 0, NotifierFailing = 0 }}
charger_known_s = 0
[alerts.mail]
server = "localhost"
port = {port}
user = "wattpost"
password = "{MAIL_PASSWORD}"
ca_file = "{}"
from = "wattpost@example.com"
to = ["ops@example.com"]
group_wait_s = 0
group_interval_s = 0
"#,
            receiver.ca_file.display()
        )
    };
    let mut deployment = Deployment::start(&settings(receiver.port));
    let mut texts = Texts::default();
    drop(Charger::connect(deployment.ocpp, "CP-1", "ocpp1.6"));
    // What the server says is shown, without what it repeats.
    let said = "wrong: *** is wattpost ***, ***";
    let alerts = "/api/v1/alerts?name=NotifierFailing&state=firing";
    let is_said = until(WAIT, || deployment.get(alerts).1.contains(said));
    assert!(is_said, "{}", deployment.get("/api/v1/alerts").1);
    for path in [
        "/api/v1/alerts",
        "/api/v1/events?types=alert.*",
        "/api/v1/support-bundle",
        "/health",
        "/metrics",
    ] {
        assert_eq!(texts.ask(deployment.http, "GET", path, "", ""), 200);
    }
    let mut is_told = |deployment: &Deployment, why: &str| {
        let tested = deployment.command("alerts test-mail").output();
        let tested = tested.expect("run wattpost");
        assert!(!tested.status.success(), "{tested:?}");
        let said = String::from_utf8_lossy(&tested.stdout).into_owned();
        assert!(said.contains(why), "{said}");
        texts.add("alerts test-mail", said);
        texts.add("alerts test-mail", String::from_utf8_lossy(&tested.stderr));
    };
    is_told(&deployment, said);
    deployment.stop();
    deployment.write_settings(&settings(1));
    deployment.restart();
    is_told(&deployment, "refused");
    assert!(until(WAIT, || deployment
        .log()
        .contains("Connection refused")));
    for (command, arguments) in [("check", vec!["--show"]), ("alerts list", vec![])] {
        let said = deployment.run(command, &arguments);
        texts.add(command, said);
    }
    texts.ask(deployment.http, "GET", "/api/v1/support-bundle", "", "");
    deployment.stop();
    let log = deployment.log();
    assert!(log.contains("DEBUG"), "the log is not at its lowest level");
    texts.add("the log", log);
    texts.assert_without(MAIL_PASSWORD, "wattpost");
    texts.assert_without(&format!("\0wattpost\0{MAIL_PASSWORD}"), "wattpost");
}

/// Metrics and the description of the API have nothing about a charger or a person (docs/api.md).
#[test]
fn without_a_key_only_health_metrics_the_description_and_sign_in_answer_on_an_address_of_other_machines()
 {
    let mut deployment = Deployment::start("");
    deployment.run("apikey add", &["admin", "--scope", "admin"]);
    deployment.stop();
    let mut command = deployment.command("api");
    command.args(["--http-listen", "0.0.0.0:0"]);
    let api = Role::start(command, "api", &deployment.path("api.log"));
    assert!(api.http.ip().is_unspecified(), "{}", api.http);
    let document: Value = serde_json::from_str(&api.get("/api/openapi.json").1).expect("JSON");
    let mut open = Vec::new();
    let mut closed = 0;
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for method in methods.as_object().expect("methods").keys() {
            let method = method.to_ascii_uppercase();
            let asked = filled(path);
            for lines in ["", "Authorization: Bearer wp_live_none\r\n"] {
                let answer = http::send(api.http, &method, &asked, lines, "");
                let (status, body) = answer.expect("an answer");
                if status == 401 {
                    closed += 1;
                    assert!(body.contains("no_key"), "{method} {path}: {body}");
                } else if lines.is_empty() {
                    open.push(format!("{method} {path}"));
                }
            }
        }
    }
    open.sort();
    // A browser signs in at `/api/v1/session`; without a key it learns there that it has not signed in, and the version.
    let expected = [
        "DELETE /api/v1/session",
        "GET /.well-known/api-catalog",
        "GET /api/openapi.json",
        "GET /api/v1/session",
        "GET /docs",
        "GET /health",
        "GET /health/live",
        "GET /health/ready",
        "GET /metrics",
        "POST /api/v1/session",
    ];
    assert_eq!(open, expected);
    assert!(closed >= 24, "{closed}");
}
