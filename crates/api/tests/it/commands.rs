//! Commands to chargers over HTTP.

use crate::support::*;
use api::Api;
use central::ports::{ClusterEvent, ClusterEvents, CommandQueue, DatabaseClock};
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

/// What made the first request valid may have changed when it is repeated, because its answer was lost.
#[tokio::test]
async fn a_repeat_has_the_first_command_also_when_the_request_is_no_longer_valid() {
    let commands = Arc::new(central::memory::MemoryStore::default());
    let start_with = async |chargers, transactions| {
        let store = Arc::new(MemoryRows {
            chargers,
            transactions,
            ..MemoryRows::default()
        });
        let deps = api::ApiDeps {
            commands: Some(Arc::clone(&commands) as _),
            ..deps(&store)
        };
        Api::start(config(), deps).await.expect("it starts")
    };
    let stop = async |api: &Api| {
        let key = [JSON, "Idempotency-Key: k-1"];
        send(
            api.local_addr(),
            "POST",
            "/api/v1/chargers/CP-1/stop",
            &key,
            "{}",
        )
        .await
    };
    let open = vec![transaction("CP-1", 1, true)];
    let first = stop(&start_with(vec![charger("CP-1", true)], open).await).await;
    assert_eq!(first.status, 202, "{}", first.body);
    let ended = start_with(vec![charger("CP-1", true)], Vec::new()).await;
    let repeated = stop(&ended).await;
    assert_eq!(repeated.json()["id"], first.json()["id"]);
    let other = "/api/v1/chargers/CP-1/clear-cache";
    let other = send(
        ended.local_addr(),
        "POST",
        other,
        &[JSON, "Idempotency-Key: k-1"],
        "{}",
    )
    .await;
    assert_eq!(other.error().0, "idempotency_mismatch");
}

