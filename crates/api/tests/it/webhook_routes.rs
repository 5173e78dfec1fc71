//! Adding, changing, testing and removing webhooks over HTTP.

use crate::support::*;
use api::webhooks::client::Client as WebhookClient;
use api::{Api, ApiDeps, WebhookConfig, WebhookDeps};
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use central::ports::{EventLog, Token, Tokens};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use store::{SqliteOptions, SqliteStore};

const WEBHOOKS: &str = "/api/v1/webhooks";
const JSON: &str = "Content-Type: application/json";
const MERGE_PATCH: &str = "Content-Type: application/merge-patch+json";

struct World {
    api: Api,
    store: Arc<SqliteStore>,
    _directory: tempfile::TempDir,
}

async fn start_api() -> World {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("wattpost.db");
    let store = SqliteStore::open(path, SqliteOptions::default()).expect("it opens");
    let store = Arc::new(store);
    let mut settings = WebhookConfig {
        allow_http: true,
        ..WebhookConfig::default()
    };
    let loopback = "127.0.0.0/8".parse().expect("a network");
    settings.allowed_networks.push(loopback);
    let client = WebhookClient::new(settings.client()).expect("a client");
    let deps = ApiDeps {
        webhooks: Some(WebhookDeps {
            webhooks: Arc::clone(&store) as _,
            log: Arc::clone(&store) as _,
            clock: Arc::clone(&store) as _,
            client: Arc::new(client),
        }),
        ..deps(&Arc::default())
    };
    World {
        api: Api::start(config(), deps).await.expect("it starts"),
        store,
        _directory: directory,
    }
}

type Received = Arc<Mutex<Vec<(HeaderMap, Value)>>>;

/// A receiver that accepts each message.
async fn receiver() -> (String, Received) {
    let received = Received::default();
    let kept = Arc::clone(&received);
    let accept = async move |headers: HeaderMap, body: Bytes| {
        let body = serde_json::from_slice(&body).expect("JSON");
        kept.lock().expect("no panic").push((headers, body));
        (StatusCode::OK, "thanks")
    };
    let router = axum::Router::new().route("/hook", axum::routing::post(accept));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    (format!("http://{address}/hook"), received)
}

