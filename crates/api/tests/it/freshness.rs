//! How fresh answers are, answers while the database is unavailable, and waiting for a record.

use crate::support::*;
use central::ports::{Unavailable, UnavailableKind};
use common::clock::now_ms;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const GATEWAY: &str = "00000000-0000-0000-0000-00000000feed";

fn unreachable_database() -> Behaviour {
    Behaviour::Unavailable(Unavailable {
        component: "database",
        kind: UnavailableKind::Unreachable,
        detail: "connection refused".to_owned(),
    })
}

#[tokio::test]
async fn an_answer_says_for_when_it_is() {
    let store = Arc::new(MemoryRows {
        chargers: vec![charger("CP-1", true)],
        ..MemoryRows::default()
    });
    let api = start(config(), &store).await;
    let addr = api.local_addr();
    let before = now_ms();
    let list = get(addr, "/api/v1/chargers").await;
    let as_of = list.json()["as_of"].as_str().expect("a time").to_owned();
    let at = central::query::parameters::time(&as_of).expect("RFC 3339");
    assert!((before..=now_ms()).contains(&at.as_millis()));
    assert_eq!(list.json()["stale"], false);
    assert_eq!(list.json()["stale_because"], Value::Null);
    assert_eq!(list.header("wattpost-as-of"), Some(as_of.as_str()));
    assert_eq!(list.header("wattpost-stale"), None);
    // An object is as it is, so that its entity tag holds.
    let object = get(addr, "/api/v1/chargers/CP-1").await;
    assert!(object.json()["as_of"].is_null());
    assert!(object.header("wattpost-as-of").is_some());
    let again = get(addr, "/api/v1/chargers/CP-1").await;
    assert_eq!(object.header("etag"), again.header("etag"));
    for path in [
        "/api/v1/actions",
        "/api/v1/session",
        "/api/v1/version",
        "/health/live",
    ] {
        let other = get(addr, path).await;
        assert_eq!(other.header("wattpost-as-of"), None, "{path}");
    }
}

#[tokio::test]
async fn while_the_database_is_unavailable_the_last_answer_is_returned_as_stale() {
    let (store, switch) = switched();
    let api = start(config(), &store).await;
    let addr = api.local_addr();
    let fresh = get(addr, "/api/v1/transactions?state=open").await.json();
    switch.set(unreachable_database());
    let stale = get(addr, "/api/v1/transactions?state=open").await;
    assert_eq!(stale.status, 200, "{}", stale.body);
    assert_eq!(stale.json()["as_of"], fresh["as_of"]);
    assert_eq!(stale.json()["stale"], true);
    let why = stale.json()["stale_because"]
        .as_str()
        .expect("why")
        .to_owned();
    assert!(why.contains("connection refused"), "{why}");
    assert!(
        stale
            .header("wattpost-stale")
            .is_some_and(|why| why.contains("refused"))
    );
    // A request that was not answered before has no answer.
    let other = get(addr, "/api/v1/transactions?state=ended").await;
    assert_eq!(other.status, 503);
    switch.set(Behaviour::Answers);
    let again = get(addr, "/api/v1/transactions?state=open").await;
    assert_eq!(again.json()["stale"], false);
    assert_eq!(again.header("wattpost-stale"), None);
}

#[tokio::test]
async fn a_request_waits_until_its_record_is_stored() {
    // The database has the record from the third query on.
    let queries = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&queries);
    let store = Arc::new(MemoryRows {
        messages: vec![message("CP-1", 7, "Heartbeat")],
        before_query: Some(Box::new(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })),
        ..MemoryRows::default()
    });
    let api = start(config(), &store).await;
    let addr = api.local_addr();
    let stored = get(
        addr,
        &format!("/api/v1/messages?min_seq={GATEWAY}/7&limit=1"),
    )
    .await;
    assert_eq!(stored.status, 200, "{}", stored.body);
    assert_eq!(stored.json()["items"][0]["seq"], 7);
    assert_eq!(queries.load(Ordering::SeqCst), 2, "it has not waited");
    let began = Instant::now();
    let missing = get(addr, &format!("/api/v1/chargers?min_seq={GATEWAY}/8")).await;
    assert_eq!(
        (missing.status, &missing.value()["code"]),
        (503, &json!("not_stored"))
    );
    assert!(missing.header("retry-after").is_some());
    assert!(began.elapsed() >= Duration::from_secs(4));
    assert!(queries.load(Ordering::SeqCst) > 20);
    let wrong = get(addr, "/api/v1/chargers?min_seq=8").await;
    assert_eq!(
        (wrong.status, &wrong.value()["code"]),
        (400, &json!("bad_parameter"))
    );
}

#[tokio::test]
async fn a_record_is_traced_also_while_the_database_is_unavailable() {
    let (store, switch) = switched();
    let api = start(config(), &store).await;
    let addr = api.local_addr();
    let path = format!("/api/v1/messages/{GATEWAY}/7/trace");
    let unknown = get(addr, &path).await.json();
    assert_eq!(unknown["place"], "unknown");
    switch.set(unreachable_database());
    let unknown = get(addr, &path).await;
    assert_eq!(
        (unknown.status, &unknown.json()["place"]),
        (200, &json!("unknown"))
    );

    let store = Arc::new(MemoryRows {
        messages: vec![message("CP-1", 7, "Heartbeat")],
        dead_letters: vec![dead_letter(8)],
        ..MemoryRows::default()
    });
    let api = start(config(), &store).await;
    let addr = api.local_addr();
    let stored = get(addr, &path).await.json();
    assert_eq!(stored["place"], "stored");
    assert_eq!(stored["stations"][0]["at"], "2026-01-01T00:00:07.000Z");
    let dead = get(addr, &format!("/api/v1/messages/{GATEWAY}/8/trace")).await;
    assert_eq!(dead.json()["place"], "dead_letter");
    assert_eq!(dead.json()["stations"][3]["station"], "dead_letter");
}
