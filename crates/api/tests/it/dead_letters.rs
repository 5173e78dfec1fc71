//! Dead letters over HTTP: they are shown, tried again and discarded.

use crate::support::*;
use api::{Api, ApiDeps};
use central::ports::{DeadLetter, Store};
use central::project::Changes;
use central::record::gateway_started;
use central::{Epoch, GatewayId, RecordId, Seq, Timestamp};
use consumer::LetterRetry;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use uuid::Uuid;

const JSON: &str = "Content-Type: application/json";
const LETTERS: &str = "/api/v1/dead-letters";

fn id(seq: u64) -> RecordId {
    RecordId {
        gateway: GatewayId(Uuid::from_u128(0xfeed)),
        seq: Seq(seq),
    }
}

/// Letters 1 and 2 can be applied, 3 is no record.
async fn start_api() -> (Api, Arc<MemoryStore>) {
    let memory = Arc::new(MemoryStore::default());
    let letter = |seq, bytes: Vec<u8>, reason: &str| DeadLetter {
        id: id(seq),
        bytes,
        reason: reason.to_owned(),
    };
    let letters = [
        letter(1, gateway_started(Timestamp(9), Epoch(1)), "a bug"),
        letter(2, gateway_started(Timestamp(9), Epoch(2)), "a bug"),
        letter(3, b"no record".to_vec(), "record is damaged"),
    ];
    memory
        .apply(&[], &Changes::default(), &letters)
        .expect("memory");
    let deps = ApiDeps {
        dead_letters: Some(Arc::clone(&memory) as _),
        letter_retries: Some(Arc::new(LetterRetry {
            store: Arc::clone(&memory) as _,
            letters: Arc::clone(&memory) as _,
        })),
        ..deps(&Arc::new(MemoryRows::default()))
    };
    let api = Api::start(config(), deps).await.expect("the API starts");
    (api, memory)
}

async fn post(addr: SocketAddr, path: &str, headers: &[&str], body: &Value) -> Answer {
    let headers = [&[JSON], headers].concat();
    let target = format!("{LETTERS}/{path}");
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    send(addr, "POST", &target, &headers, &body).await
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.error().0)
}

fn pointer_of(answer: &Answer) -> Value {
    let problem: Value = serde_json::from_str(&answer.body).expect("JSON");
    problem["errors"][0]["pointer"].clone()
}

#[tokio::test]
async fn a_letter_is_shown_retried_and_discarded_by_its_record_id() {
    let (api, memory) = start_api().await;
    let addr = api.local_addr();
    let shown = get(addr, &format!("{LETTERS}/{}", id(3))).await;
    assert_eq!(shown.status, 200, "{}", shown.body);
    let shown = shown.json();
    assert_eq!(
        (&shown["state"], &shown["content"]),
        (&json!("waiting"), &json!("no record"))
    );

    let key = ["Idempotency-Key: k1"];
    let path = format!("{}/retry", id(1));
    let retried = post(addr, &path, &key, &Value::Null).await;
    let expected = json!({"dry_run": false, "applied": [id(1).to_string()], "still_dead": []});
    assert_eq!((retried.status, retried.json()), (200, expected.clone()));
    assert_eq!(memory.contents().records.len(), 1);
    assert_eq!(post(addr, &path, &key, &Value::Null).await.json(), expected);
    let again = post(addr, &path, &[], &Value::Null).await;
    assert_eq!(code(&again), (404, "unknown_dead_letter".to_owned()));

    let dead = post(addr, &format!("{}/retry", id(3)), &[], &Value::Null).await;
    let dead = dead.json();
    assert_eq!(dead["applied"], json!([]));
    let why = dead["still_dead"][0]["reason"].as_str().expect("words");
    assert!(why.contains("damaged"), "{why}");

    let path = format!("{}/discard", id(3));
    let reason = json!({"reason": " test data "});
    let discarded = post(addr, &path, &[], &reason).await;
    assert_eq!(discarded.json()["discarded"], json!([id(3).to_string()]));
    let again = post(addr, &path, &[], &reason).await;
    assert_eq!(code(&again), (409, "dead_letter_discarded".to_owned()));
    assert!(again.body.contains("without_key"), "{}", again.body);
    let shown = get(addr, &format!("{LETTERS}/{}", id(3))).await.json();
    assert_eq!(
        (&shown["state"], &shown["content"]),
        (&json!("discarded"), &Value::Null)
    );
    assert_eq!(shown["discarded"]["reason"], "test data");
}

