//! Adding, changing and removing chargers over HTTP.

use crate::support::*;
use api::{Api, ApiDeps};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;

const CHARGERS: &str = "/api/v1/chargers";
const ONE: &str = "/api/v1/chargers/CP-1";
const JSON: &str = "Content-Type: application/json";
const MERGE_PATCH: &str = "Content-Type: application/merge-patch+json";

async fn start_api() -> Api {
    let store = Arc::new(MemoryRows {
        chargers: vec![charger("CP-9", true)],
        ..MemoryRows::default()
    });
    start(config(), &store).await
}

async fn add(addr: SocketAddr, body: &Value) -> Answer {
    send(addr, "POST", CHARGERS, &[JSON], &body.to_string()).await
}

async fn patch(addr: SocketAddr, tag: &str, body: &str) -> Answer {
    let tag = format!("If-Match: {tag}");
    send(addr, "PATCH", ONE, &[MERGE_PATCH, &tag], body).await
}

fn tag(answer: &Answer) -> String {
    answer.header("etag").expect("a tag").to_owned()
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.error().0)
}

#[tokio::test]
async fn a_charger_is_added_shown_changed_and_removed() {
    let api = start_api().await;
    let addr = api.local_addr();
    let added = add(addr, &json!({"charger_id": "CP-1", "check": "strict"})).await;
    assert_eq!(added.status, 201, "{}", added.body);
    assert_eq!(added.header("location"), Some(ONE));
    let shown = get(addr, ONE).await;
    assert_eq!((shown.json(), tag(&shown)), (added.json(), tag(&added)));
    assert_eq!(shown.json()["settings"]["admission"], "accepted");
    assert_eq!(
        get(addr, CHARGERS).await.json()["items"][0]["charger_id"],
        "CP-1"
    );
    let again = add(addr, &json!({"charger_id": "cp-1"})).await;
    assert_eq!(code(&again), (409, "charger_exists".to_owned()));

    let change =
        r#"{"admission": "pending", "check": null, "frame_bytes_max": 4096, "close_style": "tcp"}"#;
    let changed = patch(addr, &tag(&shown), change).await;
    let settings = changed.json()["settings"].clone();
    assert_eq!(settings["admission"], "pending");
    assert_eq!(
        (
            &settings["check"],
            &settings["frame_bytes_max"],
            &settings["close_style"]
        ),
        (&Value::Null, &json!(4096), &json!("tcp"))
    );
    assert_ne!(tag(&changed), tag(&shown));

    let removed = request(addr, "DELETE", ONE).await;
    assert_eq!((removed.status, removed.body.as_str()), (204, ""));
    assert_eq!(get(addr, ONE).await.status, 404);
    assert_eq!(request(addr, "DELETE", ONE).await.status, 404);
}

#[tokio::test]
async fn a_change_needs_the_version_that_the_client_knows() {
    let api = start_api().await;
    let addr = api.local_addr();
    let first = tag(&add(addr, &json!({"charger_id": "CP-1"})).await);
    let rejected = r#"{"admission": "rejected"}"#;
    let missing = send(addr, "PATCH", ONE, &[MERGE_PATCH], rejected).await;
    assert_eq!(code(&missing), (428, "if_match_required".to_owned()));
    let second = tag(&patch(addr, &first, rejected).await);
    let stale = patch(addr, &first, "{}").await;
    assert_eq!(code(&stale), (412, "etag_mismatch".to_owned()));
    // Only the version counts, not the live state that the rest of the tag stands for.
    let version = second.split('.').next().expect("a version");
    assert_eq!(
        patch(addr, &format!("{version}.other\""), "{}")
            .await
            .status,
        200
    );
    assert_eq!(patch(addr, "*", "{}").await.status, 200);
    let unquoted = patch(addr, "1", "{}").await;
    assert_eq!(code(&unquoted), (400, "bad_if_match".to_owned()));
    let stale = format!("If-Match: {first}");
    let stale = send(addr, "DELETE", ONE, &[&stale], "").await;
    assert_eq!(code(&stale), (412, "etag_mismatch".to_owned()));
    assert_eq!(
        get(addr, ONE).await.json()["settings"]["admission"],
        "rejected"
    );
}

