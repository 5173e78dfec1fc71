//! The OpenAPI document, the page made of it, and the catalogue. That all answers of all tests are as the document says
//! is checked by the client in `support`.

use crate::support::*;
use central::model::Boot;
use serde_json::Value;
use std::sync::Arc;

/// The rows that the examples of the document describe.
fn described_rows() -> Arc<MemoryRows> {
    let mut first = charger("CP-17", true);
    first.boot = Some(Boot {
        vendor: Some("Example".to_owned()),
        model: Some("AC-22".to_owned()),
        firmware: Some("1.4.2".to_owned()),
        ..Boot::default()
    });
    Arc::new(MemoryRows {
        chargers: vec![first],
        connectors: vec![connector("CP-17", 1)],
        transactions: vec![transaction("CP-17", 7, true)],
        messages: vec![message("CP-17", 1, "Heartbeat")],
        dead_letters: vec![dead_letter(9)],
        ..MemoryRows::default()
    })
}

/// With `WATTPOST_UPDATE_EXAMPLES=1` the answers become the examples.
#[tokio::test]
async fn examples_are_answers_of_the_api() {
    let api = start(config(), &described_rows()).await;
    for (file, path, target) in [
        ("chargers", "/api/v1/chargers", "/api/v1/chargers"),
        ("charger", "/api/v1/chargers/{id}", "/api/v1/chargers/CP-17"),
        (
            "transactions",
            "/api/v1/transactions",
            "/api/v1/transactions",
        ),
        (
            "transaction",
            "/api/v1/transactions/{key}",
            "/api/v1/transactions/00000000-0000-0000-0000-000000000007",
        ),
        ("messages", "/api/v1/messages", "/api/v1/messages"),
        (
            "dead-letters",
            "/api/v1/dead-letters",
            "/api/v1/dead-letters",
        ),
    ] {
        let answer = get(api.local_addr(), target).await;
        assert_eq!(answer.status, 200, "{target}");
        let mut shown = answer.json();
        if shown["as_of"].is_string() {
            shown["as_of"] = serde_json::json!("2026-01-31T12:05:00.000Z");
        }
        if std::env::var_os("WATTPOST_UPDATE_EXAMPLES").is_some() {
            let file = format!("{}/src/examples/{file}.json", env!("CARGO_MANIFEST_DIR"));
            std::fs::write(file, format!("{shown:#}\n")).expect("write the example");
            continue;
        }
        let content = &api::openapi()["paths"][path]["get"]["responses"]["200"]["content"];
        let example = &content["application/json"]["example"];
        assert_eq!(*example, shown, "{path}");
    }
}

#[tokio::test]
async fn the_document_the_page_and_the_catalogue_need_no_key_and_name_no_other_host() {
    let keys = Arc::new(MemoryKeys::default());
    keys.add("a", central::model::Scope::Read, None);
    let deps = api::ApiDeps {
        keys: Some(keys),
        ..deps(&described_rows())
    };
    let api = api::Api::start(config(), deps).await.expect("it starts");
    let addr = api.local_addr();

    let document = get(addr, "/api/openapi.json").await;
    assert_eq!(document.json(), *api::openapi());

    let page = get(addr, "/docs").await;
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert!(
        page.header("content-security-policy")
            .is_some_and(|policy| {
                policy.contains("default-src 'none'") && !policy.contains("http")
            })
    );
    assert!(!page.body.contains("<script") && !page.body.contains("https://"));
    for path in api::openapi()["paths"].as_object().expect("paths").keys() {
        assert!(page.body.contains(path.as_str()), "{path}");
    }
    assert!(page.body.len() < 400_000, "{}", page.body.len());

    let catalog = get(addr, "/.well-known/api-catalog").await;
    let media = catalog.header("content-type").unwrap_or_default();
    assert!(media.starts_with("application/linkset+json"));
    let entry = &catalog.value()["linkset"][0];
    for relation in ["service-desc", "service-doc", "status"] {
        let target = entry[relation][0]["href"].as_str().expect("an address");
        assert_eq!(get(addr, target).await.status, 200, "{target}");
    }
}

#[test]
fn each_example_has_the_schema_of_its_answer() {
    let mut examples = 0;
    for (path, methods) in api::openapi()["paths"].as_object().expect("paths") {
        for (_, content) in methods["get"]["responses"]["200"]["content"]
            .as_object()
            .into_iter()
            .flatten()
        {
            if content["example"] != Value::Null {
                check_value(&content["schema"], &content["example"], path);
                examples += 1;
            }
        }
    }
    assert!(examples >= 6);
}

#[test]
fn each_operation_has_an_id_of_its_own() {
    let mut ids = std::collections::BTreeSet::new();
    for (path, methods) in api::openapi()["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let id = operation["operationId"].as_str().expect("an id");
            assert!(ids.insert(id), "{method} {path}: {id} is used twice");
        }
    }
}