#[tokio::test]
async fn letters_are_changed_by_filter_only_with_the_right_number() {
    let (api, memory) = start_api().await;
    let addr = api.local_addr();
    let filter = json!({"reason": "bug"});
    let dry = post(addr, "retry?dry_run=true", &[], &json!({"filter": {}})).await;
    let dry = dry.json();
    assert_eq!(
        (&dry["dry_run"], dry["applied"].as_array().map(Vec::len)),
        (&json!(true), Some(2))
    );
    assert_eq!(dry["still_dead"].as_array().map(Vec::len), Some(1));
    let body = json!({"filter": filter, "reason": "r"});
    let dry = post(addr, "discard?dry_run=true", &[], &body).await.json();
    assert_eq!(dry["discarded"].as_array().map(Vec::len), Some(2));
    assert_eq!(memory.contents().dead.len(), 3);

    for route in ["retry", "discard"] {
        let mut body = json!({"filter": filter, "expected": 3});
        if route == "discard" {
            body["reason"] = json!("r");
        }
        let other = post(addr, route, &[], &body).await;
        assert_eq!(code(&other), (409, "other_number".to_owned()));
        assert!(
            other.body.contains("2 dead letters match, not 3"),
            "{}",
            other.body
        );
    }
    let body = json!({"filter": filter, "expected": 2});
    let key = ["Idempotency-Key: k1"];
    let retried = post(addr, "retry", &key, &body).await;
    assert_eq!(retried.json()["applied"].as_array().map(Vec::len), Some(2));
    // Its repeat has the same answer, although no letter matches any more; another request has none.
    assert_eq!(
        post(addr, "retry", &key, &body).await.json(),
        retried.json()
    );
    let other = json!({"filter": {}, "expected": 2});
    let other = post(addr, "retry", &key, &other).await;
    assert_eq!(code(&other), (422, "idempotency_mismatch".to_owned()));
    let body = json!({"filter": {}, "expected": 1, "reason": "r"});
    let discarded = post(addr, "discard", &key[..0], &body).await;
    assert_eq!(discarded.json()["discarded"], json!([id(3).to_string()]));
    assert!(memory.contents().dead.is_empty());
}

#[tokio::test]
async fn a_member_or_an_id_that_is_not_valid_is_named() {
    let (api, memory) = start_api().await;
    let addr = api.local_addr();
    for (route, body, pointer) in [
        ("retry", json!({"expected": 3}), "/filter"),
        ("retry", json!({"filter": {}}), "/expected"),
        ("retry", json!({"filter": {}, "expected": -1}), "/expected"),
        (
            "retry",
            json!({"filter": {"state": "x"}, "expected": 3}),
            "/filter",
        ),
        (
            "retry",
            json!({"filter": {"from": "soon"}, "expected": 3}),
            "/filter",
        ),
        (
            "retry",
            json!({"filter": {"action": "Boot"}, "expected": 3}),
            "/filter",
        ),
        (
            "retry",
            json!({"filter": {"charger": ""}, "expected": 3}),
            "/filter",
        ),
        (
            "retry",
            json!({"filter": {}, "expected": 3, "reason": "r"}),
            "/reason",
        ),
        ("discard", json!({"filter": {}, "expected": 3}), "/reason"),
        (
            "discard",
            json!({"filter": {}, "expected": 3, "reason": "a\nb"}),
            "/reason",
        ),
    ] {
        let refused = post(addr, route, &[], &body).await;
        assert_eq!(
            code(&refused),
            (422, "payload_invalid".to_owned()),
            "{body}"
        );
        assert_eq!(pointer_of(&refused), pointer, "{body}");
    }
    let refused = post(addr, &format!("{}/discard", id(1)), &[], &json!({})).await;
    assert_eq!(pointer_of(&refused), "/reason");
    let upper = id(1).to_string().to_uppercase();
    for wrong in [
        upper.as_str(),
        "x/1",
        &format!("{}/01", id(1).gateway),
        "%22/1",
    ] {
        let refused = get(addr, &format!("{LETTERS}/{wrong}")).await;
        assert_eq!(code(&refused), (400, "bad_record_id".to_owned()), "{wrong}");
    }
    assert_eq!(memory.contents().dead.len(), 3);
}