#[tokio::test]
async fn a_charger_that_connected_without_being_added_has_no_settings_to_change() {
    let store = Arc::new(MemoryRows {
        chargers: vec![charger("CP-8", false), charger("CP-9", true)],
        ..MemoryRows::default()
    });
    let api = start(config(), &store).await;
    let addr = api.local_addr();
    let known = "/api/v1/chargers/CP-9";
    assert_eq!(get(addr, known).await.json()["settings"], Value::Null);
    let headers = [MERGE_PATCH, "If-Match: *"];
    let refused = send(addr, "PATCH", known, &headers, "{}").await;
    let (found, detail) = refused.error();
    assert_eq!((refused.status, found.as_str()), (404, "unknown_charger"));
    assert!(detail.contains("POST /api/v1/chargers"), "{detail}");
    assert_eq!(add(addr, &json!({"charger_id": "CP-9"})).await.status, 201);
    assert_eq!(request(addr, "DELETE", known).await.status, 204);
    // Its history stays, with who removed it. It is connected, so it is listed.
    let shown = get(addr, known).await.json();
    assert_eq!(shown["settings"], Value::Null);
    assert!(shown["removed_at"].is_string());
    assert_eq!(shown["removed_by"]["kind"], "without_key");
    let listed = |query: &str| {
        let path = format!("{CHARGERS}{query}");
        async move {
            let answer = get(addr, &path).await.json();
            answer["items"].as_array().expect("items").len()
        }
    };
    assert_eq!((listed("").await, listed("?removed=true").await), (2, 1));
    // One that is not connected is listed only on request.
    let away = "/api/v1/chargers/CP-8";
    assert_eq!(add(addr, &json!({"charger_id": "CP-8"})).await.status, 201);
    assert_eq!(request(addr, "DELETE", away).await.status, 204);
    assert_eq!((listed("").await, listed("?removed=all").await), (1, 2));
    // Whoever connected next with its identity would get the command.
    let command = r#"{"action":"Reset","payload":{"type":"Soft"},"when_offline":"wait"}"#;
    let headers = ["Content-Type: application/json", "Idempotency-Key: 1"];
    for (route, body) in [("commands", command), ("reset", "{}")] {
        let refused = send(addr, "POST", &format!("{away}/{route}"), &headers, body).await;
        let (found, detail) = refused.error();
        assert_eq!((refused.status, found.as_str()), (404, "unknown_charger"));
        assert!(detail.contains("was removed"), "{detail}");
    }
    assert_eq!(listed("?removed=true").await, 2);
    assert_eq!(add(addr, &json!({"charger_id": "CP-8"})).await.status, 201);
    assert_eq!(get(addr, away).await.json()["removed_at"], Value::Null);
    assert_eq!(
        get(addr, &format!("{CHARGERS}?removed=no")).await.status,
        400
    );
}

#[tokio::test]
async fn every_fault_of_a_body_is_named() {
    let api = start_api().await;
    let addr = api.local_addr();
    let body = json!({"charger_id": "a/b", "admission": "maybe", "frame_bytes_max": 9, "close_style": "polite", "colour": "x"});
    let refused = add(addr, &body).await;
    assert_eq!(code(&refused), (422, "payload_invalid".to_owned()));
    let faults = refused.value()["errors"].clone();
    let pointers: Vec<&str> = faults
        .as_array()
        .expect("faults")
        .iter()
        .map(|fault| fault["pointer"].as_str().expect("a pointer"))
        .collect();
    assert_eq!(
        pointers,
        [
            "/charger_id",
            "/admission",
            "/close_style",
            "/frame_bytes_max",
            "/colour"
        ]
    );
    let missing = add(addr, &json!({})).await;
    assert!(missing.error().1.contains("charger_id is missing"));
    let list = send(addr, "POST", CHARGERS, &[JSON], "[]").await;
    assert_eq!(code(&list), (400, "bad_json".to_owned()));
    let plain = send(addr, "POST", CHARGERS, &["Content-Type: text/plain"], "{}").await;
    assert_eq!(code(&plain), (415, "not_json".to_owned()));
    let headers = [JSON, "If-Match: *"];
    let plain = send(addr, "PATCH", ONE, &headers, "{}").await;
    assert_eq!(code(&plain), (415, "not_merge_patch".to_owned()));
    let parameter = send(addr, "POST", "/api/v1/chargers?force=1", &[JSON], "{}").await;
    assert_eq!(code(&parameter), (400, "unknown_parameter".to_owned()));
}

#[tokio::test]
async fn a_repeat_with_the_same_idempotency_key_adds_nothing_again() {
    let api = start_api().await;
    let addr = api.local_addr();
    let headers = [JSON, "Idempotency-Key: k-1"];
    let body = r#"{"charger_id": "CP-1"}"#;
    let first = send(addr, "POST", CHARGERS, &headers, body).await;
    let again = send(addr, "POST", CHARGERS, &headers, body).await;
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!(again.json(), first.json());
    let other = send(
        addr,
        "POST",
        CHARGERS,
        &headers,
        r#"{"charger_id": "CP-2"}"#,
    )
    .await;
    assert_eq!(code(&other), (422, "idempotency_mismatch".to_owned()));
    let empty = send(addr, "POST", CHARGERS, &[JSON, "Idempotency-Key: "], body).await;
    assert_eq!(code(&empty), (400, "no_idempotency_key".to_owned()));
}

