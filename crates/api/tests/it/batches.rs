//! Batches over HTTP, with the driver of the process.

use crate::support::*;
use central::Timestamp;
use central::model::{Actor, ActorKind, BatchId, BatchPlan, BatchWork, Origin, WhenOffline};
use central::ports::{Batches, ChangeRequest, CommandQueue, NewBatch};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

const BATCHES: &str = "/api/v1/batches";
const JSON: &str = "Content-Type: application/json";

fn rows(chargers: usize) -> Arc<MemoryRows> {
    Arc::new(MemoryRows {
        chargers: (0..chargers)
            .map(|at| charger(&format!("CP-{at:03}"), at % 2 == 0))
            .collect(),
        ..MemoryRows::default()
    })
}

async fn start_over(chargers: usize) -> (api::Api, Arc<MemoryStore>) {
    let memory = Arc::new(MemoryStore::default());
    let deps = api::ApiDeps {
        commands: Some(Arc::clone(&memory) as _),
        batches: Some(Arc::clone(&memory) as _),
        ..deps(&rows(chargers))
    };
    let api = api::Api::start(config(), deps).await.expect("it starts");
    (api, memory)
}

async fn create(addr: SocketAddr, key: &str, body: &str) -> Answer {
    let key = format!("Idempotency-Key: {key}");
    send(addr, "POST", BATCHES, &[JSON, &key], body).await
}

