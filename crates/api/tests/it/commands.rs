//! Commands to chargers over HTTP.

use crate::support::*;
use api::Api;
use central::ports::{ClusterEvent, ClusterEvents};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

const COMMANDS: &str = "/api/v1/chargers/CP-1/commands";
const JSON: &str = "Content-Type: application/json";

async fn start_api() -> Api {
    let store = Arc::new(MemoryRows {
        chargers: vec![charger("CP-1", true)],
        ..MemoryRows::default()
    });
    start(config(), &store).await
}

async fn post(addr: SocketAddr, key: &str, body: &str) -> Answer {
    let key = format!("Idempotency-Key: {key}");
    send(addr, "POST", COMMANDS, &[JSON, &key], body).await
}

const RESET: &str = r#"{"action": "reset", "payload": {"type": "Soft"}}"#;

#[tokio::test]
async fn a_command_is_queued_listed_and_cancelled() {
    let api = start_api().await;
    let addr = api.local_addr();
    let queued = post(addr, "k-1", RESET).await;
    assert_eq!(queued.status, 202, "{}", queued.body);
    let view = queued.json();
    assert_eq!(
        (&view["state"], &view["action"]),
        (&"queued".into(), &"Reset".into())
    );
    let address = queued.header("location").expect("an address").to_owned();
    assert_eq!(get(addr, &address).await.json(), view);
    let list = get(addr, "/api/v1/commands?queued=true&charger=cp-1")
        .await
        .json();
    assert_eq!(list["items"][0], view);
    assert_eq!(
        get(addr, "/api/v1/commands?action=GetConfiguration")
            .await
            .json()["items"],
        serde_json::json!([])
    );

    let cancelled = request(addr, "DELETE", &address).await;
    assert_eq!(cancelled.json()["outcome"]["reason"], "cancelled");
    let again = request(addr, "DELETE", &address).await;
    assert_eq!(
        (again.status, again.error().0.as_str()),
        (409, "already_sent")
    );
}

