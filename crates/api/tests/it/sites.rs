//! Sites over HTTP, and the chargers that belong to them.

use crate::support::*;
use api::Api;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;

const SITES: &str = "/api/v1/sites";
const ONE: &str = "/api/v1/sites/depot-7";
const CHARGERS: &str = "/api/v1/chargers";
const JSON: &str = "Content-Type: application/json";
const MERGE_PATCH: &str = "Content-Type: application/merge-patch+json";

async fn start_api() -> Api {
    let store = Arc::new(MemoryRows {
        chargers: vec![charger("CP-9", true)],
        ..MemoryRows::default()
    });
    start(config(), &store).await
}

async fn add(addr: SocketAddr, path: &str, body: &Value) -> Answer {
    send(addr, "POST", path, &[JSON], &body.to_string()).await
}

async fn patch(addr: SocketAddr, path: &str, tag: &str, body: &str) -> Answer {
    let tag = format!("If-Match: {tag}");
    send(addr, "PATCH", path, &[MERGE_PATCH, &tag], body).await
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.error().0)
}

#[tokio::test]
async fn a_site_is_added_changed_and_removed_when_it_has_no_chargers() {
    let api = start_api().await;
    let addr = api.local_addr();
    let body = json!({"id": "depot-7", "name": "Depot 7", "time_zone": "Europe/Berlin"});
    let added = add(addr, SITES, &body).await;
    assert_eq!(added.status, 201, "{}", added.body);
    assert_eq!(added.header("location"), Some(ONE));
    let again = add(addr, SITES, &body).await;
    assert_eq!(code(&again), (409, "site_exists".to_owned()));
    let tag = added.header("etag").expect("a tag").to_owned();

    let change = r#"{"latitude": 52.52, "longitude": 13.405, "time_zone": null}"#;
    let changed = patch(addr, ONE, &tag, change).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    let expected = json!({"id": "depot-7", "name": "Depot 7", "address": null, "time_zone": null,
        "latitude": 52.52, "longitude": 13.405, "chargers": 0});
    assert_eq!(changed.json(), expected);
    assert_eq!(get(addr, ONE).await.json(), expected);
    let stale = patch(addr, ONE, &tag, "{}").await;
    assert_eq!(code(&stale), (412, "etag_mismatch".to_owned()));
    let missing = send(addr, "PATCH", ONE, &[MERGE_PATCH], "{}").await;
    assert_eq!(code(&missing), (428, "if_match_required".to_owned()));

    let placed =
        json!({"charger_id": "CP-1", "label": "North gate", "site": "depot-7", "group": "fleet"});
    let placed = add(addr, CHARGERS, &placed).await;
    assert_eq!(placed.status, 201, "{}", placed.body);
    let settings = placed.json()["settings"].clone();
    assert_eq!(settings["label"], "North gate");
    assert_eq!(
        (&settings["site"], &settings["group"]),
        (&json!("depot-7"), &json!("fleet"))
    );
    assert_eq!(get(addr, SITES).await.json()["items"][0]["chargers"], 1);
    let kept = request(addr, "DELETE", ONE).await;
    assert_eq!(code(&kept), (409, "site_has_chargers".to_owned()));

    let moved = patch(addr, "/api/v1/chargers/CP-1", "*", r#"{"site": null}"#).await;
    assert_eq!(moved.json()["settings"]["site"], Value::Null);
    assert_eq!(moved.json()["settings"]["label"], "North gate");
    assert_eq!(request(addr, "DELETE", ONE).await.status, 204);
    let gone = request(addr, "DELETE", ONE).await;
    assert_eq!(code(&gone), (404, "unknown_site".to_owned()));
}

#[tokio::test]
async fn chargers_of_a_site_or_a_group_are_listed() {
    let api = start_api().await;
    let addr = api.local_addr();
    add(addr, SITES, &json!({"id": "depot-7", "name": "Depot 7"})).await;
    for body in [
        json!({"charger_id": "CP-1", "site": "depot-7", "group": "fleet", "label": "South"}),
        json!({"charger_id": "CP-2", "group": "fleet"}),
    ] {
        assert_eq!(add(addr, CHARGERS, &body).await.status, 201);
    }
    for (query, expected) in [
        ("site=depot-7", &["CP-1"][..]),
        ("site=depot-8", &[]),
        ("site=", &["CP-2", "CP-9"]),
        ("group=fleet", &["CP-1", "CP-2"]),
        ("group=Fleet", &[]),
        ("group=", &["CP-9"]),
        ("q=sout", &["CP-1"]),
        ("site=depot-7&q=CP-2", &[]),
    ] {
        let answer = get(addr, &format!("{CHARGERS}?{query}")).await.json();
        let items = answer["items"].as_array().expect("items").iter();
        let ids: Vec<&Value> = items.map(|item| &item["charger_id"]).collect();
        assert_eq!(ids, expected.to_vec(), "{query}");
    }
}

#[tokio::test]
async fn values_that_cannot_be_shown_or_stored_are_refused_by_their_pointers() {
    let api = start_api().await;
    let addr = api.local_addr();
    let long = "x".repeat(101);
    for (path, body, pointer) in [
        (SITES, json!({"id": "Depot", "name": "x"}), "/id"),
        (SITES, json!({"name": "x"}), "/id"),
        (SITES, json!({"id": "d"}), "/name"),
        (SITES, json!({"id": "d", "name": null}), "/name"),
        (SITES, json!({"id": "d", "name": long}), "/name"),
        (SITES, json!({"id": "d", "name": "a\u{202e}b"}), "/name"),
        (
            SITES,
            json!({"id": "d", "name": "x", "time_zone": "Berlin"}),
            "/time_zone",
        ),
        (
            SITES,
            json!({"id": "d", "name": "x", "address": "a\nb"}),
            "/address",
        ),
        (
            SITES,
            json!({"id": "d", "name": "x", "latitude": 91, "longitude": 1}),
            "/latitude",
        ),
        (
            SITES,
            json!({"id": "d", "name": "x", "latitude": 9}),
            "/latitude",
        ),
        (
            SITES,
            json!({"id": "d", "name": "x", "chargers": 9}),
            "/chargers",
        ),
        (
            CHARGERS,
            json!({"charger_id": "CP-1", "label": ""}),
            "/label",
        ),
        (
            CHARGERS,
            json!({"charger_id": "CP-1", "label": " x"}),
            "/label",
        ),
        (
            CHARGERS,
            json!({"charger_id": "CP-1", "group": "a\u{0}"}),
            "/group",
        ),
        (
            CHARGERS,
            json!({"charger_id": "CP-1", "site": "nowhere"}),
            "/site",
        ),
        (CHARGERS, json!({"charger_id": "CP-1", "site": 7}), "/site"),
    ] {
        let answer = add(addr, path, &body).await;
        assert_eq!(answer.status, 422, "{body}: {}", answer.body);
        assert_eq!(answer.value()["errors"][0]["pointer"], pointer, "{body}");
    }
    assert_eq!(get(addr, SITES).await.json()["items"], json!([]));
}
