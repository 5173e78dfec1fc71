//! Alerts over `wattpost serve`: chargers are lost, flap and fault, and people are told once.

use crate::charger::{Charger, Incoming};
use crate::deployment::{Deployment, until};
use crate::handshake::send_handshake;
use crate::independent_client::python;
use crate::webhook_receiver::{Receiver, SETTINGS as WEBHOOKS};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(40);

const SETTINGS: &str = r#"
[policy]
unknown_charger = "accept"
[alerts]
interval_ms = 200
charger_interval_ms = 200
[alerts.rules]
off = ["DiskLow"]
for_s = { ChargerOffline = 1, ConnectorFaulted = 0 }
keep_firing_s = { ChargerOffline = 1, ConnectorFaulted = 1, ChargerFlapping = 0 }
within_s = { ChargerFlapping = 10 }
flapping_connects = 3
charger_known_s = 0
"#;

fn items(deployment: &Deployment, path: &str) -> Vec<Value> {
    let (status, body) = deployment.get(path);
    assert_eq!(status, 200, "{body}");
    let page: Value = serde_json::from_str(&body).expect("JSON");
    page["items"].as_array().expect("items").clone()
}

/// The only alert that these parameters select, once there is one.
fn alert(deployment: &Deployment, parameters: &str) -> Value {
    let path = format!("/api/v1/alerts?{parameters}");
    let found = until(WITHIN, || items(deployment, &path).len() == 1);
    assert!(found, "{:#?}", items(deployment, "/api/v1/alerts"));
    items(deployment, &path).remove(0)
}

/// The types of the events about this alert, in their order.
fn told(deployment: &Deployment, alert: &Value) -> Vec<String> {
    let events = items(deployment, "/api/v1/events?types=alert.*&limit=1000");
    events
        .into_iter()
        .filter(|event| event["data"]["id"] == alert["id"])
        .map(|event| event["type"].as_str().expect("a type").to_owned())
        .collect()
}

#[test]
fn a_lost_charger_is_told_once_over_a_restart_and_ends_when_it_is_back() {
    let mut deployment = Deployment::start(SETTINGS);
    drop(Charger::connect(deployment.ocpp, "CP-1", "ocpp1.6"));
    let fires = alert(&deployment, "name=ChargerOffline&charger=cp-1&state=firing");
    assert_eq!(
        (&fires["severity"], &fires["charger_id"], &fires["subject"]),
        (&"ticket".into(), &"CP-1".into(), &"CP-1".into()),
        "{fires:#}"
    );
    for member in ["at_stake", "to_do", "summary"] {
        assert_ne!(fires[member], "", "{fires:#}");
    }
    deployment.kill();
    deployment.restart();
    let same = alert(&deployment, "name=ChargerOffline&state=firing");
    assert_eq!(same["id"], fires["id"]);
    let id = fires["id"].as_str().expect("an id");
    let noted = deployment.run("alerts ack", &[id, "--note", "on the way"]);
    assert!(noted.contains("acknowledged"), "{noted}");
    let _charger = Charger::connect(deployment.ocpp, "CP-1", "ocpp1.6");
    let ended = alert(&deployment, "name=ChargerOffline&state=resolved");
    assert_eq!(
        (&ended["id"], &ended["acknowledged"]["note"]),
        (&fires["id"], &"on the way".into()),
        "{ended:#}"
    );
    let all = ["alert.firing", "alert.acknowledged", "alert.resolved"];
    let is_told = until(WITHIN, || told(&deployment, &fires) == all);
    assert!(is_told, "{:#?}", told(&deployment, &fires));
}