#[tokio::test]
async fn a_payload_of_firmware_with_members_of_its_own_is_stored_without_the_check() {
    let api = start_api().await;
    let addr = api.local_addr();
    let own = r#"{"action": "Reset", "payload": {"type": "Soft", "vendorDelayS": 5}}"#;
    let unchecked = async |key: &str, body: &str| {
        let target = format!("{COMMANDS}?check=off");
        let key = format!("Idempotency-Key: {key}");
        send(addr, "POST", &target, &[JSON, &key], body).await
    };
    assert_eq!(post(addr, "k-1", own).await.error().0, "payload_invalid");
    let queued = unchecked("k-1", own).await;
    assert_eq!(queued.status, 202, "{}", queued.body);
    let view = queued.json();
    assert_eq!(view["check"], "off");
    assert_eq!(view["payload"]["vendorDelayS"], 5);
    assert_eq!(unchecked("k-1", own).await.json()["id"], view["id"]);
    // The same key and body with the check are another request.
    let other = post(addr, "k-1", own).await;
    assert_eq!(other.error().0, "idempotency_mismatch");
    assert_eq!(post(addr, "k-2", RESET).await.json()["check"], "on");
    for (body, code) in [
        (r#"{"action": "Teleport"}"#, "payload_invalid"),
        (r#"{"action": "SetVariables"}"#, "not_supported_by_charger"),
        (r#"{"action": "Reset", "payload": [1]}"#, "payload_invalid"),
        ("{", "bad_json"),
    ] {
        assert_eq!(unchecked("k-3", body).await.error().0, code, "{body}");
    }
    let wrong = format!("{COMMANDS}?check=no");
    let wrong = send(addr, "POST", &wrong, &[JSON, "Idempotency-Key: k"], own).await;
    assert_eq!(wrong.error().0, "bad_parameter");
}

#[tokio::test]
async fn a_command_has_the_traceparent_of_its_request() {
    let api = start_api().await;
    let addr = api.local_addr();
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let traced = async |target: &str, key: &str, traces: &[&str], body: &str| {
        let key = format!("Idempotency-Key: {key}");
        let traces = traces.iter().map(|text| format!("Traceparent: {text}"));
        let headers: Vec<String> = traces.chain([JSON.to_owned(), key]).collect();
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let answer = send(addr, "POST", target, &headers, body).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        answer.json()
    };
    let first = traced(COMMANDS, "k-1", &[trace], RESET).await;
    assert_eq!(first["traceparent"], trace);
    let unlock = "/api/v1/chargers/CP-1/clear-cache";
    assert_eq!(
        traced(unlock, "k-2", &[trace], "{}").await["traceparent"],
        trace
    );
    // A repeat shows the trace of the request that was stored.
    let other = trace.replace('4', "5");
    assert_eq!(
        traced(COMMANDS, "k-1", &[&other], RESET).await["traceparent"],
        trace
    );
    let malformed: [&[&str]; 4] = [&[], &["00-0-0-00"], &[&trace[1..]], &[trace, &other]];
    for (number, traces) in malformed.into_iter().enumerate() {
        let view = traced(COMMANDS, &format!("m-{number}"), traces, RESET).await;
        assert!(view["traceparent"].is_null(), "{traces:?}");
    }
}

#[tokio::test]
async fn a_payload_that_breaks_the_schema_of_the_chargers_version_is_refused_with_each_place() {
    let api = start_api().await;
    let addr = api.local_addr();
    let broken = r#"{"action": "Reset", "payload": {"type": 7, "now": true}}"#;
    let broken = post(addr, "k", broken).await;
    assert_eq!(
        (broken.status, broken.error().0.as_str()),
        (422, "payload_invalid")
    );
    let errors = broken.value()["errors"].clone();
    let places: Vec<_> = errors.as_array().expect("a list").iter().collect();
    assert_eq!(places.len(), 2, "{errors}");
    for (pointer, code) in [("/payload/type", "type"), ("/payload/now", "extra")] {
        assert!(
            places
                .iter()
                .any(|one| one["pointer"] == pointer && one["code"] == code),
            "{errors}"
        );
    }
    let other = post(addr, "k", r#"{"action": "SetVariables"}"#).await;
    assert_eq!(
        (other.status, other.error().0.as_str()),
        (422, "not_supported_by_charger")
    );
    assert_eq!(other.value()["errors"][0]["pointer"], "/action");
    // Nothing was stored, so the key can still be used.
    assert_eq!(post(addr, "k", RESET).await.status, 202);
}

#[tokio::test]
async fn a_charger_that_no_gateway_has_is_answered_with_409_and_the_address_of_the_command() {
    use central::ports::CommandQueue;
    let store = Arc::new(MemoryRows {
        chargers: vec![charger("CP-1", false)],
        ..MemoryRows::default()
    });
    let memory = Arc::new(central::memory::MemoryStore::default());
    let deps = api::ApiDeps {
        commands: Some(Arc::clone(&memory) as _),
        ..deps(&store)
    };
    let api = Api::start(config(), deps).await.expect("it starts");
    let addr = api.local_addr();
    let request = tokio::spawn(async move { post(addr, "k", RESET).await });
    // Nobody claims it; the gateways and the API end it when its time has passed.
    let later = central::Timestamp(common::clock::now_ms() + 60_000);
    until("the command is queued", || {
        memory.expire(later, 10).expect("the memory store answers") > 0
    })
    .await;
    let answer = request.await.expect("no panic");
    assert_eq!(
        (answer.status, answer.error().0.as_str()),
        (409, "charger_offline")
    );
    let address = answer.value()["command"]
        .as_str()
        .expect("an address")
        .to_owned();
    let view = get(addr, &address).await.json();
    assert_eq!(view["outcome"]["reason"], "charger_offline");
    // The repeat of the request finds the same command.
    let again = post(addr, "k", RESET).await;
    assert_eq!(
        (again.status, &again.value()["command"]),
        (409, &address.into())
    );

    let headers = [JSON, "Idempotency-Key: k-2", "Prefer: respond-async"];
    let at_once = send(addr, "POST", COMMANDS, &headers, RESET).await;
    assert_eq!(at_once.status, 202);
    assert_eq!(at_once.header("preference-applied"), Some("respond-async"));
}

#[tokio::test]
async fn actions_are_listed_by_version_with_their_schemas() {
    let api = start_api().await;
    let addr = api.local_addr();
    let all = get(addr, "/api/v1/actions").await.json();
    assert_eq!(all["items"].as_array().map(Vec::len), Some(39 + 64 + 91));
    let commands = "/api/v1/actions?version=1.6&sent_by=central_system";
    let commands = get(addr, commands).await.json();
    assert_eq!(commands["items"].as_array().map(Vec::len), Some(26));
    let mut largest = 0;
    // Crate `ocpp` tests each schema.
    for item in all["items"].as_array().expect("a list").iter().step_by(13) {
        let (version, action) = (&item["ocpp_version"], &item["action"]);
        let (version, action) = (
            version.as_str().expect("text"),
            action.as_str().expect("text"),
        );
        let one = get(addr, &format!("/api/v1/actions/{version}/{action}")).await;
        let value = one.json();
        for schema in [&value["request_schema"], &value["response_schema"]] {
            if !schema.is_null() {
                jsonschema::draft202012::new(schema).expect("a schema");
            }
        }
        assert_eq!(value["profile"], item["profile"]);
        largest = largest.max(one.body.len());
    }
    assert!(largest < 64 * 1_024, "{largest}");
    for unknown in ["1.6/SetVariables", "1.5/Reset", "2.1/Rest"] {
        let answer = get(addr, &format!("/api/v1/actions/{unknown}")).await;
        assert_eq!(
            (answer.status, answer.error().0.as_str()),
            (404, "unknown_action")
        );
    }
    let wrong = get(addr, "/api/v1/actions?version=1.5").await;
    assert_eq!(wrong.error().0, "bad_parameter");
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

async fn post_to(addr: SocketAddr, path: &str, key: &str, body: &str) -> Answer {
    let key = format!("Idempotency-Key: {key}");
    send(addr, "POST", path, &[JSON, &key], body).await
}

#[tokio::test]
async fn an_operation_becomes_a_command_of_the_chargers_version() {
    let store = Arc::new(MemoryRows {
        chargers: vec![charger("CP-1", true)],
        connectors: vec![connector("CP-1", 1)],
        transactions: vec![transaction("CP-1", 7, true)],
        ..MemoryRows::default()
    });
    let api = start(config(), &store).await;
    let addr = api.local_addr();
    for (at, operation) in central::operation::Operation::ALL.into_iter().enumerate() {
        let path = format!("/api/v1/chargers/CP-1/{}", operation.as_str());
        // Each route exists, is documented, and reads its body.
        let unknown = post_to(addr, &path, &format!("u-{at}"), r#"{"nonsense": 1}"#).await;
        assert_eq!(
            (unknown.status, unknown.error().0.as_str()),
            (422, "payload_invalid"),
            "{path}"
        );
        assert_eq!(unknown.value()["errors"][0]["pointer"], "/nonsense");
    }
    let start = "/api/v1/chargers/CP-1/start";
    let made = post_to(addr, start, "k-1", r#"{"token": "AB", "evse": 7}"#).await;
    assert_eq!(made.status, 202, "{}", made.body);
    let command = made.json();
    assert_eq!(command["action"], "RemoteStartTransaction");
    assert_eq!(command["payload"]["connectorId"], 7);
    let warning = command["warnings"][0].as_str().unwrap_or_default();
    assert!(warning.contains("has reported 1"), "{command}");
    let again = post_to(addr, start, "k-1", r#"{"token": "AB", "evse": 7}"#).await;
    assert_eq!(again.json()["id"], command["id"]);

    let refused = post_to(
        addr,
        start,
        "k-2",
        r#"{"token": "AB", "token_type": "eMAID"}"#,
    )
    .await;
    assert_eq!(
        (refused.status, refused.error().0.as_str()),
        (422, "not_supported_by_charger")
    );
    assert_eq!(refused.value()["errors"][0]["pointer"], "/token_type");
    let body = r#"{"when_offline": "later"}"#;
    let refused = post_to(addr, "/api/v1/chargers/CP-1/reset", "k-3", body).await;
    assert_eq!(refused.value()["errors"][0]["pointer"], "/when_offline");
    let late = post_to(
        addr,
        "/api/v1/chargers/CP-1/reset",
        "k-4",
        r#"{"answer_within_ms": 5}"#,
    )
    .await;
    assert_eq!(late.value()["errors"][0]["pointer"], "/answer_within_ms");
    let empty = post_to(addr, "/api/v1/chargers/CP-1/clear-cache", "k-5", "").await;
    assert_eq!(
        (empty.status, &empty.json()["action"]),
        (202, &"ClearCache".into())
    );
}

#[tokio::test]
async fn a_stop_finds_the_only_open_transaction() {
    let (mut ended, open) = (transaction("CP-1", 6, false), transaction("CP-1", 7, true));
    ended.transaction_id = "6".to_owned();
    let (ended_key, open_key) = (ended.key, open.key);
    let open_id: i64 = open.transaction_id.parse().expect("a number");
    let one = Arc::new(MemoryRows {
        chargers: vec![charger("CP-1", true)],
        transactions: vec![ended.clone(), open.clone()],
        ..MemoryRows::default()
    });
    let api = start(config(), &one).await;
    let addr = api.local_addr();
    let stop = "/api/v1/chargers/CP-1/stop";
    let by_key = |key| format!("/api/v1/transactions/{key}/stop");
    for (at, path) in [stop.to_owned(), by_key(open_key)].iter().enumerate() {
        let stopped = post_to(addr, path, &format!("k-{at}"), "{}").await;
        assert_eq!(stopped.status, 202, "{}", stopped.body);
        let command = stopped.json();
        assert_eq!(command["action"], "RemoteStopTransaction");
        assert_eq!(command["payload"]["transactionId"], open_id);
    }
    let unknown = uuid::Uuid::from_u128(99);
    for (path, status, code) in [
        (by_key(ended_key), 409, "transaction_ended"),
        (by_key(unknown), 404, "unknown_transaction"),
        (
            "/api/v1/transactions/7/stop".to_owned(),
            400,
            "bad_transaction_key",
        ),
    ] {
        let refused = post_to(addr, &path, "k", "{}").await;
        assert_eq!((refused.status, refused.error().0.as_str()), (status, code));
    }

    let mut second = transaction("CP-1", 8, true);
    second.transaction_id = "8".to_owned();
    for (open, code) in [
        (vec![ended], "no_open_transaction"),
        (vec![open, second], "several_transactions"),
    ] {
        let rows = Arc::new(MemoryRows {
            chargers: vec![charger("CP-1", true)],
            transactions: open,
            ..MemoryRows::default()
        });
        let api = start(config(), &rows).await;
        let refused = post_to(api.local_addr(), stop, "k", "{}").await;
        assert_eq!((refused.status, refused.error().0.as_str()), (409, code));
    }
}

#[tokio::test]
async fn a_list_by_hand_is_refused_while_a_wish_for_a_local_list_holds_for_the_charger() {
    let lists = Arc::new(MemoryStore::default());
    let store = Arc::new(MemoryRows {
        chargers: vec![charger("CP-1", true)],
        ..MemoryRows::default()
    });
    let deps = api::ApiDeps {
        local_lists: Some(Arc::clone(&lists) as _),
        ..deps(&store)
    };
    let api = Api::start(config(), deps).await.expect("it starts");
    let addr = api.local_addr();
    let list =
        r#"{"action": "sendlocallist", "payload": {"listVersion": 3, "updateType": "Full"}}"#;
    assert_eq!(post(addr, "free", list).await.status, 202);
    for (wish, key) in [("local-lists/cp-1", "own"), ("local-list-default", "all")] {
        let wish = format!("/api/v1/{wish}");
        let set = send(addr, "PUT", &wish, &[JSON], r#"{"tokens": "none"}"#).await;
        assert_eq!(set.status, 200, "{}", set.body);
        let refused = post(addr, key, list).await;
        assert_eq!(
            (refused.status, refused.error().0.as_str()),
            (409, "local_list_kept")
        );
        let key = format!("Idempotency-Key: operation {key}");
        let operation = "/api/v1/chargers/CP-1/local-list";
        let body = r#"{"version": 3, "update": "full"}"#;
        let refused = send(addr, "POST", operation, &[JSON, &key], body).await;
        assert_eq!(refused.error().0, "local_list_kept");
        // Other commands are sent, and a repeat gets its command.
        assert_eq!(post(addr, &key[17..], RESET).await.status, 202);
        assert_eq!(post(addr, "free", list).await.status, 202);
        assert_eq!(send(addr, "DELETE", &wish, &[], "").await.status, 204);
    }
    assert_eq!(post(addr, "free again", list).await.status, 202);
}

/// A gateway judges the times, and has the database's clock as its measure too.
#[tokio::test]
async fn the_times_of_a_command_are_of_the_database_and_not_of_this_machine() {
    for ahead in [600_000, -600_000] {
        let memory = Arc::new(central::memory::MemoryStore::default());
        memory.set_clock_ahead_ms(ahead);
        let time = || memory.time().expect("it answers");
        let store = Arc::new(MemoryRows {
            chargers: vec![charger("CP-1", true)],
            ..MemoryRows::default()
        });
        let deps = api::ApiDeps {
            commands: Some(Arc::clone(&memory) as _),
            ..deps(&store)
        };
        let api = Api::start(config(), deps).await.expect("it starts");
        let addr = api.local_addr();
        // `fail`: five seconds from now by the database's clock.
        let queued = post(addr, "k-1", RESET).await;
        assert_eq!(queued.status, 202, "{}", queued.body);
        let before = memory.expire(time(), 10).expect("it answers");
        assert_eq!(before, 0, "{ahead}: its time has not passed");
        let address = queued.header("location").expect("an address").to_owned();
        assert_eq!(get(addr, &address).await.json()["state"], "queued");
        let after = memory.expire(time().plus_millis(5_001), 10);
        assert_eq!(
            after.expect("it answers"),
            1,
            "{ahead}: its time has passed"
        );
        // `wait`: a minute from now by that clock.
        let wait = |at: central::Timestamp| {
            format!(
                r#"{{"action": "Reset", "payload": {{"type": "Soft"}}, "when_offline": "wait", "expires_at": "{at}"}}"#
            )
        };
        let waits = post(addr, "k-2", &wait(time().plus_millis(60_000))).await;
        assert_eq!(waits.status, 202, "{ahead}: {}", waits.body);
        let past = post(addr, "k-3", &wait(time().plus_millis(-60_000))).await;
        assert_eq!(past.status, 422, "{ahead}: {}", past.body);
        let address = waits.header("location").expect("an address").to_owned();
        let cancelled = request(addr, "DELETE", &address).await;
        assert_eq!(cancelled.json()["outcome"]["reason"], "cancelled");
    }
}
