//! Closing transactions over HTTP.

use crate::support::*;
use api::{Api, ApiDeps};
use central::Timestamp;
use central::model::Scope;
use common::clock::now_ms;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use uuid::Uuid;

const JSON: &str = "Content-Type: application/json";

/// Transaction 1 is open and silent, 2 has ended, 3 is open with a message of now.
async fn start_api(keys: Option<Arc<MemoryKeys>>) -> Api {
    let mut recent = transaction("CP-1", 3, true);
    recent.last_at = Some(Timestamp(now_ms()));
    let store = Arc::new(MemoryRows {
        transactions: vec![
            transaction("CP-1", 1, true),
            transaction("CP-1", 2, false),
            recent,
        ],
        ..MemoryRows::default()
    });
    let deps = ApiDeps {
        keys: keys.map(|keys| keys as _),
        ..deps(&store)
    };
    Api::start(config(), deps).await.expect("the API starts")
}

fn path(number: u128) -> String {
    format!("/api/v1/transactions/{}/close", Uuid::from_u128(number))
}

async fn close(addr: SocketAddr, number: u128, headers: &[&str], body: &Value) -> Answer {
    let headers = [&[JSON], headers].concat();
    send(addr, "POST", &path(number), &headers, &body.to_string()).await
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.error().0)
}

#[tokio::test]
async fn a_transaction_is_closed_once_and_its_repeat_has_the_same_answer() {
    let api = start_api(None).await;
    let addr = api.local_addr();
    let body = json!({"reason": " replaced ", "at": "2026-02-01T00:00:00Z"});
    let key = ["Idempotency-Key: k1"];
    let closed = close(addr, 1, &key, &body).await;
    assert_eq!(closed.status, 200, "{}", closed.body);
    let view = closed.json();
    assert_eq!(
        (&view["open"], &view["ended_at"]),
        (&json!(false), &Value::Null)
    );
    let by = &view["closed"];
    assert_eq!(
        (&by["by"], &by["who"], &by["reason"], &by["at"]),
        (
            &json!("person"),
            &json!("without_key"),
            &json!("replaced"),
            &json!("2026-02-01T00:00:00.000Z")
        )
    );
    assert_eq!(close(addr, 1, &key, &body).await.json(), view);
    let other = close(addr, 1, &key, &json!({"reason": "other"})).await;
    assert_eq!(code(&other), (422, "idempotency_mismatch".to_owned()));
    let again = close(addr, 1, &[], &body).await;
    assert_eq!(code(&again), (409, "transaction_ended".to_owned()));
    let shown = get(addr, &path(1).replace("/close", "")).await;
    assert_eq!(shown.json(), view);
}

#[tokio::test]
async fn a_transaction_that_has_ended_may_run_or_is_not_known_is_not_closed() {
    let api = start_api(None).await;
    let addr = api.local_addr();
    let body = json!({"reason": "replaced"});
    for (number, status, expected) in [
        (2, 409, "transaction_ended"),
        (3, 409, "transaction_may_run"),
        (9, 404, "unknown_transaction"),
    ] {
        let refused = close(addr, number, &[], &body).await;
        assert_eq!(code(&refused), (status, expected.to_owned()), "{number}");
    }
    let forced = json!({"reason": "replaced", "force": true});
    assert_eq!(close(addr, 3, &[], &forced).await.status, 200);
    let headers = [JSON];
    let bad = "/api/v1/transactions/x/close";
    let bad = send(addr, "POST", bad, &headers, &body.to_string()).await;
    assert_eq!(code(&bad), (400, "bad_transaction_key".to_owned()));
}

#[tokio::test]
async fn a_member_that_is_not_valid_is_named() {
    let api = start_api(None).await;
    let addr = api.local_addr();
    for (body, pointer) in [
        (json!({}), "/reason"),
        (json!({"reason": "  "}), "/reason"),
        (json!({"reason": "a\nb"}), "/reason"),
        (json!({"reason": "x".repeat(1_001)}), "/reason"),
        (json!({"reason": "r", "at": "yesterday"}), "/at"),
        (json!({"reason": "r", "at": "2999-01-01T00:00:00Z"}), "/at"),
        (json!({"reason": "r", "at": "2001-01-01T00:00:00Z"}), "/at"),
        (json!({"reason": "r", "force": "yes"}), "/force"),
        (json!({"reason": "r", "who": "bob"}), "/who"),
    ] {
        let refused = close(addr, 1, &[], &body).await;
        assert_eq!(
            code(&refused),
            (422, "payload_invalid".to_owned()),
            "{body}"
        );
        assert_eq!(refused.value()["errors"][0]["pointer"], pointer, "{body}");
    }
    assert_eq!(
        close(addr, 1, &[], &json!({"reason": "r"})).await.status,
        200
    );
}

#[tokio::test]
async fn closing_needs_the_scope_operate_and_shows_the_name_of_the_key() {
    let keys = Arc::new(MemoryKeys::default());
    let read = keys.add("grafana", Scope::Read, None);
    let operate = keys.add("backoffice", Scope::Operate, None);
    let api = start_api(Some(keys)).await;
    let addr = api.local_addr();
    let body = json!({"reason": "replaced"});
    let bearer = |secret: &str| format!("Authorization: Bearer {secret}");
    let refused = close(addr, 1, &[&bearer(&read)], &body).await;
    assert_eq!(code(&refused), (403, "scope_missing".to_owned()));
    let closed = close(addr, 1, &[&bearer(&operate)], &body).await;
    assert_eq!(closed.status, 200, "{}", closed.body);
    assert_eq!(closed.json()["closed"]["who"], "backoffice");
}
