//! A stop with hours of readings arrives, and an operator can let in one that is over the limit.

use crate::charger::{Charger, Incoming};
use crate::deployment::{Deployment, Role, TIMEOUT, until};
use serde_json::Value;
use std::fmt::Write as _;

/// A JSON list of at least `bytes` bytes with one reading for each second.
fn readings(bytes: usize) -> String {
    let mut list = String::with_capacity(bytes + 200);
    let mut second = 0;
    while list.len() < bytes {
        let (hour, minute) = (second / 3_600, second / 60 % 60);
        let (day, hour) = (1 + hour / 24, hour % 24);
        let separator = if second == 0 { '[' } else { ',' };
        write!(
            list,
            r#"{separator}{{"timestamp":"2026-01-{day:02}T{hour:02}:{minute:02}:{:02}Z","sampledValue":[{{"value":"{second}"}}]}}"#,
            second % 60,
        )
        .expect("a String takes it");
        second += 1;
    }
    list.push(']');
    list
}

/// Sends the start of a session; returns the number of the transaction.
fn start(charger: &mut Charger) -> i64 {
    let payload =
        r#"{"connectorId":1,"idTag":"TAG-1","meterStart":0,"timestamp":"2026-01-01T00:00:00Z"}"#;
    let answer = charger.call("start", "StartTransaction", payload);
    answer[2]["transactionId"].as_i64().expect("a number")
}

fn stop(transaction: i64, bytes: usize) -> String {
    format!(
        r#"{{"transactionId":{transaction},"meterStop":99999,"timestamp":"2026-01-31T00:00:00Z","transactionData":{}}}"#,
        readings(bytes)
    )
}

/// The stop is in the database as it was sent, its session has ended, and the API shows both.
fn assert_stored(deployment: &Deployment, api: &Role, identity: &str, action: &str, payload: &str) {
    let sent: Value = serde_json::from_str(payload).expect("JSON");
    let is_it = |message: &Value| {
        message["charger_id"] == identity
            && message["action"] == action
            && message["payload"] == sent
    };
    let stored = || deployment.export("messages").iter().any(is_it);
    assert!(until(TIMEOUT, stored), "the {action} is not stored");
    let exported = deployment.export("transactions");
    let session = exported.iter().find(|row| row["charger_id"] == identity);
    let session = session.expect("a session");
    assert_eq!(session["ended_at"], "2026-01-31T00:00:00.000Z", "{session}");
    let (status, body) = api.get(&format!("/api/v1/transactions?charger={identity}"));
    let shown: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(
        (status, shown["items"].as_array().map(Vec::len)),
        (200, Some(1)),
        "{body}"
    );
    assert!(body.contains("2026-01-31T00:00:00.000Z"), "{body}");
    let (status, body) = api.get(&format!(
        "/api/v1/messages?charger={identity}&action={action}"
    ));
    let shown: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(status, 200);
    assert!(
        shown["items"]
            .as_array()
            .is_some_and(|rows| rows.iter().any(is_it))
    );
}

#[test]
fn a_stop_of_1_3_megabytes_arrives_under_the_default_settings() {
    let deployment = Deployment::new("");
    let gateway = deployment.start("gateway", "gateway");
    let _consumer = deployment.start("consumer", "consumer");
    let api = deployment.start("api", "api");
    assert!(until(TIMEOUT, || gateway.is_up("rabbitmq")));
    let mut charger = Charger::connect(gateway.ocpp, "LONG-1", "ocpp1.6");
    let stop = stop(start(&mut charger), 1_300_000);
    let answer = charger.call("stop", "StopTransaction", &stop);
    assert_eq!(answer[0], 3, "{answer}");
    charger.call("after", "Heartbeat", "{}");
    assert_stored(&deployment, &api, "LONG-1", "StopTransaction", &stop);
    deployment.wait_for_stored("Heartbeat", 1);
}

/// Sends a stop that is over the limit, raises the limit by the command that the log names, and sends it again.
#[test]
fn a_stop_over_the_limit_arrives_once_an_operator_has_raised_the_limit_of_its_charger() {
    let deployment = Deployment::new("[gateway]\ndirectory_refresh_s = 1");
    let gateway = deployment.start("gateway", "gateway");
    let _consumer = deployment.start("consumer", "consumer");
    let api = deployment.start("api", "api");
    assert!(until(TIMEOUT, || gateway.is_up("rabbitmq")));
    let mut charger = Charger::connect(gateway.ocpp, "LONG-5", "ocpp1.6");
    let stop = stop(start(&mut charger), 5_000_000);
    let event = format!(
        r#"{{"eventType":"Ended","timestamp":"2026-01-31T00:00:00Z","triggerReason":"EVDeparted","seqNo":1,"transactionInfo":{{"transactionId":"T-1","stoppedReason":"Local"}},"evse":{{"id":1,"connectorId":1}},"meterValue":{}}}"#,
        readings(5_000_000)
            .replace(r#""value":""#, r#""value":"#)
            .replace(r#""}]"#, "}]")
    );
    let mut v201 = Charger::connect(gateway.ocpp, "LONG-201", "ocpp2.0.1");
    let started = r#"{"eventType":"Started","timestamp":"2026-01-01T00:00:00Z","triggerReason":"Authorized","seqNo":0,"transactionInfo":{"transactionId":"T-1"},"evse":{"id":1,"connectorId":1}}"#;
    v201.call("start", "TransactionEvent", started);
    drop(v201);

    let all = [
        ("LONG-5", "ocpp1.6", "StopTransaction", &stop),
        ("LONG-201", "ocpp2.0.1", "TransactionEvent", &event),
    ];
    for (identity, subprotocol, action, payload) in all {
        let call = format!(r#"[2,"stop","{action}",{payload}]"#);
        let try_once = || {
            let mut charger = Charger::connect(gateway.ocpp, identity, subprotocol);
            charger.send(&call);
            (charger.receive(), charger)
        };
        let (refused, _) = try_once();
        assert!(
            matches!(refused, Incoming::Close(1009) | Incoming::End),
            "{refused:?}"
        );
        let cure = format!("wattpost charger set {identity} --frame-bytes-max 8MiB");
        let is_line = |line: &str| {
            line.contains("WARN")
                && line.contains("message over the limit")
                && line.contains(&cure)
                && line.contains("bytes_max=2097152")
        };
        assert!(
            until(TIMEOUT, || gateway.log().lines().any(is_line)),
            "no line with {cure}"
        );

        let said = deployment.run("charger set", &[identity, "--frame-bytes-max", "8MiB"]);
        assert!(said.contains("messages of up to 8 MiB"), "{said}");
        let mut delivered = None;
        assert!(until(TIMEOUT, || {
            if let (Incoming::Text(answer), charger) = try_once() {
                assert!(answer.starts_with(r#"[3,"stop","#), "{answer}");
                delivered = Some(charger);
            }
            delivered.is_some()
        }));
        // The same connection goes on, and so does the next one.
        let mut charger = delivered.expect("it is there");
        charger.call("after", "Heartbeat", "{}");
        drop(charger);
        Charger::connect(gateway.ocpp, identity, subprotocol).call("later", "Heartbeat", "{}");
        assert_stored(&deployment, &api, identity, action, payload);
        let said = deployment.run("charger set", &[identity, "--frame-bytes-max", "default"]);
        assert!(!said.contains("messages of up to"), "{said}");
    }
    deployment.wait_for_stored("Heartbeat", 4);
    let (_, body) = api.get("/api/v1/dead-letters");
    let letters: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(letters["items"].as_array().map(Vec::len), Some(0), "{body}");
}