#[tokio::test]
async fn a_web_page_without_a_key_changes_nothing() {
    let api = start_api().await;
    let addr = api.local_addr();
    add(addr, &json!({"charger_id": "CP-1"})).await;
    let page = "Origin: https://example.org";
    for (method, target) in [("POST", CHARGERS), ("PATCH", ONE), ("DELETE", ONE)] {
        let refused = send(addr, method, target, &[JSON, page], "{}").await;
        assert_eq!(code(&refused), (401, "no_key".to_owned()), "{method}");
    }
    assert_eq!(get(addr, ONE).await.status, 200);
}

/// The password is sent to the charger; no answer has it.
#[tokio::test]
async fn a_password_is_changed_at_the_charger_once_at_a_time() {
    let api = start_api().await;
    let addr = api.local_addr();
    let path = "/api/v1/chargers/CP-9/password";
    let put = async |body: &str| send(addr, "PUT", path, &[JSON], body).await;
    assert_eq!(get(addr, path).await.status, 404);
    assert_eq!(code(&put("{}").await), (404, "unknown_charger".to_owned()));
    let known = json!({"charger_id": "CP-9", "password": "the-old-password"});
    let added = add(addr, &known).await;
    assert_eq!(added.json()["settings"]["has_password"], true);
    assert_eq!(get(addr, path).await.json()["state"], "none");
    let cancel = async || request(addr, "DELETE", path).await;
    assert_eq!(
        code(&cancel().await),
        (409, "no_password_change".to_owned())
    );

    for wrong in [
        json!({"password": "short"}),
        json!({"password": "twenty-one-characters"}),
        json!({"password": 7}),
        json!({"secret": "0123456789abcdef"}),
        json!({"when_offline": "later"}),
        json!({"expires_at": "2020-01-01T00:00:00Z"}),
    ] {
        let refused = put(&wrong.to_string()).await;
        assert_eq!(refused.status, 422, "{wrong}: {}", refused.body);
        assert!(!refused.body.contains("twenty-one"), "{}", refused.body);
    }
    let begun = put(r#"{"password": "0123456789abcdef"}"#).await;
    assert_eq!(begun.status, 202, "{}", begun.body);
    assert_eq!(begun.header("location"), Some(path));
    assert!(!begun.body.contains("0123456789abcdef"), "{}", begun.body);
    assert_eq!(begun.json()["charger_id"], "CP-9");
    let again = put("{}").await;
    assert_eq!(code(&again), (409, "password_change_open".to_owned()));
    assert_eq!(cancel().await.status, 204);
    assert_eq!(get(addr, path).await.json()["state"], "cancelled");
    assert_eq!(put("{}").await.status, 202);
}

#[tokio::test]
async fn a_file_of_chargers_is_judged_imported_once_and_shows_no_password() {
    const IMPORT: &str = "/api/v1/chargers/import";
    const CSV: &str = "Content-Type: text/csv";
    let deps = ApiDeps {
        keys: Some(Arc::new(MemoryKeys::default())),
        ..deps(&Arc::new(MemoryRows::default()))
    };
    let api = Api::start(config(), deps).await.expect("it starts");
    until_heard(&api).await;
    let addr = api.local_addr();
    let bad = "charger_id,password,site\nCP-1,hunter2,\nCP-2,,nowhere\n";
    let verdicts = send(addr, "POST", &format!("{IMPORT}?dry_run=true"), &[CSV], bad).await;
    let outcome = |line: usize| verdicts.json()["lines"][line]["outcome"].clone();
    assert_eq!(
        (outcome(0), outcome(1)),
        (json!("refused"), json!("refused"))
    );
    let refused = send(addr, "POST", IMPORT, &[CSV], bad).await;
    assert_eq!(refused.status, 422, "{}", refused.body);
    let pointers: Vec<_> = (0..2)
        .map(|n| refused.value()["errors"][n]["pointer"].clone())
        .collect();
    assert_eq!(pointers, ["/line 2 password", "/line 3 site"]);
    assert!(!format!("{}{}", verdicts.body, refused.body).contains("hunter2"));

    let good = "charger_id,admission,password,label,frame_bytes_max\nCP-1,pending,hunter2hunter2,\"North, gate\",65536\nCP-2,,,,\n";
    let imported = send(addr, "POST", IMPORT, &[CSV], good).await;
    assert_eq!(
        (imported.status, &imported.json()["created"]),
        (200, &json!(2)),
        "{}",
        imported.body
    );
    let again = send(addr, "POST", IMPORT, &[CSV], good).await;
    assert_eq!(again.json()["unchanged"], 2, "{}", again.body);
    let ndjson = "Content-Type: application/x-ndjson";
    let line = r#"{"charger_id": "cp-2", "frame_bytes_max": 8192}"#;
    let changed = send(addr, "POST", IMPORT, &[ndjson], line).await;
    assert_eq!(
        changed.json()["lines"][0]["changes"],
        json!(["charger_id", "frame_bytes_max"])
    );
    let media = send(
        addr,
        "POST",
        IMPORT,
        &["Content-Type: application/json"],
        "{}",
    )
    .await;
    assert_eq!(media.status, 415, "{}", media.body);
}