async fn change(addr: SocketAddr, path: &str, headers: &[&str], body: &Value) -> Answer {
    let headers: Vec<&str> = [JSON].into_iter().chain(headers.iter().copied()).collect();
    send(addr, "POST", path, &headers, &body.to_string()).await
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.error().0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_added_changed_rotated_and_removed_and_its_secret_shown_once() {
    let world = start_api().await;
    let addr = world.api.local_addr();
    let body = json!({
        "url": "https://hooks.example/wattpost", "types": ["token.*"], "charger_id": "CP-1", "description": "for accounts",
    });
    let key = "Idempotency-Key: one";
    let added = change(addr, WEBHOOKS, &[key], &body).await;
    assert_eq!(added.status, 201, "{}", added.body);
    let mut shown = added.json();
    let secret = shown["secret"].as_str().expect("a secret").to_owned();
    assert!(secret.starts_with("whsec_"));
    let repeat = change(addr, WEBHOOKS, &[key], &body).await;
    assert_eq!(
        (repeat.status, &repeat.json()["secret"]),
        (201, &Value::Null)
    );
    assert_eq!(repeat.json()["id"], shown["id"]);

    shown.as_object_mut().expect("an object").remove("secret");
    let one = format!("{WEBHOOKS}/{}", shown["id"].as_str().expect("an id"));
    assert_eq!(added.header("location"), Some(one.as_str()));
    let read = get(addr, &one).await;
    assert_eq!(read.json(), shown);
    assert_eq!(shown["state"], "active");
    let list = get(addr, WEBHOOKS).await;
    assert_eq!(list.json()["items"], json!([shown]));

    let tag = format!("If-Match: {}", read.header("etag").expect("a tag"));
    let patch = r#"{"charger_id": null, "enabled": false}"#;
    let without = send(addr, "PATCH", &one, &[MERGE_PATCH], patch).await;
    assert_eq!(code(&without), (428, "if_match_required".to_owned()));
    let changed = send(addr, "PATCH", &one, &[MERGE_PATCH, &tag], patch).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    let now = changed.json();
    assert_eq!(
        (&now["charger_id"], &now["state"]),
        (&Value::Null, &json!("disabled"))
    );
    assert_eq!(now["url"], body["url"]);
    let stale = send(addr, "PATCH", &one, &[MERGE_PATCH, &tag], patch).await;
    assert_eq!(code(&stale), (412, "etag_mismatch".to_owned()));

    let given = format!("whsec_{}", "c2VjcmV0LW9mLTI0LWJ5dGVzLWhlcmUh");
    let rotation = json!({"secret": given, "former_valid_s": 60});
    let rotated = change(addr, &format!("{one}/rotate"), &[], &rotation).await;
    assert_eq!(rotated.json()["secret"], given, "{}", rotated.body);
    assert!(rotated.json()["former_secret_until"].is_string());

    let removed = send(addr, "DELETE", &one, &[], "").await;
    assert_eq!(removed.status, 204);
    let gone = get(addr, &one).await;
    assert_eq!(code(&gone), (404, "unknown_webhook".to_owned()));
    for answer in [&repeat, &read, &list, &changed, &stale, &gone] {
        assert!(!answer.body.contains("whsec_"), "{}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_member_of_a_webhook_is_named_and_no_fault_repeats_a_secret() {
    let world = start_api().await;
    let addr = world.api.local_addr();
    for (body, member, part) in [
        (json!({}), "url", "is missing"),
        (
            json!({"url": "https://10.0.0.1/"}),
            "url",
            "webhooks.allowed_networks",
        ),
        (
            json!({"url": "https://[::ffff:10.0.0.1]/"}),
            "url",
            "not a public one",
        ),
        (json!({"url": "ftp://example.com/"}), "url", "https"),
        (json!({"url": "https://u:p@example.com/"}), "url", "no user"),
        (
            json!({"url": "https://example.com/", "types": ["weather.*"]}),
            "types",
            "transaction.started",
        ),
        (
            json!({"url": "https://example.com/", "secret": "whsec_dG9vIHNob3J0"}),
            "secret",
            "24 to 64",
        ),
        (
            json!({"url": "https://example.com/", "colour": 1}),
            "colour",
            "not known",
        ),
    ] {
        let refused = change(addr, WEBHOOKS, &[], &body).await;
        assert_eq!(
            code(&refused),
            (422, "payload_invalid".to_owned()),
            "{body}"
        );
        let faults: Value = serde_json::from_str(&refused.body).expect("JSON");
        let fault = &faults["errors"][0];
        let detail = fault["detail"].as_str().expect("a text");
        assert_eq!(fault["pointer"], format!("/{member}"), "{}", refused.body);
        assert!(detail.contains(part), "{detail}");
        assert!(!refused.body.contains("dG9vIHNob3J0"));
    }
    assert_eq!(get(addr, WEBHOOKS).await.json()["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_message_is_signed_and_events_are_sent_again_from_one_on() {
    let world = start_api().await;
    let addr = world.api.local_addr();
    let (url, received) = receiver().await;
    let added = change(addr, WEBHOOKS, &[], &json!({"url": url})).await;
    let one = format!("{WEBHOOKS}/{}", added.json()["id"].as_str().expect("an id"));
    let before = get(addr, &one).await;
    let tested = change(addr, &format!("{one}/test"), &[], &json!({})).await;
    let answer = tested.json();
    assert_eq!(
        (&answer["delivered"], &answer["status"]),
        (&json!(true), &json!(200))
    );
    assert_eq!(
        (&answer["answer"], &answer["error"]),
        (&json!("thanks"), &Value::Null)
    );
    let (headers, body) = received.lock().expect("no panic")[0].clone();
    assert_eq!(body["type"], "webhook.test");
    assert_eq!(headers["webhook-id"], body["id"].as_str().expect("an id"));
    assert!(headers["webhook-signature"].as_bytes().starts_with(b"v1,"));

    let origin = central::model::Origin {
        at: central::Timestamp(common::clock::now_ms()),
        by: central::model::Actor {
            kind: central::model::ActorKind::CommandLine,
            name: None,
        },
        from: "a test".to_owned(),
        request_id: None,
        traceparent: None,
    };
    for token in ["T-1", "T-2"] {
        let token = Token::accepted(token);
        world
            .store
            .put_token(&token, &origin)
            .expect("the database");
    }
    let now = central::Timestamp(common::clock::now_ms());
    world.store.sequence_events(now).expect("the database");
    let subjects = || -> Vec<String> {
        let received = received.lock().expect("no panic");
        let subjects = received
            .iter()
            .filter_map(|(_, body)| body["data"]["subject"].as_str());
        subjects.map(str::to_owned).collect()
    };
    until("both events", || subjects().len() == 2).await;
    // What a client read before is not taken for what is shown now, though nobody has changed the webhook.
    let known = before.header("etag").expect("a tag");
    let after = get_with(addr, &one, &[&format!("If-None-Match: {known}")]).await;
    assert_eq!(after.status, 200);
    assert_ne!(after.body, before.body);
    let second = received.lock().expect("no panic")[2].clone();
    let since = second.1["id"].as_str().expect("an id").to_owned();
    // The record of the delivery may follow the delivery; a redelivery comes after it, whichever is first.
    let again = change(
        addr,
        &format!("{one}/redeliver"),
        &[],
        &json!({"since": since}),
    )
    .await;
    assert_eq!(again.status, 200, "{}", again.body);
    until("the second event again", || subjects().len() >= 3).await;
    assert_eq!(subjects().last().map(String::as_str), Some("T-2"));
    let third = received
        .lock()
        .expect("no panic")
        .last()
        .cloned()
        .expect("a message");
    assert_eq!(third.0["webhook-id"], second.0["webhook-id"]);
    let unknown = json!({"since": "99-5"});
    let unknown = change(addr, &format!("{one}/redeliver"), &[], &unknown).await;
    assert_eq!(code(&unknown), (404, "unknown_event".to_owned()));

    let page = get(addr, &format!("{one}/deliveries?limit=1")).await.json();
    let item = &page["items"][0];
    assert_eq!(
        (&item["status"], &item["answer"]),
        (&json!(200), &json!("thanks")),
        "{page}"
    );
    assert_eq!(item["event_type"], "token.set");
}