#[test]
fn flapping_and_a_fault_are_told_once_and_a_silenced_fault_is_not() {
    let deployment = Deployment::start(SETTINGS);
    for _ in 0..8 {
        drop(Charger::connect(deployment.ocpp, "CP-1", "ocpp1.6"));
    }
    let flaps = alert(&deployment, "name=ChargerFlapping");
    let is_told = until(WITHIN, || told(&deployment, &flaps) == ["alert.firing"]);
    assert!(is_told, "{flaps:#}");
    let silenced = [
        "--charger",
        "CP-3",
        "--for-minutes",
        "60",
        "--name",
        "ConnectorFaulted",
    ];
    deployment.run("alerts silence", &silenced);
    let status = |charger: &mut Charger, message: &str, status: &str, error: &str| {
        let payload = format!(r#"{{"connectorId":1,"errorCode":"{error}","status":"{status}"}}"#);
        let answer = charger.call(message, "StatusNotification", &payload);
        assert_eq!(answer[0], 3, "{answer}");
    };
    let mut faulted = Charger::connect(deployment.ocpp, "CP-2", "ocpp1.6");
    let mut silent = Charger::connect(deployment.ocpp, "CP-3", "ocpp1.6");
    status(&mut faulted, "1", "Faulted", "GroundFailure");
    status(&mut silent, "1", "Faulted", "OtherError");
    let page = alert(
        &deployment,
        "name=ConnectorFaulted&charger=CP-2&state=firing",
    );
    assert_eq!(page["severity"], "page", "{page:#}");
    let quiet = alert(
        &deployment,
        "name=ConnectorFaulted&charger=CP-3&state=firing",
    );
    let is_silenced = until(WITHIN, || {
        alert(&deployment, "name=ConnectorFaulted&charger=CP-3")["silenced_by"] != Value::Null
    });
    assert!(is_silenced);
    status(&mut faulted, "2", "Available", "NoError");
    status(&mut silent, "2", "Available", "NoError");
    alert(
        &deployment,
        "name=ConnectorFaulted&charger=CP-2&state=resolved",
    );
    alert(
        &deployment,
        "name=ConnectorFaulted&charger=CP-3&state=resolved",
    );
    let is_told = until(WITHIN, || {
        told(&deployment, &page) == ["alert.firing", "alert.resolved"]
    });
    assert!(is_told, "{:#?}", told(&deployment, &page));
    assert_eq!(told(&deployment, &quiet), [""; 0]);
    let has_ended = || told(&deployment, &flaps) == ["alert.firing", "alert.resolved"];
    assert!(until(WITHIN, has_ended), "{:#?}", told(&deployment, &flaps));
}

/// A port on which nothing listens.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

#[test]
fn mails_of_an_alert_arrive_also_when_the_server_was_down_at_first() {
    let port = free_port();
    let mail = format!(
        r#"
[alerts.mail]
server = "127.0.0.1"
port = {port}
tls = "none"
from = "Wattpost <wattpost@example.com>"
to = ["ops@example.com", "night@example.com"]
group_wait_s = 0
group_interval_s = 0
"#
    );
    let settings = SETTINGS.replace(
        "keep_firing_s = {",
        "keep_firing_s = { NotifierFailing = 0,",
    );
    let settings = settings.replace("for_s = {", "for_s = { NotifierFailing = 1,");
    let deployment = Deployment::start(&format!("{settings}{mail}"));
    drop(Charger::connect(deployment.ocpp, "CP-1", "ocpp1.6"));
    let fires = alert(&deployment, "name=ChargerOffline&state=firing");
    let failing = alert(&deployment, "name=NotifierFailing&state=firing");
    assert_eq!(failing["severity"], "page", "{failing:#}");
    let refused = deployment.command("alerts test-mail").output();
    let refused = refused.expect("it runs");
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");

    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/python/mail_server.py");
    let log = deployment.path("mails.txt");
    let mut command = Command::new(python());
    let refusing = deployment.path("refusing");
    command.arg(script).arg(port.to_string()).arg(&refusing);
    let command = testbed::Process::wrap(&command).expect("setpriv is installed");
    let _server = testbed::Process::start(command, "mail server", &log).expect("it starts");
    let mails = || -> Vec<Value> {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    };
    let of = |beginning: &str| -> Vec<Value> {
        let has = |mail: &Value| {
            mail["subject"]
                .as_str()
                .is_some_and(|subject| subject.starts_with(beginning))
        };
        mails().into_iter().filter(has).collect()
    };
    let subject = "[Wattpost] ticket: ChargerOffline: CP-1";
    assert!(until(WITHIN, || of(subject).len() == 1), "{:#?}", mails());
    let mail = of(subject).remove(0);
    assert_eq!(mail["from"], "wattpost@example.com");
    assert_eq!(
        mail["to"],
        serde_json::json!(["ops@example.com", "night@example.com"])
    );
    let text = mail["text"].as_str().expect("a text");
    for words in [
        "CP-1 is offline",
        "What to do: ",
        fires["id"].as_str().expect("an id"),
    ] {
        assert!(text.contains(words), "{text}");
    }
    alert(&deployment, "name=NotifierFailing&state=resolved");
    let tested = deployment.run("alerts test-mail", &[]);
    assert!(tested.contains("has accepted"), "{tested}");
    assert!(until(WITHIN, || of("[Wattpost] test").len() == 1));
    let _charger = Charger::connect(deployment.ocpp, "CP-1", "ocpp1.6");
    let ended = "[Wattpost] ended, ticket: ChargerOffline: CP-1";
    assert!(until(WITHIN, || of(ended).len() == 1), "{:#?}", mails());
    assert_eq!(of(subject).len(), 1, "its firing was mailed once");

    // The others get it.
    std::fs::write(&refusing, "").expect("write a file");
    drop(Charger::connect(deployment.ocpp, "CP-2", "ocpp1.6"));
    let ticket = alert(&deployment, "name=NotifierFailing&severity=ticket");
    let words = ticket["summary"].as_str().expect("a text");
    assert!(words.contains("night@example.com"), "{words}");
    std::fs::remove_file(&refusing).expect("remove it");
    drop(Charger::connect(deployment.ocpp, "CP-3", "ocpp1.6"));
    let ended = "name=NotifierFailing&severity=ticket&state=resolved";
    alert(&deployment, ended);
}

#[test]
fn a_site_whose_chargers_go_together_is_one_page_and_a_restart_of_ours_is_none() {
    const IDS: [&str; 3] = ["CP-1", "CP-2", "CP-3"];
    let settings = SETTINGS.replace("for_s = {", "for_s = { SiteOffline = 0,");
    let settings = settings.replace("keep_firing_s = {", "keep_firing_s = { SiteOffline = 0,");
    let mut deployment = Deployment::start(&settings);
    deployment.run("site add", &["depot-7"]);
    for id in IDS {
        deployment.run("charger add", &[id, "--site", "depot-7"]);
    }
    let connect =
        |deployment: &Deployment| IDS.map(|id| Charger::connect(deployment.ocpp, id, "ocpp1.6"));
    let offline = |deployment: &Deployment, state: &str| {
        let path = format!("/api/v1/alerts?site=depot-7&name=ChargerOffline&state={state}");
        items(deployment, &path)
    };
    // The outage is ours, and the chargers do not come back: each is offline, and the site has not gone.
    let chargers = connect(&deployment);
    let online = "/api/v1/chargers?site=depot-7&online=true";
    assert!(until(WITHIN, || items(&deployment, online).len() == 3));
    deployment.kill();
    drop(chargers);
    deployment.restart();
    assert!(until(WITHIN, || offline(&deployment, "firing").len() == 3));
    let all = offline(&deployment, "firing");
    assert!(all.iter().all(|one| one["inhibited_by"].is_null()));
    assert_eq!(
        items(&deployment, "/api/v1/alerts?name=SiteOffline").len(),
        0
    );
    let chargers = connect(&deployment);
    assert!(until(WITHIN, || offline(&deployment, "resolved").len() == 3));

    assert!(until(WITHIN, || items(&deployment, online).len() == 3));
    drop(chargers);
    let page = alert(&deployment, "name=SiteOffline&state=firing&site=depot-7");
    assert_eq!(
        (&page["severity"], &page["subject"], &page["links"]["site"]),
        (
            &"page".into(),
            &"depot-7".into(),
            &"/api/v1/sites/depot-7".into()
        ),
        "{page:#}"
    );
    assert_eq!(
        page["summary"],
        "3 of 3 chargers of site depot-7 are offline: CP-1, CP-2, CP-3"
    );
    let are_explained = || {
        let all = offline(&deployment, "firing");
        all.len() == 3 && all.iter().all(|one| one["inhibited_by"] == "SiteOffline")
    };
    assert!(until(WITHIN, are_explained));
    let explained = offline(&deployment, "firing");
    let _chargers = connect(&deployment);
    alert(&deployment, "name=SiteOffline&state=resolved");
    let is_told = until(WITHIN, || {
        told(&deployment, &page) == ["alert.firing", "alert.resolved"]
    });
    assert!(is_told, "{:#?}", told(&deployment, &page));
    for one in explained {
        assert_eq!(told(&deployment, &one), [""; 0], "{one:#}");
    }
}

#[test]
fn webhooks_get_an_alert_and_its_end_although_their_receivers_failed_at_first() {
    let settings = SETTINGS.replace(
        "keep_firing_s = {",
        "keep_firing_s = { WebhookFailing = 0, WebhookSwitchedOff = 0,",
    );
    let settings = settings.replace("within_s = {", "within_s = { WebhookSwitchedOff = 20,");
    let deployment = Deployment::start(&format!("{settings}webhook_failing_s = 1\n{WEBHOOKS}"));
    let port = free_port();
    let refusing = Receiver::start();
    refusing.answer_with("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n");
    let add = |url: &str| -> String {
        let added = deployment.run("webhook add", &[url, "--type", "alert.*", "--json"]);
        let added: Value = serde_json::from_str(&added).expect("JSON");
        added["id"].as_str().expect("an id").to_owned()
    };
    let down = format!("http://127.0.0.1:{port}/hook");
    let ids = [add(&down), add(&refusing.url())];
    drop(Charger::connect(deployment.ocpp, "CP-1", "ocpp1.6"));
    let fires = alert(&deployment, "name=ChargerOffline&state=firing");
    let failing = || {
        let all = items(
            &deployment,
            "/api/v1/alerts?name=WebhookFailing&state=firing",
        );
        let mut subjects: Vec<String> = all
            .iter()
            .map(|one| one["subject"].as_str().expect("a subject").to_owned())
            .collect();
        subjects.sort();
        subjects
    };
    let mut both = ids.to_vec();
    both.sort();
    assert!(until(WITHIN, || failing() == both), "{:?}", failing());

    let started = Receiver::start_at(port);
    refusing.answer_with("HTTP/1.1 204 No Content\r\n\r\n");
    let _charger = Charger::connect(deployment.ocpp, "CP-1", "ocpp1.6");
    alert(&deployment, "name=ChargerOffline&state=resolved");
    for receiver in [&started, &refusing] {
        // What was refused comes again with the same id, and counts once.
        let told = || {
            let all: BTreeMap<String, String> = receiver
                .received()
                .iter()
                .filter(|message| message.event()["data"]["id"] == fires["id"])
                .map(|message| {
                    (
                        message.event()["id"].as_str().expect("an id").to_owned(),
                        message.kind(),
                    )
                })
                .collect();
            let mut kinds: Vec<String> = all.into_values().collect();
            kinds.sort();
            kinds
        };
        let is_told = until(WITHIN, || told() == ["alert.firing", "alert.resolved"]);
        assert!(is_told, "{:?}\n{}", told(), deployment.log_tail());
    }
    assert!(until(WITHIN, || failing().is_empty()), "{:?}", failing());
    // A receiver that is gone for good.
    refusing.answer_with("HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n");
    drop(Charger::connect(deployment.ocpp, "CP-2", "ocpp1.6"));
    alert(&deployment, "name=WebhookSwitchedOff&state=firing");
    alert(&deployment, "name=WebhookSwitchedOff&state=resolved");
}

#[test]
fn a_loop_of_kills_is_an_alert_and_a_stop_is_no_part_of_it() {
    let rules = |within_s: u32| {
        let settings = SETTINGS.replace("keep_firing_s = {", "keep_firing_s = { RestartLoop = 0,");
        format!("{settings}restarts = 2\nrestarts_within_s = {within_s}\n")
    };
    let mut deployment = Deployment::start(&rules(600));
    deployment.stop();
    deployment.restart();
    for _ in 0..3 {
        deployment.kill();
        deployment.restart();
    }
    // The evaluation goes on when the lease of a process that was killed has ended.
    let fires = alert(&deployment, "name=RestartLoop&state=firing");
    assert_eq!(fires["severity"], "page", "{fires:#}");
    let summary = fires["summary"].as_str().expect("a text");
    assert!(summary.contains(" was restarted 3 times "), "{summary}");
    // A stop gives the lease back; ten seconds is the least that can be set.
    deployment.stop();
    deployment.write_settings(&rules(10));
    deployment.restart();
    let ended = alert(&deployment, "name=RestartLoop&state=resolved");
    assert_eq!(ended["id"], fires["id"]);
}

#[test]
fn a_charger_that_is_silent_stuck_or_opened_is_told_until_it_is_not() {
    let settings = SETTINGS.replace("[policy]", "[policy]\nheartbeat_interval_s = 1");
    let settings = settings.replace(
        "keep_firing_s = {",
        "keep_firing_s = { ChargerSilent = 0, ConnectorStuck = 0,",
    );
    let settings = format!("{settings}charger_silent_s = 3\npreparing_s = 2\n");
    let deployment = Deployment::start(&settings);
    let mut charger = Charger::connect(deployment.ocpp, "CP-1", "ocpp1.6");
    let mut call = |id: &str, action: &str, payload: &str| {
        let answer = charger.call(id, action, payload);
        assert_eq!(answer[0], 3, "{answer}");
    };
    let status =
        |status: &str| format!(r#"{{"connectorId":1,"errorCode":"NoError","status":"{status}"}}"#);
    call("1", "StatusNotification", &status("Preparing"));
    let opened = r#"{"type":"TamperDetectionActivated","timestamp":"2026-01-31T12:00:00Z","techInfo":"door"}"#;
    call("2", "SecurityEventNotification", opened);
    let cleared = r#"{"type":"SecurityLogWasCleared","timestamp":"2026-01-31T12:00:00Z"}"#;
    call("2b", "SecurityEventNotification", cleared);
    let ticket = alert(
        &deployment,
        "name=SecurityEvent&state=firing&severity=ticket",
    );
    let security = alert(&deployment, "name=SecurityEvent&state=firing&severity=page");
    assert_eq!(
        (&security["severity"], &security["summary"]),
        (
            &"page".into(),
            &"CP-1 reports TamperDetectionActivated: door".into()
        ),
        "{security:#}"
    );
    let stuck = alert(&deployment, "name=ConnectorStuck&state=firing&charger=CP-1");
    assert_eq!(stuck["severity"], "ticket", "{stuck:#}");
    alert(&deployment, "name=ChargerSilent&state=firing&charger=CP-1");

    call("3", "Heartbeat", "{}");
    alert(&deployment, "name=ChargerSilent&state=resolved");
    call("4", "StatusNotification", &status("Available"));
    alert(&deployment, "name=ConnectorStuck&state=resolved");
    for event in [&security, &ticket] {
        let id = event["id"].as_str().expect("an id");
        deployment.run("alerts ack", &[id, "--note", "a technician"]);
    }
    for severity in ["page", "ticket"] {
        let ended = format!("name=SecurityEvent&state=resolved&severity={severity}");
        alert(&deployment, &ended);
    }
    let all = ["alert.firing", "alert.acknowledged", "alert.resolved"];
    assert!(until(WITHIN, || told(&deployment, &security) == all));
}

#[test]
fn boots_clocks_meters_and_transactions_that_go_wrong_are_told_until_they_are_right() {
    let settings = SETTINGS.replace("for_s = {", "for_s = { ChargerClockWrong = 0,");
    let settings = settings.replace(
        "keep_firing_s = {",
        "keep_firing_s = { BootLoop = 0, ChargerClockWrong = 0, TransactionStuck = 0, MeterNotMoving = 0,",
    );
    let settings = settings.replace("within_s = {", "within_s = { BootLoop = 10,");
    let settings =
        format!("{settings}boot_loop_boots = 1\ntransaction_silent_s = 4\nmeter_still_s = 1\n");
    let deployment = Deployment::start(&settings);
    let mut charger = Charger::connect(deployment.ocpp, "CP-1", "ocpp1.6");
    let mut number = 0;
    let mut call = |action: &str, payload: &str| -> Value {
        number += 1;
        let answer = charger.call(&number.to_string(), action, payload);
        assert_eq!(answer[0], 3, "{answer}");
        answer
    };
    let boot = r#"{"chargePointVendor":"V","chargePointModel":"M"}"#;
    call("BootNotification", boot);
    call("BootNotification", boot);
    alert(&deployment, "name=BootLoop&state=firing");
    let status = |at: &str| {
        format!(
            r#"{{"connectorId":1,"errorCode":"NoError","status":"Charging","timestamp":"{at}"}}"#
        )
    };
    call("StatusNotification", &status("2020-01-31T12:00:00Z"));
    alert(&deployment, "name=ChargerClockWrong&state=firing");
    let now = central::Timestamp(common::clock::now_ms());
    call("StatusNotification", &status(&now.to_string()));
    alert(&deployment, "name=ChargerClockWrong&state=resolved");

    let start = format!(r#"{{"connectorId":1,"idTag":"A","meterStart":0,"timestamp":"{now}"}}"#);
    let started = call("StartTransaction", &start);
    let transaction = started[2]["transactionId"].as_i64().expect("an id");
    let mut meter = |energy: u32| {
        let at = central::Timestamp(common::clock::now_ms());
        let values = format!(
            r#"{{"connectorId":1,"transactionId":{transaction},"meterValue":[{{"timestamp":"{at}","sampledValue":[{{"value":"{energy}"}}]}}]}}"#
        );
        call("MeterValues", &values);
    };
    let has =
        |parameters: &str| !items(&deployment, &format!("/api/v1/alerts?{parameters}")).is_empty();
    let is_told = until(WITHIN, || {
        meter(1);
        has("name=MeterNotMoving&state=firing")
    });
    assert!(is_told, "{:#?}", items(&deployment, "/api/v1/alerts"));
    let mut energy = 1;
    let is_over = until(WITHIN, || {
        energy += 1;
        meter(energy);
        has("name=MeterNotMoving&state=resolved")
    });
    assert!(is_over, "{:#?}", items(&deployment, "/api/v1/alerts"));
    alert(&deployment, "name=TransactionStuck&state=firing");
    let stop = format!(
        r#"{{"transactionId":{transaction},"meterStop":{energy},"timestamp":"{}"}}"#,
        central::Timestamp(common::clock::now_ms())
    );
    call("StopTransaction", &stop);
    alert(&deployment, "name=TransactionStuck&state=resolved");
    alert(&deployment, "name=BootLoop&state=resolved");
}

#[test]
fn strangers_wrong_passwords_and_a_lost_fleet_are_told_until_they_are_right() {
    const IDS: [&str; 3] = ["CP-1", "CP-2", "CP-3"];
    let settings = SETTINGS.replace("\"accept\"", "\"reject\"");
    let settings = settings.replace("for_s = {", "for_s = { FleetDrop = 0, WrongPasswords = 0,");
    let settings = settings.replace(
        "keep_firing_s = {",
        "keep_firing_s = { FleetDrop = 0, WrongPasswords = 0, WrongPassword = 0, UnknownCharger = 0,",
    );
    let settings = settings.replace(
        "within_s = {",
        "within_s = { WrongPassword = 20, WrongPasswords = 20,",
    );
    let settings = format!(
        "{settings}unknown_charger_refusals = 1\nwrong_password_refusals = 1\nfleet_min = 3\n"
    );
    let deployment = Deployment::start(&settings);
    deployment.run("charger add SAFE-1", &["--password", "correct horse"]);
    for id in IDS {
        deployment.run("charger add", &[id]);
    }
    let is_known = until(WITHIN, || {
        Charger::try_connect(deployment.ocpp, IDS[2], "ocpp1.6").is_ok()
    });
    assert!(is_known, "{}", deployment.log_tail());
    let wrong = "Authorization: Basic U0FGRS0xOm5vdCB0aGUgcGFzc3dvcmQ=\r\n";
    // More than one in five seconds; the time of each check is that of the machine.
    for _ in 0..8 {
        let refused = send_handshake(deployment.ocpp, "SAFE-1", "ocpp1.6", wrong);
        let (head, _) = refused.expect("connect and send");
        assert!(!head.starts_with("HTTP/1.1 101"), "{head}");
    }
    for _ in 0..3 {
        let refused = Charger::try_connect(deployment.ocpp, "NEW", "ocpp1.6");
        assert!(refused.is_err(), "it is not known");
    }
    for name in ["WrongPassword", "WrongPasswords"] {
        alert(&deployment, &format!("name={name}&state=firing"));
    }
    alert(&deployment, "name=UnknownCharger&charger=NEW&state=firing");
    deployment.run("charger add", &["NEW"]);
    let ended = "name=UnknownCharger&charger=NEW&state=resolved";
    alert(&deployment, ended);

    // It was connected for a moment only.
    alert(&deployment, "name=ChargerOffline&charger=CP-3&state=firing");
    let connect = || IDS.map(|id| Charger::connect(deployment.ocpp, id, "ocpp1.6"));
    let chargers = connect();
    let online = "/api/v1/chargers?online=true";
    assert!(until(WITHIN, || items(&deployment, online).len() == 3));
    // Reports of the process have the number.
    let is_reported = || deployment.metric("wattpost_gateway_connections") == 3.0;
    assert!(until(WITHIN, is_reported));
    // Only an evaluation that has seen them can miss them. This one ends a second after the first that has.
    alert(
        &deployment,
        "name=ChargerOffline&charger=CP-3&state=resolved",
    );
    drop(chargers);
    alert(&deployment, "name=FleetDrop&state=firing");
    let _chargers = connect();
    alert(&deployment, "name=FleetDrop&state=resolved");
    for name in ["WrongPassword", "WrongPasswords"] {
        alert(&deployment, &format!("name={name}&state=resolved"));
    }
}

#[test]
fn a_command_of_which_nobody_knows_whether_it_was_received_is_told_until_somebody_has_looked() {
    let deployment = Deployment::start(SETTINGS);
    let mut charger = Charger::connect(deployment.ocpp, "CP-1", "ocpp1.6");
    let boot = r#"{"chargePointVendor":"V","chargePointModel":"M"}"#;
    charger.call("1", "BootNotification", boot);
    let is_online = || {
        let (_, body) = deployment.get("/api/v1/chargers/CP-1");
        body.contains(r#""online":true"#)
    };
    assert!(until(WITHIN, is_online));
    let reset = r#"{"action":"Reset","payload":{"type":"Soft"}}"#;
    let path = "/api/v1/chargers/CP-1/commands";
    let key = "Idempotency-Key: 1\r\n";
    let sent = testbed::http::send(deployment.http, "POST", path, key, reset);
    let sent = sent.expect("an answer");
    assert_eq!(sent.0, 202, "{}", sent.1);
    // It has the command, and ends without an answer.
    let received = charger.receive();
    assert!(matches!(received, Incoming::Text(_)), "{received:?}");
    drop(charger);
    let uncertain = alert(&deployment, "name=CommandUncertain&state=firing");
    let id = uncertain["id"].as_str().expect("an id");
    deployment.run("alerts ack", &[id, "--note", "it has reset"]);
    alert(&deployment, "name=CommandUncertain&state=resolved");
}