/// The batch once it is as wanted.
async fn until(addr: SocketAddr, address: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let batch = get(addr, address).await.json();
        if is_wanted(&batch) {
            return batch;
        }
        assert!(Instant::now() < deadline, "{batch:#}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Ends every queued command as not sent.
fn expire(memory: &MemoryStore) {
    let later = central::Timestamp(common::clock::now_ms() + 60_000);
    memory
        .expire(later, 1_000)
        .expect("the memory store answers");
}

#[tokio::test]
async fn a_batch_starts_as_many_commands_as_its_pace_permits_and_halts_at_its_stop_rule() {
    let (api, memory) = start_over(6).await;
    let addr = api.local_addr();
    let body = r#"{"operation": "reset", "filter": {"q": "CP-"}, "at_once": 2, "per_second": 200,
        "stop_after_failures": 2}"#;
    let created = create(addr, "k", body).await;
    assert_eq!(created.status, 201, "{}", created.body);
    let address = created.header("location").expect("an address").to_owned();
    assert_eq!(created.json()["total"], 6);
    let again = create(addr, "k", body).await;
    assert_eq!(again.json()["id"], created.json()["id"]);
    let other = create(addr, "k", r#"{"operation": "clear-cache", "filter": {}}"#).await;
    assert_eq!(
        (other.status, other.error().0.as_str()),
        (422, "idempotency_mismatch")
    );

    until(addr, &address, |batch| batch["counts"]["started"] == 2).await;
    expire(&memory);
    let halted = until(addr, &address, |batch| batch["state"] == "halted").await;
    assert_eq!(halted["counts"]["failed"], 2, "{halted}");
    assert_eq!(halted["counts"]["pending"], 4);
    let failed = get(addr, &format!("{address}/items?state=failed"))
        .await
        .json();
    assert_eq!(failed["items"].as_array().map(Vec::len), Some(2));
    assert_eq!(failed["items"][0]["command"]["action"], "Reset");
    assert_eq!(failed["items"][0]["detail"], "not sent: charger_offline");

    let resume = format!("{address}/resume");
    assert_eq!(
        send(addr, "POST", &resume, &[], "").await.json()["state"],
        "running"
    );
    until(addr, &address, |batch| batch["counts"]["started"] == 2).await;
    let cancel = format!("{address}/cancel");
    assert_eq!(send(addr, "POST", &cancel, &[], "").await.status, 200);
    let ended = until(addr, &address, |batch| batch["counts"]["started"] == 0).await;
    assert_eq!(ended["counts"]["not_started"], 2, "{ended}");
    let late = send(addr, "POST", &resume, &[], "").await;
    assert_eq!((late.status, late.error().0.as_str()), (409, "batch_ended"));
    let list = get(addr, BATCHES).await.json();
    assert_eq!(list["items"][0]["id"], created.json()["id"]);
    let commands = get(addr, "/api/v1/commands").await.json();
    assert_eq!(commands["items"].as_array().map(Vec::len), Some(4));
}

#[tokio::test]
async fn a_batch_that_this_version_cannot_carry_out_is_halted_and_holds_up_no_other() {
    let (api, memory) = start_over(2).await;
    let addr = api.local_addr();
    let newer = NewBatch {
        id: BatchId(common::id::new_v7()),
        plan: BatchPlan {
            work: BatchWork::Operation {
                operation: "of-a-newer-version".to_owned(),
                parameters: serde_json::Map::new(),
            },
            at_once: 1,
            per_second: 1,
            stop_after_failures: None,
            stop_at_failed_percent: None,
            when_offline: WhenOffline::Fail,
            answer_within_ms: 1_000,
            expires_at: Timestamp(common::clock::now_ms() + 60_000),
            traceparent: None,
        },
        chargers: vec!["CP-000".to_owned()],
        request: ChangeRequest::of(Origin {
            at: Timestamp(common::clock::now_ms()),
            by: Actor {
                kind: ActorKind::ApiKey,
                name: Some("k".to_owned()),
            },
            from: String::new(),
            request_id: None,
            traceparent: None,
        }),
    };
    memory.create_batch(&newer).expect("it is stored");
    let body = r#"{"action": "ClearCache", "filter": {}}"#;
    let other = create(addr, "k", body).await;
    let other = other.header("location").expect("an address").to_owned();
    until(addr, &other, |batch| batch["counts"]["started"] == 2).await;
    let newer = format!("{BATCHES}/{}", newer.id);
    let halted = until(addr, &newer, |batch| batch["state"] == "halted").await;
    assert_ne!(halted["detail"], "", "{halted}");
}

#[tokio::test]
async fn a_dry_run_shows_what_each_charger_would_get_and_creates_nothing() {
    let (api, _) = start_over(3).await;
    let addr = api.local_addr();
    let target = format!("{BATCHES}?dry_run=true");
    let body = r#"{"operation": "start", "parameters": {"token": "A", "token_type": "eMAID"},
        "chargers": ["cp-002", "CP-000"]}"#;
    let dry = send(addr, "POST", &target, &[JSON], body).await.json();
    assert_eq!((&dry["total"], &dry["refused"]), (&2.into(), &2.into()));
    assert_eq!(dry["chargers"][0]["charger_id"], "CP-002");
    let problem = dry["chargers"][0]["problem"].as_str().unwrap_or_default();
    assert!(problem.contains("/token_type"), "{dry}");
    let online = r#"{"action": "ClearCache", "filter": {"online": true, "ocpp_version": "1.6"}}"#;
    let dry = send(addr, "POST", &target, &[JSON], online).await.json();
    assert_eq!((&dry["total"], &dry["refused"]), (&2.into(), &0.into()));
    assert_eq!(dry["chargers"][1]["action"], "ClearCache");
    assert_eq!(
        get(addr, BATCHES).await.json()["items"],
        serde_json::json!([])
    );
}

#[tokio::test]
async fn a_batch_that_makes_no_sense_is_refused_with_its_place() {
    let (api, _) = start_over(1).await;
    let addr = api.local_addr();
    for (body, pointer) in [
        (r#"{"filter": {}}"#, "/action"),
        (r#"{"action": "ClearCache"}"#, "/filter"),
        (r#"{"action": "Teleport", "filter": {}}"#, "/action"),
        (r#"{"operation": "fly", "filter": {}}"#, "/operation"),
        (
            r#"{"operation": "start", "filter": {}}"#,
            "/parameters/token",
        ),
        (
            r#"{"action": "ClearCache", "chargers": ["CP-9"]}"#,
            "/chargers/0",
        ),
        (
            r#"{"action": "ClearCache", "chargers": ["CP-000", "cp-000"]}"#,
            "/chargers",
        ),
        (r#"{"action": "ClearCache", "filter": {"q": "none"}}"#, ""),
        (
            r#"{"action": "ClearCache", "filter": {"colour": "red"}}"#,
            "/filter",
        ),
        (
            r#"{"action": "ClearCache", "filter": {}, "at_once": 0}"#,
            "/at_once",
        ),
        (
            r#"{"action": "ClearCache", "filter": {}, "at_twice": 1}"#,
            "/at_twice",
        ),
        (
            r#"{"action": "ClearCache", "filter": {}, "expires_at": "2020-01-01T00:00:00Z"}"#,
            "/expires_at",
        ),
    ] {
        let refused = create(addr, "k", body).await;
        assert_eq!(
            (refused.status, refused.error().0.as_str()),
            (422, "payload_invalid"),
            "{body}"
        );
        assert_eq!(refused.value()["errors"][0]["pointer"], pointer, "{body}");
    }
    let body = r#"{"action": "ClearCache", "filter": {}}"#;
    let missing = send(addr, "POST", BATCHES, &[JSON], body).await;
    assert_eq!(missing.error().0, "no_idempotency_key");
}

#[tokio::test]
async fn a_repeated_request_for_a_batch_gets_the_first_one_also_when_it_would_no_longer_be_valid() {
    let (api, _) = start_over(2).await;
    let addr = api.local_addr();
    let soon = Timestamp(common::clock::now_ms() + 700);
    let body = format!(r#"{{"action": "ClearCache", "filter": {{}}, "expires_at": "{soon}"}}"#);
    let first = create(addr, "k", &body).await;
    assert_eq!(first.status, 201, "{}", first.body);
    let address = first.header("location").expect("an address").to_owned();
    until(addr, &address, |batch| batch["counts"]["pending"] == 0).await;
    crate::support::until("the time of expiry", || {
        Timestamp(common::clock::now_ms()) > soon
    })
    .await;
    let late = create(addr, "late", &body).await;
    assert_eq!(late.status, 422, "{}", late.body);
    let repeated = create(addr, "k", &body).await;
    assert_eq!(repeated.status, 201, "{}", repeated.body);
    assert_eq!(repeated.json()["id"], first.json()["id"]);
}

#[tokio::test]
async fn a_repeated_request_to_pause_a_batch_does_not_undo_a_later_one_to_resume_it() {
    let (api, _) = start_over(2).await;
    let addr = api.local_addr();
    let body = r#"{"action": "ClearCache", "filter": {}, "per_second": 1, "when_offline": "wait"}"#;
    let created = create(addr, "k", body).await;
    let address = created.header("location").expect("an address").to_owned();
    let change = async |what: &str, key: &str| {
        let key = format!("Idempotency-Key: {key}");
        send(addr, "POST", &format!("{address}/{what}"), &[&key], "").await
    };
    let state = |answer: Answer| answer.json()["state"].clone();
    assert_eq!(state(change("pause", "p").await), "paused");
    assert_eq!(state(change("resume", "r").await), "running");
    assert_eq!(state(change("pause", "p").await), "running");
    let other = change("cancel", "p").await;
    assert_eq!(
        (other.status, other.error().0.as_str()),
        (422, "idempotency_mismatch")
    );
}