#[tokio::test]
async fn a_repeat_with_the_same_idempotency_key_sends_nothing_again() {
    let api = start_api().await;
    let addr = api.local_addr();
    let first = post(addr, "k-1", RESET).await.json();
    assert_eq!(post(addr, "k-1", RESET).await.json()["id"], first["id"]);
    assert_ne!(post(addr, "k-2", RESET).await.json()["id"], first["id"]);
    let other = post(addr, "k-1", r#"{"action": "ClearCache"}"#).await;
    assert_eq!(
        (other.status, other.error().0.as_str()),
        (422, "idempotency_mismatch")
    );
}

#[tokio::test]
async fn a_payload_that_breaks_the_schema_of_the_chargers_version_is_not_sent() {
    let api = start_api().await;
    let broken = post(
        api.local_addr(),
        "k",
        r#"{"action": "Reset", "payload": {"type": 7}}"#,
    )
    .await;
    assert_eq!(broken.status, 200);
    let outcome = &broken.json()["outcome"];
    assert_eq!(outcome["class"], "not_sent");
    assert_eq!(outcome["reason"], "not_supported_by_charger");
    assert!(
        outcome["detail"]
            .as_str()
            .is_some_and(|text| text.contains("/type")),
        "{outcome}"
    );
}

#[tokio::test]
async fn a_request_that_is_no_command_is_refused_with_the_cure() {
    let api = start_api().await;
    let addr = api.local_addr();
    let long = format!(
        r#"{{"action": "Reset", "payload": {{"type": "{}"}}}}"#,
        "x".repeat(300_000)
    );
    for (body, status, code, part) in [
        ("", 400, "bad_json", "cannot be read"),
        ("[]", 400, "bad_json", "cannot be read"),
        (r#"{"actoin": "Reset"}"#, 400, "bad_json", "actoin"),
        (r#"{"action": "Rest"}"#, 422, "payload_invalid", "Rest"),
        (
            r#"{"action": "Reset", "payload": []}"#,
            422,
            "payload_invalid",
            "JSON object",
        ),
        (
            r#"{"action": "Reset", "expires_at": "soon"}"#,
            422,
            "payload_invalid",
            "expires_at",
        ),
        (
            r#"{"action": "Reset", "answer_within_ms": 1}"#,
            422,
            "payload_invalid",
            "1000",
        ),
        (&long, 413, "body_too_large", "bytes"),
    ] {
        let answer = post(addr, "k", body).await;
        let (found, detail) = answer.error();
        assert_eq!((answer.status, found.as_str()), (status, code), "{detail}");
        assert!(detail.contains(part), "{detail}");
    }
    let missing = send(addr, "POST", COMMANDS, &[JSON], RESET).await;
    assert_eq!(
        (missing.status, missing.error().0.as_str()),
        (400, "no_idempotency_key")
    );
    let text = ["Content-Type: text/plain", "Idempotency-Key: k"];
    let text = send(addr, "POST", COMMANDS, &text, RESET).await;
    assert_eq!((text.status, text.error().0.as_str()), (415, "not_json"));
    let page = [JSON, "Idempotency-Key: k", "Origin: https://example.org"];
    let page = send(addr, "POST", COMMANDS, &page, RESET).await;
    assert_eq!((page.status, page.error().0.as_str()), (401, "no_key"));
    let headers = [JSON, "Idempotency-Key: k"];
    let unknown = send(
        addr,
        "POST",
        "/api/v1/chargers/CP-9/commands",
        &headers,
        RESET,
    )
    .await;
    assert_eq!(
        (unknown.status, unknown.error().0.as_str()),
        (404, "unknown_charger")
    );
    for id in ["17", "00000000-0000-7000-8000-000000000001"] {
        for method in ["GET", "DELETE"] {
            let answer = request(addr, method, &format!("/api/v1/commands/{id}")).await;
            assert_eq!(
                (answer.status, answer.error().0.as_str()),
                (404, "unknown_command")
            );
        }
    }
}

#[tokio::test]
async fn a_request_waits_for_the_outcome_as_long_as_it_prefers() {
    let api = start_api().await;
    let addr = api.local_addr();
    let began = std::time::Instant::now();
    let headers = [JSON, "Idempotency-Key: k", "Prefer: wait=1"];
    let answer = send(addr, "POST", COMMANDS, &headers, RESET).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.header("preference-applied"), Some("wait=1"));
    assert!(began.elapsed() >= std::time::Duration::from_secs(1));
    let address = answer.header("location").expect("an address").to_owned();
    let waiting = tokio::spawn({
        let address = format!("{address}?wait=20");
        async move { get(addr, &address).await }
    });
    request(addr, "DELETE", &address).await;
    assert_eq!(waiting.await.expect("no panic").json()["state"], "done");
    let wrong = get(addr, &format!("{address}?wait=61")).await;
    assert_eq!(
        (wrong.status, wrong.error().0.as_str()),
        (400, "bad_parameter")
    );
}

type OnEvent = Box<dyn Fn(ClusterEvent) + Send + Sync>;

#[derive(Default)]
struct Events {
    published: Mutex<Vec<ClusterEvent>>,
    subscribers: Mutex<Vec<OnEvent>>,
}

impl ClusterEvents for Events {
    fn publish(&self, event: ClusterEvent) {
        self.published.lock().expect("not poisoned").push(event);
    }

    fn subscribe(&self, on_event: OnEvent) {
        self.subscribers
            .lock()
            .expect("not poisoned")
            .push(on_event);
    }
}

#[tokio::test]
async fn gateways_are_told_of_a_new_command_once() {
    let events = Arc::new(Events::default());
    let store = Arc::new(MemoryRows {
        chargers: vec![charger("CP-1", true)],
        ..MemoryRows::default()
    });
    let deps = api::ApiDeps {
        events: Some(Arc::clone(&events) as _),
        ..deps(&store)
    };
    let api = Api::start(config(), deps).await.expect("it starts");
    assert_eq!(events.subscribers.lock().expect("not poisoned").len(), 1);
    for _ in 0..2 {
        let headers = [JSON, "Idempotency-Key: k"];
        let answer = send(api.local_addr(), "POST", COMMANDS, &headers, RESET).await;
        assert_eq!(answer.status, 202);
    }
    let charger_id = "CP-1".to_owned();
    assert_eq!(
        *events.published.lock().expect("not poisoned"),
        [ClusterEvent::CommandsWaiting { charger_id }]
    );
}

#[tokio::test]
async fn sending_and_cancelling_need_the_scope_operate() {
    use central::model::Scope;
    let keys = Arc::new(MemoryKeys::default());
    let read = format!("Authorization: Bearer {}", keys.add("r", Scope::Read, None));
    let operate = format!(
        "Authorization: Bearer {}",
        keys.add("o", Scope::Operate, None)
    );
    let store = Arc::new(MemoryRows {
        chargers: vec![charger("CP-1", true)],
        ..MemoryRows::default()
    });
    let deps = api::ApiDeps {
        keys: Some(keys),
        ..deps(&store)
    };
    let api = Api::start(config(), deps).await.expect("it starts");
    let addr = api.local_addr();
    let queued = send(
        addr,
        "POST",
        COMMANDS,
        &[JSON, "Idempotency-Key: k", &operate],
        RESET,
    )
    .await;
    assert_eq!(
        (queued.status, queued.json()["by"].as_str()),
        (202, Some("o"))
    );
    let address = queued.header("location").expect("an address").to_owned();
    for (method, target) in [("POST", COMMANDS), ("DELETE", address.as_str())] {
        let refused = send(
            addr,
            method,
            target,
            &[JSON, "Idempotency-Key: x", &read],
            "",
        )
        .await;
        assert_eq!(
            (refused.status, refused.error().0.as_str()),
            (403, "scope_missing")
        );
    }
    assert_eq!(get_with(addr, &address, &[&read]).await.status, 200);
}

#[tokio::test]
async fn a_client_that_does_not_send_its_body_is_answered_in_time() {
    let store = Arc::new(MemoryRows {
        chargers: vec![charger("CP-1", true)],
        ..MemoryRows::default()
    });
    let config = api::ApiConfig {
        request_timeout_ms: 300,
        ..config()
    };
    let api = start(config, &store).await;
    let mut client = Client::connect(api.local_addr()).await;
    let head = format!(
        "POST {COMMANDS} HTTP/1.1\r\nHost: test\r\nIdempotency-Key: k\r\n{JSON}\r\nContent-Length: 100\r\n\r\n{{"
    );
    client.send(head.as_bytes()).await;
    let answer = client.answer().await;
    assert_eq!(
        (answer.status, answer.error().0.as_str()),
        (408, "body_timeout")
    );
}
