//! API keys over HTTP.

use crate::support::*;
use api::{Api, ApiDeps};
use central::model::Scope;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;

const KEYS: &str = "/api/v1/api-keys";
const JSON: &str = "Content-Type: application/json";

async fn start_with_an_admin() -> (Api, String, Arc<MemoryKeys>) {
    let keys = Arc::new(MemoryKeys::default());
    let secret = keys.add("root", Scope::Admin, None);
    let store = Arc::new(MemoryRows::default());
    let deps = ApiDeps {
        keys: Some(Arc::clone(&keys) as _),
        ..deps(&store)
    };
    let api = Api::start(config(), deps).await.expect("it starts");
    (api, format!("Authorization: Bearer {secret}"), keys)
}

async fn add(addr: SocketAddr, bearer: &str, body: &Value) -> Answer {
    send(addr, "POST", KEYS, &[JSON, bearer], &body.to_string()).await
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.error().0)
}

#[tokio::test]
async fn a_key_is_shown_once_works_at_once_and_ends_at_once_when_it_is_revoked() {
    let (api, root, _) = start_with_an_admin().await;
    let addr = api.local_addr();
    let body =
        json!({"name": "back office", "scope": "operate", "expires_at": "2999-01-01T00:00:00Z"});
    let added = add(addr, &root, &body).await;
    assert_eq!(added.status, 201, "{}", added.body);
    let location = added.header("location").expect("an address").to_owned();
    assert_eq!(location, "/api/v1/api-keys/back%20office");
    let added = added.json();
    let secret = added["secret"].as_str().expect("a secret").to_owned();
    let bearer = format!("Authorization: Bearer {secret}");
    assert_eq!(
        get_with(addr, "/api/v1/chargers", &[&bearer]).await.status,
        200
    );
    // The new key may not manage keys.
    assert_eq!(
        code(&get_with(addr, KEYS, &[&bearer]).await),
        (403, "scope_missing".to_owned())
    );
    let list = get_with(addr, KEYS, &[&root]).await;
    assert!(
        !list.body.contains(&secret) && !list.body.contains("secret"),
        "{}",
        list.body
    );
    let items = list.json()["items"].clone();
    assert_eq!(items.as_array().map(Vec::len), Some(2));
    assert_eq!(items[1]["expires_at"], "2999-01-01T00:00:00.000Z");

    let again = add(addr, &root, &body).await;
    assert_eq!(code(&again), (409, "api_key_exists".to_owned()));
    let revoked = send(addr, "DELETE", &location, &[&root], "").await;
    assert_eq!(revoked.status, 204, "{}", revoked.body);
    assert_eq!(
        get_with(addr, "/api/v1/chargers", &[&bearer]).await.status,
        401
    );
    let gone = send(addr, "DELETE", &location, &[&root], "").await;
    assert_eq!(code(&gone), (404, "unknown_api_key".to_owned()));
}

#[tokio::test]
async fn the_last_admin_key_is_revoked_only_by_force() {
    let (api, root, keys) = start_with_an_admin().await;
    let addr = api.local_addr();
    keys.add("reader", Scope::Read, None);
    let refused = send(addr, "DELETE", "/api/v1/api-keys/root", &[&root], "").await;
    assert_eq!(code(&refused), (409, "last_admin_key".to_owned()));
    assert_eq!(get_with(addr, KEYS, &[&root]).await.status, 200);
    let target = "/api/v1/api-keys/root?force=true";
    assert_eq!(send(addr, "DELETE", target, &[&root], "").await.status, 204);
    assert_eq!(get_with(addr, KEYS, &[&root]).await.status, 401);
}

#[tokio::test]
async fn a_key_that_cannot_be_is_refused_with_the_members() {
    let (api, root, _) = start_with_an_admin().await;
    let addr = api.local_addr();
    let body = json!({"name": " x", "scope": "root", "expires_at": "2020-01-01T00:00:00Z", "secret": "wp_live_x"});
    let refused = add(addr, &root, &body).await;
    let problem = refused.value();
    let pointers: Vec<&str> = problem["errors"]
        .as_array()
        .expect("faults")
        .iter()
        .map(|fault| fault["pointer"].as_str().expect("a pointer"))
        .collect();
    assert_eq!(pointers, ["/name", "/scope", "/expires_at", "/secret"]);
    assert!(!refused.body.contains("wp_live_x"), "{}", refused.body);
}
